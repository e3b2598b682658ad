"""What a pandas index carries while a capture session is open: which rows its positions are.

A *node* is a set of rows whose parents are known: an input, or the rows that an operation made. A
*mark* says which node an index belongs to, and which of its rows each position is. Marks live in
``Index._cache``, where pandas keeps facts about an immutable index: views and renamed copies share
it, every other index starts without one, so that a mark is lost rather than wrong. Nothing that a
user can see changes: neither labels, names and classes, nor what pandas takes for the same index.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

import pandas as pd

from traceprop_engine.lineage.captured import Op
from traceprop_engine.lineage.pandas_rows import Rows, as_array, is_counting, kept, taken
from traceprop_engine.lineage.row_map import RowMap

MARK = "traceprop_mark"

Via = Rows | RowMap
"""How the rows of a node follow from those of a parent: one row each, or any relation."""

Item = TypeVar("Item", bound=Hashable)

_numbers = count()


@dataclass(frozen=True, eq=False, slots=True)
class Step:
    """One recorded operation, and the operations before it."""

    op: Op
    before: "tuple[Step, ...]"
    number: int = field(default_factory=_numbers.__next__)


@dataclass(frozen=True, eq=False, slots=True)
class Note:
    """Rows of a node that took part in a statistic, or whose values left pandas.

    ``chosen_from`` keeps alive the vector that the rows were chosen from.
    """

    statistic: str
    column: str | None
    node: "Node"
    rows: Rows
    chosen_from: Rows


@dataclass(eq=False)
class Notes:
    """What a session writes down beside the rows.

    Attributes:
        is_open: Whether marks of the session are followed.
        inputs: The node of each input, in the order they were loaded.
        found: The notes on statistics, each once.
    """

    is_open: bool = False
    inputs: dict[str, "Node"] = field(default_factory=dict)
    found: dict[Hashable, Note] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """A set of rows.

    Attributes:
        notes: Of the session it belongs to.
        n_rows: How many rows it has.
        edges: The parents of the rows; together they say everything that is known.
        pieces: For stacked rows: the node and its rows of each piece, ``None`` for one without.
        name: The name of the input, if it is one.
        lost: Inputs that its rows may come from in a way that nobody followed, and why.
        claims: Where the user declared which rows these are.
        is_statistic: Whether its rows only depend on others through a statistic.
        roots: Names of the inputs that its rows come from.
        number: Grows with every node, so that parents have lower numbers.
    """

    notes: Notes
    n_rows: int
    edges: "tuple[tuple[Node, Via], ...]" = ()
    pieces: "tuple[tuple[int, Node | None, Rows], ...]" = ()
    name: str | None = None
    lost: dict[str, str] = field(default_factory=dict)
    claims: tuple[str, ...] = ()
    is_statistic: bool = False
    roots: frozenset[str] = frozenset()
    number: int = field(default_factory=_numbers.__next__)

    def parents(self) -> "list[Node]":
        """Return the nodes that its rows come from."""
        pieces = [node for _, node, _ in self.pieces if node is not None]
        return [node for node, _ in self.edges] + pieces


@dataclass(frozen=True, eq=False, slots=True)
class Mark:
    """Which rows of a node the positions of an index are.

    Attributes:
        node: The node.
        rows: Its row at each position; ``None`` when the labels of the index are the rows.
        steps: The last operations that led here.
    """

    node: Node
    rows: Rows | None
    steps: tuple[Step, ...] = ()


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


def derived(
    notes: Notes,
    n_rows: int,
    edges: Sequence[tuple[Node, Via]],
    *,
    lost: dict[str, str] | None = None,
    claims: tuple[str, ...] = (),
) -> Node:
    """Return a node whose rows come from those of others."""
    parents = [node for node, _ in edges]
    return Node(
        notes,
        n_rows,
        edges=tuple(edges),
        lost=_all_lost(parents) | (lost or {}),
        claims=distinct([c for node in parents for c in node.claims] + list(claims)),
        is_statistic=bool(parents) and all(node.is_statistic for node in parents),
        roots=frozenset().union(*[node.roots for node in parents]),
    )


def stacked(notes: Notes, pieces: Iterable[tuple[int, Node | None, Rows]]) -> Node:
    """Return a node whose rows are those of the pieces, one below the other."""
    found = [(n, *look_through(node, rows)) for n, node, rows in pieces]
    parents = [node for _, node, _ in found if node is not None]
    return Node(
        notes,
        sum(n for n, _, _ in found),
        pieces=tuple(found),
        lost=_all_lost(parents),
        claims=distinct([c for node in parents for c in node.claims]),
        is_statistic=len(parents) == len(found) and all(node.is_statistic for node in parents),
        roots=frozenset().union(*[node.roots for node in parents]),
    )


def lost_node(notes: Notes, n_rows: int, parents: Iterable[Node], reason: str) -> Node:
    """Return a node whose rows may come from the parents in a way that nobody followed."""
    lost: dict[str, str] = {}
    for node in parents:
        lost |= dict.fromkeys(node.roots, reason) | node.lost
    return Node(notes, n_rows, lost=lost)


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


def look_through(node: Node | None, rows: Rows) -> tuple[Node | None, Rows]:
    """Look through nodes that only renumber the rows of one parent."""
    while node is not None and len(node.edges) == 1 and not (node.lost or node.claims):
        parent, via = node.edges[0]
        if isinstance(via, RowMap):
            break
        node, rows = parent, taken(via, as_array(rows))
    return node, rows


def steps_of(marks: Iterable[Mark]) -> tuple[Step, ...]:
    """Return the last operations that led to any of the marks."""
    return distinct(step for mark in marks for step in mark.steps)


def distinct(items: Iterable[Item]) -> tuple[Item, ...]:
    """Return the items once each, in order."""
    return tuple(dict.fromkeys(items))


def _all_lost(parents: Iterable[Node]) -> dict[str, str]:
    lost: dict[str, str] = {}
    for node in parents:
        lost |= node.lost
    return lost
