"""Groups and splits: the members of every output row, by brute force."""

import numpy as np
import pandas as pd
import pytest

from tests.oracle.pandas_capture_oracle import (
    Case,
    check,
    key_of,
    rows_of_key_lists,
)

pytest.importorskip("sklearn")
from sklearn.model_selection import KFold, StratifiedShuffleSplit

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning"),
]

N = 14
ROLLING_GROUPS = type(pd.DataFrame({"k": [1]}).groupby("k").rolling(1)).__name__
EVERY = set(range(N))


def visits():
    """Visits of patients in no order: repeated keys, a missing key, categories not all seen."""
    rng = np.random.default_rng(7)
    a = pd.DataFrame(
        {
            "o": key_of("a", np.arange(N)),
            "k": [2, 0, 1, 0, 2, 1, 0, 2, 2, 1, 0, 0, 1, 2],
            "h": [None, "x", "y", "x", "y", "y", "x", None, "x", "y", "x", "y", "x", "y"],
            "v": rng.normal(size=N),
            "t": pd.to_datetime("2024-01-01") + pd.to_timedelta(rng.permutation(N) * 11, unit="h"),
        }
    )
    a["c"] = pd.Categorical(np.array(["p", "q", "r"])[a.k], categories=["s", "p", "q", "r"])
    a.loc[4, "v"] = np.nan
    return {"a": a}


def members(by, **options):
    """Parents of groups: the lists of keys that a plain group-by collects."""

    def expect(inputs, result):
        options.setdefault("observed", True)
        lists = inputs["a"].groupby(by, **options)["o"].agg(list)
        return {"a": rows_of_key_lists("a", lists)}

    return expect


def members_of(collect):
    """Parents of groups, from a series of lists of keys that ``collect`` makes of the frame."""
    return lambda inputs, result: {"a": rows_of_key_lists("a", collect(inputs["a"]))}


def grouped(name, run, by="k", expect=None, **more):
    return Case(name, run, expect=expect or members(by), frames=visits, **more)


def keyed(name, run, **more):
    return Case(name, run, {"a": "o"}, frames=visits, **more)


def _kfold(a, number):
    return a.iloc[list(KFold(4, shuffle=True, random_state=1).split(a))[number][0]]


def _stratified(a):
    train, _ = next(StratifiedShuffleSplit(1, test_size=4, random_state=0).split(a, a.k))
    return a.iloc[train]


AGGREGATES = [
    grouped(f"groupby.{verb}", lambda a, verb=verb: getattr(a.groupby("k")[["v"]], verb)())
    for verb in (
        *("mean", "sum", "min", "max", "median", "std", "var", "sem", "prod", "count"),
        *("first", "last", "nunique", "skew", "any", "all", "quantile", "size"),
    )
]
AGGREGATES += [
    grouped("agg of a string", lambda a: a.groupby("k").v.agg("mean").to_frame()),
    grouped("agg of a list", lambda a: a.groupby("k").v.agg(["mean", "std", "count"])),
    grouped("agg of a dict", lambda a: a.groupby("k").agg({"v": "mean", "o": ["min", "max"]})),
    grouped("named agg", lambda a: a.groupby("k").agg(m=("v", "mean"), n=("o", "size"))),
    grouped("agg of a function", lambda a: a.groupby("k").v.agg(lambda s: s.max() - s.min())),
    grouped("agg of a function on frames", lambda a: a.groupby("k")[["v", "o"]].agg(np.ptp)),
    grouped("as_index=False", lambda a: a.groupby("k", as_index=False).v.mean()),
    grouped("as_index=False, named", lambda a: a.groupby("k", as_index=False).agg(m=("v", "max"))),
    grouped("as_index=False, size", lambda a: a.groupby("k", as_index=False).size()),
    grouped("reset_index", lambda a: a.groupby("k").v.mean().reset_index()),
    grouped("groupby.size", lambda a: a.groupby("k").size()),
    grouped(
        "sort=False", lambda a: a.groupby("k", sort=False).v.sum(), expect=members("k", sort=False)
    ),
    grouped("two keys", lambda a: a.groupby(["k", "h"]).v.sum(), by=["k", "h"]),
    grouped(
        "two keys, flat", lambda a: a.groupby(["k", "h"], as_index=False).v.sum(), by=["k", "h"]
    ),
    grouped("missing keys dropped", lambda a: a.groupby("h").v.sum(), by="h"),
    grouped(
        "missing keys kept",
        lambda a: a.groupby("h", dropna=False).v.sum(),
        expect=members("h", dropna=False),
    ),
    grouped("categories observed", lambda a: a.groupby("c", observed=True).v.sum(), by="c"),
    grouped(
        "categories not observed",
        lambda a: a.groupby("c", observed=False).v.count(),
        expect=members_of(lambda a: [list(a.o[a.c == label]) for label in ["s", "p", "q", "r"]]),
    ),
    grouped(
        "categories and key, not observed",
        lambda a: a.groupby(["c", "k"], observed=False).v.count(),
        expect=members_of(
            lambda a: [list(a.o[(a.c == c) & (a.k == k)]) for c in "spqr" for k in range(3)]
        ),
    ),
    grouped(
        "groupby a function",
        lambda a: a.groupby(lambda i: i % 3).v.sum(),
        expect=members_of(lambda a: [list(a.o[i::3]) for i in range(3)]),
    ),
    grouped(
        "groupby an array",
        lambda a: a.groupby(np.arange(N) // 5).v.sum(),
        expect=members_of(lambda a: [list(a.o[i : i + 5]) for i in (0, 5, 10)]),
    ),
    grouped("groupby a level", lambda a: a.set_index(["k", "h"]).groupby(level="k").v.sum()),
    grouped("series groupby series", lambda a: a.v.groupby(a.k).sum()),
    grouped("groupby.describe", lambda a: a.groupby("k").v.describe()),
    grouped("groupby.apply scalar", lambda a: a.groupby("k").apply(lambda g: g.v.max())),
    grouped(
        "groupby.apply row",
        lambda a: a.groupby("k").apply(lambda g: pd.Series({"m": g.v.mean(), "n": len(g)})),
    ),
    grouped(
        "groupby.apply frame",
        lambda a: a.groupby("k").apply(lambda g: pd.DataFrame({"m": [g.v.min(), g.v.max()]})),
        expect=lambda f, r: {
            "a": [set(np.flatnonzero(f["a"].k == k)) for k in r.index.get_level_values(0)]
        },
    ),
    grouped(
        "quantiles",
        lambda a: a.groupby("k").v.quantile([0.1, 0.5]),
        expect=lambda f, r: {
            "a": [set(np.flatnonzero(f["a"].k == k)) for k in r.index.get_level_values(0)]
        },
    ),
    grouped(
        "quantiles, flat",
        lambda a: a.groupby("k", as_index=False)[["v"]].quantile([0.1, 0.5]),
        expect=lambda f, r: {"a": [set(np.flatnonzero(f["a"].k == k)) for k in r.k]},
    ),
    grouped("groupby idxmax", lambda a: a.groupby("k").v.idxmax()),
    grouped(
        "of a filtered frame",
        lambda a: a[a.v > 0].groupby("k").v.mean(),
        expect=members_of(lambda a: a[a.v > 0].groupby("k").o.agg(list)),
    ),
    grouped("of a sorted frame", lambda a: a.sort_values("v").groupby("k").v.first()),
    grouped(
        "of a bootstrap",
        lambda a: a.sample(frac=1.5, replace=True, random_state=0).groupby("k").v.mean(),
        expect=members_of(
            lambda a: a.sample(frac=1.5, replace=True, random_state=0).groupby("k").o.agg(list)
        ),
    ),
    grouped(
        "of a bootstrap, twice grouped",
        lambda a: (
            a.sample(frac=2, replace=True, random_state=1)
            .groupby(["k", "h"], as_index=False)
            .v.mean()
            .groupby("h")
            .v.max()
        ),
        expect=members_of(
            lambda a: (
                a.sample(frac=2, replace=True, random_state=1)
                .dropna(subset="h")
                .groupby("h")
                .o.agg(list)
            )
        ),
    ),
    grouped(
        "sorted after",
        lambda a: a.groupby("k").v.mean().sort_values(),
        expect=lambda f, r: {"a": [set(np.flatnonzero(f["a"].k == k)) for k in r.index]},
    ),
    grouped(
        "group looked up",
        lambda a: a.groupby("k").v.mean().loc[[2, 0]].reset_index(),
        expect=lambda f, r: {"a": [set(np.flatnonzero(f["a"].k == k)) for k in r.k]},
    ),
]

PER_ROW = [
    keyed("groupby.tail", lambda a: a.groupby("k").tail(2)),
    keyed("groupby.nth", lambda a: a.groupby("k").nth(1)),
    keyed("groupby.nth of several", lambda a: a.groupby("k").nth([0, 2])),
    keyed("groupby.sample", lambda a: a.groupby("k").sample(2, random_state=0)),
    keyed(
        "groupby.filter",
        lambda a: a.groupby("h").filter(lambda g: g.v.mean() > 0),
        statistics=("DataFrameGroupBy.filter",),
    ),
    keyed("get_group", lambda a: a.groupby("k").get_group(1)),
    keyed("groups taken apart", lambda a: pd.concat(dict(list(a.groupby("k"))))),
    keyed(
        "transform of a function",
        lambda a: a.assign(z=a.groupby("k").v.transform(lambda s: s - s.mean())),
        statistics=("SeriesGroupBy.transform",),
    ),
    keyed(
        "transform of a frame",
        lambda a: a[["o"]].join(a.groupby("k")[["v"]].transform("max")),
        statistics=("DataFrameGroupBy.transform",),
    ),
    keyed(
        "transform with missing keys",
        lambda a: a.assign(z=a.groupby("h").v.transform("sum")),
        statistics=("SeriesGroupBy.transform",),
    ),
    *[
        keyed(
            f"groupby.{verb}",
            lambda a, verb=verb: a.assign(z=getattr(a.groupby("k").v, verb)()),
            statistics=(f"SeriesGroupBy.{verb}",),
        )
        for verb in ("rank", "cumsum", "cummax", "cumcount", "ngroup", "ffill")
    ],
    Case(
        "groupby.diff",
        lambda a: a[["o", "k"]].assign(d=a.groupby("k").o.diff()),
        expect=lambda f, r: {
            "a": [
                {i} | ({i - int(d) // 7} if not np.isnan(d) else set()) for i, d in enumerate(r.d)
            ]
        },
        frames=visits,
        statistics=("SeriesGroupBy.diff",),
    ),
    Case(
        "groupby.shift",
        lambda a: a[["o", "k"]].assign(p=a.groupby("k").o.shift(1)),
        expect=lambda f, r: {
            "a": [
                {i} | ({int(p - 1000) // 7} if not np.isnan(p) else set())
                for i, p in enumerate(r.p)
            ]
        },
        frames=visits,
    ),
    keyed(
        "groupby.rolling",
        lambda a: a.assign(
            z=a.groupby("k").v.rolling(2, min_periods=1).mean().reset_index(level=0, drop=True)
        ),
        statistics=(f"{ROLLING_GROUPS}.mean",),
    ),
    keyed("KFold", lambda a: _kfold(a, 2)),
    keyed("StratifiedShuffleSplit", _stratified),
    keyed("a slice of a split", lambda a: [a.iloc[i::3] for i in range(3)][1]),
    keyed("random split by mask", lambda a: a[np.random.default_rng(0).random(len(a)) < 0.6]),
    keyed("sample weights", lambda a: a.sample(5, weights="o", random_state=0)),
    keyed(
        "sample n ignore_index",
        lambda a: a.sample(20, replace=True, random_state=2, ignore_index=True),
    ),
    keyed("permutation", lambda a: a.iloc[np.random.default_rng(3).permutation(len(a))]),
]


@pytest.mark.parametrize("case", AGGREGATES + PER_ROW, ids=lambda case: case.name)
def test_the_members_of_every_row_are_found(case):
    check(case)
