"""A trained model together with all it was trained on: the value that attribution starts from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traceprop_engine.errors import FeatureListError, QueryShapeError
from traceprop_engine.training.losses import Family, loss_of
from traceprop_engine.training.metrics import evaluate_outputs
from traceprop_engine.training.newton import Progress
from traceprop_engine.training.objective import Objective, linear_outputs, parameter_gradients
from traceprop_engine.training.predictions import Predictions, prediction_columns
from traceprop_engine.training.solver import ModelNames, reach_minimum
from traceprop_engine.training.tables import (
    class_positions,
    column_of,
    feature_matrix,
    label_numbers,
    label_values,
)


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """A linear, logistic or softmax model and the rows it was trained on.

    The model minimises ``sum_i loss_i + l2 / 2 * ||weights||²`` with the intercepts unpenalised;
    the loss is half the squared error, or the negative log-likelihood in nats. Arrays are
    read-only.

    Attributes:
        family: ``"linear"``, ``"logistic"`` (the one output is the log-odds of ``classes[1]``), or
            ``"softmax"`` (one output for each class, in the order of ``classes``).
        name: What the user calls this run.
        feature_names: Columns of the features, in order.
        label: Column of the label.
        classes: The label's classes in ascending order; empty for linear models.
        l2: Strength of the penalty.
        parameters: ``[n_outputs, n_features + 1]``, the intercept last.
        features: ``[n_train, n_features]`` float64.
        labels: ``[n_train]``, as they stood in the table.
        index: Index of the training table, as it was.
        n_iterations: Steps that the solver took.
        loss_curve: The objective before each step and at the end.
        fit_intercept: ``False`` when the intercepts are held at zero.
    """

    family: Family
    name: str
    feature_names: tuple[str, ...]
    label: str
    classes: tuple[object, ...]
    l2: float
    parameters: NDArray[np.float64]
    features: NDArray[np.float64]
    labels: NDArray[np.generic]
    index: pd.Index
    n_iterations: int = 0
    loss_curve: tuple[float, ...] = ()
    fit_intercept: bool = True

    def __post_init__(self) -> None:
        for name in ("parameters", "features", "labels"):
            object.__setattr__(self, name, _read_only(getattr(self, name)))

    @property
    def n_train(self) -> int:
        """Number of training rows."""
        return len(self.features)

    @property
    def n_outputs(self) -> int:
        """Linear outputs of the model: the number of classes for softmax, else 1."""
        return self.parameters.shape[0]

    @cached_property
    def targets(self) -> NDArray[np.float64]:
        """Labels as the loss reads them, ``[n_train]``: values, or positions in ``classes``."""
        return self.encode(self.labels)

    @cached_property
    def objective(self) -> Objective:
        """The objective that the parameters are meant to minimise."""
        return Objective(
            features=self.features,
            targets=self.targets,
            loss=loss_of(self.family),
            n_outputs=self.n_outputs,
            l2=self.l2,
            fit_intercept=self.fit_intercept,
        )

    @cached_property
    def gradient_norm(self) -> float:
        """Euclidean norm of the objective's gradient at the parameters."""
        return float(np.linalg.norm(self.objective.gradient(self.parameters)))

    @cached_property
    def gradient_tolerance(self) -> float:
        """Norm up to which the run counts as converged: ``1e-10 * n_train``, or rounding error."""
        return self.objective.tolerance(self.parameters)

    @property
    def converged(self) -> bool:
        """Whether the parameters are the minimum of the objective, to working precision."""
        return self.gradient_norm <= self.gradient_tolerance

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Quality on the training rows; see `evaluate`."""
        return evaluate_outputs(self.outputs(self.features), self.targets, self.family)

    def evaluate(self, frame: pd.DataFrame, label: str | None = None) -> dict[str, float]:
        """Measure the model on labelled rows.

        Args:
            frame: A table with the features and the label.
            label: Column of the label there; the training label's name by default.

        Returns:
            Linear: ``rmse``, ``r2``. Logistic: ``accuracy``, ``auc``, ``log_loss``. Softmax:
            ``accuracy``, ``log_loss``. What is undefined on these rows is left out.

        Raises:
            TracepropError: The table does not fit the model; the message names the column.
        """
        labels = self._labels_of(frame, self.label if label is None else label)
        outputs = self.outputs(feature_matrix(frame, self.feature_names))
        return evaluate_outputs(outputs, self.encode(labels), self.family)

    def predict(
        self, frame: pd.DataFrame, *, label: str | None = None, keep: Sequence[str] = ()
    ) -> Predictions:
        """Predict each row of a table.

        Args:
            frame: A table with the features; its index is kept as it is.
            label: Column that holds the true label, if it is known.
            keep: Further columns to carry into the result.

        Raises:
            UnknownColumnError: A column to keep is not in the table.
            FeatureListError: A column to keep has the name of a prediction column.
            TracepropError: The table does not fit the model; the message names the column.
        """
        features = feature_matrix(frame, self.feature_names)
        labels = None if label is None else self._labels_of(frame, label)
        wanted = [*keep, *([] if label is None else [label])]
        kept = {name: column_of(frame, name) for name in wanted}
        columns = prediction_columns(self.outputs(features), self.family, self.classes)
        clash = [name for name in columns if name in kept]
        if clash:
            raise FeatureListError(
                f"Column {clash[0]!r} is also the name of a prediction column",
                "rename it before predicting",
            )
        return Predictions(frame[list(kept)].assign(**columns), features, labels)

    def outputs(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the linear outputs of rows, ``[n, n_outputs]``.

        Raises:
            QueryShapeError: ``features`` is not ``[n, n_features]``.
        """
        return linear_outputs(self.check_query(features), self.parameters)

    def encode(self, labels: NDArray[np.generic] | Sequence[object]) -> NDArray[np.float64]:
        """Return labels as the loss reads them, ``[n]``: values, or positions in ``classes``.

        Raises:
            UnknownClassError: A label is not one of the classes.
        """
        if self.family == "linear":
            return np.asarray(labels, dtype=np.float64)
        return class_positions(labels, self.classes)

    def per_sample_grads(
        self,
        features: NDArray[np.float64] | None = None,
        labels: NDArray[np.generic] | Sequence[object] | None = None,
    ) -> NDArray[np.float64]:
        """Return the gradient of each row's loss in the parameters, without the penalty.

        Args:
            features: ``[n, n_features]``; the training rows by default.
            labels: ``[n]``, needed with ``features``.

        Returns:
            ``[n, n_outputs * (n_features + 1)]``, laid out output by output, intercept last.

        Raises:
            QueryShapeError: Features or labels do not fit the model or each other.
            UnknownClassError: A label is not one of the classes.
        """
        if features is None:
            features, targets = self.features, self.targets
        else:
            targets = self.encode_query(features, labels)
        slopes = self.objective.loss.slope(self.outputs(features), targets)
        return parameter_gradients(slopes, features, fit_intercept=self.fit_intercept)

    def hessian(self) -> NDArray[np.float64]:
        """Return the Hessian of the objective, penalty included, ``[n_parameters] * 2``."""
        return self.objective.hessian(self.parameters)

    def check_query(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return query features once they fit the model.

        Raises:
            QueryShapeError: They are not ``[n, n_features]``, or not finite.
        """
        wanted = f"[n, {len(self.feature_names)}]"
        if features.ndim != 2 or features.shape[1] != len(self.feature_names):  # noqa: PLR2004 - a matrix
            raise QueryShapeError("features", wanted, str(list(features.shape)))
        if not np.isfinite(features).all():
            raise QueryShapeError("features", "finite", "a missing or infinite value")
        return features

    def encode_query(
        self,
        features: NDArray[np.float64],
        labels: NDArray[np.generic] | Sequence[object] | None,
    ) -> NDArray[np.float64]:
        """Return the labels of query rows as the loss reads them, ``[n]``.

        Raises:
            QueryShapeError: Features do not fit the model, or there is not one label for each row.
            UnknownClassError: A label is not one of the classes.
        """
        self.check_query(features)
        given = "none" if labels is None else f"{len(labels)}"
        if labels is None or len(labels) != len(features):
            raise QueryShapeError("labels", f"one for each of {len(features)} rows", given)
        return self.encode(labels)

    def polish(self, *, progress: Progress | None = None) -> "TrainingRun":
        """Return this run carried on to the minimum by Newton steps.

        Args:
            progress: Called with a `TrainingStep` before each step and at the end.

        Raises:
            SingularCurvatureError: Columns are linearly dependent and nothing penalises them.
            SeparableClassesError: Classes are separable and nothing penalises the parameters.
            TrainingStalledError: Rounding or the step limit ended the descent too early.
        """
        minimum = reach_minimum(
            self.objective,
            self.parameters,
            family=self.family,
            names=ModelNames(self.name, self.label, self.feature_names),
            progress=progress,
        )
        return replace(
            self,
            parameters=minimum.parameters,
            n_iterations=self.n_iterations + len(minimum.loss_curve) - 1,
            loss_curve=(*self.loss_curve[:-1], *minimum.loss_curve),
        )

    def _labels_of(self, frame: pd.DataFrame, label: str) -> NDArray[np.generic]:
        if self.family == "linear":
            return label_numbers(frame, label)
        labels = label_values(frame, label)
        self.encode(labels)
        return labels


def _read_only(array: NDArray[np.generic]) -> NDArray[np.generic]:
    view = array.view()
    view.flags.writeable = False
    return view
