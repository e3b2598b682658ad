"""Trainings in JAX: what they compute, keep, save and refuse."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

jax = pytest.importorskip("jax")
jnp = pytest.importorskip("jax.numpy")
ravel_pytree = pytest.importorskip("jax.flatten_util").ravel_pytree

from tests.jax_precision import float64  # noqa: E402 (after the skip)
from traceprop_engine.errors import (  # noqa: E402
    InfluenceTargetError,
    JaxTrainingError,
    ModuleOutputsError,
    NetWeightsError,
    QueryShapeError,
    TrainingFilesError,
    TrainingNotSavedError,
    UnknownClassError,
)
from traceprop_engine.gradients.net_run import NetRun  # noqa: E402
from traceprop_engine.jax_gradients import JaxTraining, Mlp, train_jax  # noqa: E402
from traceprop_engine.lineage import CaptureSession  # noqa: E402
from traceprop_engine.metagradients.replay import same_bits  # noqa: E402
from traceprop_engine.recording import (  # noqa: E402
    InputRef,
    Materialization,
    record_dataset,
    record_net_run,
)
from traceprop_engine.store import Store  # noqa: E402
from traceprop_engine.training.recipe import TrainingRecipe  # noqa: E402

N, D, C = 11, 3, 3
RANDOM = np.random.default_rng(4)
X = RANDOM.normal(size=(N, D)).astype(np.float32)
Y = RANDOM.integers(0, C, N)
NET = Mlp((D, 4, C), "gelu")
ONE = Mlp((D, 4, 1), "gelu")
RECIPE = TrainingRecipe(
    learning_rate=0.1,
    momentum=0.9,
    weight_decay=0.02,
    batch_size=4,
    epochs=5,
    schedule="cosine",
    warm_up=0.2,
    checkpoint_fractions=(0.2, 0.55, 1),
)


def trained(apply=NET, params=None, recipe=RECIPE, **settings):
    params = NET.init(0) if params is None else params
    return train_jax(apply, params, X, Y, recipe, name="net", **settings)


def equal_trees(one, other):
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return jax.tree.structure(one) == jax.tree.structure(other) and all(
        same_bits(*pair) for pair in pairs
    )


def flat(params):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)])


def textbook(params, recipe, weights):
    """The recipe on flat float64 vectors, with dense gradients of the batch's mean loss."""
    start, rebuild = ravel_pytree(params)

    def loss(vector, rows, weights):
        logs = jax.nn.log_softmax(NET(rebuild(vector), jnp.asarray(X, np.float64)[rows]))
        return -(logs[jnp.arange(len(rows)), jnp.asarray(Y)[rows]] * weights).mean()

    gradient = jax.jit(jax.grad(loss))
    vector, rows = np.asarray(start), recipe.batches(N)
    first, second = np.zeros_like(vector), np.zeros_like(vector)
    kept = []
    rates = recipe.learning_rates(len(rows))
    for t, (batch, rate) in enumerate(zip(rows, rates, strict=True), start=1):
        slope = np.asarray(gradient(vector, batch, weights[batch])) + recipe.weight_decay * vector
        if recipe.optimiser == "sgd":
            first = recipe.momentum * first + slope
            vector = vector - rate * first
        else:
            first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
            root = np.sqrt(second / (1 - 0.999**t)) + 1e-8
            vector = vector - rate * first / (1 - 0.9**t) / root
        kept.append(vector)
    return kept


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_checkpoints_are_those_of_the_textbook(optimiser):
    momentum = 0.9 if optimiser == "sgd" else 0.0
    recipe = replace(RECIPE, optimiser=optimiser, momentum=momentum)
    weights = np.linspace(0, 2, N)
    with float64():
        params = NET.init(0, np.float64)
        training = trained(params=params, recipe=recipe, weights=weights)
        expected = textbook(params, recipe, weights)
        assert training.steps == (2, 6, 10)
        for step, kept in zip(training.steps, training.checkpoints, strict=True):
            np.testing.assert_allclose(flat(kept), expected[step - 1], atol=1e-12)
        assert equal_trees(training.initial, params)


def test_outputs_are_those_of_the_last_checkpoint_whatever_shares_were_kept():
    training = trained(recipe=replace(RECIPE, checkpoint_fractions=(0.2,)))
    assert training.steps == (2, 10)
    assert equal_trees(training.final, trained().final)
    last = training.query_gradients(1, X, Y, "logit")
    logits = training.outputs(X)[np.arange(N), Y]
    np.testing.assert_allclose(logits, vars(last)["values"], rtol=1e-5, atol=1e-6)


def test_training_twice_gives_the_same_bits_and_progress_changes_none():
    seen = []
    one, other = trained(), trained(progress=seen.append)
    assert equal_trees(one.checkpoints, other.checkpoints)
    assert [each.step for each in seen] == list(range(1, 11))
    logs = np.asarray(jax.nn.log_softmax(NET(one.final, X)))
    assert seen[-1].loss == pytest.approx(-logs[np.arange(N), Y].mean(), rel=1e-5)
    assert seen[-1].loss < seen[0].loss


def test_a_row_of_weight_zero_has_no_effect():
    weights = np.ones(N)
    weights[6] = 0
    changed = X.copy()
    changed[6] = 100
    one = trained(weights=weights)
    other = train_jax(NET, NET.init(0), changed, Y, RECIPE, name="net", weights=weights)
    assert equal_trees(one.final, other.final)
    assert not equal_trees(one.final, trained().final)


@pytest.mark.parametrize("loss", ["cross_entropy", "squared"])
def test_a_net_whose_rows_had_weights_is_not_recorded(tmp_path, loss):
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(y=Y)
    mlp, recipe = (NET, RECIPE) if loss == "cross_entropy" else (ONE, replace(RECIPE, loss=loss))
    store = Store.create(tmp_path / "store")
    with CaptureSession() as session:
        made = Materialization("table", {}, "r")
        version = record_dataset(store, made, *session.finish(frame.copy()))

    def record(weights):
        run = NetRun.train(
            frame,
            features=["a", "b", "c"],
            label="y",
            loss=loss,
            fit=lambda x, y: train_jax(mlp, mlp.init(0), x, y, recipe, name="net", weights=weights),
        )
        made = Materialization("net", {"table": InputRef("dataset", version)}, "r")
        with CaptureSession() as session:
            lineage = session.lineage(session.load(frame.copy(), "table"))
        return record_net_run(store, made, run, lineage)

    assert record(None)
    with pytest.raises(NetWeightsError, match="'net' was trained with weights"):
        record(np.linspace(0.5, 1.5, N))


def test_parameters_to_start_from_are_equal_on_every_machine():
    (weights, bias), _ = Mlp((3, 2, 1), "relu").init(7)
    expected = [[0.1444478, 0.458663], [0.3183344, -0.31730342], [-0.2307481, 0.43134236]]
    assert (np.asarray(bias) == 0).all()
    assert weights.dtype == np.float32
    np.testing.assert_array_equal(weights, np.array(expected, np.float32))


def test_the_index_of_a_frame_is_kept():
    frame = pd.DataFrame(X, index=[f"p{i}" for i in range(N)])
    training = train_jax(NET, NET.init(0), frame, Y, RECIPE, name="net")
    assert list(training.index) == list(frame.index)
    assert trained().index is None
    with pytest.raises(QueryShapeError, match="index"):
        trained(index=pd.RangeIndex(3))


class Wrapped(NamedTuple):
    weights: object


def nested(params, x):
    return jnp.tanh(x @ params["in"][0]) @ params["out"]["w"] + params["out"]["b"]


NESTED = {"in": (X[:3, :2] * 2,), "out": {"w": X[:2], "b": X[0]}}


def test_a_saved_training_is_loaded_to_the_last_bit(tmp_path):
    weights = np.linspace(0.5, 1.5, N)
    training = trained(nested, NESTED, weights=weights)
    training.save(tmp_path / "saved")
    again = JaxTraining.load(tmp_path / "saved", nested, index=pd.RangeIndex(N))
    assert not [path for path in (tmp_path / "saved").iterdir() if path.suffix == ".pkl"]
    for name in ("initial", "checkpoints"):
        assert equal_trees(getattr(again, name), getattr(training, name))
    for name in ("features", "labels", "weights"):
        assert same_bits(getattr(again, name), getattr(training, name))
    assert (again.name, again.recipe, again.steps) == ("net", RECIPE, training.steps)
    assert list(again.index) == list(range(N))
    with pytest.raises(TrainingNotSavedError, match="exists already"):
        training.save(tmp_path / "saved")
    with pytest.raises(ModuleOutputsError, match="other outputs"):
        JaxTraining.load(tmp_path / "saved", lambda params, x: nested(params, x) + 1)
    first, second = (tmp_path / "saved" / f"parameters-{at}.npz" for at in (1, 2))
    first.write_bytes(second.read_bytes())
    with pytest.raises(TrainingFilesError, match=r"parameters-1\.npz"):
        JaxTraining.load(tmp_path / "saved", nested)
    with pytest.raises(TrainingFilesError, match=r"no training\.json"):
        JaxTraining.load(tmp_path, nested)
    with pytest.raises(TrainingNotSavedError, match="hold a Wrapped"):
        replace(training, initial=Wrapped(X)).save(tmp_path / "wrapped")
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_float64_is_not_loaded_where_jax_would_round_it(tmp_path):
    with float64():
        training = trained(params=NET.init(0, np.float64))
        training.save(tmp_path / "exact")
    with pytest.raises(TrainingFilesError, match="jax_enable_x64"):
        JaxTraining.load(tmp_path / "exact", NET)
    with float64():
        assert equal_trees(JaxTraining.load(tmp_path / "exact", NET).final, training.final)


def alone(params, x):
    return x @ params


def centred(params, x):
    return (x - x.mean(axis=0)) @ params


@pytest.mark.parametrize(
    ("apply", "params", "settings", "error", "culprit"),
    [
        (lambda p, x: (x @ p).sum(), X[:3], {}, JaxTrainingError, "jax.vmap"),
        (centred, X[:3], {}, JaxTrainingError, "among other rows"),
        (alone, {}, {}, JaxTrainingError, "no parameters"),
        (alone, np.ones((3, 3), int), {}, JaxTrainingError, "Parameter params is int32"),
        (alone, X[:3], {"weights": np.ones(3)}, QueryShapeError, "weights"),
        (alone, X[:3], {"weights": -np.ones(N)}, QueryShapeError, "weights"),
        (alone, X[:3, :2], {}, UnknownClassError, "2 is not a class"),
        (alone, X[:2], {}, JaxTrainingError, r"cannot read rows \[11, 3\]"),
        (Mlp((D, 1, C)), NET.init(0), {}, JaxTrainingError, r"An Mlp of sizes \(3, 1, 3\)"),
    ],
)
def test_what_cannot_be_trained_is_refused_by_name(apply, params, settings, error, culprit):
    with pytest.raises(error, match=culprit):
        train_jax(apply, params, X, Y, RECIPE, name="net", **settings)


def test_rows_labels_and_losses_that_do_not_fit_are_refused():
    squared = replace(RECIPE, loss="squared")
    with pytest.raises(JaxTrainingError, match="3 outputs"):
        trained(recipe=squared)
    with pytest.raises(QueryShapeError, match="labels"):
        train_jax(NET, NET.init(0), X, Y[:3], RECIPE, name="net")
    with pytest.raises(QueryShapeError, match="X must be finite"):
        train_jax(NET, NET.init(0), np.full_like(X, np.nan), Y, RECIPE, name="net")
    with pytest.raises(JaxTrainingError, match="lower learning_rate"):
        trained(recipe=replace(RECIPE, learning_rate=1e30))


def test_questions_that_do_not_fit_are_refused():
    training = trained()
    with pytest.raises(QueryShapeError, match="checkpoint must be from 0 to 2, got 3"):
        training.train_gradients(3)
    with pytest.raises(QueryShapeError, match=r"features must be \[n, 3\]"):
        training.query_gradients(0, X[:, :2], Y, "margin")
    with pytest.raises(InfluenceTargetError, match="labels"):
        training.query_gradients(0, X, None, "margin")
    with pytest.raises(InfluenceTargetError, match="'prediction' does not exist"):
        training.query_gradients(0, X, Y, "prediction")
    with pytest.raises(InfluenceTargetError, match="'margins' is not known"):
        training.query_gradients(0, X, Y, "margins")
    with pytest.raises(QueryShapeError, match="features must be an array of numbers"):
        training.outputs(X.astype(str))
    with pytest.raises(QueryShapeError, match=r"target returns must be one number, got \[3\]"):
        training.query_gradients(0, X, None, lambda outputs: outputs)
    with pytest.raises(UnknownClassError, match="9"):
        training.query_gradients(0, X[:1], np.array([9]), "loss")


def test_whole_numbers_stay_whole_numbers():
    tokens = np.arange(N) % 4

    def embedded(params, x):
        return params[x]

    def train(rows):
        return train_jax(embedded, RANDOM.normal(size=(4, C)), rows, Y, RECIPE, name="tokens")

    training = train(tokens)
    assert training.features.dtype == np.int32
    with pytest.raises(QueryShapeError, match="whole numbers, as in training"):
        training.query_gradients(0, tokens + 0.5, Y, "loss")
    with pytest.raises(QueryShapeError, match="fit int32"):
        training.outputs(tokens + 2**40)
    with pytest.raises(QueryShapeError, match="fit int32"):
        train(tokens + 2**40)


@pytest.mark.parametrize("sizes", [(3,), (3, 0, 1)])
def test_an_mlp_without_layers_or_units_is_refused(sizes):
    with pytest.raises(JaxTrainingError, match="Mlp"):
        Mlp(sizes)
    with pytest.raises(JaxTrainingError, match="swish"):
        Mlp((2, 1), "swish")
