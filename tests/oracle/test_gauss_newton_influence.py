"""Influence through the Gauss-Newton matrix against dense solves, closed forms and refits."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import spearmanr

from tests.tiny_net import (
    TinyNet,
    dense_rows,
    drawn_training,
    scalar,
    tiny_net,
    tiny_queries,
)
from traceprop_engine.attribution import (
    GGN,
    InfluenceFunction,
)
from traceprop_engine.gradients import LayerGradients, RowGradients
from traceprop_engine.training import train_linear, train_logistic

pytestmark = pytest.mark.oracle


def _dampings(training, rule):
    """Return the damping at each checkpoint, written out from the rule with dense gradients."""
    n_rows, last = training.n_train, len(training.steps) - 1
    trains = [training.train_gradients(checkpoint) for checkpoint in range(last + 1)]
    dense = [dense_rows(train) for train in trains]
    diagonals = [
        np.trace(g.T @ np.diag(train.curvatures) @ g) / n_rows
        for train, g in zip(trains, dense, strict=True)
    ]
    if rule == "trace" or last == 0:
        return diagonals
    speeds = [-g @ g.T @ t.slopes / n_rows for t, g in zip(trains, dense, strict=True)]
    moves = [np.subtract(trains[k + 1].values, trains[k].values) for k in range(last)]
    means = [(speeds[k] + speeds[k + 1]) / 2 for k in range(last)]
    times = np.array([m @ v / (v @ v) for m, v in zip(moves, means, strict=True)])
    squares = np.array([np.sum((t * v) ** 2) for t, v in zip(times, means, strict=True)])
    share = max(0, np.sign(times) @ squares) / sum(m @ m for m in moves)
    whole = (
        np.maximum(times, 0).sum() * training.steps[-1] / (training.steps[-1] - training.steps[0])
    )
    slow = n_rows / whole if whole else 0
    return [d ** (1 - share) * max(d, slow) ** share for d in diagonals]


def _expected(training, queries, labels, target, damping="auto"):
    """Return the scores by dense solves in the parameters, written out from the definition."""
    total, n_checkpoints = 0.0, len(training.steps)
    is_rule = isinstance(damping, str)
    dampings = _dampings(training, damping) if is_rule else [damping] * n_checkpoints
    for checkpoint, added in enumerate(dampings):
        train = training.train_gradients(checkpoint)
        gradients = dense_rows(train)
        asked = dense_rows(training.query_gradients(checkpoint, queries, labels, target))
        hessian = gradients.T @ np.diag(train.curvatures) @ gradients
        hessian += added * np.eye(len(hessian))
        total = total + asked @ np.linalg.solve(hessian, (gradients * -train.slopes[:, None]).T)
    return total / n_checkpoints


@pytest.mark.parametrize("solver", ["dual", "primal", "kronecker_pca"])
@pytest.mark.parametrize("damping", ["auto", "trace", 0.7, 1e-4])
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("n_train", [12, 60])
def test_every_solver_equals_the_dense_solve(solver, damping, n_outputs, n_train):
    net = tiny_net(n_train, n_outputs)
    queries, labels = tiny_queries(net)
    scores = GGN.fit(net, damping=damping, solver=solver).scores(queries, labels)
    expected = _expected(net, queries, labels, "margin", damping)
    np.testing.assert_allclose(
        scores.scores, expected, rtol=1e-6, atol=1e-10 * np.abs(expected).max()
    )


@pytest.mark.parametrize("solver", ["dual", "primal", "kronecker_pca"])
def test_layers_with_positions_and_without_factors_are_solved_exactly(solver):
    training = drawn_training()
    queries = np.arange(4)
    scores = GGN.fit(training, solver=solver).scores(queries).scores
    np.testing.assert_allclose(scores, _expected(training, queries, None, "margin"), atol=1e-10)


def test_a_training_by_small_steps_is_explained_by_its_own_time():
    random = np.random.default_rng(2)
    net = tiny_net(n_train=40, n_outputs=1, n_checkpoints=1)
    parameters, kept, rate = net.parameters[0], [], 0.02
    for step in range(201):
        if step in {20, 60, 200}:
            kept.append(parameters)
        now = TinyNet(net.features, net.labels, (parameters,), (1,))
        rows = now.train_gradients(0)
        change = np.split(rows.weighted_sum(rows.slopes) / 40, [parameters[0].size])
        parameters = tuple(
            matrix - rate * part.reshape(matrix.shape)
            for matrix, part in zip(parameters, change, strict=True)
        )
    trained = TinyNet(net.features, net.labels, tuple(kept), (20, 60, 200))
    fitted = GGN.fit(trained)
    assert fitted.time.explained > 0.95
    assert fitted.time.total == pytest.approx(200 * rate, rel=0.2)
    assert fitted.dampings[2] == pytest.approx(40 / (200 * rate), rel=0.3)
    noise = tuple(tuple(random.normal(size=m.shape) for m in kept[0]) for _ in range(3))
    unlike = GGN.fit(replace(trained, parameters=noise))
    assert unlike.time.explained < 0.5
    assert "explains" in fitted.method


def test_conjugate_gradients_reach_the_dense_solve_up_to_their_tolerance():
    training = drawn_training(n_train=50)
    queries = np.arange(4)
    scores = GGN.fit(training, solver="cg").scores(queries).scores
    expected = _expected(training, queries, None, "margin")
    assert np.abs(scores - expected).max() < 1e-3 * np.abs(expected).max()
    assert np.abs(scores - expected).max() > 0


@pytest.mark.parametrize(
    ("n_outputs", "target", "unit"),
    [
        (1, "margin", "log-odds"),
        (1, "loss", "nats"),
        (1, "logit", "log-odds"),
        (3, "logit", "logits"),
    ],
)
def test_targets_of_a_classifier_are_those_of_the_net(n_outputs, target, unit):
    net = tiny_net(n_outputs=n_outputs)
    queries, labels = tiny_queries(net)
    scores = GGN.fit(net).scores(queries, labels, target=target)
    np.testing.assert_allclose(scores.scores, _expected(net, queries, labels, target), atol=1e-10)
    assert (scores.target, scores.unit) == (target, unit)


def test_a_net_trained_on_squared_error_is_asked_for_its_prediction():
    net = tiny_net(n_outputs=1, loss="squared")
    queries, labels = tiny_queries(net)
    scores = GGN.fit(net).scores(queries)
    expected = _expected(net, queries, labels, "prediction")
    np.testing.assert_allclose(scores.scores, expected, atol=1e-10)
    assert (scores.target, scores.unit) == ("prediction", "unit of the label")


def test_a_function_of_the_outputs_is_a_target():
    def largest(outputs):
        top = outputs == outputs.max(axis=1, keepdims=True)
        return outputs[top], top * 1.0

    net = tiny_net()
    queries, _ = tiny_queries(net)
    scores = GGN.fit(net).scores(queries, target=largest)
    np.testing.assert_allclose(scores.scores, _expected(net, queries, None, largest), atol=1e-10)
    assert scores.unit == "unit of largest"


def test_rows_whose_curvature_or_gradient_is_zero_are_scored_as_the_dense_solve_does():
    training = drawn_training(n_checkpoints=1)
    train = training.train[0]
    curvatures, slopes = train.curvatures.copy(), train.slopes.copy()
    curvatures[:3] = 0.0  # of rows that the net is sure to be wrong, or right, about
    slopes[1] = 0.0
    layers = tuple(replace(layer, deltas=layer.deltas.copy()) for layer in train.layers)
    for layer in layers:
        layer.deltas[5] = 0.0
    flat = RowGradients(layers, train.values, slopes, curvatures)
    training = replace(training, train=(flat,))
    queries = np.arange(4)
    expected = _expected(training, queries, None, "margin")
    for solver in ("dual", "primal", "kronecker_pca"):
        scores = GGN.fit(training, solver=solver).scores(queries).scores
        np.testing.assert_allclose(scores, expected, atol=1e-9)
        assert np.all(scores[:, [1, 5]] == 0)
        assert np.all(scores[:, [0, 2]] != 0)


def test_single_precision_agrees_with_double_to_its_rounding():
    queries = np.arange(4)
    double = GGN.fit(drawn_training(), solver="dual").scores(queries).scores
    single = GGN.fit(drawn_training(dtype=np.float32), solver="dual").scores(queries).scores
    assert np.abs(single - double).max() < 1e-4 * np.abs(double).max()


def _linear_table(n_rows=80, seed=3):
    random = np.random.default_rng(seed)
    features = random.normal(size=(n_rows, 3))
    logits = features @ [1.5, -1.0, 0.3]
    return pd.DataFrame(
        {"a": features[:, 0], "b": features[:, 1], "c": features[:, 2]}
        | {"cost": logits + random.normal(size=n_rows)}
        | {"sick": (random.uniform(size=n_rows) < expit(logits)).astype(int)}
    )


class _LinearTraining:
    """A model of one linear layer without intercept, as a recorded training of one checkpoint."""

    def __init__(self, run):
        self.run, self.loss = run, "squared" if run.family == "linear" else "cross_entropy"
        self.name, self.steps = run.name, (1,)
        self.n_train, self.n_parameters, self.n_outputs = run.n_train, run.features.shape[1], 1

    def query_gradients(self, checkpoint, features, labels, target):
        outputs = features @ self.run.parameters[0, :-1]
        values, slopes = scalar(outputs[:, None], labels, target, self.loss)
        empty = np.empty(0)
        return RowGradients((LayerGradients("only", features, slopes),), values, empty, empty)

    def train_gradients(self, checkpoint):
        labels, outputs = self.run.targets, self.run.outputs(self.run.features)[:, 0]
        target = "margin" if self.loss == "cross_entropy" else "prediction"
        rows = self.query_gradients(checkpoint, self.run.features, labels, target)
        if self.loss == "squared":
            ones = np.ones(self.n_train)
            return RowGradients(rows.layers, outputs, outputs - labels, ones)
        wrong = expit(-np.where(labels == 1, 1, -1) * outputs)
        return RowGradients(rows.layers, rows.values, -wrong, wrong * (1 - wrong))


def _without_intercept(train, label, l2=0.8):
    run = train(_linear_table(), features=["a", "b", "c"], label=label, l2=l2, name=label)
    start = run.parameters.copy()
    start[:, -1] = 0.0
    return replace(run, parameters=start, fit_intercept=False).polish()


@pytest.mark.parametrize("solver", ["dual", "primal", "kronecker_pca"])
@pytest.mark.parametrize(
    ("train", "label", "target"),
    [
        (train_logistic, "sick", "margin"),
        (train_logistic, "sick", "loss"),
        (train_linear, "cost", "prediction"),
        (train_linear, "cost", "loss"),
    ],
)
def test_with_the_penalty_as_damping_it_is_the_influence_function(solver, train, label, target):
    run = _without_intercept(train, label)
    queries = np.random.default_rng(4).normal(size=(6, 3))
    labels = np.array([0, 1, 1, 0, 1, 0])
    exact = InfluenceFunction.fit(run, leave_one_out=False)
    expected = exact.scores(queries, labels, target=target)
    fitted = GGN.fit(_LinearTraining(run), damping=run.l2, solver=solver)
    scores = fitted.scores(queries, labels, target=target)
    np.testing.assert_allclose(scores.scores, expected.scores, rtol=1e-8, atol=1e-12)
    assert scores.target == expected.target


def _train_net(features, labels, weights, start, l2=1.0):
    """Return a tanh net at a minimum of its penalised, weighted loss, found from a start."""
    shapes = [matrix.shape for matrix in start]
    sizes = [matrix.size for matrix in start]

    def unpack(flat):
        parts = np.split(flat, np.cumsum(sizes)[:-1])
        return tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))

    def objective(flat):
        net = TinyNet(features, labels, (unpack(flat),), (1,))
        rows = net.query_gradients(0, features, labels, "loss")
        penalty = l2 / 2 * flat @ flat
        losses = net.value(0, features, labels, "loss")[0]
        return losses @ weights + penalty, rows.weighted_sum(weights) + l2 * flat

    begin = np.concatenate([matrix.ravel() for matrix in start])
    options = {"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-9}
    found = minimize(objective, begin, jac=True, method="L-BFGS-B", options=options)
    return unpack(found.x)


def test_refits_of_a_net_without_each_row_confirm_sign_size_and_order():
    random = np.random.default_rng(8)
    features = random.normal(size=(30, 3))
    labels = (features[:, 0] + 0.5 * random.normal(size=30) > 0).astype(int)
    start = random.normal(size=(4, 3)), random.normal(size=(4, 1))
    trained = _train_net(features, labels, np.ones(30), start)
    net = TinyNet(features, labels, (trained,), (1,))
    queries, query_labels = random.normal(size=(8, 3)), random.integers(0, 2, 8)
    scores = GGN.fit(net, damping=1.0).scores(queries, query_labels).scores
    refits = np.empty_like(scores)
    before = net.value(0, queries, query_labels, "margin")[0]
    for row in range(30):
        kept = np.arange(30) != row
        after = TinyNet(features, labels, (_train_net(features, labels, kept, trained),), (1,))
        refits[:, row] = before - after.value(0, queries, query_labels, "margin")[0]
    order = [spearmanr(scores[q], refits[q]).statistic for q in range(8)]
    assert min(order) > 0.7
    assert np.mean(order) > 0.9
    slope = (scores * refits).sum() / (scores**2).sum()
    assert 0.7 < slope < 1.5  # the size of the effect, not only its order


def test_labels_that_a_row_shares_raise_a_margin_and_others_lower_it():
    """A score's sign: a copy of the query with its own label raises its margin."""
    net = tiny_net(n_train=30, n_outputs=1, n_checkpoints=1)
    scores = GGN.fit(net).scores(net.features, net.labels).scores
    assert np.all(np.diagonal(scores) > 0)
    flipped = GGN.fit(net).scores(net.features, 1 - net.labels).scores
    np.testing.assert_allclose(flipped, -scores, atol=1e-12)


def test_the_net_of_these_tests_has_the_gradients_that_finite_differences_say():
    net = tiny_net(n_train=5)
    rows = net.train_gradients(0)
    dense, step = dense_rows(rows), 1e-6
    for place in range(net.n_parameters):
        moved = []
        for sign in (1, -1):
            flat = np.concatenate([matrix.ravel() for matrix in net.parameters[0]])
            flat[place] += sign * step
            first = net.parameters[0][0]
            parts = flat[: first.size].reshape(first.shape), flat[first.size :]
            second = parts[1].reshape(net.parameters[0][1].shape)
            other = replace(net, parameters=((parts[0], second),))
            moved.append(other.value(0, net.features, net.labels, "margin")[0])
        difference = (moved[0] - moved[1]) / (2 * step)
        np.testing.assert_allclose(dense[:, place], difference, atol=1e-7)
