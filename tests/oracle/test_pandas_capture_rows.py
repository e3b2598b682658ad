"""One frame: filters, order, labels, in-place changes, and everything a function may look at."""

import io
import pickle

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


def looking(a):
    """Do what people do to see a frame."""
    d = a[a.v > 0]
    c = pd.concat([d, d.head(2)])
    seen = (
        a.index.tolist(),
        d.index.tolist(),
        c.index.tolist(),
        a.index.name,
        d.index.names[0],
        type(a.index),
        type(d.index),
        type(c.index),
        a.loc[0, "s"],
        a.loc[3].tolist(),
        a.iloc[-1]["o"],
        a.at[1, "s"],
        a.iat[2, 0],
        len(a),
        len(c),
        a.shape,
        a.empty,
        c.duplicated().tolist(),
        c.index.is_unique,
        a.index.equals(pd.RangeIndex(N)),
        a.reset_index().columns.tolist(),
        c.reset_index()["index"].tolist(),
        repr(a),
        repr(c),
        str(a.dtypes),
        a.describe().to_string(),
        a.index.to_list() == list(range(N)),
        a.columns.tolist(),
        a[["k", "s"]].to_dict("list"),
        a.to_csv(),
        a.head(2).to_json(),
        a.attrs,
        a.flags.allows_duplicate_labels,
        3 in a.index,
        a.index[2],
        a.index[-1],
        a.index.is_monotonic_increasing,
        a.index.memory_usage(),
        a.memory_usage().sum(),
        a.groupby("k").groups[0].tolist(),
        a.groupby("k").indices[0].tolist(),
        [name for name, _ in a.groupby("k")],
        [row.o for row in a.itertuples()],
        [label for label, _ in a.iterrows()],
        a.T.index.tolist(),
        a.equals(a.copy()),
        a.index is a.index,
        a.v.index.is_(a.index),
        a[["v"]].index.is_(a.index),
        a.isna().sum().tolist(),
        a.k.value_counts().to_dict(),
        a.k.unique().tolist(),
        a.nunique().to_dict(),
        a.corr(numeric_only=True).loc["o", "k"],
        a.v.quantile([0.1, 0.9]).tolist(),
        pickle.loads(pickle.dumps(a)).index.tolist(),
        a.select_dtypes("number").shape,
        hash(tuple(a.index)),
        a.index.rename("z").name,
        a.rename_axis("z").index.name,
        a.index.name,
    )
    return (d, *seen)


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

PER_ROW = [
    keyed("assign of functions", lambda a: a.assign(y=lambda d: d.v * 2, z=lambda d: d.y + 1)),
    keyed("apply axis=1", lambda a: a.assign(z=a.apply(lambda r: r.k + r.o, axis=1))),
    keyed(
        "apply axis=1 to frames",
        lambda a: a.apply(lambda r: pd.Series({"o": r.o, "z": r.k * 2}), axis=1),
    ),
    keyed(
        "apply axis=1, list", lambda a: a.assign(z=a.apply(lambda r: [r.k], axis=1)).explode("z")
    ),
    keyed("map and replace", lambda a: a.assign(k=a.k.replace({0: 9}), s=a.s.map(str.upper))),
    keyed(
        "str and dt",
        lambda a: a.assign(t=pd.to_datetime("2024-01-01"), s=a.s.str.zfill(4)).assign(
            m=lambda d: d.t.dt.month
        ),
    ),
    keyed("str.split expand", lambda a: a.join(a.s.str.split("s", expand=True))),
    keyed("str.extract", lambda a: a.join(a.s.str.extract(r"(\d+)"))),
    keyed("numpy ufuncs", lambda a: a.assign(z=np.log1p(a.v.abs()), y=np.sqrt(a.o))),
    keyed("pipe", lambda a: a.pipe(lambda d, n: d.head(n), 4)),
    keyed("where and mask", lambda a: a.assign(v=a.v.where(a.v > 0, 0).mask(a.k == 1))),
    keyed("clip and round", lambda a: a.assign(v=a.v.clip(-0.5, 0.5).round(1))),
    keyed("fillna of the mean", lambda a: a.fillna({"v": a.v.mean()}), statistics=("Series.mean",)),
    keyed(
        "standardised",
        lambda a: a.assign(v=(a.v - a.v.mean()) / a.v.std()),
        statistics=("Series.mean", "Series.std"),
    ),
    keyed(
        "standardised frame",
        lambda a: a[["o"]].join(a[["v", "k"]].sub(a[["v", "k"]].mean())),
        statistics=("DataFrame.mean",),
    ),
    keyed("numpy mean", lambda a: a.assign(v=a.v - np.mean(a.v)), statistics=("Series.mean",)),
    keyed(
        "numpy percentile",
        lambda a: a[a.o > np.percentile(a.o, 20)],
        statistics=("Series.__array__",),
    ),
    keyed("qcut", lambda a: a.assign(q=pd.qcut(a.o, 4, labels=False)), statistics=("qcut",)),
    keyed("cut at edges", lambda a: a.assign(q=pd.cut(a.v, [-9, 0, 9]))),
    keyed(
        "rolling sum of a frame",
        lambda a: a[["o"]].join(a[["v"]].rolling(2).sum()),
        statistics=("Rolling.sum",),
    ),
    keyed("expanding", lambda a: a.assign(z=a.v.expanding().max()), statistics=("Expanding.max",)),
    keyed(
        "ewm", lambda a: a.assign(z=a.v.ewm(2).mean()), statistics=("ExponentialMovingWindow.mean",)
    ),
    keyed("cumsum", lambda a: a.assign(z=a.v.cumsum()), statistics=("Series.cumsum",)),
    keyed("ffill", lambda a: a.assign(v=a.v.ffill()), statistics=("pad_or_backfill",)),
    keyed("interpolate", lambda a: a.assign(v=a.v.interpolate()), statistics=("interpolate",)),
    keyed("diff", lambda a: a.assign(d=a.v.diff()), statistics=("Series.diff",)),
    keyed("rank pct", lambda a: a.assign(r=a.v.rank(pct=True)), statistics=("Series.rank",)),
    keyed(
        "factorize", lambda a: a.assign(c=pd.factorize(a.s)[0]), statistics=("Series.factorize",)
    ),
    keyed("categorical", lambda a: a.assign(c=pd.Categorical(a.s)), statistics=("Categorical",)),
    keyed(
        "np.where", lambda a: a.assign(f=np.where(a.v > 0, 1, 0)), statistics=("Series.__array__",)
    ),
    keyed(
        "divided by the first row",
        lambda a: a.assign(z=a.o / a.o.iloc[0]),
        statistics=("Series.iloc",),
    ),
    keyed(
        "minus a row",
        lambda a: a[["o"]].join(a[["k", "v"]] - a[["k", "v"]].iloc[3]),
        statistics=("DataFrame.iloc",),
    ),
    keyed(
        "column apply",
        lambda a: a[["o"]].join(a[["v"]].apply(lambda s: s - s.min())),
        statistics=("DataFrame.apply",),
    ),
    keyed(
        "a list of values",
        lambda a: a.assign(z=[x * 2 for x in a.v]),
        statistics=("Series.__iter__",),
    ),
    keyed(
        "a function over two columns",
        lambda a: a.assign(z=[x + y for x, y in zip(a.o, a.k, strict=True)]),
    ),
    keyed(
        "get_dummies of a series",
        lambda a: a.join(pd.get_dummies(a.k, prefix="k")),
        statistics=("get_dummies",),
    ),
    keyed(
        "to_numeric and to_datetime",
        lambda a: a.assign(n=pd.to_numeric(a.s.str[1:]), t=pd.to_datetime(a.o, unit="D")),
    ),
    keyed("convert_dtypes", lambda a: a.convert_dtypes().dropna()),
    keyed(
        "chain",
        lambda a: (
            a.dropna().query("k > 0").sort_values("v").assign(z=1).reset_index(drop=True).tail(3)
        ),
    ),
]

RESULTS = [
    Case("a series", lambda a: a.o[a.k == 1], expect=lambda f, r: {"a": rows_of_keys("a", r)}),
    Case(
        "an index",
        lambda a: (a[a.k == 1].set_index("o"),)[0].reset_index().o,
        expect=lambda f, r: {"a": rows_of_keys("a", r)},
    ),
    Case(
        "a statistic frame",
        lambda a: a.describe(),
        context={"a": EVERY},
        statistics=("DataFrame.describe",),
    ),
    Case("a correlation", lambda a: a.corr(numeric_only=True), context={"a": EVERY}),
    Case(
        "counts of values",
        lambda a: a.k.value_counts(),
        context={"a": EVERY},
        statistics=("Series.value_counts",),
    ),
    Case(
        "counts of a filtered frame",
        lambda a: a[a.k == 1].s.value_counts().reset_index(),
        context={"a": set(np.flatnonzero(frames_a()["a"].k == 1).tolist())},
    ),
    Case("quantiles", lambda a: a[["o", "v"]].quantile([0.1, 0.5]), context={"a": EVERY}),
    Case("mode", lambda a: a.k.mode(), context={"a": EVERY}),
    Case("a row", lambda a: a.iloc[4], context={"a": {4}}),
    Case("a mean joined to nothing", lambda a: a[["v"]].agg(["mean", "std"]), context={"a": EVERY}),
    Case(
        "rebuilt from values",
        lambda a: pd.DataFrame({"o": a.o.to_numpy()}),
        unknown=("a",),
        fidelity="unknown",
    ),
    Case(
        "rebuilt from lists",
        lambda a: pd.DataFrame({"o": a.o.tolist()}),
        unknown=("a",),
        fidelity="unknown",
    ),
    Case(
        "rebuilt from rows",
        lambda a: pd.DataFrame([row for _, row in a.iterrows()]),
        unknown=("a",),
        fidelity="unknown",
    ),
    Case(
        "rebuilt from dicts",
        lambda a: pd.DataFrame(a.to_dict("records")),
        unknown=("a",),
        fidelity="unknown",
    ),
    Case(
        "through json",
        lambda a: pd.read_json(io.StringIO(a.to_json())),
        unknown=("a",),
        fidelity="unknown",
    ),
    Case(
        "through pickle",
        lambda a: pickle.loads(pickle.dumps(a)),
        unknown=("a",),
        fidelity="unknown",
    ),
    keyed(
        "declared by an index",
        lambda a: pd.DataFrame({"o": a.o.to_numpy() * 1.0}, index=a.index),
        fidelity="claimed",
    ),
    keyed(
        "declared by setting an index",
        lambda a: pd.DataFrame({"o": a.o.to_numpy()}).set_axis(a.index),
        fidelity="claimed",
    ),
    keyed(
        "declared, then filtered",
        lambda a: pd.DataFrame(a[["o"]].to_numpy(), index=a.index, columns=["o"])[::2],
        fidelity="claimed",
    ),
    keyed("a frame from its columns", lambda a: pd.DataFrame({"o": a.o, "z": a.v})),
    keyed(
        "a frame on the index", lambda a: (lambda d: d.assign(o=a.o))(pd.DataFrame(index=a.index))
    ),
    keyed(
        "columns put in an empty frame",
        lambda a: (lambda d: (d.__setitem__("o", a.o), d.__setitem__("k", a.k), d)[2])(
            pd.DataFrame()
        ),
    ),
    keyed("a frame of a series", lambda a: pd.DataFrame(a.o)),
    keyed("to_frame", lambda a: a.o.to_frame()),
    keyed("looking at everything", looking),
    keyed(
        "looking at repeated labels",
        lambda a: (
            a,
            a.loc["a"].shape,
            a.index.duplicated().tolist(),
            list(a.groupby("label").groups),
            a.reset_index().label.tolist(),
        ),
        frames=repeated_labels,
    ),
    keyed(
        "looking at dates",
        lambda a: (
            a[2:4],
            a.index.freq,
            a[::2].index.freq,
            a.index[2],
            a.index.name,
            type(a.index),
        ),
        frames=dated,
    ),
]


@pytest.mark.parametrize(
    "case",
    SELECT + ORDER + LABELS + IN_PLACE + PER_ROW + RESULTS,
    ids=lambda case: case.name,
)
def test_rows_of_one_frame_are_followed_exactly(case):
    check(case)


def test_keys_name_their_rows():
    assert rows_of_keys("a", [1000, np.nan, 1014]) == [{0}, set(), {2}]
    assert key_of("b", 1) == 5007
