"""Errors of models, their training and their influence."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from traceprop_engine.errors.base import TracepropError, quoted


class UnknownColumnError(TracepropError):
    """A column was asked for that the table does not have."""

    def __init__(self, column: str, available: Sequence[str]) -> None:
        near = get_close_matches(column, available, n=3)
        hint = f"did you mean {quoted(near)}?" if near else f"it has {quoted(available)}."
        super().__init__(f"There is no column {column!r} in the table; {hint}")


class FeatureListError(TracepropError):
    """The list of features cannot describe a model."""

    def __init__(self, reason: str, way_out: str) -> None:
        super().__init__(f"{reason}; {way_out}.")


class NonNumericFeatureError(TracepropError):
    """A feature holds something other than real numbers."""

    def __init__(self, column: str, dtype: str) -> None:
        super().__init__(
            f"Feature {column!r} has dtype {dtype}, but a model needs numbers; "
            "encode it (for example one-hot) or leave it out of `features`."
        )


class NonFiniteColumnError(TracepropError):
    """A feature or label holds a missing or infinite value."""

    def __init__(self, column: str, position: int, row: Any, value: object) -> None:
        label = row.item() if hasattr(row, "item") else row  # 3, not np.int64(3)
        super().__init__(
            f"Column {column!r} is {value} first at row position {position} (index {label!r}); "
            "impute the value or drop the row."
        )


class LabelClassesError(TracepropError):
    """The label's classes do not fit the kind of model."""

    def __init__(self, label: str, classes: Sequence[object], wanted: str) -> None:
        super().__init__(f"Label {label!r} has {_classes(classes)}; {wanted}.")


class UnknownClassError(TracepropError):
    """A class that the model was not trained on."""

    def __init__(self, value: object, classes: Sequence[object]) -> None:
        super().__init__(
            f"{value!r} is not a class of this model; it was trained on {quoted(classes)}."
        )


class EmptyTableError(TracepropError):
    """A table without rows where rows are needed."""

    def __init__(self, purpose: str) -> None:
        super().__init__(
            f"The table has no rows, so there is nothing to {purpose}; check the steps before it."
        )


class PenaltyError(TracepropError):
    """The strength of the penalty is not a number that a penalty can have."""

    def __init__(self, l2: float) -> None:
        super().__init__(f"`l2` must be finite and at least 0, got {l2!r}.")


class SingularCurvatureError(TracepropError):
    """The training objective has no unique minimum."""

    def __init__(self, columns: Sequence[str]) -> None:
        super().__init__(
            f"Columns {quoted(columns)} are constant or linearly dependent (an unpenalised "
            "intercept counts as a constant column), so the model has no unique parameters; "
            "set l2 > 0 or drop one of them."
        )


class SeparableClassesError(TracepropError):
    """Without a penalty the parameters of separable classes run to infinity."""

    def __init__(self, label: str) -> None:
        super().__init__(
            f"The features separate the classes of {label!r} perfectly (in whole or in part), so "
            "without a penalty the parameters grow without bound; set l2 > 0."
        )


class TrainingStalledError(TracepropError):
    """The solver stopped before it reached the minimum."""

    def __init__(self, name: str, gradient_norm: float, tolerance: float, n_steps: int) -> None:
        super().__init__(
            f"Training {name!r} stopped after {n_steps} steps at gradient norm {gradient_norm:.3g} "
            f"(wanted {tolerance:.3g}); scale the features to similar size or raise l2."
        )


class UnsupportedEstimatorError(TracepropError):
    """A fitted estimator whose objective cannot be written exactly."""

    def __init__(self, estimator: str, reason: str, way_out: str) -> None:
        super().__init__(f"{estimator} cannot be taken over exactly: {reason}; {way_out}.")


class UnconvergedRunError(TracepropError):
    """Influence was asked of a model that is not at its minimum."""

    def __init__(self, name: str, gradient_norm: float, tolerance: float) -> None:
        super().__init__(
            f"Training run {name!r} is not at its minimum (gradient norm {gradient_norm:.3g}, "
            f"tolerance {tolerance:.3g}), where influence is defined; finish it with "
            "`run.polish()`, or pass allow_unconverged=True to accept scores off by that much."
        )


class InfluenceTargetError(TracepropError):
    """A target that this model cannot be asked for, or not in this way."""

    def __init__(self, target: str, reason: str, way_out: str) -> None:
        super().__init__(f"Target {target!r} {reason}; {way_out}.")


class QueryShapeError(TracepropError):
    """Query features whose shape or values do not fit the model."""

    def __init__(self, what: str, wanted: str, got: str) -> None:
        super().__init__(f"{what} must be {wanted}, got {got}.")


class TrainingRowError(TracepropError):
    """Rows that cannot be taken out of a training run."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"These rows cannot be taken out of the training run: {reason}.")


class RollUpError(TracepropError):
    """Scores that cannot be carried through a row map."""

    def __init__(self, reason: str, way_out: str) -> None:
        super().__init__(f"The scores cannot be rolled up: {reason}; {way_out}.")


class ModelSizeError(TracepropError):
    """A model with too many parameters for the exact method."""

    def __init__(self, n_parameters: int, limit: int) -> None:
        super().__init__(
            f"The model would have {n_parameters:,} parameters, and the exact method stops at "
            f"{limit:,}; use fewer features, or check that the label is one of few classes."
        )


def _classes(classes: Sequence[object]) -> str:
    if len(classes) == 1:
        return f"only one class, {classes[0]!r}"
    return f"{len(classes)} classes, {quoted(classes)}"
