"""Errors of trainings that are saved and loaded."""

from traceprop_engine.errors.base import TracepropError


class TrainingNotSavedError(TracepropError):
    """A training that cannot be written where it should be."""

    def __init__(self, place: str, reason: str, way_out: str) -> None:
        super().__init__(f"The training was not saved in {place}: {reason}; {way_out}.")


class TrainingFilesError(TracepropError):
    """Files of a saved training that cannot be read as what was saved."""

    def __init__(self, place: str, reason: str, way_out: str) -> None:
        super().__init__(f"The training saved in {place} cannot be loaded: {reason}; {way_out}.")


class ModuleOutputsError(TracepropError):
    """A net with the right parameters that computes something else."""

    def __init__(self, training: str) -> None:
        super().__init__(
            f"The net that was given has other outputs for the rows of training {training!r} "
            "than the one that was trained; pass that one, built the same way."
        )
