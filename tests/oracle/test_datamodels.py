"""Datamodels against scikit-learn, and against a target that is linear in the rows."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Lasso, Ridge

from traceprop_engine.attribution import AttributionScores
from traceprop_engine.errors import RetrainingError
from traceprop_engine.retraining import Bagged, BagMember, Datamodel, RetrainedTargets
from traceprop_engine.retraining.datamodel import _ridge
from traceprop_engine.retraining.lasso import lasso

pytestmark = pytest.mark.oracle


def _retrained(n_subsets=120, n_train=30, n_query=4, noise=0.1, seeds=1, seed=0):
    random = np.random.default_rng(seed)
    masks = np.repeat(random.random((n_subsets, n_train)) < 0.5, seeds, axis=0)
    weights = random.normal(size=(n_query, n_train))
    values = 2.0 + masks @ weights.T
    values += noise * random.normal(size=values.shape)
    outputs = values[:, :, None]
    labels = np.ones(n_query)
    given = RetrainedTargets(
        masks, np.arange(len(masks)), outputs, labels, "cross_entropy", "margin", 0.0
    )
    return given, weights


def test_the_ridge_is_scikit_learns_ridge_at_the_same_strength():
    retrained, _ = _retrained(n_subsets=25)
    design = retrained.masks - retrained.masks.mean(axis=0)
    answers = retrained.values - retrained.values.mean(axis=0)
    weights, factor, _ = _ridge(design, answers)
    alpha = factor * np.linalg.eigvalsh(design @ design.T).clip(0).mean()
    theirs = Ridge(alpha=alpha, solver="cholesky").fit(retrained.masks, retrained.values)
    np.testing.assert_allclose(weights.T, theirs.coef_, atol=1e-10)
    model = Datamodel.fit(retrained)
    np.testing.assert_allclose(model.weights, theirs.coef_, atol=1e-10)
    np.testing.assert_allclose(model.intercepts, theirs.intercept_, atol=1e-10)


def test_the_ridges_held_out_errors_are_those_of_refits_without_each_subset():
    retrained, _ = _retrained(n_subsets=20, n_query=2)
    masks, values = retrained.masks.astype(float), retrained.values
    design, answers = masks - masks.mean(axis=0), values - values.mean(axis=0)
    _, factor, errors = _ridge(design, answers)
    alpha = factor * np.linalg.eigvalsh(design @ design.T).clip(0).mean()
    refitted = np.zeros(2)
    for out in range(20):
        rest = np.arange(20) != out
        model = Ridge(alpha=alpha, solver="cholesky").fit(masks[rest], values[rest])
        refitted += (values[out] - model.predict(masks[[out]])[0]) ** 2
    np.testing.assert_allclose(errors, refitted, rtol=1e-8)


def test_the_lasso_is_scikit_learns_lasso():
    retrained, _ = _retrained(n_subsets=60)
    design = retrained.masks - retrained.masks.mean(axis=0)
    answers = retrained.values - retrained.values.mean(axis=0)
    ours = lasso(design, answers, np.full(4, 0.05), np.zeros((30, 4)))
    theirs = Lasso(alpha=0.05, tol=1e-10, max_iter=100_000).fit(design, answers)
    np.testing.assert_allclose(ours.T, theirs.coef_, atol=5e-3)
    assert (ours == 0).any()


@pytest.mark.parametrize("penalty", ["ridge", "lasso"])
def test_a_target_that_is_linear_in_the_rows_is_found(penalty):
    retrained, weights = _retrained(n_subsets=300, noise=0.01)
    model = Datamodel.fit(retrained, penalty=penalty)
    assert np.corrcoef(model.weights.ravel(), weights.ravel())[0, 1] > 0.99
    assert model.explained.min() > 0.95
    predicted = model.predict(retrained.masks)
    assert np.abs(predicted - retrained.values).mean() < 0.2
    assert model.scores().method.startswith(f"datamodel, {penalty} on 300")


def test_a_good_prior_helps_where_subsets_are_few():
    retrained, weights = _retrained(n_subsets=24, n_train=60, noise=0.3)
    noise = np.random.default_rng(7).normal(size=weights.shape)
    prior = AttributionScores(0.1 * (weights + 0.3 * noise), "margin", "log-odds", "prior")
    plain, helped = Datamodel.fit(retrained), Datamodel.fit(retrained, prior=prior)
    assert _agreement(helped, weights) > 0.95
    assert _agreement(plain, weights) < 0.8
    np.testing.assert_array_less(plain.explained, helped.explained)


def test_models_of_one_subset_with_several_seeds_count_once():
    retrained, weights = _retrained(n_subsets=80, seeds=3, noise=1.0)
    model = Datamodel.fit(retrained)
    assert model.n_subsets == 80
    assert _agreement(model, weights) > 0.9


def test_datamodels_refuse_what_says_nothing():
    few, _ = _retrained(n_subsets=9)
    with pytest.raises(RetrainingError, match="datamodel of 9 subsets"):
        Datamodel.fit(few)
    retrained, weights = _retrained()
    other = AttributionScores(weights[:2], "margin", "log-odds", "prior")
    with pytest.raises(RetrainingError, match="prior of margin scores"):
        Datamodel.fit(retrained, prior=other)
    with pytest.raises(RetrainingError, match=r"'elastic'.*\['ridge', 'lasso'\]"):
        Datamodel.fit(retrained, penalty="elastic")


@pytest.mark.parametrize("penalty", ["ridge", "lasso"])
def test_a_target_that_never_changes_has_nothing_explained(penalty):
    retrained, _ = _retrained(n_subsets=20)
    still = replace(retrained, outputs=np.ones_like(retrained.outputs))
    fitted = Datamodel.fit(still, penalty=penalty)
    np.testing.assert_array_equal(fitted.explained, 0)
    np.testing.assert_array_equal(fitted.weights, 0)


class _Constant:
    def __init__(self, values):
        self.values = np.asarray(values, dtype=np.float64)

    def scores(self, features, labels=None, *, target=None):
        tiled = np.tile(self.values, (len(features), 1))
        return AttributionScores(tiled, "margin", "log-odds", "constant")


def test_a_bag_averages_each_row_over_the_models_that_saw_it():
    members = (
        BagMember(np.array([0, 2]), _Constant([1, 3])),
        BagMember(np.array([1, 2]), _Constant([5, 7])),
    )
    scores = Bagged(members, 3).scores(np.zeros((2, 1)))
    np.testing.assert_array_equal(scores.scores, [[1, 5, 5], [1, 5, 5]])
    assert scores.method == "constant, mean over 2 models of parts of the rows"
    with pytest.raises(RetrainingError, match="the first is row 1"):
        Bagged(members[:1], 3)
    for rows in ([0, 0, 1], [0, 1, 3], [0, 1, -1]):
        twice = BagMember(np.array(rows), _Constant([1, 2, 3]))
        with pytest.raises(RetrainingError, match=r"model 1 of a bag.*different rows from 0 to 2"):
            Bagged((members[0], twice), 3)


def test_complementary_halves_see_each_row_equally_often():
    bag = Bagged.fit(lambda rows, _seed: _Constant(rows), 10, n_models=6)
    counts = np.bincount(np.concatenate([member.rows for member in bag.members]))
    np.testing.assert_array_equal(counts, 3)
    np.testing.assert_array_equal(bag.scores(np.zeros((1, 1))).scores[0], np.arange(10))
    with pytest.raises(RetrainingError, match="0 models of"):
        Bagged.fit(lambda rows, _seed: _Constant(rows), 10, n_models=0)


def _agreement(model, weights):
    return np.corrcoef(model.weights.ravel(), weights.ravel())[0, 1]
