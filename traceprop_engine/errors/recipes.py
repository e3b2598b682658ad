"""Errors of training recipes."""

from traceprop_engine.errors.base import TracepropError


class RecipeError(TracepropError):
    """A training recipe that cannot be followed."""

    def __init__(self, field: str, value: object, wanted: str) -> None:
        super().__init__(f"`{field}` of a training recipe must be {wanted}, got {value!r}.")
