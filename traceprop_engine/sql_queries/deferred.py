"""Second looks at the rows of a grouping that wait until somebody asks for them.

Which group a row went into is found by looking at the rows once more. Where that look needs nothing
but some columns of one table, and gives the same at any time, those columns are kept instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from traceprop_engine.errors import SqlTraceError
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.sql_queries.functions import Functions
from traceprop_engine.sql_queries.inputs import SqlTable, numbered
from traceprop_engine.sql_queries.lookup import group_codes, group_map
from traceprop_engine.sql_queries.syntax import Syntax, Tree, walk
from traceprop_engine.sql_queries.traced import Input, Parents

_TIMELESS = frozenset(
    {"COLUMN_REF", "CONSTANT", "COMPARISON", "CONJUNCTION", "BETWEEN", "OPERATOR", "FUNCTION"}
)
_NUMPY_KINDS = "iufbM"
_ARROW_KINDS = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_boolean,
    pa.types.is_string,
    pa.types.is_large_string,
)


@dataclass(frozen=True)
class Deferred:
    """A second look that waits.

    Attributes:
        rows: A query of the key and the number of each row.
        columns: What it reads, as it was when the query ran.
        source: The number of the table among the inputs.
        input: The table.
    """

    rows: Tree
    columns: SqlTable
    source: int
    input: Input

    def parents(self, groups: pa.Table) -> Parents:
        """Return how groups, with their keys and counts, follow from the rows.

        Raises:
            SqlTraceError: The rows are not those that were grouped.
        """
        keys, members = self._looked_at()
        codes = group_codes(keys, groups.column(0), groups.column(1).to_numpy())
        if codes is None:
            raise SqlTraceError("its groups have other rows when they are looked at again")
        if members is None:
            row_map = RowMap.groups(codes, groups.num_rows)
        else:
            row_map = group_map(codes, members, groups.num_rows, self.input.n_rows)
        return ((self.source, row_map),)

    def _looked_at(self) -> tuple[pa.ChunkedArray, pa.ChunkedArray | None]:
        """Return the key and the number of each row; no numbers if they are just counted."""
        whole = self._whole_key()
        if whole is not None:
            return whole, None
        with duckdb.connect(config={"threads": 1}) as connection:
            connection.register(self.input.table, numbered(self.columns))
            rows = connection.sql(Syntax(connection).text(self.rows)).to_arrow_table()
        return rows.column(0), rows.column(1)

    def _whole_key(self) -> pa.ChunkedArray | None:
        """Return the key of every row if it is a column of whole numbers, which needs no query."""
        if self.rows["where_clause"] or self.rows["select_list"][0]["class"] != "COLUMN_REF":
            return None
        if isinstance(self.columns, pa.Table):
            return self.columns.column(0)
        return pa.chunked_array([self.columns.iloc[:, 0].to_numpy()])


def deferred(
    rows: Tree, source: int, table: Input, values: SqlTable, functions: Functions
) -> Deferred | None:
    """Return a second look that may wait, with the columns that it needs.

    Args:
        rows: A query of the key and the number of each row of one table.
        source: The number of the table.
        table: The table.
        values: What is in it now.
        functions: What is known of the functions that are called.

    Returns:
        ``None`` if it reads or calls something that may be another one later.
    """
    named = rows["from_table"]["column_name_alias"]
    expressions = [rows["select_list"][0], rows["where_clause"]]
    places = _places(expressions, rows["from_table"]["alias"], named[:-1], functions)
    if not places or not _is_kept(values, places):
        return None
    reference = {"column_name_alias": [*(named[at] for at in places), named[-1]]}
    changed = rows | {"from_table": rows["from_table"] | reference}
    return Deferred(changed, _snapshot(values, places), source, table)


def _places(
    expressions: Sequence[Tree | None], alias: str, names: Sequence[str], functions: Functions
) -> list[int]:
    """Return the places of the columns that are looked at; none if anything else is."""
    known = {name.lower(): at for at, name in enumerate(names)}
    found: set[int] = set()
    for each in walk(list(expressions)):
        if each.get("class", "CONSTANT") not in _TIMELESS:
            return []
        if each.get("class") == "FUNCTION" and not functions.is_timeless(each["function_name"]):
            return []
        if each.get("class") == "COLUMN_REF":
            *table, name = [part.lower() for part in each["column_names"]]
            if name not in known or table not in ([], [alias.lower()]):
                return []
            found.add(known[name])
    return sorted(found)


def _is_kept(values: SqlTable, places: list[int]) -> bool:
    """Say whether a snapshot keeps the values of columns, which objects could change."""
    if isinstance(values, pa.Table):
        return all(_is_arrow_kept(values.schema.field(at).type) for at in places)
    return all(_is_pandas_kept(values.iloc[:, at]) for at in places)


def _is_arrow_kept(kind: pa.DataType) -> bool:
    return any(is_kind(kind) for is_kind in _ARROW_KINDS)


def _is_pandas_kept(column: pd.Series) -> bool:
    kind = column.dtype
    if isinstance(kind, np.dtype):
        return kind.kind in _NUMPY_KINDS
    return isinstance(kind, pd.StringDtype) and getattr(kind, "storage", "") == "pyarrow"


def _snapshot(values: SqlTable, places: list[int]) -> SqlTable:
    """Return columns that nobody can change, not even through arrays that share their memory."""
    if isinstance(values, pa.Table):
        names = [str(at) for at in places]
        return pa.table([_copied(values.column(at)) for at in places], names=names)
    return values.iloc[:, places].copy()


def _copied(column: pa.ChunkedArray) -> pa.ChunkedArray:
    # One array alone would be returned as it is.
    pieces = [*column.chunks, pa.array([], type=column.type)]
    return pa.chunked_array([pa.concat_arrays(pieces)], type=column.type)
