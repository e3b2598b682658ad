"""Errors of trainings in JAX."""

from traceprop_engine.errors.base import TracepropError


class JaxTrainingError(TracepropError):
    """A net, its parameters or its rows that a training in JAX cannot work with."""

    def __init__(self, culprit: str, reason: str, way_out: str) -> None:
        super().__init__(f"{culprit} {reason}; {way_out}.")
