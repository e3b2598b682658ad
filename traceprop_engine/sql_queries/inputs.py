"""The tables of a query: what may be one, and how it gets row numbers."""

from collections.abc import Mapping
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from traceprop_engine.errors import SqlTableError
from traceprop_engine.sql_queries.syntax import PREFIX
from traceprop_engine.sql_queries.traced import Input

_MOST_ROWS = np.iinfo(np.int32).max

SqlTable = pd.DataFrame | pa.Table
"""A table that a query can read."""


def registered(
    connection: duckdb.DuckDBPyConnection, tables: Mapping[str, SqlTable]
) -> tuple[Input, ...]:
    """Make tables known to a connection, by their names and once more with row numbers.

    Raises:
        SqlTableError: A value is no table, or a name is taken or ours.
    """
    names: dict[str, str] = {}
    for name, table in tables.items():
        _require_table(name, table)
        other = names.setdefault(name.lower(), name)
        if other != name:
            raise SqlTableError(
                f"The tables {other!r} and {name!r} have one name in SQL", "rename one of them"
            )
    return tuple(
        _registered(connection, at, name, table) for at, (name, table) in enumerate(tables.items())
    )


def _registered(
    connection: duckdb.DuckDBPyConnection, at: int, name: str, table: SqlTable
) -> Input:
    name_with_rows = f"{PREFIX}input_{at}"
    quoted_name = name.replace('"', '""')
    plain = f"SELECT * EXCLUDE ({PREFIX}row) FROM {name_with_rows}"
    try:
        connection.register(name_with_rows, numbered(table))
        connection.execute(f'CREATE TEMP VIEW "{quoted_name}" AS {plain}')
        columns = tuple(connection.table(name_with_rows).columns[:-1])
    except duckdb.Error as error:
        raise SqlTableError(
            f"DuckDB cannot read the table {name!r} ({str(error).splitlines()[0]})",
            "change the columns that it names",
        ) from error
    return Input(name, name_with_rows, columns, len(table))


def numbered(table: SqlTable) -> SqlTable:
    """Return a table with the number of each row as its last column."""
    rows = np.arange(len(table), dtype=np.int32)
    if isinstance(table, pa.Table):
        return table.append_column(f"{PREFIX}row", pa.array(rows))
    copy = table.copy(deep=False)
    copy[f"{PREFIX}row"] = rows
    return copy


def _require_table(name: str, table: Any) -> None:
    if not isinstance(table, (pd.DataFrame, pa.Table)):
        raise SqlTableError(
            f"The table {name!r} is a {type(table).__name__}",
            "pass a pandas DataFrame or a pyarrow Table",
        )
    if not name or name.lower().startswith(PREFIX):
        raise SqlTableError(f"A table cannot be called {name!r}", "give it another name")
    if isinstance(table, pd.DataFrame) and table.columns.nlevels > 1:
        raise SqlTableError(f"The table {name!r} has columns of several levels", "flatten them")
    for column in table.columns if isinstance(table, pd.DataFrame) else table.column_names:
        if str(column).lower().startswith(PREFIX):
            raise SqlTableError(f"The table {name!r} has a column {column!r}", "rename the column")
    if len(table) > _MOST_ROWS:
        raise SqlTableError(
            f"The table {name!r} has {len(table):,} rows", f"pass at most {_MOST_ROWS:,}"
        )
