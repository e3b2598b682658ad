"""A recorded training of a net as a store keeps it: its numbers, without its code."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traceprop_engine.errors import InfluenceTargetError, NetNotStoredError
from traceprop_engine.gradients.net_run import NetRun, Parameters, TrainedNet
from traceprop_engine.gradients.recorded import Loss, NamedTarget, OutputTarget
from traceprop_engine.gradients.rows import RowGradients
from traceprop_engine.training.losses import Family
from traceprop_engine.training.recipe import TrainingRecipe

GradientsAt = Callable[[int], RowGradients]
"""Gradients of rows at a checkpoint, given its position."""


@dataclass(frozen=True, eq=False)
class StoredQuestions:
    """Predictions that were recorded with their gradients.

    Attributes:
        target: Which scalar the gradients are of.
        at: Their gradients.
    """

    target: NamedTarget
    at: GradientsAt


@dataclass(frozen=True, eq=False)
class StoredNet:
    """A net that a store holds: a `RecordedTraining` that answers from what was written down.

    The code of the net is not stored. So gradients are those of the training rows, and of the
    predictions that were recorded with the net, which `asked` chooses. With its code, `restored`
    gives a net that answers for any row.

    Attributes:
        name: Name of the training.
        family: The kind of convex model whose outputs read like those of the net.
        loss: What was minimised.
        steps: Optimiser steps of the checkpoints, ascending.
        feature_names: Columns of the features.
        label: Column of the label.
        classes: Classes of the label in ascending order; empty where values were trained.
        features: Training rows, ``[n_train, n_features]``.
        targets: Their labels as the loss reads them, ``[n_train]``.
        n_parameters: Numbers that were trained.
        loss_curve: Mean loss of the training rows at each checkpoint.
        metrics: Quality on the training rows.
        recipe: How it was trained, where that was known.
        parameters_at: The arrays of the net at a checkpoint.
        gradients_at: Gradients of the training rows at a checkpoint.
        questions: The predictions that are asked about, if any were chosen.
    """

    name: str
    family: Family
    loss: Loss
    steps: tuple[int, ...]
    feature_names: tuple[str, ...]
    label: str
    classes: tuple[object, ...]
    features: NDArray[np.floating]
    targets: NDArray[np.float64]
    n_parameters: int
    loss_curve: tuple[float, ...]
    metrics: Mapping[str, float]
    recipe: TrainingRecipe | None
    parameters_at: Callable[[int], Parameters]
    gradients_at: GradientsAt
    questions: StoredQuestions | None = None

    @property
    def n_train(self) -> int:
        """Rows that it was trained on."""
        return len(self.features)

    @property
    def n_outputs(self) -> int:
        """Outputs of the net for one row."""
        return len(self.classes) if self.family == "softmax" else 1

    @cached_property
    def labels(self) -> NDArray[np.generic]:
        """Labels as they stood in the training table, ``[n_train]``."""
        if not self.classes:
            return self.targets
        return np.asarray(self.classes)[self.targets.astype(np.intp)]

    @property
    def trained_labels(self) -> NDArray[np.generic]:
        """Labels as the net was trained on them: positions of classes, or float32 values."""
        return self.targets.astype(np.int64 if self.classes else np.float32)

    def parameters(self, checkpoint: int) -> Parameters:
        """Return the arrays of the net at a checkpoint, by name."""
        return self.parameters_at(checkpoint)

    @property
    def recorded(self) -> StoredQuestions:
        """The recorded predictions that the net answers for.

        Raises:
            NetNotStoredError: None were chosen.
        """
        if self.questions is None:
            raise NetNotStoredError(self.name)
        return self.questions

    def asked(self, questions: StoredQuestions) -> "StoredNet":
        """Return the net with the recorded predictions that it shall answer for."""
        return replace(self, questions=questions)

    def restored(self, make: Callable[["StoredNet"], TrainedNet]) -> NetRun:
        """Return the net with its code, ready to predict.

        Args:
            make: Builds the training from this, such as
                ``lambda net: TorchTraining.from_stored(net, module)``.
        """
        rows = pd.RangeIndex(self.n_train)
        return NetRun(make(self), self.feature_names, self.label, self.classes, rows)

    def train_gradients(self, checkpoint: int) -> RowGradients:
        """Return the gradients of all training rows, as they were recorded."""
        return self.gradients_at(checkpoint)

    def query_gradients(
        self,
        checkpoint: int,
        features: NDArray[Any],
        labels: NDArray[np.generic] | Sequence[object] | None,  # noqa: ARG002 (the protocol's)
        target: OutputTarget,
    ) -> RowGradients:
        """Return the gradients of recorded predictions.

        Args:
            checkpoint: Position in `steps`.
            features: In place of features, row numbers of the predictions, ``[n_query, 1]``.
            labels: Not read: what is explained was decided when the predictions were recorded.
            target: What the gradients must be of.

        Raises:
            NetNotStoredError: No predictions were chosen.
            InfluenceTargetError: The gradients are of another target.
        """
        recorded = self.recorded
        if target != recorded.target:
            raise InfluenceTargetError(
                str(target),
                f"was not recorded with the predictions of net {self.name!r}",
                f"ask for {recorded.target!r}, or restore the net with its code",
            )
        return recorded.at(checkpoint).take(features[:, 0].astype(np.intp))
