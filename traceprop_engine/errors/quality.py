"""Errors of retraining on subsets and of measuring attributions against it."""

from traceprop_engine.errors.base import TracepropError


class RetrainingError(TracepropError):
    """Models cannot be retrained in this way."""

    def __init__(self, what: str, reason: str, way_out: str) -> None:
        super().__init__(f"{what} cannot be used: {reason}; {way_out}.")


class RetrainingFileError(TracepropError):
    """A file of kept results of retraining cannot be read."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"{path} does not hold results of retraining ({reason}); delete it, and its models are "
            "trained again."
        )


class QualityError(TracepropError):
    """The quality of an attribution cannot be measured in this way."""

    def __init__(self, reason: str, way_out: str) -> None:
        super().__init__(f"The quality of the attribution cannot be measured: {reason}; {way_out}.")
