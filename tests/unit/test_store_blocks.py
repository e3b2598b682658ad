"""Blocks: written once, named by their content, verified when they are read."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from traceprop_engine.digests import sha256_file
from traceprop_engine.errors import BlockNotFoundError, StoreCorruptError
from traceprop_engine.store import Store


@pytest.fixture
def store(tmp_path):
    return Store.create(tmp_path / "store")


def files(store):
    return sorted((store.directory / "blocks").glob("*/*"))


def test_a_table_comes_back_as_it_was_under_the_digest_of_its_file(store):
    table = pa.table({"in_row": pa.array([3, 1, 2], pa.int32()), "name": ["a", None, "ä"]})
    block = store.put_table(table)
    assert store.get_table(block).equals(table, check_metadata=True)
    (path,) = files(store)
    assert (path.name, path.parent.name) == (f"{block}.parquet", block[:2])
    assert sha256_file(path) == block


def test_the_same_content_is_one_file_that_is_written_once(store):
    table = pa.table({"in_row": list(range(1000))})
    block = store.put_table(table)
    inode = files(store)[0].stat().st_ino
    assert Store.open(store.directory).put_table(table) == block
    assert [path.stat().st_ino for path in files(store)] == [inode]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64])
def test_encodings_differ_in_bytes_and_not_in_content(store, dtype):
    table = pa.table({"in_row": (np.arange(100_000) % 120).astype(dtype)})
    delta, split, plain = (store.put_table(table, e) for e in ("delta", "bytes", "plain"))
    assert len({delta, split, plain}) == 3
    for block, name in ((delta, "DELTA_BINARY_PACKED"), (split, "BYTE_STREAM_SPLIT")):
        assert store.get_table(block).equals(store.get_table(plain))
        file = pq.ParquetFile(store.directory / "blocks" / block[:2] / f"{block}.parquet")
        assert name in file.metadata.row_group(0).column(0).encodings


def test_a_filter_takes_less_than_a_byte_a_row(store):
    rows = np.flatnonzero(np.random.default_rng(0).random(400_000) < 0.5).astype(np.int32)
    store.put_table(pa.table({"in_row": rows}))
    assert files(store)[0].stat().st_size / len(rows) < 0.7


@pytest.mark.parametrize("shape", [(5, 3), (1, 1), (0, 4), (200_000, 2)])
def test_a_matrix_comes_back_bit_for_bit(store, shape):
    matrix = np.random.default_rng(0).normal(size=shape)
    found = store.get_array(store.put_array(matrix))
    assert found.shape == shape
    assert found.tobytes() == matrix.tobytes()


def test_special_floats_of_a_matrix_keep_their_bits(store):
    matrix = np.array([[np.nan, -0.0, np.inf], [5e-324, -np.inf, 0.1]])
    assert store.get_array(store.put_array(matrix)).tobytes() == matrix.tobytes()


def test_a_vector_comes_back_as_a_column_and_order_in_memory_does_not_matter(store):
    assert store.get_array(store.put_array(np.array([1.0, 2.0]))).tolist() == [[1.0], [2.0]]
    matrix = np.arange(6.0).reshape(2, 3)
    assert store.put_array(np.asfortranarray(matrix)) == store.put_array(matrix)


def test_a_matrix_is_a_view_of_what_arrow_read(store):
    found = store.get_array(store.put_array(np.ones((3, 2))))
    assert not found.flags.owndata
    assert not found.flags.writeable


@pytest.mark.parametrize(
    "array", [np.ones((2, 2), np.float16), np.ones((2, 2, 2)), np.ones((2, 0)), np.array(1.0)]
)
def test_what_is_no_float_matrix_is_refused(store, array):
    with pytest.raises(ValueError, match="a block holds a float matrix"):
        store.put_array(array)
    assert files(store) == []


def test_a_matrix_keeps_its_precision(store):
    narrow = np.array([[0.1, 2.0]], np.float32)
    found = store.get_array(store.put_array(narrow))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, narrow)
    assert store.put_array(narrow) != store.put_array(narrow.astype(np.float64))


def test_a_table_is_no_matrix(store):
    with pytest.raises(StoreCorruptError, match="not a matrix"):
        store.get_array(store.put_table(pa.table({"in_row": [1]})))


def test_a_block_that_is_not_there_is_named(store):
    with pytest.raises(BlockNotFoundError, match="f" * 64):
        store.get_table("f" * 64)


@pytest.mark.parametrize("name", ["../../secret", "", "x" * 64, "F" * 64])
def test_what_is_no_digest_leads_nowhere(store, name):
    (store.directory.parent / "secret.parquet").write_bytes(b"x")
    with pytest.raises(BlockNotFoundError):
        store.get_table(name)


@pytest.mark.parametrize("where", [0, 10, -1, -20])
def test_a_flipped_bit_of_a_block_is_found_and_the_file_named(store, where):
    block = store.put_table(pa.table({"in_row": [1, 2, 3]}))
    (path,) = files(store)
    flip(path, where)
    with pytest.raises(StoreCorruptError, match=block):
        Store.open(store.directory).get_table(block)
    assert [problem.subject for problem in store.verify().problems] == [block]


def test_a_block_that_changes_after_it_was_read_is_found_by_the_same_object(store):
    block = store.put_table(pa.table({"in_row": [1, 2, 3]}))
    store.get_table(block)
    (path,) = files(store)
    flip(path, path.read_bytes().index(b"parquet-cpp"))  # which nobody needs to read the table
    os.utime(path, ns=(0, 12345))
    with pytest.raises(StoreCorruptError):
        store.get_table(block)


def test_referring_to_a_block_does_not_make_a_changed_one_pass_for_verified(store):
    block = store.put_table(pa.table({"in_row": [1, 2, 3]}))
    store.get_table(block)
    (path,) = files(store)
    flip(path, path.read_bytes().index(b"parquet-cpp"))  # which nobody needs to read the table
    os.utime(path, ns=(0, 12345))
    store.commit({"dataset_version": [{"dataset_version_id": "d", "content_block": block}]})
    with pytest.raises(StoreCorruptError):
        store.get_table(block)


@pytest.mark.parametrize("content", [b"", b"short"])
def test_putting_a_damaged_block_again_heals_it(store, content, caplog):
    table = pa.table({"in_row": [1, 2, 3]})
    block = store.put_table(table)
    (path,) = files(store)
    path.write_bytes(content)
    again = Store.open(store.directory)
    assert again.put_table(table) == block
    assert again.get_table(block).equals(table)
    assert "was damaged and is written anew" in caplog.text


def flip(path, where):
    data = bytearray(path.read_bytes())
    data[where] ^= 1
    path.write_bytes(data)
