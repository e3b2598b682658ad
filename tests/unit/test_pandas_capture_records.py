"""What is written down beside the maps: operations in their order, statistics with their rows."""

import numpy as np
import pandas as pd
import pytest

from traceprop_engine.lineage import CaptureSession, ContextDependency, RowMap

PEOPLE = pd.DataFrame(
    {
        "id": [4, 1, 3, 2, 5, 6],
        "age": [30.0, 20.0, np.nan, 50.0, 40.0, 60.0],
        "sex": list("mfmfmf"),
    }
)
LABS = pd.DataFrame({"id": [1, 1, 2, 4, 4, 9], "value": [1.0, 2, 3, 4, 5, 6]})


def lineage_of(run):
    with CaptureSession() as session:
        return session.lineage(run(session.load(PEOPLE, "people"), session.load(LABS, "labs")))


def members(context: ContextDependency) -> list[int]:
    assert context.members.n_out == 1
    return context.members.backward([0]).tolist()


def told(run):
    return [(op.name, op.detail) for op in lineage_of(run).ops]


def test_operations_are_told_in_the_order_they_ran():
    lineage = lineage_of(
        lambda people, labs: (
            people.dropna(subset=["age"])
            .query("age > 20")
            .merge(labs, on="id", how="left")
            .sort_values("value", ascending=False)
            .reset_index(drop=True)
            .head(3)
        )
    )
    assert [op.name for op in lineage.ops] == [
        "DataFrame.dropna",
        "DataFrame.query",
        "pandas.merge",
        "DataFrame.sort_values",
        "DataFrame.reset_index",
        "DataFrame.head",
    ]
    assert [op.n_rows_in for op in lineage.ops] == [(6,), (5,), (4, 6), (5,), (5,), (5,)]
    assert [op.n_rows_out for op in lineage.ops] == [5, 4, 5, 5, 5, 3]
    assert lineage.ops[0].inputs == ("people",)
    assert lineage.ops[2].inputs == ("people", "labs")
    assert lineage.ops[1].detail == "expr='age > 20'"
    assert lineage.ops[2].detail == "on=['id'], how='left'"


@pytest.mark.parametrize(
    ("run", "op"),
    [
        (lambda p, _: p[p.age > 30], ("DataFrame.__getitem__", "")),
        (lambda p, _: p[2:4], ("DataFrame.__getitem__", "")),
        (lambda p, _: p.drop_duplicates("sex"), ("DataFrame.drop_duplicates", "subset='sex'")),
        (lambda p, _: p.sample(3, random_state=1), ("DataFrame.sample", "n=3")),
        (lambda p, _: p.tail(2), ("DataFrame.tail", "n=2")),
        (lambda p, _: p.nlargest(2, "age"), ("DataFrame.nlargest", "n=2, columns='age'")),
        (lambda p, _: p.drop([0, 2]), ("DataFrame.drop", "")),
        (lambda p, _: p.set_index("id"), ("DataFrame.set_index", "keys='id'")),
        (
            lambda p, _: p.groupby("sex").agg(oldest=("age", "max")),
            ("DataFrameGroupBy.agg", "by=['sex']"),
        ),
        (lambda p, _: p.groupby("sex").age.mean(), ("SeriesGroupBy.mean", "by=['sex']")),
        (lambda p, _: p.groupby("sex").head(1), ("DataFrameGroupBy.head", "by=['sex'], n=1")),
        (lambda p, _: p.groupby("sex").nth(0), ("DataFrameGroupBy.nth", "by=['sex'], n=0")),
        (lambda p, lb: pd.concat([p, lb]), ("pandas.concat", "axis=0")),
        (lambda p, lb: p.join(lb[["value"]]), ("DataFrame.join", "")),
        (
            lambda p, _: p.melt("id", ["age", "sex"]),
            ("DataFrame.melt", "id_vars='id', value_vars=['age', 'sex']"),
        ),
        (
            lambda p, _: p.pivot_table(index="sex", values="age", aggfunc="max"),
            ("DataFrame.pivot_table", "index='sex', values='age', aggfunc='max'"),
        ),
        (
            lambda p, lb: pd.merge_asof(p.sort_values("id"), lb.sort_values("id"), on="id"),
            ("pandas.merge_asof", "on=['id'], how='asof'"),
        ),
    ],
)
def test_a_call_is_told_by_its_name_and_its_plain_arguments(run, op):
    assert told(run)[-1] == op


def test_labels_and_values_are_not_told():
    details = " ".join(
        detail
        for _, detail in told(
            lambda p, _: p.set_index("id").drop([4, 1]).loc[[3, 5]].reindex([3, 7]).sort_index()
        )
    )
    assert not any(label in details for label in ("4", "1", "3", "5", "7"))


def test_a_long_call_is_cut():
    (op,) = [
        op
        for op in lineage_of(
            lambda p, _: p.query(" or ".join(f"age == {i}" for i in range(60)))
        ).ops
        if op.name == "DataFrame.query"
    ]
    assert len(op.detail) < 400


def test_choosing_columns_and_computing_them_is_no_operation_on_rows():
    assert told(lambda p, _: p[["id", "age"]].assign(z=lambda d: d.age * 2)[["z"]]) == []


def test_what_pandas_calls_inside_is_not_told():
    assert told(lambda p, lb: p.merge(lb, on="id")) == [("pandas.merge", "on=['id'], how='inner'")]
    assert [name for name, _ in told(lambda p, _: p.explode("age"))] == ["DataFrame.explode"]


def test_what_a_function_does_to_each_group_is_not_told():
    found = told(lambda p, _: p.groupby("sex")[["id", "age"]].apply(lambda g: g.sort_values("age")))
    assert [name for name, _ in found] == ["DataFrameGroupBy.apply"]


def test_operations_that_did_not_lead_to_the_result_are_not_told():
    def run(people, labs):
        labs.sort_values("value").head(2)
        people.sample(3, random_state=0)
        return people.head(1)

    assert told(run) == [("DataFrame.head", "n=1")]


def test_a_change_in_place_is_told_of_the_frame_that_was_changed():
    def run(people, _):
        copy = people.copy()
        copy["age"] = copy["age"].fillna(0.0)
        return copy.dropna().set_axis(list("abcdef"))

    assert [name for name, _ in told(run)] == ["DataFrame.dropna", "DataFrame.set_axis"]


def test_a_statistic_is_written_down_with_its_column_and_its_rows():
    lineage = lineage_of(
        lambda people, _: people.assign(z=people.age - people[people.sex == "m"].age.mean())
    )
    (context,) = lineage.contexts
    assert (context.input, context.statistic, context.column) == ("people", "Series.mean", "age")
    assert members(context) == [0, 2, 4]
    assert lineage.maps["people"].kind == "identity"


def test_the_rows_of_a_statistic_are_followed_through_gathers_and_joins():
    def run(people, labs):
        old = people.sort_values("age").dropna().tail(3).merge(labs, on="id")
        return people.assign(limit=old.value.quantile(0.5))

    contexts = {c.input: members(c) for c in lineage_of(run).contexts}
    assert contexts == {"people": [3], "labs": [2]}


def test_the_rows_of_a_statistic_over_a_bootstrap_are_distinct():
    lineage = lineage_of(
        lambda people, _: people.assign(
            m=people.sample(20, replace=True, random_state=0).age.median()
        )
    )
    (context,) = lineage.contexts
    drawn = PEOPLE.sample(20, replace=True, random_state=0).index
    assert members(context) == sorted(set(drawn))


def test_a_statistic_of_several_columns_names_none():
    lineage = lineage_of(lambda people, _: people[["id", "age"]] - people[["id", "age"]].mean())
    assert [(c.statistic, c.column) for c in lineage.contexts] == [("DataFrame.mean", None)]


def test_a_statistic_along_the_columns_stays_in_its_row():
    assert lineage_of(lambda people, _: people[["id", "age"]].sum(axis=1).to_frame()).contexts == ()


def test_the_same_statistic_is_written_down_once():
    def run(people, _):
        for _ in range(50):
            people.age.mean()
        return people.head(2)

    assert len(lineage_of(run).contexts) == 1


def test_statistics_of_different_rows_stay_apart_and_very_many_are_united():
    def run(people, _):
        few = [people[people.sex == sex].age.mean() for sex in "mf"]
        many = [people.age.iloc[[i % 6, (i * 5 + 1) % 6]].sum() for i in range(40)]
        return people.assign(few=sum(few), many=sum(many))

    contexts = lineage_of(run).contexts
    means = [members(c) for c in contexts if c.statistic == "Series.mean"]
    sums = [members(c) for c in contexts if c.statistic == "Series.sum"]
    assert means == [[0, 2, 4], [1, 3, 5]]
    assert sorted({row for rows in sums for row in rows}) == [0, 1, 2, 3, 4, 5]
    assert len(sums) <= 16


def test_very_many_notes_are_resolved_at_once():
    n = 20_000
    frame = pd.DataFrame({"k": np.arange(n) % 5000, "v": np.arange(n) * 1.0})
    with CaptureSession() as session:
        d = session.load(frame, "a")
        half = d[d.k < 2500]
        tops = [group.reset_index(drop=True).v.max() for _, group in half.groupby("k")]
        cells = [d.at[row, "v"] for row in range(0, n, 4)]  # noqa: PD008  (what is tested)
        contexts = session.lineage(d.assign(x=sum(tops) + sum(cells))).contexts
    found = {c.statistic: members(c) for c in contexts}
    assert found["Series.max"] == frame.index[frame.k < 2500].tolist()
    assert found["DataFrame.at"] == list(range(0, n, 4))


def test_reading_a_cell_is_written_down_with_its_row():
    lineage = lineage_of(
        lambda people, _: people.assign(
            a=people.at[3, "age"],  # noqa: PD008  (what is tested)
            b=people.iloc[-1]["age"],
            c=people.loc[0, "age"],
        )
    )
    found = {c.statistic: members(c) for c in lineage.contexts}
    assert found == {"DataFrame.at": [3], "DataFrame.iloc": [5], "DataFrame.loc": [0]}


def test_values_that_leave_pandas_are_written_down():
    def run(people, labs):
        weights = labs.value.to_numpy()
        return people.assign(w=weights)

    lineage = lineage_of(run)
    (context,) = lineage.contexts
    assert (context.input, context.statistic, context.column) == (
        "labs",
        "Series.to_numpy",
        "value",
    )
    assert lineage.maps["labs"].kind == "context"
    assert lineage.fidelity == "exact"


def test_showing_a_frame_writes_nothing_down():
    def run(people, _):
        assert repr(people)
        assert people.shape == (6, 3)
        assert people.dtypes is not None
        assert len(people) == 6
        return people.head(2)

    lineage = lineage_of(run)
    assert lineage.contexts == ()


def test_an_order_dependent_function_is_named():
    for name in ("diff", "cumsum", "rank", "pct_change"):
        lineage = lineage_of(
            lambda people, _, name=name: people.assign(z=getattr(people.age, name)())
        )
        assert f"Series.{name}" in {c.statistic for c in lineage.contexts}
        assert lineage.maps["people"].kind in ("identity", "many", "window")


def test_a_join_with_an_aggregate_of_large_groups_keeps_the_direct_rows():
    n = 40_000
    frame = pd.DataFrame({"k": np.arange(n) % 2, "v": np.arange(n) * 1.0})
    with CaptureSession() as session:
        d = session.load(frame, "a")
        means = d.groupby("k", as_index=False).agg(mean=("v", "mean"))
        lineage = session.lineage(d.merge(means, on="k"))
    assert lineage.maps["a"].covered().all()
    (context,) = lineage.contexts
    assert context.statistic == "aggregate joined to many rows"
    assert lineage.maps["a"].same_relation(RowMap.identity(n))
    assert context.members.backward([0]).size == n


def test_a_join_with_an_aggregate_of_small_groups_is_exact():
    n = 6000
    frame = pd.DataFrame({"k": np.arange(n) // 3, "v": np.arange(n) * 1.0})
    with CaptureSession() as session:
        d = session.load(frame, "a")
        means = d.groupby("k", as_index=False).agg(mean=("v", "mean"))
        lineage = session.lineage(d.merge(means, on="k"))
    assert lineage.contexts == ()
    assert lineage.maps["a"].backward([5]).tolist() == [3, 4, 5]
    assert lineage.maps["a"].forward([4]).tolist() == [3, 4, 5]


def _of_days():
    days = pd.to_timedelta([0, 10, 40, 41, 80, 90], unit="D")
    return pd.DataFrame(
        {"k": list("abcabd"), "v": [1.0, 2, 3, 4, 5, 6], "t": pd.Timestamp("2024-01-05") + days}
    )


@pytest.mark.parametrize(
    ("user_code", "members"),
    [
        (lambda d: d[d["k"].isin(d.loc[d["v"] > 2, "k"])], [2, 3, 4, 5]),
        (lambda d: d[d["k"].isin(d["k"])], range(6)),
        (lambda d: d["v"].map(d["v"]), range(6)),
        (lambda d: d.sample(3, weights=d["v"], random_state=0), range(6)),
        (lambda d: d.sample(3, weights="v", random_state=0), range(6)),
        (lambda d: d.assign(c=d["k"].astype("category").cat.codes), range(6)),
        (lambda d: d[["k", "v"]].astype("category"), range(6)),
        (lambda d: d.assign(c=pd.Series(d["k"], dtype="category")), range(6)),
        (lambda d: d.assign(c=pd.Series(d["v"], dtype="float32")), None),
        (lambda d: d[1:].astype({"k": "category"}), range(1, 6)),
        (lambda d: d.resample("30D", on="t")["v"].sum(), range(6)),
        (lambda d: d.resample("7h", on="t")["v"].sum(), range(6)),
        (lambda d: d.groupby(pd.Grouper(key="t", freq="30D"))["v"].sum(), range(6)),
        (lambda d: d.resample("6h", on="t")["v"].sum(), None),
        (lambda d: d.resample("30D", on="t", origin="epoch")["v"].sum(), None),
        (lambda d: d.astype({"k": pd.CategoricalDtype(list("abcd"))}), None),
        (lambda d: d.astype({"k": "category"})[[]].astype("category"), range(6)),
        (lambda d: d[["k", "k"]].astype("category"), range(6)),
        (lambda d: d.sample(3, random_state=0), None),
        (lambda d: d.astype({"v": "float32"}), None),
        (lambda d: d[d["k"].isin(["a", "b"])], None),
        (lambda d: d["v"].map({1.0: 2.0}), None),
    ],
)
def test_rows_that_decide_about_other_rows_are_context(user_code, members):
    with CaptureSession() as session:
        lineage = session.lineage(user_code(session.load(_of_days(), "days")))
    found = {tuple(each.members.backward([0])) for each in lineage.contexts}
    assert found == (set() if members is None else {tuple(members)})
    assert lineage.fidelity == "exact"
