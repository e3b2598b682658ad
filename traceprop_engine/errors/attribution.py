"""Errors of estimating influence from the gradients of a recorded training."""

from traceprop_engine.errors.base import TracepropError


class DampingError(TracepropError):
    """A damping with which the curvature cannot be inverted, or that is no number to add to it."""

    def __init__(self, damping: object, reason: str, way_out: str) -> None:
        super().__init__(f"Damping {damping!r} cannot be used: {reason}; {way_out}.")


class CheckpointChoiceError(TracepropError):
    """Checkpoints that a recorded training does not have."""

    def __init__(self, training: str, reason: str, way_out: str) -> None:
        super().__init__(f"Checkpoints of training {training!r}: {reason}; {way_out}.")


class RowGradientsError(TracepropError):
    """Gradients that no influence can be computed from."""

    def __init__(self, what: str, reason: str, way_out: str) -> None:
        super().__init__(f"Gradients of {what} cannot be used: {reason}; {way_out}.")


class FunctionalError(TracepropError):
    """A number of a set of queries that these queries do not have."""

    def __init__(self, name: str, reason: str, way_out: str) -> None:
        super().__init__(f"Functional {name!r} {reason}; {way_out}.")


class EstimatorSettingError(TracepropError):
    """A setting of an estimator outside of what it can be."""

    def __init__(self, setting: str, wanted: str, got: object) -> None:
        super().__init__(f"`{setting}` must be {wanted}, got {got!r}.")
