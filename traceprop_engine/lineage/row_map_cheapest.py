"""Find the cheapest kind that holds a relation exactly, in a pass or two over its rows."""

from collections.abc import Sequence
from itertools import chain

import numpy as np

from traceprop_engine.lineage.row_map_arrays import (
    IntArray,
    Rows,
    are_distinct,
    distinct_pairs,
    is_increasing,
    joined,
    offsets_of,
    owned,
    row_dtype,
    sealed,
)
from traceprop_engine.lineage.row_map_compound import Segments, Union, united_pairs
from traceprop_engine.lineage.row_map_kinds import (
    Direct,
    Function,
    Gather,
    Groups,
    Identity,
    Many,
    Range,
    Select,
    Window,
)

# Pairs are written out where they are not many more than the rows of the two tables.
_PAIRS_PER_ROW = 4
_FEW_PAIRS = 1 << 16

# A group code for each input row is held for up to so many rows that went nowhere.
_CODES_PER_PAIR = 16


def classified(in_rows: IntArray, n_in: int) -> Function:
    """Return the cheapest function with these parents, -1 for none; the array becomes its own."""
    n_out = len(in_rows)
    if not n_out:
        return ranged(0, 1, 0, n_in)
    first, last = int(in_rows[0]), int(in_rows[-1])
    step = int(in_rows[1]) - first if n_out > 1 else 1
    if _is_range(in_rows, first, step, last):
        return ranged(first, step, n_out, n_in)
    if first >= 0 and is_increasing(in_rows):
        return Select(n_out, n_in, owned(in_rows, n_in))
    return Gather(n_out, n_in, owned(in_rows, n_in))


def _is_range(in_rows: IntArray, first: int, step: int, last: int) -> bool:
    if first < 0 or last < 0 or step == 0 or first + step * (len(in_rows) - 1) != last:
        return False
    return bool((in_rows[1:] - in_rows[:-1] == step).all())


def ranged(start: int, step: int, n_out: int, n_in: int) -> Function:
    """Return a range, or the identity if it is one."""
    if n_out == n_in and start == 0 and (step == 1 or n_out <= 1):
        return Identity(n_out, n_in)
    return Range(n_out, n_in, start, step if n_out > 1 else 1)


def scattered(keys: IntArray, values: IntArray, n: int, bound: int) -> IntArray:
    """Return the vector of length ``n`` that holds ``values`` at ``keys`` and -1 elsewhere."""
    vector = np.full(n, -1, dtype=row_dtype(bound))
    vector[keys] = values
    return vector


def no_parents(n_out: int, n_in: int) -> Direct:
    """Return the relation of no rows."""
    return classified(np.full(n_out, -1, dtype=row_dtype(n_in)), n_in)


def from_any_pairs(out_rows: IntArray, in_rows: IntArray, n_out: int, n_in: int) -> Direct:
    """Return the cheapest relation with these pairs, in any order and with repeats."""
    return from_distinct_pairs(*distinct_pairs(out_rows, in_rows, n_in), n_out, n_in)


def from_distinct_pairs(out_rows: Rows, in_rows: Rows, n_out: int, n_in: int) -> Direct:
    """Return the cheapest relation with these distinct pairs, sorted by output row."""
    counts = np.bincount(out_rows, minlength=n_out)
    if counts.max(initial=0) <= 1:
        return classified(scattered(out_rows, in_rows, n_out, n_in), n_in)
    if groups_fit(len(in_rows), n_in) and are_distinct(in_rows, n_in):
        return Groups(n_out, n_in, sealed(scattered(in_rows, out_rows, n_in, n_out)))
    offsets = offsets_of(counts)
    return _intervals(offsets, in_rows, n_out, n_in) or many(offsets, in_rows, n_out, n_in)


def groups_fit(n_pairs: int, n_in: int) -> bool:
    """Say whether a code for each input row takes little memory beside the pairs."""
    return n_in <= _FEW_PAIRS + _CODES_PER_PAIR * n_pairs


def many(offsets: Rows, members: IntArray, n_out: int, n_in: int) -> Many:
    """Return the relation of these ascending and distinct members."""
    sealed(offsets)
    return Many(n_out, n_in, offsets, owned(members, n_in))


def _intervals(offsets: Rows, in_rows: Rows, n_out: int, n_in: int) -> Window | None:
    """Return a window if the members of each output row follow each other without a gap."""
    counts = np.diff(offsets)
    filled = counts > 0
    lo, hi = np.zeros((2, n_out), dtype=np.int64)
    lo[filled] = in_rows[offsets[:-1][filled]]
    hi[filled] = in_rows[offsets[1:][filled] - 1] + 1
    if not np.array_equal(hi - lo, counts):
        return None
    return Window(n_out, n_in, owned(lo, n_in), owned(hi, n_in))


def is_small(n_pairs: float, n_out: int, n_in: int) -> bool:
    """Say whether so many pairs may be written out for two tables of these sizes."""
    return n_pairs <= _FEW_PAIRS + _PAIRS_PER_ROW * (n_out + n_in)


def flat(relation: Direct) -> Direct:
    """Return segments or a factored relation as one simple kind, if its pairs are few."""
    if isinstance(relation, Function):
        return relation
    if isinstance(relation, Segments):
        functions = [child for child in relation.children if isinstance(child, Function)]
        if len(functions) == len(relation.children):
            return classified(joined([each.parents() for each in functions]), relation.n_in)
    if relation.kind not in {"segments", "factored"} or not _is_small(relation):
        return relation
    return from_distinct_pairs(*relation.pairs(), relation.n_out, relation.n_in)


def _is_small(relation: Direct) -> bool:
    return is_small(float(relation.counts().sum()), relation.n_out, relation.n_in)


def stacked_direct(children: Sequence[Direct], n_in: int) -> Direct:
    """Return the relation whose outputs are those of ``children``, one below the other."""
    filled = [child for child in children if child.n_out]
    nested = (child.children if isinstance(child, Segments) else (child,) for child in filled)
    pieces = tuple(chain.from_iterable(nested))
    if not pieces:
        return ranged(0, 1, 0, n_in)
    n_out = sum(child.n_out for child in filled)
    return pieces[0] if len(pieces) == 1 else Segments(n_out, n_in, pieces)


def united_direct(parts: Sequence[Direct]) -> Direct:
    """Return the relation of the rows that are related in any of ``parts``."""
    nested = (part.parts if isinstance(part, Union) else (part,) for part in parts)
    pieces = list(dict.fromkeys(chain.from_iterable(nested)))
    n_out, n_in = pieces[0].n_out, pieces[0].n_in
    if len(pieces) > 1:
        pieces = _with_functions_merged(pieces)
    if len(pieces) == 1:
        return pieces[0]
    whole = Union(n_out, n_in, tuple(pieces))
    if not _is_small(whole):
        return whole
    return from_distinct_pairs(*united_pairs(pieces, n_in), n_out, n_in)


def _with_functions_merged(parts: Sequence[Direct]) -> list[Direct]:
    """Merge the first two parts if they are functions that agree wherever both have a parent."""
    one, other, *rest = (flat(part) for part in parts)
    if not isinstance(one, Function) or not isinstance(other, Function):
        return list(parts)
    mine, theirs = one.parents(), other.parents()
    if ((mine != theirs) & (mine >= 0) & (theirs >= 0)).any():
        return list(parts)
    return [classified(np.where(mine >= 0, mine, theirs), one.n_in), *rest]
