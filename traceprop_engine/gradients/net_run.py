"""A net together with the table it was trained on, and its predictions with their gradients."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traceprop_engine.digests import digest_arrays, identify
from traceprop_engine.errors import FeatureListError, NetRowsError
from traceprop_engine.gradients.recorded import Loss, NamedTarget, RecordedTraining
from traceprop_engine.gradients.rows import RowGradients
from traceprop_engine.training.losses import Family
from traceprop_engine.training.metrics import evaluate_outputs
from traceprop_engine.training.predictions import prediction_columns
from traceprop_engine.training.recipe import TrainingRecipe
from traceprop_engine.training.tables import (
    check_features,
    class_positions,
    column_of,
    feature_matrix,
    find_classes,
    label_numbers,
    label_values,
)

Parameters = Mapping[str, NDArray[np.generic]]
"""The arrays of a net by name: what its framework needs to be where it was."""

_BINARY = 2


class TrainedNet(RecordedTraining, Protocol):
    """A recorded training that can still be run: its rows, its outputs, and its parameters."""

    @property
    def features(self) -> NDArray[np.generic]:
        """Training rows, ``[n_train, ...]``."""
        ...

    @property
    def labels(self) -> NDArray[np.generic]:
        """Their labels: positions of classes, or values."""
        ...

    @property
    def recipe(self) -> TrainingRecipe | None:
        """How it was trained, where that is known."""
        ...

    def outputs(self, features: NDArray[np.generic]) -> NDArray[np.floating]:
        """Return the outputs of rows after the last step, ``[n, n_outputs]``."""
        ...

    def parameters(self, checkpoint: int) -> Parameters:
        """Return the arrays of the net at a checkpoint."""
        ...


@dataclass(frozen=True, eq=False)
class NetRun:
    """A net trained on columns of a table; the counterpart of `TrainingRun` for convex models.

    Attributes:
        training: The recorded training.
        feature_names: Columns of the features, in order.
        label: Column of the label.
        classes: Classes of the label in ascending order; empty where values were trained.
        index: Index of the training table, which carries its lineage.
    """

    training: TrainedNet
    feature_names: tuple[str, ...]
    label: str
    classes: tuple[object, ...]
    index: pd.Index

    @classmethod
    def train(
        cls,
        frame: pd.DataFrame,
        *,
        features: Sequence[str],
        label: str,
        fit: Callable[[NDArray[np.float32], NDArray[np.generic]], TrainedNet],
        loss: Loss = "cross_entropy",
    ) -> "NetRun":
        """Train a net on columns of a table.

        Args:
            frame: The training table; one row for each training row.
            features: Columns to train on.
            label: Column of the label.
            fit: Trains the net on ``[n, n_features]`` float32 and labels ``[n]``: positions of the
                classes as int64, or values as float32; such as a call of `train_torch`.
            loss: Whether the label is a class or a value.

        Raises:
            TracepropError: The table cannot be trained on; the message names the column.
            NetRowsError: The training returned has other rows.
        """
        names = check_features(features, label)
        matrix = feature_matrix(frame, names).astype(np.float32)
        if loss == "squared":
            classes: tuple[object, ...] = ()
            targets: NDArray[np.generic] = label_numbers(frame, label).astype(np.float32)
        else:
            values = label_values(frame, label)
            classes = find_classes(values, label, binary=False)
            targets = class_positions(values, classes).astype(np.int64)
        training = fit(matrix, targets)
        if training.n_train != len(frame):
            raise NetRowsError(training.name, training.n_train, len(frame))
        return cls(training, names, label, classes, frame.index)

    @property
    def name(self) -> str:
        """Name of the training."""
        return self.training.name

    @property
    def n_train(self) -> int:
        """Rows that it was trained on."""
        return self.training.n_train

    def outputs(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Return the outputs of the rows of a table, ``[n, n_outputs]``.

        Raises:
            TracepropError: The table does not fit the net; the message names the column.
        """
        return np.asarray(self.training.outputs(self._matrix(frame)), dtype=np.float64)

    def evaluate(self, frame: pd.DataFrame, label: str | None = None) -> dict[str, float]:
        """Measure the net on labelled rows; metrics are those of `TrainingRun.evaluate`.

        Raises:
            TracepropError: The table does not fit the net; the message names the column.
        """
        outputs = self.outputs(frame)
        targets = self._targets(frame, self.label if label is None else label)
        return evaluate_outputs(outputs, targets, family_of(self.training.loss, outputs))

    def predict(
        self, frame: pd.DataFrame, *, label: str | None = None, keep: Sequence[str] = ()
    ) -> "NetPredictions":
        """Predict each row of a table, with what is needed to explain it later without the net.

        The gradients of every prediction are taken at all checkpoints: for a binary net with one
        output of its log-odds, for other classifiers of the log-odds of the predicted class against
        all others, else of the predicted value.

        Args:
            frame: A table with the features; its index is kept as it is.
            label: Column that holds the true label, if it is known.
            keep: Further columns to carry into the result.

        Raises:
            FeatureListError: A column to keep has the name of a prediction column.
            TracepropError: The table does not fit the net; the message names the column.
        """
        matrix = self._matrix(frame)
        outputs = np.asarray(self.training.outputs(matrix), dtype=np.float64)
        family = family_of(self.training.loss, outputs)
        targets = None if label is None else self._targets(frame, label)
        wanted = [*keep, *([] if label is None else [label])]
        kept = {name: column_of(frame, name) for name in wanted}
        columns = prediction_columns(outputs, family, self.classes)
        clash = [name for name in columns if name in kept]
        if clash:
            raise FeatureListError(
                f"Column {clash[0]!r} is also the name of a prediction column",
                "rename it before predicting",
            )
        asked = question_of(family)
        about = outputs.argmax(axis=1) if family == "softmax" else None
        gradients = tuple(
            self.training.query_gradients(checkpoint, matrix, about, asked)
            for checkpoint in range(len(self.training.steps))
        )
        table = frame[list(kept)].assign(**columns)
        net = state_digest(self.training.parameters(len(gradients) - 1))
        return NetPredictions(table, matrix, targets, asked, gradients, self.name, net)

    def _matrix(self, frame: pd.DataFrame) -> NDArray[np.float32]:
        return feature_matrix(frame, self.feature_names).astype(np.float32)

    def _targets(self, frame: pd.DataFrame, label: str) -> NDArray[np.float64]:
        if not self.classes:
            return label_numbers(frame, label)
        return class_positions(label_values(frame, label), self.classes)


@dataclass(frozen=True, eq=False)
class NetPredictions:
    """Predictions of a net, each with the gradient of what would be explained of it.

    Attributes:
        frame: The predictions, with the kept columns.
        features: The rows as the net saw them, ``[n, n_features]``.
        targets: True labels as the loss reads them, ``[n]``, if they were known.
        target: Which scalar the gradients are of.
        gradients: At each checkpoint of the training.
        name: Name of the training.
        net: Digest of the parameters that predicted, by which the net is known again.
    """

    frame: pd.DataFrame
    features: NDArray[np.float32]
    targets: NDArray[np.float64] | None
    target: NamedTarget
    gradients: tuple[RowGradients, ...]
    name: str
    net: str


def state_digest(state: Parameters) -> str:
    """Return a digest of the arrays of a net: their names, forms and every bit."""
    arrays = digest_arrays(map(np.asarray, state.values()))
    return identify("net", {"names": list(state), "arrays": arrays})


def family_of(loss: Loss, outputs: NDArray[np.floating]) -> Family:
    """Return the kind of convex model whose outputs read like those of a net."""
    if loss == "squared":
        return "linear"
    return "logistic" if outputs.shape[1] < _BINARY else "softmax"


def question_of(family: Family) -> NamedTarget:
    """Return what is explained of a prediction of a kind of net."""
    own: dict[Family, NamedTarget] = {
        "linear": "prediction",
        "logistic": "logit",
        "softmax": "margin",
    }
    return own[family]
