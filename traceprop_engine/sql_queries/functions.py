"""What DuckDB knows of the functions that a query calls."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import duckdb

from traceprop_engine.errors import UnsupportedSqlError

_CATALOG = """
    SELECT function_name, function_type, stability, internal, macro_definition
    FROM duckdb_functions()
    WHERE function_type NOT IN ('table', 'pragma') AND (NOT internal OR ?)
"""
_REFUSED = {
    "current_query": "the text of the query",
    "stats": "how DuckDB plans the query",
    "vector_type": "how DuckDB runs the query",
    "nextval": "a sequence, which it changes",
    "setval": "a sequence, which it changes",
    "currval": "a sequence, which others change",
}
_TIMELESS = ("scalar", "CONSISTENT")
# DuckDB says that these are the same at any time, and reads a clock for them.
_CLOCKS = frozenset({"age", "current_localtime", "current_localtimestamp"})
_CALLS = re.compile(r"(\w+)\s*\(")


@dataclass(frozen=True)
class Functions:
    """Names of functions, in lower case.

    Attributes:
        known: Those that DuckDB brings.
        aggregates: Those that make one value of many rows, macros that call one among them.
        volatile: Those whose value may differ at each call.
        macros: Macros that were added to the connection.
        timeless: Those whose value depends on nothing but their arguments.
    """

    known: frozenset[str]
    aggregates: frozenset[str]
    volatile: frozenset[str]
    macros: frozenset[str]
    timeless: frozenset[str]

    def is_unstable(self, name: str) -> bool:
        """Say whether calling a function twice on the same rows may give two results."""
        name = name.lower()
        return name in self.volatile or name in self.aggregates or name not in self.known

    def is_timeless(self, name: str) -> bool:
        """Say whether a function gives the same at any time and on any connection."""
        return name.lower() in self.timeless


def functions_of(connection: duckdb.DuckDBPyConnection, *, is_ours: bool) -> Functions:
    """Return the functions of a connection.

    Args:
        connection: Where the query will run.
        is_ours: Whether nobody can have added a function to it.
    """
    built_in = _built_in()
    if is_ours:
        return built_in
    added = connection.execute(_CATALOG, [False]).fetchall()
    macros = frozenset(row[0].lower() for row in added if row[1] in ("macro", "table_macro"))
    foreign = frozenset(row[0].lower() for row in added)
    return Functions(
        built_in.known - foreign,
        built_in.aggregates | {row[0].lower() for row in added if row[1] == "aggregate"},
        built_in.volatile,
        macros,
        frozenset(),
    )


def require_followed(functions: Functions, names: Iterable[str]) -> None:
    """Refuse functions of something else than their arguments.

    Those are macros of the user, which may read tables that nobody sees, and functions of the text
    of a query or of what the database counts, whose value differs in a query with row numbers.

    Raises:
        UnsupportedSqlError: One is called.
    """
    for name in names:
        if name.lower() in _REFUSED:
            raise UnsupportedSqlError(
                f"{name}(), the value of {_REFUSED[name.lower()]}",
                "leave it out, or add its value as a column",
            )
        if name.lower() in functions.macros:
            raise UnsupportedSqlError(f"the macro {name!r}", "write its definition into the query")


@cache
def _built_in() -> Functions:
    """Return what a fresh DuckDB knows; one release has one answer."""
    with duckdb.connect() as connection:
        rows = connection.execute(_CATALOG, [True]).fetchall()
    aggregates = {row[0].lower() for row in rows if row[1] == "aggregate"}
    return Functions(
        frozenset(row[0].lower() for row in rows),
        frozenset(aggregates | _macros_that_call(aggregates, rows)),
        frozenset(row[0].lower() for row in rows if row[2] == "VOLATILE"),
        frozenset(),
        frozenset(row[0].lower() for row in rows if row[1:3] == _TIMELESS)
        - {row[0].lower() for row in rows if row[1:3] != _TIMELESS}
        - _CLOCKS,
    )


def _macros_that_call(aggregates: set[str], rows: list[Any]) -> set[str]:
    """Return the macros that are made of aggregates, or of macros that are."""
    calls = {
        row[0].lower(): {call.lower() for call in _CALLS.findall(json.dumps(row[4]))}
        for row in rows
        if row[1] == "macro"
    }
    found: set[str] = set()
    for _ in calls:
        more = {name for name, called in calls.items() if called & (aggregates | found)}
        if more == found:
            break
        found = more
    return found
