"""Laws of per-sample gradients, for layers of any form and any number of rows."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traceprop_engine.gradients import (
    KroneckerPca,
    LayerGradients,
    RowGradients,
    kernel,
    random_projection,
)

CLOSE = {"rtol": 1e-9, "atol": 1e-9}
FORMS = st.tuples(
    st.sampled_from([None, 1, 2, 5]), st.sampled_from([None, 1, 3]), st.sampled_from([1, 2, 4])
)


@st.composite
def two_sets(draw):
    """Draw gradients of two sets of rows in the same layers."""
    forms = draw(st.lists(FORMS, min_size=1, max_size=3))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return [_gradients(forms, draw(st.integers(0, 6)), rng) for _ in range(2)]


def _gradients(forms, n_rows, rng):
    layers = []
    for place, (positions, n_inputs, n_outputs) in enumerate(forms):
        lead = (n_rows,) if positions is None or n_inputs is None else (n_rows, positions)
        inputs = None if n_inputs is None else rng.standard_normal((*lead, n_inputs))
        layers.append(LayerGradients(str(place), inputs, rng.standard_normal((*lead, n_outputs))))
    return RowGradients(tuple(layers), rng.standard_normal(n_rows), np.empty(0), np.empty(0))


@settings(max_examples=40)
@given(two_sets())
def test_a_kernel_is_symmetric_and_its_diagonal_are_the_squared_norms(sets):
    gradients, others = sets
    np.testing.assert_allclose(kernel(gradients, others), kernel(others, gradients).T, **CLOSE)
    np.testing.assert_allclose(kernel(gradients), kernel(gradients, gradients), **CLOSE)
    np.testing.assert_allclose(np.diag(kernel(gradients)), gradients.squared_norms(), **CLOSE)


@settings(max_examples=40)
@given(two_sets())
def test_a_kernel_of_joined_rows_is_made_of_the_kernels_of_the_parts(sets):
    gradients, others = sets
    joined = RowGradients.concatenated(sets)
    whole = kernel(joined)
    n_rows = gradients.n_rows
    np.testing.assert_allclose(whole[:n_rows, n_rows:], kernel(gradients, others), **CLOSE)
    order = np.random.default_rng(0).permutation(joined.n_rows)
    np.testing.assert_allclose(kernel(joined.take(order)), whole[np.ix_(order, order)], **CLOSE)


@settings(max_examples=40)
@given(two_sets(), st.integers(0, 99))
def test_products_and_weighted_sums_are_adjoint(sets, seed):
    gradients, others = sets
    rng = np.random.default_rng(seed)
    vector = rng.standard_normal(gradients.n_parameters)
    weights = rng.standard_normal(gradients.n_rows)
    there = gradients.dot(vector) @ weights
    np.testing.assert_allclose(there, vector @ gradients.weighted_sum(weights), **CLOSE)
    np.testing.assert_allclose(
        others.dot(gradients.weighted_sum(weights)), kernel(others, gradients) @ weights, **CLOSE
    )


@pytest.mark.parametrize("kind", ["sjlt", "rademacher", "gaussian", "sparse", "factored"])
@settings(max_examples=40)
@given(two_sets(), st.integers(0, 2**64 - 1))
def test_a_projection_is_linear_and_row_by_row(kind, sets, seed):
    gradients, others = sets
    projection = random_projection(kind, gradients.layout, 4, seed=seed)
    features = projection.project(gradients)
    assert features.shape == (gradients.n_rows, projection.n_features)
    doubled = replace(
        gradients,
        layers=tuple(replace(layer, deltas=-2 * layer.deltas) for layer in gradients.layers),
    )
    np.testing.assert_allclose(projection.project(doubled), -2 * features, **CLOSE)
    joined = projection.project(RowGradients.concatenated(sets))
    np.testing.assert_allclose(joined[: len(features)], features, **CLOSE)
    np.testing.assert_allclose(joined[len(features) :], projection.project(others), **CLOSE)


@settings(max_examples=40)
@given(two_sets(), st.integers(1, 12))
def test_principal_products_never_lengthen_a_gradient(sets, n_features):
    fitted, others = sets
    if not fitted.n_rows:
        return
    projection = KroneckerPca.fit(fitted, n_features)
    lengths = np.square(projection.project(others)).sum(axis=1)
    assert (lengths <= others.squared_norms() * (1 + 1e-9)).all()
    assert 0 < projection.kept <= 1 + 1e-9
