"""The base of every error of this package."""

from collections.abc import Sequence


class TracepropError(Exception):
    """Base of the family; catch this one to catch them all. The CLI prints its message alone."""


class ExtraMissingError(TracepropError, ImportError):
    """A name stands on a library that is not installed."""

    def __init__(self, name: str, library: str, extra: str) -> None:
        super().__init__(
            f"`{name}` needs {library!r}, which is not installed; "
            f'install it with `pip install "traceprop-dagster[{extra}]"`.'
        )


def quoted(values: Sequence[object], limit: int = 8) -> str:
    """Return the values as a reader should see them, the first ones of many."""
    shown = ", ".join(repr(value) for value in values[:limit])
    return shown if len(values) <= limit else f"{shown}, and {len(values) - limit} more"
