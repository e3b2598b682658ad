"""Fitted scikit-learn estimators as training runs."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.training_tables import generated_table
from traceprop_engine.attribution import InfluenceFunction
from traceprop_engine.errors import (
    UnconvergedRunError,
    UnknownClassError,
    UnsupportedEstimatorError,
)
from traceprop_engine.training import from_estimator, train_linear, train_logistic, train_softmax

linear_model = pytest.importorskip("sklearn.linear_model")
TABLE = generated_table(200, seed=4)
FEATURES = ["x0", "x1", "x2", "rare0", "rare1"]


def _fit(estimator, label, features=FEATURES, table=TABLE):
    return estimator.fit(table[features], table[label])


def _take(estimator, label, features=FEATURES, table=TABLE):
    return from_estimator(estimator, table, features=features, label=label, name="taken")


@pytest.mark.parametrize(
    ("make", "label", "train", "l2"),
    [
        (lambda: linear_model.LogisticRegression(C=0.5), "sick", train_logistic, 2.0),
        (lambda: linear_model.LogisticRegression(C=0.5), "grade", train_softmax, 2.0),
        (lambda: linear_model.LogisticRegression(C=np.inf), "sick", train_logistic, 0.0),
        (lambda: linear_model.Ridge(alpha=3.0), "cost", train_linear, 3.0),
        (linear_model.LinearRegression, "cost", train_linear, 0.0),
    ],
)
def test_a_polished_estimator_is_the_model_of_our_own_solver(make, label, train, l2):
    features = FEATURES[:3]
    estimator = _fit(make(), label, features)
    run = _take(estimator, label, features)
    own = train(TABLE, features=features, label=label, l2=l2, name="own")
    assert run.l2 == l2
    assert (run.family, run.classes) == (own.family, own.classes)
    polished = run.polish()
    assert polished.converged
    outputs = polished.outputs(run.features)
    if run.family == "softmax":
        outputs = outputs - outputs.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(outputs, own.outputs(run.features), atol=1e-8)


def test_the_run_predicts_as_the_estimator_does():
    for label in ("sick", "grade"):
        estimator = _fit(linear_model.LogisticRegression(), label)
        frame = _take(estimator, label).predict(TABLE).frame
        expected = estimator.predict_proba(TABLE[FEATURES])
        if label == "sick":
            np.testing.assert_allclose(frame["probability"], expected[:, 1], rtol=1e-12)
        else:
            np.testing.assert_allclose(frame.filter(like="probability_"), expected, rtol=1e-12)


def test_a_default_fit_is_told_to_be_short_of_its_minimum():
    run = _take(_fit(linear_model.LogisticRegression(), "sick"), "sick")
    assert not run.converged
    assert run.gradient_norm > run.gradient_tolerance
    with pytest.raises(UnconvergedRunError, match=r"gradient norm .*polish"):
        InfluenceFunction.fit(run)
    accepted = InfluenceFunction.fit(run, allow_unconverged=True)
    exact = InfluenceFunction.fit(run.polish())
    queries = run.features[:5]
    np.testing.assert_allclose(
        accepted.scores(queries).scores, exact.scores(queries).scores, rtol=0.05, atol=1e-3
    )


def test_a_fit_on_weighted_rows_shows_in_its_gradient():
    estimator = linear_model.LogisticRegression(tol=1e-10, solver="newton-cholesky")
    weights = np.linspace(0.1, 2, len(TABLE))
    estimator.fit(TABLE[FEATURES], TABLE["sick"], sample_weight=weights)
    assert _take(estimator, "sick").gradient_norm > 1


@pytest.mark.parametrize("label", ["sick", "grade"])
def test_a_model_without_intercept_is_taken_over_and_polished(label):
    estimator = _fit(linear_model.LogisticRegression(fit_intercept=False), label)
    run = _take(estimator, label).polish()
    assert run.converged
    np.testing.assert_array_equal(run.parameters[:, -1], 0)
    finer = linear_model.LogisticRegression(fit_intercept=False, tol=1e-10, solver="newton-cg")
    np.testing.assert_allclose(run.parameters[:, :-1], _fit(finer, label).coef_, atol=1e-6)


def test_influence_of_a_model_without_intercept_is_that_of_refits():
    run = _take(_fit(linear_model.Ridge(fit_intercept=False), "cost"), "cost").polish()
    queries = generated_table(5, seed=1)[FEATURES].to_numpy()
    scores = InfluenceFunction.fit(run).scores(queries).scores
    for row in range(0, 200, 20):
        refit = _fit(linear_model.Ridge(fit_intercept=False), "cost", table=TABLE.drop(index=row))
        truth = run.outputs(queries)[:, 0] - refit.predict(pd.DataFrame(queries, columns=FEATURES))
        np.testing.assert_allclose(scores[:, row], truth, atol=1e-8)


@pytest.mark.parametrize(
    ("make", "label", "message"),
    [
        (lambda m: m.LogisticRegression(l1_ratio=1.0, solver="saga"), "sick", "penalty is l1"),
        (lambda m: m.LogisticRegression(l1_ratio=0.5, solver="saga"), "sick", "elasticnet"),
        (lambda m: m.LogisticRegression(class_weight="balanced"), "sick", "class_weight"),
        (lambda m: m.LogisticRegression(solver="liblinear"), "sick", "penalises the intercept"),
        (lambda m: m.Ridge(positive=True), "cost", "positive=True"),
        (lambda m: m.LinearRegression(positive=True), "cost", "positive=True"),
        (lambda m: m.Lasso(), "cost", "objective is not known"),
        (lambda m: m.RidgeClassifier(), "sick", "objective is not known"),
        (
            lambda m: m.LogisticRegressionCV(l1_ratios=(0,), use_legacy_attributes=False),
            "sick",
            "objective is not known",
        ),
        (lambda m: m.SGDClassifier(loss="log_loss"), "sick", "objective is not known"),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_what_cannot_be_written_exactly_is_refused_with_the_reason(make, label, message):
    estimator = _fit(make(linear_model), label)
    with pytest.raises(UnsupportedEstimatorError, match=message):
        _take(estimator, label)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"penalty": "l1"}, "penalty is l1"),
        ({"penalty": "elasticnet", "l1_ratio": 0.3}, "penalty is elasticnet"),
        ({"multi_class": "ovr"}, "one model for each class against the rest"),
    ],
)
def test_the_parameters_of_older_releases_are_understood(parameters, message):
    """Set what scikit-learn before 1.8 would hold after a fit."""
    estimator = _fit(linear_model.LogisticRegression(), "grade")
    for name, value in parameters.items():
        setattr(estimator, name, value)
    with pytest.raises(UnsupportedEstimatorError, match=message):
        _take(estimator, "grade")


def test_older_releases_say_no_penalty_by_none():
    estimator = _fit(linear_model.LogisticRegression(C=np.inf, tol=1e-8), "sick", FEATURES[:3])
    estimator.penalty, estimator.C = None, 1.0
    assert _take(estimator, "sick", FEATURES[:3]).l2 == 0.0


def test_an_estimator_that_is_not_fitted_is_refused():
    with pytest.raises(UnsupportedEstimatorError, match="not fitted"):
        _take(linear_model.LogisticRegression(), "sick")


def test_features_in_another_order_are_refused():
    estimator = _fit(linear_model.LogisticRegression(), "sick")
    with pytest.raises(UnsupportedEstimatorError, match="fitted on the columns"):
        _take(estimator, "sick", FEATURES[::-1])
    estimator = linear_model.LogisticRegression().fit(TABLE[FEATURES].to_numpy(), TABLE["sick"])
    with pytest.raises(UnsupportedEstimatorError, match="on 5 columns, not on 3"):
        _take(estimator, "sick", FEATURES[:3])


def test_several_labels_or_penalties_at_once_are_refused():
    both = linear_model.Ridge().fit(TABLE[FEATURES], TABLE[["cost", "x5"]])
    with pytest.raises(UnsupportedEstimatorError, match="several labels"):
        _take(both, "cost")
    many = linear_model.Ridge(alpha=[1.0, 2.0]).fit(TABLE[FEATURES], TABLE[["cost", "x5"]])
    with pytest.raises(UnsupportedEstimatorError):
        _take(many, "cost")


def test_a_label_that_the_estimator_never_saw_is_refused():
    estimator = _fit(linear_model.LogisticRegression(), "sick")
    with pytest.raises(UnknownClassError, match="'perhaps'"):
        _take(estimator, "sick", table=TABLE.assign(sick="perhaps"))
