"""A Polars frame that knows which rows it holds.

Verbs and results are those of `polars.DataFrame`. What is not understood is computed all the same:
a frame comes back with its rows visibly lost, any other value as it is, its rows written down.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
import polars as pl

from traceprop_engine.frames.arrow_table import TrackedTable
from traceprop_engine.frames.followed import note_frame
from traceprop_engine.frames.hidden_names import OTHER_ROW, ROW
from traceprop_engine.frames.of_polars.arguments import (
    hidden_keys,
    is_several,
    listed,
    refused_in_place,
    rows_of_key,
    tests_of,
)
from traceprop_engine.frames.of_polars.expressions import Reads, reads_of
from traceprop_engine.frames.of_polars.groups import TrackedGroups
from traceprop_engine.frames.of_polars.hidden_rows import numbered, row_numbers, without_numbers
from traceprop_engine.frames.of_polars.joins import join_rows
from traceprop_engine.frames.of_polars.lazy import TrackedLazy
from traceprop_engine.frames.of_polars.operators import ComparedFrame
from traceprop_engine.lineage.carriers import placed_of, plain_of

_IN_PLACE = ("extend", "insert_column", "replace_column", "drop_in_place")
_FACTS = [
    "columns",
    "dtypes",
    "schema",
    "shape",
    "height",
    "width",
    "flags",
    "estimated_size",
    "n_chunks",
    "collect_schema",
    "is_empty",
    "get_column_index",
]
_REDUCED = [
    "count",
    "max",
    "mean",
    "median",
    "min",
    "n_unique",
    "null_count",
    "product",
    "quantile",
    "std",
    "sum",
    "var",
    "corr",
    "describe",
]
_SAME_ROWS = [
    "cast",
    "clone",
    "drop",
    "fill_nan",
    "match_to_schema",
    "rechunk",
    "rename",
    "set_sorted",
    "shrink_to_fit",
    "unnest",
    "with_row_index",
]
_WINDOWED = ("interpolate", "to_dummies")
_PICKED = ("head", "tail", "limit", "slice", "sample", "gather_every", "reverse", "gather")


class TrackedPolars(ComparedFrame):
    """A `polars.DataFrame` that knows which rows of which inputs it holds.

    Example:
        >>> from traceprop_engine.frames.of_polars import track_polars
        >>> visits = track_polars(pl.DataFrame({"patient": [1, 1, 2], "dose": [3, None, 5]}), "v")
        >>> doses = visits.drop_nulls().sort("dose", descending=True)
        >>> doses.to_polars()["dose"].to_list()
        [5, 3]
        >>> doses.__traceprop_placed__()[1].tolist()
        [2, 0]
    """

    KIND = "polars.DataFrame"

    __slots__ = ()

    def to_polars(self) -> pl.DataFrame:
        """Return the plain frame; nobody follows what becomes of it."""
        self.note_all("to_polars")
        return self._frame.clone()

    def to_arrow(self, **options: Any) -> TrackedTable:
        """Return an Arrow table of the same rows."""
        return TrackedTable(self._frame.to_arrow(**options), self._placed)

    def to_numpy(self, **options: Any) -> Any:
        """Return an array; it knows its rows if arrays are followed, else they are noted."""
        return self.handed_over(self._frame.to_numpy(**options), "to_numpy")

    def lazy(self) -> "TrackedLazy":
        """Return a query on the frame; each verb of it is computed at once."""
        return TrackedLazy(self)

    def pipe(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return what ``function`` gives for this frame."""
        return function(self, *args, **kwargs)

    def filter(self, *predicates: Any, **constraints: Any) -> Self:
        """Return the rows for which all predicates hold, see `polars.DataFrame.filter`."""
        return self._filtered("filter", predicates, constraints)

    def remove(self, *predicates: Any, **constraints: Any) -> Self:
        """Return the rows for which not all predicates hold, see `polars.DataFrame.remove`."""
        return self._filtered("remove", predicates, constraints)

    def select(self, *exprs: Any, **named: Any) -> Self:
        """Return the expressions as a frame, see `polars.DataFrame.select`."""
        given = listed(exprs)
        result = self._frame.select(*given, **named)
        reads = reads_of([*given, *named.values()])
        if reads.kind == "scalar" and len(result) == 1:
            return self.of_statistic(result, "select", *given)
        is_columns = reads.kind == "row" and len(result) == len(self)
        return (
            self._computed(result, reads, "select", given)
            if is_columns
            else self.of_lost(result, "select")
        )

    def with_columns(self, *exprs: Any, **named: Any) -> Self:
        """Return the frame with more columns, see `polars.DataFrame.with_columns`."""
        given = listed(exprs)
        result = self._frame.with_columns(*given, **named)
        return self._computed(result, reads_of([*given, *named.values()]), "with_columns", given)

    def sort(self, by: Any, *more_by: Any, **options: Any) -> Self:
        """Return the rows in order, see `polars.DataFrame.sort`."""
        given = listed([by, *more_by])
        reads = reads_of(given)
        keys = hidden_keys(self._frame, given)
        if len(keys) != len(self):
            return self.of_lost(self._frame.sort(*given, **options), "sort")
        ordered = numbered(self._frame).hstack(keys).sort(keys.columns, **options)
        if reads.has_context or reads.kind != "row":
            self.note_all("sort")
        return self.of_rows(
            ordered.select(self._frame.columns), row_numbers(ordered), "sort", *given
        )

    def top_k(self, k: int, *, by: Any, reverse: Any = False) -> Self:
        """Return the rows with the largest values, see `polars.DataFrame.top_k`."""
        return self._extremes("top_k", k, by, reverse)

    def bottom_k(self, k: int, *, by: Any, reverse: Any = False) -> Self:
        """Return the rows with the smallest values, see `polars.DataFrame.bottom_k`."""
        return self._extremes("bottom_k", k, by, reverse)

    def unique(self, subset: Any = None, **options: Any) -> Self:
        """Return one row for each different one, see `polars.DataFrame.unique`."""
        given = listed([pl.all() if subset is None else subset])
        keys = hidden_keys(self._frame, given)
        if not keys.width or len(keys) != len(self):
            return self.of_lost(self._frame.unique(*given, **options), "unique")
        kept = numbered(self._frame).hstack(keys).unique(keys.columns, **options)
        self.note_all("unique")
        return self.of_rows(kept.select(self._frame.columns), row_numbers(kept), "unique", *given)

    def drop_nulls(self, subset: Any = None) -> Self:
        """Return the rows without a null, see `polars.DataFrame.drop_nulls`."""
        kept = numbered(self._frame).drop_nulls(self._names(subset))
        return self.of_rows(kept.drop(ROW), row_numbers(kept), "drop_nulls", subset)

    def drop_nans(self, subset: Any = None) -> Self:
        """Return the rows without a NaN, see `polars.DataFrame.drop_nans`."""
        result = self._frame.drop_nans(subset)
        if subset is None:
            names = [n for n, t in self._frame.schema.items() if t.is_float()]
        else:
            names = self._names(subset)
        kept = numbered(self._frame).drop_nans(names) if names else numbered(self._frame)
        return self.of_rows(result, row_numbers(kept), "drop_nans", subset)

    def fill_null(self, value: Any = None, strategy: Any = None, **options: Any) -> Self:
        """Return the frame with nulls filled, see `polars.DataFrame.fill_null`."""
        result = self._frame.fill_null(value, strategy, **options)
        reads = reads_of([] if value is None else [value])
        if reads.kind == "other":
            return self.of_lost(result, "fill_null")
        if strategy is not None or reads.has_context or reads.kind == "scalar":
            self.note_all("fill_null")
        return self.of_all_rows(result, "fill_null", strategy)

    def shift(self, n: int = 1, *, fill_value: Any = None) -> Self:
        """Return the rows ``n`` places further down, see `polars.DataFrame.shift`."""
        result = self._frame.shift(n, fill_value=fill_value)
        rows = np.arange(len(self)) - n
        rows[(rows < 0) | (rows >= len(self))] = -1
        if isinstance(fill_value, pl.Expr):
            self.note_all("shift")
        return self.of_rows(result, rows, "shift", n)

    def explode(self, columns: Any, *more_columns: Any, **options: Any) -> Self:
        """Return a row for each item of a list, see `polars.DataFrame.explode`."""
        first = columns if isinstance(columns, (list, tuple)) else [columns]
        names = self._names([*first, *more_columns])
        result = numbered(self._frame).explode(names, **options)
        return self.of_rows(result.drop(ROW), row_numbers(result), "explode", *names)

    def unpivot(self, on: Any = None, *, index: Any = None, **options: Any) -> Self:
        """Return a row for each value of the columns, see `polars.DataFrame.unpivot`."""
        kept = self._names(index) if index is not None else []
        others = [name for name in self._frame.columns if name not in kept]
        names = others if on is None else self._names(on)
        result = numbered(self._frame).unpivot(names, index=[*kept, ROW], **options)
        return self.of_rows(result.drop(ROW), row_numbers(result), "unpivot", *names)

    def join(self, other: Any, on: Any = None, how: str = "inner", **options: Any) -> Self:
        """Return the rows of two frames that match, see `polars.DataFrame.join`."""
        right = plain_of(other)
        found = join_rows(self._frame, right, on, how, options)
        if found is None:
            result = self._frame.join(right, on, how, **options)
            return self.of_lost(result, "join", other)
        frame, mine, theirs = found
        if theirs is None:
            note_frame(other, f"{self.KIND}.join(how={how!r})")
            return self.of_rows(frame, mine, "join", on, how)
        return self.of_joined(frame, [(self, mine), (other, theirs)], "join", on, how)

    def join_asof(self, other: Any, *, on: str | None = None, **options: Any) -> Self:
        """Return each row with the nearest one of another frame, see Polars."""
        right = plain_of(other)
        names = [options.get(key) for key in ("left_on", "right_on", "by", "by_left", "by_right")]
        if not all(name is None or isinstance(name, (str, list, tuple)) for name in [on, *names]):
            return self.of_lost(self._frame.join_asof(right, on=on, **options), "join_asof", other)
        frame = numbered(self._frame).join_asof(numbered(right, OTHER_ROW), on=on, **options)
        parts = [(self, row_numbers(frame)), (other, row_numbers(frame, OTHER_ROW))]
        return self.of_joined(without_numbers(frame), parts, "join_asof", on)

    def vstack(self, other: Any, *, in_place: bool = False) -> Self:
        """Return the rows of two frames, one below the other, see `polars.DataFrame.vstack`.

        Raises:
            CaptureError: It should be done in place.
        """
        if in_place:
            raise refused_in_place("vstack(in_place=True)")
        return self.of_stacked(self._frame.vstack(plain_of(other)), [self, other], "vstack")

    def hstack(self, columns: Any, *, in_place: bool = False) -> Self:
        """Return the frame with more columns beside it, see `polars.DataFrame.hstack`.

        Raises:
            CaptureError: It should be done in place.
        """
        if in_place:
            raise refused_in_place("hstack(in_place=True)")
        every = np.arange(len(self))
        result = self._frame.hstack(plain_of(columns))
        return self.of_joined(result, [(self, every), (columns, every)], "hstack")

    def group_by(self, *by: Any, maintain_order: bool = False, **named: Any) -> TrackedGroups:
        """Return groups of rows, see `polars.DataFrame.group_by`."""
        given = listed(by)
        reads = reads_of([*given, *named.values()])
        if reads.has_context:
            self.note_all("group_by")
        keys = None if reads.kind == "other" else self._frame.select(*given, **named)
        if keys is not None and len(keys) != len(self):  # such as one constant
            keys = None
        groups = self._frame.group_by(*given, maintain_order=maintain_order, **named)
        return TrackedGroups(self, groups, keys, maintain_order=maintain_order)

    def __getitem__(self, key: Any) -> Any:
        result = self._frame[key]
        if not isinstance(result, pl.DataFrame):
            self.note_all("__getitem__", key if isinstance(key, str) else None)
            return result
        rows = rows_of_key(key, len(self))
        if rows is None:
            return self.of_lost(result, "__getitem__")
        return self.of_rows(result, rows, "__getitem__", key)

    def __iter__(self) -> Iterator[pl.Series]:
        self.note_all("__iter__")
        return iter(self._frame)

    def __contains__(self, name: object) -> bool:
        return name in self._frame.columns

    def __bool__(self) -> bool:
        return bool(self._frame)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not hasattr(pl.DataFrame, name):
            raise AttributeError(f"a polars.DataFrame has no attribute {name!r}")
        if name in _IN_PLACE:
            raise refused_in_place(name)
        if name in _FACTS:
            return getattr(self._frame, name)
        attribute = getattr(self._frame.clone(), name)
        if not callable(attribute):
            self.note_all(name)
            return attribute

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._called(name, attribute, args, kwargs)

        return call

    def _called(
        self, name: str, method: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """Return what a method gives that has no verb of its own here."""
        if name in _PICKED:
            result = getattr(numbered(self._frame), name)(*args, **kwargs)
            return self.of_rows(result.drop(ROW), row_numbers(result), name, *args)
        others = [value for value in [*args, *kwargs.values()] if placed_of(value) is not None]
        result = method(*map(plain_of, args), **{k: plain_of(v) for k, v in kwargs.items()})
        if not isinstance(result, pl.DataFrame):
            for frame in (self, *others):
                note_frame(frame, f"{self.KIND}.{name}")
            return self._values(result, name)
        if name in _REDUCED:
            return self.of_statistic(result, name, *args)
        if name in _WINDOWED:
            self.note_all(name)
        reads = reads_of(value for value in args if isinstance(value, pl.Expr))
        if reads.has_context:
            self.note_all(name)
        if name in (*_SAME_ROWS, *_WINDOWED) and not others and reads.kind != "other":
            return self.of_all_rows(result, name, *args)
        return self.of_lost(result, name, *others)

    def _values(self, result: Any, name: str) -> Any:
        """Return lists and dicts of frames with their rows lost, other values as they are."""
        if isinstance(result, list) and result and isinstance(result[0], pl.DataFrame):
            return [self.of_lost(frame, name) for frame in result]
        if isinstance(result, dict) and any(isinstance(v, pl.DataFrame) for v in result.values()):
            return {key: self.of_lost(frame, name) for key, frame in result.items()}
        return result

    def _filtered(self, verb: str, predicates: Any, constraints: Any) -> Self:
        predicates = listed(predicates)
        tests = [*tests_of(predicates), *(pl.col(k) == v for k, v in constraints.items())]
        if not tests or any(is_several(test, self._frame) for test in tests):
            return self.of_lost(getattr(self._frame, verb)(*predicates, **constraints), verb)
        reads = reads_of(tests)
        if reads.has_context or reads.kind not in ("row", "constant"):
            self.note_all(verb)
        holds = self._frame.select(pl.all_horizontal(tests).alias(ROW)).to_series()
        if len(holds) == 1:
            holds = holds.new_from_index(0, len(self))
        wanted = holds.fill_null(value=False)
        kept = wanted if verb == "filter" else ~wanted
        rows = np.flatnonzero(kept.to_numpy())
        return self.of_rows(self._frame.filter(kept), rows, verb, *predicates)

    def _computed(self, result: pl.DataFrame, reads: Reads, verb: str, exprs: Any) -> Self:
        if reads.kind == "other":
            return self.of_lost(result, verb)
        if reads.has_context or reads.kind == "scalar":
            self.note_all(verb)
        return self.of_all_rows(result, verb, *exprs)

    def _extremes(self, verb: str, k: int, by: Any, reverse: Any) -> Self:
        keys = hidden_keys(self._frame, listed([by]))
        frame = numbered(self._frame).hstack(keys)
        found = getattr(frame, verb)(k, by=keys.columns, reverse=reverse)
        self.note_all(verb)
        return self.of_rows(found.select(self._frame.columns), row_numbers(found), verb, k, by)

    def _names(self, columns: Any) -> list[str]:
        return self._frame.columns if columns is None else self._frame.select(columns).columns
