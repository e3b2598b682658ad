"""One frame: filters, order, labels, in-place changes."""

import numpy as np
import pandas as pd
import pytest

from tests.oracle.pandas_capture_oracle import Case, check, frames_a, key_of, rows_of_keys

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning"),
]

N = 12
EVERY = set(range(N))


def repeated_labels():
    """A frame whose labels repeat, with a name."""
    a = frames_a()["a"]
    a.index = pd.Index(list("aabbccddeeff"), name="label")
    return {"a": a}


def dated():
    """A frame with a date index that has a frequency."""
    a = frames_a()["a"]
    a.index = pd.date_range("2024-01-01", periods=N, freq="D", name="day")
    return {"a": a}


def two_levels():
    """A frame with two levels of labels."""
    a = frames_a()["a"]
    a.index = pd.MultiIndex.from_product([list("xyz"), range(4)], names=["u", "w"])
    return {"a": a}


def numbered():
    """A frame with integer labels in no order, as a filter leaves them."""
    a = frames_a()["a"]
    a.index = pd.Index([7, 3, 11, 0, 5, 1, 9, 2, 10, 4, 8, 6])
    return {"a": a}


def keyed(name, run, **more):
    return Case(name, run, {"a": "o"}, **more)


def in_place(change):
    def run(a):
        copy = a.copy()
        change(copy)
        return copy

    return run


SELECT = [
    keyed("loc slice", lambda a: a.loc[2:5]),
    keyed("loc bool list", lambda a: a.loc[[True, False] * 6]),
    keyed("loc callable", lambda a: a.loc[lambda d: d.k == 1, ["o", "v"]]),
    keyed("iloc list", lambda a: a.iloc[[3, -1, 3, 0]]),
    keyed("iloc slice and column", lambda a: a.iloc[2:9:3, :2]),
    keyed("iloc bool array", lambda a: a.iloc[(a.k == 1).to_numpy()]),
    keyed("nullable mask", lambda a: a[(a.v > 0).astype("boolean").where(a.k != 1)]),
    keyed("filter items", lambda a: a.filter(items=[5, 2], axis=0)),
    keyed("filter regex", lambda a: a.set_index("s", drop=False).filter(regex="1", axis=0)),
    keyed("truncate", lambda a: a.truncate(3, 6)),
    keyed("tail", lambda a: a.tail(4)),
    keyed("nsmallest", lambda a: a.nsmallest(4, ["k", "v"])),
    keyed("between", lambda a: a[a.v.between(-1, 0.5)]),
    keyed("isin a list", lambda a: a[a.k.isin([0, 2])]),
    keyed("str.contains", lambda a: a[a.s.str.contains("1")]),
    keyed("drop by mask", lambda a: a.drop(a.index[a.k == 1])),
    keyed("drop labels", lambda a: a.drop(index=[3, 4], columns="v")),
    keyed("query with a local", lambda a: (lambda low: a.query("v > @low and k != 1"))(-0.5)),
    keyed("query of the index", lambda a: a.query("index % 2 == 0")),
    keyed("query with a statistic", lambda a: a.query("v > v.mean()"), statistics=("Series.mean",)),
    keyed("drop_duplicates last", lambda a: a.drop_duplicates("k", keep="last")),
    keyed("drop_duplicates none", lambda a: a.drop_duplicates(["k", "s"], keep=False)),
    keyed("drop_duplicates ignore_index", lambda a: a.drop_duplicates("k", ignore_index=True)),
    keyed("not duplicated", lambda a: a[~a.k.duplicated()], statistics=("Series.duplicated",)),
    keyed("dropna subset", lambda a: a.dropna(subset=["v"], ignore_index=True)),
    keyed("dropna thresh", lambda a: a.dropna(thresh=4)),
    keyed("take negative", lambda a: a.take([-1, 0, -2])),
    keyed("xs", lambda a: a.set_index("k", drop=False).xs(1)),
    keyed("squeeze and pop", in_place(lambda a: a.pop("v"))),
    keyed("where the group is largest", lambda a: a[a.v == a.groupby("k").v.transform("max")]),
    keyed("empty", lambda a: a[a.v > 100]),
    keyed("of an empty frame", lambda a: a.head(0).sort_values("v").reset_index(drop=True)),
    keyed("np.where positions", lambda a: a.iloc[np.where(a.k == 1)[0]]),
    keyed("compress", lambda a: a.loc[np.asarray(a.k == 2)]),
]

ORDER = [
    keyed("sort_values of several", lambda a: a.sort_values(["k", "v"], ascending=[False, True])),
    keyed("sort_values key", lambda a: a.sort_values("s", key=lambda s: s.str[1:].astype(int) % 5)),
    keyed("sort_values na first", lambda a: a.sort_values("v", na_position="first")),
    keyed("sort_index after shuffle", lambda a: a.sample(frac=1, random_state=0).sort_index()),
    keyed("argsort", lambda a: a.iloc[a.v.argsort()], statistics=("Series.argsort",)),
    keyed("reversed loc", lambda a: a.loc[::-1]),
    keyed("sort of a series", lambda a: a.loc[a.v.sort_values().index]),
    keyed(
        "rank and sort",
        lambda a: a.assign(r=a.v.rank()).sort_values("r"),
        statistics=("Series.rank",),
    ),
    keyed("reindex with new labels", lambda a: a.reindex([3, 99, 1, 100])),
    keyed("reindex a filtered frame", lambda a: a[a.k == 1].reindex(range(N))),
    keyed(
        "reindex rows and columns",
        lambda a: a[["o", "k"]].reindex(index=[5, 1], columns=["k", "o", "z"]),
    ),
    keyed("reindex_like", lambda a: a.reindex_like(a.iloc[::-2])),
    keyed("shift down", lambda a: a.shift(-2)),
    keyed(
        "shift with fill",
        lambda a: (
            a[["o"]].shift(1, fill_value=1000 + 7 * 11).assign(o=lambda d: d.o.where(d.index > 0))
        ),
    ),
    keyed("shift of columns", lambda a: a[["o", "k"]].assign(x=0).shift(1, axis=1).assign(o=a.o)),
    Case(
        "shift beside the value",
        lambda a: a.assign(p=a.o.shift(1)),
        expect=lambda f, r: {"a": [{i} | ({i - 1} if i else set()) for i in range(N)]},
    ),
    Case(
        "several shifts",
        lambda a: a[["o"]].shift([0, 1]),
        expect=lambda f, r: {"a": [{i} | ({i - 1} if i else set()) for i in range(N)]},
    ),
    Case(
        "difference to the row before",
        lambda a: (a.v - a.v.shift(1)).to_frame(),
        expect=lambda f, r: {"a": [{i} | ({i - 1} if i else set()) for i in range(N)]},
    ),
]

LABELS = [
    keyed("set_index", lambda a: a.set_index("s")),
    keyed("set_index of two", lambda a: a.set_index(["k", "s"]).sort_index().loc[1]),
    keyed("set_index append", lambda a: a.set_index("k", append=True).swaplevel().sort_index()),
    keyed("set_index kept", lambda a: a.set_index("s", drop=False).reset_index(drop=True)),
    keyed("reset_index", lambda a: a.sample(5, random_state=0).reset_index()),
    keyed("reset_index names", lambda a: a.reset_index(names="row")),
    keyed("set_axis", lambda a: a.set_axis(list("abcdefghijkl")).loc[["c", "a"]]),
    keyed("index assigned", in_place(lambda a: setattr(a, "index", a.index[::-1]))),
    keyed("index from another order", lambda a: a.sort_values("v").set_axis(a.index)),
    keyed("index assigned and realigned", lambda a: a.set_axis(a.index[::-1]).sort_index()),
    keyed("rename rows", lambda a: a.rename(index=lambda i: i + 100).loc[[105, 101]]),
    keyed("rename_axis", lambda a: a.rename_axis("id").reset_index()),
    keyed("add_prefix", lambda a: a.add_prefix("r", axis=0)),
    keyed("droplevel", lambda a: a.droplevel("w"), frames=two_levels),
    keyed("reorder_levels", lambda a: a.reorder_levels(["w", "u"]).sort_index(), frames=two_levels),
    keyed("loc of a level", lambda a: a.loc["y"], frames=two_levels),
    keyed("xs of a level", lambda a: a.xs(2, level="w"), frames=two_levels),
    keyed("IndexSlice", lambda a: a.loc[pd.IndexSlice[:, 1:2], :], frames=two_levels),
    keyed(
        "sort and mask of levels",
        lambda a: a.sort_index(level="w", ascending=False).loc[lambda d: d.k < 2],
        frames=two_levels,
    ),
    keyed("reset of a level", lambda a: a.reset_index("w").loc["z"], frames=two_levels),
    keyed("repeated labels filtered", lambda a: a[a.v > 0], frames=repeated_labels),
    keyed("repeated labels, loc", lambda a: a.loc["c"], frames=repeated_labels),
    keyed("repeated labels, loc list", lambda a: a.loc[["c", "a"]], frames=repeated_labels),
    keyed("repeated labels sorted", lambda a: a.sort_values("v").iloc[2:], frames=repeated_labels),
    keyed(
        "repeated labels, own arithmetic",
        lambda a: a.assign(z=a.v * a.k + a.o),
        frames=repeated_labels,
    ),
    keyed(
        "repeated labels stacked",
        lambda a: pd.concat([a, a[::-1]]).drop("b"),
        frames=repeated_labels,
    ),
    keyed(
        "repeated labels, concat axis=1",
        lambda a: pd.concat([a[["o"]], a[["v"]]], axis=1),
        frames=repeated_labels,
    ),
    keyed(
        "repeated labels exploded",
        lambda a: a.assign(l=[[1, 2]] * N).explode("l"),
        frames=repeated_labels,
    ),
    keyed("dates sliced", lambda a: a.loc["2024-01-03":"2024-01-06"], frames=dated),
    keyed("dates reversed", lambda a: a[::-1].iloc[:5], frames=dated),
    keyed("dates shifted", lambda a: a.shift(1, freq="D"), frames=dated),
    keyed(
        "dates reindexed", lambda a: a.reindex(pd.date_range("2023-12-30", periods=8)), frames=dated
    ),
    keyed(
        "dates asof",
        lambda a: a.asof(pd.to_datetime(["2024-01-02 12:00", "2024-01-05 00:00"])),
        frames=dated,
    ),
    keyed("labels in no order", lambda a: a.sort_index().reset_index(drop=True), frames=numbered),
    keyed("labels in no order, loc", lambda a: a.loc[[5, 0]].reset_index(), frames=numbered),
    keyed("labels in no order, dropped", lambda a: a.drop([5, 0]).dropna(), frames=numbered),
    keyed("labels in no order, positions", lambda a: a.iloc[[5, 0, 5]], frames=numbered),
    keyed("insert a label", lambda a: a.reindex(a.index.insert(1, 50)), frames=numbered),
]

IN_PLACE = [
    keyed(
        "sort_values inplace ignore_index",
        in_place(lambda a: a.sort_values("v", inplace=True, ignore_index=True)),
    ),
    keyed("dropna inplace", in_place(lambda a: a.dropna(inplace=True))),
    keyed("drop_duplicates inplace", in_place(lambda a: a.drop_duplicates("k", inplace=True))),
    keyed(
        "reset_index inplace",
        in_place(lambda a: (a.sort_values("v", inplace=True), a.reset_index(inplace=True))),
    ),
    keyed("set_index inplace", in_place(lambda a: a.set_index("s", inplace=True))),
    keyed("query inplace", in_place(lambda a: a.query("v > 0", inplace=True))),
    keyed("drop inplace", in_place(lambda a: a.drop([1, 2], inplace=True))),
    keyed("fillna inplace", in_place(lambda a: a.fillna({"v": 0.0}, inplace=True))),
    keyed("loc of a mask", in_place(lambda a: a.loc.__setitem__((a.v > 0, "v"), 1.5))),
    keyed(
        "loc of a mask, own values", in_place(lambda a: a.loc.__setitem__((a.k == 1, "v"), a.v * 2))
    ),
    keyed(
        "del and rename",
        in_place(lambda a: (a.__delitem__("v"), a.rename(columns={"k": "z"}, inplace=True))),
    ),
    keyed("a boolean frame", in_place(lambda a: a.__setitem__(a.isna(), 0))),
    keyed("index name", in_place(lambda a: setattr(a.index, "name", "row"))),
    keyed("eval inplace", in_place(lambda a: a.eval("z = v * 2", inplace=True))),
    keyed(
        "at and iat",
        in_place(lambda a: (a.at.__setitem__((1, "v"), 9.0), a.iat.__setitem__((2, 2), 8.0))),
    ),
    keyed(
        "a new row",
        lambda a: (lambda d: (d.loc.__setitem__(99, [np.nan, 0, 1.0, "new"]), d)[1])(a.copy()),
    ),
]


@pytest.mark.parametrize(
    "case",
    SELECT + ORDER + LABELS + IN_PLACE,
    ids=lambda case: case.name,
)
def test_rows_of_one_frame_are_followed_exactly(case):
    check(case)


def test_keys_name_their_rows():
    assert rows_of_keys("a", [1000, np.nan, 1014]) == [{0}, set(), {2}]
    assert key_of("b", 1) == 5007
