"""Kernels and products of factored gradients against dense gradients by a loop."""

import numpy as np
import pytest

from tests.oracle.gradient_models import SHAPES, looped, random_gradients
from traceprop_engine.errors import GradientShapeError
from traceprop_engine.gradients import (
    LayerGradients,
    RowGradients,
    kernel,
    kernel_blocks,
    kernels,
    layers,
)

pytestmark = pytest.mark.oracle
FORMS = [*((name,) for name in SHAPES), tuple(SHAPES)]
CLOSE = {"rtol": 1e-10, "atol": 1e-10}


@pytest.fixture(params=[None, 2000], ids=["one block", "many blocks"])
def blocks(request, monkeypatch):
    """Let every loop over blocks run once, or many times."""
    if request.param:
        monkeypatch.setattr(layers, "BLOCK_BYTES", request.param)
        monkeypatch.setattr(kernels, "BLOCK_BYTES", request.param)
        monkeypatch.setattr(kernels, "_TILE_ROWS", 4)


@pytest.mark.parametrize("names", FORMS)
@pytest.mark.usefixtures("blocks")
def test_the_kernel_of_two_sets_is_the_product_of_dense_gradients(names):
    gradients, others = random_gradients(11, 1, names), random_gradients(9, 2, names)
    found = kernel(gradients, others)
    np.testing.assert_allclose(found, looped(gradients) @ looped(others).T, **CLOSE)


@pytest.mark.parametrize("names", FORMS)
@pytest.mark.usefixtures("blocks")
def test_the_kernel_of_one_set_is_the_same_and_symmetric_to_the_bit(names):
    gradients = random_gradients(11, 3, names)
    dense = looped(gradients)
    found = kernel(gradients)
    np.testing.assert_allclose(found, dense @ dense.T, **CLOSE)
    np.testing.assert_array_equal(found, found.T)


@pytest.mark.parametrize("is_dense", [True, False])
def test_both_ways_to_compute_a_layer_agree(monkeypatch, is_dense):
    monkeypatch.setattr(
        kernels, "_dense_is_cheaper", lambda layer, _: is_dense or layer.inputs is None
    )
    gradients, others = random_gradients(6, 1), random_gradients(5, 2)
    np.testing.assert_allclose(
        kernel(gradients, others), looped(gradients) @ looped(others).T, **CLOSE
    )


def test_the_cheaper_way_depends_on_the_positions():
    gradients = random_gradients(50, 0)
    cheaper = {layer.name: kernels._dense_is_cheaper(layer, layer) for layer in gradients.layers}
    assert cheaper["convolution"]
    assert cheaper["norm"]
    assert not cheaper["short sequence"]


def test_sequences_of_other_lengths_have_a_kernel_together():
    long, short = random_gradients(4, 1, ("convolution",)), random_gradients(5, 2, ("convolution",))
    layer = short.layers[0]
    cut = LayerGradients(layer.name, layer.inputs[:, :7], layer.deltas[:, :7])
    short = RowGradients((cut,), short.values, short.slopes, short.curvatures)
    np.testing.assert_allclose(kernel(long, short), looped(long) @ looped(short).T, **CLOSE)


@pytest.mark.parametrize("names", FORMS)
@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("n_vectors", [0, 1, 4])
def test_products_with_vectors_are_those_of_dense_gradients(names, n_vectors):
    gradients = random_gradients(11, 4, names)
    dense = looped(gradients)
    rng = np.random.default_rng(5)
    shape = (n_vectors,) if n_vectors else ()
    vectors = rng.standard_normal((gradients.n_parameters, *shape))
    weights = rng.standard_normal((gradients.n_rows, *shape))
    np.testing.assert_allclose(gradients.dot(vectors), dense @ vectors, **CLOSE)
    np.testing.assert_allclose(gradients.weighted_sum(weights), dense.T @ weights, **CLOSE)


@pytest.mark.parametrize("names", FORMS)
@pytest.mark.usefixtures("blocks")
def test_norms_and_dense_gradients_are_those_of_the_loop(names):
    gradients = random_gradients(11, 6, names)
    dense = looped(gradients)
    np.testing.assert_allclose(gradients.dense(), dense, **CLOSE)
    np.testing.assert_allclose(gradients.squared_norms(), (dense**2).sum(axis=1), **CLOSE)


def test_kernel_blocks_are_the_rows_of_the_kernel():
    gradients, others = random_gradients(11, 1), random_gradients(9, 2)
    blocks = list(kernel_blocks(gradients, others, 4))
    assert [rows for rows, _ in blocks] == [slice(0, 4), slice(4, 8), slice(8, 11)]
    np.testing.assert_allclose(
        np.concatenate([block for _, block in blocks]), kernel(gradients, others), **CLOSE
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_single_precision_factors_give_single_precision_kernels_and_double_sums(dtype):
    gradients = random_gradients(40, 1, dtype=dtype)
    dense = looped(gradients)
    found = kernel(gradients)
    assert found.dtype == np.float32
    scale = np.sqrt(np.outer(*[(dense**2).sum(axis=1)] * 2))
    assert np.abs((found - dense @ dense.T) / scale).max() < 1e-6
    assert gradients.squared_norms().dtype == np.float64
    np.testing.assert_allclose(gradients.squared_norms(), (dense**2).sum(axis=1), rtol=1e-6)


def test_a_sum_over_very_many_rows_keeps_its_digits():
    n_rows = 300_000
    inputs = np.full((n_rows, 2), 1.0 + 1e-3, dtype=np.float32)
    deltas = np.ones((n_rows, 1), dtype=np.float32)
    gradients = RowGradients(
        (LayerGradients("linear", inputs, deltas),), np.zeros(n_rows), np.empty(0), np.empty(0)
    )
    exact = float(inputs[0, 0]) * n_rows
    np.testing.assert_allclose(gradients.weighted_sum(np.ones(n_rows)), exact, rtol=1e-5)


def test_taken_rows_and_joined_parts_are_rows_of_the_dense_gradients():
    gradients = random_gradients(11, 7)
    dense = looped(gradients)
    chosen = gradients.take(np.array([3, 3, 0]))
    np.testing.assert_array_equal(looped(chosen), dense[[3, 3, 0]])
    np.testing.assert_array_equal(chosen.slopes, gradients.slopes[[3, 3, 0]])
    joined = RowGradients.concatenated([gradients.take(slice(0, 4)), gradients.take(slice(4, 11))])
    np.testing.assert_array_equal(looped(joined), dense)
    for part in ("values", "slopes", "curvatures"):
        np.testing.assert_array_equal(getattr(joined, part), getattr(gradients, part))


def test_no_rows_have_an_empty_kernel():
    none, some = random_gradients(0, 1), random_gradients(3, 2)
    assert kernel(none).shape == (0, 0)
    assert kernel(none, some).shape == (0, 3)
    assert none.dot(np.ones(none.n_parameters)).shape == (0,)
    assert not none.weighted_sum(np.empty(0)).any()
    assert none.dense().shape == (0, none.n_parameters)


def test_gradients_of_other_layers_are_refused():
    linear, norm = random_gradients(3, 1, ("linear",)), random_gradients(3, 1, ("norm",))
    complaint = r"called 'norm' of shape \(6,\) as the others, got 'linear' of shape \(7, 5\)"
    with pytest.raises(GradientShapeError, match=complaint):
        kernel(linear, norm)
    with pytest.raises(GradientShapeError, match="called 'linear' of shape"):
        RowGradients.concatenated([linear, norm])
    with pytest.raises(GradientShapeError, match="of 6 layers as the others, got 1"):
        kernel(linear, random_gradients(3, 1))


def test_parts_that_cannot_be_joined_are_refused():
    with pytest.raises(GradientShapeError, match="parts must be at least one"):
        RowGradients.concatenated([])
    long = random_gradients(3, 1, ("convolution",))
    layer = long.layers[0]
    cut = LayerGradients(layer.name, layer.inputs[:, :7], layer.deltas[:, :7])
    short = RowGradients((cut,), long.values, long.slopes, long.curvatures)
    with pytest.raises(GradientShapeError, match="'convolution' in every part must be of shape"):
        RowGradients.concatenated([long, short])


def test_vectors_of_another_size_are_refused():
    gradients = random_gradients(3, 1)
    with pytest.raises(GradientShapeError, match=rf"vectors must be \[{gradients.n_parameters}\]"):
        gradients.dot(np.ones(5))
    with pytest.raises(GradientShapeError, match=r"weights must be \[3\]"):
        gradients.weighted_sum(np.ones(4))


@pytest.mark.parametrize(
    ("inputs", "deltas", "complaint"),
    [
        (np.ones((3, 2)), np.ones((4, 2)), "rows and positions"),
        (np.ones((3, 5, 2)), np.ones((3, 4, 2)), "rows and positions"),
        (np.ones(3), np.ones((3, 1)), "inputs of layer 'a'"),
        (None, np.ones((3, 4, 2)), r"\[n, n_parameters\]"),
        (np.ones((3, 2), dtype=int), np.ones((3, 1)), "floating-point"),
    ],
)
def test_factors_that_do_not_fit_are_refused(inputs, deltas, complaint):
    with pytest.raises(GradientShapeError, match=complaint):
        LayerGradients("a", inputs, deltas)


def test_parts_of_other_row_numbers_are_refused():
    layer = random_gradients(3, 1).layers[0]
    with pytest.raises(GradientShapeError, match="slopes must be of 3 rows"):
        RowGradients((layer,), np.zeros(3), np.zeros(2), np.empty(0))
    with pytest.raises(GradientShapeError, match="layers must be at least one"):
        RowGradients((), np.zeros(3), np.zeros(3), np.zeros(3))
    longer = random_gradients(4, 1).layers[0]
    with pytest.raises(GradientShapeError, match="deltas of layer 'linear' must be of 3 rows"):
        RowGradients((layer, longer), np.zeros(3), np.zeros(3), np.zeros(3))
