"""Row numbers of the positions of an index: a range where they are one, else an array.

``-1`` says that a position has no row.
"""

import sys
from contextlib import suppress
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from typing import Any

if sys.platform == "linux":
    from mmap import MADV_HUGEPAGE

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.lineage.row_map_arrays import checked_rows
from traceprop_engine.lineage.row_map_cheapest import classified

IntArray = NDArray[np.integer[Any]]
Rows = range | IntArray

_PAGES_OF_ITS_OWN = 1 << 20


def as_array(rows: Rows) -> IntArray:
    """Return row numbers as an array."""
    return np.arange(rows.start, rows.stop, rows.step) if isinstance(rows, range) else rows


def is_counting(rows: Rows, n_rows: int) -> bool:
    """Say whether the rows are 0, 1, 2, ... up to ``n_rows``."""
    return isinstance(rows, range) and rows == range(n_rows)


def taken(rows: Rows, indexer: IntArray) -> IntArray:
    """Return the rows at ``indexer``, -1 where that is -1; a new array, which nobody changes."""
    if isinstance(rows, range) and rows.start == 0 and rows.step == 1:
        narrow = np.int32 if rows.stop <= np.iinfo(np.int32).max else np.int64
        return np.array(indexer, dtype=narrow)
    if isinstance(rows, range):
        found = np.asarray(indexer, dtype=np.int64) * rows.step + rows.start
    else:
        found = rows.take(indexer) if len(rows) else np.full(len(indexer), -1)
    if indexer.size and indexer.min() < 0:
        found[indexer < 0] = -1
    return narrowed(found)


def narrowed(rows: IntArray) -> IntArray:
    """Return row numbers as int32 where they fit."""
    if rows.dtype == np.int32:
        return rows
    fits = len(rows) == 0 or rows.max() <= np.iinfo(np.int32).max
    return rows.astype(np.int32 if fits else np.int64, copy=False)


def kept(rows: Rows) -> Rows:
    """Return row numbers for as long as the session is open, as int32 where they fit.

    Many get pages of their own. In the heap they would keep the user's code from using again what
    it had freed, which costs several times what the copy itself does.
    """
    if isinstance(rows, range) or isinstance(rows.base, mmap):
        return rows
    rows = narrowed(rows)
    if rows.nbytes < _PAGES_OF_ITS_OWN:
        return rows
    pages = mmap(-1, rows.nbytes, flags=MAP_PRIVATE | MAP_ANONYMOUS)
    _ask_for_huge_pages(pages)
    copy = np.frombuffer(pages, dtype=rows.dtype)
    copy[:] = rows
    return copy


def _ask_for_huge_pages(pages: mmap) -> None:
    """Make the first touch of each page cheaper where the system can; else nothing changes."""
    if sys.platform == "linux":
        with suppress(OSError):
            pages.madvise(MADV_HUGEPAGE)


def shifted(rows: Rows, periods: int) -> IntArray:
    """Return at each position the row ``periods`` positions before, -1 over the ends."""
    indexer = np.arange(len(rows)) - periods
    return taken(rows, np.where((indexer < 0) | (indexer >= len(rows)), -1, indexer))


def wrapped(indexer: IntArray, n: int) -> IntArray:
    """Return positions that may count from the end as positions from the start."""
    return np.where(indexer < 0, indexer + n, indexer)


def same_rows(one: Rows, other: Rows) -> bool:
    """Say whether two vectors name the same rows at each position."""
    if one is other:
        return True
    if isinstance(one, range) and isinstance(other, range):
        return one == other
    return len(one) == len(other) and bool((as_array(one) == as_array(other)).all())


def covers(one: Rows, other: Rows) -> bool:
    """Say whether ``one`` names, at each position, what ``other`` names there, or more."""
    if same_rows(one, other):
        return True
    if len(one) != len(other):
        return False
    few = as_array(other)
    return bool(((few < 0) | (few == as_array(one))).all())


def map_of(rows: Rows, n_in: int) -> RowMap:
    """Return the row map of an output whose row ``i`` is input row ``rows[i]``.

    The array becomes the map's own.

    Raises:
        RowMapError: A row is out of range.
    """
    if isinstance(rows, range):
        return RowMap.range(rows.start, rows.step, len(rows), n_in)
    return RowMap(classified(checked_rows(rows, n_in, "rows", none=True), n_in))


def no_rows(n: int) -> IntArray:
    """Return ``n`` positions without a row."""
    return np.full(n, -1, dtype=np.int32)
