"""What capture records of ordinary pandas code agrees with what that code does."""

import numpy as np
import pandas as pd
import pytest

from traceprop_engine.fuzz import CapturedFunction, check_lineage

pytestmark = pytest.mark.oracle

N = 40
TRIALS = 16


def frame():
    rng = np.random.default_rng(0)
    d = pd.DataFrame(
        {
            "id": np.arange(N) + 1000,
            "k": rng.integers(0, 6, N),
            "v": rng.normal(size=N).round(3),
            "s": rng.choice(list("abcd"), N),
            "t": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, N), unit="D"),
            "f": rng.random(N) > 0.5,
            "c": pd.Categorical(rng.choice(list("xyz"), N)),
            "o": pd.array(rng.integers(0, 9, N), dtype="Int64"),
        }
    )
    d.loc[[3, 9], "v"] = np.nan
    d.loc[4, "o"] = pd.NA
    return d


def other():
    return pd.DataFrame({"k": [0, 1, 2, 3, 7], "name": list("pqrst"), "x": [1.0, 2, 3, 4, 5]})


ONE = {
    "filter": lambda d: d[d["v"] > 0],
    "query": lambda d: d.query("v > 0 and k < 4"),
    "dropna": lambda d: d.dropna(),
    "sort": lambda d: d.sort_values(["k", "v"], ignore_index=True),
    "head": lambda d: d.head(7),
    "nlargest": lambda d: d.nlargest(5, "v"),
    "every second row": lambda d: d.iloc[::2],
    "sample": lambda d: d.sample(frac=0.5, random_state=0),
    "dedupe": lambda d: d.drop_duplicates("k"),
    "dedupe, none kept": lambda d: d.drop_duplicates(["k", "s"], keep=False),
    "assign": lambda d: d.assign(q=d["v"] * 2 + d["k"]),
    "group means": lambda d: d.groupby("k", as_index=False)["v"].mean(),
    "group aggregates": lambda d: d.groupby("s").agg(m=("v", "mean"), n=("id", "size")),
    "transform": lambda d: d.assign(m=d.groupby("k")["v"].transform("mean")),
    "standardise": lambda d: d.assign(v=(d["v"] - d["v"].mean()) / d["v"].std()),
    "fillna mean": lambda d: d.assign(v=d["v"].fillna(d["v"].mean())),
    "quantile clip": lambda d: d.assign(
        v=d["v"].clip(d["v"].quantile(0.05), d["v"].quantile(0.95))
    ),
    "rolling": lambda d: d.assign(r=d["v"].rolling(3, 1).mean()),
    "shift": lambda d: d.assign(p=d["v"].shift(1)),
    "cumsum": lambda d: d.assign(a=d["v"].cumsum()),
    "rank": lambda d: d.assign(a=d["v"].rank()),
    "ffill": lambda d: d.ffill(),
    "dummies": lambda d: pd.get_dummies(d, columns=["s"]),
    "pivot": lambda d: d.pivot_table(index="k", columns="s", values="v").reset_index(),
    "melt": lambda d: d.melt(id_vars=["id"], value_vars=["k", "v"]),
    "concat": lambda d: pd.concat([d[d["k"] < 3], d[d["v"] > 0]], ignore_index=True),
    "explode": lambda d: d.assign(l=[[a, a + 1] for a in d["k"]]).explode("l"),
    "qcut": lambda d: d.assign(b=pd.qcut(d["v"], 4, labels=False)),
    "map": lambda d: d.assign(b=d["s"].map({"a": 1, "b": 2})),
    "row numbers": lambda d: d.assign(a=np.arange(len(d))),
    "group filter": lambda d: d.groupby("k").filter(lambda g: len(g) >= 7),
    "dates": lambda d: d.assign(m=d["t"].dt.month, g=~d["f"], h=d["o"] + 1),
    "maximum": lambda d: d.assign(v=d["v"] / d["v"].max()),
}
TWO = {
    "inner join": lambda d, r: d.merge(r, on="k"),
    "left join": lambda d, r: d.merge(r, on="k", how="left"),
    "outer join": lambda d, r: d.merge(r, on="k", how="outer"),
    "joined aggregate": lambda d, r: r.merge(
        d.groupby("k", as_index=False)["v"].mean(), on="k", how="left"
    ),
    "stacked": lambda d, r: pd.concat([d, r], ignore_index=True),
    "statistic of another": lambda d, r: d.assign(v=d["v"] - r["x"].mean()),
}


@pytest.mark.parametrize("name", ONE)
def test_captured_lineage_of_one_frame_holds(name):
    function = ONE[name]
    found = check_lineage(function, {"d": frame()}, CapturedFunction(function), trials=TRIALS)
    assert found.ok, found.summary()
    assert found.runs - found.inputs["d"].refused > TRIALS / 2


@pytest.mark.parametrize("name", TWO)
def test_captured_lineage_of_two_frames_holds(name):
    function = TWO[name]
    inputs = {"d": frame(), "r": other()}
    found = check_lineage(function, inputs, CapturedFunction(function), trials=TRIALS)
    assert found.ok, found.summary()
    assert all(each.runs > each.refused for each in found.inputs.values())
