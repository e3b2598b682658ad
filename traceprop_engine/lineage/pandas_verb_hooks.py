"""Operations that a reader of a trace should see: which rows went in, which came out, by what call.

They are written down as the user called them: what pandas calls inside is not.
"""

import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from threading import local
from types import FrameType
from typing import Any

import pandas as pd
from pandas.core.generic import NDFrame
from pandas.core.groupby.generic import DataFrameGroupBy, SeriesGroupBy
from pandas.core.resample import Resampler
from pandas.core.reshape import concat as concat_module
from pandas.core.reshape import melt as melt_module
from pandas.core.reshape import merge as merge_module
from pandas.core.reshape.merge import _MergeOperation, _OrderedMerge
from pandas.core.strings.accessor import StringMethods

from traceprop_engine.lineage.captured import Op
from traceprop_engine.lineage.marks import Mark, Step
from traceprop_engine.lineage.pandas_align import (
    any_mark,
    names_in_order,
    row_index,
    row_mark,
    set_row_mark,
)
from traceprop_engine.lineage.pandas_marks import has_mark, lost_mark, mark_of
from traceprop_engine.lineage.pandas_patches import Hook, Observer, Wrap, is_user, observed

_ROW_VERBS = (
    "head tail sample sort_values sort_index dropna drop_duplicates drop nlargest nsmallest take "
    "reindex reindex_like truncate filter explode unstack set_axis reset_index "
    "combine_first compare align between_time at_time asof xs shift"
).split()
_OF: dict[type[Any], Sequence[str]] = {
    pd.DataFrame: [
        *_ROW_VERBS,
        *("query __getitem__ join set_index stack pivot pivot_table melt transpose").split(),
    ],
    pd.Series: [*_ROW_VERBS, "__getitem__", "repeat"],
}
_AGGREGATES = (
    "agg aggregate mean median sum prod min max std var sem skew kurt first last size count "
    "nunique any all idxmin idxmax quantile describe apply head tail _nth sample filter ohlc"
).split()
_OF_GROUPS: dict[type[Any], Sequence[str]] = {
    DataFrameGroupBy: _AGGREGATES,
    SeriesGroupBy: [*_AGGREGATES, "unique"],
    Resampler: [*_AGGREGATES, "asfreq", "ffill", "bfill", "interpolate"],
}
_LOOKUPS = ("__getitem__",)

# Methods that look at who holds the frame, to warn of chained assignment, or for
# variables in the frame of their caller: a hook would stand between.
_WATCHED_INSIDE = "fillna ffill bfill replace interpolate clip where mask update eval".split()
_MERGES = ("merge", "merge_asof", "merge_ordered", "_merger")
_SELECTORS = ("__call__", "__getitem__")

# Arguments that say what a call did, in the words of the call; labels and values are left out.
_SHOWN = (
    "on left_on right_on left_index right_index how by subset keep n frac replace ascending axis "
    "expr ignore_index column columns keys level index values id_vars value_vars aggfunc func "
    "periods drop sort dropna as_index inplace"
).split()
_LONGEST = 80


class _Depth(local):
    """How many recorded operations are running in this thread, one inside the other."""

    running = 0


_depth = _Depth()


def _is_called(frame: FrameType | None) -> bool:
    """Say whether a call is the user's own, outside any function that pandas calls back."""
    return _depth.running == 0 and is_user(frame)


def _caller_of(functions: Sequence[str]) -> FrameType | None:
    """Return who called the public function that an internal one serves."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_name in functions:
        frame = frame.f_back
    return frame


def verb_hooks() -> Iterator[Hook]:
    """Yield the hooks into operations to be recorded; they see what all other hooks have done."""
    for owner, names in _OF.items():
        for name in names:
            yield Hook(owner, name, _verb(owner.__name__, name), is_vital=False)
    for owner, names in _OF_GROUPS.items():
        for name in names:
            yield Hook(owner, name, _group_verb(name), is_vital=False)
    for owner in (_MergeOperation, _OrderedMerge):
        yield Hook(owner, "get_result", _wrap_merge)
    yield Hook(merge_module, "_groupby_and_merge", _wrap_merge_of_groups)
    yield Hook(concat_module, "_get_result", _wrap_concat)
    for owner in (pd.DataFrame, pd.Series):
        for name in _other_methods(owner):
            yield Hook(owner, name, observed(_settling(f"{owner.__name__}.{name}")))
    yield Hook(StringMethods, "extractall", observed(_after_extractall))
    for owner in (pd, melt_module):
        yield Hook(owner, "lreshape", observed(_settling("pandas.lreshape")), is_vital=False)


def _other_methods(owner: type[Any]) -> list[str]:
    """Return the public methods that no table names: their result must not lose rows unseen."""
    named = {*_OF[owner], *_WATCHED_INSIDE}
    methods = inspect.getmembers(owner, inspect.isfunction)
    return [name for name, _ in methods if not name.startswith("_") and name not in named]


def _settling(name: str) -> Observer:
    def observe(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        source = args[0] if args else kwargs.get("data")
        if (
            isinstance(result, NDFrame)
            and isinstance(source, NDFrame)
            and not has_mark(row_index(result))
        ):
            mark = any_mark(source)
            if mark is not None:
                _settle(result, mark, name)

    return observe


def _after_extractall(result: Any, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
    source = args[0]._orig
    mark = any_mark(source) if isinstance(source, NDFrame) else None
    if mark is not None:
        _settle(result, mark, "Series.str.extractall")


def _verb(owner: str, name: str) -> Wrap:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        parameters = list(inspect.signature(original).parameters)
        takes_frame_level = name == "query"

        @functools.wraps(original)
        def hooked(*args: Any, **kwargs: Any) -> Any:
            mark = any_mark(args[0])
            given = kwargs
            if takes_frame_level:
                given = kwargs | {"level": kwargs.get("level", 0) + 1}
            if mark is None:
                return original(*args, **given)
            before, is_called = row_index(args[0]), _is_called(sys._getframe(1))
            _depth.running += 1
            try:
                result = original(*args, **given)
            finally:
                _depth.running -= 1
            changed = args[0] if result is None else result
            _settle(changed, mark, f"{owner}.{name}")
            if is_called and isinstance(changed, NDFrame) and _is_told(name, changed, before):
                detail = _detail(parameters, args, kwargs)
                _record(changed, f"{owner}.{name}", detail, (len(before),))
            return result

        return hooked

    return wrap


def _is_told(name: str, result: Any, before: Any) -> bool:
    """Say whether an operation did something to rows: a choice of columns does not."""
    return name not in _LOOKUPS or row_index(result)._cache is not before._cache


def _settle(result: Any, mark: Mark, name: str) -> None:
    """Say that rows were lost, if a result came out without a mark."""
    if not isinstance(result, NDFrame) or has_mark(row_index(result)):
        return
    if result.ndim == 2 and has_mark(result._mgr.axes[0]):
        return
    set_row_mark(result, lost_mark(row_index(result), [mark], name))


def _record(result: Any, name: str, detail: str, n_rows_in: tuple[int, ...]) -> None:
    mark = row_mark(result)
    if mark is None:
        return
    op = Op(name, detail, names_in_order(mark), n_rows_in, len(row_index(result)))
    set_row_mark(result, Mark(mark.node, mark.rows, (Step(op, mark.steps),)))


def _group_verb(name: str) -> Wrap:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        parameters = list(inspect.signature(original).parameters)

        selectors = _SELECTORS if name.startswith("_") else ()

        @functools.wraps(original)
        def hooked(*args: Any, **kwargs: Any) -> Any:
            grouped = args[0]
            mark = row_mark(grouped.obj)
            if mark is None:
                return original(*args, **kwargs)
            is_called = _is_called(_caller_of(selectors))
            _depth.running += 1
            try:
                result = original(*args, **kwargs)
            finally:
                _depth.running -= 1
            verb = f"{type(grouped).__name__}.{name.lstrip('_')}"
            _settle_groups(result, grouped, mark, verb)
            if is_called and isinstance(result, NDFrame):
                detail = _group_detail(grouped, _detail(parameters, args, kwargs))
                _record(result, verb, detail, (len(grouped.obj),))
            return result

        return hooked

    return wrap


def _settle_groups(result: Any, grouped: Any, mark: Mark, verb: str) -> None:
    """Mark a result that has the labels of the groups; say that rows were lost in any other."""
    if not isinstance(result, NDFrame):
        return
    grouper = getattr(grouped, "_grouper", None)
    axis = getattr(grouper, "axis", None)
    if axis is not None and mark_of(axis) is not mark:
        reason = f"{verb} after the frame was changed in place"
        set_row_mark(result, lost_mark(row_index(result), [mark], reason))
        return
    found = row_mark(result)
    if found is not None and not found.node.is_statistic:
        return
    groups = None if grouper is None else grouper.result_index
    of_groups = None if groups is None else mark_of(groups)
    if of_groups is not None and grouped.as_index and row_index(result).equals(groups):
        set_row_mark(result, of_groups)
    else:
        _settle(result, mark, verb)


def _group_detail(grouped: Any, detail: str) -> str:
    grouper = getattr(grouped, "_grouper", None)
    names = [name for name in getattr(grouper, "names", ()) if name is not None]
    return _joined([f"by={names!r}" if names else "", detail])


def _wrap_merge(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def hooked(self: Any) -> Any:
        result = original(self)
        if row_mark(result) is not None and _is_called(_caller_of(_MERGES)):
            n_rows = (len(self.orig_left), len(self.orig_right))
            _record(result, _merge_name(self), _merge_detail(self), n_rows)
        return result

    return hooked


def _wrap_merge_of_groups(original: Callable[..., Any]) -> Callable[..., Any]:
    """Tell of an ordered merge by groups as one operation, not of one for each group."""

    @functools.wraps(original)
    def hooked(by: Any, left: Any, right: Any, merge_pieces: Any) -> Any:
        is_called = _is_called(_caller_of(_MERGES))
        _depth.running += 1
        try:
            result, left_by = original(by, left, right, merge_pieces)
        finally:
            _depth.running -= 1
        if is_called and row_mark(result) is not None:
            _record(result, "pandas.merge_ordered", _shown("by", by), (len(left), len(right)))
        return result, left_by

    return hooked


def _merge_name(merge: Any) -> str:
    kinds = {"asof_merge": "merge_asof", "ordered_merge": "merge_ordered"}
    return f"pandas.{kinds.get(merge._merge_type, 'merge')}"


def _merge_detail(merge: Any) -> str:
    given = {
        "on": merge.on,
        "left_on": None if merge.on else merge.left_on,
        "right_on": None if merge.on else merge.right_on,
        "left_index": merge.left_index or None,
        "right_index": merge.right_index or None,
        "how": merge.how,
    }
    return _joined([_shown(key, value) for key, value in given.items() if value is not None])


def _wrap_concat(original: Callable[..., Any]) -> Callable[..., Any]:
    parameters = list(inspect.signature(original).parameters)

    @functools.wraps(original)
    def hooked(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if row_mark(result) is not None and _is_called(_caller_of(("concat",))):
            given = dict(zip(parameters, args, strict=False)) | kwargs
            objs = given["objs"]
            by_row = given["bm_axis"] == (0 if given["is_series"] else 1)
            detail = "axis=0" if by_row else "axis=1"
            _record(result, "pandas.concat", detail, tuple(len(obj) for obj in objs))
        return result

    return hooked


def _detail(parameters: list[str], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    given = dict(zip(parameters[1:], args[1:], strict=False)) | kwargs
    return _joined(
        [_shown(key, value) for key, value in given.items() if key in _SHOWN and value is not None]
    )


def _shown(key: str, value: Any) -> str:
    """Return an argument as it was written, if it is short and plain; else what kind it is."""
    if callable(value):
        return f"{key}={getattr(value, '__name__', type(value).__name__)}"
    plain = isinstance(value, (str, bool, int, float)) or _is_list_of_names(value)
    return f"{key}={value!r}" if plain else f"{key}=<{type(value).__name__}>"


def _is_list_of_names(value: Any) -> bool:
    if isinstance(value, dict):
        value = [*value, *value.values()]
    return isinstance(value, (list, tuple)) and all(isinstance(each, (str, bool)) for each in value)


def _joined(parts: Sequence[str]) -> str:
    text = ", ".join(part for part in parts if part)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
