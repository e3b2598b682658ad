"""Row maps: kinds, errors, sizes, and examples worked out by hand."""

import tracemalloc

import numpy as np
import pytest

from traceprop_engine.errors import RowMapError, TracepropError
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.lineage.row_map_arrays import distinct_pairs

N = 4
MAPS = {
    "identity": RowMap.identity(N),
    "range": RowMap.range(3, -1, N, N),
    "stride": RowMap.range(0, 2, 2, N),
    "select": RowMap.select([0, 1, 3], N),
    "permutation": RowMap.gather([2, 0, 3, 1], N),
    "bootstrap": RowMap.gather([2, 2, -1, 0], N),
    "groups": RowMap.groups([2, 0, 2, -1], N),
    "window": RowMap.window([0, 0, 1, 2], [1, 2, 3, 4], N),
    "many": RowMap.many([0, 2, 3, 3, 4], [0, 3, 0, 2], N),
    "context": RowMap.context(N, [1, 2], N),
    "unknown": RowMap.unknown(N, N),
}


def arrays_of(row_map):
    return [each for each in vars(row_map.relation).values() if isinstance(each, np.ndarray)]


def test_a_filter_after_a_sort_is_followed_to_the_input():
    by_age = RowMap.gather([3, 0, 4, 1, 2], n_in=5)
    adults = RowMap.select([2, 3, 4], n_in=5)
    assert adults.compose(by_age).backward([0, 2]).tolist() == [2, 4]
    assert adults.compose(by_age).forward([0, 1]).tolist() == [1]


def test_a_group_by_after_a_bootstrap_counts_a_row_in_every_group_it_was_drawn_into():
    bootstrap = RowMap.gather([0, 0, 2, 1], n_in=3)
    means = RowMap.groups([0, 1, 1, 0], n_out=2).compose(bootstrap)
    assert means.kind == "many"
    assert means.backward([0]).tolist() == [0, 1]
    assert means.backward([1]).tolist() == [0, 2]
    assert means.forward([0]).tolist() == [0, 1]


def test_an_output_row_without_parent_depends_on_no_statistic_behind_it():
    scaled = RowMap.context(3, [0, 1], n_in=3)
    left_join = RowMap.gather([2, -1], n_in=3).compose(scaled)
    assert left_join.kind == "context"
    assert left_join.backward([0]).tolist() == [0, 1]
    assert left_join.backward([1]).tolist() == []
    assert left_join.forward([1]).tolist() == [0]


def test_a_statistic_of_a_statistic_breaks_where_the_two_do_not_meet():
    of_first = RowMap.gather([0, -1], n_in=2).compose(RowMap.context(2, [4], n_in=5))
    assert RowMap.context(3, [0], n_in=2).compose(of_first).backward([1]).tolist() == [4]
    assert RowMap.context(3, [1], n_in=2).compose(of_first).backward([1]).tolist() == []


def test_context_beside_direct_rows_covers_only_the_direct_ones():
    stacked = RowMap.segments([(2, RowMap.identity(2)), (1, RowMap.context(1, [0], n_in=2))])
    assert stacked.kind == "context"
    assert stacked.covered().tolist() == [True, True, False]
    assert stacked.backward([1]).tolist() == [1]
    assert stacked.backward([2]).tolist() == [0]


def test_an_unknown_map_is_visible_and_says_nothing():
    unknown = RowMap.unknown(3, 2)
    assert not unknown.is_known
    assert unknown.backward([0, 1, 2]).tolist() == unknown.forward([0]).tolist() == []
    assert unknown.coverage() == 0.0
    assert [rows.tolist() for rows in unknown.pairs()] == [[], []]


@pytest.mark.parametrize("name", MAPS)
def test_unknown_absorbs_every_kind(name):
    unknown, other = MAPS["unknown"], MAPS[name]
    stacked = RowMap.segments([(other.n_out, other), (N, unknown)])
    taken = RowMap.unknown(2, other.n_out).compose(other)
    assert [m.kind for m in (stacked, taken, other.compose(unknown))] == ["unknown"] * 3


@pytest.mark.parametrize("name", [name for name in MAPS if name != "unknown"])
def test_context_absorbs_every_known_kind(name):
    other = MAPS[name]
    assert RowMap.context(2, [0], other.n_out).compose(other).kind == "context"
    assert other.compose(MAPS["context"]).kind == "context"


@pytest.mark.parametrize(
    ("outer", "inner", "kind"),
    [
        ("range", "range", "identity"),
        ("stride", "range", "range"),
        ("select", "select", None),
        ("permutation", "bootstrap", "gather"),
        ("range", "permutation", "gather"),
        ("groups", "groups", "groups"),
        ("groups", "permutation", "groups"),
        ("permutation", "groups", "groups"),
        ("select", "groups", "groups"),
        ("bootstrap", "window", "window"),
        ("window", "range", "window"),
        ("select", "many", "many"),
        ("window", "permutation", "many"),
        ("bootstrap", "groups", "many"),
    ],
)
def test_composition_stays_in_the_cheapest_kind(outer, inner, kind):
    one, two = MAPS[outer], MAPS[inner]
    if kind is None:
        one, kind = RowMap.select([0, 2], 3), "range"
    assert one.compose(two).kind == kind


@pytest.mark.parametrize(
    ("in_rows", "n_in", "kind"),
    [
        ([], 0, "identity"),
        ([], 5, "range"),
        ([0], 1, "identity"),
        ([3], 5, "range"),
        ([-1], 5, "gather"),
        ([0, 1, 2], 3, "identity"),
        ([0, 1, 2], 4, "range"),
        ([5, 3, 1], 9, "range"),
        ([0, 2, 3], 9, "select"),
        ([2, 2, 2], 9, "gather"),
        ([-1, 0, 1], 9, "gather"),
        ([1, 0, -1], 9, "gather"),
        ([0, 2, 1], 9, "gather"),
        ([0, 2, 0, 4], 9, "gather"),
    ],
)
def test_classify_finds_the_cheapest_kind(in_rows, n_in, kind):
    found = RowMap.classify(in_rows, n_in)
    assert found.kind == kind
    assert found.same_relation(RowMap.gather(in_rows, n_in))


def test_a_concatenation_of_one_piece_is_that_piece():
    empty = RowMap.gather([], 4)
    assert RowMap.segments([(0, empty), (4, RowMap.identity(4))]).kind == "identity"
    nested = RowMap.segments([(4, RowMap.identity(4)), (1, RowMap.gather([2], 4))])
    whole = RowMap.segments([(5, nested), (1, RowMap.gather([0], 4))])
    assert whole.kind == "segments"
    assert whole.backward([4, 5]).tolist() == [0, 2]


def test_a_concatenation_is_written_as_the_kind_it_flattens_to():
    halves = [(2, RowMap.range(2, 1, 2, 4)), (2, RowMap.range(0, 1, 2, 4))]
    kind, params, columns = RowMap.segments(halves).to_parts()
    assert (kind, params, columns["in_row"].tolist()) == ("gather", {}, [2, 3, 0, 1])


def test_columns_are_named_as_the_store_reads_them():
    named = {
        name: (row_map.to_parts()[0], *row_map.to_parts()[1:]) for name, row_map in MAPS.items()
    }
    assert named["range"][1] == {"start": 3, "step": -1}
    assert list(named["select"][2]) == list(named["bootstrap"][2]) == ["in_row"]
    assert list(named["groups"][2]) == ["out_row"]
    assert list(named["window"][2]) == ["lo", "hi"]
    assert named["many"][2]["out_row"].tolist() == [0, 0, 1, 3]
    assert named["many"][2]["in_row"].tolist() == [0, 3, 0, 2]


def test_repr_names_kind_and_sizes():
    assert repr(RowMap.select([1], 3)) == "RowMap(select, n_out=1, n_in=3)"


def test_coverage_is_the_share_of_rows_with_a_direct_parent():
    assert RowMap.gather([0, -1, 1, 1], 2).coverage() == 0.75
    assert RowMap.context(4, [0], 2).coverage() == 0.0
    assert RowMap.gather([], 2).coverage() == 1.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RowMap.gather([0, 3, 9], 3), r"in_rows\[1\] is 3; rows go from 0 to 2, and -1"),
        (lambda: RowMap.gather([0, -2], 3), r"in_rows\[1\] is -2"),
        (lambda: RowMap.select([0, -1], 3), r"in_rows\[1\] is -1; rows go from 0 to 2\."),
        (lambda: RowMap.select([0, 2, 2], 3), r"in_rows\[2\] is 2 after 2.*RowMap\.gather"),
        (lambda: RowMap.gather([0], 0), r"there are no rows"),
        (lambda: RowMap.groups([0, 4], 2), r"codes\[1\] is 4"),
        (lambda: RowMap.gather([[0]], 2), r"in_rows has 2 dimensions"),
        (lambda: RowMap.gather([0.0], 2), r"in_rows has dtype float64"),
        (lambda: RowMap.gather([True, False], 2), r"boolean mask; pass np\.flatnonzero"),
        (lambda: RowMap.identity(-1), r"n is -1"),
        (lambda: RowMap.identity(2.0), r"n is 2\.0; pass a whole number"),
        (lambda: RowMap.identity(True), r"n is True"),
        (lambda: RowMap.range(0, 0, 2, 3), r"step is 0"),
        (lambda: RowMap.range(0, 2, 3, 4), r"the last row of the range is 4; the input has 4"),
        (lambda: RowMap.range(4, -1, 2, 4), r"start of the range is 4"),
        (lambda: RowMap.range(0, 0.5, 2, 4), r"step is 0\.5"),
        (lambda: RowMap.window([0, 3], [1, 2], 4), r"Window 1 begins at 3 and ends at 2"),
        (lambda: RowMap.window([0, 3], [1], 4), r"lo has 2 rows and hi has 1"),
        (lambda: RowMap.many([0, 2], [1], 4), r"do not go from 0 to 1"),
        (lambda: RowMap.many([0, 2, 1, 3], [1, 1, 1], 4), r"offsets\[2\] is 1 after 2"),
        (lambda: RowMap.many([], [], 4), r"pass n_out \+ 1"),
        (lambda: RowMap.from_pairs([0], [0, 1], 1, 2), r"out_rows has 1 rows and in_rows has 2"),
        (lambda: RowMap.from_pairs([2], [0], 1, 2), r"out_rows\[0\] is 2"),
        (lambda: RowMap.context(2, [5], 3), r"members\[0\] is 5"),
        (lambda: RowMap.segments([]), r"no parts"),
        (
            lambda: RowMap.segments([(3, RowMap.identity(2))]),
            r"Part 0 is RowMap\(identity.*n_out=3",
        ),
        (
            lambda: RowMap.segments([(2, RowMap.identity(2)), (3, RowMap.identity(3))]),
            r"Part 1 is RowMap\(identity, n_out=3, n_in=3\), expected n_out=3, n_in=2",
        ),
        (lambda: MAPS["identity"].compose(RowMap.identity(3)), r"cannot follow.*must be 3"),
        (lambda: MAPS["identity"].union(RowMap.identity(3)), r"different tables"),
        (lambda: MAPS["select"].backward([3]), r"rows\[0\] is 3; rows go from 0 to 2"),
        (lambda: MAPS["select"].backward([-1]), r"rows\[0\] is -1"),
        (lambda: MAPS["select"].forward([4]), r"rows\[0\] is 4"),
        (lambda: MAPS["select"].take([3]), r"rows\[0\] is 3"),
        (MAPS["context"].pairs, r"never written out"),
    ],
)
def test_bad_numbers_are_refused_by_a_message_that_names_them(make, message):
    with pytest.raises(RowMapError, match=message) as caught:
        make()
    assert isinstance(caught.value, TracepropError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "n_out", "params", "columns", "message"),
    [
        ("gather", 1, {}, {}, "'in_row'"),
        ("gather", 3, {}, {"in_row": [0]}, "1 output rows of 2, not 3 of 2"),
        ("range", 1, {"start": 0}, {}, "'step'"),
        ("spiral", 1, {}, {}, "no such kind"),
        ("context", 1, {}, {}, "'node'"),
        ("context", 1, {"context": 1}, {}, "ValueError"),
        ("context", 1, {"0:context": 2, "0.n_out": 1, "0.n_in": 2, "1:rows": 0}, {}, "'node'"),
        ("factored", 1, {"0:chain": 1, "0.n_out": 1, "0.n_in": 2, "1:unknown": 0}, {}, "'n_out'"),
    ],
)
def test_damaged_parts_are_refused(kind, n_out, params, columns, message):
    arrays = {name: np.array(values) for name, values in columns.items()}
    with pytest.raises(RowMapError, match=message):
        RowMap.from_parts(kind, n_out, 2, params, arrays)


@pytest.mark.parametrize("name", MAPS)
def test_arrays_cannot_be_written_to(name):
    for array in arrays_of(MAPS[name]):
        assert not array.flags.writeable
        assert array.dtype == (np.int64 if name == "many" and len(array) == N + 1 else np.int32)


def test_a_map_does_not_follow_later_changes_of_the_callers_array():
    rows, offsets = np.array([2, 0, 1], dtype=np.int32), np.array([0, 1, 3])
    gather, many = RowMap.gather(rows, 3), RowMap.many(offsets, rows, 3)
    rows[:] = 0
    offsets[1] = 2
    assert gather.backward([0]).tolist() == [2]
    assert [many.backward([row]).tolist() for row in (0, 1)] == [[2], [0, 1]]


def test_answers_belong_to_the_caller():
    rows = np.array([0, 1])
    for row_map in (MAPS["identity"], MAPS["select"], MAPS["many"], MAPS["context"]):
        found = row_map.backward(rows)
        found[:] = 3
        assert row_map.backward([0]).tolist() == row_map.backward(rows[:1]).tolist()
        assert rows.tolist() == [0, 1]
        assert not np.shares_memory(found, rows)


def test_row_numbers_of_any_integer_type_are_taken():
    for dtype in (np.uint8, np.uint64, np.int16, np.int64):
        assert RowMap.gather(np.array([2, 0], dtype), 3).backward([0]).tolist() == [2]
    assert RowMap.range(np.int64(0), np.int64(1), np.int64(2), 4).n_out == 2
    assert MAPS["identity"].backward([]).tolist() == []


def test_inputs_of_more_rows_than_int32_counts_need_no_memory_for_them():
    far = 1 << 40
    gather = RowMap.gather([far - 1, 5, -1, far - 1], far)
    assert gather.backward([0, 1, 2]).tolist() == [5, far - 1]
    assert gather.forward([4, 5, far - 1]).tolist() == [0, 1, 3]
    pairs = RowMap.from_pairs([0, 0, 1], [far - 1, 3, 3], 2, far)
    assert pairs.kind == "many"
    assert pairs.forward([3, far - 1]).tolist() == [0, 1]
    apart = RowMap.from_pairs([0, 0, 1], [far - 1, 3, 4], 2, far)
    assert apart.kind == "many"
    grouped = RowMap.groups([0, 0, 1, 1], 2).compose(gather)
    assert grouped.backward([0]).tolist() == [5, far - 1]
    assert grouped.backward([1]).tolist() == [far - 1]


def test_pairs_too_far_out_for_one_key_are_sorted_all_the_same():
    far = 1 << 40
    outs, ins = distinct_pairs(np.array([far, 2, far, 2]), np.array([9, far, 9, 3]), far + 1)
    assert (outs.tolist(), ins.tolist()) == ([2, 2, far], [3, far, 9])


def test_a_million_rows_that_depend_on_a_million_rows_take_no_memory():
    n = 1_000_000
    members = np.arange(n)
    tracemalloc.start()
    scaled = RowMap.context(n, members, n)
    again = RowMap.identity(n).compose(scaled).compose(RowMap.range(n - 1, -1, n, n))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 100_000
    assert len(again.backward([5])) == n
    assert len(again.forward([7])) == n
    assert not again.to_parts()[2]


def test_group_means_joined_back_are_kept_as_factors():
    n, n_groups = 200_000, 3
    codes = np.arange(n) % n_groups
    groups = RowMap.groups(codes, n_groups)
    tracemalloc.start()
    joined = RowMap.identity(n).union(RowMap.gather(codes, n_groups).compose(groups))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert joined.kind == "factored"
    assert peak < 64 * n
    assert np.array_equal(joined.backward([4]), np.arange(1, n, 3))
    assert np.array_equal(joined.forward([4, 5]), np.flatnonzero(codes))
    with pytest.raises(RowMapError, match=r"up to 13,333,\d+,\d+ pairs of rows.*take"):
        joined.pairs()
    few = joined.take([4, 4])
    assert few.kind != "factored"
    assert np.array_equal(few.pairs()[1], np.tile(np.arange(1, n, 3), 2))
    again = RowMap.from_parts(joined.to_parts()[0], n, n, *joined.to_parts()[1:])
    assert np.array_equal(again.backward([4]), np.arange(1, n, 3))


def test_a_running_total_of_sorted_rows_is_kept_as_factors():
    n = 100_000
    order = np.random.default_rng(0).permutation(n)
    at = np.arange(n)
    total = RowMap.window(np.zeros(n, dtype=int), at + 1, n).compose(RowMap.gather(order, n))
    assert total.kind == "factored"
    assert np.array_equal(total.backward([9]), np.sort(order[:10]))
    assert np.array_equal(total.forward([order[n - 2]]), [n - 2, n - 1])
    back = total.compose(RowMap.gather(np.argsort(order), n))
    assert back.kind == "window"


def large_maps():
    rng = np.random.default_rng(3)
    n_out, n_in = 1500, 70_000
    sizes = rng.integers(0, 4, n_out)
    lo = rng.integers(-5, n_in, n_out)
    return {
        "select": RowMap.select(np.sort(rng.choice(n_in, n_out, replace=False)), n_in),
        "gather": RowMap.gather(rng.integers(-1, n_in, n_out), n_in),
        "groups": RowMap.groups(rng.integers(-1, n_in, n_out), n_in),
        "window": RowMap.window(lo, lo + rng.integers(0, 9, n_out), n_in),
        "many": RowMap.many(np.cumsum([0, *sizes]), rng.integers(0, n_in, sizes.sum()), n_in),
    }


@pytest.mark.parametrize("n_asked", [1, 3, 40, 1400])
@pytest.mark.parametrize("name", large_maps())
def test_maps_of_many_rows_answer_as_their_pairs_do(name, n_asked):
    row_map = large_maps()[name]
    rng = np.random.default_rng(n_asked)
    out_rows, in_rows = row_map.pairs()
    assert len(out_rows) > 1000
    for asked, found, ask, n in (
        (out_rows, in_rows, row_map.backward, row_map.n_out),
        (in_rows, out_rows, row_map.forward, row_map.n_in),
    ):
        rows = np.concatenate([rng.choice(asked, n_asked), rng.integers(0, n, n_asked - 1)])
        expected = np.unique(found[np.isin(asked, rows)])
        assert len(expected)
        assert np.array_equal(ask(rows), expected)
    again = RowMap.from_pairs(out_rows, in_rows, row_map.n_out, row_map.n_in)
    assert again.kind == name
    assert again.same_relation(row_map)
