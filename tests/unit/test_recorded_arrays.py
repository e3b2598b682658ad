"""Arrays are kept as tables and come back as they were."""

import numpy as np
import pyarrow as pa
import pytest

from traceprop_engine.errors import ArrayNotKeptError
from traceprop_engine.recording import array_table, is_array_table, table_array
from traceprop_engine.store import Store

ARRAYS = {
    "vector": np.arange(5),
    "matrix": np.arange(12.0).reshape(4, 3),
    "wide": np.arange(600, dtype=np.float32).reshape(2, 300),
    "cube": np.arange(24, dtype=np.int16).reshape(2, 3, 4),
    "truths": np.array([[True, False], [False, False]]),
    "texts": np.array(["a", "bcd", ""]),
    "dates": np.array(["2024-01-01", "NaT"], dtype="datetime64[ns]"),
    "nans": np.array([[np.nan, 1.0], [np.inf, -0.0]]),
    "half": np.array([0.5, 1.5], dtype=np.float16),
    "no rows": np.zeros((0, 3)),
    "no columns": np.zeros((3, 0)),
    "other byte order": np.arange(3, dtype=">i4"),
    "columns first": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_comes_back_through_a_store(name, tmp_path):
    array = ARRAYS[name]
    store = Store.create(tmp_path / "store")
    table = store.get_table(store.put_table(array_table(array)))
    found = table_array(table)
    assert is_array_table(table)
    assert table.num_rows == len(array)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)
    found[...] = found  # it is the caller's own


def test_any_other_table_comes_as_the_matrix_of_its_values():
    table = pa.table({"a": [1, 2], "b": [0.5, 1.5]})
    assert not is_array_table(table)
    np.testing.assert_array_equal(table_array(table), [[1.0, 0.5], [2.0, 1.5]])


@pytest.mark.parametrize(
    "array",
    [
        np.array(3.0),
        np.array([1j]),
        np.array([object()]),
        np.ma.array([1, 2, 3], mask=[False, True, False]),
        np.array(["2024-01"], dtype="datetime64[M]"),
        np.array(["2024-01-01T07"], dtype="datetime64[h]"),
        np.array(["\ud800"]),
        np.zeros((2, 0, 3), dtype=np.longdouble),
    ],
)
def test_an_array_that_no_table_holds_is_refused(array):
    with pytest.raises(ArrayNotKeptError, match="a store keeps arrays of"):
        array_table(array)
