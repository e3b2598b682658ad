"""Projections keep inner products, are the same everywhere, and refuse what they are not for."""

import hashlib
import json
from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
from scipy.special import ndtri

from tests.oracle.gradient_models import looped, random_gradients, whole_gradients
from traceprop_engine.errors import ProjectionError
from traceprop_engine.gradients import (
    KroneckerPca,
    LayerGradients,
    ProjectionKind,
    RowGradients,
    kernel,
    projection_from,
    random_projection,
)
from traceprop_engine.gradients import matrix_projection as matrices
from traceprop_engine.gradients.random_entries import (
    _normal_levels,
    gaussians,
    normal_quantile,
    signs,
    sketch_places,
    sparse_signs,
    words,
)

KINDS = get_args(ProjectionKind)
GOLDEN = {
    "count_sketch": "96b8c1be7107b72378741bc0cb494cb2b0b34872bde9ef85e0adda36998043aa",
    "sjlt": "ceb6df7ffbf02157ee40d603a835ed03e36e42b6ec2a142e920f45c81dfe41c2",
    "rademacher": "e65bf1d32e53f78bbd02fe667223bd0e0522b60698fe6f532a05ce929e70d817",
    "achlioptas": "96a191635abbacf5aa1e7dd74b0a68db74a12ae772d24e54183585e138b3b5df",
    "sparse": "238958e202544ed0bc55c9a7ff2a17dcd1fbc272dff82b14d4c00608be9eb648",
    "gaussian": "1fee1db62b0ff2a94f27450e72af2451f490fcc699fc9f127b0f9dceeaf6667d",
    "factored": "4e14b63ff23216a3a4d10c24b4a45f6ebd716771e7a50410f1bb4af22be92d89",
}


def flat(dense):
    """Return dense gradients as those of one flat layer."""
    nothing = np.zeros(len(dense))
    return RowGradients((LayerGradients("all", None, dense),), nothing, nothing, nothing)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "factored"])
def test_factors_are_projected_as_the_dense_gradients_they_stand_for(kind):
    gradients = random_gradients(7, 1)
    projection = random_projection(kind, gradients.layout, 24, seed=5)
    of_each_parameter = projection.project(flat(np.eye(gradients.n_parameters)))
    expected = looped(gradients) @ of_each_parameter
    np.testing.assert_allclose(projection.project(gradients), expected, rtol=1e-10, atol=1e-10)


def test_a_factored_projection_is_a_product_of_matrices_in_each_layer():
    gradients = random_gradients(7, 1)
    projection = random_projection("factored", gradients.layout, 60, seed=5)
    expected = []
    for position, layer in enumerate(gradients.layers):
        kept = [np.eye(1)] if layer.inputs is None else []
        widths = [1, *layer.shape.shape] if kept else layer.shape.shape
        for side, width in enumerate(widths[-2:]):
            size = projection.sizes[position][side]
            drawn = signs(5, 1 + 2 * position + side, slice(0, width), size)
            kept.append(np.eye(width) if size == width else drawn / np.sqrt(size))
        of_layer = np.kron(*kept[-2:])
        expected.append(looped(RowGradients((layer,), *[np.zeros(7)] * 3)) @ of_layer)
    np.testing.assert_allclose(
        projection.project(gradients), np.concatenate(expected, axis=1), rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("kind", KINDS)
def test_inner_products_are_kept_on_average_over_seeds(kind):
    gradients = random_gradients(4, 3)
    exact = kernel(gradients)
    found = []
    for seed in range(150):
        features = random_projection(kind, gradients.layout, 40, seed=seed).project(gradients)
        found.append(features @ features.T)
    error = np.mean(found, axis=0) - exact
    standard_error = np.std(found, axis=0) / np.sqrt(len(found))
    assert np.abs(error / standard_error).max() < 4
    size = np.sqrt(np.outer(np.diag(exact), np.diag(exact)))
    assert (standard_error / size).max() < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_fits_is_not_projected(kind):
    gradients = random_gradients(5, 3)
    projection = random_projection(kind, gradients.layout, gradients.n_parameters)
    assert projection.describe() == {"kind": "none", "n_parameters": gradients.n_parameters}
    np.testing.assert_allclose(projection.project(gradients), looped(gradients), rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_features_for_a_seed_are_the_same_on_every_machine(kind):
    gradients = whole_gradients(5)
    features = random_projection(kind, gradients.layout, 50, seed=2**63 + 11).project(gradients)
    if kind == "gaussian":  # their sums are rounded as the machine's matrix product does
        projection = random_projection(kind, gradients.layout, 50, seed=2**63 + 11)
        features = projection.matrix(slice(0, gradients.n_parameters))
    assert features.dtype == np.float32
    bytes_of_features = (features + 0.0).astype("<f4").tobytes()  # no zero keeps a minus sign
    assert hashlib.sha256(bytes_of_features).hexdigest() == GOLDEN[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_other_seeds_give_other_features_and_the_same_seed_the_same(kind):
    gradients = random_gradients(3, 4)
    features = [
        random_projection(kind, gradients.layout, 30, seed=seed).project(gradients)
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(features[0], features[1])
    assert not np.allclose(features[0], features[2])


def test_a_count_sketch_does_not_depend_on_how_the_rows_are_split():
    gradients = random_gradients(300, 4, ("linear", "one output", "norm"), np.float32)
    projection = random_projection("count_sketch", gradients.layout, 16)
    parts = [projection.project(gradients.take(slice(*ends))) for ends in pairwise((0, 1, 77, 300))]
    np.testing.assert_array_equal(np.concatenate(parts), projection.project(gradients))


@pytest.mark.parametrize("kind", ["achlioptas", "sparse", "gaussian", "rademacher"])
def test_a_matrix_made_in_many_blocks_gives_the_same_features(kind, monkeypatch):
    gradients = random_gradients(50, 4)
    projection = random_projection(kind, gradients.layout, 20)
    whole = projection.project(gradients)
    monkeypatch.setattr(matrices, "BLOCK_BYTES", 4000)
    monkeypatch.setattr(matrices, "_SPARSE_BELOW", 0.5)
    np.testing.assert_allclose(projection.project(gradients), whole, rtol=1e-10)


@pytest.mark.parametrize("kind", [*KINDS, "none", "kronecker_pca"])
def test_a_projection_is_made_again_from_its_description(kind):
    gradients = random_gradients(6, 5)
    if kind == "kronecker_pca":
        projection = KroneckerPca.fit(gradients, 12)
    else:
        n_features = 10_000 if kind == "none" else 50
        projection = random_projection(
            KINDS[0] if kind == "none" else kind, gradients.layout, n_features
        )
    again = projection_from(json.loads(json.dumps(projection.describe())), projection.arrays())
    np.testing.assert_array_equal(again.project(gradients), projection.project(gradients))
    assert again.n_features == projection.n_features == projection.project(gradients).shape[1]
    assert again.describe() == projection.describe()


def test_principal_products_of_all_directions_keep_every_inner_product():
    gradients, others = random_gradients(400, 5), random_gradients(5, 6)
    projection = KroneckerPca.fit(gradients, gradients.n_parameters)
    assert projection.kept == pytest.approx(1)
    np.testing.assert_allclose(
        projection.project(gradients) @ projection.project(others).T,
        kernel(gradients, others),
        rtol=1e-9,
        atol=1e-9,
    )


def test_principal_products_keep_the_share_of_the_length_that_they_say():
    gradients = random_gradients(40, 5)
    shares = []
    for n_features in (1, 10, 40, 100):
        projection = KroneckerPca.fit(gradients, n_features)
        features = projection.project(gradients)
        assert features.shape == (40, n_features)
        shares.append(np.square(features).sum() / gradients.squared_norms().sum())
        assert projection.kept == pytest.approx(shares[-1])
    assert shares == sorted(shares)


def test_principal_products_are_far_better_than_random_features_where_gradients_share_directions():
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((200, 30)) * 0.7 ** np.arange(30)
    deltas = rng.standard_normal((200, 20)) * 0.7 ** np.arange(20)
    layer = LayerGradients("skewed", inputs, deltas)
    gradients = RowGradients((layer,), *[np.zeros(200)] * 3)
    exact = kernel(gradients)

    def error(features):
        return np.linalg.norm(features @ features.T - exact) / np.linalg.norm(exact)

    chosen = error(KroneckerPca.fit(gradients, 60).project(gradients))
    random = error(random_projection("gaussian", gradients.layout, 60).project(gradients))
    assert chosen < random / 10


def test_directions_without_any_gradient_are_left_out():
    gradients = random_gradients(3, 5, ("norm",))
    assert KroneckerPca.fit(gradients, 6).n_features == 6  # three of them are only rounding
    some = LayerGradients("norm", None, np.eye(3, 6))
    exact = RowGradients((some,), *[np.zeros(3)] * 3)
    assert KroneckerPca.fit(exact, 6).n_features == 3


@pytest.mark.parametrize("make", [signs, gaussians])
def test_blocks_of_a_matrix_are_parts_of_the_whole(make):
    whole = make(3, 1, slice(0, 40), 70)
    np.testing.assert_array_equal(make(3, 1, slice(13, 29), 70), whole[13:29])


def test_blocks_of_sparse_matrices_and_sketches_are_parts_of_the_whole():
    whole = sparse_signs(3, 1, slice(0, 40), 7, 9000)
    np.testing.assert_array_equal(sparse_signs(3, 1, slice(13, 29), 7, 9000), whole[13:29])
    buckets, sign = sketch_places(3, 1, slice(0, 40), 10, 3)
    some_buckets, some_signs = sketch_places(3, 1, slice(13, 29), 10, 3)
    np.testing.assert_array_equal(some_buckets, buckets[13:29])
    np.testing.assert_array_equal(some_signs, sign[13:29])


def test_streams_and_seeds_are_not_the_same():
    seeds = (0, 1, 2**53, 2**53 + 1, 2**63, 2**63 + 1, 2**64 - 1)
    drawn = {words(seed, stream, 0, 1)[0] for seed in seeds for stream in (0, 1)}
    assert len(drawn) == 2 * len(seeds)


def test_entries_have_the_moments_and_the_density_that_are_promised():
    rows = slice(0, 1000)
    for entries in (signs(1, 0, rows, 640), gaussians(1, 0, rows, 640)):
        assert abs(entries.mean()) < 0.006
        assert entries.var() == pytest.approx(1, abs=0.01)
    assert set(np.unique(signs(1, 0, rows, 640))) == {-1, 1}
    sparse = sparse_signs(1, 0, rows, 640, 10_923)
    assert np.count_nonzero(sparse) / sparse.size == pytest.approx(1 / 3, abs=0.003)
    assert abs(sparse.mean()) < 0.004


def test_normal_entries_are_the_quantiles_of_the_normal_distribution():
    entries = np.sort(gaussians(1, 0, slice(0, 1000), 640), axis=None)
    chances = (np.arange(entries.size) + 0.5) / entries.size
    inner = slice(entries.size // 1000, -entries.size // 1000)
    assert np.abs(entries[inner] - ndtri(chances[inner])).max() < 0.1
    assert np.abs(entries - ndtri(chances)).mean() < 0.005
    levels = _normal_levels()
    assert len(np.unique(levels)) == 65_536
    assert np.mean(levels.astype(np.float64) ** 2) == pytest.approx(1, abs=1e-7)
    assert 4.3 < levels.max() < 4.4


def test_a_sketch_spreads_over_all_buckets_and_never_twice_into_one():
    buckets, sign = sketch_places(1, 0, slice(0, 20_000), 10, 3)
    assert [set(column) for column in buckets.T] == [{0, 1, 2}, {3, 4, 5}, {6, 7, 8, 9}]
    counts = np.bincount(buckets[:, 2])[6:]
    np.testing.assert_allclose(counts / 20_000, 0.25, atol=0.015)
    assert abs(sign.mean()) < 0.02


def test_normal_quantiles_are_those_of_the_normal_distribution():
    chances = np.concatenate([np.linspace(1e-4, 1 - 1e-4, 9999), 0.5 ** np.arange(1, 34)])
    np.testing.assert_allclose(normal_quantile(chances), ndtri(chances), rtol=2e-7, atol=2e-7)


@pytest.mark.parametrize("kind", [*KINDS, "kronecker_pca"])
def test_gradients_of_another_model_are_refused(kind):
    gradients = random_gradients(3, 1)
    other = random_gradients(3, 1, ("linear", "norm"))
    projection = (
        KroneckerPca.fit(gradients, 20)
        if kind == "kronecker_pca"
        else random_projection(kind, gradients.layout, 20)
    )
    with pytest.raises(ProjectionError, match="make one for the layout of these gradients"):
        projection.project(other)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"kind": "fourier"}, "there is no kind 'fourier'.*'count_sketch'"),
        ({"n_features": 0}, "0 features are asked for"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**64}, "from 0 to 2"),
        ({"layout": ()}, "there are no parameters"),
        ({"kind": "factored", "n_features": 3}, "fewer than the 6 layers"),
    ],
)
def test_projections_that_cannot_be_made_are_refused(arguments, complaint):
    settings = {"kind": "sjlt", "layout": random_gradients(1, 1).layout, "n_features": 9, "seed": 1}
    with pytest.raises(ProjectionError, match=complaint):
        random_projection(**settings | arguments)


def test_descriptions_of_no_known_projection_are_refused():
    with pytest.raises(ProjectionError, match="there is no kind 'fjlt'"):
        projection_from({"kind": "fjlt"}, {})
    with pytest.raises(ProjectionError, match="count_sketch projection lacks"):
        projection_from({"kind": "count_sketch", "seed": 1}, {})
    with pytest.raises(ProjectionError, match="kronecker_pca projection lacks"):
        projection_from(KroneckerPca.fit(random_gradients(3, 1), 5).describe(), {})


def test_a_fit_on_nothing_or_of_nothing_is_refused():
    gradients = random_gradients(3, 1, ("norm",))
    with pytest.raises(ProjectionError, match="0 features"):
        KroneckerPca.fit(gradients, 0)
    with pytest.raises(ProjectionError, match="all of them are zero"):
        KroneckerPca.fit(flat(np.zeros((3, 4))), 2)
    wide = RowGradients(
        (LayerGradients("wide", np.zeros((1, 8193)), np.zeros((1, 2))),), *np.zeros((3, 1))
    )
    with pytest.raises(ProjectionError, match="layer 'wide' has a factor of 8,193"):
        KroneckerPca.fit(wide, 2)


def test_of_a_large_layer_without_factors_the_largest_parameters_are_kept():
    dense = np.random.default_rng(0).normal(size=(5, 9000)) * np.linspace(1, 2, 9000)
    fitted = KroneckerPca.fit(flat(dense), 40)
    largest = np.sort(np.argsort(-np.square(dense).sum(axis=0))[:40])
    np.testing.assert_array_equal(fitted.project(flat(dense)), dense[:, largest])
    again = projection_from(fitted.describe(), fitted.arrays())
    np.testing.assert_array_equal(again.project(flat(dense)), dense[:, largest])
