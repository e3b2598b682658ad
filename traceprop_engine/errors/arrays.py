"""Errors of arrays that know their rows, and of the granularity."""

from collections.abc import Iterable

from traceprop_engine.errors.base import TracepropError


class GranularityError(TracepropError):
    """A granularity that does not exist."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"There is no granularity {name!r}; choose one of {', '.join(known)}.")


class ArrayInputError(TracepropError):
    """A value that cannot become an array that knows its rows."""

    def __init__(self, problem: str, way_out: str) -> None:
        super().__init__(f"{problem}; {way_out}.")
