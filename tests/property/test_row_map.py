"""Laws of row maps, against a model that is nothing but a set of pairs."""

import json
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traceprop_engine.lineage import row_map_cheapest
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

    def covered(self):
        return [any(c == row for c, _ in self.direct) for row in range(self.n_out)]

    def compose(self, inner):
        if not (self.known and inner.known):
            return Model(self.n_out, inner.n_in, known=False)
        direct = _joined(self.direct, inner.direct)
        through = _joined(self.through, inner.pairs) | _joined(self.pairs, inner.through)
        return Model(self.n_out, inner.n_in, direct, through)

    def union(self, other):
        if not (self.known and other.known):
            return Model(self.n_out, self.n_in, known=False)
        direct, through = self.direct | other.direct, self.through | other.through
        return Model(self.n_out, self.n_in, direct, through)

    def take(self, rows):
        taken = frozenset((c, b) for c, b in enumerate(rows) if b >= 0)
        return Model(len(rows), self.n_out, taken).compose(self)


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
    return st.just(_function(RowMap.identity(n_out), range(n_out))) if n_out == n_in else None


def _ranges(n_out, n_in):
    if not 0 < n_out <= n_in:
        return st.just(_direct(RowMap.range(0, 1, 0, n_in), set())) if not n_out else None
    return st.sampled_from(
        [
            _function(RowMap.range(start, step, n_out, n_in), rows)
            for start in range(n_in)
            for step in range(-n_in, n_in + 1)
            if step
            for rows in ([start + step * i for i in range(n_out)],)
            if 0 <= rows[-1] < n_in
        ]
    )


def _selects(n_out, n_in):
    if n_out > n_in:
        return None
    chosen = st.permutations(range(n_in)).map(lambda order: sorted(order[:n_out]))
    return chosen.map(lambda rows: _function(RowMap.select(rows, n_in), rows))


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
    members = [a for members in found for a in members]
    pairs = {(c, a) for c, members in enumerate(found) for a in members}
    return _direct(RowMap.many(np.cumsum([0, *map(len, found)]), members, n_in), pairs)


@st.composite
def _contexts(draw, n_out, n_in):
    members = draw(rows_below(n_in))
    through = frozenset(product(range(n_out), members))
    return Case(RowMap.context(n_out, members, n_in), Model(n_out, n_in, through=through))


def _unknowns(n_out, n_in):
    return st.just(Case(RowMap.unknown(n_out, n_in), Model(n_out, n_in, known=False)))


@st.composite
def _segments(draw, n_out, n_in, parts=()):
    cut = draw(st.integers(0, n_out))
    kinds = st.sampled_from([*SIMPLE, *parts])
    one, other = (draw(case(draw(kinds), rows, n_in)) for rows in (cut, n_out - cut))
    row_map = RowMap.segments([(cut, one.map), (n_out - cut, other.map)])
    if not (one.model.known and other.model.known):
        return Case(row_map, Model(n_out, n_in, known=False))
    direct, through = (
        mine | {(c + cut, a) for c, a in theirs}
        for mine, theirs in (
            (one.model.direct, other.model.direct),
            (one.model.through, other.model.through),
        )
    )
    return Case(row_map, Model(n_out, n_in, direct, through))


def _mixed_segments(n_out, n_in):
    return _segments(n_out, n_in, parts=["context", "context", "unknown"])


STRATEGIES: dict[str, Callable] = {
    "identity": _identities,
    "range": _ranges,
    "select": _selects,
    "gather": _gathers,
    "groups": _groups,
    "window": _windows,
    "many": _manys,
    "segments": _segments,
    "context": _contexts,
    "unknown": _unknowns,
    "mixed segments": _mixed_segments,
}
SIMPLE = ["identity", "range", "select", "gather", "groups", "window", "many"]
KINDS = list(STRATEGIES)
SIZES = st.integers(0, 5)


def case(kind, n_out, n_in):
    """Return cases of ``kind`` and of this size, or of a gather where the kind cannot have it."""
    made = STRATEGIES[kind](n_out, n_in)
    return _gathers(n_out, n_in) if made is None else made


def chain(data, kinds):
    """Draw maps of ``kinds``, outermost first, each of which can follow the next."""
    n_out, made = data.draw(SIZES), []
    for kind in kinds:
        lowest = n_out if kind in {"identity", "range", "select"} else 0
        n_in = n_out if kind == "identity" else data.draw(st.integers(lowest, max(lowest, 5)))
        made.append(data.draw(case(kind, n_out, n_in)))
        n_out = n_in
    return made


def any_case(data, n_out, n_in):
    return data.draw(case(data.draw(st.sampled_from(KINDS)), n_out, n_in))


def rows_below(n, lowest=0):
    return st.lists(st.integers(lowest, n - 1), max_size=6) if n > lowest else st.just([])


@contextmanager
def maybe_factored(data):
    """Either write compositions out as pairs, or keep every one of them as its factors."""
    with pytest.MonkeyPatch.context() as patch:
        if data.draw(st.booleans()):
            patch.setattr(row_map_cheapest, "_FEW_PAIRS", -1)
            patch.setattr(row_map_cheapest, "_PAIRS_PER_ROW", 0)
        yield


def assert_agrees(row_map, model):
    """Check everything that can be asked of the map, row by row."""
    assert (row_map.n_out, row_map.n_in) == (model.n_out, model.n_in)
    assert row_map.is_known == model.known
    assert row_map.covered().tolist() == model.covered()
    for row in range(model.n_out):
        assert row_map.backward([row]).tolist() == model.backward([row])
    for row in range(model.n_in):
        assert row_map.forward([row]).tolist() == model.forward([row])
    if row_map.kind != "context":
        out_rows, in_rows = row_map.pairs()
        assert list(zip(out_rows.tolist(), in_rows.tolist(), strict=True)) == sorted(model.direct)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_a_map_answers_every_question_as_its_set_of_pairs_does(kind, data):
    made = data.draw(case(kind, data.draw(SIZES), data.draw(SIZES)))
    assert_agrees(made.map, made.model)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_several_rows_at_once_give_distinct_ascending_rows(kind, data):
    made = data.draw(case(kind, data.draw(SIZES), data.draw(SIZES)))
    for n, ask, expected in (
        (made.map.n_out, made.map.backward, made.model.backward),
        (made.map.n_in, made.map.forward, made.model.forward),
    ):
        rows = data.draw(rows_below(n))
        found = ask(rows)
        assert found.dtype == np.int64
        assert found.tolist() == expected(rows)


@pytest.mark.parametrize(("outer", "inner"), list(product(KINDS, KINDS)))
@given(data=st.data())
@settings(max_examples=30)
def test_composing_two_maps_joins_their_pairs(outer, inner, data):
    with maybe_factored(data):
        one, two = chain(data, [outer, inner])
        assert_agrees(one.map.compose(two.map), one.model.compose(two.model))


@pytest.mark.parametrize(("outer", "middle"), list(product(KINDS, KINDS)))
@given(data=st.data())
@settings(max_examples=3)
def test_composition_is_associative(outer, middle, data):
    for inner in KINDS:
        with maybe_factored(data):
            a, b, c = chain(data, [outer, middle, inner])
            left = a.map.compose(b.map).compose(c.map)
            right = a.map.compose(b.map.compose(c.map))
            assert_agrees(left, a.model.compose(b.model).compose(c.model))
            assert left.same_relation(right)
            assert_agrees(right, a.model.compose(b.model.compose(c.model)))


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=30)
def test_identity_is_neutral_on_both_sides(kind, data):
    made = data.draw(case(kind, data.draw(SIZES), data.draw(SIZES)))
    for same in (
        RowMap.identity(made.map.n_out).compose(made.map),
        made.map.compose(RowMap.identity(made.map.n_in)),
    ):
        assert same.same_relation(made.map)
        assert_agrees(same, made.model)


@given(data=st.data())
def test_forward_and_backward_are_converse_after_any_composition(data):
    with maybe_factored(data):
        kinds = data.draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=5))
        whole, *rest = (made.map for made in chain(data, kinds))
        for inner in rest:
            whole = whole.compose(inner)
        back = {(c, a) for c in range(whole.n_out) for a in whole.backward([c])}
        forth = {(c, a) for a in range(whole.n_in) for c in whole.forward([a])}
        assert back == forth


@pytest.mark.parametrize(("one", "other"), list(product(KINDS, KINDS)))
@given(data=st.data())
@settings(max_examples=10)
def test_a_union_has_the_pairs_of_both(one, other, data):
    with maybe_factored(data):
        n_out, n_in = data.draw(SIZES), data.draw(SIZES)
        mine, theirs = (data.draw(case(kind, n_out, n_in)) for kind in (one, other))
        whole = mine.map.union(theirs.map)
        assert_agrees(whole, mine.model.union(theirs.model))
        after = any_case(data, n_in, data.draw(SIZES))
        assert_agrees(whole.compose(after.map), mine.model.union(theirs.model).compose(after.model))


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=30)
def test_taking_rows_repeats_and_drops_them(kind, data):
    with maybe_factored(data):
        made = data.draw(case(kind, data.draw(SIZES), data.draw(SIZES)))
        rows = data.draw(rows_below(made.map.n_out, lowest=-1))
        assert_agrees(made.map.take(rows), made.model.take(rows))


@given(data=st.data())
def test_parts_are_columns_of_one_file_and_make_the_same_relation(data):
    with maybe_factored(data):
        kinds = data.draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=3))
        whole, *rest = chain(data, kinds)
        row_map, model = whole.map, whole.model
        for inner in rest:
            row_map, model = row_map.compose(inner.map), model.compose(inner.model)
        other = any_case(data, model.n_out, model.n_in)
        row_map, model = row_map.union(other.map), model.union(other.model)
        kind, params, columns = row_map.to_parts()
        table = pa.table(columns)
        read = {name: table.column(name).to_numpy() for name in table.column_names}
        params = json.loads(json.dumps(params, sort_keys=True))
        again = RowMap.from_parts(kind, row_map.n_out, row_map.n_in, params, read)
        assert again.same_relation(row_map)
        assert_agrees(again, model)


@pytest.mark.parametrize("kind", SIMPLE)
@given(data=st.data())
@settings(max_examples=30)
def test_pairs_become_the_cheapest_kind_that_holds_them(kind, data):
    made = data.draw(case(kind, data.draw(SIZES), data.draw(SIZES)))
    out_rows, in_rows = made.map.pairs()
    order = data.draw(st.permutations([*range(len(out_rows))] * 2))
    found = RowMap.from_pairs(out_rows[order], in_rows[order], made.map.n_out, made.map.n_in)
    assert_agrees(found, made.model)
    assert SIMPLE.index(found.kind) <= SIMPLE.index(made.map.kind)


@pytest.mark.parametrize(("one", "other"), list(product(KINDS, KINDS)))
@given(data=st.data())
@settings(max_examples=10)
def test_two_maps_are_the_same_relation_exactly_when_their_pairs_are(one, other, data):
    n_out, n_in = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 2))
    mine, theirs = (data.draw(case(kind, n_out, n_in)) for kind in (one, other))
    assert mine.map.same_relation(theirs.map) == (mine.model == theirs.model)
