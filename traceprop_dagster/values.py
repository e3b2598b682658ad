"""Kinds of values that assets hand to each other, each kept as a table.

A kind is recognised by the name of its class, so that no library is imported that the user's own
code did not import.
"""

import sys
from typing import Any, Literal, get_args

import pandas as pd
import pyarrow as pa

from traceprop_engine.lineage.carriers import carried, plain_of
from traceprop_engine.lineage.marks import Node
from traceprop_engine.recording import array_table, table_array

Kind = Literal["pandas", "polars", "arrow", "array", "tensor"]
"""pandas, Polars and Arrow frames; NumPy arrays; PyTorch tensors."""

_KINDS: dict[tuple[str, str], Kind] = {
    ("pandas", "DataFrame"): "pandas",
    ("polars", "DataFrame"): "polars",
    ("pyarrow", "Table"): "arrow",
    ("numpy", "ndarray"): "array",
    ("torch", "Tensor"): "tensor",
    ("traceprop_engine", "TrackedPolars"): "polars",
    ("traceprop_engine", "TrackedTable"): "arrow",
}

SUPPORTED = (
    "DataFrame (pandas or Polars)",
    "pyarrow.Table",
    "ndarray",
    "torch.Tensor",
    "TrainingRun",
    "NetRun",
    "Predictions",
    "NetPredictions",
)
"""What the IO manager keeps, in words."""


def kind_of(cls: type) -> Kind | None:
    """Return the kind of the values of a class; ``None`` for a class that is not kept."""
    for base in cls.__mro__:
        kind = _KINDS.get((base.__module__.split(".")[0], base.__name__))
        if kind is not None:
            return kind
    return None


def wanted_class(hint: Any) -> type:
    """Return the class of values that an input is annotated with; a pandas frame by default.

    Of ``dict[str, X]`` and ``X | None`` that is ``X``.
    """
    while arguments := [each for each in get_args(hint) if each is not type(None)]:
        hint = arguments[-1]
    return hint if isinstance(hint, type) and kind_of(hint) is not None else pd.DataFrame


def table_of(value: Any, kind: Kind) -> pa.Table:
    """Return a plain value as the table that is kept of it.

    Raises:
        ArrayNotKeptError: It is an array without rows, or of values that no table holds.
    """
    if kind == "pandas":
        return pa.Table.from_pandas(value)
    if kind == "polars":
        return value.to_arrow()
    if kind == "arrow":
        return value
    return array_table(value if kind == "array" else value.detach().cpu().numpy())


def value_of(table: pa.Table, cls: type) -> Any:
    """Return a kept table as a plain value of the kind of a class."""
    kind = kind_of(cls)
    if kind == "polars":
        return sys.modules["polars"].from_arrow(_without_index(table))
    if kind == "arrow":
        return table
    if kind == "array":
        return table_array(table)
    if kind == "tensor":
        return sys.modules["torch"].from_numpy(table_array(table))
    return table.to_pandas()


def followed_value(value: Any, node: Node, cls: type) -> Any:
    """Return a value that knows its rows, if the annotated class allows one; else the plain value.

    A frame annotated as one of Polars or Arrow is exactly that, and nobody follows its rows.
    """
    followed = carried(value, node, ())
    return followed if isinstance(followed, cls) else plain_of(followed)


def _without_index(table: pa.Table) -> pa.Table:
    """Return a table without the labels of a pandas index that has no name."""
    unnamed = [name for name in table.column_names if name.startswith("__index_level_")]
    return table.drop_columns(unnamed)
