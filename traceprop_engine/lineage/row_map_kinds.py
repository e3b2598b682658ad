"""The kinds of row map, each with the cheapest way to walk it in either direction.

Everything here trusts its arguments: row numbers are in range, and the rows asked for are distinct
and ascending int64. `RowMap` checks them.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.lineage.row_map_arrays import (
    IntArray,
    Rows,
    expanded,
    offsets_of,
    row_dtype,
    row_mask,
    row_set,
)

RowMapKind = Literal[
    "identity",
    "range",
    "select",
    "gather",
    "groups",
    "segments",
    "window",
    "many",
    "context",
    "unknown",
]
"""How a row map is held, cheapest first."""

# Below this share of the rows, a binary search per row beats a mask over all of them.
_SEARCH_SHARE = 8


class Relation(ABC):
    """Which rows of one input each row of one output came from."""

    kind: ClassVar[RowMapKind]
    n_out: int
    n_in: int

    @abstractmethod
    def backward(self, rows: Rows) -> Rows:
        """Return the input rows that the output ``rows`` came from."""

    @abstractmethod
    def forward(self, rows: Rows) -> Rows:
        """Return the output rows that the input ``rows`` went into."""

    @abstractmethod
    def csr(self) -> tuple[Rows, IntArray]:
        """Return offsets ``[n_out + 1]`` and the parents of each output row, ascending."""

    def covered(self) -> NDArray[np.bool_]:
        """Return for each output row whether it has a known direct parent."""
        return np.diff(self.csr()[0]) > 0

    def pairs(self) -> tuple[Rows, Rows]:
        """Return the related output and input rows, sorted."""
        offsets, members = self.csr()
        out_rows = np.repeat(np.arange(self.n_out, dtype=np.int64), np.diff(offsets))
        return out_rows, members.astype(np.int64)


class Function(Relation):
    """Every output row has at most one parent."""

    @abstractmethod
    def parents(self) -> IntArray:
        """Return the parent of each output row, -1 where there is none."""

    @property
    def is_total(self) -> bool:
        """Whether every output row has a parent."""
        return True

    @property
    def is_injective(self) -> bool:
        """Whether no input row is the parent of two output rows."""
        return True

    def csr(self) -> tuple[Rows, IntArray]:
        """Return offsets and parents."""
        parents = self.parents()
        if self.is_total:
            return np.arange(self.n_out + 1, dtype=np.int64), parents
        return offsets_of(parents >= 0), parents[parents >= 0]

    def covered(self) -> NDArray[np.bool_]:
        """Return for each output row whether it has a parent."""
        return np.ones(self.n_out, bool) if self.is_total else self.parents() >= 0


@dataclass(frozen=True, eq=False)
class Identity(Function):
    """Output row ``i`` came from input row ``i``."""

    kind: ClassVar[RowMapKind] = "identity"
    n_out: int
    n_in: int

    def backward(self, rows: Rows) -> Rows:
        """Return the same rows."""
        return rows

    def forward(self, rows: Rows) -> Rows:
        """Return the same rows."""
        return rows

    def parents(self) -> IntArray:
        """Return every row number."""
        return np.arange(self.n_in, dtype=row_dtype(self.n_in))


@dataclass(frozen=True, eq=False)
class Range(Function):
    """Output row ``i`` came from input row ``start + step * i``; ``step`` is not 0."""

    kind: ClassVar[RowMapKind] = "range"
    start: int
    step: int
    n_out: int
    n_in: int

    def backward(self, rows: Rows) -> Rows:
        """Return ``start + step * rows``, ascending."""
        found = self.start + self.step * rows
        return found if self.step > 0 else found[::-1]

    def forward(self, rows: Rows) -> Rows:
        """Return the positions of ``rows`` in the range, ascending."""
        position, rest = np.divmod(rows - self.start, self.step)
        found = position[(rest == 0) & (position >= 0) & (position < self.n_out)]
        return found if self.step > 0 else found[::-1]

    def parents(self) -> IntArray:
        """Return the numbers of the range."""
        steps = np.arange(self.n_out, dtype=row_dtype(self.n_in))
        return steps * steps.dtype.type(self.step) + steps.dtype.type(self.start)


@dataclass(frozen=True, eq=False)
class Select(Function):
    """Output row ``i`` came from input row ``in_rows[i]``, and ``in_rows`` ascends strictly."""

    kind: ClassVar[RowMapKind] = "select"
    in_rows: IntArray
    n_out: int
    n_in: int

    def backward(self, rows: Rows) -> Rows:
        """Return ``in_rows[rows]``."""
        return self.in_rows[rows].astype(np.int64)

    def forward(self, rows: Rows) -> Rows:
        """Return where ``rows`` stand in ``in_rows``."""
        if rows.size * _SEARCH_SHARE > self.n_out:
            return np.flatnonzero(row_mask(rows, self.n_in)[self.in_rows])
        wanted = rows.astype(self.in_rows.dtype)
        at = np.searchsorted(self.in_rows, wanted)
        inside = at < self.n_out
        at, wanted = at[inside], wanted[inside]
        return at[self.in_rows[at] == wanted].astype(np.int64)

    def parents(self) -> IntArray:
        """Return ``in_rows``."""
        return self.in_rows


@dataclass(frozen=True, eq=False)
class Gather(Function):
    """Output row ``i`` came from input row ``in_rows[i]``, from none where that is -1."""

    kind: ClassVar[RowMapKind] = "gather"
    in_rows: IntArray
    n_out: int
    n_in: int

    @cached_property
    def is_total(self) -> bool:
        """Whether no parent is -1."""
        return not self.n_out or int(self.in_rows.min()) >= 0

    @cached_property
    def is_injective(self) -> bool:
        """Whether no input row occurs twice."""
        found = self.in_rows if self.is_total else self.in_rows[self.in_rows >= 0]
        return int(np.count_nonzero(row_mask(found, self.n_in))) == len(found)

    def backward(self, rows: Rows) -> Rows:
        """Return the distinct ``in_rows[rows]``, -1 left out."""
        found = self.in_rows[rows]
        return row_set(found if self.is_total else found[found >= 0], self.n_in)

    def forward(self, rows: Rows) -> Rows:
        """Return where ``rows`` occur in ``in_rows``."""
        if rows.size == 1:
            return np.flatnonzero(self.in_rows == rows[0])
        return np.flatnonzero(row_mask(rows, self.n_in)[self.in_rows])

    def parents(self) -> IntArray:
        """Return ``in_rows``."""
        return self.in_rows


@dataclass(frozen=True, eq=False)
class Groups(Relation):
    """Input row ``i`` went into output row ``codes[i]``, into none where that is -1."""

    kind: ClassVar[RowMapKind] = "groups"
    codes: IntArray
    n_out: int
    n_in: int

    def backward(self, rows: Rows) -> Rows:
        """Return where ``rows`` occur in ``codes``."""
        if rows.size == 1:
            return np.flatnonzero(self.codes == rows[0])
        return np.flatnonzero(row_mask(rows, self.n_out)[self.codes])

    def forward(self, rows: Rows) -> Rows:
        """Return the distinct ``codes[rows]``, -1 left out."""
        found = self.codes[rows]
        return row_set(found[found >= 0], self.n_out)

    def csr(self) -> tuple[Rows, IntArray]:
        """Return the input rows sorted by group."""
        kept = np.flatnonzero(self.codes >= 0)
        codes = self.codes[kept]
        order = np.argsort(codes, kind="stable")
        return offsets_of(np.bincount(codes, minlength=self.n_out)), kept[order]

    def covered(self) -> NDArray[np.bool_]:
        """Return for each group whether it has a row."""
        return row_mask(self.codes[self.codes >= 0], self.n_out)[: self.n_out]


@dataclass(frozen=True, eq=False)
class Window(Relation):
    """Output row ``i`` came from the input rows ``lo[i]`` up to, not including, ``hi[i]``."""

    kind: ClassVar[RowMapKind] = "window"
    lo: IntArray
    hi: IntArray
    n_out: int
    n_in: int

    def backward(self, rows: Rows) -> Rows:
        """Return the union of the intervals of ``rows``."""
        lo, hi = self.lo[rows].astype(np.int64), self.hi[rows].astype(np.int64)
        order = np.argsort(lo[hi > lo], kind="stable")
        lo, hi = lo[hi > lo][order], np.maximum.accumulate(hi[hi > lo][order])
        # Each interval adds what the ones before it, which begin no later, have not reached.
        fresh = lo.copy()
        fresh[1:] = np.maximum(lo[1:], hi[:-1])
        return expanded(fresh, hi - fresh)

    def forward(self, rows: Rows) -> Rows:
        """Return the output rows whose interval holds one of ``rows``."""
        wanted = rows.astype(self.lo.dtype)
        inside = np.searchsorted(wanted, self.lo) < np.searchsorted(wanted, self.hi)
        return np.flatnonzero(inside)

    def csr(self) -> tuple[Rows, IntArray]:
        """Return the intervals, written out."""
        counts = self.hi - self.lo
        return offsets_of(counts), expanded(self.lo, counts)

    def covered(self) -> NDArray[np.bool_]:
        """Return for each output row whether its interval holds a row."""
        return self.hi > self.lo


@dataclass(frozen=True, eq=False)
class Many(Relation):
    """Output row ``i`` came from ``members[offsets[i]:offsets[i + 1]]``, ascending and distinct."""

    kind: ClassVar[RowMapKind] = "many"
    offsets: Rows
    members: IntArray
    n_out: int
    n_in: int

    def backward(self, rows: Rows) -> Rows:
        """Return the distinct members of ``rows``."""
        starts = self.offsets[rows]
        found = expanded(starts, self.offsets[rows + 1] - starts)
        return row_set(self.members[found], self.n_in)

    def forward(self, rows: Rows) -> Rows:
        """Return the output rows that have one of ``rows`` among their members."""
        hits = np.flatnonzero(row_mask(rows, self.n_in)[self.members])
        return row_set(np.searchsorted(self.offsets, hits, side="right") - 1, self.n_out)

    def csr(self) -> tuple[Rows, IntArray]:
        """Return offsets and members."""
        return self.offsets, self.members


@dataclass(frozen=True, eq=False)
class Segments(Relation):
    """The outputs of several maps of the same input, one below the other."""

    kind: ClassVar[RowMapKind] = "segments"
    children: tuple[Relation, ...]
    n_out: int
    n_in: int

    @cached_property
    def starts(self) -> Rows:
        """Return the first output row of each child, and ``n_out``."""
        return offsets_of(np.array([child.n_out for child in self.children], dtype=np.int64))

    def backward(self, rows: Rows) -> Rows:
        """Return what the children say about their share of ``rows``."""
        cuts = np.searchsorted(rows, self.starts)
        found = [
            child.backward(rows[cuts[i] : cuts[i + 1]] - self.starts[i])
            for i, child in enumerate(self.children)
            if cuts[i] < cuts[i + 1]
        ]
        return row_set(joined(found), self.n_in)

    def forward(self, rows: Rows) -> Rows:
        """Return what each child says, moved to where its rows stand."""
        pieces = zip(self.children, self.starts, strict=False)
        return joined([child.forward(rows) + start for child, start in pieces])

    def csr(self) -> tuple[Rows, IntArray]:
        """Return the parents of the children, one below the other."""
        parts = [child.csr() for child in self.children]
        counts = joined([np.diff(offsets) for offsets, _ in parts])
        return offsets_of(counts), joined([members for _, members in parts])

    def covered(self) -> NDArray[np.bool_]:
        """Return what the children say, one below the other."""
        return np.concatenate([child.covered() for child in self.children])


def joined(arrays: Sequence[IntArray]) -> IntArray:
    """Return the arrays one after the other; an empty int64 array for none."""
    return np.concatenate(arrays) if arrays else np.empty(0, dtype=np.int64)
