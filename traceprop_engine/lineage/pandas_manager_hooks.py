"""Marks follow rows through the block managers, where every frame and series picks its rows.

The rows of a result are those whose *values* were picked. An index that comes from elsewhere, such
as the target of a reindex, gives labels only: a mark it carries is replaced by the true one.
"""

import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
from pandas.core.generic import NDFrame
from pandas.core.internals.managers import BaseBlockManager

from traceprop_engine.lineage.marks import Mark
from traceprop_engine.lineage.pandas_align import (
    declared_mark,
    join_axis,
    row_index,
    set_axis_mark,
    set_row_mark,
)
from traceprop_engine.lineage.pandas_marks import has_mark, mark_of, place, positions
from traceprop_engine.lineage.pandas_notes import note_rows
from traceprop_engine.lineage.pandas_patches import (
    Hook,
    argument,
    called_by,
    caller,
    is_user,
    observed,
)
from traceprop_engine.lineage.rows import shifted, taken

_SETTERS = {"_set_axis", "__setattr__", "set_axis", "_set_axis_nocheck"}
_DECLARED = "an index that belongs to rows of {} was set on values of unknown origin"


def manager_hooks() -> Iterator[Hook]:
    """Yield the hooks into block managers."""
    yield Hook(BaseBlockManager, "reindex_indexer", _wrap_reindex_indexer)
    yield Hook(BaseBlockManager, "set_axis", _wrap_set_axis)
    yield Hook(BaseBlockManager, "shift", observed(_after_shift))
    yield Hook(BaseBlockManager, "putmask", observed(_after_putmask))
    yield Hook(pd.Series, "_reindex_indexer", observed(_after_series_reindex))
    yield Hook(pd.DataFrame, "_reindex_multi", observed(_after_reindex_multi))
    for owner in (pd.Series, NDFrame):
        yield Hook(owner, "_slice", observed(_after_slice))
    for name in ("interpolate", "pad_or_backfill", "diff"):
        yield Hook(BaseBlockManager, name, observed(_noting(name)))


def _wrap_reindex_indexer(original: Callable[..., Any]) -> Callable[..., Any]:
    def observe(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        manager = args[0]
        # `take` has picked the labels from the manager's own axis: they carry the right mark.
        if result is manager or called_by(BaseBlockManager.take):
            return
        indexer = argument(args, kwargs, 2, "indexer")
        axis = argument(args, kwargs, 3, "axis")
        _picked(result, axis, manager.axes[axis], indexer)

    return observed(observe)(original)


def _picked(result: Any, axis: int, old: Any, indexer: Any) -> None:
    """Mark an axis of a manager whose values were picked from those of ``old``."""
    mark = mark_of(old)
    new = result.axes[axis]
    if mark is None:
        # An axis without values says nothing about the rows that are about to be put there.
        if len(old) and has_mark(new):
            set_axis_mark(result, axis, None)
        return
    rows = positions(old, mark)
    if indexer is not None:
        rows = taken(rows, indexer)
    elif mark.rows is None and new.is_(old):
        set_axis_mark(result, axis, mark)
        return
    set_axis_mark(result, axis, place(new, mark.node, rows, mark.steps))


def _after_series_reindex(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    old = row_index(args[0])
    if row_index(result)._cache is not old._cache:
        _picked(result._mgr, 0, old, argument(args, kwargs, 2, "indexer"))


def _after_reindex_multi(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Rows and columns were picked at once, from the values: ask the index again which."""
    del kwargs
    for axis, old in enumerate(args[0]._mgr.axes):
        new = result._mgr.axes[axis]
        if old._index_as_unique and (mark_of(old) is not None or has_mark(new)):
            _picked(result._mgr, axis, old, old.get_indexer(new))


def _wrap_set_axis(original: Callable[..., Any]) -> Callable[..., Any]:
    """Labels were replaced, rows were not: the rows keep their mark."""

    @functools.wraps(original)
    def hooked(self: Any, axis: int, new_labels: Any) -> None:
        old = self.axes[axis]
        original(self, axis, new_labels)
        if new_labels._cache is old._cache or len(new_labels) != len(old):
            return
        mark, other = mark_of(old), mark_of(new_labels)
        if mark is not None:
            if other is not None and other.node is not mark.node and _set_by_user():
                note_rows(other, new_labels, "Index", new_labels.name)
            rows = positions(old, mark)
            set_axis_mark(self, axis, place(new_labels, mark.node, rows, mark.steps))
        elif other is not None and _set_by_user():
            set_axis_mark(self, axis, declared_mark(new_labels, other, claim_of(other)))

    return hooked


def claim_of(mark: Mark) -> str:
    """Say that the user declared by an index which rows these are."""
    return _DECLARED.format(", ".join(map(repr, sorted(mark.node.roots))) or "an input")


def _set_by_user() -> bool:
    frame = caller(sys._getframe(2))
    while frame is not None and frame.f_code.co_name in _SETTERS and not is_user(frame):
        frame = caller(frame.f_back)
    return is_user(frame)


def _after_shift(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    manager = args[0]
    axis = manager.ndim - 1
    old = manager.axes[axis]
    mark = mark_of(old)
    if mark is not None:
        rows = shifted(positions(old, mark), argument(args, kwargs, 1, "periods"))
        set_axis_mark(result, axis, place(old, mark.node, rows, mark.steps))


def _after_putmask(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Values of other rows were put in: they are aligned by then."""
    operands = [argument(args, kwargs, at, name) for at, name in ((1, "mask"), (2, "new"))]
    indexes = [row_index(each) for each in operands if isinstance(each, NDFrame)]
    if indexes:
        join_axis(result, result.ndim - 1, indexes, "update")


def _after_slice(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """A slice with labels given apart: the rows are those of the slice."""
    new = argument(args, kwargs, 3, "new_index")
    if new is None or argument(args, kwargs, 2, "axis", 0) not in (0, "index"):
        return
    old = row_index(args[0])
    mark = mark_of(old)
    if mark is not None:
        rows = positions(old, mark)[argument(args, kwargs, 1, "slobj")]
        set_row_mark(result, place(row_index(result), mark.node, rows, mark.steps))


def _noting(name: str) -> Callable[[Any, tuple[Any, ...], dict[str, Any]], None]:
    """Return an observer of a function that mixes the values of rows under a fixed index."""

    def observe(_result: Any, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        manager = args[0]
        mark = mark_of(manager.axes[-1])
        if mark is not None:
            column = manager.axes[0][0] if manager.ndim == 2 and len(manager.axes[0]) == 1 else None
            note_rows(mark, manager.axes[-1], name, column)

    return observe
