"""Odd corners: turned frames, frames of nothing, long chains."""

import numpy as np
import pandas as pd
import pytest

from tests.oracle.pandas_capture_oracle import (
    Case,
    check,
    key_of,
    rows_of_key_lists,
)

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning"),
]

N = 10


def plain():
    rng = np.random.default_rng(3)
    a = pd.DataFrame(
        {
            "o": key_of("a", np.arange(N)),
            "k": [1, 0, 2, 1, 0, 2, 1, 0, 2, 1],
            "v": rng.normal(size=N).round(3),
            "w": rng.normal(size=N).round(3),
        }
    )
    return {"a": a}


def pair(shuffle_b=False):
    def frames():
        a = plain()["a"].rename(columns={"o": "pa"})
        b = pd.DataFrame({"pb": key_of("b", np.arange(N)), "y": np.arange(N) * 1.5, "z": 0.5})
        if shuffle_b:
            b.index = np.random.default_rng(1).permutation(N)
        return {"a": a, "b": b}

    return frames


TURNED = [
    Case(
        "grouped columns",
        lambda a: a[["o", "v", "w"]].T.groupby(["o", "m", "m"]).sum().T,
        {"a": "o"},
        frames=plain,
    ),
    Case(
        "mean of turned columns",
        lambda a: a[["v", "w"]].T.mean().to_frame().assign(o=a.o),
        {"a": "o"},
        frames=plain,
    ),
    Case(
        "means of rows",
        lambda a: a[["v", "w"]].mean(axis=1).to_frame(),
        expect=lambda f, r: {"a": [{i} for i in range(N)]},
        frames=plain,
    ),
    Case(
        "turned means",
        lambda a: a[["v", "w"]].T.mean(),
        expect=lambda f, r: {"a": [{i} for i in range(N)]},
        frames=plain,
    ),
    Case(
        "turned and sorted",
        lambda a: a[["o", "v"]].T.sort_values("v", axis=1).T,
        {"a": "o"},
        frames=plain,
    ),
    Case(
        "turned and filtered",
        lambda a: a[["o", "v"]].T.loc[:, (a.v > 0).to_numpy()].T,
        {"a": "o"},
        frames=plain,
    ),
    Case(
        "turned, reset and back",
        lambda a: a[["o", "v"]].T.reset_index(drop=True).T.set_axis(["o", "v"], axis=1),
        {"a": "o"},
        frames=plain,
    ),
    Case(
        "turned and concatenated",
        lambda a: pd.concat([a[["o", "v"]].head(3).T, a[["o", "v"]].tail(2).T], axis=1).T,
        {"a": "o"},
        frames=plain,
    ),
    Case(
        "correlation of rows",
        lambda a: a[["v", "w", "k"]].T.corr(),
        expect=lambda f, r: {"a": [{i} for i in range(N)]},
        frames=plain,
        statistics=("columns",),
    ),
    Case(
        "unstack of a frame",
        lambda a: a[["o", "v"]].unstack().loc["o"].to_frame("o"),
        {"a": "o"},
        frames=plain,
    ),
    Case(
        "unstack of a group-by of levels",
        lambda a: a.groupby(["k", a.o % 2]).v.sum().unstack(0).stack().reset_index(),
        expect=lambda f, r: {"a": [set(np.flatnonzero(f["a"].o % 2 == o)) for o in r.o]},
        frames=plain,
    ),
    Case(
        "a series of rows",
        lambda a: pd.DataFrame([a.v, a.w]).T.assign(o=a.o),
        {"a": "o"},
        frames=plain,
    ),
    Case(
        "describe, turned",
        lambda a: a.groupby("k").v.describe().T,
        context={"a": set(range(N))},
        frames=plain,
    ),
]

NOTHING = [
    Case("no columns", lambda a: a[[]].assign(o=a.o), {"a": "o"}, frames=plain),
    Case("no columns, filtered", lambda a: a[[]][a.v > 0].join(a[["o"]]), {"a": "o"}, frames=plain),
    Case("no rows", lambda a: a.head(0), {"a": "o"}, frames=plain),
    Case("no rows joined", lambda a: a.head(0).merge(a[["k"]], on="k"), {"a": "o"}, frames=plain),
    Case(
        "no rows grouped",
        lambda a: a.head(0).groupby("k").o.agg(list),
        expect=lambda f, r: {"a": []},
        frames=plain,
    ),
    Case(
        "no groups of a condition",
        lambda a: a.groupby("k").filter(lambda g: False),
        {"a": "o"},
        frames=plain,
    ),
    Case(
        "concat of no rows", lambda a: pd.concat([a.head(0), a.tail(0)]), {"a": "o"}, frames=plain
    ),
    Case("one row", lambda a: a.nlargest(1, "v").reset_index(drop=True), {"a": "o"}, frames=plain),
    Case(
        "repeated column names",
        lambda a: pd.concat([a, a[["v"]]], axis=1).sort_values("k", kind="stable"),
        {"a": "o"},
        frames=plain,
    ),
]


def _group_after_change(a, b):
    a = a.copy()
    groups = a.groupby("k")
    a["y"] = b.y
    return groups[["pa", "y"]].agg(list)


def _loop(a):
    for i in range(30):
        a = a.assign(**{f"c{i}": i}).sample(frac=1, random_state=i)
    return a


MORE = [
    Case(
        "a group-by made before a change",
        _group_after_change,
        expect=lambda f, r: (
            {"a": rows_of_key_lists("a", r.pa), "b": [{int(y / 1.5) for y in ys} for ys in r.y]}
            if "y" in r
            else {}
        ),
        frames=pair(),
        unknown=("a", "b"),
        fidelity="unknown",
    ),
    Case(
        "rolling on a column",
        lambda a: (
            a.assign(t=pd.date_range("2024-01-01", periods=N))
            .rolling("3D", on="t")[["v"]]
            .sum()
            .assign(o=a.o)
        ),
        {"a": "o"},
        frames=plain,
        statistics=("Rolling.sum",),
    ),
    Case(
        "resample list of functions",
        lambda a: (
            a.set_index(pd.date_range("2024-01-01", periods=N, freq="6h"))
            .resample("D")
            .v.agg(["mean", "max"])
        ),
        expect=lambda f, r: {"a": [set(range(4)), set(range(4, 8)), {8, 9}]},
        frames=plain,
    ),
    Case(
        "resample ohlc",
        lambda a: (
            a.set_index(pd.date_range("2024-01-01", periods=N, freq="6h")).v.resample("D").ohlc()
        ),
        expect=lambda f, r: {"a": [set(range(4)), set(range(4, 8)), {8, 9}]},
        frames=plain,
    ),
    Case(
        "resample transform",
        lambda a: a.set_index(pd.date_range("2024-01-01", periods=N, freq="6h")).pipe(
            lambda d: d.assign(m=d.resample("D").v.transform("mean"))
        ),
        {"a": "o"},
        frames=plain,
    ),
    Case(
        "grouped resample",
        lambda a: (
            a.set_index(pd.date_range("2024-01-01", periods=N, freq="6h"))
            .groupby("k")
            .resample("2D")
            .o.agg(list)
        ),
        expect=lambda f, r: {"a": rows_of_key_lists("a", r)},
        frames=plain,
    ),
    Case(
        "expanding by group",
        lambda a: a.assign(z=a.groupby("k").v.expanding().sum().droplevel(0)),
        {"a": "o"},
        frames=plain,
    ),
    Case(
        "quantile by group and mask",
        lambda a: a[a.v > a.groupby("k").v.transform("median")],
        {"a": "o"},
        frames=plain,
    ),
    Case(
        "nested groups",
        lambda a: pd.concat([g.assign(r=g.v.rank()) for _, g in a.groupby("k")]).sort_index(),
        {"a": "o"},
        frames=plain,
    ),
    Case(
        "group-by apply, nlargest",
        lambda a: (
            a.groupby("k")[["o", "v"]].apply(lambda g: g.nlargest(2, "v")).reset_index(level=0)
        ),
        {"a": "o"},
        frames=plain,
    ),
    Case(
        "pivot and melt back",
        lambda a: a.pivot(index="o", columns="k", values="v").reset_index().melt(id_vars="o"),
        {"a": "o"},
        frames=plain,
    ),
    Case(
        "reduce by merging",
        lambda a: a.merge(a[["o", "v"]].rename(columns={"v": "v2"}), on="o").merge(
            a[["o", "w"]].rename(columns={"w": "w2"}), on="o"
        ),
        {"a": "o"},
        frames=plain,
    ),
    Case(
        "a loop of changes",
        _loop,
        {"a": "o"},
        frames=plain,
    ),
    Case(
        "concat in a loop",
        lambda a: (
            lambda d: [d := pd.concat([d, a.iloc[[i]]], ignore_index=True) for i in range(N)][-1]
        )(a.head(0)),
        {"a": "o"},
        frames=plain,
    ),
    Case("where of the labels", lambda a: a.loc[np.where(a.v > 0)[0]], {"a": "o"}, frames=plain),
    Case(
        "sorted by labels of another sort",
        lambda a: a.loc[a.w.sort_values().index],
        {"a": "o"},
        frames=plain,
    ),
    Case(
        "lag by self-merge",
        lambda a: a.assign(n=a.index + 1).merge(
            a[["o"]].rename(columns={"o": "prev"}), left_on="n", right_index=True
        ),
        expect=lambda f, r: {"a": [{i, i + 1} for i in range(N - 1)]},
        frames=plain,
    ),
]


@pytest.mark.parametrize("case", TURNED + NOTHING + MORE, ids=lambda case: case.name)
def test_odd_corners_are_exact_too(case):
    check(case)
