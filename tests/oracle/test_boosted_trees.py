"""Estimators for boosted trees against literal loops, finite differences and real refits."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from traceprop_engine.trees import (
    BoostIn,
    HistogramBoosting,
    LeafInfluence,
    LeafRefit,
    TrainedTrees,
    refit_leaves,
)
from traceprop_engine.trees.boosted import staged_outputs

pytestmark = pytest.mark.oracle

FAMILIES = ("linear", "logistic", "softmax")


def _table(family, n=40, seed=0):
    random = np.random.default_rng(seed)
    features = random.normal(size=(n, 3))
    features[random.random(features.shape) < 0.1] = np.nan
    signal = np.nan_to_num(features[:, 0]) + np.nan_to_num(features[:, 1]) ** 2
    signal += 0.5 * random.normal(size=n)
    if family == "linear":
        return features, signal
    cuts = np.quantile(signal, [0.5] if family == "logistic" else [0.3, 0.6])
    return features, np.array(["a", "b", "c"])[np.digitize(signal, cuts)]


def _trained(family, n=40, **settings):
    features, labels = _table(family, n)
    kind = HistGradientBoostingRegressor if family == "linear" else HistGradientBoostingClassifier
    given = {"max_iter": 6, "min_samples_leaf": 4, "l2_regularization": 0.3} | settings
    return kind(**given, random_state=0).fit(features, labels), features, labels


def _mean(family, outputs):
    if family == "linear":
        return list(outputs)
    if family == "logistic":
        return [1 / (1 + math.exp(-outputs[0]))]
    powers = [math.exp(output) for output in outputs]
    return [power / sum(powers) for power in powers]


def _wanted(model, label):
    if model.family == "linear":
        return [label]
    if model.family == "logistic":
        return [float(label == model.classes[1])]
    return [float(label == name) for name in model.classes]


def _base(family, rows):
    rates = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    if family == "linear":
        return rates
    if family == "logistic":
        return [math.log(rates[0] / (1 - rates[0]))]
    logs = [math.log(rate) for rate in rates]
    return [log - sum(logs) / len(logs) for log in logs]


def _boosted_by_hand(model, leaves, wanted, rows, queries):
    """Boost in fixed trees on some rows, one number at a time; return the outputs of queries."""
    base = _base(model.family, [wanted[row] for row in rows])
    outputs = {row: list(base) for row in rows}
    answers = [list(base) for _ in range(queries.shape[2])]
    for iteration in range(leaves.shape[0]):
        means = {row: _mean(model.family, outputs[row]) for row in rows}
        for output in range(leaves.shape[1]):
            above, below = {}, {}
            for row in rows:
                leaf, mean = leaves[iteration, output, row], means[row][output]
                above[leaf] = above.get(leaf, 0.0) + mean - wanted[row][output]
                hessian = 1.0 if model.family == "linear" else mean * (1 - mean)
                below[leaf] = below.get(leaf, 0.0) + hessian
            tree = iteration * leaves.shape[1] + output
            is_split = model.leaf_starts[tree + 1] - model.leaf_starts[tree] > 1
            values = {
                leaf: -model.learning_rate * above[leaf] / (below[leaf] + model.l2) * is_split
                for leaf in above
            }
            for row in rows:
                outputs[row][output] += values[leaves[iteration, output, row]]
            for query in range(queries.shape[2]):
                answers[query][output] += values.get(queries[iteration, output, query], 0.0)
    return np.array(answers)


def _number(family, target, outputs, wanted):
    if target in {"prediction", "logit"}:
        return outputs[0]
    if family == "linear":
        return (outputs[0] - wanted[0]) ** 2 / 2
    mean = _mean(family, outputs)
    share = sum(m * w for m, w in zip(mean, wanted, strict=True))
    if family == "logistic":
        share = mean[0] if wanted[0] else 1 - mean[0]
    return -math.log(share) if target == "loss" else math.log(share / (1 - share))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_adapter_follows_every_stage_of_the_estimator(family):
    estimator, features, _ = _trained(family)
    model = HistogramBoosting.of(estimator)
    staged = list(estimator._staged_raw_predict(features))
    followed = list(staged_outputs(model, model.leaves(features)))
    for (_, outputs), theirs in zip(followed[1:], staged[:-1], strict=True):
        np.testing.assert_allclose(outputs, theirs.T, atol=1e-12)


def test_categories_and_missing_values_go_where_the_estimator_sends_them():
    random = np.random.default_rng(1)
    table = pd.DataFrame({"kind": pd.Categorical(random.choice(list("pqrstu"), 300))})
    table["size"] = np.where(random.random(300) < 0.2, np.nan, random.normal(size=300))
    labels = table["kind"].isin(["p", "s", "u"]) ^ (random.random(300) < 0.1)
    estimator = HistGradientBoostingClassifier(max_iter=8, categorical_features="from_dtype")
    estimator.fit(table, labels)
    assert any(tree.nodes["is_categorical"].any() for [tree] in estimator._predictors)
    scored = LeafInfluence.fit(HistogramBoosting.of(estimator), table, labels)
    assert scored.scores(table[:5], labels[:5]).scores.shape == (5, 300)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_leaf_refit_is_boosting_by_hand_without_each_row(family, l2):
    estimator, features, labels = _trained(family, l2_regularization=l2)
    model = HistogramBoosting.of(estimator)
    leaves, queries = model.leaves(features), model.leaves(features[:4])
    wanted = [_wanted(model, label) for label in labels]
    fitted = LeafRefit.fit(model, features, labels)
    rows = list(range(len(labels)))
    full = _boosted_by_hand(model, leaves, wanted, rows, queries)
    without = [
        _boosted_by_hand(model, leaves, wanted, [other for other in rows if other != row], queries)
        for row in rows
    ]
    for target in {"linear": ("prediction", "loss"), "logistic": ("logit", "margin", "loss")}.get(
        family, ("margin", "loss")
    ):
        scores = fitted.scores(features[:4], labels[:4], target=target).scores
        for query in range(4):
            own = wanted[query]
            before = _number(family, target, full[query], own)
            expected = [before - _number(family, target, each[query], own) for each in without]
            np.testing.assert_allclose(scores[query], expected, atol=1e-9)


def test_trees_of_one_leaf_stay_at_zero_as_scikit_learns_do():
    features, _ = _table("linear", 60)
    labels = np.digitize(np.nan_to_num(features[:, 0]), [-0.5, 0.5])
    estimator = HistGradientBoostingClassifier(max_iter=8, min_samples_leaf=4, learning_rate=1.0)
    model = HistogramBoosting.of(estimator.fit(features, labels))
    assert (np.diff(model.leaf_starts) == 1).any()  # the classes are told apart before the end
    leaves, queries = model.leaves(features), model.leaves(features[:3])
    wanted = [_wanted(model, label) for label in labels]
    scores = LeafRefit.fit(model, features, labels).scores(features[:3], labels[:3]).scores
    rows = list(range(60))
    full = _boosted_by_hand(model, leaves, wanted, rows, queries)
    np.testing.assert_allclose(full, estimator.decision_function(features[:3]), rtol=1e-5)
    for row in range(0, 60, 7):
        others = [other for other in rows if other != row]
        without = _boosted_by_hand(model, leaves, wanted, others, queries)
        changes = [
            _number("softmax", "margin", full[query], wanted[query])
            - _number("softmax", "margin", without[query], wanted[query])
            for query in range(3)
        ]
        np.testing.assert_allclose(scores[:, row], changes, rtol=1e-7, atol=1e-9)
    for kind in (BoostIn, LeafInfluence):
        quick = kind.fit(model, features, labels).scores(features[:3], labels[:3]).scores
        assert np.isfinite(quick).all()
        assert np.abs(quick).max() > 0.01


@pytest.mark.parametrize("family", FAMILIES)
def test_leaf_refit_is_a_real_refit_where_no_row_can_move_the_splits(family):
    _, labels = _table(family, 60)
    side = np.arange(60)[:, None] % 2  # the only possible split
    kind = HistGradientBoostingRegressor if family == "linear" else HistGradientBoostingClassifier
    estimator = kind(max_iter=10, min_samples_leaf=20, l2_regularization=1.0)
    fitted = LeafRefit.fit(HistogramBoosting.of(estimator.fit(side, labels)), side, labels)
    scores = fitted.scores(side[:4], labels[:4]).scores
    before = _own_target(estimator, side[:4], labels[:4])
    for row in range(0, 60, 7):
        kept = np.delete(np.arange(60), row)
        after = _own_target(estimator.fit(side[kept], labels[kept]), side[:4], labels[:4])
        np.testing.assert_allclose(scores[:, row], before - after, atol=2e-6)


def _structure(estimator):
    fields = ["feature_idx", "bin_threshold", "left", "right", "missing_go_to_left"]
    return [tree.nodes[fields].tolist() for trees in estimator._predictors for tree in trees]


@pytest.mark.parametrize("family", FAMILIES)
def test_leaf_refit_is_every_real_refit_that_keeps_the_structure(family):
    features, labels = _table(family, 200)
    features = np.round(features)  # few places to split, so that many removals change none
    kind = HistGradientBoostingRegressor if family == "linear" else HistGradientBoostingClassifier
    estimator = kind(max_iter=4, max_depth=2, l2_regularization=0.5).fit(features, labels)
    structure, before = _structure(estimator), _own_target(estimator, features, labels)
    fitted = LeafRefit.fit(HistogramBoosting.of(estimator), features, labels)
    scores, n_kept = fitted.scores(features, labels).scores, 0
    for row in range(0, 200, 4):
        kept = np.delete(np.arange(200), row)
        again = kind(**estimator.get_params()).fit(features[kept], labels[kept])
        if _structure(again) == structure:
            change = before - _own_target(again, features, labels)
            np.testing.assert_allclose(scores[:, row], change, atol=5e-6)
            n_kept += 1
    assert n_kept >= 10


def _own_target(estimator, features, labels):
    if isinstance(estimator, HistGradientBoostingRegressor):
        return estimator.predict(features)
    shares = estimator.predict_proba(features)
    own = shares[labels[:, None] == estimator.classes_]
    return np.log(own / (1 - own))


@pytest.mark.parametrize("family", FAMILIES)
def test_boost_in_is_the_published_sum_over_shared_leaves(family):
    estimator, features, labels = _trained(family)
    model = HistogramBoosting.of(estimator)
    leaves = model.leaves(features)
    scores = BoostIn.fit(model, features, labels).scores(features[:3], labels[:3], target="loss")
    wanted = [_wanted(model, label) for label in labels]
    expected = np.zeros((3, len(labels)))
    outputs = [list(model.base) for _ in labels]
    for stage in leaves:
        means = [_mean(family, output) for output in outputs]
        for k, reached in enumerate(stage):
            for row, leaf in enumerate(reached):
                inside = [other for other in range(len(labels)) if reached[other] == leaf]
                hessians = {
                    i: 1.0 if family == "linear" else means[i][k] * (1 - means[i][k])
                    for i in inside
                }
                gradient = means[row][k] - wanted[row][k]
                value = model.leaf_values[leaf] / model.learning_rate
                weight = sum(hessians.values()) + model.l2
                derivative = -(gradient + hessians[row] * value) / weight
                for query in range(3):
                    slope = means[query][k] - wanted[query][k]
                    if reached[query] == leaf:
                        expected[query, row] += model.learning_rate * slope * derivative
        for row in range(len(labels)):
            for k, reached in enumerate(stage):
                outputs[row][k] += model.leaf_values[reached[row]]
    np.testing.assert_allclose(scores.scores, expected, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("target", ["own", "loss"])
def test_leaf_influence_is_the_derivative_in_the_weight_of_each_row(family, target):
    estimator, features, labels = _trained(family)
    model = HistogramBoosting.of(estimator)
    asked = None if target == "own" else target
    fitted = LeafInfluence.fit(model, features, labels)
    scores = fitted.scores(features[:5], labels[:5], target=asked).scores
    step, n = 1e-4, len(labels)
    trees, queries = TrainedTrees.of(model, features, labels), model.leaves(features[:5])
    up, down = (
        refit_leaves(trees, 1 + sign * step * np.eye(n)).outputs(queries) for sign in (1, -1)
    )
    wanted = [_wanted(model, label) for label in labels]
    kind = asked or ("prediction" if family == "linear" else "margin")
    for query, row in np.ndindex(5, n):
        above, below = (
            _number(family, kind, outputs[:, query, row], wanted[query]) for outputs in (up, down)
        )
        # the model's own values carry the single precision of its gradients
        assert scores[query, row] == pytest.approx((above - below) / (2 * step), abs=2e-6)


@pytest.mark.parametrize("family", ["linear", "logistic"])
def test_scores_rank_rows_as_real_refits_without_them_do(family):
    estimator, features, labels = _trained(family, 120, max_iter=10, max_depth=2)
    queries, query_labels = _table(family, 40, seed=5)
    model = HistogramBoosting.of(estimator)
    fitted = [kind.fit(model, features, labels) for kind in (LeafRefit, LeafInfluence, BoostIn)]
    answers = [each.scores(queries, query_labels).scores for each in fitted]
    before = _own_target(estimator, queries, query_labels)
    truth = np.empty_like(answers[0])
    for row in range(120):
        kept = np.delete(np.arange(120), row)
        again = estimator.fit(features[kept], labels[kept])
        truth[:, row] = before - _own_target(again, queries, query_labels)
    agree = [np.mean([spearmanr(*pair)[0] for pair in zip(a, truth, strict=True)]) for a in answers]
    assert min(agree) > 0.2  # removals move splits here, which no estimator of the leaves sees


@pytest.mark.parametrize("kind", [LeafRefit, LeafInfluence, BoostIn])
def test_rows_with_a_flipped_label_raise_the_loss_of_clean_queries(kind):
    features, labels = _table("logistic", 400)
    flipped = np.random.default_rng(2).choice(300, 30, replace=False)
    noisy = labels[:300].copy()
    noisy[flipped] = np.where(noisy[flipped] == "a", "b", "a")
    estimator = HistGradientBoostingClassifier(max_iter=20, max_depth=3, random_state=0)
    model = HistogramBoosting.of(estimator.fit(features[:300], noisy))
    fitted = kind.fit(model, features[:300], noisy)
    harm = fitted.scores(features[300:], labels[300:], target="loss").scores.sum(axis=0)
    found = np.isin(np.argsort(-harm)[:30], flipped).mean()
    assert found > 0.4  # one in ten by chance
