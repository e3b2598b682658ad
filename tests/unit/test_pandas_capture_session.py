"""What a session promises beside the maps: nothing changes, nothing stays, nothing mixes."""

import pickle
import threading
import warnings

import numpy as np
import pandas as pd
import pytest
from pandas.errors import ChainedAssignmentError

from traceprop_engine.errors import CaptureError, PandasInternalsError
from traceprop_engine.lineage import CaptureSession
from traceprop_engine.lineage.pandas_align import row_mark
from traceprop_engine.lineage.pandas_capture import _HOOKS
from traceprop_engine.lineage.pandas_marks import has_mark
from traceprop_engine.lineage.pandas_patches import Hook, HookSet, observed


def visits():
    return pd.DataFrame({"k": [0, 1, 0, 2, 1], "v": [1.0, np.nan, 3.0, 4.0, 5.0]})


def _copied(frame):
    return pickle.loads(pickle.dumps(frame))  # noqa: S301  (just written)


def standing():
    """What stands in the place of every hook, as it is written in its owner's namespace."""
    absent = object()
    found = [(h.owner, h.name, vars(h.owner).get(h.name, absent)) for h in _HOOKS.hooks]
    return [(owner, name, value if value is not absent else None) for owner, name, value in found]


def assert_untouched(before):
    for (owner, name, value), (_, _, now) in zip(before, standing(), strict=True):
        assert now is value, f"{owner}.{name} was not put back"


def test_every_attribute_is_the_original_again_after_the_last_session_closed():
    before = standing()
    with CaptureSession():
        touched = [
            name for (_, name, a), (_, _, b) in zip(before, standing(), strict=True) if a is not b
        ]
        assert len(touched) > 100
    assert_untouched(before)


def test_hooks_stay_while_another_session_is_open():
    before = standing()
    outer, inner = CaptureSession(), CaptureSession()
    outer.open()
    inner.open()
    outer.close()
    frame = inner.load(visits(), "a")
    assert inner.lineage(frame.sort_values("v")).fidelity == "exact"
    inner.close()
    assert_untouched(before)


def test_an_error_of_the_user_passes_unchanged_and_hooks_are_taken_out():
    before = standing()
    error = RuntimeError("mine")

    def fail(_):
        raise error

    with pytest.raises(RuntimeError) as raised, CaptureSession() as session:
        session.load(visits(), "a").groupby("k").apply(fail)
    assert raised.value is error
    assert_untouched(before)


def test_an_error_of_pandas_passes_unchanged():
    with CaptureSession() as session:
        frame = session.load(visits(), "a")
        with pytest.raises(KeyError, match="nothing"):
            frame.sort_values("nothing")
        with pytest.raises(ValueError, match="Item wrong length"):
            frame[[True]]
        assert session.lineage(frame.head(2)).maps["a"].kind == "range"


def test_frames_of_no_session_get_no_mark():
    with CaptureSession() as session:
        session.load(visits(), "a")
        other = visits()
        result = other.dropna().merge(other, on="k").groupby("k").mean().reset_index()
        assert row_mark(result) is None
        assert not has_mark(result.index)


def test_the_users_own_frame_is_not_marked():
    mine = visits()
    with CaptureSession() as session:
        frame = session.load(mine, "a")
        frame["v"] = 0.0
        assert not has_mark(mine.index)
    assert mine["v"].notna().sum() == 4
    assert frame.index.equals(mine.index)


def test_what_finish_gives_back_is_not_followed():
    with CaptureSession() as session:
        plain, _ = session.finish(session.load(visits(), "a").dropna())
        assert not has_mark(plain.index)
        turned, _ = session.finish(session.load(visits(), "b").T)
        assert not has_mark(turned.columns)


def test_what_is_detached_says_its_lineage_after_the_session_and_nothing_of_what_came_later():
    with CaptureSession() as session:
        frame = session.load(visits(), "visits")
        kept = frame.dropna()
        plain, followed = session.detach(kept)
        then = session.lineage(kept)
        frame["v"].mean()
        assert len(session.lineage(kept).contexts) == 1
    pd.testing.assert_frame_equal(plain, visits().dropna())
    assert not has_mark(plain.index)
    later = followed.lineage()
    assert later.maps["visits"].pairs()[1].tolist() == [0, 2, 3, 4]
    assert later.maps["visits"].same_relation(then.maps["visits"])
    assert later.ops == then.ops
    assert later.contexts == ()


def test_marks_are_invisible():
    with CaptureSession() as session:
        frame = session.load(visits(), "a")
        chosen = frame[frame["k"] != 1]
        assert frame.index.name is None
        assert type(frame.index) is pd.RangeIndex
        assert type(chosen.index) is pd.Index
        assert frame.index.equals(visits().index)
        assert frame.index.identical(visits().index)
        assert frame["v"].index.is_(frame.index)
        assert repr(frame) == repr(visits())
        assert frame.reset_index().columns.tolist() == ["index", "k", "v"]
        assert not set(dir(frame.index)) ^ set(dir(visits().index))
        assert vars(frame.index).keys() == vars(visits().index).keys()
        pd.testing.assert_frame_equal(_copied(frame), visits())


def test_marks_of_a_closed_session_are_dead():
    with CaptureSession() as session:
        frame = session.load(visits(), "old")
    with CaptureSession() as session:
        again = session.load(frame.head(3), "new")
        lineage = session.lineage(again.iloc[::-1])
    assert set(lineage.maps) == {"new"}
    assert lineage.maps["new"].pairs()[1].tolist() == [2, 1, 0]


def test_a_frame_of_another_open_session_has_no_rows_here():
    with CaptureSession() as outer, CaptureSession() as inner:
        mine, other = outer.load(visits(), "a"), inner.load(visits(), "a")
        both = pd.concat([mine, other], ignore_index=True)
        lineage = outer.lineage(both)
        assert lineage.maps["a"].covered().tolist() == [True] * 5 + [False] * 5
        assert inner.lineage(both).fidelity == "unknown"


def test_a_session_may_load_what_another_has_marked():
    with CaptureSession() as outer, CaptureSession() as inner:
        frame = outer.load(visits(), "a").sort_values("k")
        lineage = inner.lineage(inner.load(frame, "b").head(2))
        assert lineage.maps["b"].pairs()[1].tolist() == [0, 1]


def test_sessions_in_threads_do_not_mix():
    n_threads, gate = 6, threading.Barrier(6)
    found = {}

    def work(number):
        frame = pd.DataFrame({"row": np.arange(200), "k": np.arange(200) % (number + 2)})
        gate.wait()
        for _ in range(5):
            with CaptureSession() as session:
                mine = session.load(frame, f"input {number}")
                result = mine.sample(frac=0.5, random_state=number).merge(
                    mine.groupby("k", as_index=False)["row"].max(), on="k", suffixes=("", "_max")
                )
                found[number] = session.finish(result)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == n_threads
    for number, (plain, lineage) in found.items():
        assert list(lineage.maps) == [f"input {number}"]
        row_map = lineage.maps[f"input {number}"]
        for at in (0, 50, 99):
            k = plain["k"][at]
            members = {row for row in range(200) if row % (number + 2) == k}
            assert set(row_map.backward([at]).tolist()) == members | {plain["row"][at]}
        assert [op.name for op in lineage.ops] == [
            "DataFrame.sample",
            "SeriesGroupBy.max",
            "pandas.merge",
        ]


def test_a_name_is_given_once():
    with CaptureSession() as session:
        session.load(visits(), "a")
        with pytest.raises(CaptureError, match="an input 'a' already"):
            session.load(visits(), "a")


def test_a_frame_of_the_session_is_not_loaded_again():
    with CaptureSession() as session:
        frame = session.load(visits(), "a")
        with pytest.raises(CaptureError, match="comes from inputs of this session"):
            session.load(frame.head(2), "b")


@pytest.mark.parametrize("ask", ["lineage", "finish", "detach"])
@pytest.mark.parametrize("value", [np.ones(3), [1, 2], None])
def test_what_carries_no_rows_is_refused(ask, value):
    with CaptureSession() as session, pytest.raises(CaptureError, match=r"^An? \w+ cannot say"):
        getattr(session, ask)(value)


def test_nothing_can_be_asked_of_a_session_that_is_not_open():
    session = CaptureSession()
    with pytest.raises(CaptureError, match="not open"):
        session.load(visits(), "a")
    with session:
        frame = session.load(visits(), "a")
    with pytest.raises(CaptureError, match="not open"):
        session.lineage(frame)
    with pytest.raises(CaptureError, match="opened once"):
        session.open()


def test_closing_twice_is_harmless():
    before = standing()
    with CaptureSession(), CaptureSession() as inner:
        inner.close()
        assert standing() != before
    assert_untouched(before)


def test_a_release_of_pandas_without_a_vital_internal_is_refused():
    hooks = HookSet([Hook(pd.DataFrame, "_no_such_internal", observed(lambda *_: None))])
    with pytest.raises(PandasInternalsError, match=r"no DataFrame\._no_such_internal"):
        hooks.acquire()


def test_a_release_of_pandas_that_was_not_tested_is_refused(monkeypatch):
    monkeypatch.setattr(pd, "__version__", "3.9.0rc1")
    session = CaptureSession()
    with pytest.raises(PandasInternalsError, match=r"3\.9\.0rc1 is not a release that was tested"):
        session.open()
    session.close()


def test_hooks_are_taken_out_again_if_one_cannot_be_put():
    def refuse(_):
        raise RuntimeError("cannot wrap")

    original = pd.DataFrame.head
    hooks = HookSet(
        [Hook(pd.DataFrame, "head", observed(lambda *_: None)), Hook(pd.DataFrame, "tail", refuse)]
    )
    with pytest.raises(RuntimeError, match="cannot wrap"):
        hooks.acquire()
    assert pd.DataFrame.head is original


def test_what_somebody_else_wrapped_meanwhile_is_left_alone(monkeypatch):
    seen = []
    hooks = HookSet([Hook(pd.DataFrame, "head", observed(lambda *_: seen.append("hook")))])
    original = pd.DataFrame.head
    hooks.acquire()
    ours = pd.DataFrame.head

    def theirs(self, n=5):
        return ours(self, n)

    monkeypatch.setattr(pd.DataFrame, "head", theirs)
    hooks.release()
    assert pd.DataFrame.head is theirs
    hooks.acquire()
    visits().head(1)
    assert seen == ["hook"]
    hooks.release()
    monkeypatch.undo()
    assert pd.DataFrame.head is ours
    pd.DataFrame.head = original


def chained(a):
    a[a["k"] > 0]["v"] = 0.0


def chained_loc(a):
    a["v"].loc[0] = 5.0


@pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")
@pytest.mark.parametrize("mistake", [chained, chained_loc])
def test_warnings_about_chained_assignment_are_still_given(mistake):
    with pytest.warns(ChainedAssignmentError):
        mistake(visits())
    with CaptureSession() as session, pytest.warns(ChainedAssignmentError):
        mistake(session.load(visits(), "a"))


@pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")
def test_filling_a_chained_column_in_place_still_warns():
    with CaptureSession() as session:
        frame = session.load(visits(), "a")
        with pytest.warns(ChainedAssignmentError):
            frame["v"].fillna(0.0, inplace=True)  # noqa: PD002  (the mistake)


def test_no_warning_is_given_that_pandas_does_not_give():
    with warnings.catch_warnings(), CaptureSession() as session:
        warnings.simplefilter("error")
        frame = session.load(visits(), "a")
        frame["w"] = frame["v"] * 2
        frame.loc[frame["k"] == 1, "v"] = 0.0
        frame.loc[:, "z"] = 1
        frame.iloc[0, 0] = 7
        assert frame["k"].tolist() == [7, 1, 0, 2, 1]


def test_query_finds_the_callers_variables():
    with CaptureSession() as session:
        frame = session.load(visits(), "a")
        low = 2.0
        assert session.lineage(frame.query("v > @low")).maps["a"].pairs()[1].tolist() == [2, 3, 4]
        assert frame.eval("v + @low").tolist()[0] == low + 1.0


def test_signatures_and_names_stay():
    plain = (pd.DataFrame.merge.__doc__, pd.DataFrame.dropna.__name__, pd.Series.mean.__qualname__)
    with CaptureSession():
        assert plain == (
            pd.DataFrame.merge.__doc__,
            pd.DataFrame.dropna.__name__,
            pd.Series.mean.__qualname__,
        )


def test_a_series_can_be_an_input():
    with CaptureSession() as session:
        values = session.load(visits()["v"], "values")
        lineage = session.lineage(values.dropna().sort_values(ascending=False))
    assert lineage.maps["values"].pairs()[1].tolist() == [4, 3, 2, 0]


def test_an_index_can_be_a_result():
    with CaptureSession() as session:
        frame = session.load(visits(), "a")
        lineage = session.lineage(frame[frame["k"] == 1].index)
    assert lineage.maps["a"].pairs()[1].tolist() == [1, 4]


def test_rows_that_were_lost_say_where_and_what_to_do():
    with CaptureSession() as session:
        frame = session.load(visits(), "a")
        lineage = session.lineage(pd.DataFrame({"v": frame["v"].tolist()}))
    assert lineage.fidelity == "unknown"
    assert "'a'" in lineage.reason
    assert "Series.tolist" in lineage.reason
    assert "`record`" in lineage.reason
    assert lineage.maps["a"].kind == "unknown"


def test_lost_rows_stay_lost_in_what_is_made_of_them():
    with CaptureSession() as session:
        frame, other = session.load(visits(), "a"), session.load(visits(), "b")
        repeated = frame.set_index("k")["v"] + other.set_index("k")["v"].iloc[:3]
        lineage = session.lineage(repeated.reset_index().sort_values("v").head(2))
        assert lineage.fidelity == "unknown"
        assert {name: m.kind for name, m in lineage.maps.items()} == dict.fromkeys("ab", "unknown")
        assert "Series operator" in lineage.reason


def test_an_input_is_not_called_unknown_for_the_loss_of_another():
    with CaptureSession() as session:
        frame, other = session.load(visits(), "a"), session.load(visits(), "b")
        joined = frame.assign(w=other["v"])
        joined["lost"] = 1
        lineage = session.lineage(joined)
        assert lineage.fidelity == "exact"
        assert {name: m.kind for name, m in lineage.maps.items()} == dict.fromkeys("ab", "identity")


class _Total:
    """A single value that knows its row: as a sum of an array does."""

    def __init__(self, placed):
        self._placed = placed

    def __traceprop_placed__(self):
        return self._placed

    def __traceprop_plain__(self):
        return np.float64(6.0)


def test_a_single_value_that_knows_its_row_has_a_lineage_of_one_row():
    with CaptureSession() as session, CaptureSession() as other:
        frame = session.load(visits(), "visits")
        groups = frame.groupby(np.zeros(len(frame)))["v"].sum()
        mark = row_mark(groups)
        total = _Total((mark, range(1)))
        assert session.lineage(total).maps["visits"].backward([0]).tolist() == [0, 1, 2, 3, 4]
        other.load(visits(), "visits")
        assert other.lineage(total).fidelity == "unknown"
        assert other.lineage(total).n_rows == 1
