"""Values that leave pandas, as an array, a file or a scalar, are noted with the rows they are of.

They may come back in ways that nobody sees. What is noted is honest, if coarse: anything that is
computed later in the session may depend on these rows.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from pandas.core import algorithms
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

from traceprop_engine.lineage.pandas_align import row_index, row_mark, set_row_mark
from traceprop_engine.lineage.pandas_marks import Mark, has_mark, mark_of, statistic_mark
from traceprop_engine.lineage.pandas_notes import (
    column_of,
    note_object,
    note_rows,
    note_some_rows,
)
from traceprop_engine.lineage.pandas_patches import (
    Hook,
    Observer,
    argument,
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
_OF_SERIES = "__array__ items unique to_dict to_string to_markdown __arrow_c_stream__".split()
_OF_BOTH_INDEX_AND_SERIES = "to_numpy tolist to_list __iter__ item factorize".split()
_OF_INDEXES = "__array__ unique to_list to_flat_index to_frame to_series".split()


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
            yield Hook(owner, name, observed(_leaving(name)), is_vital=False)
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
    yield Hook(NDFrame, "xs", observed(_after_series_getitem))


def _leaving(name: str) -> Observer:
    def observe(_result: Any, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        obj = args[0]
        if isinstance(obj, NDFrame):
            if row_mark(obj) is not None and called_by_user():
                kind = "Series" if obj.ndim == 1 else "DataFrame"
                note_object(obj, f"{kind}.{name}")
            return
        mark = mark_of(obj)
        # Labels that are row numbers hold no data.
        if mark is not None and mark.rows is not None and called_by_user():
            note_rows(mark, obj, f"Index.{name}", obj.name)

    return observe


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
    mark = row_mark(obj)
    if mark is None or not _is_read(result) or not called_by_user():
        return
    row_key = key[0] if isinstance(key, tuple) and key and obj.ndim == 2 else key
    by_position = indexer.name in ("iloc", "iat")
    _note_read(result, obj, mark, _location(row_index(obj), row_key, by_position), indexer.name)


def _after_series_getitem(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    obj = args[0]
    mark = row_mark(obj)
    if mark is None or not _is_read(result) or not called_by_user():
        return
    where = _location(row_index(obj), argument(args, kwargs, 1, "key"), by_position=False)
    _note_read(result, obj, mark, where, "__getitem__")


def _is_read(result: Any) -> bool:
    """Say whether a selection gave values without rows: a scalar, or one row as a series."""
    return not isinstance(result, NDFrame) or not has_mark(row_index(result))


def _note_read(result: Any, obj: Any, mark: Mark, where: slice, name: str) -> None:
    statistic = f"{'Series' if obj.ndim == 1 else 'DataFrame'}.{name}"
    note_some_rows(mark, row_index(obj), statistic, column_of(obj), where)
    if isinstance(result, NDFrame):
        source = row_index(obj)[where]
        read = mark_of(source)
        if read is not None:
            set_row_mark(result, statistic_mark(row_index(result), source, read))


def _location(index: Any, key: Any, by_position: bool) -> slice:  # noqa: FBT001  (internal)
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
