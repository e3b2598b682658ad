"""Boosted trees: what is refused, blocks of queries, and refits without groups."""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.linear_model import Ridge, RidgeClassifier

from traceprop_engine.errors import (
    EmptyTableError,
    GroupRefitError,
    InfluenceTargetError,
    QueryShapeError,
    TreeMemoryError,
    TreeRowsError,
    UnknownClassError,
    UnsupportedTreesError,
)
from traceprop_engine.trees import (
    BoostIn,
    HistogramBoosting,
    LeafInfluence,
    LeafRefit,
    TrainedTrees,
    leave_groups_out,
    refit_leaves,
)

ESTIMATORS = (LeafRefit, LeafInfluence, BoostIn)


def _table(n=90, n_classes=2):
    random = np.random.default_rng(3)
    features = random.normal(size=(n, 2))
    signal = features[:, 0] + 0.4 * random.normal(size=n)
    labels = np.digitize(signal, np.quantile(signal, np.arange(1, n_classes) / n_classes))
    return features, labels


def _classifier(features, labels, weights=None, **settings):
    given = {"max_iter": 5, "min_samples_leaf": 5, "random_state": 0} | settings
    return HistGradientBoostingClassifier(**given).fit(features, labels, weights)


def _regressor(features, labels, **settings):
    return HistGradientBoostingRegressor(max_iter=3, **settings).fit(features, labels)


@pytest.mark.parametrize(
    ("trained", "reason"),
    [
        (lambda x, y: RandomForestClassifier(3).fit(x, y), "RandomForestClassifier .*only"),
        (lambda x, y: GradientBoostingClassifier().fit(x, y), "leave_groups_out"),
        (lambda _x, _y: HistGradientBoostingClassifier(), "not fitted"),
        (lambda x, y: _classifier(x, 0 * y), "one class"),
        (lambda x, y: _classifier(x, y, monotonic_cst=[1, 0]), "monotonic"),
        (lambda x, y: _classifier(x, y, early_stopping=True), "held out"),
        (lambda x, y: _classifier(x, y, np.linspace(1, 2, len(y))), "weights"),
        (lambda x, y: _classifier(x, y, class_weight="balanced"), "class_weight"),
        (lambda x, y: _regressor(x, y + 1, loss="poisson"), "'poisson'"),
        (lambda x, y: _regressor(x, y, loss="absolute_error"), "'absolute_error'"),
    ],
)
def test_what_is_no_sum_over_all_rows_is_refused_with_the_reason(trained, reason):
    with pytest.raises(UnsupportedTreesError, match=reason):
        HistogramBoosting.of(trained(*_table()))


def test_early_stopping_on_the_training_loss_holds_out_nothing_and_is_read():
    features, labels = _table()
    settings = {"early_stopping": True, "validation_fraction": None, "max_iter": 50}
    model = HistogramBoosting.of(_classifier(features, labels, **settings))
    assert TrainedTrees.of(model, features, labels).n_train == 90


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_other_rows_than_those_of_the_training_are_refused(kind, n_classes):
    features, labels = _table(n_classes=n_classes)
    model = HistogramBoosting.of(_classifier(features, labels))
    exchanged = labels.copy()
    exchanged[[0, np.flatnonzero(labels != labels[0])[0]]] = exchanged[
        [np.flatnonzero(labels != labels[0])[0], 0]
    ]
    with pytest.raises(TreeRowsError, match=r"leaf .* of tree"):
        kind.fit(model, features, exchanged)
    with pytest.raises(TreeRowsError, match="start at"):
        kind.fit(model, features[1:], labels[1:])
    with pytest.raises(TreeRowsError, match="90 rows and 89 labels"):
        kind.fit(model, features, labels[1:])
    with pytest.raises(EmptyTableError):
        kind.fit(model, features[:0], labels[:0])


def test_a_tree_that_was_changed_after_the_training_is_refused():
    features, labels = _table()
    estimator = _classifier(features, labels)
    model = HistogramBoosting.of(estimator)
    estimator._predictors[2][0].nodes["value"] += 0.01
    with pytest.raises(TreeRowsError, match=r"outputs are off by 0\.01"):
        LeafInfluence.fit(model, features, labels)


@pytest.mark.parametrize("kind", ESTIMATORS)
@pytest.mark.parametrize("settings", [{}, {"warm_start": True}])
def test_what_was_read_stays_when_estimator_and_labels_change_afterwards(kind, settings):
    features, _ = _table()
    labels = features[:, 0] * 2
    estimator = _regressor(features, labels, **settings)
    fitted = kind.fit(HistogramBoosting.of(estimator), features, labels)
    before = fitted.scores(features[:4]).scores
    estimator.set_params(max_iter=5).fit(-features, labels**2)
    labels += 7
    np.testing.assert_array_equal(fitted.scores(features[:4]).scores, before)


def test_questions_that_the_model_has_no_answer_to_are_refused():
    features, labels = _table(n_classes=3)
    fitted = BoostIn.fit(HistogramBoosting.of(_classifier(features, labels)), features, labels)
    with pytest.raises(InfluenceTargetError, match=r"'logit' does not exist .* 3 classes"):
        fitted.scores(features, labels, target="logit")
    with pytest.raises(InfluenceTargetError, match="pass labels"):
        fitted.scores(features)
    with pytest.raises(UnknownClassError, match="7"):
        fitted.scores(features[:1], [7])
    with pytest.raises(QueryShapeError, match="one for each of 90 queries"):
        fitted.scores(features, labels[:5])
    with pytest.raises(QueryShapeError, match="at least one row"):
        fitted.scores(features[:0], labels[:0])
    with pytest.raises(QueryShapeError, match="as HistGradientBoostingClassifier was trained on"):
        fitted.scores(features[:, :1], labels)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_the_strongest_rows_are_those_of_the_scores_in_any_blocks(kind, monkeypatch):
    features, labels = _table(n_classes=3)
    fitted = kind.fit(HistogramBoosting.of(_classifier(features, labels)), features, labels)
    scores = fitted.scores(features[:7], labels[:7])
    monkeypatch.setattr(
        "traceprop_engine.trees.estimator.row_blocks",
        lambda n, _: [slice(start, min(start + 3, n)) for start in range(0, n, 3)],
    )
    in_blocks = fitted.scores(features[:7], labels[:7])
    np.testing.assert_allclose(in_blocks.scores, scores.scores, rtol=1e-12, atol=1e-14)
    tops = fitted.top_k(features[:7], 4, labels=labels[:7], direction="lowers")
    assert len(tops) == 7
    for query, top in enumerate(tops):
        wanted = scores.top_k(4, query=query, direction="lowers")
        np.testing.assert_array_equal(top.rows, wanted.rows)
        np.testing.assert_allclose(top.scores, wanted.scores)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_margins_are_signed_logits_and_units_say_what_is_scored(kind):
    features, labels = _table()
    fitted = kind.fit(HistogramBoosting.of(_classifier(features, labels)), features, labels)
    logit = fitted.scores(features, target="logit")
    margin = fitted.scores(features, labels)
    np.testing.assert_allclose(margin.scores, (2 * labels - 1)[:, None] * logit.scores)
    loss = fitted.scores(features, labels, target="loss")
    assert (loss.unit, margin.unit, margin.target) == ("nats", "log-odds", "margin")
    of_label = margin.scores[labels == 1][:, labels == 1].mean()
    assert of_label > 0 > margin.scores[labels == 1][:, labels == 0].mean()
    assert np.corrcoef(loss.scores.ravel(), margin.scores.ravel())[0, 1] < 0


def test_refitted_values_that_would_not_fit_are_refused_before_the_work():
    features, labels = _table()
    model = HistogramBoosting.of(_classifier(features, labels))
    with pytest.raises(TreeMemoryError, match="LeafInfluence"):
        LeafRefit.fit(model, features, labels, memory_bytes=1000)


def test_progress_of_leaf_refits_ends_at_all_rows(monkeypatch):
    features, labels = _table()
    model = HistogramBoosting.of(_classifier(features, labels))
    whole = LeafRefit.fit(model, features, labels)
    monkeypatch.setattr("traceprop_engine.trees.leaf_refit._FLOATS_AT_ONCE", 40 * 90)
    seen = []
    cut = LeafRefit.fit(model, features, labels, progress=lambda *step: seen.append(step))
    assert seen == [(40, 90), (80, 90), (90, 90)]
    np.testing.assert_allclose(cut.without.values, whole.without.values, rtol=1e-12, atol=1e-15)


def test_weights_that_leave_no_row_are_refused():
    features, labels = _table()
    trees = TrainedTrees.of(HistogramBoosting.of(_classifier(features, labels)), features, labels)
    with pytest.raises(QueryShapeError, match="not all 0"):
        refit_leaves(trees, np.zeros((90, 1)))


def test_groups_left_out_are_models_fitted_without_them():
    features, labels = _table()
    frame = pd.DataFrame(features, columns=["p", "q"])
    groups = [("clinic", i % 4) if i % 5 else None for i in range(90)]
    forest = RandomForestClassifier(10, random_state=0)
    seen = []
    effects = leave_groups_out(
        forest,
        frame,
        labels,
        groups,
        frame[:6],
        query_labels=labels[:6],
        progress=lambda *step: seen.append(step),
    )
    assert effects.groups == (None, ("clinic", 1), ("clinic", 2), ("clinic", 3), ("clinic", 0))
    assert seen[-1] == (6, 6)
    assert not hasattr(forest, "estimators_")
    for position, group in enumerate(effects.groups):
        kept = [i for i in range(90) if groups[i] != group]
        again = forest.fit(frame.iloc[kept], labels[kept]).predict_proba(frame[:6])
        np.testing.assert_array_equal(effects.without[:, position], again[np.arange(6), labels[:6]])
    top = effects.top_k(2, query=1)
    np.testing.assert_array_equal(top.scores, effects.scores[1, top.rows])
    assert effects.unit == "probability"


def test_a_regression_and_any_output_can_be_compared_without_groups():
    features, _ = _table()
    target, groups = features[:, 0] * 2, np.arange(90) // 30
    given = Ridge(1.0), features, target, groups, features[:3]
    effects = leave_groups_out(*given)
    again = Ridge(1.0).fit(features[30:], target[30:]).predict(features[:3])
    np.testing.assert_array_equal(effects.without[:, 0], again)
    slopes = leave_groups_out(*given, output=lambda model, rows: rows @ model.coef_)
    assert not np.allclose(slopes.before, effects.before, atol=1e-12)
    with pytest.raises(QueryShapeError, match="one number for each of 3 queries"):
        leave_groups_out(*given, output=lambda model, rows: rows)


def test_rows_without_a_group_are_one_group():
    features, _ = _table(6)
    groups = np.array([1.0, np.nan, 2.0, np.nan, 1.0, np.nan])
    effects = leave_groups_out(Ridge(), features, features[:, 0], groups, features[:1])
    assert effects.groups == (1.0, None, 2.0)
    again = Ridge().fit(features[[0, 2, 4]], features[[0, 2, 4], 0]).predict(features[:1])
    np.testing.assert_array_equal(effects.without[:, 1], again)


def test_groups_without_which_nothing_can_be_fitted_are_named():
    features, labels = _table()
    ridge = Ridge()
    with pytest.raises(GroupRefitError, match="group 'all' left out there are no rows"):
        leave_groups_out(ridge, features, labels, ["all"] * 90, features)
    with pytest.raises(GroupRefitError, match="cannot be cloned"):
        leave_groups_out(object(), features, labels, labels, features)
    broken = np.where(np.arange(90)[:, None] < 3, np.nan, features)
    with pytest.raises(GroupRefitError, match="all rows its fit says"):
        leave_groups_out(ridge, broken, labels, labels, features)
    with pytest.raises(QueryShapeError, match="groups must be one for each of 90 rows"):
        leave_groups_out(ridge, features, labels, [1], features)
    forest = RandomForestClassifier(3)
    with pytest.raises(QueryShapeError, match="query_labels"):
        leave_groups_out(forest, features, labels, labels, features)
    with pytest.raises(UnknownClassError, match="7"):
        leave_groups_out(forest, features, labels, labels, features[:1], query_labels=[7])
    words = np.where(labels, "yes", "no")
    with pytest.raises(QueryShapeError, match=r"one number for each of 90 queries, got <U3 \[90\]"):
        leave_groups_out(RidgeClassifier(), features, words, np.arange(90) // 30, features)
