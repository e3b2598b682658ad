"""Perturbed rows, and the comparison of results with a tolerance."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from traceprop_engine.fuzz.cells import Cells, differences, fingerprints, same
from traceprop_engine.fuzz.changes import change_of_values, deletion, with_gaps

N = 12
COLUMNS = {
    "int": np.arange(N),
    "small": np.arange(N, dtype="uint8") + 244,
    "large": np.arange(N, dtype="uint64") + np.uint64(2**64 - N),
    "float": np.linspace(0, 1, N),
    "half": np.linspace(0, 1, N).astype("float32"),
    "gaps": np.where(np.arange(N) % 2, np.nan, 1.5),
    "bool": np.arange(N) % 3 == 0,
    "text": pd.array(["a", "b", None] * 4, dtype="str"),
    "object": pd.Series([["x"], ["y"], None] * 4, dtype=object),
    "category": pd.Categorical(list("abc") * 4),
    "date": pd.date_range("2024-01-01", periods=N),
    "zoned": pd.date_range("2024-01-01", periods=N, tz="Europe/Berlin"),
    "span": pd.to_timedelta(np.arange(N), unit="D"),
    "Int64": pd.array([1, None, 3] * 4, dtype="Int64"),
    "boolean": pd.array([True, None, False] * 4, dtype="boolean"),
    "hash": np.array([-(2**63), 2**63 - 1, 0] * 4),
    "hash without sign": np.array([0, 2**64 - 1, 1] * 4, dtype="uint64"),
    "infinite": np.array([np.inf, -np.inf] * 6),
    "huge": np.linspace(1e307, 1.5e308, N),
    "sparse": pd.arrays.SparseArray(np.where(np.arange(N) % 3, 1.5, 0.0), fill_value=0.0),
    "sparse int": pd.arrays.SparseArray(np.arange(N)),
    "interval": pd.arrays.IntervalArray.from_breaks(np.arange(N + 1)),
    "interval float": pd.arrays.IntervalArray.from_breaks(np.arange(N + 1.0)),
    "end of time": pd.to_datetime(["2262-04-11", "1677-09-22"] * 6).astype("datetime64[ns]"),
    "arrow list": pd.array([[i] for i in range(N)], pd.ArrowDtype(pa.list_(pa.int64()))),
    "embedding": pd.Series([np.arange(1500.0) + i for i in range(N)]),
}
NO_GAPS = {"int", "small", "large", "bool", "hash", "hash without sign", "sparse int", "interval"}
ROWS = np.array([1, 5, 10])
LONG = np.linspace(0.0, 1.0, 2_000)
MIDDLE = np.where(np.arange(2_000) == 1_000, 7.0, LONG)


def changed(name, kind):
    frame = pd.DataFrame({name: COLUMNS[name]})
    change = change_of_values("d", frame, kind, ROWS, [0], np.random.default_rng(0))
    return frame, change


def differs(frame, other):
    rows = np.arange(len(frame))
    one = Cells.of(frame)
    (found,) = differences(one, Cells.of(other), (rows, rows), one.scales()).values()
    return set(np.flatnonzero(found))


@pytest.mark.parametrize("kind", ["value", "category"])
@pytest.mark.parametrize("name", COLUMNS)
def test_values_change_in_these_rows_alone_and_keep_their_dtype(name, kind):
    frame, change = changed(name, kind)
    after = change.applied({"d": frame})["d"]
    assert after[name].dtype == frame[name].dtype
    assert differs(frame, after) == set(ROWS.tolist())
    assert differs(frame, pd.DataFrame({name: COLUMNS[name]})) == set()


@pytest.mark.parametrize("name", COLUMNS)
def test_values_are_taken_out_where_the_dtype_can_say_so(name):
    frame, change = changed(name, "missing")
    if name in NO_GAPS:
        assert change is None
        return
    after = change.applied({"d": frame})["d"]
    assert after[name].dtype == frame[name].dtype
    assert after[name].isna()[ROWS].all()
    assert with_gaps(frame, [0], 0.5, np.random.default_rng(0))[name].isna().sum() >= N / 2


def test_a_column_of_one_value_cannot_get_that_of_another_row():
    frame = pd.DataFrame({"a": [1.0] * N})
    assert change_of_values("d", frame, "category", ROWS, [0], np.random.default_rng(0)) is None


def test_a_column_without_values_stays_as_it_is():
    frame = pd.DataFrame({"a": [np.nan] * N})
    rng = np.random.default_rng(0)
    assert change_of_values("d", frame, "value", ROWS, [0], rng) is None
    assert change_of_values("d", frame, "missing", ROWS, [0], rng) is None


def test_deleted_rows_are_gone_and_a_plain_index_is_numbered_through():
    frame = pd.DataFrame({"a": range(5)})
    change = deletion("d", np.array([3, 1]))
    after = change.applied({"d": frame})["d"]
    assert after["a"].tolist() == [0, 2, 4]
    assert after.index.tolist() == [0, 1, 2]
    named = change.applied({"d": frame.set_axis(list("vwxyz"))})["d"]
    assert named.index.tolist() == ["v", "x", "z"]
    assert change.kept_rows(5).tolist() == [0, 2, 4]


def test_a_change_of_columns_with_the_same_name_changes_the_one_meant():
    frame = pd.DataFrame([[1.0, 2.0], [3.0, 4.0]], columns=["a", "a"])
    change = change_of_values("d", frame, "missing", np.array([0]), [1], np.random.default_rng(0))
    after = change.applied({"d": frame})["d"]
    assert after.iloc[0].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("before", "after", "is_same"),
    [
        ([1.0, 2.0], [1.0 + 1e-15, 2.0], True),
        ([1.0, 2.0], [1.0 + 1e-6, 2.0], False),
        ([1e9, 1e9 + 1], [1e9 + 1e-2, 1e9 + 1], False),
        ([10**18, 2], [10**18 + 1, 2], False),
        ([np.nan, 1.0], [np.nan, 1.0], True),
        ([np.inf, 1.0], [-np.inf, 1.0], False),
        ([np.inf, 1.0], [np.inf, 1.0], True),
        ([1, 2], [1.0, 2.0], True),
        ([1, 2], [1.0, np.nan], False),
        ([True, False], [True, True], False),
        (["a", None], ["a", None], True),
        (["a", "b"], ["a", "c"], False),
        ([[1], {"b": 2}], [[1], {"b": 2}], True),
        ([[1], {"b": 2}], [[1], {"b": 3}], False),
        ([[1], "1"], [[1], 1], False),
        ([LONG, LONG], [LONG, LONG], True),
        ([LONG, LONG], [LONG, LONG * (1 + 1e-12)], True),
        ([LONG, LONG], [LONG, MIDDLE], False),
        ([[LONG], LONG], [[MIDDLE], LONG], False),
        ([LONG * 0, LONG], [LONG * -0.0, LONG], True),
        ([LONG, LONG], [LONG.astype(str), LONG], False),
    ],
)
def test_cells_are_compared_with_the_tolerance_of_rounding(before, after, is_same):
    one, other = (Cells.of(pd.DataFrame({"a": each})) for each in (before, after))
    assert same(one, other) == is_same


def test_group_keys_in_the_index_are_compared_and_row_labels_are_not():
    keys = pd.Index([1, 2], name="k")
    one = Cells.of(pd.DataFrame({"a": [0, 0]}, index=keys))
    assert not same(one, Cells.of(pd.DataFrame({"a": [0, 0]}, index=keys + 1)))
    plain = pd.DataFrame({"a": [0, 0]})
    assert same(Cells.of(plain), Cells.of(plain.set_axis([7, 8])))


def test_rows_that_are_alike_have_the_same_fingerprint():
    frame = pd.DataFrame({"a": [1.0, 2.0, 1.0 + 1e-16], "b": ["x", "y", "x"], "c": [None, 1, None]})
    cells = Cells.of(frame)
    one, two, three = fingerprints(cells, list(cells.columns), cells.scales()).tolist()
    assert one == three
    assert one != two
