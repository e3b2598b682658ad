"""Which rows a join of two Polars frames brings together."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from traceprop_engine.frames.hidden_names import OTHER_ROW, ROW
from traceprop_engine.frames.of_polars.hidden_rows import numbered, row_numbers, without_numbers
from traceprop_engine.lineage.rows import IntArray

_KEYS = ("on", "left_on", "right_on")
_ONE_SIDED = ("semi", "anti")


def join_rows(
    left: pl.DataFrame, right: Any, on: Any, how: Any, options: Mapping[str, Any]
) -> tuple[pl.DataFrame, IntArray, IntArray | None] | None:
    """Return a join, and the rows of both sides in it.

    Returns:
        The joined frame, and for each row of it the row of the left and of the right side, -1 where
        there is none; no rows of the right side for a join that only chooses rows of the left one.
        ``None`` for keys that are no columns.
    """
    keys = [on, *(options.get(name) for name in _KEYS)]
    if not isinstance(right, pl.DataFrame) or not all(_are_columns(each) for each in keys):
        return None
    frame = numbered(left).join(numbered(right, OTHER_ROW), on, how, **options)
    theirs = None if how in _ONE_SIDED else row_numbers(frame, OTHER_ROW)
    return without_numbers(frame), row_numbers(frame, ROW), theirs


def _are_columns(keys: Any) -> bool:
    """Say whether keys name columns one by one; a selector could meet the hidden ones."""
    if isinstance(keys, (list, tuple)):
        return all(_are_columns(each) for each in keys)
    return (
        keys is None
        or isinstance(keys, str)
        or (isinstance(keys, pl.Expr) and keys.meta.is_column())
    )
