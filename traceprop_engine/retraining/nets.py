"""What the retrainers of nets share, whatever the framework: rows of each step, and memory."""

from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.attribution.targets import Target
from traceprop_engine.digests import digest_arrays
from traceprop_engine.errors import RetrainingError
from traceprop_engine.retraining.groups import RetrainedInGroups
from traceprop_engine.retraining.output_targets import target_values
from traceprop_engine.training.recipe import NetLoss, TrainingRecipe

Policy = Literal["subset", "zero_weight"]
"""What becomes of rows left out.

*subset*: each model is trained on its rows only, from its seed's start and in its seed's order: the
question of the linear datamodeling score. *zero_weight*: each model sees the batches of the full
table, and rows left out weigh nothing in the mean loss of their batch: models of one seed share
their start and order, so that what differs is due to the rows alone.
"""

DEFAULT_MEMORY = 1 << 27
"""Bytes that the models of one group may take; more falls out of a processor's cache."""

MAX_GROUP = 256
"""Models in one group at most; more together are no faster."""

_WORDS = {
    "subset": "the seed decides start and order; trained on the subset only",
    "zero_weight": "the seed decides start and order of the full table; rows left out weigh zero",
}


@dataclass(frozen=True, eq=False)
class NetProblem:
    """A training of a net and the queries that are asked of it, as they are when it is made.

    Arrays are copied, so that what is trained on, and told apart by, stays the same.

    Attributes:
        features: Training rows, ``[n_train, ...]``.
        labels: ``[n_train]``: positions of classes, or values.
        query_features: ``[n_query, ...]``.
        query_labels: ``[n_query]``.
        recipe: How a model is trained; its seed is replaced by the seed of each model.
        target: Which number of each query is returned; by default the margin, for squared loss the
            prediction.
        policy: What becomes of rows left out.

    Raises:
        RetrainingError: Rows, labels and target do not fit, or a label is no number or class.
    """

    features: NDArray[np.floating]
    labels: NDArray[np.generic]
    query_features: NDArray[np.floating]
    query_labels: NDArray[np.generic]
    recipe: TrainingRecipe
    target: Target | None = None
    policy: Policy = "subset"

    def __post_init__(self) -> None:
        for name in ("features", "labels", "query_features", "query_labels"):
            held = np.array(getattr(self, name))
            held.flags.writeable = False
            object.__setattr__(self, name, held)
        self._check(self.features, self.labels, "Training rows")
        self._check(self.query_features, self.query_labels, "Queries")
        if self.policy not in _WORDS:
            raise RetrainingError(
                f"Policy {self.policy!r}", "it is not known", f"choose one of {list(_WORDS)}"
            )
        width = 1 if self.recipe.loss == "squared" else self._n_classes
        nothing = np.empty((0, len(self.query_labels), width))
        target_values(nothing, self.query_labels.astype(np.float64), self.recipe.loss, self.kind)

    def check_outputs(self, shape: tuple[int, ...]) -> None:
        """Refuse a net whose outputs, ``[n]`` or ``[n, n_outputs]``, are not of these labels.

        Raises:
            RetrainingError: A label is no class of the net, or a regression has several outputs.
        """
        n_outputs = 1 if len(shape) == 1 else shape[-1]
        if self.recipe.loss == "squared" and n_outputs != 1:
            raise RetrainingError(
                f"A net of {n_outputs} outputs",
                "squared loss is of one value",
                "give the net one output",
            )
        if self.recipe.loss == "cross_entropy" and self._n_classes > max(n_outputs, 2):
            raise RetrainingError(
                f"A net of {max(n_outputs, 2)} classes",
                f"a row or query has the label {self._n_classes - 1}",
                "encode classes as 0, 1, ..., and give the net an output for each",
            )

    @property
    def _n_classes(self) -> int:
        return 1 + int(max(self.labels.max(), self.query_labels.max()))

    def _check(self, rows: NDArray[np.floating], labels: NDArray[np.generic], what: str) -> None:
        if len(rows) != len(labels) or not len(rows) or labels.ndim != 1:
            raise RetrainingError(
                f"{what} of shape {list(rows.shape)} with labels {list(labels.shape)}",
                "each row needs one label",
                "pass one label for each row",
            )
        if labels.dtype.kind not in "biuf" or not np.isfinite(labels).all():
            raise RetrainingError(
                f"{what} with labels of {labels.dtype}",
                "a label is not a finite number",
                "encode classes as 0, 1, ..., and leave rows without a label out",
            )
        if self.recipe.loss == "cross_entropy":
            numbers = labels.astype(np.float64)
            wrong = labels[(numbers < 0) | (numbers != np.floor(numbers))]
            if len(wrong):
                raise RetrainingError(
                    f"{what} with the label {wrong[0]}",
                    "it is not the position of a class",
                    "encode classes as 0, 1, ...",
                )

    @property
    def kind(self) -> Target:
        """Which number of each query is returned."""
        if self.target is not None:
            return self.target
        return "margin" if self.recipe.loss == "cross_entropy" else "prediction"

    @property
    def seed_policy(self) -> str:
        """What a model's seed decides, in words."""
        return _WORDS[self.policy]

    def facts(self) -> dict[str, object]:
        """Return all that decides the outputs, beside the net, the mask and the seed."""
        recipe = {
            name: value
            for name, value in vars(self.recipe).items()
            if name not in {"seed", "checkpoint_fractions"}
        }
        arrays = [self.features, self.labels, self.query_features]
        return {"recipe": recipe, "policy": self.policy, "data": digest_arrays(arrays)}

    def steps(self, n_rows: int) -> int:
        """Return how many steps a model of ``n_rows`` rows takes."""
        return self.recipe.n_steps(self.n_drawn_from(n_rows))

    def rows_of_steps(
        self, masks: NDArray[np.bool_], seeds: NDArray[np.int64]
    ) -> NDArray[np.int32]:
        """Return the training rows of each step of each model, ``[m, n_steps, batch_size]``.

        All masks have equally many rows, or the policy is ``"zero_weight"``.

        Raises:
            RecipeError: There are fewer rows than one batch takes.
        """
        return np.stack([self._rows(mask, int(s)) for mask, s in zip(masks, seeds, strict=True)])

    def fitting(self, bytes_of_model: int, n_rows: int, memory: int) -> int:
        """Return how many models fit into ``memory`` bytes, at least one.

        Args:
            bytes_of_model: For parameters, optimiser and one step; estimated.
            n_rows: Rows of each model.
            memory: The bound.
        """
        order = self.steps(n_rows) * self.recipe.batch_size * 4
        return max(1, min(MAX_GROUP, memory // (bytes_of_model + order)))

    def n_drawn_from(self, n_rows: int) -> int:
        """Return how many rows the batches of a model of ``n_rows`` rows are drawn from."""
        return n_rows if self.policy == "subset" else len(self.features)

    def _rows(self, mask: NDArray[np.bool_], seed: int) -> NDArray[np.int32]:
        rows = np.flatnonzero(mask) if self.policy == "subset" else np.arange(len(mask))
        batches = replace(self.recipe, seed=seed).batches(len(rows))
        return rows[batches].astype(np.int32)


class _OfProblem(Protocol):
    @property
    def problem(self) -> NetProblem: ...


class NetRetrainer(RetrainedInGroups):
    """What a retrainer of nets says of its problem, whatever the framework."""

    @property
    def n_train(self: _OfProblem) -> int:
        """Rows of the full training table."""
        return len(self.problem.features)

    @property
    def n_query(self: _OfProblem) -> int:
        """Number of queries."""
        return len(self.problem.query_features)

    @property
    def query_labels(self: _OfProblem) -> NDArray[np.float64]:
        """Labels of the queries, ``[n_query]``."""
        return np.asarray(self.problem.query_labels, dtype=np.float64)

    @property
    def target(self: _OfProblem) -> Target:
        """Which number of each query is returned."""
        return self.problem.kind

    @property
    def loss(self: _OfProblem) -> NetLoss:
        """What the models minimise."""
        return self.problem.recipe.loss

    @property
    def seed_policy(self: _OfProblem) -> str:
        """What a model's seed decides, in words."""
        return self.problem.seed_policy

    @property
    def is_deterministic(self) -> bool:
        """Whether the seed decides nothing."""
        return False
