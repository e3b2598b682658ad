"""One frame: computed columns, results of other kinds, everything a function may look at."""

import io
import pickle

import numpy as np
import pandas as pd
import pytest

from tests.oracle.pandas_capture_oracle import Case, check, frames_a, rows_of_keys
from tests.oracle.test_pandas_capture_rows import dated, keyed, repeated_labels

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning"),
]

N = 12
EVERY = set(range(N))


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


@pytest.mark.parametrize("case", PER_ROW + RESULTS, ids=lambda case: case.name)
def test_columns_and_results_of_every_kind_are_followed_exactly(case):
    check(case)
