"""Spearman correlation column by column, and of rows drawn again, without sorting again."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class RankedColumns:
    """Columns sorted once, whose ranks follow for any multiplicity of the rows.

    Attributes:
        order: Rows of each column by ascending value, ``[m, n_columns]``.
        first: At each sorted place, where its run of equal values begins, ``[m, n_columns]``.
        last: And where it ends.
    """

    order: NDArray[np.intp]
    first: NDArray[np.intp]
    last: NDArray[np.intp]

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> "RankedColumns":
        """Sort the columns of ``[m, n_columns]``."""
        order = np.argsort(values, axis=0, kind="stable")
        held = np.take_along_axis(values, order, axis=0)
        places = np.arange(len(values))[:, None]
        opens = np.ones(held.shape, dtype=bool)
        opens[1:] = held[1:] != held[:-1]
        closes = np.ones(held.shape, dtype=bool)
        closes[:-1] = opens[1:]
        first = np.maximum.accumulate(np.where(opens, places, 0), axis=0)
        ends = np.where(closes, places, len(values))
        last = np.minimum.accumulate(ends[::-1], axis=0)[::-1]
        return cls(order, first, last)

    def ranks(self, counts: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return mean ranks, ``[m, n_columns]``, where row ``i`` stands ``counts[i]`` times.

        Args:
            counts: ``[m]``; ranks of rows that are not taken mean nothing.
        """
        below = np.zeros((len(counts) + 1, self.order.shape[1]))
        np.cumsum(counts[self.order], axis=0, out=below[1:])
        before = np.take_along_axis(below, self.first, axis=0)
        through = np.take_along_axis(below, self.last + 1, axis=0)
        ranks = np.empty(self.order.shape)
        np.put_along_axis(ranks, self.order, (before + through + 1) / 2, axis=0)
        return ranks


def spearman(
    one: RankedColumns, other: RankedColumns, counts: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return Spearman's correlation of each pair of columns; NaN where a column is constant."""
    return _correlation(one.ranks(counts), other.ranks(counts), counts)


def spearman_columns(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Spearman's correlation of the columns of ``[m, n_columns]``; NaN for constants."""
    counts = np.ones(len(one), dtype=np.intp)
    return spearman(RankedColumns.of(one), RankedColumns.of(other), counts)


def _correlation(
    one: NDArray[np.float64], other: NDArray[np.float64], counts: NDArray[np.intp]
) -> NDArray[np.float64]:
    middle = (counts.sum() + 1) / 2  # the mean of any ranks, exactly
    left, right, weights = one - middle, other - middle, counts.astype(np.float64)
    size = np.sqrt((weights @ left**2) * (weights @ right**2))
    shared = weights @ (left * right)
    return np.divide(shared, size, out=np.full(len(size), np.nan), where=size > 0)
