"""Errors of arrays that are to be kept in a store."""

from traceprop_engine.errors.base import TracepropError


class ArrayNotKeptError(TracepropError):
    """An array that has no rows, or values that no table holds."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"{problem}; a store keeps arrays of truth values, numbers, texts or dates with at "
            "least one axis."
        )
