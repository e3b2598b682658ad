"""Notes on rows that take part in a statistic, or whose values leave pandas.

A scalar or an array carries no mark. What depends on it depends on the rows it was made of; they
are written down, once for each statistic, so that nothing is missing from the lineage.
"""

from typing import Any

from traceprop_engine.lineage.pandas_marks import Mark, Note, mark_of, positions
from traceprop_engine.lineage.pandas_rows import Rows


def note_rows(mark: Mark, index: Any, statistic: str, column: Any) -> None:
    """Write down that the rows of a marked index took part in a statistic.

    Args:
        mark: The mark of ``index``.
        index: Its positions are the rows.
        statistic: What was computed, or how the values left.
        column: The column they are of, if it is one.
    """
    rows = positions(index, mark)
    _write(mark, statistic, column, rows, id(rows), rows)


def note_some_rows(mark: Mark, index: Any, statistic: str, column: Any, at: slice) -> None:
    """Write down that the positions ``at`` of a marked index took part in a statistic."""
    rows = positions(index, mark)
    _write(mark, statistic, column, rows[at], (id(rows), at.start, at.stop), rows)


def note_object(obj: Any, statistic: str) -> None:
    """Write down that all rows of a frame or series, if it is marked, took part in a statistic."""
    index = obj._mgr.axes[-1]
    mark = mark_of(index)
    if mark is not None:
        note_rows(mark, index, statistic, column_of(obj))


def column_of(obj: Any) -> Any:
    """Return the one column that a frame or a series is of, ``None`` if it is of several."""
    if obj.ndim == 1:
        return obj.name
    columns = obj._mgr.axes[0]
    return columns[0] if len(columns) == 1 else None


def _write(
    mark: Mark, statistic: str, column: Any, rows: Rows, key: object, kept_alive: Rows
) -> None:
    """Write a note, unless the same is written; what its key names by ``id`` is kept alive."""
    if mark.node.is_statistic and not mark.node.lost:
        return
    name = None if column is None else str(column)
    note = Note(statistic, name, mark.node, rows, kept_alive)
    mark.node.notes.found.setdefault((statistic, name, mark.node.number, key), note)
