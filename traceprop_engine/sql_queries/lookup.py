"""Which group each row went into, from the keys of rows and of groups."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from traceprop_engine.lineage.row_map import RowMap

Ints = NDArray[np.integer[Any]]
Codes = NDArray[np.int32]

_PLACES_PER_KEY = 4
_SMALL_BITS, _LARGE_BITS = 20, 24
# Odd, so that no two keys become one; its powers, which wrap around, are odd too.
_ODD = 0x9E3779B97F4A7C15
_WORD = (1 << 64) - 1
_ROUNDS = 8
_NOBODY, _SHARED = -1, -2


def group_codes(rows: pa.ChunkedArray, groups: pa.ChunkedArray, counts: Ints) -> Codes | None:
    """Return the group of each row, -1 for a row of none of these groups.

    Rows and groups have one integer as their key: the value that is grouped by, or a hash of all
    such values. A row has the key of its own group; that no row of another group has it too is
    certain once each group is found as often as it has rows.

    Args:
        rows: The key of each row.
        groups: The key of each group.
        counts: How many rows each group has.

    Returns:
        ``None`` if a group has other rows than those that have its key.
    """
    of_rows, of_groups = _filled(rows, groups)
    codes = _codes(of_rows, of_groups)
    has_others = len(codes) > 0 and codes.min() < 0
    found = np.bincount(codes[codes >= 0] if has_others else codes, minlength=len(counts))
    return codes if np.array_equal(found, counts) else None


def one_group(n_rows: int, counts: Ints) -> Codes | None:
    """Return the group of each row where there is one group, or none that stayed.

    Returns:
        ``None`` if the group has another number of rows.
    """
    if any(int(each) != n_rows for each in counts):
        return None
    return np.full(n_rows, 0 if len(counts) else -1, dtype=np.int32)


def group_map(codes: Codes, members: pa.ChunkedArray, n_groups: int, n_in: int) -> RowMap:
    """Return the map of groups to a source from the group and the source row of each row."""
    rows = rows_of(members)
    if len(rows) == n_in and _counts_up(rows):
        return RowMap.groups(codes, n_groups)
    return grouping(codes, rows, n_groups, n_in)


def grouping(groups: Codes, members: Codes, n_groups: int, n_in: int) -> RowMap:
    """Return the map of groups from the group that each member went into; -1 is none."""
    is_row = (members >= 0) & (groups >= 0)
    if not is_row.all():
        groups, members = groups[is_row], members[is_row]
    codes = np.full(n_in, -1, dtype=np.int32)
    codes[members] = groups
    if np.count_nonzero(codes >= 0) == len(members):
        return RowMap.groups(codes, n_groups)
    return RowMap.from_pairs(groups, members, n_groups, n_in)


def rows_of(column: pa.ChunkedArray) -> Codes:
    """Return row numbers as an array, -1 for no row."""
    return (pc.fill_null(column, -1) if column.null_count else column).to_numpy()


def _filled(rows: pa.ChunkedArray, groups: pa.ChunkedArray) -> tuple[Ints, Ints]:
    """Return keys as arrays, with a number that is no key where there is none."""
    if not (rows.null_count or groups.null_count):
        return rows.to_numpy(), groups.to_numpy()
    both = [each.cast(pa.int64()) for each in (rows, groups)]
    free = _free_number(both)
    filled = [pc.fill_null(each, free) for each in both]
    return filled[0].to_numpy(), filled[1].to_numpy()


def _free_number(columns: list[pa.ChunkedArray]) -> int:
    """Return a number that no column has, not even in rows whose group was dropped.

    Where both ends are taken it is 0, which may be: then one group gets the rows of two, and their
    counts will not agree.
    """
    chunks = [chunk for column in columns for chunk in column.chunks]
    ends = pc.call_function("min_max", [pa.chunked_array(chunks, type=pa.int64())]).as_py()
    lowest, highest = ends["min"] or 0, ends["max"] or 0
    if highest < np.iinfo(np.int64).max:
        return highest + 1
    return lowest - 1 if lowest > np.iinfo(np.int64).min else 0


def _codes(rows: Ints, groups: Ints) -> Codes:
    if not (len(rows) and len(groups)):
        return np.full(len(rows), -1, dtype=np.int32)
    if rows.dtype != np.uint64:
        low, high = int(groups.min()), int(groups.max())
        if high - low < _PLACES_PER_KEY * (len(rows) + len(groups)):
            return _by_value(_wide(rows), _wide(groups), low, high)
    return _by_hash(_unsigned(rows), _unsigned(groups))


def _wide(keys: Ints) -> Ints:
    return keys.astype(np.int64, copy=False)


def _unsigned(keys: Ints) -> NDArray[np.uint64]:
    """Return keys as they are, negative ones seen as large."""
    return keys.astype(np.uint64, copy=False)


def _by_value(rows: Ints, groups: Ints, low: int, high: int) -> Codes:
    """Look keys of a short range up in a table with a place for each."""
    table = np.full(high - low + 2, _NOBODY, dtype=np.int32)
    table[groups - low] = np.arange(len(groups), dtype=np.int32)
    at = rows - low
    # Seen as unsigned, what is below the range is above it: one minimum for both ends.
    np.minimum(at.view(np.uint64), np.uint64(high - low + 1), out=at.view(np.uint64))
    return table.take(at)


def _by_hash(rows: NDArray[np.uint64], groups: NDArray[np.uint64]) -> Codes:
    """Look keys up in a table with a place for each of their first bits.

    Groups that share a place wait for the next round, where other bits place them. Those that share
    one in each round have the same key: they get no rows, and their counts will not agree.
    """
    shift = np.uint64(64 - _bits_for(len(groups)))
    codes = np.full(len(rows), _NOBODY, dtype=np.int32)
    left, waiting, factor = np.arange(len(groups), dtype=np.int32), None, _ODD
    for _ in range(_ROUNDS):
        if not len(left):
            break
        table, is_shared = _table(left, _places(groups[left], factor, shift), shift)
        these = rows if waiting is None else rows[waiting]
        found = table.take(_places(these, factor, shift))
        # Not even where each row has its group: what is equal under a collation has other hashes.
        is_other = groups.take(found, mode="clip") != these
        is_other &= found >= 0
        found[is_other] = _NOBODY
        if waiting is None:
            codes = found
        else:
            codes[waiting] = found
        is_waiting = np.flatnonzero(found == _SHARED)
        waiting = is_waiting if waiting is None else waiting[is_waiting]
        left, factor = left[is_shared], factor * _ODD & _WORD
    codes[codes == _SHARED] = _NOBODY
    return codes


def _table(
    groups: Codes, places: NDArray[np.int64], shift: np.uint64
) -> tuple[Codes, NDArray[np.bool_]]:
    """Return which group is at each place, and which groups share theirs."""
    table = np.full(1 << (64 - int(shift)), _NOBODY, dtype=np.int32)
    table[places] = groups
    table[places[table[places] != groups]] = _SHARED
    return table, table[places] == _SHARED


def _bits_for(n_groups: int) -> int:
    """Return for how many bits a table has places enough: for few groups, one for each.

    There are at least twice as many places as groups, so that each round places most of them.
    """
    bits = n_groups.bit_length()
    few = 2 * bits + 1
    many = min(bits + 2, max(bits + 1, _LARGE_BITS))
    return few if few <= _SMALL_BITS else max(many, _SMALL_BITS)


def _places(keys: NDArray[np.uint64], factor: int, shift: np.uint64) -> NDArray[np.int64]:
    places = keys * np.uint64(factor)
    places >>= shift
    return places.view(np.int64)


def _counts_up(rows: Codes) -> bool:
    return len(rows) == 0 or bool(
        rows[0] == 0 and rows[-1] == len(rows) - 1 and (rows[1:] - rows[:-1] == 1).all()
    )
