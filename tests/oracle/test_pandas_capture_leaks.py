"""Ways by which another input gets into a result unseen: each must leave a trace in the lineage.

The frame keeps its own rows exactly. The other input must at least be a dependency, with the rows
that could have had a part; the fuzz tests check that nothing is missing.
"""

import io
import pickle

import numpy as np
import pandas as pd
import pytest

from tests.oracle.pandas_capture_oracle import Case, check, key_of

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning"),
]

N = 9
ALL = set(range(N))


def two_frames():
    """Two frames with the same labels; the numbers of the second are labels of the first."""
    a = pd.DataFrame({"pa": key_of("a", np.arange(N)), "x": np.arange(N) * 1.0, "k": [0, 1, 2] * 3})
    b = pd.DataFrame(
        {"pb": key_of("b", np.arange(N)), "y": [4.0, 2, 0, 1, 3, 8, 7, 6, 5], "i": [2, 5, 1] * 3}
    )
    return {"a": a, "b": b}


def leak(name, run, rows=ALL, *statistics):
    return Case(
        name,
        run,
        {"a": "pa"},
        frames=two_frames,
        context={"b": set(rows)},
        statistics=statistics,
    )


def _transposed_column(a, b):
    turned = b[["y", "i"]].T
    return a.assign(z=a.x - turned[3].max())


def _dictionary(a, b):
    return a.assign(z=a.k.map(b.set_index("i").y.groupby(level=0).first().to_dict()))


def _row_by_row(a, b):
    total = 0.0
    for row in b.itertuples():
        total += row.y
    return a.assign(z=a.x - total)


def _cells(a, b):
    return a.assign(z=a.x - sum(b.loc[i, "y"] for i in (1, 4)))


def _columns_named(a, b):
    return a.assign(**{f"c{i}": 0 for i in b.i.unique()})


LEAKS = [
    leak("to_numpy", lambda a, b: a.assign(z=b.y.to_numpy())),
    leak("values", lambda a, b: a.assign(z=b.y.values)),
    leak("array", lambda a, b: a.assign(z=b.y.array)),
    leak("np.asarray", lambda a, b: a.assign(z=np.asarray(b.y))),
    leak("np.where", lambda a, b: a.assign(z=np.where(b.y > 3, 1, 0))),
    leak("tolist", lambda a, b: a.assign(z=b.y.tolist())),
    leak("list()", lambda a, b: a.assign(z=list(b.y))),
    leak("sorted()", lambda a, b: a.assign(z=sorted(b.y))),
    leak("frame values", lambda a, b: a.assign(z=b[["y", "i"]].to_numpy().sum(axis=1))),
    leak("matrix product", lambda a, b: a.assign(z=a[["x"]].to_numpy() @ b.y.to_numpy()[:1])),
    leak("itertuples", _row_by_row),
    leak("iterrows", lambda a, b: a.assign(z=a.x - sum(r.y for _, r in b.iterrows()))),
    leak("items", lambda a, b: a.assign(z=a.x - sum(y for _, y in b.y.items()))),
    leak("to_dict", _dictionary),
    leak("records", lambda a, b: a.assign(z=[r["y"] for r in b.to_dict("records")])),
    leak("to_records", lambda a, b: a.assign(z=b.to_records()["y"])),
    leak("csv", lambda a, b: a.join(pd.read_csv(io.StringIO(b.to_csv(index=False)))[["y"]])),
    leak("json", lambda a, b: a.join(pd.read_json(io.StringIO(b[["y"]].to_json())))),
    leak("pickle", lambda a, b: a.join(pickle.loads(pickle.dumps(b))[["y"]])),
    leak("mean", lambda a, b: a.assign(z=a.x - b.y.mean())),
    leak("np.mean", lambda a, b: a.assign(z=a.x - np.mean(b.y))),
    leak("np.add.reduce", lambda a, b: a.assign(z=a.x - np.add.reduce(b.y))),
    leak("max()", lambda a, b: a.assign(z=a.x - max(b.y))),
    leak("describe", lambda a, b: a.assign(z=a.x - b.y.describe()["mean"])),
    leak("agg", lambda a, b: a.assign(z=a.x - b.agg({"y": "sum"})["y"])),
    leak("corr", lambda a, b: a.assign(z=a.x * b.y.corr(b.i))),
    leak("filtered mean", lambda a, b: a.assign(z=a.x - b[b.i == 2].y.mean()), {0, 3, 6}),
    leak("some cells", _cells, {1, 4}),
    leak("one cell, at", lambda a, b: a.assign(z=a.x - b.at[7, "y"]), {7}),
    leak("one cell, iat", lambda a, b: a.assign(z=a.x - b.iat[-1, 1]), {8}),
    leak("one value, get", lambda a, b: a.assign(z=a.x - b.y.get(2)), {2}),
    leak("one value, pop", lambda a, b: a.assign(z=a.x - b.y.copy().pop(2)), {2}),
    leak("one value, item", lambda a, b: a.assign(z=a.x - b.y.iloc[[3]].item()), {3}),
    leak("one value, squeeze", lambda a, b: a.assign(z=a.x - b.y.iloc[[3]].squeeze()), {3}),
    leak("one row", lambda a, b: a.assign(z=b.iloc[5].y), {5}),
    leak("one row, xs", lambda a, b: a.assign(z=b.xs(5).y), {5}),
    leak("a column of the transposed", _transposed_column, {3}),
    leak("values of the transposed", lambda a, b: a.assign(z=b[["y"]].T.to_numpy()[0])),
    leak("melt of the transposed", lambda a, b: a.assign(z=b[["y"]].T.melt().value.to_numpy())),
    leak("mask", lambda a, b: a[b.y > 3]),
    leak("mask as an array", lambda a, b: a[(b.y > 3).to_numpy()]),
    leak("loc by labels of the other", lambda a, b: a.loc[b[b.y > 3].index], {0, 5, 6, 7, 8}),
    leak("loc by a list of labels", lambda a, b: a.loc[b[b.y > 3].index.tolist()], {0, 5, 6, 7, 8}),
    leak("reindex", lambda a, b: a.reindex(b.sort_values("y").index)),
    leak("drop", lambda a, b: a.drop(b.index[b.y > 3]), {0, 5, 6, 7, 8}),
    leak(
        "shared labels", lambda a, b: a.loc[a.index.intersection(b[b.y > 3].index)], {0, 5, 6, 7, 8}
    ),
    leak("isin", lambda a, b: a[a.x.isin(b.y)]),
    leak("isin of labels", lambda a, b: a[a.index.isin(b[b.y > 3].index)], {0, 5, 6, 7, 8}),
    leak("map of a series", lambda a, b: a.assign(z=a.k.map(b.y))),
    leak("replace by a series", lambda a, b: a.assign(z=a.k.replace(b.y))),
    leak("fillna by a series", lambda a, b: a.assign(z=a.x.where(a.x > 2).fillna(b.y))),
    leak("searchsorted", lambda a, b: a.assign(z=np.sort(b.y).searchsorted(a.x))),
    leak("qcut edges", lambda a, b: a.assign(z=pd.cut(a.x, pd.qcut(b.y, 3, retbins=True)[1]))),
    leak("group by the other", lambda a, b: a[a.groupby(b.y > 3).x.transform("max") == a.x]),
    leak(
        "merge on a key of the other",
        lambda a, b: a.merge(
            pd.DataFrame({"i": [1, 2, 5], "z": [7, 8, 9]}), left_on=b.i, right_on="i", how="left"
        ),
    ),
    leak("labels of the other", lambda a, b: a.set_axis(b.y).reset_index()),
    leak("set_index of the other", lambda a, b: a.set_index(b.y).reset_index()),
    leak("index as values", lambda a, b: a.assign(z=b.set_index("y").index)),
    leak("index to list", lambda a, b: a.assign(z=b.set_index("y").index.tolist())),
    leak("index of a column", lambda a, b: a.assign(z=pd.Index(b.y).to_numpy())),
    leak("mapped index", lambda a, b: a.assign(z=b.set_index("y").index.map(str).to_numpy())),
    leak("largest label", lambda a, b: a.assign(z=b.set_index("y").index.max())),
    leak("a categorical", lambda a, b: a.assign(z=pd.Categorical(b.y))),
    leak("pd.array", lambda a, b: a.assign(z=pd.array(b.y))),
    leak("pd.factorize", lambda a, b: a.assign(z=pd.factorize(b.y, sort=True)[0])),
    leak("pd.unique", lambda a, b: a.assign(z=pd.unique(b.y)[::-1])),
    leak("str.cat of all", lambda a, b: a.assign(z=b.y.astype(str).str.cat())),
    leak("value_counts", lambda a, b: a.assign(z=a.k.map(b.i.value_counts().to_dict()))),
    leak("column names", _columns_named),
    leak("a condition", lambda a, b: a if b.y.hasnans else a.assign(z=1)),
    leak("a comparison", lambda a, b: a.assign(z=b.y.equals(b.i))),
    leak("query of the other", lambda a, b: a.query("x in @b.y")),
    leak("query against the other", lambda a, b: a.query("x > @b.y")),
    leak("eval with a statistic", lambda a, b: a.assign(z=a.x - b.eval("y.max() - y.min()"))),
]


@pytest.mark.parametrize("case", LEAKS, ids=lambda case: case.name)
def test_a_way_in_leaves_a_trace(case):
    check(case)
