"""An Arrow table that knows which rows it holds.

The verbs are those of `pyarrow.Table`, and so are their results; what is not understood is computed
all the same, and its rows are visibly lost.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa

from traceprop_engine.errors import CaptureError
from traceprop_engine.frames.followed import FollowedFrame, note_frame, placed_input
from traceprop_engine.frames.hidden_names import OTHER_ROW, ROW, require_free
from traceprop_engine.lineage.carriers import carried, placed_of, plain_of, unmarked
from traceprop_engine.lineage.marks import Mark, Node, Step
from traceprop_engine.lineage.pandas_capture import CaptureSession
from traceprop_engine.lineage.rows import IntArray

_FACTS = [
    "column_names",
    "field",
    "get_total_buffer_size",
    "nbytes",
    "num_columns",
    "num_rows",
    "schema",
    "shape",
    "validate",
]
_SAME_ROWS = [
    "cast",
    "combine_chunks",
    "drop",
    "drop_columns",
    "flatten",
    "remove_column",
    "rename_columns",
    "replace_schema_metadata",
    "select",
    "unify_dictionaries",
]
_WITH_VALUES = ("add_column", "append_column", "set_column")
_PICKED = ("drop_null", "filter", "slice", "sort_by", "take")


class TrackedTable(FollowedFrame):
    """A `pyarrow.Table` that knows which rows of which inputs it holds.

    Example:
        >>> table = track_arrow(pa.table({"dose": [3, None, 5]}), "doses")
        >>> kept = table.drop_null().sort_by([("dose", "descending")])
        >>> kept.to_arrow()["dose"].to_pylist()
        [5, 3]
        >>> kept.__traceprop_placed__()[1].tolist()
        [2, 0]
    """

    KIND = "pyarrow.Table"

    __slots__ = ()

    def to_arrow(self) -> pa.Table:
        """Return the plain table; nobody follows what becomes of it."""
        self.note_all("to_arrow")
        return self._frame

    def join(
        self,
        right_table: Any,
        keys: Any,
        right_keys: Any = None,
        join_type: str = "left outer",
        **options: Any,
    ) -> Self:
        """Return the rows of two tables that match, see `pyarrow.Table.join`."""
        right = _numbered(plain_of(right_table), OTHER_ROW)
        joined = _numbered(self._frame).join(right, keys, right_keys, join_type, **options)
        parts: list[tuple[Any, IntArray]] = []
        for part, name in ((self, ROW), (right_table, OTHER_ROW)):
            if name in joined.column_names:
                parts.append((part, _row_numbers(joined, name)))
            else:
                note_frame(part, f"{self.KIND}.join({join_type})")
        return self.of_joined(_without_numbers(joined), parts, "join", keys, join_type)

    def group_by(self, keys: Any, **options: Any) -> "TrackedTableGroups":
        """Return groups of rows, see `pyarrow.Table.group_by`."""
        return TrackedTableGroups(self, keys, options)

    def column(self, key: Any) -> pa.ChunkedArray:
        """Return a column; nobody follows what becomes of it."""
        self.note_all("column", key if isinstance(key, str) else None)
        return self._frame.column(key)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            rows = np.arange(len(self))[key]
            return self.of_rows(self._frame[key], rows, "__getitem__", key)
        return self.column(key)

    def __eq__(self, other: object) -> bool:
        """Say whether two tables hold the same values, as Arrow does."""
        return bool(self._frame == plain_of(other))

    __hash__: Any = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not hasattr(pa.Table, name):
            raise AttributeError(f"a pyarrow.Table has no attribute {name!r}")
        attribute = getattr(self._frame, name)
        if name in _FACTS:
            return attribute
        if not callable(attribute):
            self.note_all(name)
            return attribute

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._called(name, attribute, args, kwargs)

        return call

    def _called(
        self, name: str, method: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """Return what a method gives that has no verb of its own here."""
        if name in _PICKED:
            result = getattr(_numbered(self._frame), name)(*args, **kwargs)
            return self.of_rows(_without_numbers(result), _row_numbers(result), name, *args)
        others = [value for value in [*args, *kwargs.values()] if placed_of(value) is not None]
        result = method(*map(plain_of, args), **{k: plain_of(v) for k, v in kwargs.items()})
        if not isinstance(result, pa.Table):
            for table in (self, *others):
                note_frame(table, f"{self.KIND}.{name}")
            return result
        if name in _SAME_ROWS:
            return self.of_all_rows(result, name, *args)
        if name in _WITH_VALUES:
            return self.of_all_rows(result, name, *args[:-1])
        return self.of_lost(result, name, *others)


class TrackedTableGroups:
    """What `TrackedTable.group_by` gives."""

    __slots__ = ("_keys", "_options", "_tracked")

    def __init__(self, tracked: TrackedTable, keys: Any, options: Mapping[str, Any]) -> None:
        """Hold the groups of a tracked table."""
        self._tracked = tracked
        self._keys = keys
        self._options = options

    def aggregate(self, aggregations: Sequence[Any]) -> TrackedTable:
        """Return a row for each group, see `pyarrow.TableGroupBy.aggregate`."""
        plain = self._tracked.__traceprop_plain__()
        if not self._keys:  # all rows are one group, and Arrow has no lists of those
            result = plain.group_by(self._keys, **self._options).aggregate(aggregations)
            every = np.zeros(len(plain), dtype=np.int64)
            return self._tracked.of_groups(result, every, "aggregate", ())
        groups = _numbered(plain).group_by(self._keys, **self._options)
        found = groups.aggregate([*aggregations, (ROW, "list")])
        lists = found.column(f"{ROW}_list").combine_chunks()
        codes = np.full(len(plain), -1, dtype=np.int64)
        lengths = lists.value_lengths().to_numpy()
        codes[lists.flatten().to_numpy()] = np.repeat(np.arange(len(found)), lengths)
        result = found.drop_columns([f"{ROW}_list"])
        return self._tracked.of_groups(result, codes, "aggregate", (self._keys,))


def track_arrow(
    table: Any, name: str | None = None, *, session: CaptureSession | None = None
) -> TrackedTable:
    """Return an Arrow table that knows its rows.

    Args:
        table: A `pyarrow.Table` that is a new input; or a followed value, such as a pandas frame of
            an open session or a `TrackedPolars`, whose rows go on.
        name: What lineage calls a new input.
        session: The session of a new input; without it, the graph of the process.

    Raises:
        CaptureError: A new input has no name, or that of other rows, or it is no table.
    """
    placed, plain = placed_of(table), unmarked(table)
    if isinstance(plain, pd.DataFrame):
        plain = pa.Table.from_pandas(plain)
    elif not isinstance(plain, pa.Table) and hasattr(plain, "to_arrow"):
        plain = plain.to_arrow()
    if not isinstance(plain, pa.Table):
        raise CaptureError(
            f"A {type(plain).__name__} is no table that Arrow takes", "give a pyarrow.Table"
        )
    require_free(plain.column_names)
    return TrackedTable(
        plain, placed_input(len(plain), name, session) if placed is None else placed
    )


def concat_arrow(tables: Sequence[pa.Table | TrackedTable], **options: Any) -> TrackedTable:
    """Return what `pyarrow.concat_tables` gives for tables, of which some are tracked.

    Raises:
        CaptureError: There is no table.
    """
    if not tables:
        raise CaptureError("`concat_arrow` got no tables", "give at least one")
    result = pa.concat_tables([plain_of(table) for table in tables], **options)
    return TrackedTable(result, None).of_stacked(result, tables, "concat_tables")


@carried.register(pa.Table)
def _carried_by_arrow(value: Any, node: Node, steps: tuple[Step, ...]) -> TrackedTable:
    every = range(node.n_rows)
    return TrackedTable(value, (Mark(node, every, steps), every))


def _numbered(table: pa.Table, name: str = ROW) -> pa.Table:
    require_free(table.column_names)
    return table.append_column(name, pa.array(np.arange(len(table))))


def _row_numbers(table: pa.Table, name: str = ROW) -> IntArray:
    return table.column(name).fill_null(-1).to_numpy()


def _without_numbers(table: pa.Table) -> pa.Table:
    return table.drop_columns([n for n in (ROW, OTHER_ROW) if n in table.column_names])
