"""Vectors of row numbers: checking what comes in, and the few set operations row maps are made of.

``-1`` stands for "no row". Row numbers are held as int32 where they fit.
"""

from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from traceprop_engine.errors import RowMapError

IntArray = NDArray[np.integer[Any]]
Rows = NDArray[np.int64]

# A mask over all rows beats sorting once the rows asked for are at least this share of them, and
# takes little memory beside them.
_MASK_SHARE = 16
_SMALL_MASK = 1 << 20

# Most arrays in no order show it within so many numbers, which spares a pass over all of them.
_HEAD = 256


def checked_count(value: int, what: str) -> int:
    """Return a number of rows as a plain int.

    Raises:
        RowMapError: It is no whole number, or negative.
    """
    count = checked_integer(value, what)
    if count < 0:
        raise RowMapError(f"{what} is {count}", "a number of rows is at least 0")
    return count


def checked_integer(value: int, what: str) -> int:
    """Return a whole number, a NumPy one too, as a plain int.

    Raises:
        RowMapError: It is no whole number.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise RowMapError(f"{what} is {value!r}", "pass a whole number")
    return index(value)


def checked_integers(values: ArrayLike, what: str) -> IntArray:
    """Return ``values`` as a one-dimensional array of integers.

    Raises:
        RowMapError: They are not integers, or not one-dimensional.
    """
    array = np.asarray(values)
    if array.ndim != 1:
        raise RowMapError(f"{what} has {array.ndim} dimensions", "pass a one-dimensional array")
    if array.size == 0:
        return np.empty(0, dtype=np.int64)
    if array.dtype.kind == "b":
        raise RowMapError(f"{what} is a boolean mask", "pass np.flatnonzero(mask)")
    if array.dtype.kind not in "iu":
        raise RowMapError(f"{what} has dtype {array.dtype}", "pass row numbers as integers")
    return array


def checked_rows(values: ArrayLike, n_rows: int, what: str, *, none: bool = False) -> IntArray:
    """Return ``values`` as row numbers below ``n_rows``; with ``none``, -1 is allowed too.

    Raises:
        RowMapError: The first value out of range is named with its position.
    """
    array = checked_integers(values, what)
    low = -1 if none else 0
    if array.size and (array.min() < low or array.max() >= n_rows):
        at = int(np.flatnonzero((array < low) | (array >= n_rows))[0])
        allowed = f"rows go from 0 to {n_rows - 1}" if n_rows else "there are no rows"
        raise RowMapError(
            f"{what}[{at}] is {array[at]}", f"{allowed}{', and -1 is no row' if none else ''}"
        )
    return array


def frozen(array: IntArray, bound: int) -> IntArray:
    """Return a read-only copy of ``array``, as int32 when ``bound`` fits in one."""
    return sealed(np.array(array, dtype=row_dtype(bound)))


def owned(array: IntArray, bound: int) -> IntArray:
    """Return ``array``, which nobody else holds, read-only and as int32 when ``bound`` fits."""
    return sealed(array.astype(row_dtype(bound), copy=False))


def sealed(array: IntArray) -> IntArray:
    """Make ``array`` read-only and return it."""
    array.flags.writeable = False
    return array


def row_dtype(bound: int) -> type[np.int32 | np.int64]:
    """Return the narrowest dtype that row maps use for numbers from -1 to ``bound``."""
    return np.int32 if bound <= np.iinfo(np.int32).max else np.int64


def is_increasing(array: IntArray) -> bool:
    """Say whether every number is larger than the one before."""
    head = array[:_HEAD]
    return bool((head[1:] > head[:-1]).all() and (array[1:] > array[:-1]).all())


def row_set(rows: IntArray, bound: int) -> Rows:
    """Return the distinct ``rows`` below ``bound``, ascending, as int64."""
    if is_increasing(rows):
        return rows.astype(np.int64)
    if rows.size * _MASK_SHARE > bound:
        return np.flatnonzero(row_mask(rows, bound)[:bound])
    return distinct(rows)


def row_mask(rows: IntArray, bound: int) -> NDArray[np.bool_]:
    """Return ``bound + 1`` flags: the last one, which index -1 finds too, is always False."""
    mask = np.zeros(bound + 1, dtype=bool)
    mask[rows] = True
    return mask


def are_distinct(rows: IntArray, bound: int) -> bool:
    """Say whether no row below ``bound`` occurs twice."""
    if rows.size > bound:
        return False
    if bound > max(rows.size * _MASK_SHARE, _SMALL_MASK):
        return distinct(rows).size == rows.size
    return int(np.count_nonzero(row_mask(rows, bound))) == rows.size


def hits(values: IntArray, rows: Rows, bound: int) -> Rows:
    """Return where ``values``, from -1 up to ``bound``, are among the ascending ``rows``."""
    if rows.size <= 1:
        return np.flatnonzero(values == rows[0]) if rows.size else rows
    if bound <= max(values.size * _MASK_SHARE, _SMALL_MASK):
        return np.flatnonzero(row_mask(rows, bound)[values])
    at = np.minimum(np.searchsorted(rows, values), rows.size - 1)
    return np.flatnonzero(rows[at] == values)


def have_common(one: IntArray, other: IntArray) -> bool:
    """Say whether two ascending arrays have a number in common."""
    few, rest = sorted((one, other), key=len)
    if not len(few):
        return False
    at = np.minimum(np.searchsorted(rest, few), len(rest) - 1)
    return bool((rest[at] == few).any())


def expanded(starts: IntArray, counts: IntArray) -> Rows:
    """Return the numbers ``start, start + 1, ...`` of each run, ``count`` of them, in order."""
    counts = counts.astype(np.int64, copy=False)
    shift = starts.astype(np.int64, copy=False) - (np.cumsum(counts) - counts)
    return np.repeat(shift, counts) + np.arange(int(counts.sum()), dtype=np.int64)


def offsets_of(counts: IntArray) -> Rows:
    """Return where each of the runs of ``counts`` numbers begins, and where the last one ends."""
    offsets = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def rows_of(offsets: IntArray) -> Rows:
    """Return for each member of the runs that ``offsets`` bound the number of its run."""
    return np.repeat(np.arange(len(offsets) - 1, dtype=np.int64), np.diff(offsets))


def run_sums(weights: NDArray[np.float64], lo: IntArray, hi: IntArray) -> NDArray[np.float64]:
    """Return the sums of ``weights[lo[i]:hi[i]]``, by differences of running sums."""
    running = np.concatenate([[0.0], np.cumsum(weights)])
    return running[hi] - running[lo]


def stable_order(keys: IntArray, bound: int) -> Rows:
    """Return the order that sorts ``keys``, from 0 up to ``bound``, and keeps ties as they are.

    NumPy sorts 16-bit integers by counting, so digits of 16 bits, lowest first, take linear time.
    """
    order = np.argsort((keys & 0xFFFF).astype(np.uint16), kind="stable")
    for shift in range(16, bound.bit_length(), 16):
        digit = (keys >> shift & 0xFFFF).astype(np.uint16)
        order = order[np.argsort(digit[order], kind="stable")]
    return order


def joined(arrays: Sequence[IntArray]) -> Rows:
    """Return the arrays one after the other, as int64; an empty array for none."""
    empty = np.empty(0, dtype=np.int64)
    return np.concatenate([empty, *arrays], dtype=np.int64, casting="same_kind")


def distinct(values: IntArray) -> Rows:
    """Return the distinct ``values``, ascending, as int64.

    For millions of integers this takes a tenth of the time of `numpy.unique`, which hashes them.
    """
    ordered = np.sort(values).astype(np.int64, copy=False)
    new = np.ones(len(ordered), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    return ordered if new.all() else ordered[new]


def distinct_pairs(out_rows: IntArray, in_rows: IntArray, n_in: int) -> tuple[Rows, Rows]:
    """Return the distinct pairs sorted by output row, then input row."""
    bits = n_in.bit_length()
    if int(out_rows.max(initial=0)).bit_length() + bits >= np.iinfo(np.int64).bits:
        return _distinct_wide_pairs(out_rows, in_rows)
    key = out_rows.astype(np.int64) << bits | in_rows
    if not is_increasing(key):
        key = distinct(key)
    return key >> bits, key & ((1 << bits) - 1)


def _distinct_wide_pairs(out_rows: IntArray, in_rows: IntArray) -> tuple[Rows, Rows]:
    """Do it without a key of both, where that would not fit 64 bits."""
    order = np.lexsort((in_rows, out_rows))
    outs, ins = (rows[order].astype(np.int64) for rows in (out_rows, in_rows))
    new = np.ones(len(order), dtype=bool)
    new[1:] = (outs[1:] != outs[:-1]) | (ins[1:] != ins[:-1])
    return outs[new], ins[new]
