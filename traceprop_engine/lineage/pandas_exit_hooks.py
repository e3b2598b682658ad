"""Values that leave pandas, as an array, a file or a scalar, are noted with the rows they are of.

They may come back in ways that nobody sees. What is noted is honest, if coarse: anything that is
computed later in the session may depend on these rows.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from pandas.core import algorithms, construction
from pandas.core.arrays.categorical import Categorical
from pandas.core.base import IndexOpsMixin
from pandas.core.generic import NDFrame
from pandas.core.indexes.base import Index
from pandas.core.indexes.multi import MultiIndex
from pandas.core.indexes.range import RangeIndex
from pandas.core.indexing import (  # pyrefly: ignore
    _AtIndexer,
    _LocationIndexer,
    _ScalarAccessIndexer,
)
from pandas.core.internals.managers import BlockManager

from traceprop_engine.lineage.marks import Mark
from traceprop_engine.lineage.pandas_align import (
    is_marked,
    kind_of,
    row_index,
    row_mark,
    set_axis_mark,
    set_row_mark,
)
from traceprop_engine.lineage.pandas_marks import has_mark, mark_of, statistic_mark
from traceprop_engine.lineage.pandas_notes import (
    column_of,
    note_labels,
    note_object,
    note_others,
    note_rows,
    note_some_rows,
    others_among,
)
from traceprop_engine.lineage.pandas_patches import (
    Hook,
    Observer,
    argument,
    called_by,
    called_by_user,
    observed,
    observed_property,
)

_WRITERS = (
    "to_csv to_json to_pickle to_excel to_sql to_hdf to_latex to_clipboard to_xarray __getstate__"
).split()
_OF_FRAMES = (
    "to_numpy itertuples iterrows to_dict to_records to_parquet to_feather to_orc to_html "
    "to_string to_markdown to_xml to_stata to_iceberg __dataframe__ __arrow_c_stream__"
).split()
_OF_SERIES = (
    "__array__ items unique to_dict to_string to_markdown __arrow_c_stream__ squeeze __float__ "
    "__int__ hasnans is_unique is_monotonic_increasing is_monotonic_decreasing"
).split()
_SCALARS = ("squeeze",)
_OF_BOTH_INDEX_AND_SERIES = "to_numpy tolist to_list __iter__ item factorize".split()
_OF_INDEXES = (
    "__array__ unique to_list to_frame searchsorted get_indexer intersection union difference "
    "symmetric_difference isin min max value_counts nunique"
).split()
_PROPERTIES = ("hasnans", "is_unique", "is_monotonic_increasing", "is_monotonic_decreasing")


def exit_hooks() -> Iterator[Hook]:
    """Yield the hooks into the ways by which values leave pandas."""
    for owner, names in (
        (NDFrame, [*_WRITERS, "__array__"]),
        (pd.DataFrame, _OF_FRAMES),
        (pd.Series, _OF_SERIES),
        (IndexOpsMixin, _OF_BOTH_INDEX_AND_SERIES),
        (Index, _OF_INDEXES),
        (RangeIndex, ["tolist", "__iter__"]),
        (MultiIndex, ["__array__"]),
    ):
        for name in names:
            wrap = observed_property if name in _PROPERTIES else observed
            yield Hook(owner, name, wrap(_leaving(name)), is_vital=False)
    for owner, name in (
        (pd.DataFrame, "values"),
        (pd.Series, "values"),
        (pd.Series, "array"),
        (Index, "values"),
        (MultiIndex, "values"),
    ):
        yield Hook(owner, name, observed_property(_leaving(name)), is_vital=False)
    yield Hook(Categorical, "__init__", observed(_taken_in("Categorical", 1)))
    yield Hook(algorithms, "unique_with_mask", observed(_taken_in("unique", 0)))
    for owner in (_LocationIndexer, _ScalarAccessIndexer, _AtIndexer):
        yield Hook(owner, "__getitem__", observed(_after_indexer))
    yield Hook(pd.Series, "__getitem__", observed(_after_series_getitem))
    yield Hook(pd.Series, "items", observed(_after_items))
    for owner, name in ((NDFrame, "xs"), (NDFrame, "get")):
        yield Hook(owner, name, observed(_after_series_getitem))
    yield Hook(pd.Series, "pop", _wrap_pop)
    for owner in (pd, construction):
        yield Hook(owner, "array", observed(_taken_in("array", 0)), is_vital=False)
    yield Hook(BlockManager, "iget", observed(_after_iget))


def _leaving(name: str) -> Observer:
    def observe(result: Any, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        obj = args[0]
        if isinstance(obj, NDFrame):
            is_scalar = name in _SCALARS and isinstance(result, NDFrame)
            if is_marked(obj) and not is_scalar and called_by_user():
                note_object(obj, f"{kind_of(obj)}.{name}")
        elif called_by_user():
            note_labels(obj, f"Index.{name}")
            for other in args[1:]:
                if isinstance(other, Index):
                    note_labels(other, f"Index.{name}")
                elif isinstance(other, NDFrame):
                    note_object(other, f"Index.{name}")

    return observe


def _after_items(_result: Any, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
    """Note a series that pandas reads as a mapping from old values to new ones."""
    for function in (NDFrame.replace, NDFrame.fillna):
        if called_by(function):
            note_object(args[0], f"{kind_of(args[0])}.{function.__name__}")


def _taken_in(name: str, at: int) -> Observer:
    """Return an observer of a function that makes something else of a series' values."""

    def observe(_result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        values = argument(args, kwargs, at, "values")
        if isinstance(values, pd.Series) and called_by_user():
            note_object(values, name)

    return observe


def _after_indexer(result: Any, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
    """Note the row that a value was read from by ``loc``, ``iloc``, ``at`` or ``iat``."""
    indexer, key = args
    obj = indexer.obj
    others = others_among(obj, (key,))
    if others and called_by_user():
        note_others(others, f"{kind_of(obj)}.{indexer.name}")
    mark = row_mark(obj)
    if mark is None or not _is_read(result) or not called_by_user():
        return
    row_key = key[0] if isinstance(key, tuple) and key and obj.ndim == 2 else key
    by_position = indexer.name in ("iloc", "iat")
    _note_read(
        result, obj, mark, _location(row_index(obj), row_key, by_position=by_position), indexer.name
    )


def _after_series_getitem(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    obj = args[0]
    mark = row_mark(obj)
    if mark is None or not _is_read(result) or not called_by_user():
        return
    where = _location(row_index(obj), argument(args, kwargs, 1, "key"), by_position=False)
    _note_read(result, obj, mark, where, "__getitem__")


def _wrap_pop(original: Callable[..., Any]) -> Callable[..., Any]:
    """Note the row of a value before it is taken out."""

    @functools.wraps(original)
    def hooked(self: Any, item: Any) -> Any:
        mark, index = row_mark(self), row_index(self)
        result = original(self, item)
        if mark is not None:
            note_some_rows(
                mark, index, "Series.pop", self.name, _location(index, item, by_position=False)
            )
        return result

    return hooked


def _after_iget(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Note the row that a column of a turned frame is."""
    columns = args[0].axes[0]
    mark = mark_of(columns)
    if mark is None or has_mark(result.axes[0]):
        return
    at = argument(args, kwargs, 1, "i") % len(columns)
    column = columns[at : at + 1]
    read = mark_of(column)
    note_rows(mark, column, "columns", None)
    if read is not None:
        set_axis_mark(result, 0, statistic_mark(result.axes[0], column, read))


def _is_read(result: Any) -> bool:
    """Say whether a selection gave values without rows: a scalar, or one row as a series."""
    return not isinstance(result, NDFrame) or not has_mark(row_index(result))


def _note_read(result: Any, obj: Any, mark: Mark, where: slice, name: str) -> None:
    statistic = f"{kind_of(obj)}.{name}"
    note_some_rows(mark, row_index(obj), statistic, column_of(obj), where)
    if isinstance(result, NDFrame):
        source = row_index(obj)[where]
        read = mark_of(source)
        if read is not None:
            set_row_mark(result, statistic_mark(row_index(result), source, read))


def _location(index: Any, key: Any, *, by_position: bool) -> slice:
    """Return the positions that a key of one row stands for, all of them if it is not clear."""
    if by_position:
        if isinstance(key, (int, np.integer)):
            at = int(key) % len(index)
            return slice(at, at + 1)
        return slice(None)
    try:
        found = index.get_loc(key)
    except (KeyError, TypeError):
        return slice(None)
    if isinstance(found, (int, np.integer)):
        return slice(int(found), int(found) + 1)
    return found if isinstance(found, slice) else slice(None)
