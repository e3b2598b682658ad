"""What the value of a Polars expression in one row depends on: that row, all rows, or anything.

Polars says of one operation whether it works row by row; the operands are asked in turn. What is
not understood counts as anything, so that rows are lost visibly and never mapped wrongly.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl
from polars.exceptions import PolarsError

Kind = Literal["constant", "row", "scalar", "other"]


@dataclass(frozen=True)
class Reads:
    """What the value of an expression depends on.

    Attributes:
        kind: *constant*: on nothing in the frame. *row*: its value in row ``i`` is about row ``i``.
            *scalar*: one value of all rows, such as a mean. *other*: not understood.
        has_context: Whether a value depends on other rows beside its own.
    """

    kind: Kind
    has_context: bool = False


_CONSTANT, _ROW, _OTHER = Reads("constant"), Reads("row"), Reads("other")
_SCALAR = Reads("scalar", has_context=True)
_LEAVES = {"Column": _ROW, "Selector": _ROW, "Literal": _CONSTANT, "Len": _SCALAR}

_AGGREGATES = [
    "Min",
    "Max",
    "Median",
    "NUnique",
    "Mean",
    "Sum",
    "Std",
    "Var",
    "Quantile",
    "Count",
    "First",
    "Last",
    "FirstNonNull",
    "LastNonNull",
    "Item",
    "Implode",
]

# Nodes that work row by row whatever their operands are, and whose operands Polars may not resolve
# without a schema.
_ROW_NODES = ("Alias", "BinaryExpr", "Cast", "KeepName", "RenameAlias", "Ternary", "Field")

# Functions whose value in a row is about that row, seen among the others.
_WINDOWED = [
    "CumSum",
    "CumCount",
    "CumMax",
    "CumMin",
    "CumProd",
    "Rank",
    "RollingExpr",
    "EwmMean",
    "EwmStd",
    "EwmVar",
]
_WINDOWED_TESTS = ("IsDuplicated", "IsUnique", "IsFirstDistinct", "IsLastDistinct")

# Functions of columns that Polars cannot resolve before it knows the frame, such as `pl.all()`.
_ROW_FAMILIES = ("StringExpr", "TemporalExpr", "Pow", "Trigonometry", "AsStruct", "StructExpr")
_ROW_TESTS = [
    "IsNull",
    "IsNotNull",
    "IsNan",
    "IsNotNan",
    "IsFinite",
    "IsInfinite",
    "AllHorizontal",
    "AnyHorizontal",
    "IsIn",
    "Not",
    "IsBetween",
]
_ROW_FUNCTIONS = [
    "Abs",
    "Sign",
    "Negate",
    "Round",
    "Floor",
    "Ceil",
    "Clip",
    "FillNull",
    "FillNan",
    "Coalesce",
    "MaxHorizontal",
    "MinHorizontal",
    "SumHorizontal",
    "MeanHorizontal",
    "Log",
    "Log1p",
    "Exp",
    "Hash",
    "Replace",
    "ReplaceStrict",
    "ConcatStr",
    "NullIf",
]


def reads_of(values: Iterable[Any]) -> Reads:
    """Return what the values of several expressions depend on together.

    Strings are column names; whatever is no expression is a constant.
    """
    return _joined([_read(value) for value in values])


def _read(value: Any) -> Reads:
    if isinstance(value, str):
        return _ROW
    if isinstance(value, (list, tuple)):
        return reads_of(value)
    return _of_expression(value) if isinstance(value, pl.Expr) else _CONSTANT


def _joined(parts: list[Reads]) -> Reads:
    """Return what a value made of the parts, row by row, depends on."""
    kinds = {part.kind for part in parts}
    context = any(part.has_context for part in parts)
    if "other" in kinds:
        return _OTHER
    if "row" in kinds:
        return Reads("row", context or "scalar" in kinds)
    return _SCALAR if "scalar" in kinds else _CONSTANT


def _of_expression(expression: pl.Expr) -> Reads:
    meta = expression.meta
    node = json.loads(meta.serialize(format="json"))
    name = next(iter(node)) if isinstance(node, dict) else node
    if name in _LEAVES:
        return _LEAVES[name]
    parts = [_of_expression(operand) for operand in meta.pop()]
    if name in _ROW_NODES:
        return _joined(parts)
    return _of_node(name, node[name], expression, parts) if isinstance(node, dict) else _OTHER


def _of_node(name: str, node: Any, expression: pl.Expr, parts: list[Reads]) -> Reads:
    if name == "Over":
        return _of_window(node, parts)
    if name == "Agg" and next(iter(node)) in _AGGREGATES:
        return _SCALAR
    if name == "Eval" and node["variant"] == "List":
        return parts[-1]
    return _of_function(node["function"], expression, parts) if name == "Function" else _OTHER


def _of_function(function: Any, expression: pl.Expr, parts: list[Reads]) -> Reads:
    family = next(iter(function)) if isinstance(function, dict) else function
    member = function[family] if isinstance(function, dict) else None
    member = next(iter(member)) if isinstance(member, dict) and member else member
    if family in _WINDOWED or (family == "Boolean" and member in _WINDOWED_TESTS):
        joined = _joined(parts)
        return Reads(joined.kind, has_context=True) if joined.kind == "row" else _OTHER
    meta = expression.meta
    if _is(meta.is_scalar):
        return _CONSTANT if all(part.kind == "constant" for part in parts) else _SCALAR
    if (family, member) == ("Boolean", "IsIn") and parts[0].kind == "row":
        # A column to search in may be one list for each row, or all rows of the column.
        return Reads(_joined(parts).kind, has_context=True)
    if (family, member) == ("StringExpr", "ConcatVertical"):
        return _OTHER
    is_known = family in (*_ROW_FAMILIES, *_ROW_FUNCTIONS) or (
        family == "Boolean" and member in _ROW_TESTS
    )
    if is_known or (_is(meta.is_row_separable) and _is(meta.is_length_preserving)):
        return _joined(parts)
    return _OTHER


def _of_window(node: dict[str, Any], parts: list[Reads]) -> Reads:
    """Return what a statistic of the rows of a group depends on, given to each of them."""
    # Operands come last first: the function is the last one.
    is_statistic = parts[-1].kind == "scalar" and node["mapping"] == "GroupsToRows"
    keys = _joined(parts[:-1])
    return Reads("row", has_context=True) if is_statistic and keys.kind == "row" else _OTHER


def _is(question: Any) -> bool:
    """Say what Polars says of an expression; no, where it cannot say without a schema."""
    try:
        return bool(question())
    except PolarsError:
        return False
