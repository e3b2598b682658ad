"""Errors of the granularity: how much is recorded."""

from collections.abc import Iterable

from traceprop_engine.errors.base import TracepropError


class GranularityError(TracepropError):
    """A granularity that does not exist."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"There is no granularity {name!r}; choose one of {', '.join(known)}.")
