"""How arrays that know their rows are made, left, and handed to pandas and back."""

import copy
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from traceprop_engine.arrays import TrackedArray, array, from_numpy, to_pandas
from traceprop_engine.errors import ArrayInputError, CaptureError, GranularityError
from traceprop_engine.lineage import CaptureSession, record, row_wise
from traceprop_engine.lineage.decode import followed_value
from traceprop_engine.lineage.granularity import (
    Granularity,
    current_granularity,
    granularity,
    set_granularity,
)
from traceprop_engine.lineage.graph import default_graph, reset_graph


@pytest.fixture(autouse=True)
def fresh_graph():
    reset_graph()


def rows_of(value):
    return np.asarray(value.__traceprop_placed__()[1]).tolist()


def lineage_of(value):
    return followed_value(value, default_graph()).lineage()


def statistics_of(value):
    return [each.statistic for each in lineage_of(value).contexts]


def test_the_array_has_memory_of_its_own():
    mine = np.arange(4.0)
    x = from_numpy(mine, "x")
    mine[:] = -1
    assert x.tolist() == [0, 1, 2, 3]


def test_arrays_of_one_name_are_columns_of_one_input():
    x, y = array([1, 2, 3], "t"), array([4, 5, 6], "t")
    assert rows_of(x + y) == [0, 1, 2]
    with pytest.raises(CaptureError, match="'t' has 3 rows"):
        array([1, 2], "t")


def test_arrays_without_a_name_are_inputs_of_their_own():
    x, y = from_numpy(np.ones(3)), from_numpy(np.ones(3))
    lineage = lineage_of(x[:2] + y[1:])
    assert [lineage.maps[name].backward([0]).tolist() for name in lineage.maps] == [[0], [1]]


def test_a_single_value_is_refused():
    with pytest.raises(ArrayInputError, match="no rows"):
        array(3.0, "x")


def test_it_goes_on_from_a_pandas_frame_and_back():
    visits = pd.DataFrame({"dose": [3.0, np.nan, 5.0, 4.0], "age": [1, 2, 3, 4]})
    with CaptureSession() as session:
        frame = session.load(visits, "visits").dropna()
        x = from_numpy(frame, session=session)
        back = to_pandas(x[::-1] * 2, columns=["dose", "age"])
        assert session.lineage(back).contexts == session.lineage(frame).contexts
        lineage = session.lineage(back.sort_values("dose"))
        column = array(frame["dose"], session=session)
        assert rows_of(column) == [0, 2, 3]
    assert lineage.fidelity == "exact"
    assert [lineage.maps["visits"].backward([at]).tolist() for at in range(3)] == [[0], [3], [2]]
    assert back["dose"].tolist() == [8, 10, 6]


def test_a_session_finishes_an_array():
    with CaptureSession() as session:
        x = array([3.0, 1.0, 2.0], "x", session=session)
        plain, lineage = session.finish(np.sort(x))
    assert type(plain) is np.ndarray
    assert plain.flags.writeable
    assert lineage.maps["x"].backward([0]).tolist() == [1]
    assert [op.name for op in lineage.ops] == ["np.sort"]


def test_arrays_of_a_closed_session_go_on_as_plain_ones():
    with CaptureSession() as session:
        x = array([3.0, 1.0, 2.0], "x", session=session)
    x[0] = 7
    assert type(x * 2) is np.ndarray
    assert (x * 2).tolist() == [14, 2, 4]
    assert x.__traceprop_placed__() is None


def test_rows_of_two_graphs_do_not_mix():
    with CaptureSession() as session:
        x, y = array([1.0, 2.0], "x", session=session), array([3.0, 4.0], "y")
        lineage = session.lineage(x + y)
    assert lineage.fidelity == "claimed"
    assert "plain array" in lineage.reason


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, np.copy, lambda x: x.astype("f4")])
def test_copies_keep_rows(duplicate):
    x = array([3.0, 1.0, 2.0], "x")[::-1]
    twin = duplicate(x)
    assert rows_of(twin) == [2, 1, 0]
    twin[0] = 9
    assert x[0] == 2


def test_pickling_gives_a_plain_array_and_says_so():
    x = array([3.0, 1.0], "x")
    again = pickle.loads(pickle.dumps(x))  # noqa: S301  (our own bytes)
    assert again.tolist() == [3, 1]
    assert "ndarray.__reduce_ex__" in statistics_of(x)


@pytest.mark.parametrize(
    ("leave", "statistic"),
    [
        # Looked up when they are called: what was imported by name before is not seen.
        (lambda x: np.asarray(x), "np.asarray"),  # noqa: PLW0108
        (lambda x: np.array(x), "np.array"),  # noqa: PLW0108
        (lambda x: np.array([x, x]), "np.array"),
        (lambda x: np.ascontiguousarray(x), "np.ascontiguousarray"),  # noqa: PLW0108
        (lambda x: x.tolist(), "ndarray.tolist"),
        (lambda x: float(x[0]), "ndarray.__getitem__"),
        (list, "ndarray.__iter__"),
        (lambda x: x.sum(), "ndarray.sum"),
        (lambda x: x.tobytes(), "ndarray.tobytes"),
        (lambda x: x.view(np.ndarray), "ndarray.view"),
        (lambda x: pd.DataFrame(x[:, None]), "np.array"),
        (lambda x: 1.0 in x, "ndarray.__contains__"),
        (lambda x: np.random.default_rng(0).permutation(x), "np.asarray"),
        (np.vectorize(lambda value: value * 2), "ndarray.__array_finalize__"),
        (lambda x: np.c_[x, x], "ndarray.__array_finalize__"),
        (lambda x: np.arange(6).take(x.astype(int)), "ndarray.__array_finalize__"),
    ],
)
def test_values_that_leave_are_noted(leave, statistic):
    x = array([3.0, 1.0, 2.0], "x")
    assert not isinstance(leave(x), TrackedArray)
    assert statistic in statistics_of(x)


def test_a_plain_view_cannot_write():
    x = array([3.0, 1.0, 2.0], "x")
    plain = np.asarray(x)
    with pytest.raises(ValueError, match="read-only"):
        plain[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        plain.flags.writeable = True
    with pytest.raises(TypeError):
        memoryview(x)[0] = 1
    with pytest.raises(ValueError, match="writable"):
        np.random.default_rng(0).random(out=x)


def test_the_array_says_that_it_can_be_written_until_its_user_forbids_it():
    x = array([3.0, 1.0, 2.0], "x")
    assert x.flags.writeable
    assert x.flags["WRITEABLE"]
    x.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        x[0] = 1
    x.setflags(write=True)
    x[0] = 1
    assert x.tolist() == [1, 1, 2]


def test_a_matrix_that_was_turned_and_turned_back_knows_its_rows():
    x = array(np.arange(6.0).reshape(3, 2), "x")
    assert rows_of((x.T * [1.0, 2.0, 3.0]).T[::-1]) == [2, 1, 0]
    assert lineage_of(x.T).maps["x"].backward([1]).tolist() == [0, 1, 2]


def test_a_plain_array_beside_rows_is_a_claim():
    x = array([3.0, 1.0, 2.0], "x")
    lineage = lineage_of(x + np.ones(3))
    assert lineage.fidelity == "claimed"
    assert lineage.maps["x"].backward([1]).tolist() == [1]
    assert lineage_of(x * 2 + 1).fidelity == "exact"


def test_operations_are_recorded_in_order():
    x = array([3.0, 1.0, 2.0], "x")
    y = np.sqrt(x[x > 1] * 2)
    assert [op.name for op in lineage_of(y).ops] == [
        "ndarray.__getitem__",
        "np.multiply",
        "np.sqrt",
    ]
    assert lineage_of(y).ops[0].inputs == ("x",)


def test_without_rows_inputs_and_operations_are_known():
    with granularity("OP"):
        x, y = array([3.0, 1.0, 2.0], "x"), array([1.0, 1.0, 1.0], "y")
        z = np.sort(x * 2 + y)[1:]
        z[0] = 5
        lineage = lineage_of(z)
    assert z.tolist() == [5, 7]
    assert {name: m.kind for name, m in lineage.maps.items()} == {"x": "unknown", "y": "unknown"}
    assert [op.name for op in lineage.ops][:3] == ["np.multiply", "np.add", "np.sort"]
    assert set(lineage.ops[1].inputs) == {"x", "y"}


@pytest.mark.parametrize("level", ["OP", "BATCH", "EPOCH", "OFF"])
def test_a_scope_without_rows_never_leaves_a_wrong_row(level):
    x = array([3.0, 1.0, 2.0], "x")
    with granularity(level):
        x.sort()
    assert x.tolist() == [1, 2, 3]
    assert lineage_of(x).fidelity == "unknown"


def test_nothing_is_recorded_when_it_is_off():
    with granularity(Granularity.OFF):
        x = array([3.0, 1.0], "x")
    assert type(x) is np.ndarray
    assert default_graph().inputs == {}
    y = array([3.0, 1.0], "y")
    with granularity("off"):
        assert type(y * 2) is np.ndarray
        y.sum()
    assert statistics_of(y) == []


def test_the_setting_of_the_process_stands_behind_that_of_a_block():
    set_granularity("OP")
    try:
        with granularity("ROW"):
            assert current_granularity() is Granularity.ROW
        assert current_granularity() is Granularity.OP
    finally:
        set_granularity("ROW")
    with pytest.raises(GranularityError, match="'CELL'"):
        set_granularity("CELL")


@pytest.mark.parametrize("level", ["OP", "OFF"])
def test_a_session_without_rows_leaves_pandas_alone(level):
    before = pd.DataFrame.merge
    frame = pd.DataFrame({"a": [2, 1]})
    with CaptureSession(granularity=level) as session:
        assert pd.DataFrame.merge is before
        result = session.load(frame, "t").sort_values("a")
        plain, lineage = session.finish(result)
    assert plain["a"].tolist() == [1, 2]
    assert lineage.maps["t"].kind == "unknown"
    assert lineage.fidelity == "unknown"


def test_a_session_takes_the_granularity_that_is_set():
    with granularity("OP"):
        assert not CaptureSession().keeps_rows
        assert CaptureSession(granularity="row").keeps_rows
    with pytest.raises(GranularityError, match="'CELL'"):
        CaptureSession(granularity="CELL")


def test_a_declared_function_runs_on_plain_arrays_and_is_one_operation():
    seen = []

    @row_wise
    def standardised(x):
        seen.append((type(x), x.flags.writeable))
        return (x - x.mean(axis=0)) / x.std(axis=0)

    plain = np.arange(12.0).reshape(6, 2) ** 2
    with CaptureSession() as session:
        x = from_numpy(plain, "doses", session=session)[::2]
        found = standardised(x)
        lineage = session.lineage(found[1:] * 2)
    assert seen == [(np.ndarray, False)]
    np.testing.assert_array_equal(np.asarray(found), standardised(plain[::2]))
    assert type(found) is TrackedArray
    assert lineage.fidelity == "claimed"
    assert [lineage.maps["doses"].backward([row]).tolist() for row in (0, 1)] == [[2], [4]]
    assert lineage.ops[0].name == "record"


def test_a_declared_function_may_not_write_into_what_it_is_lent():
    @row_wise
    def doubled(x):
        x *= 2
        return x

    with CaptureSession() as session:
        x = from_numpy(np.ones(3), "doses", session=session)
        with pytest.raises(ValueError, match="read-only"):
            doubled(x)
        np.testing.assert_array_equal(np.asarray(x), 1.0)


def test_a_declared_result_that_is_a_view_of_its_argument_gets_memory_of_its_own():
    @row_wise
    def itself(x):
        return x

    with CaptureSession() as session:
        x = from_numpy(np.arange(3.0), "doses", session=session)
        same = itself(x)
        x[0] = 9.0
        np.testing.assert_array_equal(np.asarray(same), [0.0, 1.0, 2.0])


@pytest.mark.parametrize("pick", [lambda x, at: x[at], np.take, lambda x, at: x.take(at)])
def test_row_numbers_out_of_the_rows_themselves_are_context(pick):
    table = array(np.array([[3.0, 0.1], [1.0, 0.2], [2.0, 0.3], [0.0, 0.4]]), "t")
    picked = pick(table[:, 1], table[:, 0].astype(int))
    assert rows_of(picked) == [3, 1, 2, 0]
    [context] = lineage_of(picked).contexts
    assert context.members.backward([0]).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("pick", [lambda at: at[at], lambda at: np.take(at, at)])
def test_an_array_that_picks_from_itself_is_context_too(pick):
    picked = pick(array(np.array([2, 0, 1, 3]), "t"))
    assert rows_of(picked) == [2, 0, 1, 3]
    assert statistics_of(picked)


@pytest.mark.parametrize(
    "pick",
    [
        lambda x: x[x[:, 0] > 1],
        lambda x: x[x > 1],
        lambda x: np.compress(x[:, 0] > 1, x, axis=0),
        lambda x: np.repeat(x[:, 1], x[:, 0].astype(int)),
        lambda x: np.take_along_axis(x, x.argsort(axis=1), axis=1),
    ],
)
def test_a_row_that_only_decides_of_itself_is_no_context(pick):
    assert not lineage_of(pick(array(np.array([[3.0, 1], [1, 2], [2, 3]]), "t"))).contexts


def test_a_mask_of_rows_laid_on_columns_is_context():
    square = array(np.arange(9.0).reshape(3, 3), "t")
    picked = square[:, square[:, 0] > 2]
    assert [each.members.backward([0]).tolist() for each in lineage_of(picked).contexts] == [
        [0, 1, 2]
    ]


def test_what_is_written_to_a_field_with_axes_is_of_its_rows():
    records = array(np.zeros(3, dtype=[("a", "f8"), ("b", "f8", (2,))]), "records")
    values = array(np.arange(6.0).reshape(3, 2), "values")
    records["b"] = values[::-1]
    assert records["b"].tolist() == [[4, 5], [2, 3], [0, 1]]
    maps = lineage_of(records).maps
    assert [maps["values"].backward([row]).tolist() for row in range(3)] == [[2], [1], [0]]
    records["b"] = values[:2, 0]
    assert lineage_of(records).maps["values"].backward([1]).tolist() == [0, 1]


def test_of_writes_by_two_threads_none_is_lost():
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(20):
            reset_graph()
            x, z = array(np.zeros(200), "x"), array(np.ones(200), "z")
            with ThreadPoolExecutor(2) as threads:
                for at in range(0, 200, 10):
                    threads.submit(x.__setitem__, slice(at, at + 10), z[at : at + 10])
            assert rows_of(x) == list(range(200))
            assert lineage_of(x).maps["z"].covered().all()
    finally:
        sys.setswitchinterval(switch)


@pytest.mark.parametrize("kept", [lambda out: out, lambda out: out[:]])
def test_a_declared_function_keeps_its_buffer(kept):
    buffer = np.zeros(3)
    other = kept(buffer)

    @row_wise
    def doubled(x):
        return np.multiply(x, 2.0, out=buffer)

    with CaptureSession() as session:
        x = from_numpy(np.arange(3.0), "doses", session=session)
        first = doubled(x)
        second = doubled(x + 1)
        other[:] = 0
        assert np.asarray(first).tolist() == [0, 2, 4]
        assert np.asarray(second).tolist() == [2, 4, 6]


def test_a_declared_result_that_nobody_else_holds_is_not_copied():
    places = []

    @row_wise
    def doubled(x):
        out = x * 2
        places.append(out.ctypes.data)
        return out

    with CaptureSession() as session:
        found = doubled(from_numpy(np.arange(3.0), "doses", session=session))
        assert np.asarray(found).ctypes.data == places[0]


def test_a_tracked_array_that_is_declared_anew_stays_one():
    with CaptureSession() as session:
        x = from_numpy(np.arange(3.0), "doses", session=session)
        again = record(x * 2, {"doses": [2, 1, 0]}, session=session)
        assert type(again) is TrackedArray
        assert session.lineage(again[1:]).maps["doses"].backward([0]).tolist() == [1]
