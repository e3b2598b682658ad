"""The solutions against scikit-learn, against each other, and against what a minimum is."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from benchmarks.training_tables import GENERATED_FEATURES, generated_table
from traceprop_engine.training import TrainingRun, train_linear, train_logistic, train_softmax

pytestmark = pytest.mark.oracle
TABLE = generated_table(400, seed=3)
INDEPENDENT = [name for name in GENERATED_FEATURES if name != "double"]
TRAINERS = {
    "linear": (train_linear, "cost"),
    "logistic": (train_logistic, "sick"),
    "softmax": (train_softmax, "grade"),
}


def _train(family, l2=0.5, features=GENERATED_FEATURES, table=TABLE) -> TrainingRun:
    train, label = TRAINERS[family]
    return train(table, features=features, label=label, l2=l2, name=family)


@pytest.mark.parametrize("l2", [1e-3, 0.5, 100.0])
def test_logistic_agrees_with_scikit_learn_run_to_its_end(l2):
    linear_model = pytest.importorskip("sklearn.linear_model")
    run = _train("logistic", l2)
    peer = linear_model.LogisticRegression(C=1 / l2, solver="newton-cholesky", tol=1e-12)
    peer.fit(run.features, run.labels)
    np.testing.assert_allclose(run.parameters[:, :-1], peer.coef_, atol=1e-7)
    np.testing.assert_allclose(run.parameters[:, -1], peer.intercept_, atol=1e-7)


@pytest.mark.parametrize("l2", [1e-2, 0.5, 100.0])
def test_softmax_agrees_with_scikit_learn_up_to_the_common_shift(l2):
    linear_model = pytest.importorskip("sklearn.linear_model")
    run = _train("softmax", l2)
    peer = linear_model.LogisticRegression(C=1 / l2, solver="newton-cg", tol=1e-10, max_iter=1000)
    peer.fit(run.features, run.labels)
    np.testing.assert_allclose(run.parameters[:, :-1], peer.coef_, atol=1e-6)
    shifted = peer.intercept_ - peer.intercept_.mean()
    np.testing.assert_allclose(run.parameters[:, -1], shifted, atol=1e-6)


@pytest.mark.parametrize("l2", [0.0, 0.5, 100.0])
def test_linear_agrees_with_the_normal_equations_of_centred_data(l2):
    run = _train("linear", l2, INDEPENDENT)
    centred = run.features - run.features.mean(axis=0)
    labels = TABLE["cost"].to_numpy()
    gram = centred.T @ centred + l2 * np.eye(centred.shape[1])
    weights = np.linalg.solve(gram, centred.T @ (labels - labels.mean()))
    np.testing.assert_allclose(run.parameters[0, :-1], weights, rtol=1e-9, atol=1e-9)
    intercept = labels.mean() - run.features.mean(axis=0) @ weights
    assert run.parameters[0, -1] == pytest.approx(intercept, rel=1e-11)


@pytest.mark.parametrize("family", TRAINERS)
def test_no_general_purpose_optimiser_finds_a_lower_objective(family):
    run = _train(family)
    objective = run.objective

    def value(vector):
        return objective.value(vector.reshape(objective.shape))

    def gradient(vector):
        return objective.gradient(vector.reshape(objective.shape)).ravel()

    lowest = minimize(
        value, np.zeros(run.parameters.size), jac=gradient, method="BFGS", options={"gtol": 1e-6}
    )
    assert value(run.parameters.ravel()) <= lowest.fun * (1 + 1e-12)
    np.testing.assert_allclose(
        run.objective.outputs(run.parameters),
        run.objective.outputs(lowest.x.reshape(objective.shape))
        - (lowest.x.reshape(objective.shape)[:, -1].mean() if family == "softmax" else 0),
        atol=1e-3,
    )


@pytest.mark.parametrize("l2", [0.0, 0.5])
def test_softmax_of_two_classes_is_the_logistic_model_of_half_the_penalty(l2):
    features = INDEPENDENT
    two = train_softmax(TABLE, features=features, label="sick", l2=l2, name="two")
    one = train_logistic(TABLE, features=features, label="sick", l2=l2 / 2, name="one")
    difference = two.parameters[1] - two.parameters[0]
    np.testing.assert_allclose(difference, one.parameters[0], atol=1e-9)


@pytest.mark.parametrize("l2", [0.0, 0.5])
def test_softmax_weights_and_intercepts_sum_to_zero_over_the_classes(l2):
    run = _train("softmax", l2, INDEPENDENT)
    np.testing.assert_allclose(run.parameters.sum(axis=0), 0, atol=1e-10)


@pytest.mark.parametrize("family", TRAINERS)
@pytest.mark.parametrize("l2", [0.0, 1e-6, 0.5])
def test_training_ends_at_the_promised_gradient_norm(family, l2):
    run = _train(family, l2, INDEPENDENT)
    assert run.converged
    if family != "linear":  # costs near 1,000 leave rounding above 1e-10 a row
        assert run.gradient_norm <= 1e-10 * run.n_train


def test_the_loss_curve_falls_and_the_callback_sees_every_point():
    seen = []
    run = train_logistic(
        TABLE, features=INDEPENDENT, label="sick", l2=0.5, name="r", progress=seen.append
    )
    assert [step.objective for step in seen] == list(run.loss_curve)
    assert [step.step for step in seen] == list(range(run.n_iterations + 1))
    assert np.all(np.diff(run.loss_curve) <= 1e-9)
    assert run.loss_curve[0] == pytest.approx(len(TABLE) * np.log(2))
    assert seen[-1].gradient_norm == pytest.approx(run.gradient_norm, abs=1e-12)


@pytest.mark.parametrize("family", TRAINERS)
def test_features_of_wildly_different_size_do_no_harm(family):
    sizes = np.logspace(-6, 6, len(INDEPENDENT))
    scaled = TABLE.copy()
    scaled[INDEPENDENT] *= sizes
    plain = _train(family, 0.0, INDEPENDENT)
    run = _train(family, 0.0, INDEPENDENT, scaled)
    assert run.converged
    np.testing.assert_allclose(
        run.outputs(run.features), plain.outputs(plain.features), rtol=1e-6, atol=1e-6
    )


def test_a_start_far_from_the_minimum_still_reaches_it():
    run = _train("logistic")
    rng = np.random.default_rng(0)
    far = TrainingRun(
        run.family,
        run.name,
        run.feature_names,
        run.label,
        run.classes,
        run.l2,
        rng.normal(0, 30, run.parameters.shape),
        run.features,
        run.labels,
        run.index,
    )
    np.testing.assert_allclose(far.polish().parameters, run.parameters, atol=1e-8)


def test_area_under_the_curve_agrees_with_scikit_learn_ties_included():
    metrics = pytest.importorskip("sklearn.metrics")
    rounded = TABLE[list(INDEPENDENT)].round(0).assign(sick=TABLE["sick"])
    run = _train("logistic", 0.5, ["rare0", "rare1", "x0"], rounded)
    positive = rounded["sick"] == "yes"
    scores = run.outputs(run.features)[:, 0]
    assert len(np.unique(scores)) < len(scores) / 4
    assert run.metrics["auc"] == pytest.approx(metrics.roc_auc_score(positive, scores), abs=1e-14)


@pytest.mark.parametrize("family", ["logistic", "softmax"])
def test_log_loss_and_accuracy_agree_with_scikit_learn_on_held_out_rows(family):
    metrics = pytest.importorskip("sklearn.metrics")
    run = _train(family)
    held_out = generated_table(300, seed=8)
    label = run.label
    frame = run.predict(held_out).frame
    if family == "logistic":
        shares = np.column_stack([1 - frame["probability"], frame["probability"]])
    else:
        shares = frame[[f"probability_{value}" for value in run.classes]].to_numpy()
    measured = run.evaluate(held_out)
    truth = held_out[label].to_numpy()
    best = np.array(run.classes)[shares.argmax(axis=1)]
    assert measured["log_loss"] == pytest.approx(metrics.log_loss(truth, shares), rel=1e-12)
    assert measured["accuracy"] == pytest.approx((best == truth).mean())


def test_regression_metrics_agree_with_scikit_learn_on_held_out_rows():
    metrics = pytest.importorskip("sklearn.metrics")
    run = _train("linear")
    held_out = generated_table(300, seed=8)
    predicted = run.predict(held_out).frame["prediction"]
    measured = run.evaluate(held_out)
    assert measured["r2"] == pytest.approx(metrics.r2_score(held_out["cost"], predicted))
    error = metrics.root_mean_squared_error(held_out["cost"], predicted)
    assert measured["rmse"] == pytest.approx(error)


def test_repeated_rows_count_as_often_as_they_stand():
    table = TABLE.head(150)
    doubled = pd.concat([table, table])
    once = train_logistic(table, features=INDEPENDENT, label="sick", l2=0.5, name="r")
    twice = train_logistic(doubled, features=INDEPENDENT, label="sick", l2=1.0, name="r")
    np.testing.assert_allclose(twice.parameters, once.parameters, atol=1e-9)
