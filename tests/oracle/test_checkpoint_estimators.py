"""EK-FAC, K-FAC, TRAK, gradient products and the last layer, each against its formula."""

from dataclasses import replace

import numpy as np
import pytest

from tests.tiny_net import dense_rows, drawn_training, tiny_net, tiny_queries
from traceprop_engine.attribution import (
    EKFAC,
    GGN,
    KFAC,
    TRAK,
    GradCos,
    GradDot,
    LastLayer,
    TracIn,
)
from traceprop_engine.gradients import LayerGradients, RowGradients
from traceprop_engine.gradients.projection import random_projection
from traceprop_engine.training.recipe import TrainingRecipe

pytestmark = pytest.mark.oracle
QUERIES = np.arange(4)


def _eigenvectors(rows, weights):
    return np.linalg.eigh(rows.T @ np.diag(weights) @ rows)


def _kronecker(layer, curvatures, *, exact):
    """Return an orthonormal basis of a layer's parameters, in columns, and its eigenvalues."""
    gradients = dense_rows(_only(layer))
    if layer.inputs is None:
        values, basis = _eigenvectors(gradients, curvatures)
        return basis, values
    inputs, deltas = (part.reshape(-1, part.shape[-1]) for part in (layer.inputs, layer.deltas))
    n_positions = len(inputs) // len(curvatures)
    in_values, of_inputs = _eigenvectors(inputs, np.ones(len(inputs)))
    out_values, of_deltas = _eigenvectors(deltas, np.repeat(curvatures, n_positions))
    basis = np.kron(of_inputs, of_deltas)
    if exact:
        return basis, np.diag(curvatures) @ (gradients @ basis) ** 2 @ np.eye(basis.shape[1])
    return basis, np.kron(in_values, out_values) / len(inputs)


def _only(layer):
    empty = np.empty(0)
    return RowGradients((layer,), np.zeros(len(layer.deltas)), empty, empty)


def _kronecker_scores(training, *, exact, damping):
    total = 0.0
    for train, queries in zip(training.train, training.queries, strict=True):
        for layer, asked in zip(train.layers, queries.layers, strict=True):
            basis, values = _kronecker(layer, train.curvatures, exact=exact)
            values = values.sum(axis=0) if values.ndim > 1 else values
            added = 0.1 * values.mean() if damping == "auto" else damping
            inverse = basis @ np.diag(1 / (values + added)) @ basis.T
            pushes = dense_rows(_only(layer)) * -train.slopes[:, None]
            total = total + dense_rows(_only(asked)) @ inverse @ pushes.T
    return total / len(training.train)


@pytest.mark.parametrize(("estimator", "exact"), [(EKFAC, True), (KFAC, False)])
@pytest.mark.parametrize("damping", ["auto", 0.3])
def test_kronecker_factors_give_what_the_explicit_products_give(estimator, exact, damping):
    training = drawn_training(n_train=30)
    scores = estimator.fit(training, damping=damping).scores(QUERIES)
    expected = _kronecker_scores(training, exact=exact, damping=damping)
    np.testing.assert_allclose(scores.scores, expected, rtol=1e-8, atol=1e-10)


def test_the_trace_as_damping_of_kronecker_factors_is_that_of_their_eigenvalues():
    training = drawn_training(n_train=30, n_checkpoints=1)
    train = training.train[0]
    traces = [(train.curvatures @ dense_rows(_only(layer)) ** 2).sum() for layer in train.layers]
    expected = EKFAC.fit(training, damping=sum(traces) / 30).scores(QUERIES)
    scores = EKFAC.fit(training, damping="trace").scores(QUERIES)
    np.testing.assert_allclose(scores.scores, expected.scores, rtol=1e-10)


def test_kronecker_factors_of_one_input_and_one_output_are_exact():
    """With one number a layer there is nothing to factor: it is the block-diagonal inverse."""
    net = tiny_net(n_train=20, n_outputs=1)
    layers = tuple(
        replace(layer, inputs=layer.inputs[:, :1], deltas=layer.deltas[:, :1])
        for layer in net.train_gradients(0).layers[:1]
    )
    train = replace(net.train_gradients(0), layers=layers)
    training = replace(drawn_training(), train=(train,), queries=(train,))
    rows = np.arange(20)
    exact = GGN.fit(training, damping=0.2).scores(rows).scores
    factored = EKFAC.fit(training, damping=0.2).scores(rows).scores
    np.testing.assert_allclose(factored, exact, rtol=1e-10)


@pytest.mark.parametrize("estimator", [EKFAC, KFAC])
def test_a_convolution_that_comes_multiplied_out_is_inverted_whole(estimator):
    """16 channels of 3 x 3 to 16, with a bias: one such layer is what Gauss-Newton inverts."""
    net = tiny_net(n_train=12, n_outputs=1)
    flat = np.random.default_rng(3).normal(size=(12, (16 * 9 + 1) * 16))
    layer = LayerGradients("convolution", None, flat)
    train = replace(net.train_gradients(0), layers=(layer,))
    training = replace(drawn_training(), train=(train,), queries=(train,))
    rows = np.arange(12)
    exact = GGN.fit(training, damping=20.0).scores(rows).scores
    whole = estimator.fit(training, damping=20.0).scores(rows).scores
    np.testing.assert_allclose(whole, exact, rtol=1e-8, atol=1e-10)


def test_refinement_carries_kronecker_factors_to_the_exact_inverse():
    training = drawn_training(n_train=30)
    exact = GGN.fit(training, damping=0.5).scores(QUERIES).scores
    errors = [
        np.abs(EKFAC.fit(training, damping=0.5, refinements=n).scores(QUERIES).scores - exact).max()
        for n in (0, 5, 60)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-8 * np.abs(exact).max()


def _trak(training, projections, damping, *, curvature):
    total = 0.0
    for position, train in enumerate(training.train):
        features = projections[position].project(train)
        asked = projections[position].project(training.queries[position])
        weights = train.curvatures if curvature else np.ones(train.n_rows)
        moment = features.T @ np.diag(weights) @ features
        auto = np.trace(features.T @ np.diag(weights) @ features) / len(features)
        moment += (auto if damping == "auto" else damping) * np.eye(len(moment))
        total = total + asked @ np.linalg.solve(moment, (features * -train.slopes[:, None]).T)
    return total / len(training.train)


@pytest.mark.parametrize(
    ("kind", "damping"), [("count_sketch", "auto"), ("rademacher", 0.3), ("rademacher", 0.0)]
)
@pytest.mark.parametrize("curvature", [True, False])
def test_trak_is_its_formula(kind, damping, curvature):
    training = drawn_training(n_train=30)
    layout = training.train[0].layout
    projections = [random_projection(kind, layout, 9, seed=5 + position) for position in (0, 1)]
    fitted = TRAK.fit(
        training, n_features=9, projection=kind, seed=5, damping=damping, curvature=curvature
    )
    expected = _trak(training, projections, damping, curvature=curvature)
    np.testing.assert_allclose(fitted.scores(QUERIES).scores, expected, rtol=1e-8)


def test_trak_without_projection_and_with_curvature_is_gauss_newton_influence():
    training = drawn_training(n_train=30)
    unprojected = TRAK.fit(training, n_features=64, curvature=True)
    assert unprojected.n_features == training.n_parameters
    exact = GGN.fit(training, damping="trace").scores(QUERIES).scores
    np.testing.assert_allclose(unprojected.scores(QUERIES).scores, exact, rtol=1e-8)


def test_products_of_gradients_are_those_of_the_loss():
    training = drawn_training()
    rates = (0.5, 0.125)
    products = [
        -dense_rows(queries) @ (dense_rows(train) * train.slopes[:, None]).T
        for train, queries in zip(training.train, training.queries, strict=True)
    ]
    dots = GradDot.fit(training).scores(QUERIES)
    np.testing.assert_allclose(dots.scores, (products[0] + products[1]) / 2, rtol=1e-10)
    assert dots.unit == "log-odds per unit of learning rate"
    traced = TracIn.fit(training, learning_rates=rates).scores(QUERIES)
    expected = rates[0] * products[0] + rates[1] * products[1]
    np.testing.assert_allclose(traced.scores, expected, rtol=1e-10)
    assert traced.unit == "log-odds"
    lengths = [
        np.outer(
            np.linalg.norm(dense_rows(queries), axis=1),
            np.linalg.norm(dense_rows(train) * train.slopes[:, None], axis=1),
        )
        for train, queries in zip(training.train, training.queries, strict=True)
    ]
    cosines = GradCos.fit(training).scores(QUERIES)
    expected = (products[0] / lengths[0] + products[1] / lengths[1]) / 2
    np.testing.assert_allclose(cosines.scores, expected, rtol=1e-10)
    assert cosines.unit == "cosine"


def test_the_learning_rates_of_the_recipe_are_used():
    recipe = TrainingRecipe(learning_rate=0.5, schedule="cosine", batch_size=6, epochs=5)
    net = replace(tiny_net(n_train=24), recipe=recipe)  # 20 steps, kept after 10 and 20
    queries, labels = tiny_queries(net)
    rates = tuple(0.25 * (1 + np.cos(np.pi * step / 20)) for step in (9, 19))
    recorded = TracIn.fit(net).scores(queries, labels).scores
    given = TracIn.fit(net, learning_rates=rates).scores(queries, labels).scores
    np.testing.assert_allclose(recorded, given, rtol=1e-12)
    last = TracIn.fit(net, checkpoints=[1]).scores(queries, labels).scores
    dots = GradDot.fit(net, checkpoints=[1]).scores(queries, labels).scores
    np.testing.assert_allclose(last, rates[1] * dots, rtol=1e-12)


def test_a_step_on_one_row_moves_the_target_by_its_product():
    """TracIn's sign and size: one small step of gradient descent on a row raises the target."""
    net, rate = tiny_net(n_train=6, n_checkpoints=1), 1e-6
    queries, labels = tiny_queries(net)
    scores = TracIn.fit(net, learning_rates=(rate,)).scores(queries, labels).scores
    before = net.value(0, queries, labels, "margin")[0]
    rows = net.train_gradients(0)
    for row in range(6):
        step = dense_rows(rows)[row] * -rate * rows.slopes[row]
        first, second = net.parameters[0]
        moved = (
            first + step[: first.size].reshape(first.shape),
            second + step[first.size :].reshape(second.shape),
        )
        after = replace(net, parameters=(moved,)).value(0, queries, labels, "margin")[0]
        np.testing.assert_allclose(after - before, scores[:, row], rtol=1e-3, atol=1e-11)


def test_the_last_layer_is_the_net_with_the_layers_below_held():
    training = drawn_training()
    last = tuple(replace(train, layers=train.layers[-1:]) for train in training.train)
    asked = tuple(replace(queries, layers=queries.layers[-1:]) for queries in training.queries)
    alone = replace(training, train=last, queries=asked)
    scores = LastLayer.fit(training).scores(QUERIES)
    np.testing.assert_allclose(scores.scores, GGN.fit(alone).scores(QUERIES).scores, rtol=1e-10)
    assert scores.method.startswith("layers flat alone: Gauss-Newton")
    named = LastLayer.fit(training, layers=["plain", "positions", "flat"])
    whole = GGN.fit(training)
    np.testing.assert_allclose(
        named.scores(QUERIES).scores, whole.scores(QUERIES).scores, rtol=1e-10
    )
