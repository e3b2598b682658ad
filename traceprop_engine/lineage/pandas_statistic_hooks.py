"""Statistics: what is computed from many rows at once is noted with the rows that took part.

A result that has an index of its own, such as that of ``describe``, is marked as depending on all
those rows. A result under the index of the rows, such as that of ``rank``, keeps them as its rows,
and the note says that other rows had a part in the values.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_dict_like
from pandas.core.generic import NDFrame
from pandas.core.groupby.generic import DataFrameGroupBy, SeriesGroupBy
from pandas.core.reshape import encoding, tile
from pandas.core.reshape.merge import _MergeOperation
from pandas.core.window.ewm import ExponentialMovingWindow
from pandas.core.window.expanding import Expanding
from pandas.core.window.rolling import BaseWindow, Rolling, Window

from traceprop_engine.lineage.marks import Mark
from traceprop_engine.lineage.pandas_align import (
    is_marked,
    kind_of,
    row_index,
    row_mark,
    set_row_mark,
)
from traceprop_engine.lineage.pandas_marks import (
    has_mark,
    mark_of,
    place,
    positions,
    statistic_mark,
)
from traceprop_engine.lineage.pandas_notes import (
    column_of,
    note_object,
    note_others,
    note_rows,
    others_among,
)
from traceprop_engine.lineage.pandas_patches import (
    Hook,
    Observer,
    Wrap,
    argument,
    called_by,
    called_by_user,
    observed,
)

_OF_BOTH = (
    "mean std var sem median min max sum prod product skew kurt kurtosis any all count nunique "
    "quantile mode idxmax idxmin describe cov corr agg aggregate transform "
    "diff cumsum cumprod cummax cummin rank pct_change duplicated equals"
).split()

_OF: dict[type[Any], Sequence[str]] = {
    pd.DataFrame: [*_OF_BOTH, "value_counts", "apply", "corrwith", "dot", "asof"],
    pd.Series: [
        *_OF_BOTH,
        *("value_counts", "autocorr", "argmax", "argmin", "argsort", "dot", "searchsorted", "asof"),
    ],
}

_OF_GROUPS = (
    "transform filter rank cumsum cumprod cummax cummin cumcount ngroup diff pct_change ffill "
    "bfill fillna value_counts corr cov corrwith describe quantile"
).split()

_OF_WINDOWS = (
    "count sum mean median std var min max first last nunique apply agg aggregate corr cov skew "
    "kurt sem rank quantile pipe"
).split()

# Methods that read the values of another object without aligning rows with it.
_READERS: dict[type[Any], Sequence[str]] = {
    pd.DataFrame: (
        "isin reindex reindex_like set_index sort_values sample drop groupby corrwith dot asof "
        "__getitem__ truncate equals"
    ).split(),
    pd.Series: (
        "isin map reindex reindex_like sort_values sample drop groupby corr cov dot searchsorted "
        "asof __getitem__ equals"
    ).split(),
}

# Those for which the values of a row decide about other rows, also when both are the same rows.
_UNALIGNED = ("map", "searchsorted", "reindex", "drop", "sample", "asof")


def statistic_hooks() -> Iterator[Hook]:
    """Yield the hooks into statistics, and into functions that read another object's values."""
    for owner, names in _OF.items():
        for name in names:
            yield Hook(owner, name, _statistic(name), is_vital=False)
    for owner in (DataFrameGroupBy, SeriesGroupBy):
        for name in _OF_GROUPS:
            yield Hook(owner, name, _noting_source(name), is_vital=False)
    for owner in (Rolling, Expanding, ExponentialMovingWindow, Window):
        for name in _OF_WINDOWS:
            yield Hook(owner, name, _noting_source(name), is_vital=False)
    for owner, names in _READERS.items():
        for name in names:
            yield Hook(owner, name, observed(_after_reader(name)), is_vital=False)
    yield Hook(_MergeOperation, "__init__", observed(_after_merge_init))
    yield Hook(NDFrame, "_set_axis", observed(_after_set_axis))
    yield Hook(NDFrame, "astype", observed(_after_astype))
    yield Hook(pd.Series, "__init__", observed(_after_series_init))
    yield Hook(pd.Series, "reindex", observed(_after_fill_from_series))
    yield Hook(encoding, "_get_dummies_1d", observed(_after_get_dummies))
    yield Hook(tile, "_preprocess_for_cut", observed(_after_preprocess_for_cut))


def _statistic(name: str) -> Wrap:
    """Return a wrap for a method of a frame or a series."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        parameters = list(inspect.signature(original).parameters)
        axis_at = parameters.index("axis") if "axis" in parameters else None

        def observe(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            axis = 0 if axis_at is None else argument(args, kwargs, axis_at, "axis", 0)
            source = _reduced_axis(args[0], axis)
            mark = None if source is None else mark_of(source)
            if mark is None:
                return
            if called_by_user():
                note_rows(mark, source, f"{kind_of(args[0])}.{name}", column_of(args[0]))
            _mark_result(result, source, mark)

        return observed(observe)(original)

    return wrap


def _reduced_axis(obj: Any, axis: Any) -> Any:
    """Return the index along which a method mixes values."""
    across = axis in (1, "columns") and obj.ndim == 2
    return obj._mgr.axes[0] if across else row_index(obj)


def _mark_result(result: Any, source: Any, mark: Mark) -> None:
    if isinstance(result, NDFrame) and not has_mark(row_index(result)):
        set_row_mark(result, statistic_mark(row_index(result), source, mark))


def _noting_source(name: str) -> Wrap:
    """Return a wrap for a method of a group-by or a window: all rows of its object take part."""

    def observe(result: Any, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        source = _selected(args[0])
        mark = row_mark(source)
        if mark is None:
            return
        if called_by_user():
            kind = type(args[0]).__name__
            note_rows(mark, row_index(source), f"{kind}.{name}", column_of(source))
        _keep_rows(result, source, mark)

    return observed(observe)


def _selected(grouped: Any) -> Any:
    """Return the part of its object that a group-by or a window works on."""
    if isinstance(grouped, BaseWindow):
        return grouped._selected_obj
    return grouped._obj_with_exclusions if grouped._selection is not None else grouped.obj


def _keep_rows(result: Any, source: Any, mark: Mark) -> None:
    """Mark a result without rows: as those of its object if it has its labels, in their order."""
    if not isinstance(result, NDFrame) or has_mark(row_index(result)):
        return
    old, new = row_index(source), row_index(result)
    if len(new) == len(old) and new.equals(old):
        set_row_mark(result, place(new, mark.node, positions(old, mark), mark.steps))
    else:
        set_row_mark(result, statistic_mark(new, old, mark))


def _after_reader(name: str) -> Observer:
    """Note the rows of other objects that were passed as arguments."""

    def observe(_result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        obj, given = args[0], (*args[1:], *kwargs.values())
        others = others_among(obj, given)
        if name in _UNALIGNED or (name == "isin" and isinstance(obj, pd.Series)):
            others += [each for each in given if isinstance(each, NDFrame)]
        if name == "sample":
            others += _own_weights(obj, argument(args, kwargs, 4, "weights"))
        if others and called_by_user():
            note_others(others, f"{kind_of(obj)}.{name}")

    return observe


def _own_weights(obj: Any, weights: Any) -> list[Any]:
    """Return the column of a frame that gives the weights of a sample, if one is named."""
    return [obj[weights]] if isinstance(weights, str) and obj.ndim == 2 else []


def _after_astype(_result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Note the values that categories are made of: all of them decide about each code."""
    obj, dtype = args[0], argument(args, kwargs, 1, "dtype")
    wanted = (
        dtype if is_dict_like(dtype) else dict.fromkeys([None] if obj.ndim == 1 else obj, dtype)
    )
    names = [name for name, each in wanted.items() if _takes_categories(each)]
    if not names or not is_marked(obj) or not called_by_user():
        return
    for column in [obj] if obj.ndim == 1 else [obj[name] for name in names]:
        if not isinstance(getattr(column, "dtype", None), pd.CategoricalDtype):
            note_object(column, "astype('category')")


def _after_series_init(_result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Note the values of a series that another one takes its categories from."""
    data = argument(args, kwargs, 1, "data")
    if isinstance(data, pd.Series) and _takes_categories(argument(args, kwargs, 3, "dtype")):
        _after_astype(None, (data, "category"), {})


def _takes_categories(dtype: Any) -> bool:
    """Say whether a conversion to a dtype takes the categories from the values."""
    return dtype == "category" and getattr(dtype, "categories", None) is None


def _after_fill_from_series(_result: Any, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
    """Note the rows that a series was filled from: `fillna` takes their values as an array."""
    if called_by(NDFrame.fillna):
        note_object(args[0], "Series.fillna")


def _after_merge_init(_result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Note the rows of a series that was given as the key of a join."""
    merge = args[0]
    keys = [kwargs.get(name) for name in ("on", "left_on", "right_on")] + list(args[4:7])
    for side in (merge.orig_left, merge.orig_right):
        keys = others_among(side, keys)
    note_others(keys, "pandas.merge")


def _after_set_axis(_result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Note the rows of a series that was given as labels."""
    labels = argument(args, kwargs, 2, "labels")
    if isinstance(labels, pd.Series):
        note_others(others_among(args[0], (labels,)), "index")


def _after_get_dummies(_result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Note the values that the columns are made of; those of a categorical stand in its dtype."""
    data = argument(args, kwargs, 0, "data")
    if isinstance(data, pd.Series) and not isinstance(data.dtype, pd.CategoricalDtype):
        note_object(data, "get_dummies")


def _after_preprocess_for_cut(_result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Note all values of a series that is cut at edges which depend on them."""
    x = argument(args, kwargs, 0, "x")
    if not isinstance(x, pd.Series):
        return
    cut = called_by(tile.cut)
    if called_by(tile.qcut):
        note_object(x, "qcut")
    elif cut is not None and not np.iterable(cut.f_locals["bins"]):
        note_object(x, "cut")
