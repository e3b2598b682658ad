"""Which rows the positions of an array are: shared by all arrays that hold the same rows."""

from collections.abc import Iterable, Sequence

import numpy as np

from traceprop_engine.lineage.captured import Op
from traceprop_engine.lineage.marks import (
    Mark,
    Node,
    Notes,
    Placed,
    Step,
    Via,
    derived,
    distinct,
    lost_node,
    write_note,
)
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.lineage.rows import IntArray, Rows, covers, is_counting, kept, taken

Steps = tuple[Step, ...]

_MOST_KNOWN = 8


class Lines:
    """Rows of a node, one for each position along the axis of an array that rows lie on.

    Immutable but for what it remembers: what was worked out of it once need not be again.

    Attributes:
        node: The node.
        rows: Its row at each position.
        notes: Of the session that the node belongs to.
        every: The positions.
        is_of_operations: Whether they only say which inputs went in.
    """

    __slots__ = (
        "_noted",
        "_ops",
        "_statistic",
        "_unions",
        "every",
        "is_of_operations",
        "node",
        "notes",
        "rows",
    )

    def __init__(self, node: Node, rows: Rows) -> None:
        self.node = node
        self.rows = rows
        self.notes: Notes = node.notes
        self.every = range(len(rows))
        self.is_of_operations = False
        self._unions: dict[int, tuple[Lines, Lines]] = {}
        self._ops: dict[tuple[str, int, int], Op] = {}
        self._statistic: Lines | None = None
        self._noted: set[str] = set()

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def of_node(cls, node: Node) -> "Lines":
        """Return all rows of a node, in order."""
        return cls(node, range(node.n_rows))

    def placed(self, steps: Steps) -> Placed:
        """Return the mark of the positions, and their rows."""
        return Mark(self.node, self.rows, steps), self.rows

    def base(self) -> Node:
        """Return a node whose rows are the positions."""
        if is_counting(self.rows, self.node.n_rows):
            return self.node
        return derived(self.notes, len(self), [(self.node, self.rows)])

    def at(self, positions: Rows) -> "Lines":
        """Return the lines at some positions, in their order; none where that is -1."""
        if is_counting(positions, len(self)):
            return self
        if isinstance(positions, range):
            return Lines(self.node, self.rows[slice_of(positions)])
        return Lines(self.node, kept(taken(self.rows, positions)))

    def united(self, other: "Lines") -> "Lines":
        """Return lines that come from those of both at each position.

        What only depends on rows through a statistic adds no row beside others: it has been noted.
        """
        if other is self:
            return self
        known = self._unions.get(id(other))
        if known is None:
            if len(self._unions) >= _MOST_KNOWN:
                self._unions.clear()
            both = _united(self, other)
            both.is_of_operations = self.is_of_operations and other.is_of_operations
            known = self._unions[id(other)] = (other, both)
        return known[1]

    def statistic(self) -> "Lines":
        """Return the line of a value that all lines went into."""
        if self._statistic is None:
            self._statistic = statistic_of([self], 1)
        return self._statistic

    def claimed(self, claim: str) -> "Lines":
        """Return lines that are right if a claim of the user's code is."""
        if claim in self.node.claims:
            return self
        node = derived(self.notes, len(self), [(self.node, self.rows)], claims=(claim,))
        return Lines.of_node(node)

    def note(self, statistic: str) -> None:
        """Write down that all lines took part in a statistic, or that their values left."""
        if statistic not in self._noted:
            self._noted.add(statistic)
            mark = Mark(self.node, self.rows)
            write_note(mark, statistic, None, self.rows, id(self.rows), self.rows)

    def note_at(self, statistic: str, position: int) -> None:
        """Write down that one line took part, or that its values left."""
        mark = Mark(self.node, self.rows)
        row = self.rows[position : position + 1]
        write_note(mark, statistic, None, row, (id(self.rows), position), self.rows)

    def step(self, name: str, n_out: int, before: Steps, n_read: int = 1) -> Steps:
        """Return the step of an operation on arrays that hold these lines, or a part of them."""
        op = self._ops.get((name, n_out, n_read))
        if op is None:
            op = self._ops[name, n_out, n_read] = op_of(name, [self] * n_read, n_out)
        return (Step(op, before),)


def slice_of(positions: range) -> slice:
    """Return the slice that picks a range of positions; none of them is negative."""
    stop: int | None = positions.stop
    if positions.step < 0 and positions.stop < 0:
        stop = None
    return slice(positions.start, stop, positions.step)


def op_of(name: str, lines: Sequence[Lines], n_out: int) -> Op:
    """Return the record of an operation that read these lines."""
    roots = frozenset().union(*[each.node.roots | each.node.lost.keys() for each in lines])
    inputs = tuple(each for each in lines[0].notes.inputs if each in roots)
    return Op(name, "", inputs, tuple(map(len, lines)), n_out)


def lost_lines(lines: Sequence[Lines], n_rows: int, reason: str) -> Lines:
    """Return lines that may come from these in a way that nobody followed."""
    nodes = [each.node for each in lines]
    return Lines.of_node(lost_node(lines[0].notes, n_rows, nodes, reason))


def blank_lines(lines: Lines, n_rows: int) -> Lines:
    """Return lines that come from no row yet."""
    return Lines.of_node(Node(lines.notes, n_rows))


def statistic_of(lines: Sequence[Lines], n_rows: int) -> Lines:
    """Return lines each of which depends on all of these through a statistic."""
    bases = distinct(each.base() for each in lines)
    lost: dict[str, str] = {}
    for base in bases:
        lost |= base.lost
    node = Node(
        bases[0].notes,
        n_rows,
        edges=tuple((b, RowMap.context(n_rows, range(b.n_rows), b.n_rows)) for b in bases),
        lost=lost,
        claims=distinct(claim for base in bases for claim in base.claims),
        is_statistic=True,
        roots=frozenset().union(*[base.roots for base in bases]),
    )
    return Lines.of_node(node)


def windowed(lines: Lines, lo: IntArray, hi: IntArray) -> Lines:
    """Return lines of which number ``i`` comes from the positions ``lo[i]`` up to ``hi[i]``."""
    base = lines.base()
    edge = (base, RowMap.window(lo, hi, base.n_rows))
    return Lines.of_node(derived(base.notes, len(lo), [edge]))


def joined(notes: Notes, n_rows: int, edges: Sequence[tuple[Node, Via]]) -> Lines:
    """Return lines whose rows come from all the edges."""
    return Lines.of_node(derived(notes, n_rows, edges))


def all_united(lines: Iterable[Lines]) -> Lines:
    """Return lines that come from those of all at each position."""
    first, *others = lines
    for other in others:
        first = first.united(other)
    return first


def _united(one: Lines, other: Lines) -> Lines:
    if other.node.is_statistic and not other.node.lost:
        return one
    if one.node.is_statistic and not one.node.lost:
        return other
    if _covers(one, other):
        return one
    if _covers(other, one):
        return other
    edges = [(one.node, one.rows), (other.node, other.rows)]
    return joined(one.notes, len(one), edges)


def _covers(one: Lines, other: Lines) -> bool:
    if one.node is other.node:
        return covers(one.rows, other.rows)
    if not is_counting(one.rows, one.node.n_rows):
        return False
    return any(
        node is other.node and not isinstance(via, RowMap) and covers(via, other.rows)
        for node, via in one.node.edges
    )


def as_positions(count: int) -> IntArray:
    """Return the numbers from 0 up to a count."""
    return np.arange(count, dtype=np.int64)
