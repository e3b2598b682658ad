"""Notes on rows that take part in a statistic, or whose values leave pandas.

A scalar or an array carries no mark. What depends on it depends on the rows it was made of; they
are written down, once for each statistic, so that nothing is missing from the lineage.
"""

from collections.abc import Iterable
from typing import Any

from pandas.core.generic import NDFrame
from pandas.core.indexes.base import Index

from traceprop_engine.lineage.marks import Mark, write_note
from traceprop_engine.lineage.pandas_marks import counts_from_zero, mark_of, positions


def note_rows(mark: Mark, index: Any, statistic: str, column: Any) -> None:
    """Write down that the rows of a marked index took part in a statistic.

    Args:
        mark: The mark of ``index``.
        index: Its positions are the rows.
        statistic: What was computed, or how the values left.
        column: The column they are of, if it is one.
    """
    rows = positions(index, mark)
    write_note(mark, statistic, column, rows, id(rows), rows)


def note_some_rows(mark: Mark, index: Any, statistic: str, column: Any, at: slice) -> None:
    """Write down that the positions ``at`` of a marked index took part in a statistic."""
    rows = positions(index, mark)
    write_note(mark, statistic, column, rows[at], (id(rows), at.start, at.stop), rows)


def note_object(obj: Any, statistic: str) -> None:
    """Write down that all rows of a frame or series took part, those turned to columns too."""
    for axis, index in enumerate(reversed(obj._mgr.axes)):
        mark = mark_of(index)
        if mark is not None:
            note_rows(mark, index, statistic, column_of(obj) if axis == 0 else None)


def note_labels(index: Any, statistic: str) -> None:
    """Write down that labels left, unless they are no more than the numbers of the rows."""
    mark = mark_of(index)
    if mark is not None and not (mark.rows is None and counts_from_zero(index)):
        note_rows(mark, index, statistic, index.name)


def others_among(obj: Any, arguments: Iterable[Any]) -> list[Any]:
    """Return the marked frames, series and indexes among the arguments that are other rows.

    Lists, tuples and mappings of them are looked into.
    """
    found: list[Any] = []
    for each in arguments:
        if isinstance(each, (list, tuple)):
            found += others_among(obj, each)
        elif isinstance(each, dict):
            found += others_among(obj, each.values())
        elif isinstance(each, (NDFrame, Index)) and not _has_rows_of(obj, each):
            found.append(each)
    return found


def note_others(others: Iterable[Any], statistic: str) -> None:
    """Write down that other objects were read."""
    for each in others:
        if isinstance(each, NDFrame):
            note_object(each, statistic)
        else:
            mark = mark_of(each)
            if mark is not None:
                note_rows(mark, each, statistic, each.name)


def _has_rows_of(obj: Any, other: Any) -> bool:
    """Say whether another object has no mark, or the rows of ``obj``."""
    index = other if isinstance(other, Index) else other._mgr.axes[-1]
    mark, own = mark_of(index), mark_of(obj._mgr.axes[-1])
    if mark is None:
        return not isinstance(other, NDFrame) or mark_of(other._mgr.axes[0]) is None
    if own is None or own.node is not mark.node:
        return False
    return index.is_(obj._mgr.axes[-1]) or (own.rows is None and mark.rows is None)


def column_of(obj: Any) -> Any:
    """Return the one column that a frame or a series is of, ``None`` if it is of several."""
    if obj.ndim == 1:
        return obj.name
    columns = obj._mgr.axes[0]
    return columns[0] if len(columns) == 1 else None
