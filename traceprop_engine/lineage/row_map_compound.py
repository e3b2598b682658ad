"""Kinds of row map that are made of others: stacked, chained and united.

A chain or a union is kept as it is where its pairs would be many times more than its rows: the mean
of a group joined back to every row relates each row to its whole group. Sets of rows walk through
the parts one after the other, so that nothing is ever written out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.errors import RowMapError
from traceprop_engine.lineage.row_map_arrays import (
    IntArray,
    Rows,
    distinct_pairs,
    expanded,
    joined,
    offsets_of,
    row_set,
    rows_of,
)
from traceprop_engine.lineage.row_map_kinds import Direct, RowMapKind

PAIRS_LIMIT = 1 << 25
"""More pairs than this, about 1 GB while they are sorted, are not written out."""

Csr = tuple[Rows, IntArray]


@dataclass(frozen=True, eq=False)
class Segments(Direct):
    """The outputs of several maps of the same input, one below the other."""

    kind: ClassVar[RowMapKind] = "segments"
    children: tuple[Direct, ...]

    @cached_property
    def starts(self) -> Rows:
        """The first output row of each child, and ``n_out``."""
        return offsets_of(np.array([child.n_out for child in self.children], dtype=np.int64))

    def backward(self, rows: Rows) -> Rows:
        """Return what the children say about their share of ``rows``."""
        cuts = np.searchsorted(rows, self.starts)
        shares = zip(self.children, self.starts, cuts, cuts[1:], strict=False)
        found = [child.backward(rows[lo:hi] - at) for child, at, lo, hi in shares if lo < hi]
        return row_set(joined(found), self.n_in)

    def forward(self, rows: Rows) -> Rows:
        """Return what each child says, moved to where its rows stand."""
        pieces = zip(self.children, self.starts, strict=False)
        return joined([child.forward(rows) + start for child, start in pieces])

    def csr(self) -> Csr:
        """Return the parents of the children, one below the other."""
        parts = [child.csr() for child in self.children]
        counts = joined([np.diff(offsets) for offsets, _ in parts])
        return offsets_of(counts), joined([members for _, members in parts])

    def counts(self) -> NDArray[np.float64]:
        """Return the counts of the children, one below the other."""
        return np.concatenate([child.counts() for child in self.children])

    def summed(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sums of the children, one below the other."""
        return np.concatenate([child.summed(weights) for child in self.children])

    def covered(self) -> NDArray[np.bool_]:
        """Return what the children say, one below the other."""
        return np.concatenate([child.covered() for child in self.children])


@dataclass(frozen=True, eq=False)
class Chain(Direct):
    """A composition that is kept as its factors, the outermost first."""

    kind: ClassVar[RowMapKind] = "factored"
    factors: tuple[Direct, ...]

    def backward(self, rows: Rows) -> Rows:
        """Walk from the outermost factor to the innermost."""
        return reduce(lambda here, factor: factor.backward(here), self.factors, rows)

    def forward(self, rows: Rows) -> Rows:
        """Walk from the innermost factor to the outermost."""
        return reduce(lambda here, factor: factor.forward(here), reversed(self.factors), rows)

    def csr(self) -> Csr:
        """Multiply the factors.

        Raises:
            RowMapError: A product has more than `PAIRS_LIMIT` pairs.
        """
        for factor in self.factors:
            require_writable(factor)
        parts = [factor.csr() for factor in self.factors]
        return reduce(lambda inner, outer: _product(outer, inner, self.n_in), reversed(parts))

    def counts(self) -> NDArray[np.float64]:
        """Return the number of paths from each output row."""
        *outer, inner = self.factors
        return reduce(lambda sums, factor: factor.summed(sums), reversed(outer), inner.counts())

    def summed(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum through one factor after the other."""
        return reduce(lambda sums, factor: factor.summed(sums), reversed(self.factors), weights)

    def covered(self) -> NDArray[np.bool_]:
        """Return which output rows reach a covered row through the outer factors."""
        *outer, inner = self.factors
        here = np.flatnonzero(inner.covered())
        here = reduce(lambda rows, factor: factor.forward(rows), reversed(outer), here)
        return _flags(here, self.n_out)


@dataclass(frozen=True, eq=False)
class Union(Direct):
    """Relations of the same two tables, each of which may relate two rows."""

    kind: ClassVar[RowMapKind] = "factored"
    parts: tuple[Direct, ...]

    def backward(self, rows: Rows) -> Rows:
        """Return what any part says."""
        return row_set(joined([part.backward(rows) for part in self.parts]), self.n_in)

    def forward(self, rows: Rows) -> Rows:
        """Return what any part says."""
        return row_set(joined([part.forward(rows) for part in self.parts]), self.n_out)

    def csr(self) -> Csr:
        """Return the distinct pairs of all parts.

        Raises:
            RowMapError: They are more than `PAIRS_LIMIT`.
        """
        require_writable(self)
        out_rows, in_rows = united_pairs(self.parts, self.n_in)
        return offsets_of(np.bincount(out_rows, minlength=self.n_out)), in_rows

    def counts(self) -> NDArray[np.float64]:
        """Return the sum over the parts."""
        return np.sum([part.counts() for part in self.parts], axis=0)

    def summed(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum over the parts."""
        return np.sum([part.summed(weights) for part in self.parts], axis=0)

    def covered(self) -> NDArray[np.bool_]:
        """Return which output rows some part covers."""
        return np.any([part.covered() for part in self.parts], axis=0)


def united_pairs(parts: Sequence[Direct], n_in: int) -> tuple[Rows, Rows]:
    """Return the distinct pairs of all ``parts``, sorted."""
    found = [part.pairs() for part in parts]
    return distinct_pairs(
        joined([out_rows for out_rows, _ in found]), joined([in_rows for _, in_rows in found]), n_in
    )


def product_pairs(outer: Csr, inner: Csr) -> tuple[Rows, IntArray]:
    """Return output and input row of every path through the two, in the order of output rows."""
    (outer_offsets, mid_rows), (offsets, members) = outer, inner
    starts = offsets[mid_rows]
    counts = offsets[1:][mid_rows] - starts
    return np.repeat(rows_of(outer_offsets), counts), members[expanded(starts, counts)]


def require_writable(relation: Direct) -> None:
    """Make sure that the pairs of ``relation`` are few enough to write out.

    Raises:
        RowMapError: They may be more than `PAIRS_LIMIT`.
    """
    _require_few(float(relation.counts().sum()))


def _require_few(n_pairs: float) -> None:
    if n_pairs > PAIRS_LIMIT:
        raise RowMapError(
            f"The map has up to {n_pairs:,.0f} pairs of rows, too many to write out",
            "ask backward(rows) or forward(rows), or take(rows) of the rows of interest first",
        )


def _product(outer: Csr, inner: Csr, n_in: int) -> Csr:
    (outer_offsets, mid_rows), (offsets, _) = outer, inner
    _require_few(float(np.diff(offsets)[mid_rows].sum()))
    out_rows, in_rows = distinct_pairs(*product_pairs(outer, inner), n_in)
    return offsets_of(np.bincount(out_rows, minlength=len(outer_offsets) - 1)), in_rows


def _flags(rows: Rows, n: int) -> NDArray[np.bool_]:
    flags = np.zeros(n, dtype=bool)
    flags[rows] = True
    return flags
