"""Reshapes and resampling: the members of every output row, by brute force."""

import numpy as np
import pandas as pd
import pytest

from tests.oracle.pandas_capture_oracle import Case, check
from tests.oracle.test_pandas_capture_groups import EVERY, N, keyed, members_of, visits

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning"),
]


def pivoted(name, run, row, expect=None, **more):
    """A reshape whose rows gather all input rows with one value of ``row``."""
    default = lambda f, r: {  # noqa: E731  (bound once, beside its use)
        "a": [set(np.flatnonzero(f["a"][row] == label)) for label in r.index]
    }
    return Case(name, run, expect=expect or default, frames=visits, **more)


RESHAPES = [
    pivoted(
        "pivot_table",
        lambda a: a.pivot_table(index="k", columns="c", values="v", observed=True),
        "k",
    ),
    pivoted(
        "pivot_table, several",
        lambda a: a.pivot_table(
            index="k", columns="h", values=["v", "o"], aggfunc=["mean", "count"], fill_value=0
        ),
        "k",
        lambda f, r: {
            "a": [set(np.flatnonzero((f["a"].k == k) & f["a"].h.notna())) for k in r.index]
        },
    ),
    pivoted(
        "pivot_table reset",
        lambda a: a.pivot_table(index="k", columns="c", values="v", observed=True).reset_index(),
        "k",
        lambda f, r: {"a": [set(np.flatnonzero(f["a"].k == k)) for k in r.k]},
    ),
    pivoted("pivot", lambda a: a.pivot(index="t", columns="k", values="v"), "t"),
    pivoted("pivot of all", lambda a: a.pivot(index="t", columns="k"), "t"),
    pivoted(
        "pivot without index",
        lambda a: a.pivot(columns="k", values="v"),
        "k",
        lambda f, r: {"a": [{i} for i in range(N)]},
    ),
    pivoted("crosstab", lambda a: pd.crosstab(a.k, a.c), "k"),
    pivoted(
        "crosstab normalised",
        lambda a: pd.crosstab(a.k, a.c, normalize="index"),
        "k",
    ),
    pivoted(
        "unstack of a group-by",
        lambda a: a.groupby(["k", "c"], observed=True).v.mean().unstack(),
        "k",
    ),
    pivoted(
        "unstack of two levels",
        lambda a: a.dropna(subset="h").set_index(["t", "k", "h"]).v.unstack(["k", "h"]),
        "t",
    ),
    keyed("melt", lambda a: a.melt(id_vars=["o", "k"], value_vars=["v", "c"])),
    keyed(
        "melt ignore_index=False",
        lambda a: pd.melt(a, id_vars="o", value_vars=["v"], ignore_index=False),
    ),
    keyed(
        "melt of a filtered frame", lambda a: a[a.v > 0].melt(id_vars="o", value_vars=["v", "k"])
    ),
    keyed(
        "stack of a frame", lambda a: a.set_index("o")[["v", "k"]].stack().rename("x").reset_index()
    ),
    keyed(
        "stack of column levels",
        lambda a: (
            pd.concat({"x": a[["v", "k"]], "y": a[["v", "k"]]}, axis=1)
            .set_index(a.o.rename("o"))
            .stack(level=0)
            .reset_index()
        ),
    ),
    keyed(
        "wide_to_long",
        lambda a: pd.wide_to_long(
            a[["o", "v", "k"]].rename(columns={"v": "m1", "k": "m2"}), "m", i="o", j="n"
        ).reset_index(),
    ),
    keyed(
        "explode of lists",
        lambda a: a.assign(l=[list(range(i % 4)) for i in range(N)]).explode("l"),
    ),
    keyed(
        "explode ignore_index",
        lambda a: a.assign(l=[list(range(i % 4)) for i in range(N)]).explode(
            "l", ignore_index=True
        ),
    ),
    keyed(
        "explode of two columns",
        lambda a: a.assign(l=[[1, 2]] * N, m=[["a", "b"]] * N)[::-1].explode(["l", "m"]),
    ),
    keyed(
        "split and explode",
        lambda a: a.assign(l=a.h.fillna("u,w")).assign(l=lambda d: d.l.str.split(",")).explode("l"),
    ),
    keyed("get_dummies of categories", lambda a: pd.get_dummies(a, columns=["h", "c"])),
    keyed("transposed and selected", lambda a: a[["o", "k"]].T[[3, 1, 1]].T),
    Case(
        "transposed",
        lambda a: a[["o", "k"]].T,
        context={"a": EVERY},
        frames=visits,
        statistics=("columns",),
    ),
]

TIMES = [
    Case(
        "resample",
        lambda a: a.set_index("t").resample("D").v.mean(),
        expect=members_of(lambda a: a.set_index("t").resample("D").o.agg(list)),
        frames=visits,
    ),
    Case(
        "resample on a column",
        lambda a: a.resample("2D", on="t").agg({"v": "sum", "k": "max"}),
        expect=members_of(lambda a: a.resample("2D", on="t").o.agg(list)),
        frames=visits,
    ),
    Case(
        "grouper of time and key",
        lambda a: a.groupby([pd.Grouper(key="t", freq="2D"), "k"]).v.sum(),
        expect=members_of(lambda a: a.groupby([pd.Grouper(key="t", freq="2D"), "k"]).o.agg(list)),
        frames=visits,
    ),
    Case(
        "grouper of time",
        lambda a: a.groupby(pd.Grouper(key="t", freq="3D")).agg(m=("v", "mean")),
        expect=members_of(lambda a: a.groupby(pd.Grouper(key="t", freq="3D")).o.agg(list)),
        frames=visits,
    ),
    keyed("resample ffill", lambda a: a.set_index("t").sort_index().resample("3h").ffill()),
    keyed("asfreq", lambda a: a.set_index("t").sort_index().asfreq("11h")),
    keyed("between_time", lambda a: a.set_index("t").between_time("06:00", "18:00")),
    keyed(
        "a slice of time", lambda a: a.set_index("t").sort_index().loc["2024-01-02":"2024-01-04"]
    ),
    keyed(
        "tz and shift of the index",
        lambda a: a.set_index("t").tz_localize("UTC").shift(1, freq="D"),
    ),
    keyed(
        "reindex with a method",
        lambda a: (
            a.set_index("t")
            .sort_index()
            .reindex(pd.date_range("2024-01-01", periods=5, freq="D"), method="nearest")
        ),
    ),
]


@pytest.mark.parametrize("case", RESHAPES + TIMES, ids=lambda case: case.name)
def test_the_rows_that_a_reshape_gathers_are_found(case):
    check(case)
