"""Row maps from the numbers of a caller, checked: an error names the first culprit."""

import numpy as np
from numpy.typing import ArrayLike

from traceprop_engine.errors import RowMapError
from traceprop_engine.lineage.row_map_arrays import (
    IntArray,
    checked_count,
    checked_integer,
    checked_integers,
    checked_rows,
    distinct_pairs,
    frozen,
    is_increasing,
    offsets_of,
    row_dtype,
    rows_of,
    sealed,
)
from traceprop_engine.lineage.row_map_cheapest import classified, from_any_pairs, many, ranged
from traceprop_engine.lineage.row_map_context import Box, Context, RowSet
from traceprop_engine.lineage.row_map_kinds import (
    Direct,
    Function,
    Gather,
    Groups,
    Many,
    Select,
    Window,
)


def range_of(start: int, step: int, n_out: int, n_in: int) -> Function:
    """Return a range; see `RowMap.range`."""
    n_out, n_in = checked_count(n_out, "n_out"), checked_count(n_in, "n_in")
    start, step = checked_integer(start, "start"), checked_integer(step, "step")
    if not step:
        raise RowMapError("step is 0", "use RowMap.gather for a row that repeats")
    last = start + step * (n_out - 1)
    for name, row in (("start", start), ("the last row", last)):
        if n_out and not 0 <= row < n_in:
            raise RowMapError(f"{name} of the range is {row}", f"the input has {n_in} rows")
    return ranged(start if n_out else 0, step, n_out, n_in)


def select_of(in_rows: ArrayLike, n_in: int) -> Select:
    """Return a selection; see `RowMap.select`."""
    n_in = checked_count(n_in, "n_in")
    rows = checked_rows(in_rows, n_in, "in_rows")
    if not is_increasing(rows):
        at = int(np.flatnonzero(rows[1:] <= rows[:-1])[0]) + 1
        raise RowMapError(
            f"in_rows[{at}] is {rows[at]} after {rows[at - 1]}, but a selection ascends",
            "use RowMap.gather for rows in any order",
        )
    return Select(len(rows), n_in, frozen(rows, n_in))


def gather_of(in_rows: ArrayLike, n_in: int) -> Gather:
    """Return a gather; see `RowMap.gather`."""
    n_in = checked_count(n_in, "n_in")
    rows = checked_rows(in_rows, n_in, "in_rows", none=True)
    return Gather(len(rows), n_in, frozen(rows, n_in))


def function_of(in_rows: ArrayLike, n_in: int, what: str = "in_rows") -> Function:
    """Return the cheapest function; see `RowMap.classify`."""
    n_in = checked_count(n_in, "n_in")
    return classified(frozen(checked_rows(in_rows, n_in, what, none=True), n_in), n_in)


def groups_of(codes: ArrayLike, n_out: int) -> Groups:
    """Return an aggregation; see `RowMap.groups`."""
    n_out = checked_count(n_out, "n_out")
    rows = checked_rows(codes, n_out, "codes", none=True)
    return Groups(n_out, len(rows), frozen(rows, n_out))


def window_of(lo: ArrayLike, hi: ArrayLike, n_in: int) -> Window:
    """Return a window; see `RowMap.window`."""
    n_in = checked_count(n_in, "n_in")
    starts, ends = checked_integers(lo, "lo"), checked_integers(hi, "hi")
    _require_equal_lengths("lo", starts, "hi", ends)
    if (ends < starts).any():
        at = int(np.flatnonzero(ends < starts)[0])
        raise RowMapError(
            f"Window {at} begins at {starts[at]} and ends at {ends[at]}",
            "a window ends where it begins, or after",
        )
    first, last = (np.clip(end, 0, n_in).astype(row_dtype(n_in)) for end in (starts, ends))
    empty = first == last
    first[empty] = last[empty] = 0
    return Window(len(first), n_in, sealed(first), sealed(last))


def many_of(offsets: ArrayLike, members: ArrayLike, n_in: int) -> Many:
    """Return a relation by offsets and members; see `RowMap.many`."""
    n_in = checked_count(n_in, "n_in")
    found = checked_rows(members, n_in, "members")
    bounds = _checked_offsets(checked_integers(offsets, "offsets"), len(found))
    return _many(rows_of(bounds), found, len(bounds) - 1, n_in)


def many_of_pairs(out_rows: ArrayLike, in_rows: ArrayLike, n_out: int, n_in: int) -> Many:
    """Return a relation by its pairs, as the kind ``many``."""
    return _many(*_checked_pairs(out_rows, in_rows, n_out, n_in), n_out, n_in)


def pairs_of(out_rows: ArrayLike, in_rows: ArrayLike, n_out: int, n_in: int) -> Direct:
    """Return the cheapest relation with these pairs; see `RowMap.from_pairs`."""
    return from_any_pairs(*_checked_pairs(out_rows, in_rows, n_out, n_in), n_out, n_in)


def context_of(n_out: int, members: ArrayLike, n_in: int) -> Context:
    """Return a dependency through a statistic; see `RowMap.context`."""
    n_out, n_in = checked_count(n_out, "n_out"), checked_count(n_in, "n_in")
    rows = RowSet.of(checked_rows(members, n_in, "members"), n_in)
    return Context(n_out, n_in, None, (Box(RowSet.every(n_out), rows),))


def _many(out_rows: IntArray, in_rows: IntArray, n_out: int, n_in: int) -> Many:
    outs, ins = distinct_pairs(out_rows, in_rows, n_in)
    return many(offsets_of(np.bincount(outs, minlength=n_out)), ins.copy(), n_out, n_in)


def _checked_pairs(
    out_rows: ArrayLike, in_rows: ArrayLike, n_out: int, n_in: int
) -> tuple[IntArray, IntArray]:
    n_out, n_in = checked_count(n_out, "n_out"), checked_count(n_in, "n_in")
    outs = checked_rows(out_rows, n_out, "out_rows")
    ins = checked_rows(in_rows, n_in, "in_rows")
    _require_equal_lengths("out_rows", outs, "in_rows", ins)
    return outs, ins


def _checked_offsets(offsets: IntArray, n_members: int) -> IntArray:
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != n_members:
        raise RowMapError(
            f"The offsets do not go from 0 to {n_members}, the number of members",
            "pass n_out + 1 of them",
        )
    if (offsets[1:] < offsets[:-1]).any():
        at = int(np.flatnonzero(offsets[1:] < offsets[:-1])[0]) + 1
        raise RowMapError(
            f"offsets[{at}] is {offsets[at]} after {offsets[at - 1]}", "offsets never fall"
        )
    return offsets.astype(np.int64)


def _require_equal_lengths(name: str, one: IntArray, other_name: str, other: IntArray) -> None:
    if len(one) != len(other):
        raise RowMapError(
            f"{name} has {len(one)} rows and {other_name} has {len(other)}", "pass one per row"
        )
