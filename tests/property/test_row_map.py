"""Laws of row maps, against a model that is nothing but a set of pairs."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traceprop_engine.lineage.row_map import RowMap

Pair = tuple[int, int]


@dataclass(frozen=True)
class Model:
    """The slow and obvious row map: direct pairs, pairs through a statistic, and known or not."""

    n_out: int
    n_in: int
    direct: frozenset[Pair] = frozenset()
    through: frozenset[Pair] = frozenset()
    known: bool = True

    @property
    def pairs(self):
        return self.direct | self.through

    def backward(self, rows):
        return sorted({a for c, a in self.pairs if c in set(rows)})

    def forward(self, rows):
        return sorted({c for c, a in self.pairs if a in set(rows)})

    def compose(self, inner):
        if not (self.known and inner.known):
            return Model(self.n_out, inner.n_in, known=False)
        direct = _joined(self.direct, inner.direct)
        through = _joined(self.through, inner.pairs) | _joined(self.pairs, inner.through)
        return Model(self.n_out, inner.n_in, direct, through)


def _joined(outer, inner):
    return frozenset((c, a) for c, b in outer for b2, a in inner if b == b2)


@dataclass(frozen=True)
class Case:
    """A row map and the model of it, made side by side from the same numbers."""

    map: RowMap
    model: Model


def _direct(row_map, pairs):
    return Case(row_map, Model(row_map.n_out, row_map.n_in, frozenset(pairs)))


def _function(row_map, parents):
    return _direct(row_map, {(c, a) for c, a in enumerate(parents) if a >= 0})


def _identities(n_out, n_in):
    if n_out != n_in:
        return None
    return st.just(_function(RowMap.identity(n_out), range(n_out)))


@st.composite
def _ranges(draw, n_out, n_in):
    steps = [s for s in range(-n_in, n_in + 1) if s and abs(s) * (n_out - 1) < n_in]
    step = draw(st.sampled_from(steps)) if n_in else 1
    lowest = -step * (n_out - 1) if step < 0 else 0
    highest = n_in - 1 if step < 0 else n_in - 1 - step * (n_out - 1)
    start = draw(st.integers(lowest, highest)) if n_out else 0
    return _function(
        RowMap.range(start, step, n_out, n_in), [start + step * i for i in range(n_out)]
    )


def _range_case(n_out, n_in):
    fits = not n_out or (n_in and n_out <= n_in)
    return _ranges(n_out, n_in) if fits else None


def _selects(n_out, n_in):
    if n_out > n_in:
        return None
    return st.permutations(range(n_in)).map(
        lambda order: _function(RowMap.select(sorted(order[:n_out]), n_in), sorted(order[:n_out]))
    )


def _gathers(n_out, n_in):
    rows = st.lists(st.integers(-1, n_in - 1), min_size=n_out, max_size=n_out)
    return rows.map(lambda found: _function(RowMap.gather(found, n_in), found))


def _groups(n_out, n_in):
    codes = st.lists(st.integers(-1, n_out - 1), min_size=n_in, max_size=n_in)
    return codes.map(
        lambda found: _direct(
            RowMap.groups(found, n_out), {(c, a) for a, c in enumerate(found) if c >= 0}
        )
    )


@st.composite
def _windows(draw, n_out, n_in):
    ends = st.tuples(st.integers(-2, n_in + 2), st.integers(0, 4)).map(lambda w: (w[0], sum(w)))
    found = draw(st.lists(ends, min_size=n_out, max_size=n_out))
    pairs = {(c, a) for c, (lo, hi) in enumerate(found) for a in range(lo, hi) if 0 <= a < n_in}
    return _direct(RowMap.window([w[0] for w in found], [w[1] for w in found], n_in), pairs)


@st.composite
def _manys(draw, n_out, n_in):
    row = st.lists(st.integers(0, n_in - 1), max_size=4) if n_in else st.just([])
    found = draw(st.lists(row, min_size=n_out, max_size=n_out))
    offsets = np.cumsum([0, *map(len, found)])
    members = [a for members in found for a in members]
    pairs = {(c, a) for c, members in enumerate(found) for a in members}
    return _direct(RowMap.many(offsets, members, n_in), pairs)


@st.composite
def _contexts(draw, n_out, n_in):
    members = draw(st.lists(st.integers(0, n_in - 1), max_size=n_in)) if n_in else []
    through = frozenset(product(range(n_out), members))
    return Case(RowMap.context(n_out, members, n_in), Model(n_out, n_in, through=through))


def _unknowns(n_out, n_in):
    return st.just(Case(RowMap.unknown(n_out, n_in), Model(n_out, n_in, known=False)))


@st.composite
def _segments(draw, n_out, n_in, parts=None):
    cut = draw(st.integers(0, n_out))
    pieces = [
        draw(case(draw(st.sampled_from(parts or SIMPLE)), rows, n_in))
        for rows in (cut, n_out - cut)
    ]
    row_map = RowMap.segments([(piece.map.n_out, piece.map) for piece in pieces])
    shifts = (0, cut)
    direct, through = (
        frozenset(
            (c + shift, a)
            for piece, shift in zip(pieces, shifts, strict=True)
            for c, a in getattr(piece.model, name)
        )
        for name in ("direct", "through")
    )
    known = all(piece.model.known for piece in pieces)
    if not known:
        direct = through = frozenset()
    return Case(row_map, Model(n_out, n_in, direct, through, known))


def _mixed(n_out, n_in):
    return _segments(n_out, n_in, parts=[*SIMPLE, "context", "unknown"])


STRATEGIES: dict[str, Callable] = {
    "identity": _identities,
    "range": _range_case,
    "select": _selects,
    "gather": _gathers,
    "groups": _groups,
    "segments": _segments,
    "window": _windows,
    "many": _manys,
    "context": _contexts,
    "unknown": _unknowns,
    "mixed": _mixed,
}
SIMPLE = ["identity", "range", "select", "gather", "groups", "window", "many"]
KINDS = list(STRATEGIES)


def case(kind, n_out, n_in):
    """Return cases of ``kind`` and of this size, or of a gather where the kind cannot have it."""
    made = STRATEGIES[kind](n_out, n_in)
    return _gathers(n_out, n_in) if made is None else made


SIZES = st.integers(0, 6)


def chain(data, kinds):
    """Draw maps of ``kinds``, outermost first, each of which can follow the next."""
    sizes = [data.draw(SIZES)]
    for kind in kinds:
        low, high = (sizes[-1], 8) if kind in {"range", "select"} else (0, 6)
        same = kind == "identity"
        sizes.append(sizes[-1] if same else data.draw(st.integers(low, high)))
    return [
        data.draw(case(kind, n_out, n_in))
        for kind, n_out, n_in in zip(kinds, sizes, sizes[1:], strict=False)
    ]


def subset(data, n):
    return data.draw(st.lists(st.integers(0, n - 1), max_size=n)) if n else []


def assert_agrees(row_map, model):
    """Check everything that can be asked of the map, row by row."""
    assert (row_map.n_out, row_map.n_in) == (model.n_out, model.n_in)
    assert row_map.is_known == model.known
    for row in range(model.n_out):
        assert row_map.backward([row]).tolist() == model.backward([row])
    for row in range(model.n_in):
        assert row_map.forward([row]).tolist() == model.forward([row])
    covered = [any(c == row for c, _ in model.direct) for row in range(model.n_out)]
    assert row_map.covered().tolist() == covered
    if row_map.kind != "context":
        found = [tuple(pair) for pair in zip(*map(np.ndarray.tolist, row_map.pairs()), strict=True)]
        assert found == sorted(model.direct)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_a_map_answers_every_question_as_its_set_of_pairs_does(kind, data):
    made = data.draw(case(kind, data.draw(SIZES), data.draw(SIZES)))
    assert_agrees(made.map, made.model)
    for n, ask, model in (
        (made.map.n_out, made.map.backward, made.model.backward),
        (made.map.n_in, made.map.forward, made.model.forward),
    ):
        rows = subset(data, n)
        found = ask(rows)
        assert found.dtype == np.int64
        assert found.tolist() == model(rows)


@pytest.mark.parametrize(("outer", "inner"), list(product(KINDS, KINDS)))
@given(data=st.data())
def test_composing_two_maps_joins_their_pairs(outer, inner, data):
    one, two = chain(data, [outer, inner])
    assert_agrees(one.map.compose(two.map), one.model.compose(two.model))
