"""Marks follow an index through the few methods by which pandas picks positions of it.

Every other method of an index makes one without a mark. A method that repeats or drops positions
keeps labels with their rows, so that an index whose labels are its rows keeps its mark as it is.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.extensions import no_default
from pandas.core.indexes.base import Index

from traceprop_engine.lineage.marks import Mark
from traceprop_engine.lineage.pandas_align import marked
from traceprop_engine.lineage.pandas_marks import (
    has_mark,
    mark_of,
    place,
    place_all,
    positions,
    put_mark,
    row_node,
)
from traceprop_engine.lineage.pandas_patches import (
    Hook,
    Observer,
    argument,
    observed,
    observed_classmethod,
    observed_static,
)
from traceprop_engine.lineage.rows import Rows, as_array, same_rows, taken, wrapped

Pick = Callable[[Rows, tuple[Any, ...], dict[str, Any]], Rows | None]
"""Applies to row numbers what the method did to the labels; ``None`` if it is not understood."""


def index_hooks() -> Iterator[Hook]:
    """Yield the hooks into the methods of every class of index that has its own."""
    for cls in _index_classes():
        for name, pick in _PICKS.items():
            if name in vars(cls):
                yield Hook(cls, name, observed(_observer(pick, keeps_labels=name != "insert")))
        for name in _RELABELS:
            if name in vars(cls):
                yield Hook(cls, name, observed(_after_relabel))
        if "__new__" in vars(cls):
            yield Hook(cls, "__new__", observed_static(_after_new))
    yield Hook(pd.MultiIndex, "from_arrays", observed_classmethod(_after_from_arrays))


def _after_new(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Mark an index that was made of a column: its rows are those of the column."""
    data = argument(args, kwargs, 1, "data")
    if not isinstance(data, pd.Series) or not isinstance(result, Index) or has_mark(result):
        return
    index = data._mgr.axes[0]
    mark = mark_of(index)
    if mark is not None and len(index) == len(result):
        put_mark(result, place_all(result, row_node(index, mark), mark.steps))


def _after_relabel(result: Any, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
    """Labels were made of labels one by one: where they hold data, its rows go along."""
    mark = mark_of(args[0])
    if mark is None or mark.rows is None or not isinstance(result, Index) or has_mark(result):
        return
    if len(result) == len(args[0]):
        put_mark(result, mark)


def _observer(pick: Pick, *, keeps_labels: bool) -> Observer:
    def observe(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        mark = mark_of(args[0])
        if mark is None or not isinstance(result, Index) or has_mark(result):
            return
        if mark.rows is None and keeps_labels and not _fills(args, kwargs):
            put_mark(result, mark)
            return
        rows = pick(positions(args[0], mark), args, kwargs)
        if rows is not None and len(rows) == len(result):
            put_mark(result, Mark(mark.node, rows, mark.steps))

    return observe


def _fills(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Say whether a call of ``take`` reads -1 as a missing label, as pandas decides it."""
    allow_fill = argument(args, kwargs, 3, "allow_fill", no_default)
    if allow_fill is no_default:
        return argument(args, kwargs, 4, "fill_value", no_default) not in (None, no_default)
    return bool(allow_fill)


def _take(rows: Rows, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Rows | None:
    indices = np.asarray(argument(args, kwargs, 1, "indices"))
    if indices.ndim != 1 or (indices.size and indices.dtype.kind not in "iu"):
        return None
    indices = indices.astype(np.int64)
    return taken(rows, indices if _fills(args, kwargs) else wrapped(indices, len(rows)))


def _getitem(rows: Rows, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Rows | None:
    key = argument(args, kwargs, 1, "key")
    if isinstance(key, slice):
        return rows[key]
    if isinstance(getattr(key, "dtype", None), pd.BooleanDtype):
        key = key.to_numpy(dtype=bool, na_value=False)
    where = np.asarray(key)
    if where.dtype.kind == "b":
        return taken(rows, np.flatnonzero(where))
    if where.ndim != 1 or (where.size and where.dtype.kind not in "iu"):
        return None
    return taken(rows, wrapped(where.astype(np.int64), len(rows)))


def _getitem_slice(rows: Rows, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Rows | None:
    return rows[argument(args, kwargs, 1, "slobj")]


def _repeat(rows: Rows, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Rows | None:
    return np.repeat(as_array(rows), argument(args, kwargs, 1, "repeats"))


def _delete(rows: Rows, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Rows | None:
    return np.delete(as_array(rows), argument(args, kwargs, 1, "loc"))


def _insert(rows: Rows, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Rows | None:
    return np.insert(as_array(rows), argument(args, kwargs, 1, "loc"), -1)


def _copy(rows: Rows, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Rows | None:
    return rows


_PICKS: dict[str, Pick] = {
    "take": _take,
    "__getitem__": _getitem,
    "_getitem_slice": _getitem_slice,
    "repeat": _repeat,
    "delete": _delete,
    "insert": _insert,
    "copy": _copy,
}


_RELABELS = (
    "astype map get_level_values droplevel to_flat_index round fillna where putmask _arith_method "
    "_unary_method swaplevel reorder_levels remove_unused_levels set_levels set_codes shift "
    "tz_localize tz_convert normalize to_period to_timestamp floor ceil infer_objects"
).split()


def _index_classes() -> list[type[Any]]:
    """Return the classes of index in pandas, mixins included."""
    found: dict[type[Any], None] = {}
    waiting: list[type[Any]] = [Index]
    while waiting:
        cls = waiting.pop()
        found |= {base: None for base in cls.__mro__ if issubclass(base, Index)}
        waiting += cls.__subclasses__()
    return [cls for cls in found if cls.__module__.split(".")[0] == "pandas"]


def _after_from_arrays(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Mark an index that was made of columns of one frame: its rows are those of the frame."""
    arrays = argument(args, kwargs, 1, "arrays")
    if not isinstance(arrays, (list, tuple)):
        return
    indexes = [array._mgr.axes[-1] for array in arrays if isinstance(array, pd.Series)]
    sources = marked([index for index in indexes if len(index) == len(result)])
    if not sources or has_mark(result):
        return
    index, mark = sources[0]
    rows = positions(index, mark)
    if all(m.node is mark.node and same_rows(positions(i, m), rows) for i, m in sources[1:]):
        put_mark(result, place(result, mark.node, rows, mark.steps))
