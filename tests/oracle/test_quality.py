"""Quality measures against loops over SciPy, closed forms, and simulated retraining."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from traceprop_engine.attribution import AttributionScores, InfluenceFunction
from traceprop_engine.quality import (
    brittleness,
    compare,
    evaluate_lds,
    evaluate_loo,
    judge,
    retrain_subsets,
)
from traceprop_engine.quality.ranks import RankedColumns, spearman, spearman_columns
from traceprop_engine.quality.subsets import ceiling_of
from traceprop_engine.retraining import RefitConvex, RetrainedTargets
from traceprop_engine.training import train_linear, train_logistic, train_softmax

pytestmark = pytest.mark.oracle


@dataclass(frozen=True)
class Simulated:
    """Targets that are linear in the rows, plus a seed's noise."""

    weights: np.ndarray
    noise: float

    name = "simulated"
    target = "margin"
    seed_policy = "the seed is the noise"
    is_deterministic = False

    @property
    def n_query(self):
        return self.weights.shape[0]

    @property
    def n_train(self):
        return self.weights.shape[1]

    def retrain(self, masks, *, seeds, progress=None):
        noise = [np.random.default_rng(seed).normal(size=self.n_query) for seed in seeds]
        values = masks @ self.weights.T + self.noise * np.array(noise)
        return RetrainedTargets(
            masks, seeds, values[:, :, None], np.ones(self.n_query), "cross_entropy", "margin", 0.0
        )


@pytest.fixture(scope="module")
def simulated():
    weights = np.random.default_rng(0).normal(size=(60, 200))
    return Simulated(weights, noise=float(np.sqrt(50)))  # as strong as the sum over half the rows


def _scores(values, target="margin"):
    return AttributionScores(values, target, "log-odds", "test")


def _table(n, family, seed=0):
    random = np.random.default_rng(seed)
    table = pd.DataFrame(random.normal(size=(n, 4)), columns=list("abcd"))
    signal = table.to_numpy() @ np.array([1.0, -2.0, 0.5, 0.0]) + random.normal(size=n)
    if family == "linear":
        return table.assign(y=signal)
    edges = [0.0] if family == "logistic" else [-1.0, 1.0]
    return table.assign(y=np.digitize(signal, edges))


TRAIN = {"linear": train_linear, "logistic": train_logistic, "softmax": train_softmax}


def _convex(family, n=60, target=None, directory=None):
    run = TRAIN[family](_table(n, family), features=list("abcd"), label="y", l2=1.0, name=family)
    queries = _table(12, family, seed=1)
    features, labels = queries[list("abcd")].to_numpy(), queries["y"].to_numpy()
    retrainer = RefitConvex.of(run, features, labels, target=target, directory=directory)
    influence = InfluenceFunction.fit(run)
    return run, retrainer, influence.scores(features, labels, target=retrainer.target)


def test_rank_correlations_are_scipys_with_ties_and_with_rows_drawn_again():
    random = np.random.default_rng(0)
    one = random.integers(4, size=(30, 5)).astype(float)
    other = random.normal(size=(30, 5))
    counts = np.bincount(random.integers(30, size=30), minlength=30)
    drawn = spearman(RankedColumns.of(one), RankedColumns.of(other), counts)
    plain = spearman_columns(one, other)
    again = np.repeat(np.arange(30), counts)
    for column in range(5):
        left, right = one[:, column], other[:, column]
        assert plain[column] == pytest.approx(spearmanr(left, right).statistic)
        assert drawn[column] == pytest.approx(spearmanr(left[again], right[again]).statistic)
    assert np.isnan(spearman_columns(np.ones((30, 1)), other[:, :1])).all()


@pytest.mark.parametrize("family", ["linear", "logistic", "softmax"])
def test_the_lds_is_a_loop_over_scipys_correlations(family):
    _, retrainer, scores = _convex(family)
    quality = evaluate_lds(scores, retrainer, n_subsets=40, keep=0.6, seed=3)
    truth = retrain_subsets(retrainer, n_subsets=40, keep=0.6, seed=3)
    assert (truth.masks.sum(axis=1) == 36).all()
    each = []
    for query in range(12):
        summed = [scores.scores[query][mask].sum() for mask in truth.masks]
        each.append(spearmanr(summed, truth.values[:, 0, query]).statistic)  # noqa: PD011 - no frame
    np.testing.assert_allclose(quality.per_query, each)
    assert quality.mean == pytest.approx(np.mean(each))
    assert quality.mean > 0.8
    assert quality.ceiling == 1.0
    assert quality.interval[0] < quality.mean < quality.interval[1]


def test_a_linear_refit_is_the_closed_form_without_the_group():
    run, retrainer, _ = _convex("linear")
    masks = np.random.default_rng(2).random((5, 60)) < 0.5
    values = retrainer.retrain(masks, seeds=np.arange(5)).values  # noqa: PD011 - no frame
    for mask, value in zip(masks, values, strict=True):
        design = np.column_stack([run.features[mask], np.ones(mask.sum())])
        penalty = np.diag([1.0, 1.0, 1.0, 1.0, 0.0])
        exact = np.linalg.solve(design.T @ design + penalty, design.T @ run.targets[mask])
        np.testing.assert_allclose(value, retrainer.features @ exact[:4] + exact[4], rtol=1e-9)


def test_the_ceiling_is_what_the_true_weights_reach_and_random_scores_reach_nothing(simulated):
    truth = retrain_subsets(simulated, n_subsets=400, seeds_per_subset=3)
    perfect = judge(_scores(simulated.weights), truth)
    assert truth.retrain_correlation == pytest.approx(0.5, abs=0.04)
    assert perfect.mean == pytest.approx(perfect.ceiling, abs=0.015)
    assert perfect.ceiling == pytest.approx(np.sqrt(0.75), abs=0.02)
    random = np.random.default_rng(5).normal(size=simulated.weights.shape)
    nothing = judge(_scores(random), truth)
    assert abs(nothing.mean) < 0.05
    assert nothing.interval[0] < 0 < nothing.interval[1]


def test_more_subsets_and_seeds_begin_with_the_fewer_ones(simulated):
    few = retrain_subsets(simulated, n_subsets=4, seeds_per_subset=2)
    many = retrain_subsets(simulated, n_subsets=6, seeds_per_subset=3)
    np.testing.assert_array_equal(many.values[:4, :2], few.values)  # noqa: PD011 - no frame
    assert len(np.unique(many.retrained.seeds)) == 18


def test_the_formula_of_the_ceiling():
    assert ceiling_of(0.64, 1) == pytest.approx(0.8)
    assert ceiling_of(0.798, 5) == pytest.approx(0.9755, abs=1e-3)
    assert ceiling_of(-0.1, 4) == 0
    assert ceiling_of(None, 1) is None


def test_one_seed_for_each_subset_measures_no_ceiling(simulated):
    quality = evaluate_lds(_scores(simulated.weights), simulated, n_subsets=20, seeds_per_subset=1)
    assert quality.ceiling is None
    assert "noise ceiling" not in str(quality)


def test_the_interval_covers_the_score_of_many_more_subsets_and_queries():
    random = np.random.default_rng(11)
    covered = 0
    for _ in range(20):
        weights = random.normal(size=(40, 60))
        noisy = weights + 1.5 * random.normal(size=weights.shape)
        model = Simulated(weights, noise=2.0)
        truth = retrain_subsets(model, n_subsets=60, seed=int(random.integers(1 << 30)))
        low, high = judge(_scores(noisy), truth).interval
        covered += low < _EXPECTED_LDS < high
    assert covered >= 17


_EXPECTED_LDS = 0.50
"""Mean over 2,000 queries and 2,000 subsets of the simulation above."""


def test_the_interval_of_few_subsets_holds_the_score_of_a_perfect_estimator():
    weights = np.random.default_rng(2).normal(size=(20, 50))
    truth = retrain_subsets(Simulated(weights, noise=0.3), n_subsets=15)
    quality = judge(_scores(weights), truth)
    assert quality.mean > 0.97
    assert quality.interval[0] < quality.mean < quality.interval[1]


def test_an_interval_holds_its_score_and_ends_where_correlations_do():
    for seed in range(60):
        random = np.random.default_rng(seed)
        weights = random.normal(size=(random.integers(1, 4), 10))
        noisy = weights + random.normal(size=weights.shape) * (seed % 2)
        truth = retrain_subsets(Simulated(weights, noise=0.3), n_subsets=3 + seed % 4, seed=seed)
        quality = judge(_scores(noisy), truth)
        low, high = quality.interval
        assert -1 <= low <= quality.mean <= high <= 1


def test_leave_one_out_of_a_linear_model_is_exact_and_a_wrong_sign_is_seen():
    _, retrainer, scores = _convex("linear")
    exact = evaluate_loo(scores, retrainer, n_rows=20)
    assert (exact.spearman, exact.slope) == pytest.approx((1.0, 1.0))
    assert exact.relative_error < 1e-7
    assert len(exact.rows) == 20
    turned = AttributionScores(-2 * scores.scores, scores.target, scores.unit, "turned")
    wrong = evaluate_loo(turned, retrainer, rows=exact.rows)
    assert (wrong.spearman, wrong.slope) == pytest.approx((-1.0, -0.5))
    assert wrong.relative_error == pytest.approx(3.0)
    np.testing.assert_allclose(exact.effects, wrong.effects)


def test_leave_one_out_under_several_seeds_tells_how_much_is_noise(simulated):
    scores = _scores(simulated.weights)
    quality = evaluate_loo(scores, simulated, n_rows=100, seeds_per_row=2)
    assert quality.seed_correlation == pytest.approx(1.0)  # the noise is the seed's alone
    assert quality.spearman == pytest.approx(1.0)


def _planted():
    """Return a model in which one row alone makes query 0 what it is."""
    random = np.random.default_rng(0)
    table = pd.DataFrame({"common": random.normal(size=80), "rare": 0.0})
    table["y"] = (table["common"] + 0.3 * random.normal(size=80) > 1.0).astype(int)
    table.loc[80] = [-1.0, 6.0, 1]
    run = train_logistic(table, features=["common", "rare"], label="y", l2=0.1, name="planted")
    queries = np.array([[-1.0, 6.0], [-2.0, 0.0]])
    labels = np.array([1, 0])
    return run, queries, labels


def test_a_prediction_that_hangs_on_one_planted_row_flips_without_it():
    run, queries, labels = _planted()
    scores = InfluenceFunction.fit(run).scores(queries, labels, target="margin")
    retrainer = RefitConvex.of(run, queries, labels)
    quality = brittleness(scores, retrainer, removed=[1, 3], n_random=8)
    assert scores.top_k(1, direction="raises").rows.tolist() == [80]
    assert quality.flip_rate == (0.5, 0.5)  # query 0 flips, query 1 has many supporters
    assert max(quality.random_flip_rate) < 0.2
    assert quality.drop[0] > 1 > abs(quality.random_drop[0])
    turned = AttributionScores(-scores.scores, "margin", "log-odds", "turned")
    assert brittleness(turned, retrainer, removed=[1]).flip_rate == (0.0,)


def test_estimators_are_ranked_and_their_lead_is_judged_in_the_same_draws(simulated):
    random = np.random.default_rng(3)
    noise = random.normal(size=simulated.weights.shape)
    truth = retrain_subsets(simulated, n_subsets=100)
    estimates = {
        "none": _scores(noise),
        "rough": _scores(simulated.weights + noise),
        "exact": _scores(simulated.weights),
    }
    table = compare(estimates, truth, seconds={"rough": 0.5})
    assert table.names == ("exact", "rough", "none")
    assert 0 < table.behind(1)[0] < table.behind(1)[1] < table.behind(2)[0]
    lead = table.qualities[0].mean - table.qualities[1].mean
    assert table.behind(1)[0] < lead < table.behind(1)[1]
