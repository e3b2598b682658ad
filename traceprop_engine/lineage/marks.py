"""Which rows a value of the user holds: nodes, sets of rows with known parents, and marks.

A *node* is a set of rows whose parents are known: an input, or the rows that an operation made. A
*mark* says which node something belongs to, and which of its rows each position is. What carries
the mark is a matter of the library: an index of pandas, an array, a tensor.
"""

from collections.abc import Container, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol, TypeVar, runtime_checkable

from traceprop_engine.lineage.captured import Op
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.lineage.rows import Rows, as_array, taken

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

    ``chosen_from`` keeps alive the vector that the rows were chosen from; ``detail`` is what was
    fitted, as JSON.
    """

    statistic: str
    column: str | None
    node: "Node"
    rows: Rows
    chosen_from: Rows
    detail: str | None = None


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


Placed = tuple[Mark, Rows]
"""A mark, and the row of its node at each position."""


@runtime_checkable
class Tracked(Protocol):
    """A value of the user that knows which rows it holds: a tracked array, tensor or table."""

    def __traceprop_placed__(self) -> Placed | None:
        """Return its mark and its rows; ``None`` when nobody knows them."""
        ...

    def __traceprop_plain__(self) -> Any:
        """Return the value without a mark, of the type that its user knows."""
        ...


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


def look_through(node: Node | None, rows: Rows) -> tuple[Node | None, Rows]:
    """Look through nodes that only renumber the rows of one parent."""
    while node is not None and len(node.edges) == 1 and not (node.lost or node.claims):
        parent, via = node.edges[0]
        if isinstance(via, RowMap):
            break
        node, rows = parent, taken(via, as_array(rows))
    return node, rows


def write_note(
    mark: Mark,
    statistic: str,
    column: Any,
    rows: Rows,
    key: Hashable,
    kept_alive: Rows,
    *,
    detail: str | None = None,
) -> None:
    """Write down that rows took part in a statistic, or left in a way that nobody follows.

    Args:
        mark: Says of which node they are.
        statistic: What was computed, or how the values left.
        column: The column they are of, if it is one.
        rows: The rows of that node.
        key: Notes of one key on one statistic are one; what it names by ``id`` is kept alive.
        kept_alive: The vector that the rows were chosen from.
        detail: What was fitted, as JSON.
    """
    if mark.node.is_statistic and not mark.node.lost:
        return
    name = None if column is None else str(column)
    note = Note(statistic, name, mark.node, rows, kept_alive, detail)
    mark.node.notes.found.setdefault((statistic, name, detail, mark.node.number, key), note)


def steps_of(marks: Iterable[Mark]) -> tuple[Step, ...]:
    """Return the last operations that led to any of the marks."""
    return distinct(step for mark in marks for step in mark.steps)


def steps_to(marks: Iterable[Mark]) -> list[Step]:
    """Return all operations that led to any of the marks, in the order they ran."""
    found: set[Step] = set()
    waiting = [step for mark in marks for step in mark.steps]
    while waiting:
        step = waiting.pop()
        if step not in found:
            found.add(step)
            waiting += step.before
    return sorted(found, key=lambda step: step.number)


def nodes_above(nodes: Iterable[Node], without: Container[Node] = ()) -> list[Node]:
    """Return nodes and all that they come from, parents first, without some and what is above."""
    found: set[Node] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node not in found and node not in without:
            found.add(node)
            waiting += node.parents()
    return sorted(found, key=lambda node: node.number)


def distinct(items: Iterable[Item]) -> tuple[Item, ...]:
    """Return the items once each, in order."""
    return tuple(dict.fromkeys(items))


def _all_lost(parents: Iterable[Node]) -> dict[str, str]:
    lost: dict[str, str] = {}
    for node in parents:
        lost |= node.lost
    return lost
