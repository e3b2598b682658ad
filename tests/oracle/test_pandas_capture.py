"""The torture list: every case exact, or visibly unknown; no user result changed."""

import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.oracle.pandas_capture_oracle import (
    Case,
    check,
    frames_a,
    rows_of_key_lists,
    rows_of_keys,
    run_tracked,
)
from traceprop_engine.errors import LineageContradictionError
from traceprop_engine.lineage.captured import CapturedLineage
from traceprop_engine.lineage.witness import check_witness

sklearn = pytest.importorskip("sklearn")
from sklearn.model_selection import train_test_split  # noqa: E402  (after importorskip)
from sklearn.utils import resample, shuffle  # noqa: E402  (after importorskip)

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning"),
]

N = 12
ONE = pd.DataFrame({"k": [0, 1, 2], "w": [1.0, 2, 3]})
MANY = pd.DataFrame({"k": [0, 0, 1], "w": [1.0, 2, 3]})
EVERY = set(range(N))


def keyed(name, run, **more):
    """A case whose result still has the key column."""
    return Case(name, run, {"a": "o"}, **more)


def lists_of(frames, result, by="k"):
    """Parents of groups: the keys of each group, by brute force on the plain frame."""
    lists = frames["a"].groupby(by)["o"].agg(list)
    return {"a": rows_of_key_lists("a", lists.reindex(result.index))}


def in_place(change):
    """A function that copies the frame, changes the copy and returns it."""

    def run(a):
        copy = a.copy()
        change(copy)
        return copy

    return run


def every_row(frames, result):
    return {"a": [EVERY] * len(result)}


def stacked_rows(frames, result):
    return {"a": [{row} for row in result.index.get_level_values(0)]}


CASES = [
    keyed("df[mask]", lambda a: a[a.v > 0]),
    keyed("query", lambda a: a.query("v>0")),
    keyed("loc mask", lambda a: a.loc[a.v > 0]),
    keyed("iloc[::-1]", lambda a: a.iloc[::-1]),
    keyed("df[::-1]", lambda a: a[::-1]),
    keyed("take", lambda a: a.take([3, 1, 2])),
    keyed("sort_values", lambda a: a.sort_values("v")),
    keyed("sort_values ignore_index", lambda a: a.sort_values("v", ignore_index=True)),
    keyed("sort_index desc", lambda a: a.sort_index(ascending=False)),
    keyed("sample", lambda a: a.sample(frac=1, random_state=1)),
    keyed(
        "sample.reset_index(drop)",
        lambda a: a.sample(frac=1, random_state=1).reset_index(drop=True),
    ),
    keyed("nlargest", lambda a: a.nlargest(5, "o")),
    keyed("reindex", lambda a: a.reindex(a.index[::-1])),
    keyed("dropna", lambda a: a.dropna()),
    keyed("drop_duplicates(subset)", lambda a: a.drop_duplicates("k")),
    Case(
        "drop_duplicates() full",
        lambda a: pd.concat([a[["k"]], a[["k"]]]).drop_duplicates().assign(o=0),
        expect=lambda f, r: {"a": [{row} for row in np.flatnonzero(~f["a"].k.duplicated())]},
    ),
    keyed("concat self", lambda a: pd.concat([a, a.iloc[:3]])),
    keyed("concat ignore_index", lambda a: pd.concat([a.iloc[6:], a.iloc[:6]], ignore_index=True)),
    keyed("loc[list]", lambda a: a.loc[[5, 4, 5]]),
    keyed("head", lambda a: a.head(3)),
    keyed("drop rows", lambda a: a.drop([0, 1])),
    keyed("merge m:1", lambda a: a.merge(ONE, on="k")),
    keyed("merge m:n", lambda a: a.merge(MANY, on="k")),
    keyed("merge left", lambda a: a.merge(MANY, on="k", how="left")),
    keyed("map(dict)", lambda a: a.assign(w=a.k.map({0: 1, 1: 2, 2: 3}))),
    keyed("join on", lambda a: a.join(ONE.set_index("k"), on="k")),
    keyed("explode", lambda a: a.assign(l=[[1, 2]] * N).explode("l")),
    keyed("melt", lambda a: a.melt(id_vars="o", value_vars=["v", "k"])),
    keyed("shift", lambda a: a.shift(1)),
    keyed(
        "rolling mean",
        lambda a: a.assign(v=a.v.rolling(3).mean()),
        statistics=("Rolling.mean",),
    ),
    keyed("groupby.head", lambda a: a.groupby("k").head(1)),
    keyed(
        "groupby.apply sort",
        lambda a: a.groupby("k", group_keys=False)[list(a.columns)].apply(
            lambda g: g.sort_values("o", ascending=False)
        ),
    ),
    keyed(
        "groupby.transform",
        lambda a: a.assign(m=a.groupby("k").v.transform("mean")),
        statistics=("SeriesGroupBy.transform",),
    ),
    keyed("assign", lambda a: a.assign(z=1)),
    keyed("astype", lambda a: a.astype({"v": "float32"})),
    keyed("fillna", lambda a: a.fillna(0)),
    keyed("get_dummies", lambda a: pd.get_dummies(a, columns=["k"]), statistics=("get_dummies",)),
    keyed("where", lambda a: a.where(a.v > 0, a)),
    keyed("train_test_split", lambda a: train_test_split(a, random_state=0)[0]),
    keyed("sklearn shuffle", lambda a: shuffle(a, random_state=0)),
    keyed("sklearn resample", lambda a: resample(a, random_state=0)),
    keyed("set_index+loc+reset_index", lambda a: a.set_index("s").loc[["s3", "s1"]].reset_index()),
    Case(
        "numpy shuffle -> DataFrame",
        lambda a: pd.DataFrame(a.to_numpy()[::-1], columns=a.columns),
        unknown=("a",),
        fidelity="unknown",
        statistics=("DataFrame.to_numpy",),
    ),
    Case(
        "to_csv/read_csv",
        lambda a: pd.read_csv(io.StringIO(a.to_csv(index=False))),
        unknown=("a",),
        fidelity="unknown",
        statistics=("DataFrame.to_csv",),
    ),
    Case(
        "pa round trip",
        lambda a: pa.Table.from_pandas(a).to_pandas(),
        unknown=("a",),
        fidelity="unknown",
    ),
    Case(
        "pa no index",
        lambda a: pa.Table.from_pandas(a, preserve_index=False).to_pandas(),
        unknown=("a",),
        fidelity="unknown",
    ),
    keyed("copy+inplace sort", in_place(lambda a: a.sort_values("v", inplace=True))),
    keyed("loc assign", in_place(lambda a: a.__setitem__("v", 0))),
    Case("pivot_table", lambda a: a.pivot_table(index="k", values="v"), expect=lists_of),
    Case("groupby.agg", lambda a: a.groupby("k").agg(v=("v", "mean")), expect=lists_of),
    keyed("T.T", lambda a: a[["o", "k", "v"]].T.T),
    keyed("pd.cut", lambda a: a.assign(c=pd.cut(a.v, 3)), statistics=("cut",)),
    Case(
        "itertuples rebuild",
        lambda a: pd.DataFrame([r._asdict() for r in a.itertuples(index=False)]),
        unknown=("a",),
        fidelity="unknown",
        statistics=("DataFrame.itertuples",),
    ),
    keyed("stack/unstack", lambda a: a[["o", "v"]].stack().unstack()),
    Case(
        "mean() leak",
        lambda a: a.select_dtypes("number").mean().to_frame().T,
        context={"a": EVERY},
    ),
    Case(
        "numeric matrix X",
        lambda a: pd.DataFrame(a.select_dtypes("number").to_numpy()),
        unknown=("a",),
        fidelity="unknown",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_of_the_torture_list_is_exact_or_visibly_unknown(case):
    check(case)


def test_at_least_fifty_cases_of_the_list_are_exact_and_the_rest_say_so():
    exact = [case.name for case in CASES if not case.unknown]
    assert len(exact) >= 50
    for case in CASES:
        if case.unknown:
            _, _, lineage, _ = run_tracked(case)
            assert lineage.fidelity == "unknown"
            assert lineage.reason
            assert lineage.coverage() == 0.0


def test_a_column_permuted_in_place_is_contradicted_by_the_witness():
    case = keyed("column shuffled in place", lambda a: a.assign(o=a.o.to_numpy()[::-1]))
    _, _, lineage, plain = run_tracked(case)
    assert isinstance(lineage, CapturedLineage)
    with pytest.raises(LineageContradictionError, match="'o'"):
        check_witness(lineage, frames_a(), plain)
    assert rows_of_keys("a", plain["o"]) != [{row} for row in range(N)]
