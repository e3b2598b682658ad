"""The oracle of the pandas capture tests.

Each input carries a key column whose values name its rows. A case is a function of the inputs; the
oracle runs it on plain frames, reads from the plain result which input rows each output row came
from, and compares the captured maps with that in both directions. The result, and whatever the
function observes on the way, must be the same with and without capture.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from pandas.testing import assert_frame_equal, assert_index_equal, assert_series_equal

from traceprop_engine.lineage.captured import CapturedLineage
from traceprop_engine.lineage.pandas_capture import CaptureSession
from traceprop_engine.lineage.row_map import RowMap

KEY_STEP = 7
KEY_BASE = {"a": 1000, "b": 5000, "c": 9000}

Frames = Mapping[str, pd.DataFrame]
Parents = list[set[int]]


def key_of(name: str, rows: object) -> object:
    """The key values of these rows of an input."""
    return KEY_BASE[name] + KEY_STEP * np.asarray(rows)


def rows_of_keys(name: str, keys: object) -> Parents:
    """The rows that key values name, one set per value; empty for a missing value."""
    values = pd.to_numeric(pd.Series(keys), errors="raise").to_numpy(dtype=float)
    return [set() if np.isnan(v) else {_row(name, v)} for v in values]


def rows_of_key_lists(name: str, lists: object) -> Parents:
    """The rows that lists of key values name, one set per list."""
    return [{_row(name, float(v)) for v in keys if not pd.isna(v)} for keys in lists]


def _row(name: str, key: float) -> int:
    row = (key - KEY_BASE[name]) / KEY_STEP
    assert row == int(row), f"{key} is no key of {name}"
    return int(row)


@dataclass(frozen=True)
class Case:
    """One way that a user of pandas moves rows.

    Attributes:
        name: What it is called in the list.
        run: The user's code: frames in, result out. A tuple is the result and observations.
        keys: For each input the key column of the result that names the parents.
        expect: Where keys do not say it: the parents per input, from the plain inputs and result.
        statistics: Names of statistics that must be recorded.
        fidelity: What the lineage must say of itself.
        unknown: Inputs whose map must be unknown.
        context: Inputs whose map must be a context of exactly these rows.
    """

    name: str
    run: Callable[..., object]
    keys: Mapping[str, str] = field(default_factory=dict)
    expect: Callable[[Frames, object], Mapping[str, Parents]] | None = None
    statistics: tuple[str, ...] = ()
    fidelity: str = "exact"
    unknown: tuple[str, ...] = ()
    context: Mapping[str, set[int]] = field(default_factory=dict)
    frames: Callable[[], dict[str, pd.DataFrame]] | None = None


def frames_a(n: int = 12) -> dict[str, pd.DataFrame]:
    """The frame of the torture list: an integer, a group, a float with a gap, a text."""
    rng = np.random.default_rng(0)
    a = pd.DataFrame(
        {
            "o": key_of("a", np.arange(n)),
            "k": rng.integers(0, 3, n),
            "v": rng.normal(size=n),
            "s": [f"s{i}" for i in range(n)],
        }
    )
    a.loc[2, "v"] = np.nan
    return {"a": a}


def split(result: object) -> tuple[object, tuple[object, ...]]:
    """The result, and what the function observed."""
    return (result[0], tuple(result[1:])) if isinstance(result, tuple) else (result, ())


def run_plain(case: Case) -> tuple[Frames, object, tuple[object, ...]]:
    """Run the case without capture."""
    inputs = case.frames() if case.frames else frames_a()
    kept = {name: frame.copy(deep=True) for name, frame in inputs.items()}
    result, seen = split(case.run(**inputs))
    return kept, result, seen


def run_tracked(case: Case) -> tuple[object, tuple[object, ...], CapturedLineage, object]:
    """Run the case under capture; the plain frame that `finish` gives back, and its lineage."""
    inputs = case.frames() if case.frames else frames_a()
    before = {name: frame.copy(deep=True) for name, frame in inputs.items()}
    with CaptureSession() as session:
        tagged = {name: session.load(frame, name) for name, frame in inputs.items()}
        result, seen = split(case.run(**tagged))
        plain, lineage = session.finish(result)
    for name, frame in inputs.items():
        assert_frame_equal(frame, before[name], obj=f"the user's own input {name}")
    return result, seen, lineage, plain


def assert_same(one: object, other: object, what: str) -> None:
    """Fail unless two objects are the same to a user, index class and names included."""
    assert type(one) is type(other), f"{what}: {type(one)} is not {type(other)}"
    if isinstance(one, pd.DataFrame):
        assert_frame_equal(one, other, check_index_type=True, check_column_type=True, obj=what)
        _assert_same_index(one.columns, other.columns, f"{what}, columns")
    elif isinstance(one, pd.Series):
        assert_series_equal(one, other, check_index_type=True, obj=what)
    elif isinstance(one, pd.Index):
        _assert_same_index(one, other, what)
    elif isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other, err_msg=what)
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), what
        for i, (x, y) in enumerate(zip(one, other, strict=True)):
            assert_same(x, y, f"{what}[{i}]")
    elif isinstance(one, float) and np.isnan(one):
        assert np.isnan(other), what
    else:
        assert one == other, what
    if isinstance(one, (pd.DataFrame, pd.Series)):
        _assert_same_index(one.index, other.index, f"{what}, index")


def _assert_same_index(one: pd.Index, other: pd.Index, what: str) -> None:
    assert type(one) is type(other), f"{what}: {type(one)} is not {type(other)}"
    assert list(one.names) == list(other.names), f"{what}: names {one.names} are not {other.names}"
    assert_index_equal(one, other, exact=True, obj=what)
    assert getattr(one, "freq", None) == getattr(other, "freq", None), f"{what}: freq"


def assert_map(row_map: RowMap, parents: Sequence[set[int]], what: str) -> None:
    """Fail unless a map says exactly these parents, backward and forward."""
    assert row_map.is_known, f"{what} is unknown"
    assert row_map.n_out == len(parents), f"{what}: {row_map.n_out} rows, not {len(parents)}"
    for out_row, want in enumerate(parents):
        got = set(row_map.backward([out_row]).tolist())
        assert got == want, f"{what}: row {out_row} came from {got}, the truth is {want}"
    for in_row in range(row_map.n_in):
        want = {out_row for out_row, rows in enumerate(parents) if in_row in rows}
        got = set(row_map.forward([in_row]).tolist())
        assert got == want, f"{what}: input row {in_row} went into {got}, the truth is {want}"


def expected(case: Case, inputs: Frames, result: object) -> dict[str, Parents]:
    """The parents of each row of the plain result, per input."""
    found = {name: rows_of_keys(name, result[column]) for name, column in case.keys.items()}
    if case.expect is not None:
        found |= dict(case.expect(inputs, result))
    return found


def check(case: Case) -> CapturedLineage:
    """Hold a case against the oracle."""
    inputs, plain, plain_seen = run_plain(case)
    result, seen, lineage, given_back = run_tracked(case)
    assert_same(given_back, plain, f"{case.name}: the result")
    assert_same(result, plain, f"{case.name}: the result before finish")
    assert_same(list(seen), list(plain_seen), f"{case.name}: what the function observed")
    assert set(lineage.maps) == set(inputs)
    assert lineage.n_rows == len(plain)
    truth = expected(case, inputs, plain)
    for name, row_map in lineage.maps.items():
        assert row_map.n_in == len(inputs[name])
        if name in case.unknown:
            assert row_map.kind == "unknown", f"{case.name}: {name} is {row_map}"
        elif name in case.context:
            assert row_map.kind == "context", f"{case.name}: {name} is {row_map}"
            for row in range(row_map.n_out):
                assert set(row_map.backward([row]).tolist()) == case.context[name]
        else:
            assert name in truth, f"{case.name} has no oracle for {name}"
            assert_map(row_map, truth[name], f"{case.name}: map of {name}")
    statistics = {context.statistic for context in lineage.contexts}
    for statistic in case.statistics:
        assert statistic in statistics, f"{case.name}: {statistic} not in {sorted(statistics)}"
    assert lineage.fidelity == case.fidelity, f"{case.name}: {lineage.fidelity}, {lineage.reason}"
    assert (lineage.reason is None) == (case.fidelity == "exact"), lineage.reason
    return lineage
