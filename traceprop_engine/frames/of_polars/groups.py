"""Groups of the rows of a tracked Polars frame."""

from collections.abc import Iterator
from typing import Any

import polars as pl

from traceprop_engine.frames.hidden_names import ROW
from traceprop_engine.frames.of_polars.group_codes import group_codes
from traceprop_engine.frames.of_polars.hidden_rows import numbered, row_numbers
from traceprop_engine.lineage.rows import IntArray

_AGGREGATES = [
    "agg",
    "all",
    "count",
    "first",
    "last",
    "len",
    "max",
    "mean",
    "median",
    "min",
    "n_unique",
    "quantile",
    "sum",
]


class TrackedGroups:
    """What `TrackedPolars.group_by` gives; the verbs are those of Polars' group-by."""

    __slots__ = ("_groups", "_keys", "_maintain_order", "_tracked")

    def __init__(
        self, tracked: Any, groups: Any, keys: pl.DataFrame | None, *, maintain_order: bool
    ) -> None:
        """Hold the groups of a tracked frame, and the key of each row where it is understood."""
        self._tracked = tracked
        self._groups = groups
        self._keys = keys
        self._maintain_order = maintain_order

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        method = getattr(self._groups, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            if isinstance(result, type(self._groups)):  # some of the groups, as of `having`
                return TrackedGroups(self._tracked, result, None, maintain_order=False)
            codes = _codes(self._keys, result) if name in _AGGREGATES else None
            return self._tracked.of_groups(result, codes, name, args)

        return call

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """Yield the key and the rows of each group."""
        plain = self._tracked.__traceprop_plain__()
        if self._keys is None:
            for key, frame in self._groups:
                yield key, self._tracked.of_groups(frame, None, "group_by", ())
            return
        names = [f"{ROW}{at}" for at in range(self._keys.width)]
        keys = self._keys.rename(dict(zip(self._keys.columns, names, strict=True)))
        groups = numbered(plain).hstack(keys).group_by(names, maintain_order=self._maintain_order)
        for key, frame in groups:
            found = frame.select(plain.columns)
            yield key, self._tracked.of_rows(found, row_numbers(frame), "group_by")


def _codes(keys: pl.DataFrame | None, result: pl.DataFrame) -> IntArray | None:
    """Return the row of the result that each row of the frame went into.

    A row is looked up by its key, which every row of the result has to itself.
    """
    if keys is None or keys.columns != result.columns[: keys.width]:
        return None
    return group_codes(keys, result.select(keys.columns))
