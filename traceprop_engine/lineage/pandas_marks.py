"""What a pandas index carries while a capture session is open: which rows its positions are.

Marks live in ``Index._cache``, where pandas keeps facts about an immutable index: views and renamed
copies share it, every other index starts without one, so that a mark is lost rather than wrong.
Nothing that a user can see changes: neither labels, names and classes, nor what pandas takes for
the same index.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from traceprop_engine.lineage.marks import Mark, Node, Notes, Step, derived, lost_node, steps_of
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.lineage.rows import Rows, is_counting, kept

MARK = "traceprop_mark"


def mark_of(index: Any) -> Mark | None:
    """Return the mark of an index whose session is open."""
    mark = index._cache.get(MARK)
    return mark if mark is not None and mark.node.notes.is_open else None


def has_mark(index: Any) -> bool:
    """Say whether an index carries a mark, of whatever session."""
    return MARK in index._cache


def put_mark(index: Any, mark: Mark) -> None:
    """Mark an index that nobody else has yet."""
    index._cache[MARK] = mark


def marked_view(index: Any, mark: Mark | None) -> Any:
    """Return a view of an index with a mark of its own; pandas takes the two for the same."""
    view = index.view()
    view._cache = {key: value for key, value in index._cache.items() if key != MARK}
    if mark is not None:
        put_mark(view, mark)
    return view


def positions(index: Any, mark: Mark) -> Rows:
    """Return the row of the mark's node at each position of its index."""
    if mark.rows is not None:
        return mark.rows
    return index._range if isinstance(index, pd.RangeIndex) else index._values


def counts_from_zero(index: Any) -> bool:
    """Say whether the labels of an index are its positions."""
    return isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1


def root_mark(index: Any, notes: Notes, name: str) -> Mark:
    """Return the mark of the index of an input."""
    node = Node(notes, len(index), name=name, roots=frozenset([name]))
    return place_all(index, node, ())


def place(index: Any, node: Node, rows: Rows, steps: tuple[Step, ...]) -> Mark:
    """Return the mark of an index whose positions are these rows of a node."""
    if is_counting(rows, node.n_rows):
        return Mark(node, None if counts_from_zero(index) else rows, steps)
    rows = kept(rows)
    if counts_from_zero(index):
        return Mark(derived(node.notes, len(index), [(node, rows)]), None, steps)
    return Mark(node, rows, steps)


def place_all(index: Any, node: Node, steps: tuple[Step, ...]) -> Mark:
    """Return the mark of an index whose positions are the rows of a node, in order."""
    return place(index, node, range(node.n_rows), steps)


def lost_mark(index: Any, marks: Sequence[Mark], reason: str) -> Mark:
    """Return the mark of positions that may come from these rows, nobody knows how."""
    node = lost_node(marks[0].node.notes, len(index), [mark.node for mark in marks], reason)
    return place_all(index, node, steps_of(marks))


def row_node(index: Any, mark: Mark) -> Node:
    """Return a node whose rows are the positions of a marked index."""
    rows = positions(index, mark)
    if is_counting(rows, mark.node.n_rows):
        return mark.node
    return derived(mark.node.notes, len(index), [(mark.node, rows)])


def statistic_mark(index: Any, source: Any, mark: Mark) -> Mark:
    """Return the mark of rows that depend on all rows of ``source`` through a statistic."""
    base = row_node(source, mark)
    every = RowMap.context(len(index), range(base.n_rows), base.n_rows)
    node = Node(
        base.notes,
        len(index),
        edges=((base, every),),
        lost=base.lost,
        claims=base.claims,
        is_statistic=True,
        roots=base.roots,
    )
    return place_all(index, node, mark.steps)
