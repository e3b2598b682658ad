"""Rows of a table chosen by a condition that a person types, such as ``id = 7``.

The condition is an expression of DuckDB over the columns of the table, and nothing more: it runs
on a private database in memory that can reach no file, no network and no other data.
"""

import re
from difflib import get_close_matches

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from traceprop_engine.errors import RowPredicateError

_SEALED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": False,
    "python_enable_replacements": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "lock_configuration": True,
}
_BY_NUMBER = "choose the row by its number"
_UNKNOWN_COLUMN = re.compile(r'Referenced column "(.*)" not found')


def rows_where(frame: pd.DataFrame, predicate: str) -> npt.NDArray[np.int64]:
    """Return the numbers of the rows for which a condition holds, ascending.

    Args:
        frame: The table; named levels of its index count as columns.
        predicate: A boolean expression of DuckDB, such as ``"id = 7"`` or ``"name = 'Ann'"``. A
            row for which it is null does not count.

    Raises:
        RowPredicateError: It is no boolean expression over the columns of the table.

    Example:
        >>> rows_where(pd.DataFrame({"id": [7, 8, 7]}), "id = 7")
        array([0, 2])
    """
    table = _to_arrow(frame, predicate)
    row = _free_name(table.column_names)
    numbered = table.append_column(row, pa.array(np.arange(len(frame), dtype=np.int64)))
    try:
        condition = duckdb.SQLExpression(predicate)
        with duckdb.connect(":memory:", config=_SEALED) as connection:
            relation = connection.from_arrow(numbered)
            kinds = [str(kind) for kind in relation.select(condition).types]
            if kinds != ["BOOLEAN"]:
                raise RowPredicateError(predicate, _not_boolean(kinds), "write it like id = 7")
            chosen = relation.filter(condition).select(duckdb.ColumnExpression(row))
            return np.sort(chosen.fetchnumpy()[row]).astype(np.int64)
    except duckdb.Error as error:
        raise _refusal(predicate, str(error), table.column_names) from error


def _to_arrow(frame: pd.DataFrame, predicate: str) -> pa.Table:
    levels = [name for name in frame.index.names if name is not None and name not in frame.columns]
    plain = frame.reset_index(levels) if levels else frame
    _refuse_twins([str(name) for name in plain.columns], predicate)
    try:
        return pa.Table.from_pandas(plain, preserve_index=False)
    except pa.ArrowException as error:
        reason = f"the table holds values of mixed kinds ({str(error).splitlines()[0]})"
        raise RowPredicateError(predicate, reason, _BY_NUMBER) from error


def _refuse_twins(columns: list[str], predicate: str) -> None:
    """DuckDB does not tell upper from lower case, so it would quietly take one of two columns."""
    lowered = [column.lower() for column in columns]
    twins = [column for column in columns if lowered.count(column.lower()) > 1]
    if twins:
        reason = f"the columns {', '.join(map(repr, twins))} differ in case only, or not at all"
        raise RowPredicateError(predicate, reason, _BY_NUMBER)


def _free_name(taken: list[str]) -> str:
    name = "row"
    while name in {column.lower() for column in taken}:
        name = f"{name}_"
    return name


def _not_boolean(kinds: list[str]) -> str:
    if len(kinds) != 1:
        return "it gives several values for a row where one yes or no is needed"
    return f"it is of type {kinds[0].strip(chr(34))} and not a yes or no"


def _refusal(predicate: str, message: str, columns: list[str]) -> RowPredicateError:
    unknown = _UNKNOWN_COLUMN.search(message)
    if unknown is None:
        reason = message.strip().splitlines()[0].rstrip(".")
        return RowPredicateError(predicate, reason, "write it like id = 7 or name = 'Ann'")
    near = get_close_matches(unknown[1], columns, n=3) or columns[:8]
    named = ", ".join(map(repr, near))
    way_out = f"did you mean {named}? Text stands in single quotes, like name = 'Ann'"
    return RowPredicateError(predicate, f"there is no column {unknown[1]!r}", way_out)
