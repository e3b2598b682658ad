"""Per-sample gradients in JAX, against a loop of `jax.grad` over single rows in float64."""

from functools import cache

import numpy as np
import pytest

jax = pytest.importorskip("jax")
jnp = pytest.importorskip("jax.numpy")

from tests.jax_precision import float64  # noqa: E402 (after the skip)
from traceprop_engine.jax_gradients import Mlp, train_jax  # noqa: E402
from traceprop_engine.jax_gradients.row_wise import blocks_of  # noqa: E402
from traceprop_engine.training.recipe import TrainingRecipe  # noqa: E402

pytestmark = pytest.mark.oracle

N, C = 10, 3
RANDOM = np.random.default_rng(5)
TABLE = RANDOM.normal(size=(N, 6))
CLASSES = RANDOM.integers(0, C, N)
BINARY = CLASSES % 2
TOKENS = RANDOM.integers(0, 7, (N, 4))
IMAGES = RANDOM.normal(size=(N, 5, 5, 1))


@pytest.fixture(autouse=True)
def _float64():
    with float64():
        yield


def conv_net(params, x):
    dims = ("NHWC", "HWIO", "NHWC")
    z = jax.lax.conv_general_dilated(x, params["conv"], (1, 1), "SAME", dimension_numbers=dims)
    return jnp.tanh(z).mean(axis=(1, 2)) @ params["head"][0] + params["head"][1]


def token_net(params, x):
    z = params["table"][x].mean(axis=1)
    z = (z - z.mean(axis=1, keepdims=True)) * params["scale"]
    return z @ params["head"]


def one_output(params, x):
    return jnp.tanh(x @ params["in"]) @ params["out"]


def normal(*shape):
    return RANDOM.normal(size=shape) / 2


CONV = {"conv": normal(3, 3, 1, 4), "head": (normal(4, C), normal(C))}
TOKEN = {"table": normal(7, 5), "scale": normal(5), "head": normal(5, C)}
ONE = {"in": normal(6, 4), "out": normal(4)}
NETS = {
    "mlp": (Mlp((6, 5, 4, C), "tanh"), None, TABLE, CLASSES, "cross_entropy"),
    "mlp of values": (Mlp((6, 5, 1), "gelu"), None, TABLE, TABLE[:, 0] * 3, "squared"),
    "convolution": (conv_net, CONV, IMAGES, CLASSES, "cross_entropy"),
    "embedding": (token_net, TOKEN, TOKENS, CLASSES, "cross_entropy"),
    "flat outputs": (one_output, ONE, TABLE, BINARY, "cross_entropy"),
}


@cache
def trained(net, memory_bytes=2**28):
    apply, params, features, labels, loss = NETS[net]
    params = apply.init(1, np.float64) if params is None else params
    recipe = TrainingRecipe(
        loss=loss, batch_size=5, epochs=3, learning_rate=0.1, checkpoint_fractions=(0.5, 1)
    )
    training = train_jax(
        apply, params, features, labels, recipe, name=net, memory_bytes=memory_bytes
    )
    return training, features, labels


def log_odds(outputs, label):
    """The margin by the definition, from probabilities."""
    outputs = jnp.atleast_1d(outputs)
    if len(outputs) == 1:
        outputs = jnp.concatenate([jnp.zeros(1), outputs])
    right = jax.nn.softmax(outputs)[label]
    return jnp.log(right) - jnp.log1p(-right)


def loss_of(outputs, label, loss):
    if loss == "squared":
        return (jnp.atleast_1d(outputs)[0] - label) ** 2 / 2
    outputs = jnp.atleast_1d(outputs)
    if len(outputs) == 1:
        outputs = jnp.concatenate([jnp.zeros(1), outputs])
    return -jax.nn.log_softmax(outputs)[label]


@cache
def loop_over(net):
    """A function that takes gradients of single rows one after the other, flat ``[n, p]`` each.

    They are those of what the loss is a function of, of the loss, and of the label's output.
    """
    apply, *_, loss = NETS[net]

    def values(params, x, label):
        outputs = apply(params, x[None])[0]
        z = jnp.atleast_1d(outputs)
        if loss == "squared":
            return jnp.stack([z[0], loss_of(outputs, label, loss), z[0]])
        own = z[label] if len(z) > 1 else z[0]
        return jnp.stack([log_odds(outputs, label), loss_of(outputs, label, loss), own])

    return loop_of(values)


def loop_of(values):
    both = jax.jit(lambda *row: (values(*row), jax.jacrev(values)(*row)))

    def looped(params, features, labels):
        rows = [both(params, x, label) for x, label in zip(features, labels, strict=True)]
        flat = [
            [np.reshape(leaf, (len(value), -1)) for leaf in jax.tree.leaves(gradient)]
            for value, gradient in rows
        ]
        gradients = np.stack([np.concatenate(row, axis=1) for row in flat], axis=1)
        return np.stack([value for value, _ in rows], axis=1), gradients

    return looped


def dense(gradients):
    """Layers side by side, products written out; the bias after the weights of its layer."""
    parts = []
    for layer in gradients.layers:
        if layer.inputs is None:
            parts.append(layer.deltas)
        else:
            product = np.einsum("ni,no->nio", layer.inputs, layer.deltas)
            parts.append(product.reshape(len(product), -1))
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("net", NETS)
def test_gradients_of_training_rows_are_those_of_a_loop_at_every_checkpoint(net):
    training, features, labels = trained(net)
    assert len(training.steps) == 2
    for checkpoint, params in enumerate(training.checkpoints):
        got = training.train_gradients(checkpoint)
        _, (expected, losses, _) = loop_over(net)(params, features, labels)
        np.testing.assert_allclose(dense(got), expected, atol=1e-10)
        np.testing.assert_allclose(got.slopes[:, None] * dense(got), losses, atol=1e-10)


@pytest.mark.parametrize("loss", ["cross_entropy", "squared"])
def test_curvatures_are_second_derivatives_of_the_loss_in_the_scalar(loss):
    training, _, labels = trained("mlp" if loss == "cross_entropy" else "mlp of values")
    got = training.train_gradients(1)
    if loss == "cross_entropy":
        curvature = jax.vmap(jax.grad(jax.grad(lambda m: jnp.log1p(jnp.exp(-m)))))
    else:
        curvature = jax.vmap(jax.grad(jax.grad(lambda m: (m - labels[0]) ** 2 / 2)))
    np.testing.assert_allclose(got.curvatures, curvature(jnp.asarray(got.values)), atol=1e-12)


@pytest.mark.parametrize(
    ("net", "target", "place"),
    [
        ("mlp", "margin", 0),
        ("mlp", "loss", 1),
        ("convolution", "logit", 2),
        ("flat outputs", "margin", 0),
        ("flat outputs", "logit", 2),
        ("mlp of values", "prediction", 0),
        ("mlp of values", "loss", 1),
    ],
)
def test_gradients_of_targets_are_those_of_a_loop(net, target, place):
    training, features, labels = trained(net)
    got = training.query_gradients(1, features, labels, target)
    values, gradients = loop_over(net)(training.checkpoints[1], features, labels)
    np.testing.assert_allclose(dense(got), gradients[place], atol=1e-10)
    np.testing.assert_allclose(got.values, values[place], atol=1e-10)
    assert len(got.slopes) == len(got.curvatures) == 0


def gap(outputs):
    return outputs[0] - outputs[1] ** 2


def test_a_function_of_the_outputs_is_a_target_without_labels():
    training, features, labels = trained("mlp")
    got = training.query_gradients(0, features, None, gap)
    params = training.checkpoints[0]
    looped = loop_of(lambda p, x, _: gap(training.apply(p, x[None])[0])[None])
    _, (expected,) = looped(params, features, labels)
    np.testing.assert_allclose(dense(got), expected, atol=1e-10)


@pytest.mark.parametrize("net", ["mlp", "flat outputs"])
def test_a_small_memory_bound_changes_the_blocks_and_not_the_gradients(net):
    whole, _, _ = trained(net)
    small, _, _ = trained(net, memory_bytes=4 * 3 * 8 * whole.n_parameters)
    np.testing.assert_allclose(
        dense(small.train_gradients(1)), dense(whole.train_gradients(1)), atol=1e-14
    )
    some = dense(small.train_gradients(1, rows=np.array([7, 2])))
    np.testing.assert_allclose(some, dense(whole.train_gradients(1))[[7, 2]], atol=1e-14)


def test_blocks_cover_all_rows_once_and_none_is_larger_than_asked():
    for n, largest in ((10, 4), (10, 100), (7, 1), (9, 3), (5, 0)):
        blocks = list(blocks_of(n, largest))
        assert [row for rows, _ in blocks for row in range(n)[rows]] == list(range(n))
        assert {size for _, size in blocks} == {max(row.stop - row.start for row, _ in blocks)}
        assert max(size for _, size in blocks) <= max(1, largest)


def test_weights_of_rows_scale_slopes_and_curvatures():
    apply, _, features, labels, _ = NETS["mlp"]
    recipe = TrainingRecipe(batch_size=5, epochs=3)
    weights = np.linspace(0, 2, N)
    params = apply.init(1, np.float64)
    got = train_jax(apply, params, features, labels, recipe, name="w", weights=weights)
    gradients = got.train_gradients(0)
    wrong = 1 / (1 + np.exp(gradients.values))
    np.testing.assert_allclose(gradients.slopes, -wrong * weights, atol=1e-12)
    np.testing.assert_allclose(gradients.curvatures, wrong * (1 - wrong) * weights, atol=1e-12)
