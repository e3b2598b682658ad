"""Relations that are never written out: through a statistic, and not known.

A statistic relates each of some output rows to each of some input rows. Such a `Box` is held as two
sets, so that a million rows that depend on a million rows need no memory at all. Boxes stay boxes
under composition:

- direct after a box: the output rows that reach the box's outputs, each to the box's members;
- a box after direct: the box's outputs, each to what its members came from;
- a box after a box: the outer outputs to the inner members, if the two meet in between.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.lineage.row_map_arrays import (
    IntArray,
    Rows,
    distinct,
    have_common,
    joined,
    owned,
    row_mask,
    row_set,
)
from traceprop_engine.lineage.row_map_kinds import Direct, Relation, RowMapKind


@dataclass(frozen=True, eq=False)
class RowSet:
    """Some of ``n`` rows; ``rows`` ascending, or ``None`` for all of them."""

    rows: IntArray | None
    n: int

    @classmethod
    def of(cls, rows: IntArray, n: int) -> "RowSet":
        """Return the set of ``rows`` below ``n``, in any order and with repeats."""
        found = row_set(rows, n)
        return cls(None if len(found) == n else owned(found, n), n)

    @classmethod
    def every(cls, n: int) -> "RowSet":
        """Return the set of all ``n`` rows."""
        return cls(None, n)

    def __len__(self) -> int:
        return self.n if self.rows is None else len(self.rows)

    def array(self) -> Rows:
        """Return the rows, ascending, as int64."""
        return np.arange(self.n) if self.rows is None else self.rows.astype(np.int64)

    def meets(self, rows: Rows) -> bool:
        """Say whether one of ``rows``, ascending, is in the set."""
        return bool(len(rows)) if self.rows is None else have_common(self.rows, rows)

    def overlaps(self, other: "RowSet") -> bool:
        """Say whether the two sets have a row in common."""
        if self.rows is None or other.rows is None:
            return bool(len(self) and len(other))
        return have_common(self.rows, other.rows)

    def united(self, other: "RowSet") -> "RowSet":
        """Return the rows that are in either set."""
        if len(self) == self.n or not len(other):
            return self
        return RowSet.of(joined([self.array(), other.array()]), self.n)


@dataclass(frozen=True, eq=False)
class Box:
    """Each row of ``outs`` depends on each row of ``members`` through a statistic."""

    outs: RowSet
    members: RowSet


@dataclass(frozen=True, eq=False)
class Context(Relation):
    """Dependencies through statistics, beside direct ones where a step had both."""

    kind: ClassVar[RowMapKind] = "context"
    direct: Direct | None
    boxes: tuple[Box, ...]

    def backward(self, rows: Rows) -> Rows:
        """Return the members of every box that holds one of ``rows``, and the direct parents."""
        found = [box.members.array() for box in self.boxes if box.outs.meets(rows)]
        if self.direct is not None:
            found.append(self.direct.backward(rows))
        return row_set(joined(found), self.n_in)

    def forward(self, rows: Rows) -> Rows:
        """Return the outputs of every box that has one of ``rows``, and the direct children."""
        found = [box.outs.array() for box in self.boxes if box.members.meets(rows)]
        if self.direct is not None:
            found.append(self.direct.forward(rows))
        return row_set(joined(found), self.n_out)

    def covered(self) -> NDArray[np.bool_]:
        """Return for each output row whether it has a direct parent beside the statistics."""
        return np.zeros(self.n_out, bool) if self.direct is None else self.direct.covered()


@dataclass(frozen=True, eq=False)
class Unknown(Relation):
    """Nothing is known about the rows."""

    kind: ClassVar[RowMapKind] = "unknown"

    def backward(self, rows: Rows) -> Rows:
        """Return no rows, whatever ``rows`` are."""
        return rows[:0]

    def forward(self, rows: Rows) -> Rows:
        """Return no rows, whatever ``rows`` are."""
        return rows[:0]

    def covered(self) -> NDArray[np.bool_]:
        """Return False for every output row."""
        return np.zeros(self.n_out, dtype=bool)


def same_boxes(one: Sequence[Box], other: Sequence[Box]) -> bool:
    """Say whether two lists of boxes relate the same rows.

    Output rows that stand in the same boxes of both lists have the same members, so one comparison
    for each such class of rows is enough.
    """
    boxes = [*one, *other]
    if not boxes:
        return True
    flags = np.stack([row_flags(box.outs) for box in boxes])
    for column in np.unique(flags, axis=1).T:
        mine, theirs = column[: len(one)], column[len(one) :]
        if not np.array_equal(_members(one, mine), _members(other, theirs)):
            return False
    return True


def row_flags(rows: RowSet) -> NDArray[np.bool_]:
    """Return ``[n]``: whether each row is in the set."""
    return row_mask(rows.array(), rows.n)[: rows.n]


def _members(boxes: Sequence[Box], chosen: NDArray[np.bool_]) -> Rows:
    found = [box.members.array() for box, taken in zip(boxes, chosen, strict=True) if taken]
    return distinct(joined(found))
