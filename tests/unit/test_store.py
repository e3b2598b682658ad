"""What a store does for one process."""

import numpy as np
import pyarrow as pa
import pytest

from traceprop_engine.errors import StoreConflictError, StoreNotFoundError
from traceprop_engine.store import Store


@pytest.fixture
def store(tmp_path):
    return Store.create(tmp_path / "store")


def op(ordinal, name="filter"):
    return {"dataset_version_id": "dv_1", "ordinal": ordinal, "name": name, "n_rows_out": 3}


def test_a_committed_row_is_found_by_sql(store):
    number = store.commit({"op": [op(0)]})
    assert store.query("select name, commit_no from op").to_pylist() == [
        {"name": "filter", "commit_no": number}
    ]


def test_a_matrix_comes_back_bit_for_bit(store):
    matrix = np.random.default_rng(0).normal(size=(5, 3))
    assert np.array_equal(store.get_array(store.put_array(matrix)), matrix)


def test_a_table_comes_back_as_it_was(store):
    table = pa.table({"in_row": pa.array([3, 1, 2], pa.int32())})
    assert store.get_table(store.put_table(table)).equals(table)


def test_a_contradiction_is_loud_and_set_aside(store):
    store.commit({"op": [op(0)]})
    with pytest.raises(StoreConflictError, match="other name"):
        store.commit({"op": [op(0, name="merge")]})
    assert store.query("select name from op").to_pylist() == [{"name": "filter"}]


def test_a_missing_store_is_named(tmp_path):
    with pytest.raises(StoreNotFoundError, match="nowhere"):
        Store.open(tmp_path / "nowhere")


def test_values_are_bound_by_name_or_by_position(store):
    store.commit({"op": [op(0), op(1, "x'; drop table op; --")]})
    sql = "select ordinal from op where name = "
    assert store.query(sql + "?", ["x'; drop table op; --"]).to_pylist() == [{"ordinal": 1}]
    assert store.query(sql + "$n", {"n": "filter"}).to_pylist() == [{"ordinal": 0}]
