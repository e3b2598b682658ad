"""A recorded training of a net in JAX."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traceprop_engine.errors import NetFormError, QueryShapeError
from traceprop_engine.gradients import Loss, OutputTarget, RowGradients
from traceprop_engine.gradients.net_run import Parameters
from traceprop_engine.gradients.stored_net import StoredNet
from traceprop_engine.gradients.training_files import check_outputs
from traceprop_engine.jax_gradients.features import checked_features
from traceprop_engine.jax_gradients.files import SavedTraining, load_training, save_training
from traceprop_engine.jax_gradients.row_wise import Scalar, row_gradients
from traceprop_engine.jax_gradients.scalars import encode_query_labels, slopes_of
from traceprop_engine.jax_gradients.steps import Apply, Params, Rows, jitted_outputs, outputs_of
from traceprop_engine.training.recipe import TrainingRecipe

MEMORY_BYTES: Final = 2**28
"""Working memory of per-sample gradients, beside the result, where nothing else is said."""


@dataclass(frozen=True, eq=False)
class JaxTraining:
    """A net trained in JAX, its rows, and its parameters at some of the steps.

    It is what `train_jax` returns and satisfies `RecordedTraining`. Everything that the training
    was is kept, so that it can be replayed to the last bit.

    Attributes:
        name: What the user calls it.
        apply: The net: ``apply(params, x)`` are the outputs ``[n]`` or ``[n, n_outputs]`` of rows
            ``[n, ...]``, each row by itself.
        recipe: How it was trained.
        initial: Parameters before the first step.
        checkpoints: Parameters after each of `steps`.
        steps: Numbers of steps, ascending to the last one.
        features: Training rows, ``[n_train, ...]``.
        labels: ``[n_train]``: classes from 0 as int32, or values.
        weights: Factor of each row's loss, ``[n_train]``.
        index: Index of the training table, if there is one: it carries lineage.
        memory_bytes: Bound of the working memory of per-sample gradients.
    """

    name: str
    apply: Apply
    recipe: TrainingRecipe
    initial: Params
    checkpoints: tuple[Params, ...]
    steps: tuple[int, ...]
    features: NDArray[np.generic]
    labels: NDArray[np.generic]
    weights: NDArray[np.floating]
    index: pd.Index | None = None
    memory_bytes: int = MEMORY_BYTES

    @classmethod
    def from_stored(cls, net: StoredNet, apply: Apply, initial: Params) -> "JaxTraining":
        """Return a training that a store holds, given its code.

        Args:
            net: What the store holds.
            apply: The net, as it was trained.
            initial: Parameters before the first step, or any of the same form: a replay of the
                training compares what it reaches with what was recorded.

        Raises:
            NetFormError: The parameters in the store are of another form.
        """
        checkpoints = tuple(
            _in_the_form_of(initial, net.parameters(checkpoint), net.name)
            for checkpoint in range(len(net.steps))
        )
        labels = net.trained_labels
        return cls(
            name=net.name,
            apply=apply,
            recipe=net.recipe or TrainingRecipe(loss=net.loss),
            initial=initial,
            checkpoints=checkpoints,
            steps=net.steps,
            features=net.features,
            labels=labels.astype(np.int32) if labels.dtype.kind == "i" else labels,
            weights=np.ones(net.n_train, dtype=np.float32),
        )

    @property
    def n_train(self) -> int:
        """Number of training rows."""
        return len(self.features)

    @property
    def final(self) -> Params:
        """Parameters after the last step: those of the last checkpoint."""
        return self.checkpoints[-1]

    @property
    def n_parameters(self) -> int:
        """Numbers in the parameters."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.initial))

    @property
    def loss(self) -> Loss:
        """What was minimised."""
        return self.recipe.loss

    def parameters(self, checkpoint: int) -> dict[str, NDArray[np.generic]]:
        """Return the parameters at a checkpoint, by their path in the tree."""
        leaves = jax.tree_util.tree_leaves_with_path(self._params(checkpoint))
        return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}

    @property
    def n_outputs(self) -> int:
        """Outputs of the net for one row."""
        outputs = partial(outputs_of, self.apply)
        return jax.eval_shape(outputs, self.initial, self.features[:1]).shape[1]

    @property
    def dtype(self) -> np.dtype:
        """Floating type of the parameters."""
        return jax.tree.leaves(self.initial)[0].dtype

    @property
    def rows(self) -> Rows:
        """The training rows on the device, as a step reads them."""
        labels = self.labels if self.labels.dtype.kind == "i" else self.labels.astype(self.dtype)
        weights = self.weights.astype(self.dtype)
        return Rows(jnp.asarray(self.features), jnp.asarray(labels), jnp.asarray(weights))

    def outputs(self, features: NDArray[np.generic]) -> NDArray[np.floating]:
        """Return the outputs of rows after the last step, ``[n, n_outputs]``.

        Raises:
            QueryShapeError: The rows do not have the form of the training rows.
        """
        outputs = jitted_outputs(self.apply, self.final, self.check_query(features))
        return np.asarray(outputs)

    def train_gradients(
        self, checkpoint: int, rows: NDArray[np.integer] | slice | None = None
    ) -> RowGradients:
        """Return the gradients of training rows, with slopes and curvatures times their weights.

        Args:
            checkpoint: Position in `steps`.
            rows: Which of them; all where nothing is said.

        Raises:
            QueryShapeError: There is no such checkpoint.
        """
        chosen = slice(None) if rows is None else rows
        labels, weights = self.labels[chosen], self.weights[chosen]
        values, layers = row_gradients(
            self.apply,
            Scalar(self.loss),
            self._params(checkpoint),
            self.features[chosen],
            labels,
            self.memory_bytes,
        )
        slopes, curvatures = slopes_of(self.loss, values, labels)
        return RowGradients(
            layers,
            values,
            (slopes * weights).astype(values.dtype),
            (curvatures * weights).astype(values.dtype),
        )

    def query_gradients(
        self,
        checkpoint: int,
        features: NDArray[np.generic],
        labels: NDArray[np.generic] | Sequence[Any] | None,
        target: OutputTarget,
    ) -> RowGradients:
        """Return the gradients of the target of each query.

        Args:
            checkpoint: Position in `steps`.
            features: The queries, ``[n_query, ...]``, in the form of the training rows.
            labels: Their labels, for targets that need them.
            target: A named target, or a function of one query's outputs in JAX.

        Raises:
            QueryShapeError: The queries, labels or checkpoint do not fit the training.
            InfluenceTargetError: The net has no such target, or it needs labels.
            UnknownClassError: A label is no class of the net.
        """
        values, layers = self.target_gradients(self._params(checkpoint), features, labels, target)
        none = np.empty(0, values.dtype)
        return RowGradients(layers, values, none, none)

    def target_gradients(
        self,
        params: Params,
        features: NDArray[np.generic],
        labels: NDArray[np.generic] | Sequence[Any] | None,
        target: OutputTarget,
    ) -> tuple[NDArray[np.floating], tuple[Any, ...]]:
        """Return the target of each query at any parameters, and its gradient layer by layer.

        See `query_gradients` for the other arguments and errors.
        """
        queries = self.check_query(features)
        encoded = encode_query_labels(labels, self.loss, target, self.n_outputs, len(queries))
        scalar = Scalar(self.loss, target)
        return row_gradients(self.apply, scalar, params, queries, encoded, self.memory_bytes)

    def check_query(self, features: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return queries in the type of the training rows.

        Raises:
            QueryShapeError: They do not have the form of the training rows, or are no finite
                numbers.
        """
        wanted = self.features.shape[1:]
        given = np.asarray(features)
        if given.shape[1:] != wanted or given.ndim != self.features.ndim or not len(given):
            shape = ", ".join(["n", *map(str, wanted)])
            raise QueryShapeError(
                "features", f"[{shape}] with n at least 1", str(list(given.shape))
            )
        whole = self.features.dtype.kind == "i"
        if whole and given.dtype.kind not in "iu":
            raise QueryShapeError("features", "whole numbers, as in training", str(given.dtype))
        return checked_features("features", given, self.features.dtype, whole=whole)

    def save(self, folder: Path | str) -> None:
        """Write the training to a new folder: arrays as .npz, the rest as JSON, nothing pickled.

        The net itself and the index are not written; `load` takes them again.

        Raises:
            TrainingNotSavedError: The folder exists, or parameters nest other things than dicts,
                lists and tuples.
        """
        kept = SavedTraining(
            self.name,
            self.recipe,
            self.steps,
            (self.initial, *self.checkpoints),
            {"features": self.features, "labels": self.labels, "weights": self.weights},
        )
        save_training(Path(folder), kept, self.outputs(self.features[:8]))

    @classmethod
    def load(
        cls, folder: Path | str, apply: Apply, *, index: pd.Index | None = None
    ) -> "JaxTraining":
        """Read a training that `save` wrote; all arrays are the same to the last bit.

        Args:
            folder: Where it was saved.
            apply: The net; it must give the outputs that were saved for the first rows.
            index: Index of the training table.

        Raises:
            TrainingFilesError: A file is missing or damaged, or float64 was saved and
                ``jax_enable_x64`` is off.
            ModuleOutputsError: The net is another one.
        """
        kept, outputs = load_training(Path(folder))
        initial, *checkpoints = kept.params
        training = cls(
            kept.name,
            apply,
            kept.recipe,
            initial,
            tuple(checkpoints),
            kept.steps,
            kept.rows["features"],
            kept.rows["labels"],
            kept.rows["weights"],
            index,
        )
        check_outputs(training.name, training.outputs(training.features[:8]), outputs)
        return training

    def _params(self, checkpoint: int) -> Params:
        if not 0 <= checkpoint < len(self.checkpoints):
            last = len(self.checkpoints) - 1
            raise QueryShapeError("checkpoint", f"from 0 to {last}", str(checkpoint))
        return self.checkpoints[checkpoint]


def _in_the_form_of(initial: Params, arrays: Parameters, name: str) -> Params:
    """Return the arrays of a store as a tree of the form of ``initial``."""
    leaves = jax.tree_util.tree_leaves_with_path(initial)
    wanted = {jax.tree_util.keystr(path): np.shape(leaf) for path, leaf in leaves}
    found = {path: np.shape(array) for path, array in arrays.items()}
    if wanted != found:
        raise NetFormError(name, wanted, found)
    return jax.tree.unflatten(jax.tree.structure(initial), [jnp.asarray(arrays[p]) for p in wanted])
