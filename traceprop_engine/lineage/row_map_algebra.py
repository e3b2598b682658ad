"""The algebra of row maps: find the cheapest kind, compose, unite, stack.

Every function returns the exact relation, in the cheapest kind that a pass or two over the rows can
find.
"""

from collections.abc import Sequence

import numpy as np

from traceprop_engine.lineage.row_map_arrays import (
    IntArray,
    Rows,
    distinct_pairs,
    expanded,
    is_increasing,
    offsets_of,
    owned,
    row_dtype,
)
from traceprop_engine.lineage.row_map_context import Box, Context, RowSet, Unknown
from traceprop_engine.lineage.row_map_kinds import (
    Function,
    Gather,
    Groups,
    Identity,
    Many,
    Range,
    Relation,
    Segments,
    Select,
    Window,
    joined,
)


def classified(in_rows: IntArray, n_in: int) -> Function:
    """Return the cheapest function with these parents, -1 for none."""
    n_out = len(in_rows)
    if not n_out:
        return ranged(0, 1, 0, n_in)
    first, last = int(in_rows[0]), int(in_rows[-1])
    step = int(in_rows[1]) - first if n_out > 1 else 1
    if _is_range(in_rows, first, step, last):
        return ranged(first, step, n_out, n_in)
    if first >= 0 and is_increasing(in_rows):
        return Select(owned(in_rows, n_in), n_out, n_in)
    return Gather(owned(in_rows, n_in), n_out, n_in)


def ranged(start: int, step: int, n_out: int, n_in: int) -> Function:
    """Return a range, or the identity if it is one."""
    if n_out == n_in and start == 0 and (step == 1 or n_out <= 1):
        return Identity(n_out, n_in)
    return Range(start, step, n_out, n_in) if n_out > 1 else Range(start, 1, n_out, n_in)


def _is_range(in_rows: IntArray, first: int, step: int, last: int) -> bool:
    if first < 0 or last < 0 or step == 0 or first + step * (len(in_rows) - 1) != last:
        return False
    return bool((in_rows[1:] - in_rows[:-1] == step).all())


def from_distinct_pairs(out_rows: Rows, in_rows: Rows, n_out: int, n_in: int) -> Relation:
    """Return the cheapest relation with these distinct pairs, sorted by output row."""
    counts = np.bincount(out_rows, minlength=n_out)
    if counts.max(initial=0) <= 1:
        return classified(scattered(out_rows, in_rows, n_out, n_in), n_in)
    if np.bincount(in_rows).max() <= 1:
        return Groups(owned(scattered(in_rows, out_rows, n_in, n_out), n_out), n_out, n_in)
    offsets = offsets_of(counts)
    lo = np.zeros(n_out, dtype=np.int64)
    hi = np.zeros(n_out, dtype=np.int64)
    filled = counts > 0
    lo[filled] = in_rows[offsets[:-1][filled]]
    hi[filled] = in_rows[offsets[1:][filled] - 1] + 1
    if np.array_equal(hi - lo, counts):
        return Window(owned(lo, n_in), owned(hi, n_in), n_out, n_in)
    return Many(owned(offsets, offsets[-1] + 2**40), owned(in_rows, n_in), n_out, n_in)


def scattered(keys: IntArray, values: IntArray, n: int, bound: int) -> IntArray:
    """Return the vector of length ``n`` that holds ``values`` at ``keys`` and -1 elsewhere."""
    vector = np.full(n, -1, dtype=row_dtype(bound))
    vector[keys] = values
    return vector


def from_any_pairs(out_rows: IntArray, in_rows: IntArray, n_out: int, n_in: int) -> Relation:
    """Return the cheapest relation with these pairs, in any order and with repeats."""
    return from_distinct_pairs(*distinct_pairs(out_rows, in_rows, n_in), n_out, n_in)


def stacked(children: Sequence[Relation], n_in: int) -> Relation:
    """Return the relation whose outputs are those of ``children``, one below the other."""
    filled = [child for child in children if child.n_out]
    n_out = sum(child.n_out for child in filled)
    if any(isinstance(child, Unknown) for child in children):
        return Unknown(n_out, n_in)
    if any(isinstance(child, Context) for child in filled):
        return _stacked_context(filled, n_out, n_in)
    if not filled:
        return ranged(0, 1, 0, n_in)
    return filled[0] if len(filled) == 1 else Segments(tuple(filled), n_out, n_in)


def _stacked_context(children: Sequence[Relation], n_out: int, n_in: int) -> Relation:
    starts = offsets_of(np.array([child.n_out for child in children]))
    boxes = [
        Box(RowSet.of(box.outs.array() + start, n_out), box.members)
        for child, start in zip(children, starts, strict=False)
        for box in boxes_of(child)
    ]
    direct = [direct_of(child) or no_parents(child.n_out, n_in) for child in children]
    return Context(stacked(direct, n_in), tuple(boxes), n_out, n_in)


def no_parents(n_out: int, n_in: int) -> Relation:
    """Return the relation of no rows."""
    return Gather(owned(np.full(n_out, -1, dtype=row_dtype(n_in)), n_in), n_out, n_in)


def boxes_of(relation: Relation) -> tuple[Box, ...]:
    """Return the dependencies through statistics."""
    return relation.boxes if isinstance(relation, Context) else ()


def direct_of(relation: Relation) -> Relation | None:
    """Return what is left without the dependencies through statistics."""
    return relation.direct if isinstance(relation, Context) else relation


def flat(relation: Relation) -> Relation:
    """Return segments as one simple kind, anything else as it is."""
    if not isinstance(relation, Segments):
        return relation
    children = relation.children
    if all(isinstance(child, Function) for child in children):
        functions = [child for child in children if isinstance(child, Function)]
        return classified(joined([child.parents() for child in functions]), relation.n_in)
    return from_distinct_pairs(*relation.pairs(), relation.n_out, relation.n_in)


def united(one: Relation, other: Relation) -> Relation:
    """Return the relation of the rows that are related in either."""
    n_out, n_in = one.n_out, one.n_in
    if isinstance(one, Unknown) or isinstance(other, Unknown):
        return Unknown(n_out, n_in)
    if isinstance(one, Context) or isinstance(other, Context):
        direct = [part for part in (direct_of(one), direct_of(other)) if part is not None]
        both = united(*direct) if len(direct) == 2 else (direct or [None])[0]  # noqa: PLR2004 - a pair
        return Context(both, boxes_of(one) + boxes_of(other), n_out, n_in)
    one_out, one_in = one.pairs()
    other_out, other_in = other.pairs()
    return from_any_pairs(
        np.concatenate([one_out, other_out]), np.concatenate([one_in, other_in]), n_out, n_in
    )


def composed(outer: Relation, inner: Relation) -> Relation:
    """Return the relation from the inputs of ``inner`` to the outputs of ``outer``."""
    if isinstance(outer, Unknown) or isinstance(inner, Unknown):
        return Unknown(outer.n_out, inner.n_in)
    if isinstance(inner, Identity):
        return outer
    if isinstance(outer, Identity):
        return inner
    if isinstance(outer, Context) or isinstance(inner, Context):
        return _composed_context(outer, inner)
    if isinstance(outer, Segments):
        return stacked([composed(child, inner) for child in outer.children], inner.n_in)
    return _composed_direct(outer, flat(inner))


def _composed_direct(outer: Relation, inner: Relation) -> Relation:
    if isinstance(outer, Function):
        return _taken(inner, outer)
    if isinstance(outer, Groups) and isinstance(inner, Groups):
        return Groups(_chained(outer.codes, inner.codes, outer.n_out), outer.n_out, inner.n_in)
    if isinstance(outer, Groups) and isinstance(inner, Function) and inner.is_injective:
        return _groups_after(outer, inner)
    if isinstance(outer, Window) and isinstance(inner, Range) and abs(inner.step) == 1:
        return _window_after(outer, inner)
    return _composed_pairs(outer, inner)


def _taken(inner: Relation, outer: Function) -> Relation:
    """Return the rows of ``inner`` that ``outer`` takes."""
    if isinstance(outer, Range) and isinstance(inner, Range):
        start, step = inner.start + inner.step * outer.start, inner.step * outer.step
        return ranged(start, step, outer.n_out, inner.n_in)
    rows = outer.parents()
    if isinstance(inner, Function):
        return classified(_looked_up(inner.parents(), rows, outer.is_total), inner.n_in)
    if isinstance(inner, Groups) and outer.is_injective:
        codes = scattered(rows[rows >= 0], np.flatnonzero(rows >= 0), inner.n_out, outer.n_out)
        return Groups(_chained(codes, inner.codes, outer.n_out), outer.n_out, inner.n_in)
    if isinstance(inner, Window):
        return _window_taken(inner, rows)
    return _composed_pairs(outer, inner)


def _looked_up(parents: IntArray, rows: IntArray, is_total: bool) -> IntArray:  # noqa: FBT001 - one caller
    if is_total:
        return parents[rows]
    return np.where(rows >= 0, np.append(parents, parents.dtype.type(-1))[rows], -1)


def _chained(outer_codes: IntArray, inner_codes: IntArray, n_out: int) -> IntArray:
    padded = np.append(outer_codes, outer_codes.dtype.type(-1))
    return owned(padded[inner_codes], n_out)


def _window_taken(inner: Window, rows: IntArray) -> Window:
    lo = np.where(rows >= 0, np.append(inner.lo, inner.lo.dtype.type(0))[rows], 0)
    hi = np.where(rows >= 0, np.append(inner.hi, inner.hi.dtype.type(0))[rows], 0)
    return Window(owned(lo, inner.n_in), owned(hi, inner.n_in), len(rows), inner.n_in)


def _groups_after(outer: Groups, inner: Function) -> Groups:
    parents = inner.parents()
    has = parents >= 0
    codes = scattered(parents[has], outer.codes[has], inner.n_in, outer.n_out)
    return Groups(owned(codes, outer.n_out), outer.n_out, inner.n_in)


def _window_after(outer: Window, inner: Range) -> Window:
    lo, hi = outer.lo.astype(np.int64), outer.hi.astype(np.int64)
    if inner.step < 0:
        lo, hi = 1 - hi, 1 - lo
    filled = outer.hi > outer.lo
    lo, hi = (np.where(filled, inner.start + end, 0) for end in (lo, hi))
    return Window(owned(lo, inner.n_in), owned(hi, inner.n_in), outer.n_out, inner.n_in)


def _composed_pairs(outer: Relation, inner: Relation) -> Relation:
    out_rows, mid_rows = outer.pairs()
    offsets, members = inner.csr()
    counts = offsets[mid_rows + 1] - offsets[mid_rows]
    in_rows = members[expanded(offsets[mid_rows], counts)]
    return from_any_pairs(np.repeat(out_rows, counts), in_rows, outer.n_out, inner.n_in)


def _composed_context(outer: Relation, inner: Relation) -> Relation:
    """Compose part by part: direct with direct, and three ways through a statistic."""
    outer_direct, inner_direct = direct_of(outer), direct_of(inner)
    boxes = [_before_box(box, inner_direct, boxes_of(inner), inner.n_in) for box in boxes_of(outer)]
    if outer_direct is not None:
        boxes += [_after_box(outer_direct, box) for box in boxes_of(inner)]
    direct = None
    if outer_direct is not None and inner_direct is not None:
        direct = composed(outer_direct, inner_direct)
    filled = tuple(box for box in boxes if len(box.outs) and len(box.members))
    return Context(direct, filled, outer.n_out, inner.n_in)


def _before_box(
    box: Box, inner_direct: Relation | None, inner_boxes: Sequence[Box], n_in: int
) -> Box:
    members = RowSet.of(np.empty(0, dtype=np.int64), n_in)
    if inner_direct is not None:
        members = RowSet.of(inner_direct.backward(box.members.array()), n_in)
    for inner in inner_boxes:
        if box.members.meets_set(inner.outs):
            members = members.or_rows(inner.members)
    return Box(box.outs, members)


def _after_box(outer: Relation, box: Box) -> Box:
    return Box(RowSet.of(outer.forward(box.outs.array()), outer.n_out), box.members)
