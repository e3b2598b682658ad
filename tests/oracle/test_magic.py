"""Metagradients, against whole trainings with a row's weight changed."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

jax = pytest.importorskip("jax")
jnp = pytest.importorskip("jax.numpy")

from tests.jax_precision import float64  # noqa: E402 (after the skip)
from traceprop_engine.attribution.functionals import GroupGap, GroupMean  # noqa: E402
from traceprop_engine.errors import (  # noqa: E402
    InfluenceTargetError,
    MetagradientMemoryError,
    ProbeError,
    QueryShapeError,
    ReplayError,
    RoughTrainingError,
)
from traceprop_engine.jax_gradients import Mlp, final_parameters, train_jax  # noqa: E402
from traceprop_engine.metagradients import Magic, metasmoothness, replay  # noqa: E402
from traceprop_engine.metagradients.plan import plan_memory  # noqa: E402
from traceprop_engine.metagradients.smoothness import Smoothness  # noqa: E402
from traceprop_engine.training.recipe import TrainingRecipe  # noqa: E402

pytestmark = pytest.mark.oracle

N, D, C = 14, 3, 3
RANDOM = np.random.default_rng(2)
X = RANDOM.normal(size=(N, D))
Y = RANDOM.integers(0, C, N)
QUERIES, ANSWERS = RANDOM.normal(size=(4, D)), np.array([0, 2, 1, 1])
WEIGHTS = np.linspace(0.5, 1.5, N)
SGD = TrainingRecipe(
    optimiser="sgd",
    learning_rate=0.2,
    momentum=0.8,
    weight_decay=0.01,
    batch_size=4,
    epochs=6,
    schedule="cosine",
    warm_up=0.1,
)
RECIPES = {
    "sgd": SGD,
    "adam": replace(SGD, optimiser="adam", momentum=0.0, learning_rate=0.05, weight_decay=0.0),
}
NET = Mlp((D, 4, C), "tanh")


@pytest.fixture(autouse=True)
def _float64():
    with float64():
        yield


@cache
def trained(optimiser):
    params = NET.init(3, np.float64)
    return train_jax(NET, params, X, Y, RECIPES[optimiser], name=optimiser, weights=WEIGHTS)


@cache
def fitted(optimiser):
    return Magic.fit(trained(optimiser), probe=False)


def margins(params):
    """Margins of the queries by the definition."""
    shares = np.asarray(jax.nn.softmax(NET(params, QUERIES)))
    right = shares[np.arange(len(ANSWERS)), ANSWERS]
    return np.log(right) - np.log1p(-right)


def with_weight(training, row, weight):
    weights = training.weights.copy()
    weights[row] = weight
    return margins(final_parameters(training, weights))


def differences(training, step=1e-5):
    """Central differences of whole trainings, times the weight, ``[n_query, n_train]``."""
    rows = []
    for row, weight in enumerate(training.weights):
        up, down = (with_weight(training, row, weight + sign * step) for sign in (1, -1))
        rows.append(weight * (up - down) / (2 * step))
    return np.stack(rows, axis=1)


@pytest.mark.parametrize("optimiser", RECIPES)
def test_scores_are_the_differences_of_whole_trainings(optimiser):
    expected = differences(trained(optimiser))
    scores = fitted(optimiser).scores(QUERIES, ANSWERS)
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(scores.scores, expected, atol=1e-6 * np.abs(expected).max())
    assert (scores.target, scores.unit) == ("margin", "log-odds")


@pytest.mark.parametrize("optimiser", RECIPES)
def test_a_score_has_the_sign_and_size_of_removing_the_row(optimiser):
    training = trained(optimiser)
    magic = fitted(optimiser)
    before = margins(training.final)
    scores = magic.scores(QUERIES, ANSWERS).scores
    effects = np.stack([before - with_weight(training, row, 0.0) for row in range(N)], axis=1)
    for ours, truth in zip(scores, effects, strict=True):
        assert np.corrcoef(ours, truth)[0, 1] > 0.95
        assert 0.7 < (truth @ ours) / (ours @ ours) < 1.5
    for query, top in enumerate(magic.top_k(QUERIES, 3, labels=ANSWERS)):
        assert (np.sign(effects[query, top.rows]) == np.sign(top.scores)).all()


@pytest.mark.parametrize("optimiser", RECIPES)
def test_states_that_are_computed_again_do_not_change_the_scores(optimiser):
    training, whole = trained(optimiser), fitted(optimiser)
    plan = whole.plan
    assert (plan.stride, plan.queries_at_once) == (1, 128)
    small = Magic.fit(training, probe=False, memory_bytes=17 * plan.state_bytes)
    assert 1 < small.plan.stride < plan.n_steps
    queries, answers = np.concatenate([QUERIES, X[:3]]), np.concatenate([ANSWERS, Y[:3]])
    assert small.plan.queries_at_once < len(queries)
    assert len(small.replay.states) < len(whole.replay.states) == plan.n_steps
    same = small.scores(queries, answers).scores
    np.testing.assert_allclose(same[:4], whole.scores(QUERIES, ANSWERS).scores, rtol=1e-12)
    whole_others = whole.scores(queries[3:], answers[3:]).scores
    np.testing.assert_allclose(same[3:], whole_others, rtol=1e-12)


def test_sums_of_queries_have_the_sums_of_their_scores():
    magic = fitted("sgd")
    weights = np.array(
        [[1 / 4] * 4, [1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0], [0.5, 0.0, 0.0, 1.0]]
    )
    each = magic.scores(QUERIES, ANSWERS, target="loss")
    summed = magic.scores(QUERIES, ANSWERS, target="loss", query_weights=weights)
    np.testing.assert_allclose(summed.scores, weights @ each.scores, atol=1e-12)
    assert (summed.target, summed.unit) == ("loss", "nats")
    assert len(summed.functionals) == 4
    groups = [GroupMean(np.ones(4, bool), "all"), GroupGap(np.arange(4) == 0, np.arange(4) == 1)]
    named = magic.scores(QUERIES, ANSWERS, target="loss", functionals=groups * 2)
    np.testing.assert_allclose(named.scores[:2], summed.scores[:2], atol=1e-12)
    assert named.functionals == ("all", "gap", "all", "gap")
    with pytest.raises(QueryShapeError, match="query_weights"):
        magic.scores(QUERIES, ANSWERS, query_weights=np.ones(4))
    with pytest.raises(QueryShapeError, match="both"):
        magic.scores(QUERIES, ANSWERS, query_weights=weights, functionals=groups)


def test_other_targets_move_with_the_weights_as_their_scores_say():
    training, magic = trained("sgd"), fitted("sgd")
    scores = magic.scores(QUERIES, target=first_output).scores
    step, weights = 1e-5, training.weights.copy()
    weights[5] += step
    moved = NET(final_parameters(training, weights), QUERIES)[:, 0]
    change = (moved - NET(training.final, QUERIES)[:, 0]) / step
    np.testing.assert_allclose(scores[:, 5], change * training.weights[5], rtol=1e-3)
    with pytest.raises(InfluenceTargetError, match="prediction"):
        magic.scores(QUERIES, ANSWERS, target="prediction")
    with pytest.raises(InfluenceTargetError, match="labels"):
        magic.scores(QUERIES)


def first_output(outputs):
    return outputs[0]


def test_a_feature_that_is_always_zero_leaves_scores_of_adam_finite():
    features = X * np.array([1, 1, 0])
    params = NET.init(3, np.float64)
    training = train_jax(NET, params, features, Y, RECIPES["adam"], name="dead")
    scores = Magic.fit(training, probe=False).scores(QUERIES * [1, 1, 0], ANSWERS).scores
    assert np.isfinite(scores).all()
    assert np.abs(scores).max() > 1e-3


def test_a_smooth_training_passes_the_probe_and_reports_what_it_compared():
    probe = metasmoothness(trained("sgd"), QUERIES, ANSWERS, n_rows=4, step=1e-3)
    assert probe.differences.shape == probe.metagradients.shape == (4, 4)
    assert len(set(probe.rows)) == 4
    assert probe.error < 1e-4
    assert probe.is_smooth
    for settings in ({"n_rows": 0}, {"n_rows": N + 1}, {"step": 0.0}):
        with pytest.raises(ProbeError, match=next(iter(settings))):
            metasmoothness(trained("sgd"), **settings)


@pytest.mark.parametrize("wrong", ["differences", "metagradients"])
def test_what_is_not_finite_is_not_smooth(wrong):
    parts = {"differences": np.zeros((2, 2)), "metagradients": np.zeros((2, 2))}
    assert Smoothness(np.arange(2), **parts).is_smooth
    assert not Smoothness(np.arange(2), **parts | {wrong: np.full((2, 2), np.nan)}).is_smooth


def test_a_rough_training_is_refused_unless_told_otherwise():
    recipe = replace(SGD, learning_rate=4.0)
    training = train_jax(NET, NET.init(3, np.float64), X, Y, recipe, name="rough")
    magic = Magic.fit(training)
    with pytest.raises(RoughTrainingError, match=r"'rough'.*allow_rough"):
        magic.scores(QUERIES, ANSWERS)
    assert magic.scores(QUERIES, ANSWERS, allow_rough=True).scores.shape == (4, N)


def test_a_replay_tells_where_it_leaves_the_recorded_training():
    training = trained("sgd")
    replay(training)
    changed = X.copy()
    changed[3] += 1e-9
    with pytest.raises(ReplayError, match=r"'sgd' .* at step \d"):
        replay(replace(training, features=changed))
    end = jax.tree.map(lambda leaf: leaf + 1e-15, training.final)
    with pytest.raises(ReplayError, match=r"step 18 in parameter \[0\]\[0\]"):
        Magic.fit(replace(training, checkpoints=(*training.checkpoints[:-1], end)))


def test_progress_of_both_ways_ends_at_all_steps():
    seen = []
    magic = Magic.fit(trained("sgd"), probe=False, progress=seen.append)
    magic.scores(QUERIES, ANSWERS, progress=seen.append)
    for phase in ("replay", "reverse"):
        done = [each.done for each in seen if each.phase == phase]
        assert done == sorted(done)
        assert done[-1] == seen[-1].total == magic.plan.n_steps


def test_plans_keep_as_many_states_as_fit_and_say_so():
    for memory in (2000, 4000, 8000, 20_000, 10**6):
        plan = plan_memory(400, state_bytes=10, query_bytes=100, memory_bytes=memory)
        assert plan.states_held * 10 <= memory / 2
        assert plan.states_held * 10 + plan.queries_at_once * 100 <= memory
    assert (plan.stride, plan.queries_at_once) == (1, 128)
    assert "one state in 1 of 400" in str(plan)
    assert plan_memory(400, 10, 100, 4000).stride == 3
    with pytest.raises(MetagradientMemoryError, match="780 bytes and memory_bytes is 700"):
        plan_memory(400, 10, 100, 700)
    assert plan_memory(400, 10, 100, 780).stride == 20
