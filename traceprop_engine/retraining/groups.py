"""Retraining in groups: what is known is kept, the rest is trained together."""

import time
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.attribution.targets import Target
from traceprop_engine.errors import RetrainingError
from traceprop_engine.retraining.kept import KeptOutputs, model_keys
from traceprop_engine.retraining.retrained import (
    RetrainedTargets,
    RetrainingProgress,
    RetrainingStep,
    refuse_diverged,
)
from traceprop_engine.training.recipe import NetLoss


class GroupTrainer(Protocol):
    """Trains a few models at once: what a retrainer of any framework has to know."""

    @property
    def n_train(self) -> int:
        """Rows of the full training table."""
        ...

    @property
    def is_deterministic(self) -> bool:
        """Whether the seed decides nothing."""
        ...

    @property
    def directory(self) -> Path | None:
        """Where outputs are kept."""
        ...

    @property
    def query_labels(self) -> NDArray[np.float64]:
        """Labels of the queries as the loss reads them, ``[n_query]``."""
        ...

    @property
    def loss(self) -> NetLoss:
        """What the models minimise."""
        ...

    @property
    def target(self) -> Target:
        """Which number of each query is wanted."""
        ...

    def identity(self) -> str:
        """Return a digest of all that decides the outputs beside mask and seed."""
        ...

    def group_size(self, n_rows: int) -> int:
        """Return how many models of ``n_rows`` rows each may be trained at once."""
        ...

    def train_group(
        self, masks: NDArray[np.bool_], seeds: NDArray[np.int64]
    ) -> NDArray[np.floating]:
        """Return the outputs of models with equally many rows, ``[m, n_query, n_outputs]``."""
        ...


class RetrainedInGroups:
    """Gives a `GroupTrainer` the method of a `Retrainer`: keeps what is known, trains the rest."""

    def retrain(
        self: GroupTrainer,
        masks: NDArray[np.bool_],
        *,
        seeds: NDArray[np.integer],
        progress: RetrainingProgress | None = None,
    ) -> RetrainedTargets:
        """Train a model on the rows of each mask, with its seed; see `Retrainer.retrain`.

        Raises:
            RetrainingError: Masks and seeds do not fit, rows of a mask determine no model, or a
                training diverges.
            RecipeError: A mask has fewer rows than one batch takes.
            RetrainingFileError: A file of kept outputs is damaged.
        """
        checked = _check(masks, seeds, self.n_train)
        if self.is_deterministic:
            checked = np.zeros_like(checked)
        keys = model_keys(masks, checked)
        kept = KeptOutputs.open(self.directory, self.identity())
        first = {key: model for model, key in reversed(list(enumerate(keys)))}
        missing = np.array(
            [model for key, model in first.items() if key not in kept.outputs], dtype=np.intp
        )
        spent, n_done = 0.0, len(first) - len(missing)
        for group in _groups(self, masks, np.sort(missing)):
            start = time.process_time()
            outputs = self.train_group(masks[group], checked[group])
            refuse_diverged(outputs, masks[group], checked[group])
            members = dict.fromkeys(group.tolist())
            kept.add([keys[model] for model in members], outputs[: len(members)])
            spent += time.process_time() - start
            n_done += len(members)
            if progress is not None:
                progress(RetrainingStep(n_done, len(first), spent))
        return RetrainedTargets(
            masks=masks,
            seeds=np.asarray(seeds, dtype=np.int64),
            outputs=np.stack([kept.outputs[key] for key in keys]),
            labels=self.query_labels,
            loss=self.loss,
            target=self.target,
            cpu_seconds=spent,
        )


def _groups(
    trainer: GroupTrainer, masks: NDArray[np.bool_], missing: NDArray[np.intp]
) -> list[NDArray[np.intp]]:
    """Cut models into groups of equally many rows and of equal size.

    A group that would be one short gets its last model twice, as a compiled training serves one
    group size only.
    """
    n_rows = masks[missing].sum(axis=1)
    groups: list[NDArray[np.intp]] = []
    for count in np.unique(n_rows):
        alike = missing[n_rows == count]
        n_groups = -(-len(alike) // trainer.group_size(int(count)))
        size = -(-len(alike) // n_groups)
        parts = np.array_split(alike, n_groups)
        groups += [np.pad(part, (0, size - len(part)), mode="edge") for part in parts]
    return groups


def _check(masks: NDArray[np.bool_], seeds: NDArray[np.integer], n_train: int) -> NDArray[np.int64]:
    if masks.dtype != np.bool_ or masks.ndim != 2 or masks.shape[1] != n_train:  # noqa: PLR2004 - a matrix
        raise RetrainingError(
            f"Masks of {masks.dtype} and shape {list(masks.shape)}",
            f"the training table has {n_train} rows",
            "pass booleans, one row for each model and one column for each training row",
        )
    whole = np.asarray(seeds)
    if whole.shape != (len(masks),) or not np.issubdtype(whole.dtype, np.integer):
        raise RetrainingError(
            f"Seeds of {whole.dtype} and shape {list(whole.shape)}",
            f"there are {len(masks)} models",
            "pass one whole number for each",
        )
    if not len(masks) or whole.min() < 0 or not masks.any(axis=1).all():
        raise RetrainingError(
            "These masks and seeds",
            "there is no model, a model without rows, or a seed below 0",
            "give every model some rows and a seed of at least 0",
        )
    return whole.astype(np.int64)
