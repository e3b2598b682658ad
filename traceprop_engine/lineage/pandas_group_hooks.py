"""Rows of groups: an aggregate, a resample, and functions that a group goes through."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from pandas.core.groupby import groupby as groupby_module
from pandas.core.groupby.generic import DataFrameGroupBy
from pandas.core.groupby.groupby import GroupBy
from pandas.core.groupby.ops import BaseGrouper, BinGrouper
from pandas.core.resample import Resampler
from pandas.tseries.offsets import Day, Tick

from traceprop_engine.lineage.marks import Mark, derived
from traceprop_engine.lineage.pandas_align import (
    row_index,
    row_mark,
    set_axis_mark,
    set_row_mark,
)
from traceprop_engine.lineage.pandas_marks import (
    has_mark,
    mark_of,
    marked_view,
    place,
    place_all,
    positions,
    put_mark,
    row_node,
)
from traceprop_engine.lineage.pandas_notes import note_object
from traceprop_engine.lineage.pandas_patches import Hook, argument, cached, observed
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.lineage.rows import as_array


def group_hooks() -> Iterator[Hook]:
    """Yield the hooks into group-by and resample."""
    for owner in (BaseGrouper, BinGrouper):
        yield Hook(owner, "result_index_and_ids", cached(_with_group_rows))
    yield Hook(BaseGrouper, "apply_groupwise", observed(_after_apply_groupwise))
    yield Hook(Resampler, "_get_binner", observed(_after_get_binner))
    yield Hook(DataFrameGroupBy, "_wrap_applied_output_series", observed(_after_applied_series))
    yield Hook(GroupBy, "_insert_inaxis_grouper", observed(_after_insert_keys))
    yield Hook(groupby_module, "_insert_quantile_level", observed(_after_insert_quantiles))
    yield Hook(GroupBy, "_wrap_transform_fast_result", observed(_after_transform))


def _with_group_rows(grouper: Any, value: tuple[Any, Any]) -> tuple[Any, Any]:
    """Mark the index of the groups: every aggregate gets it as its own."""
    result_index, ids = value
    axis = getattr(grouper, "axis", None)
    mark = None if axis is None else mark_of(axis)
    if mark is None or axis is None or len(ids) != len(axis):
        return value
    codes = RowMap.groups(ids, len(result_index))
    node = derived(mark.node.notes, len(result_index), [(row_node(axis, mark), codes)])
    return marked_view(result_index, place_all(result_index, node, mark.steps)), ids


def _after_get_binner(result: Any, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
    """Tell a grouper of time bins which rows it bins; pandas does not.

    Where the bins begin may be a matter of the first time of all, or of the last.
    """
    _, grouper = result
    resampler = args[0]
    grouper.axis = row_index(resampler.obj)
    if _begins_at_a_row(resampler._timegrouper):
        note_object(resampler.obj, "resample")


def _begins_at_a_row(grouper: Any) -> bool:
    freq, origin = grouper.freq, grouper.origin
    if not isinstance(freq, (Tick, Day)) or not isinstance(origin, str) or origin == "epoch":
        return False
    step = pd.Timedelta(days=freq.n) if isinstance(freq, Day) else pd.Timedelta(freq.nanos, "ns")
    return origin in ("start", "end") or pd.Timedelta(days=1) % step != pd.Timedelta(0)


def _after_apply_groupwise(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Mark frames that a function made anew: it saw the rows of one group."""
    del kwargs
    mark = mark_of(args[0].result_index)
    if mark is None:
        return
    values, _ = result
    for group, value in enumerate(values):
        if isinstance(value, pd.DataFrame) and not has_mark(row_index(value)):
            rows = np.full(len(value), _row_of_group(args[0], mark, group))
            set_row_mark(value, place(row_index(value), mark.node, rows, mark.steps))


def _row_of_group(grouper: Any, mark: Mark, group: int) -> int:
    return int(positions(grouper.result_index, mark)[group])


def _after_applied_series(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Drop the mark of columns that are the labels of the first group's result alone."""
    del args, kwargs
    if result.ndim == 2 and has_mark(result._mgr.axes[0]):
        set_axis_mark(result._mgr, 0, None)


def _after_insert_keys(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Mark an aggregate that gets the keys as columns: its rows are the groups, in order."""
    quantiles = argument(args, kwargs, 2, "qs")
    groups = args[0]._grouper.result_index
    times = 1 if quantiles is None else len(quantiles)
    if len(result) == len(groups) * times:
        set_row_mark(result, _repeated(row_index(result), groups, times))


def _after_insert_quantiles(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    groups = argument(args, kwargs, 0, "idx")
    quantiles = argument(args, kwargs, 1, "qs")
    mark = _repeated(result, groups, len(quantiles))
    if mark is not None and len(result) == len(groups) * len(quantiles):
        put_mark(result, mark)


def _repeated(index: Any, groups: Any, times: int) -> Mark | None:
    """Return the mark of an index that has each group so many times, one after the other."""
    mark = mark_of(groups)
    if mark is None:
        return None
    rows = positions(groups, mark)
    if times > 1:
        rows = np.repeat(as_array(rows), times)
    return place(index, mark.node, rows, mark.steps)


def _after_transform(result: Any, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
    """Rows that got the aggregate of their group stay the same rows."""
    own = row_mark(args[0]._obj_with_exclusions)
    if own is not None and isinstance(result, (pd.DataFrame, pd.Series)):
        set_row_mark(result, own)
