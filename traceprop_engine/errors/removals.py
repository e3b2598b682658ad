"""Errors of asking what a prediction would be without a group of rows."""

from collections.abc import Sequence

from traceprop_engine.errors.base import TracepropError, quoted


class RemovalChoiceError(TracepropError):
    """It is not said, or said twice, which rows shall be removed."""

    def __init__(self, reason: str, way_out: str) -> None:
        super().__init__(f"It is unclear which rows to remove: {reason}; {way_out}.")


class NotBehindModelError(TracepropError):
    """A source, or rows of it, that no training row of the model was made from."""

    def __init__(self, source: str, model: str, known: Sequence[str]) -> None:
        listed = f"there are rows of {quoted(known)} behind it" if known else "none are known"
        super().__init__(
            f"No training row of {model!r} is known to come from {source}; {listed}; choose rows "
            "that reach it, or training rows by their numbers."
        )
