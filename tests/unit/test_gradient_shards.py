"""Shards of gradients come back as written, resume, notice damage, and refuse what does not fit."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest

from tests.oracle.gradient_models import looped, random_gradients
from traceprop_engine.errors import GradientShapeError, GradientShardError, GradientStorageError
from traceprop_engine.gradients import (
    GradientShards,
    KroneckerPca,
    LayerGradients,
    RowGradients,
    ShardSettings,
    kernel,
    random_projection,
    write_shards,
)
from traceprop_engine.gradients.stored_numbers import decode, encode

N_ROWS = 25
DTYPES = ("float32", "float16", "bfloat16")
PRECISION = {"float32": 0, "float16": 2.0**-11, "bfloat16": 2.0**-8}


def settings(**changes):
    """Return settings of a small set."""
    facts = {
        "model": "net",
        "checkpoint": 1,
        "step": 40,
        "loss": "cross_entropy",
        "target": "margin",
        "n_rows": N_ROWS,
        "rows_per_shard": 10,
    }
    return ShardSettings(**facts | changes)


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    """Leave out what only a power cut would show."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def gradients():
    """Gradients of every form in single precision."""
    return random_gradients(N_ROWS, 1, dtype=np.float32)


@pytest.fixture
def projection(gradients):
    """A small projection of them."""
    return random_projection("rademacher", gradients.layout, 12, seed=7)


class Source:
    """Gives gradients of rows and notes which were asked for."""

    def __init__(self, gradients):
        self.gradients = gradients
        self.asked = []

    def __call__(self, rows):
        self.asked.append((rows.start, rows.stop))
        return self.gradients.take(rows)


@pytest.mark.parametrize("dtype", DTYPES)
def test_factors_come_back_as_written(tmp_path, gradients, dtype):
    write_shards(tmp_path, settings(dtype=dtype), gradients.take)
    shards = GradientShards.open(tmp_path)
    assert shards.settings == settings(dtype=dtype)
    assert shards.n_features == gradients.n_parameters
    back = RowGradients.concatenated([block for _, block in shards.blocks()])
    for found, written in zip(back.layers, gradients.layers, strict=True):
        assert found.name == written.name
        np.testing.assert_allclose(found.deltas, written.deltas, rtol=PRECISION[dtype])
        if written.inputs is not None:
            np.testing.assert_allclose(found.inputs, written.inputs, rtol=PRECISION[dtype])
    for name in ("values", "slopes", "curvatures"):
        np.testing.assert_array_equal(getattr(shards, name), getattr(gradients, name))
        np.testing.assert_array_equal(getattr(back, name), getattr(gradients, name))


@pytest.mark.parametrize("dtype", DTYPES)
def test_projected_gradients_come_back_as_one_flat_layer(tmp_path, gradients, projection, dtype):
    write_shards(tmp_path, settings(dtype=dtype), gradients.take, projection=projection)
    shards = GradientShards.open(tmp_path)
    back = RowGradients.concatenated([block for _, block in shards.blocks()])
    expected = projection.project(gradients)
    np.testing.assert_allclose(back.layers[0].deltas, expected, rtol=PRECISION[dtype])
    np.testing.assert_allclose(kernel(back), expected @ expected.T, rtol=0.1, atol=1)
    assert [layer.name for layer in back.layers] == ["features"]
    assert shards.n_features == 12
    assert shards.projection.describe() == projection.describe()


def test_single_precision_comes_back_to_the_bit_and_is_the_same_on_disk_each_time(
    tmp_path, gradients, projection
):
    for name in ("a", "b"):
        write_shards(tmp_path / name, settings(), gradients.take, projection=projection)
    files = {
        name: {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("a", "b")
    }
    assert files["a"] == files["b"]
    first = GradientShards.open(tmp_path / "a").gradients(0)
    np.testing.assert_array_equal(
        first.layers[0].deltas, projection.project(gradients.take(slice(0, 10)))
    )


def test_a_fitted_projection_is_kept_with_the_shards(tmp_path, gradients):
    fitted = KroneckerPca.fit(gradients, 9)
    write_shards(tmp_path, settings(), gradients.take, projection=fitted)
    again = GradientShards.open(tmp_path).projection
    queries = random_gradients(3, 9, dtype=np.float32)
    np.testing.assert_array_equal(again.project(queries), fitted.project(queries))


def test_gradients_of_queries_have_no_slopes(tmp_path, gradients):
    queries = RowGradients(gradients.layers, gradients.values, np.empty(0), np.empty(0))
    shards = write_shards(tmp_path, settings(target="logit"), queries.take)
    assert shards.slopes.shape == shards.curvatures.shape == (0,)
    assert shards.gradients(1).slopes.shape == (0,)


def test_a_part_of_a_shard_is_read_alone(tmp_path, gradients):
    shards = write_shards(tmp_path, settings(), gradients.take)
    part = shards.gradients(1, slice(2, 5))
    np.testing.assert_allclose(looped(part), looped(gradients)[12:15])


def test_no_rows_are_an_empty_set(tmp_path, gradients):
    shards = write_shards(tmp_path, settings(n_rows=0), gradients.take)
    assert GradientShards.open(tmp_path).n_rows == 0
    assert list(shards.blocks()) == []
    assert shards.values.shape == (0,)
    assert shards.n_features is None


def test_what_is_there_and_whole_is_not_computed_again(tmp_path, gradients, projection):
    class StoppedError(Exception):
        pass

    def until_the_second(rows):
        if rows.start == 10:
            raise StoppedError
        return gradients.take(rows)

    with pytest.raises(StoppedError):
        write_shards(tmp_path, settings(), until_the_second, projection=projection)
    with pytest.raises(GradientShardError, match="rows 10 to 19 are missing"):
        GradientShards.open(tmp_path)
    source = Source(gradients)
    write_shards(tmp_path, settings(), source, projection=projection)
    assert source.asked == [(10, 20), (20, 25)]
    source.asked.clear()
    write_shards(tmp_path, settings(), source, projection=projection)
    assert source.asked == []


def test_progress_is_told_in_rows(tmp_path, gradients):
    told = []
    write_shards(tmp_path, settings(), gradients.take, progress=lambda *rows: told.append(rows))
    assert told == [(0, 25), (10, 25), (20, 25), (25, 25)]


def test_several_writers_of_one_set_leave_it_whole(tmp_path, gradients, projection):
    wait = Barrier(4)

    def write(number):
        def scaled(rows):
            taken = gradients.take(rows)
            layers = [
                replace(one, deltas=one.deltas * np.float32(2**number)) for one in taken.layers
            ]
            return replace(taken, layers=tuple(layers))

        wait.wait()
        write_shards(tmp_path, settings(), scaled, projection=projection)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, range(4)))
    shards = GradientShards.open(tmp_path)
    for rows, block in shards.blocks():
        ratios = block.layers[0].deltas / projection.project(gradients.take(rows))
        assert ratios.min() == ratios.max()  # all of the same writer
        assert ratios.max() in {1, 2, 4, 8}


def flip_last_byte(path: Path):
    """Damage a file without changing its size."""
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (flip_last_byte, "its SHA-256 does not fit"),
        (lambda path: path.write_bytes(path.read_bytes()[:-8]), "its SHA-256 does not fit"),
        (Path.unlink, "the file is missing"),
    ],
)
@pytest.mark.parametrize("part", ["0.deltas", "values"])
def test_a_damaged_shard_is_noticed_and_written_again(
    tmp_path, gradients, projection, damage, complaint, part
):
    write_shards(tmp_path, settings(), gradients.take, projection=projection)
    damage(next(tmp_path.glob(f"rows-000000000010-*.{part}.*.npy")))
    with pytest.raises(GradientShardError, match=complaint):
        GradientShards.open(tmp_path)
    source = Source(gradients)
    write_shards(tmp_path, settings(), source, projection=projection)
    assert source.asked == [(10, 20)]
    assert GradientShards.open(tmp_path).n_rows == N_ROWS


def test_a_damaged_projection_is_noticed(tmp_path, gradients):
    fitted = KroneckerPca.fit(gradients, 9)
    write_shards(tmp_path, settings(), gradients.take, projection=fitted)
    flip_last_byte(next(tmp_path.glob("projection.0.inputs.*.npy")))
    with pytest.raises(GradientShardError, match="SHA-256"):
        GradientShards.open(tmp_path)


def test_a_sidecar_of_another_set_is_not_believed(tmp_path, gradients):
    write_shards(tmp_path / "a", settings(), gradients.take)
    write_shards(tmp_path / "b", settings(step=41), gradients.take)
    name = "rows-000000000000-000000000010.json"
    (tmp_path / "a" / name).write_bytes((tmp_path / "b" / name).read_bytes())
    with pytest.raises(GradientShardError, match="of another set"):
        GradientShards.open(tmp_path / "a")
    source = Source(gradients)
    write_shards(tmp_path / "a", settings(), source)
    assert source.asked == [(0, 10)]


def test_a_sidecar_that_is_no_sidecar_is_refused(tmp_path, gradients):
    write_shards(tmp_path, settings(), gradients.take)
    (tmp_path / "rows-000000000000-000000000010.json").write_text("[]")
    with pytest.raises(GradientShardError, match="is no sidecar of a shard"):
        GradientShards.open(tmp_path)


def test_an_array_of_another_dtype_is_refused(tmp_path, gradients, projection):
    write_shards(tmp_path, settings(), gradients.take, projection=projection)
    path = tmp_path / "description.json"
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"float32"', b'"float16"'))
    with pytest.raises(GradientShardError, match="of another set"):
        GradientShards.open(tmp_path)
    np.save(next(tmp_path.glob("*.0.deltas.*.npy")), np.zeros((10, 12)))
    path.write_bytes(data)
    with pytest.raises(GradientShardError, match="holds float64, not float32"):
        GradientShards.open(tmp_path, verify=False)


def test_a_file_that_would_run_code_is_not_loaded(tmp_path, gradients, projection):
    write_shards(tmp_path, settings(), gradients.take, projection=projection)
    np.save(next(tmp_path.glob("*.0.deltas.*.npy")), np.array([{}]), allow_pickle=True)
    with pytest.raises(GradientShardError, match="cannot be read"):
        GradientShards.open(tmp_path, verify=False)


def test_a_directory_without_shards_is_refused(tmp_path):
    with pytest.raises(GradientShardError, match="is no description of gradients"):
        GradientShards.open(tmp_path)


def test_shards_of_a_newer_format_are_refused(tmp_path, gradients):
    write_shards(tmp_path, settings(), gradients.take)
    path = tmp_path / "description.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}))
    with pytest.raises(GradientShardError, match="newer format"):
        GradientShards.open(tmp_path)


@pytest.mark.parametrize("changes", [{"step": 41}, {"dtype": "float16"}, {"rows_per_shard": 5}])
def test_a_directory_with_other_gradients_is_not_written_to(tmp_path, gradients, changes):
    write_shards(tmp_path, settings(), gradients.take)
    with pytest.raises(GradientStorageError, match="holds other gradients"):
        write_shards(tmp_path, settings(**changes), gradients.take)


def test_another_seed_is_another_set(tmp_path, gradients, projection):
    write_shards(tmp_path, settings(), gradients.take, projection=projection)
    other = random_projection("rademacher", gradients.layout, 12, seed=8)
    with pytest.raises(GradientStorageError, match="holds other gradients"):
        write_shards(tmp_path, settings(), gradients.take, projection=other)


def test_a_place_that_cannot_be_written_to_is_told(tmp_path, gradients):
    (tmp_path / "file").write_text("")
    with pytest.raises(GradientStorageError, match="cannot be written to"):
        write_shards(tmp_path / "file" / "shards", settings(), gradients.take)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"dtype": "int8"}, "there is no dtype 'int8'; use one of 'float32'"),
        ({"rows_per_shard": 0}, "at least one row a shard"),
    ],
)
def test_settings_that_make_no_shards_are_refused(tmp_path, gradients, changes, complaint):
    with pytest.raises(GradientStorageError, match=complaint):
        write_shards(tmp_path, settings(**changes), gradients.take)


def test_a_source_that_gives_other_rows_is_refused(tmp_path, gradients):
    with pytest.raises(GradientShapeError, match="must be of 10 rows, got 25"):
        write_shards(tmp_path, settings(), lambda _: gradients)


@pytest.mark.parametrize(
    ("number", "dtype", "complaint"),
    [
        (np.nan, "float32", "'all' of rows from 0 have a number that is not finite in row 3"),
        (np.inf, "float16", "not finite in row 3"),
        (7e4, "float16", "too large for float16 in row 3; store them as bfloat16 or float32"),
        (1e-9, "float16", "too small for float16 in row 3; store them as bfloat16 or float32"),
        (1e300, "float32", "too large for float32 in row 3; divide the targets"),
        (3.4e38, "bfloat16", "too large for bfloat16 in row 3"),
        (1e-60, "bfloat16", "too small for bfloat16 in row 3"),
    ],
)
def test_numbers_that_would_be_lost_are_refused(tmp_path, number, dtype, complaint):
    dense = np.zeros((5, 2))
    dense[3, 1] = number
    layer = LayerGradients("all", None, dense)
    gradients = RowGradients((layer,), *[np.zeros(5)] * 3)
    with pytest.raises(GradientStorageError, match=complaint):
        write_shards(tmp_path, settings(n_rows=5, dtype=dtype), gradients.take)


def test_bfloat16_rounds_to_the_nearest_and_ties_to_even():
    numbers = np.array([[1.0, 1.0 + 2**-8, 1.0 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -3.14159265]])
    kept = decode(encode("numbers", numbers, "bfloat16"), "bfloat16")
    expected = [[1.0, 1.0, 1.0 + 2**-6, 1.0 + 2**-7, -3.140625]]
    np.testing.assert_array_equal(kept, np.float32(expected))


@pytest.mark.parametrize("dtype", DTYPES)
def test_stored_numbers_that_are_read_and_stored_again_are_the_same(dtype):
    numbers = np.random.default_rng(0).standard_normal((7, 5))
    stored = encode("numbers", numbers, dtype)
    np.testing.assert_array_equal(encode("numbers", decode(stored, dtype), dtype), stored)
