"""Laws that scores from recorded gradients obey whatever the gradients."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiny_net import DrawnTraining, drawn_training
from traceprop_engine.attribution import (
    EKFAC,
    GGN,
    KFAC,
    TRAK,
    GradCos,
    GradDot,
    GroupMean,
    LastLayer,
    TracIn,
)
from traceprop_engine.gradients import LayerGradients, RowGradients

FITS = {
    "dual": lambda training: GGN.fit(training, solver="dual"),
    "primal": lambda training: GGN.fit(training, solver="primal"),
    "kronecker_pca": lambda training: GGN.fit(training, solver="kronecker_pca"),
    "ekfac": EKFAC.fit,
    "kfac": KFAC.fit,
    "trak": lambda training: TRAK.fit(training, n_features=8),
    "grad_dot": GradDot.fit,
    "tracin": lambda training: TracIn.fit(training, learning_rates=(0.5, 0.25)),
    "grad_cos": GradCos.fit,
    "last_layer": LastLayer.fit,
}
every_estimator = pytest.mark.parametrize("name", FITS)
QUERIES = np.arange(4)
few = settings(max_examples=10)
trainings = st.builds(
    drawn_training, n_train=st.integers(1, 12), seed=st.integers(0, 99), n_checkpoints=st.just(2)
)


@every_estimator
@few
@given(trainings, st.randoms(use_true_random=False))
def test_permuting_the_training_rows_permutes_the_scores(name, training, random):
    order = list(range(training.n_train))
    random.shuffle(order)
    permuted = replace(
        training, train=tuple(train.take(np.array(order)) for train in training.train)
    )
    scores = FITS[name](training).scores(QUERIES).scores
    again = FITS[name](permuted).scores(QUERIES).scores
    np.testing.assert_allclose(again, scores[:, order], rtol=1e-6, atol=1e-8)


@every_estimator
@few
@given(trainings)
def test_queries_asked_together_score_as_asked_alone(name, training):
    fitted = FITS[name](training)
    together = fitted.scores(QUERIES).scores
    alone = [fitted.scores(QUERIES[[query]]).scores[0] for query in QUERIES]
    np.testing.assert_allclose(together, alone, rtol=1e-9, atol=1e-12)
    fitted = replace(fitted, memory_bytes=1)  # one query at a time
    np.testing.assert_allclose(fitted.scores(QUERIES).scores, alone, rtol=1e-9, atol=1e-12)


@every_estimator
@few
@given(trainings, st.integers(1, 13))
def test_top_rows_are_the_largest_scores(name, training, k):
    fitted = FITS[name](training)
    scores = fitted.scores(QUERIES)
    for query, top in enumerate(fitted.top_k(QUERIES, k)):
        expected = scores.top_k(k, query=query)
        np.testing.assert_array_equal(top.rows, expected.rows)
        np.testing.assert_allclose(top.scores, expected.scores, rtol=1e-12)


@pytest.mark.parametrize("name", sorted(set(FITS) - {"grad_cos"}))
@few
@given(trainings)
def test_the_scores_of_a_group_of_queries_add_up(name, training):
    fitted = FITS[name](training)
    members = np.array([True, False, True, True])
    mean = fitted.scores(QUERIES, functionals=[GroupMean(members)]).scores[0]
    each = fitted.scores(QUERIES).scores
    np.testing.assert_allclose(mean, each[members].mean(axis=0), rtol=1e-6, atol=1e-9)


def _silenced(training, row):
    """Return the training with the gradient of a row at zero, at every checkpoint."""

    def silence(train):
        layers = []
        for layer in train.layers:
            deltas = layer.deltas.copy()
            deltas[row] = 0.0
            layers.append(LayerGradients(layer.name, layer.inputs, deltas))
        return RowGradients(tuple(layers), train.values, train.slopes, train.curvatures)

    return replace(training, train=tuple(silence(train) for train in training.train))


@every_estimator
def test_rows_and_queries_without_a_gradient_score_zero(name):
    training = _silenced(drawn_training(), 3)
    queries = tuple(train.take(np.array([2, 3])) for train in training.train)
    training = DrawnTraining(training.train, queries)
    scores = FITS[name](training).scores(np.arange(2)).scores
    assert np.isfinite(scores).all()
    assert np.all(scores[:, 3] == 0)
    assert np.all(scores[1] == 0)
    assert np.any(scores[0] != 0)


@every_estimator
def test_rows_that_the_net_fits_perfectly_score_zero(name):
    training = drawn_training()

    def fitted(train):
        slopes, curvatures = train.slopes.copy(), train.curvatures.copy()
        slopes[5], curvatures[5] = 0.0, 0.0
        return RowGradients(train.layers, train.values, slopes, curvatures)

    training = replace(training, train=tuple(fitted(train) for train in training.train))
    scores = FITS[name](training).scores(QUERIES).scores
    assert np.isfinite(scores).all()
    assert np.all(scores[:, 5] == 0)


@pytest.mark.parametrize("name", ["ekfac", "kfac", "trak", "grad_dot", "grad_cos"])
def test_scores_are_the_mean_over_checkpoints(name):
    training = drawn_training()
    whole = FITS[name](training).scores(QUERIES).scores
    parts = [
        DrawnTraining((train,), (queries,))
        for train, queries in zip(training.train, training.queries, strict=True)
    ]
    if name == "trak":
        fits = [TRAK.fit(part, n_features=8, seed=position) for position, part in enumerate(parts)]
    else:
        fits = [FITS[name](part) for part in parts]
    mean = sum(fit.scores(QUERIES).scores for fit in fits) / 2
    np.testing.assert_allclose(whole, mean, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("solver", ["dual", "primal", "kronecker_pca"])
def test_gauss_newton_scores_are_the_mean_over_checkpoints_at_one_damping(solver):
    training = drawn_training()
    whole = GGN.fit(training, damping=0.4, solver=solver).scores(QUERIES).scores
    parts = [
        GGN.fit(training, damping=0.4, solver=solver, checkpoints=[position]) for position in (0, 1)
    ]
    mean = sum(part.scores(QUERIES).scores for part in parts) / 2
    np.testing.assert_allclose(whole, mean, rtol=1e-10, atol=1e-12)
