"""A query run once, with its result and the lineage of every row of it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import cast

import duckdb
import pyarrow as pa

from traceprop_engine.errors import SqlQueryError, UnsupportedSqlError
from traceprop_engine.lineage.captured import CapturedLineage, ContextDependency, Op
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.sql_queries.functions import Functions, functions_of, require_followed
from traceprop_engine.sql_queries.inputs import SqlTable, registered
from traceprop_engine.sql_queries.maps import input_maps, no_rows
from traceprop_engine.sql_queries.resolve import resolved
from traceprop_engine.sql_queries.rewrite import Rewriter
from traceprop_engine.sql_queries.run import Run
from traceprop_engine.sql_queries.syntax import PREFIX, Syntax, Tree, walk
from traceprop_engine.sql_queries.traced import Grouped, Input, Parents

THREADS = 1
"""Threads of a connection that `trace_query` opens: with one, equal queries give equal results."""


class SqlResult:
    """The result of a query, and where its rows come from.

    Attributes:
        table: What DuckDB returns for the query.
    """

    def __init__(self, table: pa.Table, decode: Callable[[], CapturedLineage]) -> None:
        """Keep a result with what says its lineage when it is first asked for."""
        self.table = table
        self._decode: Callable[[], CapturedLineage] | None = decode
        self._lineage: CapturedLineage | None = None

    @property
    def lineage(self) -> CapturedLineage:
        """One map for each table that was passed, as it was when the query ran.

        Raises:
            SqlTraceError: Rows that were grouped cannot be found again.
        """
        # The order matters to other threads: what says the lineage is let go once it is said.
        decode = self._decode
        if decode is not None:
            self._lineage = decode()
            self._decode = None
        return cast("CapturedLineage", self._lineage)


def trace_query(
    query: str,
    tables: Mapping[str, SqlTable],
    *,
    connection: duckdb.DuckDBPyConnection | None = None,
) -> SqlResult:
    """Run a SELECT of DuckDB and return its result with the lineage of every row.

    The query runs once, with row numbers in hidden columns, so that result and lineage belong
    together whatever it computes. Rows that went into groups are looked at a second time where
    that must give the same, to find each one's group by its key; the groups are counted, and if a
    count differs they are made again with lists of their rows. Where the second look needs some
    columns of one table and no more, it waits, on a copy of these columns, until the lineage is
    asked for: tables may change meanwhile. Without ORDER BY the order of the result is that of
    the table that is returned, which may differ from DuckDB's own.

    The lineage is exact: a row that was filtered and joined comes from one row of each table, a
    group from all of its rows, DISTINCT and UNION from all rows that are equal. A window
    function leaves a row its own parent. Whatever else decides on rows or values, such as a
    window, LIMIT, HAVING, IN or a scalar subquery, is a context over all rows of the tables
    that it may look at. A clause that cannot be followed is refused.

    Args:
        query: One SELECT statement; it may read nothing but the tables.
        tables: The inputs by the names that the query uses, upper or lower case.
        connection: Whose database to use, with its global settings, its types and functions; it
            is left as it is, and tables that it holds cannot be read. The query runs in a session
            beside it: variables, what was set for its session alone (SET SESSION, TimeZone) and
            what it has not committed do not count. Without one, a fresh DuckDB in memory with
            `THREADS` threads, whose row order and sums are reproducible.

    Raises:
        SqlStatementError: The text is not one SELECT statement.
        SqlTableError: The query reads something that was not passed, or a table cannot be an input.
        SqlQueryError: DuckDB refuses the query, or it fails while it runs.
        UnsupportedSqlError: The rows of a clause cannot be followed.
        SqlTraceError: The traced query would not give the result of the plain one.

    Example:
        >>> import pandas as pd
        >>> visits = pd.DataFrame({"patient": [1, 1, 2], "dose": [3.0, None, 5.0]})
        >>> found = trace_query(
        ...     "SELECT patient, sum(dose) AS dose FROM visits GROUP BY ALL ORDER BY ALL",
        ...     {"visits": visits},
        ... )
        >>> found.lineage.maps["visits"].backward([0])
        array([0, 1])
    """
    with _apart(connection) as own:
        syntax = Syntax(own)
        inputs = registered(own, tables)
        functions = functions_of(own, is_ours=connection is None)
        node = syntax.parse(query)
        _require_traceable(query, node, functions)
        tree = resolved(node, {each.name.lower(): each.name for each in inputs})
        plain = _bound(own, query)
        run = Run(own, syntax, functions, inputs, tables if connection is None else {})
        traced = Rewriter(run, tree).traced(tree.node)
        table, parents = run.result(traced, plain.types)
    said = _Said(inputs, tuple(run.groups), tuple(run.contexts), tuple(run.ops), parents)
    return SqlResult(table.rename_columns(plain.columns), partial(said.lineage, table.num_rows))


@contextmanager
def _apart(
    connection: duckdb.DuckDBPyConnection | None,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection that nobody else uses, in one transaction: of one moment in time."""
    if connection is None:
        own = duckdb.connect(config={"threads": THREADS, "python_enable_replacements": False})
    else:
        own = connection.cursor()
    with own:
        own.execute("BEGIN TRANSACTION")
        yield own
        own.execute("ROLLBACK")


def _require_traceable(query: str, node: Tree, functions: Functions) -> None:
    """Refuse names that are ours, macros, and functions of the query itself.

    Raises:
        UnsupportedSqlError: There is one.
    """
    if PREFIX in query.lower():
        raise UnsupportedSqlError(f"names that begin with {PREFIX!r}", "use other names")
    called = [each["function_name"] for each in walk(node) if "function_name" in each]
    require_followed(functions, called)


@dataclass(frozen=True)
class _Plain:
    """The columns of the query as the user wrote it."""

    columns: list[str]
    types: list[str]


def _bound(connection: duckdb.DuckDBPyConnection, query: str) -> _Plain:
    """Return the columns of a query; it does not run.

    Raises:
        SqlQueryError: DuckDB refuses it.
    """
    try:
        relation = connection.sql(query)
    except duckdb.Error as error:
        raise SqlQueryError(str(error)) from error
    return _Plain(list(relation.columns), [str(each) for each in relation.types])


@dataclass(frozen=True)
class _Said:
    """What a run leaves behind to say the lineage of its result."""

    inputs: tuple[Input, ...]
    groups: tuple[Grouped, ...]
    contexts: tuple[tuple[str, str], ...]
    ops: tuple[Op, ...]
    parents: Callable[[], Parents]

    def lineage(self, n_rows: int) -> CapturedLineage:
        """Return it, of a result of so many rows."""
        n_rows_of = {each.name: each.n_rows for each in self.inputs}
        direct = input_maps(self.parents(), self.inputs, self.groups)
        contexts = tuple(
            ContextDependency(name, statistic, None, _every_row(n_rows_of[name]))
            for name, statistic in self.contexts
        )
        in_context = {each.input for each in contexts}
        maps: dict[str, RowMap] = {}
        for name, n_in in n_rows_of.items():
            if name in direct:
                maps[name] = direct[name]
            elif name in in_context:
                maps[name] = RowMap.context(n_rows, range(n_in), n_in)
            else:
                maps[name] = no_rows(n_rows, n_in)
        return CapturedLineage(n_rows, maps, contexts, self.ops)


def _every_row(n_rows: int) -> RowMap:
    return RowMap.window([0], [n_rows], n_rows)
