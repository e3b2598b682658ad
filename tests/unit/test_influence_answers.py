"""What influence says, refuses and flags at the edges."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.training_tables import generated_table
from traceprop_engine import errors
from traceprop_engine.attribution import InfluenceFunction, leave_one_out
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.training import train_linear, train_logistic, train_softmax

TABLE = generated_table(120, seed=11)
FEATURES = ["x0", "x1", "x2"]
RUNS = {
    "linear": train_linear(TABLE, features=FEATURES, label="cost", l2=1.0, name="price"),
    "logistic": train_logistic(TABLE, features=FEATURES, label="sick", l2=1.0, name="risk"),
    "softmax": train_softmax(TABLE, features=FEATURES, label="grade", l2=1.0, name="grades"),
}
QUERIES = generated_table(4, seed=12)[FEATURES].to_numpy()
LABELS = {"linear": [1.0] * 4, "logistic": ["no", "yes"] * 2, "softmax": ["low", "mid"] * 2}


def _scores(family, **question):
    return InfluenceFunction.fit(RUNS[family]).scores(QUERIES, LABELS[family], **question)


@pytest.mark.parametrize(
    ("family", "question", "target", "unit"),
    [
        ("logistic", {}, "logit", "log-odds"),
        ("logistic", {"target": "margin"}, "margin", "log-odds"),
        ("logistic", {"target": "loss"}, "loss", "nats"),
        ("softmax", {}, "margin", "log-odds"),
        ("softmax", {"target": "logit", "of_class": "mid"}, "logit", "log-odds"),
        ("linear", {}, "prediction", "unit of 'cost'"),
        ("linear", {"target": "loss"}, "loss", "half squared unit of 'cost'"),
    ],
)
def test_scores_state_their_target_and_unit(family, question, target, unit):
    scores = _scores(family, **question)
    assert (scores.target, scores.unit) == (target, unit)
    assert scores.scores.shape == (4, 120)


@pytest.mark.parametrize(
    ("family", "labels", "question", "message"),
    [
        ("logistic", None, {"target": "margin"}, "'margin' depends on the true label.*pass labels"),
        ("linear", None, {"target": "loss"}, "'loss' depends on the true label"),
        ("linear", None, {"target": "logit"}, "does not exist for a linear model; ask for one of"),
        ("logistic", None, {"target": "prediction"}, "does not exist for a logistic model"),
        ("softmax", None, {"target": "logit"}, "one for each class; name the class with of_class"),
        ("softmax", ["low"] * 4, {"of_class": "low"}, "is not the target of one class"),
    ],
)
def test_a_target_that_cannot_be_asked_is_refused(family, labels, question, message):
    fitted = InfluenceFunction.fit(RUNS[family])
    with pytest.raises(errors.InfluenceTargetError, match=message):
        fitted.scores(QUERIES, labels, **question)


def test_unknown_classes_in_a_question_are_named():
    fitted = InfluenceFunction.fit(RUNS["softmax"])
    with pytest.raises(errors.UnknownClassError, match=r"'huge'.*'low', 'mid', 'top'"):
        fitted.scores(QUERIES, target="logit", of_class="huge")
    with pytest.raises(errors.UnknownClassError, match="'huge'"):
        fitted.scores(QUERIES, ["huge"] * 4)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.zeros((4, 2)), r"\[n, 3\], got \[4, 2\]"),
        (np.zeros(3), r"\[n, 3\], got \[3\]"),
        (np.full((4, 3), np.inf), "finite"),
    ],
)
def test_queries_that_do_not_fit_the_model_are_refused(features, message):
    fitted = InfluenceFunction.fit(RUNS["logistic"])
    with pytest.raises(errors.QueryShapeError, match=message):
        fitted.scores(features)
    with pytest.raises(errors.QueryShapeError, match=message):
        fitted.top_k(features, 3)


def test_a_rank_or_query_that_does_not_exist_is_refused():
    scores = _scores("logistic")
    with pytest.raises(errors.QueryShapeError, match="k must be at least 1, got 0"):
        scores.top_k(0)
    with pytest.raises(errors.QueryShapeError, match="query must be from 0 to 3, got 4"):
        scores.top_k(1, query=4)
    with pytest.raises(errors.QueryShapeError, match="k must be at least 1"):
        InfluenceFunction.fit(RUNS["logistic"]).top_k(QUERIES, -1)


def test_no_queries_have_no_scores():
    fitted = InfluenceFunction.fit(RUNS["logistic"])
    assert fitted.scores(QUERIES[:0]).scores.shape == (0, 120)
    assert fitted.top_k(QUERIES[:0], 3) == []


def test_more_rows_than_there_are_gives_all_of_them():
    assert len(_scores("logistic").top_k(500).rows) == 120


def test_the_only_row_of_a_class_has_no_score_and_is_never_ranked():
    table = TABLE.assign(grade=["rare", *TABLE["grade"][1:]])
    run = train_softmax(table, features=FEATURES, label="grade", l2=1.0, name="r")
    fitted = InfluenceFunction.fit(run)
    assert fitted.undetermined.tolist() == [0]
    scores = fitted.scores(QUERIES, target="logit", of_class="low")
    assert np.isnan(scores.scores[:, 0]).all()
    assert np.isfinite(scores.scores[:, 1:]).all()
    assert 0 not in scores.top_k(120).rows
    streamed = fitted.top_k(QUERIES, 120, target="logit", of_class="low")
    assert all(0 not in top.rows and len(top.rows) == 119 for top in streamed)


def test_the_one_row_that_determines_an_unpenalised_parameter_has_no_score():
    table = TABLE.assign(flag=[1.0] + [0.0] * 119)
    run = train_linear(table, features=["x0", "flag"], label="cost", l2=0.0, name="r")
    fitted = InfluenceFunction.fit(run)
    assert fitted.leverage[0] == pytest.approx(1)
    assert fitted.undetermined.tolist() == [0]
    assert np.isnan(fitted.scores(QUERIES[:, :2]).scores[:, 0]).all()


def test_the_one_row_that_keeps_classes_inseparable_has_no_score():
    """Of the flagged rows one alone is 'no': without it the flag gives 'yes' away."""
    no = np.flatnonzero(TABLE["sick"] == "no")[0]
    yes = np.flatnonzero(TABLE["sick"] == "yes")[:3]
    flag = np.zeros(120)
    flag[[no, *yes]] = 1
    table = TABLE.assign(flag=flag)
    run = train_logistic(table, features=["x0", "flag"], label="sick", l2=0.0, name="r")
    assert InfluenceFunction.fit(run).undetermined.tolist() == [no]


def test_rows_beyond_the_budget_of_refits_are_named_as_rough():
    features = [f"x{i}" for i in range(12)]
    run = train_logistic(TABLE, features=features, label="sick", l2=0.1, name="r")
    all_refitted = InfluenceFunction.fit(run)
    assert len(all_refitted.refitted) > 3
    limited = InfluenceFunction.fit(run, max_refits=2)
    assert len(limited.refitted) == 2
    highest = np.argsort(-run_leverage(limited))[:2]
    assert sorted(highest) == limited.refitted.tolist()
    together = np.union1d(limited.refitted, limited.rough)
    np.testing.assert_array_equal(together, all_refitted.refitted)
    told = f"2 rows refitted exactly; {len(limited.rough)} rows only roughly right"
    assert told in limited.method
    assert "roughly" not in all_refitted.method


def run_leverage(fitted):
    return fitted.leverage


@pytest.mark.parametrize("family", RUNS)
def test_leverages_add_up_to_no_more_than_the_parameters(family):
    fitted = InfluenceFunction.fit(RUNS[family])
    assert np.all((fitted.leverage >= 0) & (fitted.leverage < 1))
    assert fitted.leverage.sum() <= RUNS[family].parameters.size


@pytest.mark.parametrize("family", RUNS)
def test_small_blocks_of_training_rows_give_the_same_answer(family, monkeypatch):
    whole = InfluenceFunction.fit(RUNS[family])
    question = {"labels": LABELS[family], "target": "loss"}
    expected = whole.scores(QUERIES, **question).scores
    ranked = whole.top_k(QUERIES, 5, **question)
    monkeypatch.setattr(leave_one_out, "_BLOCK_FLOATS", 50)
    blocked = InfluenceFunction.fit(RUNS[family])
    np.testing.assert_allclose(blocked.scores(QUERIES, **question).scores, expected, rtol=1e-10)
    for top, other in zip(ranked, blocked.top_k(QUERIES, 5, **question), strict=True):
        np.testing.assert_array_equal(top.rows, other.rows)


def test_the_method_says_what_the_scores_are():
    assert InfluenceFunction.fit(RUNS["linear"]).method.startswith("leave-one-out, exact for pred")
    plain = InfluenceFunction.fit(RUNS["logistic"], leave_one_out=False)
    assert "first derivative" in plain.method
    assert not len(plain.refitted)
    assert not len(plain.rough)
    assert not len(plain.undetermined)


def test_scores_roll_up_to_the_rows_of_a_source():
    scores = _scores("logistic")
    row_map = RowMap.gather(np.arange(120) // 3, n_in=50)
    rolled = scores.roll_up(row_map)
    assert rolled.rows.tolist() == list(range(40))
    summed = scores.scores.reshape(4, 40, 3).sum(axis=2)
    np.testing.assert_allclose(rolled.scores, summed, rtol=1e-12)
    assert (rolled.target, rolled.unit, rolled.n_source) == ("logit", "log-odds", 50)
    best = int(np.argmax(np.abs(summed[2])))
    assert rolled.top_k(1, query=2).rows.tolist() == [best]


def test_source_rows_keep_their_own_numbers_in_a_ranking():
    scores = _scores("logistic")
    rolled = scores.roll_up(RowMap.range(7, 2, 120, 300))
    expected = 7 + 2 * scores.top_k(3).rows
    np.testing.assert_array_equal(rolled.top_k(3).rows, expected)


@pytest.mark.parametrize(
    ("row_map", "message"),
    [
        (RowMap.unknown(120, 5), "the row map is unknown.*declare"),
        (RowMap.context(120, [0, 1], 5), "through a statistic"),
        (RowMap.identity(119), "of 119 rows, the scores of 120; pass the map of the training"),
    ],
)
def test_scores_do_not_roll_up_through_a_map_that_cannot_carry_them(row_map, message):
    with pytest.raises(errors.RollUpError, match=message):
        _scores("logistic").roll_up(row_map)


def test_an_unconverged_run_is_refused_unless_it_is_accepted():
    run = RUNS["logistic"]
    loose = type(run)(
        **{
            **{name: getattr(run, name) for name in run.__dataclass_fields__},
            "parameters": run.parameters + 0.01,
        }
    )
    with pytest.raises(errors.UnconvergedRunError, match="'risk' is not at its minimum"):
        InfluenceFunction.fit(loose)
    assert InfluenceFunction.fit(loose, allow_unconverged=True).scores(QUERIES).scores.any()


def test_dependent_columns_of_an_unpolished_estimator_are_named():
    linear_model = pytest.importorskip("sklearn.linear_model")
    table = pd.DataFrame({"a": [1.0, 2, 3, 4], "b": [2.0, 4, 6, 8], "y": [1.0, 2, 2, 4]})
    training = pytest.importorskip("traceprop_engine.training")
    estimator = linear_model.LinearRegression().fit(table[["a", "b"]], table["y"])
    run = training.from_estimator(estimator, table, features=["a", "b"], label="y", name="r")
    with pytest.raises(errors.SingularCurvatureError, match="'a', 'b'"):
        InfluenceFunction.fit(run, allow_unconverged=True)
