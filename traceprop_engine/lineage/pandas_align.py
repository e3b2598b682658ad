"""Rows that come from several marked objects: aligned on labels, or one below the other."""

from collections.abc import Sequence
from typing import Any

from traceprop_engine.lineage.marks import Mark, Node, derived, stacked, steps_of
from traceprop_engine.lineage.pandas_marks import (
    has_mark,
    lost_mark,
    mark_of,
    marked_view,
    place,
    place_all,
    positions,
)
from traceprop_engine.lineage.rows import Rows, covers, no_rows, taken

Marked = tuple[Any, Mark]
"""An index and its mark."""


def row_index(obj: Any) -> Any:
    """Return the row index of a frame or a series."""
    return obj._mgr.axes[-1]


def row_mark(obj: Any) -> Mark | None:
    """Return the mark of the rows of a frame or a series."""
    return mark_of(obj._mgr.axes[-1])


def any_mark(obj: Any) -> Mark | None:
    """Return the mark of the rows of a frame or a series, also if they were turned to columns."""
    for index in reversed(obj._mgr.axes):
        mark = mark_of(index)
        if mark is not None:
            return mark
    return None


def is_marked(obj: Any) -> bool:
    """Say whether the rows of a frame or a series are followed, as rows or turned to columns."""
    return any(mark_of(index) is not None for index in obj._mgr.axes)


def kind_of(obj: Any) -> str:
    """Return what a frame or a series is called in the name of a method."""
    return "Series" if obj.ndim == 1 else "DataFrame"


def set_axis_mark(manager: Any, axis: int, mark: Mark | None) -> None:
    """Give one axis of a block manager a mark of its own."""
    axes = list(manager.axes)
    axes[axis] = marked_view(axes[axis], mark)
    manager.axes = axes


def set_row_mark(obj: Any, mark: Mark | None) -> None:
    """Give the rows of a frame or a series a mark of their own."""
    set_axis_mark(obj._mgr, obj.ndim - 1, mark)


def without_marks(obj: Any) -> Any:
    """Return a frame or series of the same data without any mark."""
    axes = [axis for axis, index in enumerate(obj._mgr.axes) if has_mark(index)]
    if not axes:
        return obj
    plain = obj.copy(deep=False)
    for axis in axes:
        set_axis_mark(plain._mgr, axis, None)
    return plain


def marked(indexes: Sequence[Any]) -> list[Marked]:
    """Return those indexes that have a mark, with it."""
    found = [(index, mark_of(index)) for index in indexes]
    return [(index, mark) for index, mark in found if mark is not None]


def is_same(one: Any, other: Any) -> bool:
    """Say whether two indexes are marked as the same rows in the same order."""
    if one._cache is other._cache:
        return True
    mark = mark_of(one)
    if mark is None or mark is not mark_of(other):
        return False
    return mark.rows is not None or one.is_(other)


def join_axis(manager: Any, axis: int, indexes: Sequence[Any], reason: str) -> None:
    """Mark an axis as rows that come from all marked ``indexes``, aligned on labels."""
    target = manager.axes[axis]
    operands = [pair for pair in marked(indexes) if not is_same(pair[0], target)]
    if operands:
        operands = [*marked([target]), *operands]
        set_axis_mark(manager, axis, joined_mark(target, operands, reason))


def joined_mark(target: Any, operands: Sequence[Marked], reason: str) -> Mark:
    """Return the mark of rows that come from several marked indexes, aligned on labels.

    What only depends on rows through a statistic adds no row beside others: it has been noted.
    """
    notes = operands[0][1].node.notes
    mine = [(index, mark) for index, mark in operands if mark.node.notes is notes]
    direct = [pair for pair in mine if not pair[1].node.is_statistic] or mine
    edges: list[tuple[Node, Rows]] = []
    for index, mark in direct:
        rows = aligned_rows(index, mark, target)
        if rows is None:
            return lost_mark(target, [mark for _, mark in mine], reason)
        _add_edge(edges, mark.node, rows)
    lost = {root: why for _, mark in mine for root, why in mark.node.lost.items()}
    steps = steps_of(mark for _, mark in mine)
    if len(edges) == 1 and lost == edges[0][0].lost:
        return place(target, *edges[0], steps)
    return place_all(target, derived(notes, len(target), edges, lost=lost), steps)


def aligned_rows(source: Any, mark: Mark, target: Any) -> Rows | None:
    """Return the rows of a marked index at the labels of another, ``None`` if labels repeat."""
    rows = positions(source, mark)
    if source.is_(target) or (len(source) == len(target) and source.equals(target)):
        return rows
    if not source._index_as_unique or source.nlevels != target.nlevels:
        return None
    return taken(rows, source.get_indexer(target))


def stacked_mark(target: Any, indexes: Sequence[Any], reason: str) -> Mark | None:
    """Return the mark of rows that are those of the indexes, one below the other."""
    operands = marked(indexes)
    if not operands:
        return None
    marks = [mark for _, mark in operands]
    notes = marks[0].node.notes
    if sum(map(len, indexes)) != len(target):
        return lost_mark(target, marks, reason)
    node = stacked(notes, [_piece(index, notes) for index in indexes])
    return place_all(target, node, steps_of(marks))


def declared_mark(target: Any, mark: Mark, claim: str) -> Mark:
    """Return the mark of rows of which the user said, by giving an index, which they are."""
    rows = positions(target, mark)
    node = derived(mark.node.notes, len(target), [(mark.node, rows)], claims=(claim,))
    return place_all(target, node, mark.steps)


def names_in_order(mark: Mark) -> tuple[str, ...]:
    """Return the inputs that rows come from, in the order they were loaded."""
    return tuple(name for name in mark.node.notes.inputs if name in mark.node.roots)


def _piece(index: Any, notes: Any) -> tuple[int, Node | None, Rows]:
    mark = mark_of(index)
    if mark is None or mark.node.notes is not notes:
        return len(index), None, no_rows(len(index))
    return len(index), mark.node, positions(index, mark)


def _add_edge(edges: list[tuple[Node, Rows]], node: Node, rows: Rows) -> None:
    for at, (other, known) in enumerate(edges):
        if other is node and covers(known, rows):
            return
        if other is node and covers(rows, known):
            edges[at] = (node, rows)
            return
    edges.append((node, rows))
