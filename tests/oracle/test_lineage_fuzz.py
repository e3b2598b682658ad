"""Seeded lies must be found, the truth must pass: functions whose row maps are known by hand."""

import numpy as np
import pandas as pd
import pytest

from traceprop_engine.errors import LineageFuzzError
from traceprop_engine.fuzz import CapturedFunction, check_lineage, sample_inputs
from traceprop_engine.lineage import CapturedLineage, ContextDependency, RowMap

pytestmark = pytest.mark.oracle

N = 60
TRIALS = 32


def frame(n=N):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "id": np.arange(n) + 1000,
            "k": rng.integers(0, 8, n),
            "v": rng.normal(size=n),
            "w": rng.normal(size=n),
        }
    )


def claim(row_map, *contexts):
    return CapturedLineage(row_map.n_out, {"d": row_map}, contexts)


def identity(d):
    return claim(RowMap.identity(len(d)))


def positive_rows(d):
    return np.flatnonzero(d["v"] > 0)


def first_rows(d):
    return np.flatnonzero(~d["k"].duplicated())


def next_of_the_filtered(d):
    return claim(RowMap.gather(np.minimum(positive_rows(d) + 1, len(d) - 1), len(d)))


def first_of_each_group(d):
    rows = first_rows(d)
    kept = rows[d["k"].notna().to_numpy()[rows]]
    order = np.argsort(d["k"].to_numpy()[kept], kind="stable")
    return claim(RowMap.gather(kept[order], len(d)))


def groups(d):
    codes, values = pd.factorize(d["k"], sort=True)
    return claim(RowMap.groups(codes, len(values)))


def by_value(d):
    return claim(RowMap.gather(d["v"].argsort(kind="stable").to_numpy(), len(d)))


def window_of_three(d):
    at = np.arange(len(d))
    return claim(RowMap.window(np.maximum(at - 2, 0), at + 1, len(d)))


def mean_of_all(d):
    members = RowMap.window([0], [len(d)], len(d))
    return claim(RowMap.identity(len(d)), ContextDependency("d", "mean", "v", members))


def standardised(d):
    return d.assign(v=(d["v"] - d["v"].mean()) / d["v"].std())


def rolled(d):
    return d.assign(v=d["v"].rolling(3, 1).mean())


def group_means(d):
    return d.groupby("k", as_index=False)["v"].mean()


def clipped(d):
    return d.assign(v=d["v"].clip(d["v"].quantile(0.05), d["v"].quantile(0.95)))


LIARS = {
    "off-by-one filter": (lambda d: d[d["v"] > 0], next_of_the_filtered),
    "shift": (lambda d: d.assign(p=d["v"].shift(1)).drop(columns="v"), identity),
    "permuted column": (lambda d: d.assign(v=d["v"].to_numpy()[::-1]), identity),
    "first row of each group": (group_means, first_of_each_group),
    "rolling as identity": (rolled, identity),
    "transform as identity": (
        lambda d: d.assign(m=d.groupby("k")["v"].transform("mean")),
        identity,
    ),
    "quantile clip": (clipped, identity),
    "fillna(mean) where nothing is missing": (
        lambda d: d.assign(v=d["v"].fillna(d["v"].mean())),
        identity,
    ),
    "maximum": (lambda d: d.assign(v=d["v"] / d["v"].max()), identity),
}
HONEST = {
    "identity": (lambda d: d.assign(q=d["v"] * 2), identity),
    "filter": (lambda d: d[d["v"] > 0], lambda d: claim(RowMap.select(positive_rows(d), len(d)))),
    "sort": (lambda d: d.sort_values("v", kind="stable"), by_value),
    "group-by": (group_means, groups),
    "dedupe": (
        lambda d: d.drop_duplicates("k")[["k", "v"]],
        lambda d: claim(RowMap.select(first_rows(d), len(d))),
    ),
    "rolling with its window": (rolled, window_of_three),
    "standardise with a context": (standardised, mean_of_all),
}
CLAIMED = pytest.mark.parametrize("claimed", ["for these inputs", "for any inputs"])


def checked(function, lineage, claimed):
    d = frame()
    said = lineage(d) if claimed == "for these inputs" else lineage
    return check_lineage(function, {"d": d}, said, trials=TRIALS)


@CLAIMED
@pytest.mark.parametrize("name", LIARS)
def test_a_seeded_lie_is_found(name, claimed):
    function, lineage = LIARS[name]
    found = checked(function, lineage, claimed)
    assert found.is_refuted
    assert not found.ok
    assert found.violations or name == "maximum"
    assert not found.nondeterministic


@CLAIMED
def test_standardising_asks_for_a_context_dependency(claimed):
    found = checked(standardised, identity, claimed)
    assert found.contexts_missing
    assert not found.violations
    columns = {each.perturbation.columns for each in found.contexts_missing}
    assert columns == {("v",), ()}, "only the column that the statistic is of, or a deletion"
    assert "claim a context dependency on d" in found.summary()


@CLAIMED
@pytest.mark.parametrize("name", HONEST)
def test_the_truth_passes(name, claimed):
    function, lineage = HONEST[name]
    found = checked(function, lineage, claimed)
    assert found.ok, found.summary()
    assert found.runs > TRIALS
    assert found.inputs["d"].refused == 0


@CLAIMED
def test_a_violation_names_row_column_and_values(claimed):
    d = frame()
    function, lineage = LIARS["shift"]
    found = checked(function, lineage, claimed)
    for each in found.violations:
        assert len(each.perturbation.rows) == 1
        row = each.perturbation.rows[0]
        assert each.output_rows == (row + 1,)
        if each.perturbation.kind != "deletion" and not each.with_gaps:
            assert each.perturbation.columns == ("v",)
            assert each.perturbation.before == (d["v"][row],)
            assert each.column == "p"
            assert each.before == d["v"][row]
            assert np.isclose(each.after, each.perturbation.after[0], equal_nan=True)
    kinds = {each.perturbation.kind for each in found.violations}
    assert {"value", "missing", "category", "deletion"} <= kinds


def test_what_fills_gaps_is_found_only_once_there_are_gaps():
    function, lineage = LIARS["fillna(mean) where nothing is missing"]
    found = checked(function, lineage, "for any inputs")
    assert all(each.with_gaps for each in found.violations)
    assert "after gaps were put in" in found.summary()


def test_a_map_that_is_too_large_shows_in_its_idle_edges_alone():
    def two_rows(d):
        at = np.arange(len(d))
        return claim(RowMap.window(at, np.minimum(at + 2, len(d)), len(d)))

    found = checked(lambda d: d.assign(q=d["v"] * 2), two_rows, "for these inputs")
    assert found.ok
    assert found.inputs["d"].edges_tested == sum(2 for _ in found.idle_edges)
    for each in found.idle_edges:
        assert each.output_rows == (each.input_row - 1,)


def test_a_context_that_explains_nothing_is_named():
    found = checked(lambda d: d.assign(q=d["v"] * 2), mean_of_all, "for these inputs")
    assert found.ok
    assert found.inputs["d"].context_is_idle
    needed = checked(standardised, mean_of_all, "for these inputs")
    assert not needed.inputs["d"].context_is_idle


def test_random_rows_are_reported_as_nondeterminism_and_not_as_a_violation():
    rng = np.random.default_rng(1)
    found = checked(lambda d: d.sample(frac=1, random_state=rng), identity, "for any inputs")
    assert found.nondeterministic
    assert not found.ok
    assert not found.is_refuted
    assert found.runs == 0
    assert "seed" in found.summary()


def test_rows_that_compete_are_reported_apart():
    found = checked(
        lambda d: d.nlargest(5, "v"),
        lambda d: claim(RowMap.gather(d["v"].nlargest(5).index, len(d))),
        "for any inputs",
    )
    assert found.ok
    assert found.presence_effects


@CLAIMED
def test_a_row_that_is_kept_for_the_sake_of_another_depends_on_it(claimed):
    def large_groups(d):
        return d["k"].map(d["k"].value_counts()) >= 8

    found = checked(
        lambda d: d[large_groups(d)],
        lambda d: claim(RowMap.select(np.flatnonzero(large_groups(d)), len(d))),
        claimed,
    )
    assert found.violations
    assert {each.column for each in found.violations} == {None}


def test_two_inputs_are_perturbed_each_by_itself():
    left = frame(30)
    right = pd.DataFrame({"k": range(8), "name": list("abcdefgh")})

    def joined(d, r):
        return d.merge(r, on="k")

    def one_sided(d, r):
        rows = d.assign(row=range(len(d))).merge(r, on="k")["row"]
        nothing = RowMap.gather(np.full(len(rows), -1), len(r))
        return CapturedLineage(len(rows), {"d": RowMap.gather(rows, len(d)), "r": nothing})

    found = check_lineage(joined, {"d": left, "r": right}, one_sided)
    assert {each.input for each in found.violations} == {"r"}
    assert check_lineage(joined, {"d": left, "r": right}, CapturedFunction(joined)).ok


def test_an_unknown_map_is_not_checked_and_says_so():
    found = checked(
        lambda d: d * 1, lambda d: claim(RowMap.unknown(len(d), len(d))), "for any inputs"
    )
    assert not found.ok
    assert not found.is_refuted
    assert set(found.unchecked) == {"d"}


def test_a_function_that_refuses_every_perturbation_is_not_checked():
    class Strict(Exception):  # noqa: N818
        pass

    whole = frame()

    def strict(d):
        if not d.equals(whole):
            raise Strict("no other rows.")
        return d.copy()

    found = check_lineage(strict, {"d": whole}, identity)
    assert not found.could_be_checked
    assert found.inputs["d"].refused == found.inputs["d"].runs > 0
    assert "Strict: no other rows" in found.summary()


def test_columns_that_a_function_refuses_to_see_changed_do_not_keep_others_from_it():
    def strict(d):
        if not d["id"].is_unique or d["id"].min() < 1000 or d["id"].max() > 1000 + N:
            raise ValueError("ids")
        return d.assign(v=d["v"].to_numpy()[::-1])

    found = check_lineage(strict, {"d": frame()}, identity)
    assert found.inputs["d"].refused
    assert found.violations


def test_a_lineage_of_other_rows_is_refused():
    d = frame()
    with pytest.raises(LineageFuzzError, match="about 59 rows, but the function returned 60"):
        check_lineage(lambda d: d, {"d": d}, identity(d[1:]))
    with pytest.raises(LineageFuzzError, match="no map for the input 'e'"):
        check_lineage(lambda e: e, {"e": d}, identity(d))
    with pytest.raises(LineageFuzzError, match="max_rows=10"):
        check_lineage(lambda d: d, {"d": d}, identity(d), max_rows=10)
    with pytest.raises(LineageFuzzError, match="returned a Series"):
        check_lineage(lambda d: d["v"], {"d": d}, identity)
    with pytest.raises(LineageFuzzError, match="no input"):
        check_lineage(frame, {}, identity)


def test_the_same_seed_finds_the_same():
    one, other, third = (
        repr(check_lineage(clipped, {"d": frame()}, identity, seed=seed, trials=16))
        for seed in (3, 3, 4)
    )
    assert one == other
    assert one != third


def test_the_inputs_stay_as_they_are():
    d = frame()

    def careless(d):
        d["v"] = 0.0
        return d

    check_lineage(careless, {"d": d}, identity, trials=8)
    pd.testing.assert_frame_equal(d, frame())


def test_a_sample_of_large_inputs_still_joins():
    rng = np.random.default_rng(0)
    left = pd.DataFrame({"k": rng.permutation(5000), "v": 1.0})
    right = pd.DataFrame({"k": rng.permutation(5000)[:3000], "x": 2.0})
    small = pd.DataFrame({"c": [1, 2]})
    found = sample_inputs({"l": left, "r": right, "s": small}, 200, rng)
    assert len(found["l"]) <= 200
    assert len(found["r"]) <= 200
    assert len(found["l"].merge(found["r"], on="k")) == 200
    assert found["s"] is small
    assert found["l"]["k"].tolist() == [k for k in left["k"] if k in set(found["l"]["k"])]


def test_large_inputs_are_checked_on_a_sample():
    big = frame(3000)
    found = check_lineage(clipped, {"d": big}, CapturedFunction(clipped), max_rows=100, trials=8)
    assert found.ok
    assert found.inputs["d"].n_rows == 100
