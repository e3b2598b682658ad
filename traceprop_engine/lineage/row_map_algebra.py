"""The algebra of row maps: compose, unite, stack.

Every function returns the exact relation, in the cheapest kind that a pass or two over the rows can
find. What has no closed form is written out as pairs where they are few, and kept as its factors
where they are not.
"""

from collections.abc import Sequence

import numpy as np

from traceprop_engine.lineage.row_map_arrays import (
    IntArray,
    offsets_of,
    owned,
    row_dtype,
    sealed,
)
from traceprop_engine.lineage.row_map_cheapest import (
    classified,
    flat,
    from_any_pairs,
    groups_fit,
    is_small,
    no_parents,
    ranged,
    scattered,
    stacked_direct,
    united_direct,
)
from traceprop_engine.lineage.row_map_compound import Chain, Segments, Union, product_pairs
from traceprop_engine.lineage.row_map_context import Box, Context, RowSet, Unknown
from traceprop_engine.lineage.row_map_kinds import (
    Direct,
    Function,
    Groups,
    Identity,
    Range,
    Relation,
    Window,
)


def boxes_of(relation: Relation) -> tuple[Box, ...]:
    """Return the dependencies through statistics."""
    return relation.boxes if isinstance(relation, Context) else ()


def direct_of(relation: Relation) -> Direct | None:
    """Return what is left without the dependencies through statistics, ``None`` for nothing."""
    if isinstance(relation, Direct):
        return relation
    return relation.direct if isinstance(relation, Context) else None


def stacked(children: Sequence[Relation], n_in: int) -> Relation:
    """Return the relation whose outputs are those of ``children``, one below the other."""
    n_out = sum(child.n_out for child in children)
    if any(isinstance(child, Unknown) for child in children):
        return Unknown(n_out, n_in)
    parts = [direct_of(child) or no_parents(child.n_out, n_in) for child in children]
    direct = stacked_direct(parts, n_in)
    if not any(isinstance(child, Context) for child in children):
        return direct
    starts = offsets_of(np.array([child.n_out for child in children]))
    boxes = [
        Box(RowSet.of(box.outs.array() + start, n_out), box.members)
        for child, start in zip(children, starts, strict=False)
        for box in boxes_of(child)
    ]
    return Context(n_out, n_in, direct, tuple(boxes))


def united(one: Relation, other: Relation) -> Relation:
    """Return the relation of the rows that are related in either."""
    n_out, n_in = one.n_out, one.n_in
    if isinstance(one, Unknown) or isinstance(other, Unknown):
        return Unknown(n_out, n_in)
    parts = [part for part in (direct_of(one), direct_of(other)) if part is not None]
    direct = united_direct(parts) if parts else None
    boxes = boxes_of(one) + boxes_of(other)
    if direct is None or isinstance(one, Context) or isinstance(other, Context):
        return Context(n_out, n_in, direct, boxes)
    return direct


def composed(outer: Relation, inner: Relation) -> Relation:
    """Return the relation from the inputs of ``inner`` to the outputs of ``outer``."""
    if isinstance(outer, Unknown) or isinstance(inner, Unknown):
        return Unknown(outer.n_out, inner.n_in)
    if isinstance(outer, Direct) and isinstance(inner, Direct):
        return composed_direct(outer, inner)
    return _composed_context(outer, inner)


def _composed_context(outer: Relation, inner: Relation) -> Relation:
    """Compose part by part: direct with direct, and three ways through a statistic."""
    outer_direct, inner_direct = direct_of(outer), direct_of(inner)
    boxes = [_before_box(box, inner) for box in boxes_of(outer)]
    direct = None
    if outer_direct is not None:
        boxes += [_after_box(outer_direct, box) for box in boxes_of(inner)]
        direct = None if inner_direct is None else composed_direct(outer_direct, inner_direct)
    filled = tuple(box for box in boxes if len(box.outs) and len(box.members))
    return Context(outer.n_out, inner.n_in, direct, filled)


def _before_box(box: Box, inner: Relation) -> Box:
    return Box(box.outs, RowSet.of(inner.backward(box.members.array()), inner.n_in))


def _after_box(outer: Direct, box: Box) -> Box:
    return Box(RowSet.of(outer.forward(box.outs.array()), outer.n_out), box.members)


def composed_direct(outer: Direct, inner: Direct) -> Direct:
    """Return the relation from the inputs of ``inner`` to the outputs of ``outer``."""
    factors: list[Direct] = []
    for factor in (*_factors(outer), *_factors(inner)):
        factors.append(factor)
        while len(factors) > 1 and (merged := _merged(*factors[-2:])) is not None:
            factors[-2:] = [merged]
    return factors[0] if len(factors) == 1 else Chain(outer.n_out, inner.n_in, tuple(factors))


def _factors(relation: Direct) -> tuple[Direct, ...]:
    return relation.factors if isinstance(relation, Chain) else (relation,)


def _merged(outer: Direct, inner: Direct) -> Direct | None:
    """Return the composition as one relation, ``None`` if it is cheaper to keep the two."""
    inner = flat(inner)
    if isinstance(inner, Identity):
        return outer
    if isinstance(outer, Identity):
        return inner
    if isinstance(outer, Segments):
        return stacked_direct([composed_direct(part, inner) for part in outer.children], inner.n_in)
    if isinstance(outer, Union) and isinstance(inner, Function):
        return united_direct([composed_direct(part, inner) for part in outer.parts])
    if isinstance(outer, Function) and isinstance(inner, Union):
        return united_direct([composed_direct(outer, part) for part in inner.parts])
    return _closed(outer, inner) or _written_out(outer, inner)


def _written_out(outer: Direct, inner: Direct) -> Direct | None:
    """Return the composition pair by pair, ``None`` if those are many."""
    inner_counts = inner.counts()
    n_paths = outer.summed(inner_counts).sum()
    steps = outer.counts().sum(), inner_counts.sum(), n_paths
    if not is_small(float(max(steps)), outer.n_out + outer.n_in, inner.n_in):
        return None
    pairs = product_pairs(outer.csr(), inner.csr())
    return from_any_pairs(*pairs, outer.n_out, inner.n_in)


def _closed(outer: Direct, inner: Direct) -> Direct | None:
    """Return the composition where two kinds give a simple kind, else ``None``."""
    if isinstance(outer, Function):
        return _taken(outer, inner)
    match outer, inner:
        case Groups(), Groups():
            return _groups_of_groups(outer.codes, inner.codes, outer.n_out)
        case Groups(), Function() if groups_fit(outer.n_in, inner.n_in) and inner.is_injective:
            return _groups_after(outer, inner)
        case Window(), Range() if abs(inner.step) == 1:
            return _window_after(outer, inner)
        case _:
            return None


def _taken(outer: Function, inner: Direct) -> Direct | None:
    """Return the rows of ``inner`` that ``outer`` takes, where they have a simple kind."""
    match outer, inner:
        case Range(), Range():
            start, step = inner.start + inner.step * outer.start, inner.step * outer.step
            return ranged(start, step, outer.n_out, inner.n_in)
        case _, Function():
            return classified(_looked_up(outer, inner.parents(), -1), inner.n_in)
        case _, Window():
            return _window_taken(outer, inner)
        case _, Groups() if outer.is_injective:
            return _groups_taken(outer, inner)
        case _:
            return None


def _looked_up(outer: Function, values: IntArray, missing: int) -> IntArray:
    """Return ``values`` at the parents, ``missing`` where there is none."""
    if outer.is_total:
        return values.take(outer.parents())
    return np.append(values, values.dtype.type(missing)).take(outer.parents())


def _window_taken(outer: Function, inner: Window) -> Window:
    lo, hi = (owned(_looked_up(outer, end, 0), inner.n_in) for end in (inner.lo, inner.hi))
    return Window(outer.n_out, inner.n_in, lo, hi)


def _groups_taken(outer: Function, inner: Groups) -> Groups:
    found = np.flatnonzero(outer.covered())
    codes = scattered(outer.parents()[found], found, inner.n_out, outer.n_out)
    return _groups_of_groups(codes, inner.codes, outer.n_out)


def _groups_of_groups(outer_codes: IntArray, inner_codes: IntArray, n_out: int) -> Groups:
    padded = np.append(outer_codes, outer_codes.dtype.type(-1))
    return Groups(n_out, len(inner_codes), sealed(padded[inner_codes]))


def _groups_after(outer: Groups, inner: Function) -> Groups:
    parents, has = inner.parents(), inner.covered()
    codes = scattered(parents[has], outer.codes[has], inner.n_in, outer.n_out)
    return Groups(outer.n_out, inner.n_in, sealed(codes))


def _window_after(outer: Window, inner: Range) -> Window:
    lo, hi = outer.lo.astype(np.int64), outer.hi.astype(np.int64)
    if inner.step < 0:
        lo, hi = 1 - hi, 1 - lo
    dtype, filled = row_dtype(inner.n_in), outer.covered()
    low, high = (np.where(filled, inner.start + end, 0).astype(dtype) for end in (lo, hi))
    return Window(outer.n_out, inner.n_in, sealed(low), sealed(high))
