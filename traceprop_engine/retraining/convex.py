"""Convex models refitted on subsets of their rows, exactly."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.attribution.removal import remove_rows
from traceprop_engine.attribution.targets import Target
from traceprop_engine.digests import digest_arrays, identify
from traceprop_engine.errors import RetrainingError
from traceprop_engine.retraining.groups import RetrainedInGroups
from traceprop_engine.retraining.output_targets import target_values
from traceprop_engine.training.recipe import NetLoss
from traceprop_engine.training.run import TrainingRun

_REFITS_IN_A_FILE = 16


@dataclass(frozen=True, eq=False)
class RefitConvex(RetrainedInGroups):
    """Retrainer of a linear, logistic or softmax model: Newton steps to the subset's minimum.

    Each refit starts at the model of all rows and ends at the minimum of the subset, which training
    from nothing would reach as well; so there is no seed.

    Attributes:
        run: The model of all rows.
        features: The queries, ``[n_query, n_features]``.
        query_labels: Their labels as the loss reads them, ``[n_query]``.
        target: Which number of each query is returned.
        directory: Where results are kept, so that a second run goes on.
    """

    run: TrainingRun
    features: NDArray[np.float64]
    query_labels: NDArray[np.float64]
    target: Target
    directory: Path | None = None

    @classmethod
    def of(
        cls,
        run: TrainingRun,
        features: NDArray[np.float64],
        labels: NDArray[np.generic] | Sequence[object],
        *,
        target: Target | None = None,
        directory: Path | None = None,
    ) -> "RefitConvex":
        """Return the retrainer of a model.

        Args:
            run: The model of all rows.
            features: The queries, ``[n_query, n_features]``.
            labels: Their true labels.
            target: By default the margin of a classifier, the prediction of a linear model.
            directory: Where results are kept, so that a second run goes on.

        Raises:
            QueryShapeError: The queries do not fit the model.
            UnknownClassError: A label is not a class of the model.
            RetrainingError: This model has no such target.
        """
        own: Target = "prediction" if run.family == "linear" else "margin"
        encoded = run.encode_query(features, labels)
        retrainer = cls(run, features, encoded, own if target is None else target, directory)
        outputs = run.outputs(features)[None]
        target_values(outputs, encoded, retrainer.loss, retrainer.target)
        return retrainer

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.run.name

    @property
    def n_train(self) -> int:
        """Rows of the full training table."""
        return self.run.n_train

    @property
    def n_query(self) -> int:
        """Number of queries."""
        return len(self.features)

    @property
    def loss(self) -> NetLoss:
        """What the model minimises, in the words of the retrainers of nets."""
        return "squared" if self.run.family == "linear" else "cross_entropy"

    @property
    def seed_policy(self) -> str:
        """What a seed decides: nothing."""
        return "exact minimum of the subset, no seed"

    @property
    def is_deterministic(self) -> bool:
        """Whether the seed decides nothing."""
        return True

    def identity(self) -> str:
        """Return a digest of the model, its rows and the queries."""
        run = self.run
        arrays = [run.features, run.targets, self.features, self.query_labels]
        facts = {
            "family": run.family,
            "l2": run.l2,
            "intercept": run.fit_intercept,
            "data": digest_arrays(arrays),
        }
        return identify("refit", facts)

    def group_size(self, n_rows: int) -> int:  # noqa: ARG002 - the same for any number of rows
        """Return how many refits make up one file."""
        return _REFITS_IN_A_FILE

    def train_group(
        self,
        masks: NDArray[np.bool_],
        seeds: NDArray[np.int64],  # noqa: ARG002 - there is no chance in it
    ) -> NDArray[np.float64]:
        """Return the outputs of a few refits, ``[m, n_query, n_outputs]``."""
        return np.stack([self._outputs(mask) for mask in masks])

    def _outputs(self, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        if self.run.classes and len(np.unique(self.run.targets[mask])) < len(self.run.classes):
            raise RetrainingError(
                f"{mask.sum()} rows of {self.run.name!r}",
                "a class is without a row there",
                "keep more rows, or leave rare classes out",
            )
        after = remove_rows(self.run, np.flatnonzero(~mask)).run
        return after.outputs(self.features)
