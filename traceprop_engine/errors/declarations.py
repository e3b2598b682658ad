"""Errors of rows that a user declares."""

from traceprop_engine.errors.base import TracepropError


class DeclarationError(TracepropError):
    """Declared rows that cannot be those of the result."""

    def __init__(self, problem: str, way_out: str) -> None:
        super().__init__(f"{problem}; {way_out}.")
