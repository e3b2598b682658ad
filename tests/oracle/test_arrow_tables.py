"""Arrow tables that know their rows, against planted keys and against plain Arrow."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.oracle.planted_keys import keys_of, maps_to, plain_and_tracked, random_chain
from traceprop_engine.errors import CaptureError
from traceprop_engine.frames import concat_arrow, track_arrow
from traceprop_engine.lineage import CaptureSession

pytestmark = pytest.mark.oracle
N = 24
ROOT = Path(__file__).parents[2]


def visits(n=N, seed=0):
    rng = np.random.default_rng(seed)
    heights = rng.normal(size=n).round(2)
    return pa.table(
        {
            "key": np.arange(n),
            "g": rng.integers(0, 4, n),
            "x": rng.permutation(n) / 7 - 1,
            "h": pa.array(heights, mask=np.arange(n) % 5 == 0),
            "s": rng.choice(["a", "b", "c"], n),
        }
    )


PEOPLE = pa.table({"pkey": [0, 1, 2, 3, 4], "g": [3, 1, 1, 0, 9], "name": list("vwxyz")})


def both(run, *names):
    plain = {"visits": visits(), "people": PEOPLE}
    return plain_and_tracked(run, {name: plain[name] for name in names}, track_arrow)


EXACT = {
    "filter by a mask": lambda t: t.filter(pa.array([i % 3 == 0 for i in range(N)])),
    "filter by a mask with nulls": lambda t: t.filter(
        pa.array([None, True] * (N // 2)), null_selection_behavior="emit_null"
    ),
    "filter by an expression": lambda t: t.filter(pc.field("h") > 0),
    "take": lambda t: t.take([3, 1, 1, 0]),
    "take of nulls": lambda t: t.take(pa.array([3, None, 1])),
    "sort": lambda t: t.sort_by("x"),
    "sort of several": lambda t: t.sort_by([("s", "descending"), ("x", "ascending")]),
    "slice": lambda t: t.slice(4, 9),
    "brackets": lambda t: t[3:9],
    "drop nulls": lambda t: t.drop_null(),
    "select": lambda t: t.select(["x", "key"]),
    "drop": lambda t: t.drop_columns(["x"]),
    "rename": lambda t: t.rename_columns(["key", "b", "c", "d", "e"]),
    "append": lambda t: t.append_column("one", pa.array([1] * N)),
    "add": lambda t: t.add_column(0, "one", pa.array([1] * N)),
    "set": lambda t: t.set_column(2, "x", pa.array([1.0] * N)),
    "remove": lambda t: t.remove_column(4),
    "cast": lambda t: t.cast(t.schema.set(1, pa.field("g", pa.float64()))),
    "one piece": lambda t: t.combine_chunks(),
    "groups": lambda t: t.group_by("g", use_threads=False).aggregate(
        [("key", "list"), ("x", "mean")]
    ),
    "groups of two": lambda t: t.group_by(["g", "s"], use_threads=False).aggregate(
        [("key", "list")]
    ),
}


@pytest.mark.parametrize("name", EXACT)
def test_rows_are_followed_and_the_result_is_that_of_arrow(name):
    wanted, found, lineage = both(EXACT[name], "visits")
    assert found.equals(wanted)
    assert lineage.fidelity == "exact", lineage.reason
    column = "key" if "key" in wanted.column_names else "key_list"
    assert maps_to(lineage, "visits") == keys_of(wanted, column)


@pytest.mark.parametrize("how", ["inner", "left outer", "right outer", "full outer"])
def test_a_join_has_the_rows_of_both_sides(how):
    run = lambda t, p: t.join(p, "g", join_type=how, use_threads=False)  # noqa: E731
    wanted, found, lineage = both(run, "visits", "people")
    order = [("key", "ascending"), ("pkey", "ascending")]
    assert found.column_names == wanted.column_names
    assert found.sort_by(order).equals(wanted.sort_by(order))
    assert lineage.fidelity == "exact"
    assert maps_to(lineage, "visits") == keys_of(found)
    assert maps_to(lineage, "people") == keys_of(found, "pkey")


@pytest.mark.parametrize("how", ["left semi", "left anti"])
def test_a_join_that_only_chooses_has_the_other_side_as_context(how):
    run = lambda t, p: t.join(p, "g", join_type=how, use_threads=False)  # noqa: E731
    wanted, found, lineage = both(run, "visits", "people")
    assert found.sort_by("key").equals(wanted.sort_by("key"))
    assert maps_to(lineage, "visits") == keys_of(found)
    assert lineage.maps["people"].kind == "context"


def test_a_join_that_chooses_the_other_side():
    run = lambda t, p: t.join(p, "g", join_type="right semi", use_threads=False)  # noqa: E731
    _, found, lineage = both(run, "visits", "people")
    assert maps_to(lineage, "people") == keys_of(found, "pkey")
    assert lineage.maps["visits"].kind == "context"


def test_the_kind_of_a_join_may_be_given_by_its_place():
    run = lambda t, p: t.join(p, "g", None, "inner", use_threads=False)  # noqa: E731
    wanted, found, lineage = both(run, "visits", "people")
    assert found.sort_by("key").equals(wanted.sort_by("key"))
    assert maps_to(lineage, "people") == keys_of(found, "pkey")


def test_what_is_not_understood_is_visibly_lost():
    run = lambda t: t.join_asof(  # noqa: E731
        PEOPLE.sort_by("g").append_column("on", pa.array(range(5))),
        on="key",
        by="g",
        tolerance=100,
        right_on="on",
    )
    wanted, found, lineage = both(run, "visits")
    assert found.equals(wanted)
    assert lineage.fidelity == "unknown"
    assert "lost in pyarrow.Table.join_asof" in lineage.reason


def test_values_that_leave_are_context():
    run = lambda t: t.filter(pc.greater(t["x"], pc.mean(t["x"])))  # noqa: E731
    wanted, found, lineage = both(run, "visits")
    assert found.equals(wanted)
    assert maps_to(lineage, "visits") == keys_of(wanted)
    assert {(c.statistic, c.column) for c in lineage.contexts} == {("pyarrow.Table.column", "x")}


def test_one_group_of_all_rows():
    run = lambda t: t.group_by([]).aggregate([("x", "sum")])  # noqa: E731
    wanted, found, lineage = both(run, "visits")
    assert found.equals(wanted)
    assert maps_to(lineage, "visits") == [list(range(N))]


def test_concat():
    with CaptureSession() as session:
        one = track_arrow(visits(), "a", session=session).slice(2, 3)
        other = track_arrow(visits(5, 1), "b", session=session)
        found, lineage = session.finish(concat_arrow([one, visits(1), other, one]))
    assert found.equals(
        pa.concat_tables([visits().slice(2, 3), visits(1), visits(5, 1), visits().slice(2, 3)])
    )
    assert maps_to(lineage, "a") == [[2], [3], [4], [], [], [], [], [], [], [2], [3], [4]]
    assert maps_to(lineage, "b") == [[], [], [], [], [0], [1], [2], [3], [4], [], [], []]


def test_rows_go_on_in_polars_and_pandas():
    of_polars = pytest.importorskip("traceprop_engine.frames.of_polars")
    with CaptureSession() as session:
        table = track_arrow(visits(), "visits", session=session).sort_by("x")
        polars = of_polars.track_polars(table).reverse().to_arrow()
        frame = polars.to_pandas().query("g > 0")
        found, lineage = session.finish(track_arrow(frame))
    assert lineage.fidelity == "exact"
    assert all("query" in c.statistic or "polars" in c.statistic for c in lineage.contexts)
    assert maps_to(lineage, "visits") == keys_of(found)


def test_tables_are_followed_where_polars_is_not_installed():
    code = (
        "import sys\n"
        "sys.modules['polars'] = None  # as if it were not there\n"
        "import pyarrow as pa\n"
        "import traceprop_engine as tp\n"
        "with tp.CaptureSession() as session:\n"
        "    table = tp.track_arrow(pa.table({'x': [3, 1, 2]}), 'data', session=session)\n"
        "    kept = tp.concat_arrow([table.sort_by('x'), table])\n"
        "    print(session.lineage(kept).maps['data'].backward([0, 1]).tolist())\n"
        "try:\n"
        "    tp.track_polars\n"
        "except tp.TracepropError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    rows, refusal = done.stdout.splitlines()
    assert rows == "[1, 2]"
    assert "traceprop-dagster[polars]" in refusal


def test_facts_and_errors_are_those_of_the_table():
    with CaptureSession() as session:
        table = track_arrow(visits(), "visits", session=session)
        assert (table.num_rows, table.shape, len(table)) == (N, (N, 5), N)
        assert table == visits()
        with pytest.raises(pa.ArrowInvalid, match="No match for FieldRef"):
            table.sort_by("nothing")
        with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
            _ = table.nothing
    with pytest.raises(CaptureError, match="needs a name"):
        track_arrow(visits())
    with pytest.raises(CaptureError, match="A dict is no table"):
        track_arrow({"a": [1]}, "dict")


STEPS = [
    lambda t, r: t.filter(pc.field("x") > r.uniform(-1, 0)),
    lambda t, r: t.sort_by([("x", r.choice(["ascending", "descending"])), ("key", "ascending")]),
    lambda t, r: t.take([r.randrange(len(t)) for _ in range(len(t))] if len(t) else []),
    lambda t, r: t.slice(r.randrange(3)),
    lambda t, _: t.drop_null(),
    lambda t, _: t.select(["key", "x", "h", "g"]),
    lambda t, _: t.combine_chunks(),
]


@pytest.mark.parametrize("seed", range(40))
def test_random_chains(seed):
    wanted, found, lineage = both(random_chain(STEPS, seed), "visits")
    assert found.equals(wanted)
    assert lineage.fidelity == "exact"
    assert maps_to(lineage, "visits") == keys_of(wanted)
