"""Polars frames that know their rows, against planted keys and against plain Polars.

Column ``key`` numbers the rows of an input, so that a result says itself which rows it holds.
"""

import copy

import numpy as np
import pytest

pl = pytest.importorskip("polars")
import polars.selectors as cs  # noqa: E402  (after importorskip)
from polars.testing import assert_frame_equal  # noqa: E402  (after importorskip)

from tests.oracle.planted_keys import keys_of, maps_to  # noqa: E402  (after importorskip)
from tests.oracle.polars_oracle import PEOPLE, N, both, visits  # noqa: E402
from traceprop_engine.errors import CaptureError  # noqa: E402  (after importorskip)
from traceprop_engine.frames.of_polars import TrackedPolars, concat_polars, track_polars  # noqa: E402
from traceprop_engine.lineage import CaptureSession  # noqa: E402

pytestmark = pytest.mark.oracle


EXACT = {
    "filter": lambda d: d.filter(pl.col.x > 0),
    "filter of several": lambda d: d.filter(pl.col.x > 0, pl.col.s == "a"),
    "filter by value": lambda d: d.filter(s="a"),
    "filter of a null": lambda d: d.filter(pl.col.h > 0),
    "filter by a mean": lambda d: d.filter(pl.col.x > pl.col.x.mean()),
    "filter by a neighbour": lambda d: d.filter(pl.col.x > pl.col.x.shift()),
    "filter of all columns": lambda d: d.filter(pl.all_horizontal(cs.numeric() >= 0)),
    "filter of any null": lambda d: d.filter(~pl.any_horizontal(pl.all().is_null())),
    "filter by a list": lambda d: d.filter([i % 3 == 0 for i in range(N)]),
    "filter by an array": lambda d: d.filter(np.arange(N) % 3 == 0),
    "filter by a constant": lambda d: d.filter(pl.lit(value=True)),
    "filter by a statistic": lambda d: d.filter(pl.col.x.mean() > -100),
    "filter of none": lambda d: d.filter(pl.col.x > 100),
    "remove": lambda d: d.remove(pl.col.h > 0),
    "sort": lambda d: d.sort("x", maintain_order=True),
    "sort down": lambda d: d.sort("s", "x", descending=[True, False], maintain_order=True),
    "sort by an expression": lambda d: d.sort(-pl.col.x, maintain_order=True),
    "sort by all": lambda d: d.drop("l").sort(pl.all().exclude("key"), maintain_order=True),
    "sort, nulls last": lambda d: d.sort("h", nulls_last=True, maintain_order=True),
    "top": lambda d: d.top_k(4, by="x").sort("key"),
    "bottom": lambda d: d.bottom_k(4, by=pl.col.x * 2).sort("key"),
    "head": lambda d: d.head(3),
    "tail": lambda d: d.tail(3),
    "limit": lambda d: d.limit(2),
    "slice": lambda d: d.slice(5, 4),
    "brackets slice": lambda d: d[4:20:3],
    "brackets rows": lambda d: d[[3, 1, 1, -1]],
    "brackets row": lambda d: d[7],
    "brackets both": lambda d: d[2:5, ["x", "key"]],
    "brackets columns": lambda d: d[["x", "key"]],
    "every third": lambda d: d.gather_every(3, 1),
    "reverse": lambda d: d.reverse(),
    "sample": lambda d: d.sample(7, seed=3),
    "bootstrap": lambda d: d.sample(fraction=1.5, with_replacement=True, shuffle=True, seed=3),
    "select": lambda d: d.select("key", pl.col.x * 2),
    "select all": lambda d: d.select(pl.all()),
    "select numbers": lambda d: d.select(cs.numeric()),
    "select with a mean": lambda d: d.select("key", z=pl.col.x - pl.col.x.mean()),
    "more columns": lambda d: d.with_columns(pl.col.x.round(0).alias("r"), one=pl.lit(1)),
    "a mean of the group": lambda d: d.with_columns(m=pl.col.x.mean().over("g")),
    "a running sum": lambda d: d.with_columns(c=pl.col.x.cum_sum()),
    "a condition": lambda d: d.with_columns(c=pl.when(pl.col.x > 0).then(1).otherwise(0)),
    "texts": lambda d: d.with_columns(cs.string().str.to_uppercase()),
    "a rank": lambda d: d.with_columns(r=pl.col.x.rank()),
    "numbers of rows": lambda d: d.with_row_index("i"),
    "drop": lambda d: d.drop("x"),
    "rename": lambda d: d.rename({"x": "y"}),
    "cast": lambda d: d.cast({"g": pl.Float64}),
    "drop nulls": lambda d: d.drop_nulls(),
    "drop nulls of one": lambda d: d.drop_nulls("h"),
    "drop nulls of a selector": lambda d: d.drop_nulls(cs.float()),
    "drop nans": lambda d: d.with_columns(q=pl.when(pl.col.x > 0).then(np.nan)).drop_nans(),
    "fill nulls": lambda d: d.fill_null(0),
    "fill nulls forward": lambda d: d.fill_null(strategy="forward"),
    "unique": lambda d: d.unique("s", keep="first", maintain_order=True),
    "unique last": lambda d: d.unique(["s", "g"], keep="last", maintain_order=True),
    "unique of all": lambda d: d.drop("l").unique(maintain_order=True),
    "unique none": lambda d: d.unique(cs.string(), keep="none", maintain_order=True),
    "shift": lambda d: d.shift(2),
    "shift up": lambda d: d.shift(-3),
    "explode": lambda d: d.explode("l"),
    "unpivot": lambda d: d.unpivot(["x", "h"], index=["key", "s"]),
    "unpivot all": lambda d: d.select("key", "x", "h").unpivot(index="key"),
    "lazy": lambda d: d.lazy().filter(pl.col.x > 0).sort("x", "key").head(4).collect(),
    "pipe": lambda d: d.pipe(lambda e: e.head(2)),
    "groups": lambda d: d.group_by("g", maintain_order=True).agg("key", pl.col.x.mean()),
    "groups of two": lambda d: d.group_by("g", "s", maintain_order=True).agg("key"),
    "groups of an expression": lambda d: d.group_by(big=pl.col.x > 0, maintain_order=True).agg(
        pl.col("key"), pl.all().exclude("key").len()
    ),
    "groups of a null": lambda d: d.group_by(pl.col.h.round(0), maintain_order=True).agg("key"),
    "groups, all columns": lambda d: d.group_by("g", maintain_order=True).all(),
    "groups, lazily": lambda d: d.lazy().group_by("g", maintain_order=True).agg("key").collect(),
    "groups of NaN": lambda d: d.group_by(
        pl.when(pl.col.g > 1).then(np.nan).otherwise(-0.0).alias("n"), maintain_order=True
    ).agg("key"),
    "vstack": lambda d: d.head(3).vstack(d.tail(2)),
    "vstack with itself": lambda d: d.vstack(d),
    "columns of itself": lambda d: d.hstack(d.select(y=pl.col.x)),
    "a lookup": lambda d: d.join(
        pl.DataFrame({"g": [0, 1], "w": [1.0, 2.0]}), on="g", how="left", maintain_order="left"
    ),
    "plus": lambda d: d.select("key") + 0,
    "reflected": lambda d: 1 * (0 + d.select("key")),
    "sort by two of one name": lambda d: d.sort(pl.col.x > 0, "x", maintain_order=True),
    "top by two of one name": lambda d: d.top_k(4, by=[pl.col.x > 0, "x"]).sort("key"),
    "sort by what is read once": lambda d: d.sort((n for n in ["s", "x"]), maintain_order=True),
    "filter by what is read once": lambda d: d.filter(pl.col(n) > 0 for n in ["x", "h"]),
    "groups by what is read once": lambda d: d.group_by(
        (n for n in ["g", "s"]), maintain_order=True
    ).agg("key"),
    "unique by an expression": lambda d: d.unique(
        pl.col.key % 5, keep="first", maintain_order=True
    ),
    "brackets columns by a slice": lambda d: d["key":"x"],
    "interpolate": lambda d: d.with_columns(pl.col.x).interpolate().cast({"key": pl.Int64}),
}


@pytest.mark.parametrize("name", EXACT)
def test_rows_are_followed_and_the_result_is_that_of_polars(name):
    wanted, found, lineage = both(EXACT[name], "visits")
    assert_frame_equal(found, wanted)
    assert lineage.fidelity == "exact", lineage.reason
    assert maps_to(lineage, "visits") == keys_of(wanted)


LOST = {
    "a shifted column": lambda d: d.with_columns(pl.col.x.shift()),
    "a sorted column": lambda d: d.select(pl.col.x.sort()),
    "a shuffled column": lambda d: d.with_columns(pl.col.x.shuffle(seed=1)),
    "a reversed column": lambda d: d.with_columns(pl.col.x.reverse()),
    "a window that shifts": lambda d: d.with_columns(pl.col.x.shift().over("g")),
    "a sort inside": lambda d: d.with_columns(pl.when(pl.col.x.sort() > 0).then(1)),
    "a function of the user": lambda d: d.with_columns(pl.col.x.map_batches(lambda s: s)),
    "a filtered column": lambda d: d.select(pl.col.x.filter(pl.col.x > 0)),
    "pivot": lambda d: d.pivot("s", index="g", values="x", aggregate_function="sum"),
    "transpose": lambda d: d.select("x", "h").transpose(),
    "head of groups": lambda d: d.group_by("g", maintain_order=True).head(1),
    "sql": lambda d: d.drop("l").sql("select * from self where x > 0"),
    "rows by a function": lambda d: d.select("x", "g").map_rows(lambda row: (row[0],)),
    "what is read once": lambda d: d.with_columns(pl.col(n).sort() for n in ["x"]),
    "what is read from a dict": lambda d: d.with_columns({"x": pl.col.x.sort()}.values()),
    "groups of one constant": lambda d: d.group_by(pl.lit(1)).agg(pl.col.x.sum()),
    "some of the groups": lambda d: (
        d.group_by("g", maintain_order=True).having(pl.len() > 5).agg("key")
    ),
    "fewer rows added": lambda d: d.select("key") + d.select("key").head(3),
    "a nested sort": lambda d: d.with_columns(pl.struct(pl.col.x.sort()).alias("n")),
}


@pytest.mark.parametrize("name", LOST)
def test_what_is_not_understood_is_visibly_lost(name):
    wanted, found, lineage = both(LOST[name], "visits")
    assert_frame_equal(found, wanted)
    assert lineage.fidelity == "unknown"
    assert "lost in polars.DataFrame." in lineage.reason
    assert lineage.coverage() == 0.0


@pytest.mark.parametrize(
    "run",
    [
        lambda d: d.mean(),
        lambda d: d.select(pl.col.x.mean(), n=pl.len()),
        lambda d: d.select(pl.col.x.sort().first()),
        lambda d: d.describe(),
    ],
)
def test_a_statistic_depends_on_all_rows_and_comes_from_none(run):
    wanted, found, lineage = both(run, "visits")
    assert_frame_equal(found, wanted)
    assert lineage.fidelity == "exact"
    assert lineage.maps["visits"].kind == "context"
    assert lineage.coverage() == 0.0


@pytest.mark.parametrize(
    ("run", "verb"),
    [
        (lambda d: d.with_columns(pl.col.x - pl.col.x.mean()), "with_columns"),
        (lambda d: d.filter(pl.col.x > pl.col.x.median()), "filter"),
        (lambda d: d.filter(pl.col.x > d["x"].mean()), "__getitem__"),
        (lambda d: d.filter(pl.col.x > d.select("x").item(0, 0)), "item"),
        (lambda d: d.filter(pl.col.g.is_in(pl.col.g.head(2).implode())), "filter"),
        (lambda d: d.head(len(d.rows()) - 1), "rows"),
        (lambda d: d.fill_null(strategy="mean"), "fill_null"),
        (lambda d: d.select("x").shift(1, fill_value=pl.col.x.max()), "shift"),
        (lambda d: d.with_columns(pl.col.x.mean().over("g").alias("m")), "with_columns"),
    ],
)
def test_other_rows_that_a_value_depends_on_are_context(run, verb):
    _, _, lineage = both(run, "visits")
    assert lineage.fidelity == "exact"
    members = {c.statistic: len(c.members.backward([0])) for c in lineage.contexts}
    assert members[f"polars.DataFrame.{verb}"] == N


@pytest.mark.parametrize(
    "run",
    [
        lambda d: d.filter(pl.col.x > 0).sort("x").with_columns(y=pl.col.x + 1),
        lambda d: d.select(cs.numeric(), pl.col.s.str.len_chars().alias("n")),
        lambda d: d.with_columns(pl.col.l.list.eval(pl.element() + 1)),
    ],
)
def test_work_row_by_row_has_no_context(run):
    assert both(run, "visits")[2].contexts == ()


def joined(how):
    return lambda d, p: d.join(p, on="g", how=how, maintain_order="left_right")


JOINS = {how: joined(how) for how in ("inner", "left", "right", "full")}
JOINS["cross"] = lambda d, p: d.join(p, how="cross", maintain_order="left_right")
JOINS["other names"] = lambda d, p: d.join(
    p.rename({"g": "pg"}), left_on="g", right_on="pg", maintain_order="left_right"
)
JOINS["columns as expressions"] = lambda d, p: d.join(
    p, on=pl.col("g"), how="full", coalesce=True, maintain_order="left_right"
)
JOINS["lazily"] = lambda d, p: (
    d.lazy().join(p.lazy(), on="g", maintain_order="left_right").collect()
)
JOINS["asof"] = lambda d, p: d.sort("g", "key").join_asof(p.sort("g", "pkey"), on="g")
JOINS["beside"] = lambda d, p: d.head(5).hstack(p.select("pkey"))


@pytest.mark.parametrize("name", JOINS)
def test_a_join_has_the_rows_of_both_sides(name):
    wanted, found, lineage = both(JOINS[name], "visits", "people")
    assert_frame_equal(found, wanted)
    assert lineage.fidelity == "exact", lineage.reason
    assert maps_to(lineage, "visits") == keys_of(wanted)
    assert maps_to(lineage, "people") == keys_of(wanted, "pkey")


@pytest.mark.parametrize("how", ["semi", "anti"])
def test_a_join_that_only_chooses_has_the_other_side_as_context(how):
    wanted, found, lineage = both(lambda d, p: d.join(p, on="g", how=how), "visits", "people")
    assert_frame_equal(found, wanted)
    assert maps_to(lineage, "visits") == keys_of(wanted)
    assert lineage.maps["people"].kind == "context"


def test_a_join_on_an_expression_is_lost():
    _, _, lineage = both(
        lambda d, p: d.join(p, left_on=pl.col.g + 1, right_on="g"), "visits", "people"
    )
    assert lineage.fidelity == "unknown"


def test_a_join_with_itself_has_both_rows():
    run = lambda d: d.select("key", "g").join(  # noqa: E731  (code as users write it)
        d.select("g", other="key"), on="g", maintain_order="left_right"
    )
    wanted, found, lineage = both(run, "visits")
    assert_frame_equal(found, wanted)
    pairs = zip(wanted["key"].to_list(), wanted["other"].to_list(), strict=True)
    assert maps_to(lineage, "visits") == [sorted({one, other}) for one, other in pairs]


@pytest.mark.parametrize("how", ["vertical", "vertical_relaxed", "diagonal", "diagonal_relaxed"])
def test_concat_below(how):
    frames = [visits(), visits(5, 1).rename({"key": "key"})]
    with CaptureSession() as session:
        tracked = [track_polars(f, n, session=session) for f, n in zip(frames, "ab", strict=True)]
        found, lineage = session.finish(concat_polars([tracked[0], frames[1], tracked[1]], how=how))
    assert_frame_equal(found, pl.concat([frames[0], frames[1], frames[1]], how=how))
    assert maps_to(lineage, "a") == [*([i] for i in range(N)), *([[]] * 10)]
    assert maps_to(lineage, "b") == [*([[]] * (N + 5)), *([i] for i in range(5))]


def test_concat_beside():
    run = lambda d: concat_polars(  # noqa: E731  (code as users write it)
        [d.select("key"), d.reverse().select(other="key")], how="horizontal"
    )
    with CaptureSession() as session:
        _, lineage = session.finish(run(track_polars(visits(), "visits", session=session)))
    assert maps_to(lineage, "visits") == [sorted({i, N - 1 - i}) for i in range(N)]


def test_groups_are_frames_with_their_rows():
    with CaptureSession() as session:
        tracked = track_polars(visits(), "visits", session=session)
        plain = dict(iter(visits().group_by("g", maintain_order=True)))
        found = dict(iter(tracked.group_by("g", maintain_order=True)))
        assert list(found) == list(plain)
        for key, frame in plain.items():
            result, lineage = session.finish(found[key])
            assert_frame_equal(result, frame)
            assert maps_to(lineage, "visits") == keys_of(frame)


def test_rows_go_on_in_pandas_and_come_back():
    with CaptureSession() as session:
        tracked = track_polars(visits(), "visits", session=session).filter(pl.col.x > 0)
        frame = tracked.to_pandas().sort_values("x", kind="stable").drop(columns="l")
        back = track_polars(frame).head(4)
        found, lineage = session.finish(back)
    assert lineage.fidelity == "exact"
    assert lineage.contexts == ()
    assert maps_to(lineage, "visits") == keys_of(found)


def test_operations_are_recorded():
    _, _, lineage = both(lambda d: d.filter(pl.col.x > 0).group_by("g").agg("key"), "visits")
    assert [op.name for op in lineage.ops] == [
        "polars.DataFrame.filter",
        "polars.DataFrame.group_by.agg",
    ]
    assert lineage.ops[0].n_rows_in == (N,)


def test_the_frame_of_the_user_is_never_changed():
    mine = visits()
    with CaptureSession() as session:
        tracked = track_polars(mine, "visits", session=session)
        tracked.with_columns(z=1).to_polars().insert_column(0, pl.Series("new", range(N)))
        for verb in ("extend", "insert_column", "replace_column", "drop_in_place"):
            with pytest.raises(CaptureError, match="never changed in place"):
                getattr(tracked, verb)
        with pytest.raises(CaptureError, match="never changed in place"):
            tracked.vstack(mine, in_place=True)
    assert_frame_equal(mine, visits())


def test_a_change_by_the_user_in_place_does_not_reach_a_tracked_frame():
    mine = visits()
    with CaptureSession() as session:
        tracked = track_polars(mine, "visits", session=session)
        mine.extend(visits())
        found, lineage = session.finish(copy.deepcopy(tracked).tail(2))
    assert_frame_equal(found, visits().tail(2))
    assert maps_to(lineage, "visits") == [[N - 2], [N - 1]]


def test_a_frame_of_a_closed_session_is_a_new_input_of_the_next():
    with CaptureSession() as session:
        tracked = track_polars(visits(), "visits", session=session)
    with CaptureSession() as session:
        again = track_polars(tracked.head(3), "again", session=session)
        _, lineage = session.finish(again.reverse())
    assert maps_to(lineage, "again") == [[2], [1], [0]]


def test_facts_are_those_of_the_frame():
    tracked = track_polars(visits(), "visits", session=CaptureSession())
    assert tracked.columns == visits().columns
    assert tracked.shape == (N, 6)
    assert "x" in tracked
    assert len(tracked) == tracked.height == N
    assert isinstance(tracked.lazy().collect(), TrackedPolars)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = tracked.nothing


def test_errors_are_those_of_polars():
    with CaptureSession() as session:
        tracked = track_polars(visits(), "visits", session=session)
        for run in (
            lambda d: d.filter(pl.col("nothing") > 0),
            lambda d: d.sort("nothing"),
            lambda d: d.filter(pl.col("x", "h") > 0),
            lambda d: d.join(PEOPLE, on="nothing"),
            lambda d: d.select("x", "x"),
        ):
            with pytest.raises(pl.exceptions.PolarsError) as wanted:
                run(visits())
            with pytest.raises(type(wanted.value)):
                run(tracked)


def test_a_new_input_needs_a_name_and_no_hidden_column():
    with pytest.raises(CaptureError, match="needs a name"):
        track_polars(visits())
    with pytest.raises(CaptureError, match="is the name of hidden row numbers"):
        track_polars(pl.DataFrame({"__traceprop_row__": [1]}), "mine")
    with pytest.raises(CaptureError, match="A list is no frame"):
        track_polars([1, 2], "list")
