"""Rows that come from several objects: operands of one operation, columns of one frame.

pandas aligns operands on their labels and gives the result the index of one of them. The rows of
the result come from all of them; those that an index names alone would be too few.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.core.computation import align as computation_align
from pandas.core.generic import NDFrame
from pandas.core.indexing import _iLocIndexer  # pyrefly: ignore
from pandas.core.reshape import concat as concat_module
from pandas.core.strings.accessor import StringMethods

from traceprop_engine.lineage.marks import derived, steps_of
from traceprop_engine.lineage.pandas_align import (
    declared_mark,
    is_same,
    join_axis,
    joined_mark,
    marked,
    row_index,
    row_mark,
    set_axis_mark,
    set_row_mark,
    stacked_mark,
)
from traceprop_engine.lineage.pandas_manager_hooks import claim_of
from traceprop_engine.lineage.pandas_marks import (
    has_mark,
    lost_mark,
    mark_of,
    marked_view,
    place,
    place_all,
    positions,
    row_node,
)
from traceprop_engine.lineage.pandas_notes import note_labels, note_object
from traceprop_engine.lineage.pandas_patches import (
    Hook,
    Observer,
    argument,
    called_by_user,
    observed,
)
from traceprop_engine.lineage.rows import no_rows, taken

_COLUMN_AXES = (1, "columns")


def operand_hooks() -> Iterator[Hook]:
    """Yield the hooks into operations with several operands."""
    for name in ("_arith_method", "_cmp_method", "_logical_method"):
        yield Hook(pd.Series, name, observed(_after_operator("columns")))
        yield Hook(pd.DataFrame, name, observed(_after_operator("columns")))
    for owner, name in (
        (pd.Series, "_flex_method"),
        (pd.DataFrame, "_flex_arith_method"),
        (pd.DataFrame, "_flex_cmp_method"),
        (pd.Series, "combine"),
        (pd.DataFrame, "combine"),
    ):
        yield Hook(owner, name, observed(_after_operator("columns")))
    yield Hook(NDFrame, "_where", observed(_after_where))
    yield Hook(NDFrame, "__array_ufunc__", observed(_after_ufunc))
    yield Hook(StringMethods, "cat", observed(_after_str_cat))
    yield Hook(pd.DataFrame, "__init__", observed(_after_frame_init))
    yield Hook(pd.Series, "__init__", observed(_after_series_init))
    yield Hook(pd.DataFrame, "_sanitize_column", observed(_after_sanitize_column))
    yield Hook(_iLocIndexer, "_setitem_with_indexer", _wrap_setitem_with_indexer)
    yield Hook(concat_module, "_get_result", observed(_after_concat))
    yield Hook(computation_align, "_align_core", _wrap_align_core)


def _join(result: Any, operands: Sequence[Any], axis: Any, level: Any, what: str) -> None:
    """Mark a result as rows of all operands that are frames or series."""
    objects = [each for each in operands if isinstance(each, NDFrame)]
    if not isinstance(result, NDFrame) or len(objects) < 2:
        return
    index = row_index(objects[0])
    if all(is_same(row_index(each), index) for each in objects[1:]):
        return
    by_row = [row_index(each) for each in objects if _by_row(each, result, axis)]
    for each in objects:
        if not _by_row(each, result, axis):
            note_object(each, what)
    if level is None:
        join_axis(result._mgr, result.ndim - 1, by_row, what)
    elif marks := [mark for _, mark in marked(by_row)]:
        set_row_mark(result, lost_mark(row_index(result), marks, f"{what} with level="))


def _by_row(operand: Any, result: Any, axis: Any) -> bool:
    """Say whether the labels of an operand are rows of the result, not columns."""
    return operand.ndim == result.ndim or axis not in _COLUMN_AXES


def _after_operator(default_axis: str) -> Observer:
    def observe(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        other = argument(args, kwargs, 1, "other")
        if not isinstance(other, NDFrame):
            return
        what = f"{type(args[0]).__name__} operator"
        axis = kwargs.get("axis", default_axis)
        axis = default_axis if axis is None else axis
        if isinstance(args[0], pd.Series):
            axis = 0
        for each in result if isinstance(result, tuple) else (result,):
            _join(each, (args[0], other), axis, kwargs.get("level"), what)

    return observe


def _after_where(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    operands = [argument(args, kwargs, at, name) for at, name in ((1, "cond"), (2, "other"))]
    axis = kwargs.get("axis")
    _join(result, (args[0], *operands), axis, kwargs.get("level"), "where")


def _after_ufunc(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    _, ufunc, method, *inputs = args
    what = f"numpy.{getattr(ufunc, '__name__', 'ufunc')}"
    objects = [each for each in inputs if isinstance(each, NDFrame)]
    if method != "__call__":
        for each in objects:
            note_object(each, f"{what}.{method}")
    into = kwargs.get("out") or ()
    for each in (*(result if isinstance(result, tuple) else (result,)), *into):
        _join(each, (each, *objects), 0, None, what)


def _after_str_cat(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    others = argument(args, kwargs, 1, "others")
    several = others if isinstance(others, (list, tuple)) else [others]
    original = args[0]._orig
    if isinstance(result, str) and isinstance(original, NDFrame) and called_by_user():
        note_object(original, "Series.str.cat")
    _join(result, (original, *several), 0, None, "str.cat")


def _after_frame_init(_result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    frame = args[0]
    data = argument(args, kwargs, 1, "data")
    if isinstance(data, dict):
        columns = [row_index(each) for each in data.values() if isinstance(each, pd.Series)]
        _join_columns(frame._mgr, 1, columns)
    elif isinstance(data, pd.Series):
        _join_columns(frame._mgr, 1, [row_index(data)])
    elif isinstance(data, list):
        rows = [row_index(each) for each in data if isinstance(each, pd.Series)]
        _join_columns(frame._mgr, 0, rows)
    if called_by_user():
        _declare(frame, data)
        labels = data.values() if isinstance(data, dict) else [data]
        for each in labels:
            if isinstance(each, pd.Index):
                note_labels(each, "DataFrame")
        if argument(args, kwargs, 3, "columns") is not None and has_mark(frame._mgr.axes[0]):
            note_labels(frame._mgr.axes[0], "DataFrame")
            set_axis_mark(frame._mgr, 0, None)


def _after_series_init(_result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    data = argument(args, kwargs, 1, "data")
    if isinstance(data, pd.Index) and has_mark(data) and not has_mark(row_index(args[0])):
        _of_labels(args[0], data)
    if called_by_user():
        _declare(args[0], data)


def _of_labels(series: Any, labels: Any) -> None:
    """Mark a series of the labels of marked rows: it has the same rows."""
    mark = mark_of(labels)
    if mark is not None and len(labels) == len(series):
        own = row_index(series)
        set_row_mark(series, place(own, mark.node, positions(labels, mark), mark.steps))


def _join_columns(manager: Any, axis: int, indexes: Sequence[Any]) -> None:
    if indexes:
        join_axis(manager, axis, indexes, "DataFrame")


def _declare(obj: Any, data: Any) -> None:
    """Say that the rows were declared, if the values came without any and the index has them."""
    mark = row_mark(obj)
    if mark is None or data is None or pd.api.types.is_scalar(data):
        return
    values = data.values() if isinstance(data, dict) else [data]
    if not any(isinstance(each, (NDFrame, pd.Index)) for each in values):
        set_row_mark(obj, declared_mark(row_index(obj), mark, claim_of(mark)))


def _after_sanitize_column(_result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    frame, value = args[0], argument(args, kwargs, 1, "value")
    if isinstance(value, pd.Series):
        join_axis(frame._mgr, 1, [row_index(value)], "DataFrame.__setitem__")
    elif isinstance(value, pd.Index) and not is_same(value, row_index(frame)):
        note_labels(value, "DataFrame.__setitem__")


def _wrap_setitem_with_indexer(original: Callable[..., Any]) -> Callable[..., Any]:
    def observe(_result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        indexer, value = (argument(args, kwargs, at, n) for at, n in ((1, "indexer"), (2, "value")))
        if isinstance(value, NDFrame) and row_mark(value) is not None:
            _assigned(args[0].obj, indexer, value, argument(args, kwargs, 3, "name", "iloc"))

    return observed(observe)(original)


def _assigned(obj: Any, indexer: Any, value: Any, name: str) -> None:
    """Mark the rows of ``obj`` that ``obj.loc[...] = value`` has put values of other rows in."""
    row_indexer = indexer[0] if isinstance(indexer, tuple) else indexer
    target, source = row_index(obj), row_index(value)
    mark = row_mark(value)
    if mark is None or (name == "loc" and is_same(target, source)):
        return
    if obj.ndim > value.ndim and np.ndim(row_indexer) == 0 and not isinstance(row_indexer, slice):
        note_object(value, f"DataFrame.{name}.__setitem__")
        return
    where = _where_rows(row_indexer, len(target))
    picked = None if where is None else _picked_rows(target, where, source, name)
    own = mark_of(target)
    marks = [mark] if own is None else [own, mark]
    if picked is None or where is None:
        set_row_mark(obj, lost_mark(target, marks, f"{type(obj).__name__}.{name}.__setitem__"))
        return
    rows = no_rows(len(target))
    rows[where] = taken(positions(source, mark), picked)
    edges = [] if own is None else [(row_node(target, own), range(len(target)))]
    node = derived(mark.node.notes, len(target), [*edges, (mark.node, rows)])
    set_row_mark(obj, place_all(target, node, steps_of(marks)))


def _where_rows(row_indexer: Any, n: int) -> Any:
    """Return the positions that were assigned to, ``None`` if they are not understood."""
    if isinstance(row_indexer, (int, np.integer, slice)):
        return np.atleast_1d(np.arange(n)[row_indexer])
    where = np.asarray(row_indexer)
    if where.dtype.kind == "b" and where.shape == (n,):
        return np.flatnonzero(where)
    return where if where.ndim == 1 and where.dtype.kind in "iu" else None


def _picked_rows(target: Any, where: Any, source: Any, name: str) -> Any:
    """Return the position in ``source`` of the value that each position got."""
    if name == "iloc":
        return np.arange(len(where)) if len(where) == len(source) else None
    return source.get_indexer(target.take(where)) if source._index_as_unique else None


def _after_concat(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    names = ((0, "objs"), (1, "is_series"), (2, "bm_axis"))
    objs, is_series, bm_axis = (argument(args, kwargs, at, name) for at, name in names)
    if is_series:
        _concat_axis(result._mgr, result.ndim - 1, [row_index(o) for o in objs], stack=bm_axis == 0)
        if result.ndim == 2 and has_mark(result._mgr.axes[0]):
            set_axis_mark(result._mgr, 0, None)
        return
    for axis in (0, 1):
        _concat_axis(result._mgr, axis, [o._mgr.axes[axis] for o in objs], stack=axis == bm_axis)


def _concat_axis(manager: Any, axis: int, indexes: Sequence[Any], *, stack: bool) -> None:
    if not stack:
        join_axis(manager, axis, indexes, "concat")
        return
    target = manager.axes[axis]
    mark = stacked_mark(target, indexes, "concat")
    if mark is not None or has_mark(target):
        set_axis_mark(manager, axis, mark)


def _wrap_align_core(original: Callable[..., Any]) -> Callable[..., Any]:
    """Join the rows of all terms of an expression that numexpr evaluates."""

    def hooked(terms: Any) -> Any:
        before = [row_index(t.value) for t in terms if isinstance(t.value, NDFrame)]
        typ, axes = original(terms)
        operands = marked(before)
        if axes and operands and not all(is_same(axes["index"], index) for index, _ in operands):
            mark = joined_mark(axes["index"], operands, "eval")
            axes["index"] = marked_view(axes["index"], mark)
        return typ, axes

    return hooked
