"""What retraining gives, and what every retrainer can be asked."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.attribution.targets import Target
from traceprop_engine.errors import RetrainingError
from traceprop_engine.retraining.output_targets import predicted_classes, target_values
from traceprop_engine.training.recipe import NetLoss


@dataclass(frozen=True)
class RetrainingStep:
    """Where retraining stands; handed to a progress callback after each group of models.

    Attributes:
        n_done: Models whose outputs are known, those kept by an earlier run included.
        n_models: Models that are wanted.
        cpu_seconds: Processor time that this run has spent on training.
    """

    n_done: int
    n_models: int
    cpu_seconds: float


RetrainingProgress = Callable[[RetrainingStep], None]
"""What a caller passes to follow retraining."""


@dataclass(frozen=True, eq=False)
class RetrainedTargets:
    """What the queries got from each of ``m`` retrained models.

    Attributes:
        masks: Which training rows each model was trained on, ``[m, n_train]``.
        seeds: Seed of each model, ``[m]``.
        outputs: Outputs of each model for each query, ``[m, n_query, n_outputs]``.
        labels: The queries' labels as the loss reads them, ``[n_query]``: a value, or the position
            of the class.
        loss: What the models minimise.
        target: Which number of a query `values` holds.
        cpu_seconds: Processor time spent; 0 where all was kept from an earlier run.

    Raises:
        RetrainingError: Some outputs are not finite.
    """

    masks: NDArray[np.bool_]
    seeds: NDArray[np.int64]
    outputs: NDArray[np.floating]
    labels: NDArray[np.float64]
    loss: NetLoss
    target: Target
    cpu_seconds: float

    def __post_init__(self) -> None:
        refuse_diverged(self.outputs, self.masks, self.seeds)

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """The target of each query in each model, ``[m, n_query]``."""
        return target_values(self.outputs, self.labels, self.loss, self.target)

    @property
    def unit(self) -> str:
        """Unit of `values`."""
        if self.loss == "squared":
            label = "unit of the label"
            return label if self.target == "prediction" else f"half squared {label}"
        return "nats" if self.target == "loss" else "log-odds"

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The class that each model gives each query, ``[m, n_query]``.

        Raises:
            RetrainingError: The models predict no classes.
        """
        return predicted_classes(self.outputs, self.loss)

    def of(self, target: Target) -> "RetrainedTargets":
        """Return the same models with another number of each query as `values`.

        Raises:
            RetrainingError: Their loss has no such target.
        """
        changed = replace(self, target=target)
        target_values(self.outputs[:0], self.labels, self.loss, target)
        return changed


def refuse_diverged(
    outputs: NDArray[np.floating], masks: NDArray[np.bool_], seeds: NDArray[np.int64]
) -> None:
    """Refuse outputs that no order of models can be read from.

    Args:
        outputs: ``[m, n_query, n_outputs]``.
        masks: Rows of each model, ``[m, n_train]``.
        seeds: Seed of each model, ``[m]``.

    Raises:
        RetrainingError: Some are not finite.
    """
    lost = np.flatnonzero(~np.isfinite(outputs).all(axis=(1, 2)))
    if len(lost):
        raise RetrainingError(
            f"{masks[lost[0]].sum()} rows with seed {seeds[lost[0]]}",
            "the model's outputs are not finite, its training diverged",
            "lower the learning rate, or look for missing values in rows and queries",
        )


class Retrainer(Protocol):
    """Trains one model on subsets of its rows, and says what a fixed set of queries then gets."""

    @property
    def name(self) -> str:
        """Name of the model."""
        ...

    @property
    def n_train(self) -> int:
        """Rows of the full training table."""
        ...

    @property
    def n_query(self) -> int:
        """Queries whose targets are returned."""
        ...

    @property
    def target(self) -> Target:
        """Which number of each query is returned."""
        ...

    @property
    def seed_policy(self) -> str:
        """What a model's seed decides, and what becomes of rows left out, in words."""
        ...

    @property
    def is_deterministic(self) -> bool:
        """Whether the seed decides nothing, as for a convex model."""
        ...

    def retrain(
        self,
        masks: NDArray[np.bool_],
        *,
        seeds: NDArray[np.integer],
        progress: RetrainingProgress | None = None,
    ) -> RetrainedTargets:
        """Train a model on the rows of each mask, with its seed.

        Args:
            masks: ``[m, n_train]``; true for the rows that a model is trained on.
            seeds: ``[m]``, at least 0.
            progress: Called after each group of models.

        Raises:
            RetrainingError: Masks and seeds do not fit, or too few rows remain.
        """
        ...
