"""Joins, concatenations and alignment: both sides exact, whatever pandas aligned on."""

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

KEYS = {"a": "pa", "b": "pb"}


def customers_and_orders():
    """Customers in no order, one without orders; orders that repeat customers, one unknown."""
    a = pd.DataFrame(
        {
            "pa": key_of("a", np.arange(8)),
            "id": [5, 3, 9, 1, 7, 2, 8, 4],
            "x": [1.0, np.nan, 3, 4, 5, 6, 7, 8],
            "g": list("aabbccdd"),
        }
    )
    b = pd.DataFrame(
        {
            "pb": key_of("b", np.arange(10)),
            "id": [3, 3, 5, 1, 99, 7, 7, 7, 2, 4],
            "y": np.arange(10) * 1.5,
            "t": [4, 1, 3, 2, 9, 8, 7, 6, 5, 0],
        }
    )
    return {"a": a, "b": b}


def same_size():
    """Two frames of one size and one index, whose rows have nothing to do with each other."""
    n = 9
    a = pd.DataFrame({"pa": key_of("a", np.arange(n)), "x": np.arange(n) * 1.0, "k": [0, 1, 2] * 3})
    b = pd.DataFrame({"pb": key_of("b", np.arange(n)), "y": np.arange(n)[::-1] * 2.0})
    return {"a": a, "b": b}


def labelled():
    """Two frames with text labels, that overlap in part and stand in different orders."""
    a = pd.DataFrame({"pa": key_of("a", np.arange(6)), "x": np.arange(6.0)}, index=list("abcdef"))
    b = pd.DataFrame({"pb": key_of("b", np.arange(5)), "y": np.arange(5.0)}, index=list("fxbda"))
    return {"a": a, "b": b}


def joined(name, run, frames=customers_and_orders, **more):
    return Case(name, run, KEYS, frames=frames, **more)


def by_labels(name, run, frames=labelled, **more):
    """A case whose rows come from the rows of both frames with the label of the row."""

    def expect(inputs, result):
        return {
            key: [set(np.flatnonzero(frame.index == label).tolist()) for label in result.index]
            for key, frame in inputs.items()
        }

    return Case(name, run, expect=expect, frames=frames, **more)


def by_positions(name, run, frames=same_size, **more):
    """A case of two frames with the same labels: row by row from both."""
    return by_labels(name, run, frames, **more)


def changed(target, change):
    """A function that changes a copy of one frame with the help of the other."""

    def run(a, b):
        copy = {"a": a, "b": b}[target].copy()
        other = b if target == "a" else a
        change(copy, other)
        return copy

    return run


def _asof(a, b):
    return pd.merge_asof(b.sort_values("t"), a.sort_values("id"), left_on="t", right_on="id")


def _indexed_merge(how):
    return lambda a, b: a.set_index("id").merge(
        b.set_index("id"), left_index=True, right_index=True, how=how
    )


MERGES = [
    joined(f"merge how={how}", lambda a, b, how=how: a.merge(b, on="id", how=how))
    for how in ("inner", "left", "right", "outer")
]
MERGES += [
    joined(f"merge on index how={how}", _indexed_merge(how))
    for how in ("inner", "left", "right", "outer")
]
MERGES += [
    joined("merge cross", lambda a, b: a.merge(b.head(3), how="cross")),
    joined("merge left_on/right_on", lambda a, b: a.merge(b, left_on="id", right_on="t")),
    joined(
        "merge left_on/right_index",
        lambda a, b: a.merge(b.set_index("t"), left_on="id", right_index=True),
    ),
    joined(
        "merge left_index/right_on",
        lambda a, b: a.set_index("id").merge(b, left_index=True, right_on="t", how="outer"),
    ),
    joined(
        "merge suffixes",
        lambda a, b: a.rename(columns={"x": "y"}).merge(b, on="id", suffixes=("_l", "_r")),
    ),
    joined("merge indicator", lambda a, b: a.merge(b, on="id", how="outer", indicator=True)),
    joined("merge validate", lambda a, b: a.merge(b, on="id", validate="1:m")),
    joined("merge sort", lambda a, b: pd.merge(b, a, on="id", how="left", sort=True)),
    joined("merge filtered", lambda a, b: a[a.x > 2].merge(b[b.y < 12], on="id", how="left")),
    joined(
        "merge after sample", lambda a, b: a.sample(frac=2, replace=True, random_state=0).merge(b)
    ),
    Case(
        "merge left_anti",
        lambda a, b: a.merge(b, on="id", how="left_anti"),
        KEYS,
        frames=customers_and_orders,
    ),
    joined("join on column", lambda a, b: b.join(a.set_index("id"), on="id")),
    joined("join on index", lambda a, b: a.join(b.rename(columns={"id": "i"}), how="outer")),
    joined("join list", lambda a, b: a.join([b.rename(columns={"id": "id_b"})], how="inner")),
    joined("merge_asof", _asof),
    joined(
        "merge_asof by",
        lambda a, b: pd.merge_asof(
            b.sort_values("t"),
            a.assign(t=a.id % 4).sort_values("t"),
            on="t",
            by="id",
            direction="nearest",
        ),
    ),
    joined("merge_ordered", lambda a, b: pd.merge_ordered(a, b, on="id")),
    joined(
        "merge_ordered ffill",
        lambda a, b: pd.merge_ordered(a, b, on="id", fill_method="ffill"),
    ),
    joined(
        "merge_ordered by",
        lambda a, b: pd.merge_ordered(a[["pa", "id", "g"]], b[["pb", "id"]], on="id", left_by="g"),
    ),
    joined(
        "two merges",
        lambda a, b: b.merge(a, on="id").merge(
            a[["id", "x"]].rename(columns={"id": "t", "x": "z"}), on="t", how="left"
        ),
        expect=lambda f, r: {
            "a": [
                own | set(np.flatnonzero(f["a"].id == t))
                for own, t in zip(rows_of_keys("a", r["pa"]), r["t"], strict=True)
            ]
        },
    ),
    joined("self merge", lambda a, b: a.merge(a[["id"]], on="id").merge(b, on="id")),
    Case(
        "aggregate joined",
        lambda a, b: a.merge(
            b.groupby("id", as_index=False).agg(n=("pb", list)), on="id", how="left"
        ),
        {"a": "pa"},
        lambda f, r: {
            "b": rows_of_key_lists("b", [n if isinstance(n, list) else [] for n in r["n"]])
        },
        frames=customers_and_orders,
    ),
]
CONCATS = [
    Case(
        "concat of two inputs",
        lambda a, b: pd.concat([a, b]),
        KEYS,
        frames=customers_and_orders,
    ),
    joined("concat ignore_index", lambda a, b: pd.concat([a[a.x > 3], b], ignore_index=True)),
    joined("concat keys", lambda a, b: pd.concat([a, b], keys=["one", "two"])),
    joined("concat dict", lambda a, b: pd.concat({"one": a, "two": b, "three": a.head(2)})),
    joined("concat generator", lambda a, b: pd.concat(x for x in (a, None, b))),
    joined(
        "concat inner",
        lambda a, b: pd.concat([a.assign(pb=np.nan), b.assign(pa=np.nan)], join="inner"),
    ),
    joined("concat with an empty frame", lambda a, b: pd.concat([a.head(0), b, a])),
    joined("concat of pieces", lambda a, b: pd.concat([g for _, g in a.groupby("g")] + [b])),
    joined(
        "concat of a hundred pieces",
        lambda a, b: pd.concat([a.iloc[[i % 8]].reset_index(drop=True) for i in range(100)] + [b]),
    ),
    by_positions("concat axis=1", lambda a, b: pd.concat([a, b], axis=1)),
    by_labels("concat axis=1 by labels", lambda a, b: pd.concat([a, b], axis=1)),
    by_labels(
        "concat axis=1 inner of series",
        lambda a, b: pd.concat([a.x, b.y], axis=1, join="inner"),
    ),
    Case(
        "concat of series",
        lambda a, b: pd.concat([a.pa, b.pb]).rename("p").to_frame(),
        expect=lambda f, r: {
            "a": rows_of_keys("a", r.p.where(r.p < 5000)),
            "b": rows_of_keys("b", r.p.where(r.p >= 5000)),
        },
        frames=customers_and_orders,
    ),
    Case(
        "concat with rows from nowhere",
        lambda a, b: pd.concat([a, pd.DataFrame({"pa": [np.nan, np.nan]}), b]),
        KEYS,
        frames=customers_and_orders,
    ),
]

ALIGNED = [
    by_positions("assign a column of another frame", lambda a, b: a.assign(y=b.y)),
    by_labels("set a column of another frame", changed("a", lambda d, o: d.__setitem__("y", o.y))),
    by_labels("insert a column of another", changed("a", lambda d, o: d.insert(0, "y", o.y))),
    by_positions(
        "assign a shuffled column aligned on labels",
        lambda a, b: a.assign(y=b.sample(frac=1, random_state=3).y),
    ),
    Case(
        "set a reset column: positions, not labels",
        lambda a, b: a.assign(y=b.pb.sample(frac=1, random_state=3).reset_index(drop=True)),
        {"a": "pa", "b": "y"},
        frames=same_size,
    ),
    by_labels(
        "set several columns", changed("a", lambda d, o: d.__setitem__(["y", "z"], o[["y", "pb"]]))
    ),
    by_positions("add two series", lambda a, b: (a.x + b.y).to_frame()),
    by_labels("add two series by labels", lambda a, b: (a.x + b.y).to_frame()),
    by_labels("flex add with fill_value", lambda a, b: a.x.add(b.y, fill_value=0).to_frame()),
    by_labels("frames by labels", lambda a, b: a[["x"]] * b[["y"]].rename(columns={"y": "x"})),
    by_labels("frame.sub(series, axis=0)", lambda a, b: a[["x"]].sub(b.y, axis=0)),
    by_positions("compare series", lambda a, b: (a.x > b.y).to_frame()),
    by_positions("logical series", lambda a, b: ((a.x > 3) & (b.y > 3)).to_frame()),
    by_positions("numpy ufunc of two", lambda a, b: np.maximum(a.x, b.y).to_frame()),
    by_labels("numpy ufunc by labels", lambda a, b: np.hypot(a.x, b.y).to_frame()),
    Case(
        "combine_first",
        lambda a, b: a.x.where(a.x > 2).combine_first(b.y).to_frame(),
        expect=lambda f, r: {
            "a": [{"abcdef".index(c)} if c in "cdef" else set() for c in r.index],
            "b": [{"fxbda".index(c)} if c in "abx" else set() for c in r.index],
        },
        frames=labelled,
    ),
    by_labels("frame combine_first", lambda a, b: a.combine_first(b)),
    by_labels("combine", lambda a, b: a.combine(b, lambda x, y: y, overwrite=False)),
    by_labels("series combine", lambda a, b: a.x.combine(b.y, max).to_frame()),
    by_positions("where with another frame", lambda a, b: a.where(b.y > 4, b.y, axis=0)),
    by_positions("mask by another frame", lambda a, b: a.x.mask(b.y > 4).to_frame()),
    by_positions("fillna from a frame", lambda a, b: a.fillna(b.rename(columns={"y": "x"}))),
    by_positions("str.cat", lambda a, b: a.x.astype(str).str.cat(b.y.astype(str)).to_frame()),
    by_positions("frame of two series", lambda a, b: pd.DataFrame({"x": a.x, "y": b.y})),
    by_labels("frame of two series by labels", lambda a, b: pd.DataFrame({"x": a.x, "y": b.y})),
    by_labels(
        "frame of series with an index", lambda a, b: pd.DataFrame({"y": b.y}, index=a.index)
    ),
    by_positions("eval of two", lambda a, b: a.assign(y=b.y).eval("z = x + y")),
    by_labels(
        "align",
        lambda a, b: (lambda left, right: left.assign(y=right.y))(*a.align(b, axis=0)),
    ),
    by_positions("update", changed("a", lambda d, o: d.update(o.rename(columns={"y": "x"})))),
    by_positions("compare", lambda a, b: a[["x"]].compare(b[["y"]].rename(columns={"y": "x"}))),
    by_positions("clip by series", lambda a, b: a[["x"]].clip(upper=b.y, axis=0)),
    Case(
        "loc assignment of some rows",
        changed(
            "a", lambda d, o: d.__setattr__("x", d.x) or d.loc.__setitem__((d.k == 1, "x"), o.y)
        ),
        {"a": "pa"},
        lambda f, r: {"b": [{i} if k == 1 else set() for i, k in enumerate(r.k)]},
        frames=same_size,
    ),
    Case(
        "iloc assignment by position",
        changed("a", lambda d, o: d.iloc.__setitem__((slice(0, 3), 1), o.y.iloc[5:8])),
        {"a": "pa"},
        lambda f, r: {"b": [{5}, {6}, {7}] + [set()] * 6},
        frames=same_size,
    ),
    Case(
        "mask assignment on a series",
        lambda a, b: (lambda s: (s.__setitem__(s > 4, b.y), pd.DataFrame({"pa": a.pa, "s": s}))[1])(
            a.x.copy()
        ),
        {"a": "pa"},
        lambda f, r: {"b": [{i} for i in range(9)]},
        frames=same_size,
    ),
]

READ = [
    Case(
        "isin another frame",
        lambda a, b: a[a.id.isin(b.id)],
        {"a": "pa"},
        frames=customers_and_orders,
        statistics=("Series.isin",),
        context={"b": set(range(10))},
    ),
    Case(
        "map through another frame",
        lambda a, b: b.assign(x=b.id.map(a.set_index("id").x)),
        {"b": "pb"},
        frames=customers_and_orders,
        statistics=("Series.map",),
        context={"a": set(range(8))},
    ),
    Case(
        "mask of another frame",
        lambda a, b: a[b.y > 4],
        {"a": "pa"},
        frames=same_size,
        statistics=("DataFrame.__getitem__",),
        context={"b": set(range(9))},
    ),
    Case(
        "reindex to another frame",
        lambda a, b: a.reindex(b.index),
        {"a": "pa"},
        frames=labelled,
        statistics=("DataFrame.reindex",),
        context={"b": set(range(5))},
    ),
    Case(
        "groupby a series of another frame",
        lambda a, b: a.groupby(b.y > 4).agg(keys=("pa", list)),
        expect=lambda f, r: {"a": rows_of_key_lists("a", r["keys"])},
        frames=same_size,
        statistics=("DataFrame.groupby",),
        context={"b": set(range(9))},
    ),
    Case(
        "subtract a mean of another frame",
        lambda a, b: a.assign(x=a.x - b.y.mean()),
        {"a": "pa"},
        frames=same_size,
        statistics=("Series.mean",),
        context={"b": set(range(9))},
    ),
    Case(
        "values of another frame as an array",
        lambda a, b: a.assign(y=b.y.to_numpy()),
        {"a": "pa"},
        frames=same_size,
        statistics=("Series.to_numpy",),
        context={"b": set(range(9))},
    ),
    Case(
        "fill from a series of another frame",
        lambda a, b: a.assign(x=a.x.where(a.x > 3).fillna(b.y)),
        {"a": "pa"},
        frames=same_size,
        statistics=("Series.fillna",),
        context={"b": set(range(9))},
    ),
    Case(
        "an input that nothing comes from",
        lambda a, b: a.head(3),
        {"a": "pa"},
        frames=same_size,
        unknown=("b",),
        fidelity="unknown",
    ),
]


@pytest.mark.parametrize("case", MERGES + CONCATS + ALIGNED + READ, ids=lambda case: case.name)
def test_rows_of_two_inputs_are_followed_exactly(case):
    check(case)
