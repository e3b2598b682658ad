"""Which group each row of a Polars frame went into, found by its key in the result.

Keys are looked up by their hash in one table. Those few whose slot another key has too are joined,
so the answer never rests on two hashes being different.
"""

import numpy as np
import polars as pl
import polars.selectors as cs
from polars.exceptions import PolarsError

from traceprop_engine.frames.of_polars.hidden_rows import numbered, row_numbers
from traceprop_engine.lineage.rows import IntArray

_SLOTS_PER_KEY, _LEAST_SLOTS, _MOST_SLOTS = 16, 1 << 18, 1 << 24
_SHARED, _NOBODYS = -1, -2
_FIRST_ROWS = 1 << 16
# Values of these types are equal exactly if their bytes are; floats are brought to that form.
_HASHED = (pl.String, pl.Binary, pl.Boolean, pl.Date, pl.Time, pl.Datetime, pl.Duration)


def group_codes(keys: pl.DataFrame, groups: pl.DataFrame) -> IntArray | None:
    """Return the row of ``groups`` that has the key of each row of ``keys``.

    Args:
        keys: ``[n_rows]``, the key of each row in one column or several.
        groups: ``[n_groups]``, the same columns.

    Returns:
        Codes ``[n_rows]``; ``None`` unless every row has exactly one group, and every group a row.
    """
    if keys.schema != groups.schema:
        return None
    codes = _hashed_codes(keys, groups) if _have_hashes(keys) else None
    if codes is None:
        codes = _joined_codes(keys, numbered(groups))
    return codes if codes is not None and _are_whole(codes, len(groups)) else None


def _have_hashes(keys: pl.DataFrame) -> bool:
    return all(each.is_integer() or each.is_float() or each in _HASHED for each in keys.dtypes)


def _hashed_codes(keys: pl.DataFrame, groups: pl.DataFrame) -> IntArray | None:
    """Return the group of each row; ``None`` if hashes do not find one for every row."""
    wanted = 1 << (_SLOTS_PER_KEY * len(groups)).bit_length()
    n_slots = min(max(wanted, _LEAST_SLOTS), _MOST_SLOTS)
    every = np.arange(len(groups), dtype=np.int32)
    slots = _slots(groups, n_slots)
    table = np.full(n_slots, _NOBODYS, dtype=np.int32)
    table[slots] = every
    table[slots[table[slots] != every]] = _SHARED
    codes = table.take(_slots(keys, n_slots))
    if codes.min(initial=0) >= 0:
        return codes
    return _completed(codes, keys, numbered(groups)[np.flatnonzero(table[slots] == _SHARED)])


def _completed(codes: IntArray, keys: pl.DataFrame, shared: pl.DataFrame) -> IntArray | None:
    """Return codes with those of the rows whose slot is one of several groups, the shared ones."""
    left = np.flatnonzero(codes < 0)
    if (codes[left] == _NOBODYS).any():
        return None
    found = _joined_codes(keys[left], shared)
    if found is not None:
        codes[left] = found
    return None if found is None else codes


def _slots(keys: pl.DataFrame, n_slots: int) -> IntArray:
    if any(each.is_float() for each in keys.dtypes):
        keys = keys.with_columns((cs.float() + 0.0).fill_nan(np.nan))  # one zero, and one NaN
    hashes = keys.hash_rows() if keys.width > 1 else keys.to_series().hash()
    return (hashes.to_numpy() & np.uint64(n_slots - 1)).view(np.int64)


def _joined_codes(keys: pl.DataFrame, groups: pl.DataFrame) -> IntArray | None:
    """Return the row number in ``groups`` of the one with the key of each row, -1 without one."""
    try:
        found = keys.join(
            groups, on=keys.columns, how="left", nulls_equal=True, maintain_order="left"
        )
    except PolarsError:  # keys of a type that Polars groups but does not join
        return None
    return row_numbers(found) if len(found) == len(keys) else None


def _are_whole(codes: IntArray, n_groups: int) -> bool:
    if codes.min(initial=0) < 0:
        return False
    # A few groups have all been met after some rows.
    return _have_rows(codes[:_FIRST_ROWS], n_groups) or _have_rows(codes, n_groups)


def _have_rows(codes: IntArray, n_groups: int) -> bool:
    has_row = np.zeros(n_groups, dtype=bool)
    has_row[codes.astype(np.intp, copy=False)] = True  # NumPy scatters by these twice as fast
    return bool(has_row.all())
