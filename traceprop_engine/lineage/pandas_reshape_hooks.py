"""Rows that a reshape repeats, spreads over columns, or gathers from them."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from pandas.core import frame as frame_module
from pandas.core.reshape import api as reshape_api
from pandas.core.reshape import melt as melt_module
from pandas.core.reshape import reshape as reshape_module
from pandas.core.reshape.reshape import _Unstacker

from traceprop_engine.lineage.marks import derived
from traceprop_engine.lineage.pandas_align import row_index, set_row_mark
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
from traceprop_engine.lineage.pandas_patches import Hook, Observer, argument, cached, observed
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.lineage.rows import as_array, taken

_SOURCE = "_traceprop_source"

Order = Callable[[int, int], Any]
"""From the number of rows and how often each occurs: which row each position of the result is."""


def reshape_hooks() -> Iterator[Hook]:
    """Yield the hooks into reshaping functions."""
    yield Hook(_Unstacker, "__init__", observed(_after_unstacker_init))
    yield Hook(_Unstacker, "new_index", cached(_with_unstacked_rows))
    yield Hook(reshape_module, "stack_v3", observed(_repeating("stack", _each_in_turn)))
    yield Hook(reshape_module, "stack_v3", observed(_after_stack))
    for owner in (pd, frame_module, reshape_api, melt_module):
        yield Hook(owner, "melt", observed(_repeating("melt", _all_again)), is_vital=False)


def _after_unstacker_init(_result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    unstacker, index = args[0], argument(args, kwargs, 1, "index")
    setattr(unstacker, _SOURCE, index)


def _with_unstacked_rows(unstacker: Any, new_index: Any) -> Any:
    """Mark the index of an unstacked frame: each row gathers those with its labels."""
    index = getattr(unstacker, _SOURCE, None)
    mark = None if index is None else mark_of(index)
    if mark is None or index is None:
        return new_index
    codes = new_index.get_indexer(index.droplevel(unstacker.level)) if new_index.is_unique else []
    if len(codes) != len(index) or (len(codes) and codes.min() < 0):
        return marked_view(new_index, lost_mark(new_index, [mark], "unstack"))
    gathered = RowMap.groups(codes, len(new_index))
    node = derived(mark.node.notes, len(new_index), [(row_node(index, mark), gathered)])
    return marked_view(new_index, place_all(new_index, node, mark.steps))


def _each_in_turn(n_rows: int, times: int) -> Any:
    return np.repeat(np.arange(n_rows), times)


def _all_again(n_rows: int, times: int) -> Any:
    return np.tile(np.arange(n_rows), times)


def _repeating(name: str, order: Order) -> Observer:
    """Return an observer of a function whose result has every row of the frame so many times."""

    def observe(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        frame = argument(args, kwargs, 0, "frame")
        old, new = row_index(frame), row_index(result)
        mark = mark_of(old)
        if mark is None or result is frame:
            return
        times, rest = divmod(len(new), len(old)) if len(old) else (0, len(new))
        if rest:
            set_row_mark(result, lost_mark(new, [mark], name))
            return
        rows = taken(positions(old, mark), order(len(old), times))
        set_row_mark(result, place(new, mark.node, rows, mark.steps))

    return observe


def _after_stack(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Rows that were turned to columns are stacked below each other, once for each row."""
    frame = argument(args, kwargs, 0, "frame")
    columns, new = frame._mgr.axes[0], row_index(result)
    mark = mark_of(columns)
    if mark is None or has_mark(new) or result is frame:
        return
    if len(new) != len(frame) * len(columns):
        set_row_mark(result, lost_mark(new, [mark], "stack"))
        return
    rows = np.tile(as_array(positions(columns, mark)), len(frame))
    set_row_mark(result, place(new, mark.node, rows, mark.steps))
