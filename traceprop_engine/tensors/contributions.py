"""What one tensor gives to the rows of another, and the node that several of them make together.

A contribution says how the rows of a result follow from those of one operand: row for row, by row
numbers, by any relation, or through a statistic over all of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from traceprop_engine.errors import CaptureError
from traceprop_engine.lineage.captured import Op
from traceprop_engine.lineage.carriers import node_of
from traceprop_engine.lineage.marks import (
    Mark,
    Node,
    Notes,
    Placed,
    Step,
    Via,
    derived,
    lost_node,
    stacked,
    steps_of,
)
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.lineage.row_map_context import Box, Context, RowSet
from traceprop_engine.lineage.rows import IntArray, Rows, no_rows, same_rows, taken

How = Literal["same", "statistic"] | range | IntArray | RowMap
"""Row for row; through a statistic; from these rows, none where -1; by any relation."""


@dataclass(frozen=True, eq=False, slots=True)
class Contribution:
    """How rows of a result follow from the rows of one operand."""

    placed: Placed
    how: How = "same"


Piece = tuple[int, Placed | None]
"""How many rows of a stacked result come from one operand, and which they are."""


def of_one(placed: Placed, how: How = "same") -> list[Contribution]:
    """Return the contributions of a single operand."""
    return [Contribution(placed, how)]


def together(parts: Sequence[Contribution], n_rows: int, name: str) -> Placed | None:
    """Return the rows of a result that these contributions make; ``None`` without any.

    Raises:
        CaptureError: The operands belong to different sessions.
    """
    if not parts:
        return None
    placed = [part.placed for part in parts]
    notes = notes_of(placed)
    steps = (_step(notes, placed, n_rows, name),)
    direct = _one_row_each(parts)
    if direct is not None:
        node, rows = direct
        return Mark(node, rows, _unless_repeated(parts, steps)), rows
    edges = [_edge(part, n_rows) for part in parts]
    return _whole(_joined(notes, n_rows, edges, parts), steps)


def lost(placed: Iterable[Placed], n_rows: int, name: str, reason: str) -> Placed | None:
    """Return rows that may come from these in a way that nobody followed; ``None`` without any."""
    found = list(placed)
    if not found:
        return None
    notes = notes_of(found)
    node = lost_node(notes, n_rows, [mark.node for mark, _ in found], reason)
    return _whole(node, (_step(notes, found, n_rows, name),))


def stacked_rows(pieces: Sequence[Piece], name: str) -> Placed:
    """Return the rows of tensors that were put one below the other, one of them placed at least."""
    found = [placed for _, placed in pieces if placed is not None]
    notes = notes_of(found)
    parts = [
        (n, None, no_rows(n)) if placed is None else (n, placed[0].node, placed[1])
        for n, placed in pieces
    ]
    node = stacked(notes, parts)
    return _whole(node, (_step(notes, found, node.n_rows, name),))


def claimed(placed: Placed, claim: str) -> Placed:
    """Return the same rows, for which only this claim stands up."""
    mark, rows = placed
    if claim in mark.node.claims:
        return placed
    node = derived(mark.node.notes, len(rows), [(mark.node, rows)], claims=(claim,))
    return _whole(node, mark.steps)


def notes_of(placed: Sequence[Placed]) -> Notes:
    """Return the session that all of these rows belong to.

    Raises:
        CaptureError: They belong to several.
    """
    notes = placed[0][0].node.notes
    if len(placed) > 1 and any(mark.node.notes is not notes for mark, _ in placed):
        names = sorted({name for mark, _ in placed for name in mark.node.roots})
        raise CaptureError(
            f"Tensors of different sessions meet in one operation ({', '.join(names)})",
            "make all of them with the same `session=`",
        )
    return notes


def every_row_of(n_rows: int, n_in: int) -> RowMap:
    """Return the map of rows that depend on all rows of an operand through a statistic."""
    box = Box(RowSet.every(n_rows), RowSet.every(n_in))
    return RowMap(Context(n_rows, n_in, None, (box,)))


def single_row(rows: Rows) -> bool:
    """Say whether all positions are one and the same row."""
    if isinstance(rows, range):
        return len(rows) == 1
    return len(rows) > 0 and bool((rows == rows[0]).all())


def _one_row_each(parts: Sequence[Contribution]) -> tuple[Node, Rows] | None:
    """Return the node and rows if every contribution is one row each, and the same ones."""
    found: tuple[Node, Rows] | None = None
    for part in parts:
        if isinstance(part.how, RowMap) or (isinstance(part.how, str) and part.how != "same"):
            return None
        node, rows = part.placed[0].node, _rows(part)
        if found is not None and (found[0] is not node or not same_rows(found[1], rows)):
            return None
        found = node, rows
    return found


def _rows(part: Contribution) -> Rows:
    rows = part.placed[1]
    if isinstance(part.how, range):
        return rows[part.how.start : part.how.stop : part.how.step]
    return taken(rows, part.how) if isinstance(part.how, np.ndarray) else rows


def _edge(part: Contribution, n_rows: int) -> tuple[Node, Via]:
    if isinstance(part.how, RowMap):
        return node_of(part.placed), part.how
    if isinstance(part.how, str) and part.how == "statistic":
        base = node_of(part.placed)
        return base, every_row_of(n_rows, base.n_rows)
    return part.placed[0].node, _rows(part)


def _joined(
    notes: Notes, n_rows: int, edges: Sequence[tuple[Node, Via]], parts: Sequence[Contribution]
) -> Node:
    plain = derived(notes, n_rows, edges)
    return Node(
        notes,
        n_rows,
        edges=plain.edges,
        lost=plain.lost,
        claims=plain.claims,
        is_statistic=all(
            node.is_statistic or (isinstance(part.how, str) and part.how == "statistic")
            for (node, _), part in zip(edges, parts, strict=True)
        ),
        roots=plain.roots,
    )


def _whole(node: Node, steps: tuple[Step, ...]) -> Placed:
    every = range(node.n_rows)
    return Mark(node, every, steps), every


def _unless_repeated(parts: Sequence[Contribution], steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Return the last steps again where the same one only repeats, as in a loop of ``x *= 0.9``."""
    before = parts[0].placed[0].steps
    again = len(parts) == len(before) == 1 and before[0].op == steps[0].op
    return before if again else steps


def _step(notes: Notes, placed: Sequence[Placed], n_rows: int, name: str) -> Step:
    marks = [mark for mark, _ in placed]
    roots = marks[0].node.roots
    if len(marks) > 1:
        roots = roots.union(*[mark.node.roots for mark in marks])
    op = Op(
        name=f"torch.{name}",
        detail="",
        inputs=tuple(each for each in notes.inputs if each in roots),
        n_rows_in=tuple(len(rows) for _, rows in placed),
        n_rows_out=n_rows,
    )
    return Step(op, steps_of(marks))
