"""Random chains of operations: after any of them, the key columns must agree with the maps."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracle.pandas_capture_oracle import (
    Case,
    assert_map,
    assert_same,
    key_of,
    rows_of_key_lists,
    rows_of_keys,
    run_plain,
    run_tracked,
)

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*reindexed to match DataFrame index"),
    pytest.mark.filterwarnings("ignore:The behavior of DataFrame concatenation"),
]

INDEXES = {
    "counted": pd.RangeIndex,
    "named": lambda n: pd.RangeIndex(n, name="row"),
    "offset": lambda n: pd.RangeIndex(5, 5 + 2 * n, 2),
    "numbers": lambda n: pd.Index(np.random.default_rng(n).permutation(n)),
    "texts": lambda n: pd.Index([f"r{i}" for i in range(n)]),
    "repeated": lambda n: pd.Index([i // 2 for i in range(n)]),
    "dates": lambda n: pd.date_range("2024-01-01", periods=n, freq="D"),
    "levels": lambda n: pd.MultiIndex.from_arrays([[i % 3 for i in range(n)], range(n)]),
}


def frames(index_a, index_b, seed):
    """Two frames with keys, a join column that repeats, numbers with gaps, a text."""
    rng = np.random.default_rng(seed)
    made = {}
    for name, kind, n in (("a", index_a, 11), ("b", index_b, 7)):
        made[name] = pd.DataFrame(
            {
                f"p{name}": key_of(name, np.arange(n)),
                "k": rng.integers(0, 5, n),
                f"v{name}": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n).round(2)),
                f"s{name}": [f"{name}{i % 4}" for i in range(n)],
            },
            index=INDEXES[kind](n),
        )
    return made


REFUSALS = (
    pd.errors.InvalidIndexError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
)


def refused(run, case):
    """The kind and the words of the error that pandas raises, if it raises one."""
    try:
        run(case)
    except REFUSALS as error:
        return type(error), str(error)
    return None


def number(d):
    """A numeric column of a frame, whichever it has."""
    return next(column for column in ("va", "vb", "k") if column in d)


def _loc_some(d):
    labels = d.index.unique()[::2]
    return d.loc[labels] if not isinstance(d.index, pd.MultiIndex) else d.iloc[::2]


def _label_kept(d):
    column = number(d)
    copy = d.copy()
    copy.loc[copy["k"] == 1, column] = copy[column] * 2
    return copy


def _in_place(d):
    copy = d.copy()
    copy.sort_values("k", inplace=True)
    copy.reset_index(drop=True, inplace=True)
    copy["n"] = np.arange(len(copy))
    return copy


UNARY = {
    "mask": lambda d: d[d["k"] != 2],
    "mask of numbers": lambda d: d[d[number(d)].fillna(1) > -0.5],
    "query": lambda d: d.query("k > 0"),
    "iloc reversed": lambda d: d.iloc[::-1],
    "iloc list": lambda d: d.iloc[[i for i in (2, 0, 2) if i < len(d)]] if len(d) > 3 else d,
    "loc labels": _loc_some,
    "head": lambda d: d.head(6),
    "slice": lambda d: d[1::2],
    "sort_values": lambda d: d.sort_values([number(d), "k"], kind="stable"),
    "sort_values ignore": lambda d: d.sort_values("k", kind="stable", ignore_index=True),
    "sort_index": lambda d: d.sort_index(kind="stable"),
    "sample": lambda d: d.sample(frac=0.8, random_state=1),
    "bootstrap": lambda d: d.sample(frac=1.3, replace=True, random_state=2),
    "dropna": lambda d: d.dropna(subset=[number(d)]),
    "drop_duplicates": lambda d: d.drop_duplicates(["k", number(d)]),
    "reset_index": lambda d: d.reset_index(drop=True),
    "set_index and back": lambda d: d.set_index("k").reset_index(),
    "repeat": lambda d: d.loc[d.index.repeat(2)] if d.index.is_unique else d,
    "explode": lambda d: (
        d.assign(l=[list(range(i % 3)) for i in range(len(d))]).explode("l").drop(columns="l")
    ),
    "assign": lambda d: d.assign(z=d["k"] * 2 + 1, w=1),
    "own series": lambda d: d.assign(z=d[number(d)].rank()) if d.index.is_unique else d,
    "standardise": lambda d: d.assign(z=d[number(d)] - d[number(d)].mean()),
    "transform": lambda d: d.assign(z=d.groupby("k")[number(d)].transform("max").to_numpy()),
    "group head": lambda d: d.groupby("k").head(2),
    "group apply": lambda d: d.groupby("k", group_keys=False)[list(d.columns)].apply(
        lambda g: g.iloc[::-1]
    ),
    "concat self": lambda d: pd.concat([d, d.iloc[:2]]),
    "concat pieces": lambda d: pd.concat([g for _, g in d.groupby("k")]) if len(d) else d,
    "concat ignore": lambda d: pd.concat([d.iloc[2:], d.iloc[:2]], ignore_index=True),
    "concat columns": lambda d: (
        pd.concat([d, (d["k"] + 1).rename(f"y{d.shape[1]}")], axis=1) if d.index.is_unique else d
    ),
    "rename": lambda d: d.rename_axis("lab") if not isinstance(d.index, pd.MultiIndex) else d,
    "fillna": lambda d: d.fillna({number(d): 0}),
    "where": lambda d: d.assign(k=d["k"].where(d["k"] > 1, 0)),
    "loc setting": _label_kept,
    "in place": _in_place,
    "take columns": lambda d: d[[c for c in d.columns if c != "w"]],
    "astype": lambda d: d.astype({"k": "float64"}).astype({"k": "int64"}),
    "melt": lambda d: (
        d.melt(
            id_vars=[c for c in d.columns if c != number(d) or c == "k"],
            value_vars=[number(d)],
            var_name="mv",
            value_name="mx",
        ).drop(columns=["mv", "mx"])
        if number(d) != "k" and not {"mv", "mx"} & set(d.columns)
        else d
    ),
    "T twice": lambda d: d.T.T.infer_objects() if d.index.is_unique else d,
    "reindex": lambda d: d.reindex(d.index[::-1]) if d.index.is_unique else d,
    "swap labels": lambda d: d.set_axis(d.index[::-1]),
    "nlargest": lambda d: d.nlargest(5, "k") if d.index.is_unique else d,
}

# Joins bring in the other input, so they come at most once.
BINARY = {
    "merge": lambda d, b: d.merge(b, on="k"),
    "merge left": lambda d, b: d.merge(b, on="k", how="left"),
    "merge outer": lambda d, b: b.merge(d, on="k", how="outer"),
    "join": lambda d, b: d.join(b.drop_duplicates("k").set_index("k"), on="k"),
    "concat": lambda d, b: pd.concat([d, b], ignore_index=True),
    "concat keys": lambda d, b: (
        pd.concat([b, d], keys=["b", "d"])
        if b.index.nlevels == d.index.nlevels
        else pd.concat([b, d], ignore_index=True)
    ),
    "cross": lambda d, b: d.head(3).merge(b.drop(columns="k").head(3), how="cross"),
}

ENDS = {
    "group list": lambda d: d.groupby("k")[[c for c in ("pa", "pb") if c in d]].agg(list),
    "group list, flat": lambda d: d.groupby("k", as_index=False)[
        [c for c in ("pa", "pb") if c in d]
    ].agg(list),
}


def chain(before, join, after, end):
    """A function that applies the named operations one after the other."""

    def run(a, b):
        d = a
        for name in before:
            d = UNARY[name](d)
        d = BINARY[join](d, b)
        for name in after:
            d = UNARY[name](d)
        return d if end is None else ENDS[end](d)

    return run


@settings(max_examples=250)
@given(
    before=st.lists(st.sampled_from(sorted(UNARY)), max_size=4),
    join=st.sampled_from(sorted(BINARY)),
    after=st.lists(st.sampled_from(sorted(UNARY)), max_size=4),
    end=st.sampled_from([None, None, *ENDS]),
    index_a=st.sampled_from(sorted(INDEXES)),
    index_b=st.sampled_from(sorted(INDEXES)),
    seed=st.integers(0, 5),
)
def test_keys_agree_with_the_maps_after_any_chain(before, join, after, end, index_a, index_b, seed):
    case = Case(
        f"{before} {join} {after} {end}",
        chain(before, join, after, end),
        frames=lambda: frames(index_a, index_b, seed),
    )
    refusal = refused(run_plain, case)
    if refusal is not None:
        assert refused(run_tracked, case) == refusal
        return
    inputs, plain, _ = run_plain(case)
    result, _, lineage, given_back = run_tracked(case)
    assert_same(given_back, plain, case.name)
    assert_same(result, plain, case.name)
    for name in inputs:
        row_map = lineage.maps[name]
        if f"p{name}" not in plain:
            continue
        if row_map.kind == "unknown":
            assert lineage.reason
            continue
        keys = plain[f"p{name}"]
        truth = rows_of_keys(name, keys) if end is None else rows_of_key_lists(name, keys)
        assert_map(row_map, truth, f"{case.name}: {name}")
    if "in place" not in [*before, *after]:
        assert lineage.fidelity == "exact", lineage.reason
