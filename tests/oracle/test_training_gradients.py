"""Gradients and Hessians against a loop over rows and against finite differences."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.training_tables import generated_table
from traceprop_engine.training import train_linear, train_logistic, train_softmax

pytestmark = pytest.mark.oracle
TABLE = generated_table(60, seed=1)
FEATURES = ["x0", "x1", "x2", "rare0", "double"]
RUNS = {
    "linear": train_linear(TABLE, features=FEATURES, label="cost", l2=0.7, name="linear"),
    "logistic": train_logistic(TABLE, features=FEATURES, label="sick", l2=0.7, name="logistic"),
    "softmax": train_softmax(TABLE, features=FEATURES, label="grade", l2=0.7, name="softmax"),
}


def _moved(run, fit_intercept=True):
    """Return the run at parameters that are no minimum, where nothing cancels."""
    noise = np.random.default_rng(4).normal(0, 0.3, run.parameters.shape)
    if not fit_intercept:
        noise[:, -1] = -run.parameters[:, -1]
    return replace(run, parameters=run.parameters + noise, fit_intercept=fit_intercept)


def _loss_of_row(run, row, parameters):
    """Return one row's loss, written out from its definition."""
    outputs = parameters[:, :-1] @ run.features[row] + parameters[:, -1]
    if run.family == "linear":
        return (outputs[0] - run.labels[row]) ** 2 / 2
    if run.family == "logistic":
        chance = 1 / (1 + np.exp(-outputs[0]))
        return -np.log(chance if run.labels[row] == run.classes[1] else 1 - chance)
    shares = np.exp(outputs) / np.exp(outputs).sum()
    return -np.log(shares[run.classes.index(run.labels[row])])


def _differences(function, parameters, step=1e-5):
    """Return central differences of a function of the parameters, last axis the parameter."""
    columns = []
    for position in range(parameters.size):
        bump = np.zeros(parameters.size)
        bump[position] = step
        shaped = bump.reshape(parameters.shape)
        columns.append((function(parameters + shaped) - function(parameters - shaped)) / (2 * step))
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize("family", RUNS)
def test_each_rows_gradient_is_the_finite_difference_of_its_own_loss(family):
    run = _moved(RUNS[family])
    grads = run.per_sample_grads()
    for row in range(run.n_train):
        expected = _differences(lambda at, row=row: _loss_of_row(run, row, at), run.parameters)
        np.testing.assert_allclose(grads[row], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("family", RUNS)
def test_capturing_rows_at_once_is_capturing_them_one_by_one(family):
    run = _moved(RUNS[family])
    together = run.per_sample_grads()
    for row in range(run.n_train):
        alone = run.per_sample_grads(run.features[[row]], run.labels[[row]])
        np.testing.assert_allclose(together[row], alone[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("family", RUNS)
def test_the_gradients_of_all_rows_and_the_penalty_sum_to_the_objectives(family):
    run = _moved(RUNS[family])
    penalty = run.l2 * run.parameters
    penalty[:, -1] = 0
    total = run.per_sample_grads().sum(axis=0) + penalty.ravel()
    np.testing.assert_allclose(total, run.objective.gradient(run.parameters).ravel(), rtol=1e-10)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("family", RUNS)
def test_the_hessian_is_the_finite_difference_of_the_gradient(family, fit_intercept):
    run = _moved(RUNS[family], fit_intercept)
    free = np.ones(run.parameters.shape)
    free[:, -1] = fit_intercept

    def gradient(parameters):
        return run.objective.gradient(parameters * free).ravel()

    expected = _differences(gradient, run.parameters)
    np.testing.assert_allclose(run.hessian(), expected, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("family", RUNS)
def test_the_objective_is_the_sum_of_the_row_losses_and_the_penalty(family):
    run = _moved(RUNS[family])
    losses = sum(_loss_of_row(run, row, run.parameters) for row in range(run.n_train))
    penalty = run.l2 / 2 * np.sum(run.parameters[:, :-1] ** 2)
    assert run.objective.value(run.parameters) == pytest.approx(losses + penalty, rel=1e-12)


@pytest.mark.parametrize("l2", [0.0, 0.7])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("family", RUNS)
def test_the_shift_directions_are_all_of_the_null_space_of_the_loss(family, fit_intercept, l2):
    run = replace(RUNS[family], l2=l2, fit_intercept=fit_intercept)
    run = replace(
        run,
        features=run.features[:, :4],
        feature_names=run.feature_names[:4],
        parameters=np.delete(run.parameters, 4, axis=1),
    )
    flat = run.objective.shift_directions()
    np.testing.assert_allclose(flat.T @ flat, np.eye(flat.shape[1]), atol=1e-12)
    loss = run.objective.loss_hessian(run.parameters)
    eigenvalues = np.linalg.eigvalsh(loss)
    assert np.sum(eigenvalues < 1e-9 * eigenvalues.max()) == flat.shape[1]
    np.testing.assert_allclose(loss @ flat, 0, atol=1e-9 * eigenvalues.max())
    image = run.hessian() @ flat
    np.testing.assert_allclose(flat @ (flat.T @ image), image, atol=1e-9 * eigenvalues.max())
