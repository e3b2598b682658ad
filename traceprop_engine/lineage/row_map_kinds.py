"""The kinds of row map, each with the cheapest way to walk it in either direction.

Everything here trusts its arguments: row numbers are in range, and the rows asked for are distinct
and ascending int64. `RowMap` checks them.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.lineage.row_map_arrays import (
    IntArray,
    Rows,
    are_distinct,
    expanded,
    hits,
    offsets_of,
    row_dtype,
    row_mask,
    row_set,
    rows_of,
    run_sums,
    stable_order,
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
    "factored",
    "context",
    "unknown",
]
"""How a row map is held, cheapest first.

``factored``: as the maps it is composed or united of, because its pairs would be too many.
"""

# Below this share of the rows, a search for each row asked for beats a pass over all of them.
_SEARCH_SHARE = 16


@dataclass(frozen=True, eq=False)
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
    def covered(self) -> NDArray[np.bool_]:
        """Return for each output row whether it has a known direct parent."""


@dataclass(frozen=True, eq=False)
class Direct(Relation):
    """A relation of single rows, not of a whole input through a statistic."""

    @abstractmethod
    def csr(self) -> tuple[Rows, IntArray]:
        """Return offsets ``[n_out + 1]`` and the parents of each output row, ascending."""

    @abstractmethod
    def counts(self) -> NDArray[np.float64]:
        """Return for each output row the number of its parents.

        A parent that is reached along several paths of a composition counts once for each, so that
        the number is an upper bound there. It is a float, because it may be beyond all integers.
        """

    @abstractmethod
    def summed(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return for each output row the sum of ``weights`` over its parents, path by path."""

    def pairs(self) -> tuple[Rows, Rows]:
        """Return the related output and input rows, sorted."""
        offsets, members = self.csr()
        return rows_of(offsets), members.astype(np.int64)


class Function(Direct):
    """Every output row has at most one parent."""

    @abstractmethod
    def parents(self) -> IntArray:
        """Return the parent of each output row, -1 where there is none."""

    @property
    @abstractmethod
    def is_total(self) -> bool:
        """Whether every output row has a parent."""

    @property
    @abstractmethod
    def is_injective(self) -> bool:
        """Whether no input row is the parent of two output rows."""

    def csr(self) -> tuple[Rows, IntArray]:
        """Return offsets and parents."""
        parents = self.parents()
        if self.is_total:
            return np.arange(self.n_out + 1, dtype=np.int64), parents
        has = parents >= 0
        return offsets_of(has.astype(np.int64)), parents[has]

    def counts(self) -> NDArray[np.float64]:
        """Return 1, or 0 where there is no parent."""
        return self.covered().astype(np.float64)

    def summed(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the weight of each parent, 0 where there is none."""
        return np.append(weights, 0.0)[self.parents()]

    def covered(self) -> NDArray[np.bool_]:
        """Return for each output row whether it has a parent."""
        return np.ones(self.n_out, bool) if self.is_total else self.parents() >= 0


class Injection(Function):
    """Every output row has one parent, and no two have the same."""

    @property
    def is_total(self) -> bool:
        """True."""
        return True

    @property
    def is_injective(self) -> bool:
        """True."""
        return True


@dataclass(frozen=True, eq=False)
class Identity(Injection):
    """Output row ``i`` came from input row ``i``."""

    kind: ClassVar[RowMapKind] = "identity"

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
class Range(Injection):
    """Output row ``i`` came from input row ``start + step * i``; ``step`` is not 0."""

    kind: ClassVar[RowMapKind] = "range"
    start: int
    step: int

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
class Select(Injection):
    """Output row ``i`` came from input row ``in_rows[i]``, and ``in_rows`` ascends strictly."""

    kind: ClassVar[RowMapKind] = "select"
    in_rows: IntArray

    def backward(self, rows: Rows) -> Rows:
        """Return ``in_rows[rows]``."""
        return self.in_rows[rows].astype(np.int64)

    def forward(self, rows: Rows) -> Rows:
        """Return where ``rows`` stand in ``in_rows``."""
        if rows.size * _SEARCH_SHARE > self.n_out:
            return hits(self.in_rows, rows, self.n_in)
        wanted = rows.astype(self.in_rows.dtype)
        at = np.searchsorted(self.in_rows, wanted)
        inside = at < self.n_out
        at, wanted = at[inside], wanted[inside]
        return at[self.in_rows[at] == wanted]

    def parents(self) -> IntArray:
        """Return ``in_rows``."""
        return self.in_rows


@dataclass(frozen=True, eq=False)
class Gather(Function):
    """Output row ``i`` came from input row ``in_rows[i]``, from none where that is -1."""

    kind: ClassVar[RowMapKind] = "gather"
    in_rows: IntArray

    @cached_property
    def is_total(self) -> bool:
        """Whether no parent is -1."""
        return not self.n_out or int(self.in_rows.min()) >= 0

    @cached_property
    def is_injective(self) -> bool:
        """Whether no input row occurs twice."""
        found = self.in_rows if self.is_total else self.in_rows[self.in_rows >= 0]
        return are_distinct(found, self.n_in)

    def backward(self, rows: Rows) -> Rows:
        """Return the distinct ``in_rows[rows]``, -1 left out."""
        found = self.in_rows[rows]
        return row_set(found if self.is_total else found[found >= 0], self.n_in)

    def forward(self, rows: Rows) -> Rows:
        """Return where ``rows`` occur in ``in_rows``."""
        return hits(self.in_rows, rows, self.n_in)

    def parents(self) -> IntArray:
        """Return ``in_rows``."""
        return self.in_rows


@dataclass(frozen=True, eq=False)
class Groups(Direct):
    """Input row ``i`` went into output row ``codes[i]``, into none where that is -1."""

    kind: ClassVar[RowMapKind] = "groups"
    codes: IntArray

    def backward(self, rows: Rows) -> Rows:
        """Return where ``rows`` occur in ``codes``."""
        return hits(self.codes, rows, self.n_out)

    def forward(self, rows: Rows) -> Rows:
        """Return the distinct ``codes[rows]``, -1 left out."""
        found = self.codes[rows]
        return row_set(found[found >= 0], self.n_out)

    def csr(self) -> tuple[Rows, IntArray]:
        """Return the input rows sorted by group."""
        kept = np.flatnonzero(self.codes >= 0)
        codes = self.codes[kept]
        order = stable_order(codes, self.n_out)
        return offsets_of(np.bincount(codes, minlength=self.n_out)), kept[order]

    def counts(self) -> NDArray[np.float64]:
        """Return the size of each group."""
        sizes = np.bincount(self.codes[self.codes >= 0], minlength=self.n_out)
        return sizes.astype(np.float64)

    def summed(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return for each group the sum of the weights of its rows."""
        kept = self.codes >= 0
        sums = np.bincount(self.codes[kept], weights[kept], self.n_out)
        return sums.astype(np.float64, copy=False)

    def covered(self) -> NDArray[np.bool_]:
        """Return for each group whether it has a row."""
        return row_mask(self.codes[self.codes >= 0], self.n_out)[: self.n_out]


@dataclass(frozen=True, eq=False)
class Window(Direct):
    """Output row ``i`` came from the input rows ``lo[i]`` up to, not including, ``hi[i]``."""

    kind: ClassVar[RowMapKind] = "window"
    lo: IntArray
    hi: IntArray

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
        if rows.size == 1:
            return np.flatnonzero((self.lo <= rows[0]) & (rows[0] < self.hi))
        if self.n_in <= rows.size * _SEARCH_SHARE:
            n_before = offsets_of(row_mask(rows, self.n_in)[: self.n_in].astype(np.int64))
            return np.flatnonzero(n_before[self.lo] < n_before[self.hi])
        wanted = rows.astype(self.lo.dtype)
        first, last = (np.searchsorted(wanted, end) for end in (self.lo, self.hi))
        return np.flatnonzero(first < last)

    def csr(self) -> tuple[Rows, IntArray]:
        """Return the intervals, written out."""
        counts = self.hi - self.lo
        return offsets_of(counts), expanded(self.lo, counts)

    def counts(self) -> NDArray[np.float64]:
        """Return the width of each interval."""
        return (self.hi - self.lo).astype(np.float64)

    def summed(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return for each output row the sum of the weights in its interval."""
        return run_sums(weights, self.lo, self.hi)

    def covered(self) -> NDArray[np.bool_]:
        """Return for each output row whether its interval holds a row."""
        return self.hi > self.lo


@dataclass(frozen=True, eq=False)
class Many(Direct):
    """Output row ``i`` came from ``members[offsets[i]:offsets[i + 1]]``, ascending and distinct."""

    kind: ClassVar[RowMapKind] = "many"
    offsets: Rows
    members: IntArray

    def backward(self, rows: Rows) -> Rows:
        """Return the distinct members of ``rows``."""
        starts = self.offsets[rows]
        found = expanded(starts, self.offsets[rows + 1] - starts)
        return row_set(self.members[found], self.n_in)

    def forward(self, rows: Rows) -> Rows:
        """Return the output rows that have one of ``rows`` among their members."""
        at = hits(self.members, rows, self.n_in)
        if at.size * _SEARCH_SHARE > self.members.size:
            return row_set(rows_of(self.offsets)[at], self.n_out)
        return row_set(np.searchsorted(self.offsets, at, side="right") - 1, self.n_out)

    def csr(self) -> tuple[Rows, IntArray]:
        """Return offsets and members."""
        return self.offsets, self.members

    def counts(self) -> NDArray[np.float64]:
        """Return the number of members of each output row."""
        return np.diff(self.offsets).astype(np.float64)

    def summed(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return for each output row the sum of the weights of its members."""
        return run_sums(weights[self.members], self.offsets[:-1], self.offsets[1:])

    def covered(self) -> NDArray[np.bool_]:
        """Return for each output row whether it has a member."""
        return self.offsets[1:] > self.offsets[:-1]
