"""Odd corners: every kind of index, sharp ways to assign, turned frames, frames of nothing."""

import numpy as np
import pandas as pd
import pytest

from tests.oracle.pandas_capture_oracle import (
    Case,
    check,
    key_of,
    rows_of_key_lists,
    rows_of_keys,
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


def on(make_index):
    """The plain frame on another index."""

    def frames():
        a = plain()["a"]
        a.index = make_index()
        return {"a": a}

    return frames


def pair(shuffle_b=False):
    def frames():
        a = plain()["a"].rename(columns={"o": "pa"})
        b = pd.DataFrame({"pb": key_of("b", np.arange(N)), "y": np.arange(N) * 1.5, "z": 0.5})
        if shuffle_b:
            b.index = np.random.default_rng(1).permutation(N)
        return {"a": a, "b": b}

    return frames


INDEXES = {
    "categories": lambda: pd.CategoricalIndex(list("abcdefghij"), ordered=True),
    "repeated categories": lambda: pd.CategoricalIndex(list("aabbccddee")),
    "intervals": lambda: pd.interval_range(0, N),
    "periods": lambda: pd.period_range("2024-01", periods=N, freq="M"),
    "time differences": lambda: pd.timedelta_range("1h", periods=N, freq="h"),
    "zoned dates": lambda: pd.date_range("2024-03-30", periods=N, freq="h", tz="Europe/Oslo"),
    "dates without order": lambda: pd.DatetimeIndex(
        np.random.default_rng(0).permutation(pd.date_range("2024-01-01", periods=N))
    ),
    "floats": lambda: pd.Index(np.arange(N) / 4),
    "booleans": lambda: pd.Index([True, False] * (N // 2)),
    "mixed": lambda: pd.Index([1, "a", 2.5, None, (1, 2), "b", 7, "c", 8, "d"], dtype=object),
    "gaps": lambda: pd.Index([0.0, np.nan, 2, 3, np.nan, 5, 6, 7, 8, 9]),
    "nullable": lambda: pd.Index(pd.array([3, None, 1, 2, 5, 4, 7, 6, 9, 8], dtype="Int64")),
    "texts": lambda: pd.Index(list("zyxwvutsrq"), name="letter"),
    "numbers as a range, reversed": lambda: pd.RangeIndex(N, 0, -1),
    "three levels": lambda: pd.MultiIndex.from_product([[1, 2], list("ab"), [0, 1, 2]])[:N],
    "levels with gaps": lambda: pd.MultiIndex.from_arrays([[1, None] * (N // 2), range(N)]),
}
VERBS = {
    "mask": lambda a: a[a.v > 0],
    "reversed": lambda a: a[::-1],
    "sorted": lambda a: a.sort_values("v"),
    "taken": lambda a: a.iloc[[3, 1, 1]],
    "concat": lambda a: pd.concat([a, a.head(2)]),
    "dropped": lambda a: a.drop_duplicates("k"),
    "reset": lambda a: a.iloc[2:].reset_index(),
    "reset, dropped": lambda a: a.sample(5, random_state=0).reset_index(drop=True),
    "group head": lambda a: a.groupby("k").head(1),
    "arithmetic": lambda a: a.assign(z=a.v + a.w * a.k),
    "shifted": lambda a: a.shift(1),
    "two columns": lambda a: pd.concat([a[["o"]], a[["v"]] * 2], axis=1),
    "T twice": lambda a: a.T.T.astype({"o": "int64"}),
    "set in place": lambda a: (lambda d: (d.loc.__setitem__((d.k == 1, "v"), 0.0), d)[1])(a.copy()),
    "looked at": lambda a: (a, a.index.tolist()[0], a.index.name, len(a.index.unique()), repr(a)),
}
KINDS = [
    Case(f"{verb} on {name}", VERBS[verb], {"a": "o"}, frames=on(INDEXES[name]))
    for name in INDEXES
    for verb in VERBS
]


def changed(change, frames=pair(), **more):  # noqa: B008  (a factory, called once)
    """A copy of ``a`` that is changed with the help of ``b``."""

    def run(a, b):
        copy = a.copy()
        change(copy, b)
        return copy

    return {"run": run, "frames": frames, **more}


def from_b(rows):
    """Parents of ``b`` for each row: a mapping of the row to one row, none for the rest."""
    return lambda f, r: {"b": [{rows[i]} if i in rows else set() for i in range(N)]}


LABELS_B = np.random.default_rng(1).permutation(N)
AT_LABEL = {label: row for row, label in enumerate(LABELS_B.tolist())}
SAME = {i: i for i in range(N)}
ONES = [0, 3, 6, 9]

ASSIGN = [
    Case(
        "loc[:, c] by labels",
        keys={"a": "pa"},
        expect=from_b(AT_LABEL),
        **changed(lambda d, b: d.loc.__setitem__((slice(None), "v"), b.y), pair(shuffle_b=True)),
    ),
    Case(
        "iloc[:, c] by position",
        keys={"a": "pa"},
        expect=from_b(SAME),
        **changed(lambda d, b: d.iloc.__setitem__((slice(None), 2), b.y), pair(shuffle_b=True)),
    ),
    Case(
        "iloc of a mask",
        keys={"a": "pa"},
        expect=from_b(dict(zip(ONES, [4, 5, 6, 7], strict=True))),
        **changed(lambda d, b: d.iloc.__setitem__(((d.k == 1).to_numpy(), 2), b.y.iloc[4:8])),
    ),
    Case(
        "loc of a mask and columns",
        keys={"a": "pa"},
        expect=from_b({i: i for i in ONES}),
        **changed(
            lambda d, b: d.loc.__setitem__(
                (d.k == 1, ["v", "w"]), b.rename(columns={"y": "v", "z": "w"})
            )
        ),
    ),
    Case(
        "loc of labels",
        keys={"a": "pa"},
        expect=from_b({2: 2, 5: 5}),
        **changed(lambda d, b: d.loc.__setitem__(([5, 2], "v"), b.y)),
    ),
    Case(
        "a mask of rows and a frame",
        keys={"a": "pa"},
        expect=from_b(SAME),
        **changed(
            lambda d, b: d[["v", "w"]].pipe(
                lambda e: d.update(e.where(d.k != 1, b.rename(columns={"y": "v", "z": "w"})))
            )
        ),
    ),
    Case(
        "isetitem",
        keys={"a": "pa"},
        expect=from_b(SAME),
        **changed(lambda d, b: d.isetitem(2, b.y)),
    ),
    Case(
        "attribute",
        keys={"a": "pa"},
        expect=from_b(SAME),
        **changed(lambda d, b: setattr(d, "v", b.y)),
    ),
    Case(
        "augmented",
        keys={"a": "pa"},
        expect=from_b(SAME),
        **changed(lambda d, b: d.__setitem__("v", d.v.__iadd__(b.y))),
    ),
    Case(
        "frame augmented",
        keys={"a": "pa"},
        expect=from_b(SAME),
        **changed(
            lambda d, b: d.__setitem__(
                ["v"], d[["v"]].__iadd__(b[["y"]].rename(columns={"y": "v"}))
            )
        ),
    ),
    Case(
        "numpy out",
        keys={"a": "pa"},
        expect=from_b(SAME),
        **changed(lambda d, b: d.__setitem__("v", np.add(d.v, b.y))),
    ),
    Case(
        "case_when",
        keys={"a": "pa"},
        expect=from_b(SAME),
        **changed(lambda d, b: d.__setitem__("v", d.v.case_when([(b.y > 3, b.y)]))),
    ),
    Case(
        "a row of the other",
        keys={"a": "pa"},
        context={"b": {3}},
        **changed(lambda d, b: d.loc.__setitem__((2, "v"), b.loc[3, "y"])),
    ),
    Case(
        "series update",
        keys={"a": "pa"},
        expect=from_b({2: 2, 3: 3}),
        **changed(
            lambda d, b: d.__setitem__("v", (lambda s: (s.update(b.y.iloc[2:4]), s)[1])(d.v.copy()))
        ),
    ),
    Case(
        "twice",
        keys={"a": "pa"},
        expect=from_b(SAME),
        **changed(lambda d, b: (d.__setitem__("q", b.y), d.__setitem__("r", b.z))),
    ),
    Case(
        "sorted and put back by label",
        keys={"a": "pa"},
        expect=from_b(SAME),
        **changed(lambda d, b: d.__setitem__("q", b.y.sort_values(ascending=False))),
    ),
    Case(
        "sorted and put back by position",
        lambda a: a.assign(q=a.o.sort_values(ascending=False, ignore_index=True)),
        expect=lambda f, r: {"a": [{i} | rows_of_keys("a", [q])[0] for i, q in enumerate(r.q)]},
        frames=plain,
    ),
]

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


@pytest.mark.parametrize(
    "case", KINDS + ASSIGN + TURNED + NOTHING + MORE, ids=lambda case: case.name
)
def test_odd_corners_are_exact_too(case):
    check(case)
