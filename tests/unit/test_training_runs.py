"""What a training run keeps, predicts and refuses."""

from dataclasses import FrozenInstanceError

import numpy as np
import pandas as pd
import pytest

from benchmarks.training_tables import generated_table
from traceprop_engine import errors
from traceprop_engine.training import newton, train_linear, train_logistic, train_softmax

TABLE = generated_table(80, seed=2)
NEW = generated_table(30, seed=9).set_index(pd.Index([f"q{i}" for i in range(30)], name="patient"))
FEATURES = ["x0", "x1", "x2"]
RUNS = {
    "linear": train_linear(TABLE, features=FEATURES, label="cost", l2=1.0, name="price"),
    "logistic": train_logistic(TABLE, features=FEATURES, label="sick", l2=1.0, name="risk"),
    "softmax": train_softmax(TABLE, features=FEATURES, label="grade", l2=1.0, name="grades"),
}
every_family = pytest.mark.parametrize("family", RUNS)


@every_family
def test_a_run_cannot_be_changed(family):
    run = RUNS[family]
    with pytest.raises(FrozenInstanceError):
        run.l2 = 2.0
    for array in (run.parameters, run.features, run.labels):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[0]


@every_family
def test_a_run_keeps_the_index_of_its_table(family):
    index = pd.Index(np.arange(80) * 7 + 3, name="token")
    train = {"linear": train_linear, "logistic": train_logistic, "softmax": train_softmax}[family]
    label = RUNS[family].label
    table = TABLE.set_index(index)
    run = train(table, features=FEATURES, label=label, l2=1.0, name="r")
    assert run.index is table.index
    assert run.index.name == "token"


@every_family
def test_training_leaves_the_table_as_it_was(family):
    run = RUNS[family]
    pd.testing.assert_frame_equal(TABLE, generated_table(80, seed=2))
    assert run.feature_names == tuple(FEATURES)


@pytest.mark.parametrize(
    ("family", "columns"),
    [
        ("linear", ["prediction"]),
        ("logistic", ["logit", "probability"]),
        ("softmax", ["predicted", "probability_low", "probability_mid", "probability_top"]),
    ],
)
def test_predictions_stand_beside_kept_columns_under_the_same_index(family, columns):
    run = RUNS[family]
    predictions = run.predict(NEW, label=run.label, keep=["x5", "x0"])
    assert list(predictions.frame.columns) == ["x5", "x0", run.label, *columns]
    assert predictions.index.is_(NEW.index)
    pd.testing.assert_frame_equal(predictions.frame[["x5", "x0"]], NEW[["x5", "x0"]])
    np.testing.assert_array_equal(predictions.features, NEW[FEATURES].to_numpy())
    np.testing.assert_array_equal(predictions.labels, NEW[run.label].to_numpy())


@every_family
def test_predictions_need_no_label(family):
    run = RUNS[family]
    predictions = run.predict(NEW[FEATURES])
    assert predictions.labels is None
    assert run.label not in predictions.frame


def test_a_label_that_is_also_kept_stands_once():
    frame = RUNS["logistic"].predict(NEW, label="sick", keep=["sick"]).frame
    assert list(frame.columns) == ["sick", "logit", "probability"]


def test_logistic_predictions_are_the_log_odds_and_chance_of_the_second_class():
    run = RUNS["logistic"]
    frame = run.predict(NEW).frame
    weights, intercept = run.parameters[0, :-1], run.parameters[0, -1]
    logit = NEW[FEATURES].to_numpy() @ weights + intercept
    np.testing.assert_allclose(frame["logit"], logit, rtol=1e-12)
    np.testing.assert_allclose(frame["probability"], 1 / (1 + np.exp(-logit)), rtol=1e-12)
    assert run.classes[1] == "yes"


def test_softmax_predicts_the_class_of_highest_chance():
    frame = RUNS["softmax"].predict(NEW).frame
    chances = frame.filter(like="probability_")
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    assert ("probability_" + frame["predicted"] == chances.idxmax(axis=1)).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda t: t.drop(columns="x1"), errors.UnknownColumnError, "no column 'x1'"),
        (lambda t: t.assign(x1=np.nan), errors.NonFiniteColumnError, "'x1' is missing"),
        (lambda t: t.assign(x1="a"), errors.NonNumericFeatureError, "'x1'"),
        (lambda t: t.iloc[:0], errors.EmptyTableError, "no rows"),
        (lambda t: t.assign(grade="new"), errors.UnknownClassError, "'new' is not a class"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_for_predicting_and_measuring(change, error, message):
    run = RUNS["softmax"]
    with pytest.raises(error, match=message):
        run.predict(change(NEW), label="grade")
    with pytest.raises(error, match=message):
        run.evaluate(change(NEW))


def test_a_kept_column_must_exist_and_not_clash():
    table = NEW.assign(logit=0.0)
    with pytest.raises(errors.FeatureListError, match="'logit' is also the name of a prediction"):
        RUNS["logistic"].predict(table, keep=["logit"])
    with pytest.raises(errors.UnknownColumnError, match="did you mean 'x11'"):
        RUNS["logistic"].predict(NEW, keep=["x111"])


def test_an_undefined_metric_is_left_out():
    one_class = NEW[NEW["sick"] == "yes"]
    assert set(RUNS["logistic"].evaluate(one_class)) == {"accuracy", "log_loss"}
    assert set(RUNS["linear"].evaluate(NEW.assign(cost=5.0))) == {"rmse"}
    assert set(RUNS["logistic"].evaluate(NEW)) == {"accuracy", "log_loss", "auc"}


def test_the_label_may_have_another_name_where_the_model_is_measured():
    renamed = NEW.rename(columns={"sick": "outcome"})
    run = RUNS["logistic"]
    assert run.evaluate(renamed, "outcome") == run.evaluate(NEW)


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.zeros((2, 4)), ["no", "no"], r"features must be \[n, 3\], got \[2, 4\]"),
        (np.zeros(3), ["no"], r"got \[3\]"),
        (np.full((1, 3), np.nan), ["no"], "features must be finite"),
        (np.zeros((2, 3)), ["no"], "labels must be one for each of 2 rows, got 1"),
        (np.zeros((2, 3)), None, "labels must be one for each of 2 rows, got none"),
    ],
)
def test_query_rows_that_do_not_fit_are_refused(features, labels, message):
    with pytest.raises(errors.QueryShapeError, match=message):
        RUNS["logistic"].per_sample_grads(features, labels)


def test_metrics_of_a_constant_score_are_those_of_guessing():
    run = train_logistic(
        TABLE.assign(none=0.0), features=["none"], label="sick", l2=1.0, name="guess"
    )
    share = (TABLE["sick"] == "yes").mean()
    assert run.metrics["auc"] == 0.5
    assert run.metrics["accuracy"] == pytest.approx(max(share, 1 - share))
    entropy = -(share * np.log(share) + (1 - share) * np.log(1 - share))
    assert run.metrics["log_loss"] == pytest.approx(entropy)


def test_a_descent_that_ends_too_early_is_an_error_that_says_how_far_it_came(monkeypatch):
    monkeypatch.setattr(newton, "MAX_STEPS", 2)
    with pytest.raises(errors.TrainingStalledError, match=r"'risk' stopped after 2 steps at grad"):
        train_logistic(TABLE, features=FEATURES, label="sick", l2=1.0, name="risk")
