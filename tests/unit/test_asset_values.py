"""Kinds of values by their class, and how each is kept and given back."""

import pandas as pd
import pyarrow as pa
import pytest

from traceprop_dagster.values import kind_of, table_of, value_of, wanted_class


class Mine(pd.DataFrame):
    """A frame of the user."""


@pytest.mark.parametrize(
    ("hint", "wanted"),
    [
        (pd.DataFrame, pd.DataFrame),
        (dict[str, pa.Table], pa.Table),
        (pa.Table | None, pa.Table),
        (int, pd.DataFrame),
        (None, pd.DataFrame),
        (Mine, Mine),
    ],
)
def test_the_class_of_an_annotation(hint, wanted):
    assert wanted_class(hint) is wanted


def test_a_class_of_no_kind_has_none():
    assert kind_of(dict) is None
    assert kind_of(type("DataFrame", (), {})) is None
    assert kind_of(Mine) == "pandas"


def test_a_frame_without_an_index_keeps_its_columns_in_polars():
    pl = pytest.importorskip("polars")
    frame = pd.DataFrame({"a": [1, 2]}, index=[5, 6])
    named = frame.rename_axis("key")
    assert value_of(table_of(frame, "pandas"), pl.DataFrame).columns == ["a"]
    assert value_of(table_of(named, "pandas"), pl.DataFrame).columns == ["a", "key"]
    pd.testing.assert_frame_equal(value_of(table_of(frame, "pandas"), pd.DataFrame), frame)


def test_a_tensor_comes_back():
    torch = pytest.importorskip("torch")
    tensor = torch.arange(6.0, requires_grad=True).reshape(2, 3)
    found = value_of(table_of(tensor, "tensor"), torch.Tensor)
    assert torch.equal(found, tensor.detach())
    assert found.dtype == tensor.dtype
