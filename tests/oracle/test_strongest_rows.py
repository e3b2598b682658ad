"""The strongest rows of streamed shards against all scores in double precision, sorted."""

import os

import numpy as np
import pytest

from tests.oracle.gradient_models import looped, random_gradients
from traceprop_engine.errors import GradientShapeError
from traceprop_engine.gradients import (
    LayerGradients,
    RowGradients,
    ScoredShards,
    ShardSettings,
    random_projection,
    score_blocks,
    streaming,
    strongest_rows,
    write_shards,
)
from traceprop_engine.gradients.stored_numbers import decode

pytestmark = pytest.mark.oracle
N_ROWS = 700


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    """Leave out what only a power cut would show."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def settings(dtype="float32", n_rows=N_ROWS):
    """Return settings of shards of 300 rows."""
    return ShardSettings("net", 0, 9, "cross_entropy", "margin", n_rows, dtype, 300)


def features_on_disk(directory, features, dtype="float32"):
    """Write features as they are."""
    nothing = np.zeros(len(features))
    gradients = RowGradients((LayerGradients("all", None, features),), *[nothing] * 3)
    projection = random_projection("sjlt", gradients.layout, features.shape[1])
    return write_shards(
        directory, settings(dtype, len(features)), gradients.take, projection=projection
    )


def sorted_rows(scores, k, direction):
    """Return the strongest rows by sorting all, ties by position."""
    strength = {"both": np.abs(scores), "raises": scores, "lowers": -scores}[direction]
    rows = sorted(range(len(scores)), key=lambda row: (-strength[row], row))
    return [row for row in rows if direction == "both" or strength[row] > 0][:k]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("width", [16, 17])
@pytest.mark.parametrize("n_queries", [1, 3, 20])
@pytest.mark.parametrize("size", [1.0, 1e-20, 1e25])
def test_scores_are_products_of_the_stored_numbers(tmp_path, dtype, width, n_queries, size):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((N_ROWS, width)) * np.logspace(-3, 4, N_ROWS)[:, None]
    features[5, 0] = 2e-7  # below the normal numbers of float16
    shards = features_on_disk(tmp_path, features, dtype)
    stored = np.concatenate([shards.stored(place)["0.deltas"] for place in range(3)])
    queries = rng.standard_normal((n_queries, width)) * size
    exact = queries @ decode(stored, dtype).astype(np.float64).T
    found = np.concatenate([b for _, b in score_blocks([ScoredShards(shards, queries)])], axis=1)
    largest = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(features, axis=1)
    assert (np.abs(found - exact) / largest).max() < 1e-6


@pytest.mark.parametrize("direction", ["both", "raises", "lowers"])
@pytest.mark.parametrize("k", [1, 20, 5000])
@pytest.mark.parametrize("n_queries", [1, 12])
@pytest.mark.parametrize("n_threads", [1, 4])
def test_the_strongest_rows_are_the_first_of_all_sorted(
    tmp_path, direction, k, n_queries, n_threads
):
    rng = np.random.default_rng(1)
    features = rng.integers(-2, 3, (N_ROWS, 6)).astype(np.float32)  # with very many ties
    queries = rng.integers(-2, 3, (n_queries, 6)).astype(np.float32)
    queries[0] = 1
    shards = features_on_disk(tmp_path, features)
    found = strongest_rows(
        [ScoredShards(shards, queries)], k, direction=direction, n_threads=n_threads
    )
    exact = queries @ features.T
    assert len(found) == n_queries
    for best, scores in zip(found, exact, strict=True):
        rows = sorted_rows(scores, k, direction)
        assert best.rows.tolist() == rows
        np.testing.assert_array_equal(best.scores, scores[rows])


def test_checkpoints_and_slopes_add_up(tmp_path):
    sets = [random_gradients(N_ROWS, seed, ("linear", "norm")) for seed in (1, 2)]
    rng = np.random.default_rng(3)
    terms, exact = [], np.zeros((4, N_ROWS))
    for number, gradients in enumerate(sets):
        queries = rng.standard_normal((4, gradients.n_parameters))
        shards = write_shards(tmp_path / str(number), settings(), gradients.take)
        terms.append(ScoredShards(shards, queries, -shards.slopes))
        exact += queries @ looped(gradients).T * -gradients.slopes
    for best, scores in zip(strongest_rows(terms, 7), exact, strict=True):
        assert best.rows.tolist() == sorted_rows(scores, 7, "both")
        np.testing.assert_allclose(best.scores, scores[best.rows], rtol=1e-4)
    blocks = list(score_blocks(terms))
    assert [rows.start for rows, _ in blocks] == [0, 300, 600]
    np.testing.assert_allclose(np.concatenate([b for _, b in blocks], axis=1), exact, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_factors_and_features_of_all_parameters_have_the_same_strongest_rows(tmp_path, dtype):
    gradients = random_gradients(N_ROWS, 1, ("linear", "convolution"), np.float32)
    whole = random_projection("sjlt", gradients.layout, gradients.n_parameters)
    queries = np.random.default_rng(2).standard_normal((2, gradients.n_parameters))
    factors = write_shards(tmp_path / "a", settings(dtype), gradients.take)
    features = write_shards(tmp_path / "b", settings(), gradients.take, projection=whole)
    of_factors, of_features = (
        strongest_rows([ScoredShards(shards, queries)], 5) for shards in (factors, features)
    )
    for one, other in zip(of_factors, of_features, strict=True):
        tolerance = 1e-5 if dtype == "float32" else 0.05
        np.testing.assert_allclose(one.scores, other.scores, rtol=tolerance)


@pytest.mark.parametrize("is_projected", [True, False])
def test_a_set_that_is_scored_in_small_chunks_has_the_same_strongest_rows(
    tmp_path, monkeypatch, is_projected
):
    gradients = random_gradients(N_ROWS, 1, ("linear", "convolution"), np.float32)
    projection = random_projection("sjlt", gradients.layout, 12) if is_projected else None
    shards = write_shards(tmp_path, settings("float16"), gradients.take, projection=projection)
    queries = np.random.default_rng(2).standard_normal((3, shards.n_features))
    terms = [ScoredShards(shards, queries, shards.slopes)]
    whole = strongest_rows(terms, 9)
    monkeypatch.setattr(streaming, "_CHUNK_BYTES", 4 * 7 * (6 if is_projected else 264))
    assert max(rows.stop - rows.start for rows, _ in score_blocks(terms)) == 7
    for one, other in zip(whole, strongest_rows(terms, 9), strict=True):
        np.testing.assert_array_equal(one.rows, other.rows)
        np.testing.assert_allclose(one.scores, other.scores, rtol=1e-5)


def test_no_rows_have_no_strongest(tmp_path):
    shards = features_on_disk(tmp_path, np.zeros((0, 3), dtype=np.float32))
    (best,) = strongest_rows([ScoredShards(shards, np.ones((1, 3)))], 4)
    assert best.rows.shape == best.scores.shape == (0,)


def test_a_query_of_zeros_ranks_no_row_as_raising(tmp_path):
    shards = features_on_disk(tmp_path, np.ones((5, 3), dtype=np.float32))
    terms = [ScoredShards(shards, np.zeros((1, 3)))]
    assert strongest_rows(terms, 2)[0].rows.tolist() == [0, 1]
    assert strongest_rows(terms, 2, direction="raises")[0].rows.tolist() == []


def test_questions_that_do_not_fit_are_refused(tmp_path):
    shards = features_on_disk(tmp_path / "a", np.ones((5, 3), dtype=np.float32))
    fewer = features_on_disk(tmp_path / "b", np.ones((4, 3), dtype=np.float32))
    one = ScoredShards(shards, np.ones((1, 3)))
    cases = {
        "terms must be at least one": ([], 1),
        "k must be at least 1": ([one], 0),
        "of 3 numbers as the shards, got 4": ([ScoredShards(shards, np.ones((1, 4)))], 1),
        "NaN or infinity": ([ScoredShards(shards, np.full((1, 3), np.nan))], 1),
        r"queries must be finite numbers \[n_query": ([ScoredShards(shards, np.ones(3))], 1),
        r"scale must be \[5\]": ([ScoredShards(shards, np.ones((1, 3)), np.ones(4))], 1),
        "scale must be finite, got nan for row 2": (
            [ScoredShards(shards, np.ones((1, 3)), np.array([1, 0, np.nan, 0, np.inf]))],
            1,
        ),
        "of the same rows": ([one, ScoredShards(fewer, np.ones((1, 3)))], 1),
        "queries must be 1 as in the first": ([one, ScoredShards(shards, np.ones((2, 3)))], 1),
    }
    for complaint, (terms, k) in cases.items():
        with pytest.raises(GradientShapeError, match=complaint):
            strongest_rows(terms, k)
    with pytest.raises(GradientShapeError, match=r"direction must be one of .*'raises'.*got 'up'"):
        strongest_rows([one], 1, direction="up")
