"""Numbers of a set of queries: their derivatives, and the scores they give."""

import tracemalloc

import numpy as np
import pytest

from tests.tiny_net import tiny_net, tiny_queries
from traceprop_engine.attribution import (
    EKFAC,
    GGN,
    TRAK,
    GradCos,
    GradDot,
    GroupGap,
    GroupMean,
    SmoothAuroc,
)

pytestmark = pytest.mark.oracle
VALUES = np.random.default_rng(0).normal(size=12)
FIRST = np.arange(12) < 5
SECOND = (np.arange(12) >= 3) & (np.arange(12) < 9)
FUNCTIONALS = {
    "mean": (GroupMean(FIRST), lambda v: v[FIRST].mean()),
    "gap": (GroupGap(FIRST, SECOND), lambda v: v[FIRST].mean() - v[SECOND].mean()),
    "auroc": (SmoothAuroc(FIRST, 0.4), lambda v: SmoothAuroc(FIRST, 0.4).value(v)),
}


@pytest.mark.parametrize("name", FUNCTIONALS)
def test_weights_are_the_derivative_of_the_functional(name):
    functional, value = FUNCTIONALS[name]
    step = 1e-6 * np.eye(12)
    slopes = [(value(VALUES + h) - value(VALUES - h)) / 2e-6 for h in step]
    np.testing.assert_allclose(functional.weights(VALUES), slopes, atol=1e-8)


def test_the_smooth_auroc_is_the_auroc_when_no_pair_is_close():
    values = np.array([3.0, 1.0, 2.0, 0.0, 5.0])
    positive = np.array([True, False, True, False, False])
    # positive 3 beats 1 and 0, positive 2 beats 1 and 0, neither beats 5
    assert SmoothAuroc(positive, 1e-3).value(values) == pytest.approx(4 / 6)


def test_pairs_are_added_up_in_blocks_as_they_are_at_once(monkeypatch):
    whole = SmoothAuroc(FIRST).weights(VALUES), SmoothAuroc(FIRST).value(VALUES)
    monkeypatch.setattr("traceprop_engine.attribution.functionals._PAIRS_AT_ONCE", 14)
    np.testing.assert_allclose(SmoothAuroc(FIRST).weights(VALUES), whole[0], rtol=1e-12)
    assert SmoothAuroc(FIRST).value(VALUES) == pytest.approx(whole[1], rel=1e-12)


@pytest.mark.parametrize(
    "fit",
    [
        GGN.fit,
        lambda training: GGN.fit(training, solver="primal"),
        lambda training: GGN.fit(training, solver="kronecker_pca"),
        EKFAC.fit,
        lambda training: TRAK.fit(training, n_features=16),
        GradDot.fit,
    ],
)
def test_scores_of_functionals_are_the_weighted_scores_of_their_queries(fit):
    net = tiny_net(n_outputs=1)
    queries, labels = tiny_queries(net, 12)
    estimator = fit(net)
    functionals = [GroupMean(FIRST, "mean loss of the first"), GroupGap(FIRST, SECOND)]
    scores = estimator.scores(queries, labels, target="loss", functionals=functionals)
    each = estimator.scores(queries, labels, target="loss").scores
    np.testing.assert_allclose(scores.scores[0], each[FIRST].mean(axis=0), atol=1e-12)
    gap = each[FIRST].mean(axis=0) - each[SECOND].mean(axis=0)
    np.testing.assert_allclose(scores.scores[1], gap, atol=1e-12)
    assert scores.functionals == ("mean loss of the first", "gap")
    top = estimator.top_k(queries, 3, labels=labels, target="loss", functionals=functionals)
    np.testing.assert_array_equal(top[1].rows, scores.top_k(3, query=1).rows)


@pytest.mark.parametrize("fit", [GradDot.fit, GradCos.fit])
def test_no_number_for_every_pair_of_query_and_row_is_kept_for_a_functional(fit, monkeypatch):
    net = tiny_net(2000, n_outputs=1)
    queries, labels = tiny_queries(net, 2000)
    estimator, functionals = fit(net), [GroupMean(np.arange(2000) < 700)]
    whole = estimator.scores(queries, labels, functionals=functionals)
    monkeypatch.setattr("traceprop_engine.attribution.leave_one_out._BLOCK_FLOATS", 1 << 16)
    tracemalloc.start()
    scores = estimator.scores(queries, labels, functionals=functionals)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose(scores.scores, whole.scores, rtol=1e-9, atol=1e-12)
    assert peak < 8 * 2000 * 2000 / 4


def test_a_functional_that_bends_is_linearised_at_every_checkpoint():
    net = tiny_net(n_outputs=1)
    queries, labels = tiny_queries(net, 12)
    functional = SmoothAuroc(FIRST, 0.7)
    expected = 0.0
    for checkpoint in range(2):
        weights = functional.weights(net.value(checkpoint, queries, labels, "logit")[0])
        alone = GradDot.fit(net, checkpoints=[checkpoint])
        expected = expected + weights @ alone.scores(queries, labels, target="logit").scores / 2
    scores = GradDot.fit(net).scores(queries, labels, target="logit", functionals=[functional])
    np.testing.assert_allclose(scores.scores[0], expected, atol=1e-12)


def test_the_cosine_of_a_functional_is_that_of_its_gradient():
    net = tiny_net(n_outputs=1, n_checkpoints=1)
    queries, labels = tiny_queries(net, 12)
    weights = GroupGap(FIRST, SECOND).weights(VALUES)
    gradient = net.query_gradients(0, queries, labels, "margin").weighted_sum(weights)
    train = net.train_gradients(0)
    cosines = train.dot(gradient) / np.sqrt(train.squared_norms() * (gradient @ gradient))
    scores = GradCos.fit(net).scores(queries, labels, functionals=[GroupGap(FIRST, SECOND)])
    np.testing.assert_allclose(scores.scores[0], cosines, atol=1e-12)
