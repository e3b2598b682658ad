"""Runs the statements of a traced query and keeps what they say about rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar, cast

import duckdb
import pyarrow as pa

from traceprop_engine.errors import SqlQueryError, SqlTraceError, UnsupportedSqlError
from traceprop_engine.lineage.captured import Op
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.sql_queries.deferred import Deferred, deferred
from traceprop_engine.sql_queries.functions import Functions
from traceprop_engine.sql_queries.inputs import SqlTable
from traceprop_engine.sql_queries.lookup import group_codes, group_map, one_group
from traceprop_engine.sql_queries.maps import list_map, row_maps
from traceprop_engine.sql_queries.movable import ANY, Movable, all_inputs, renamed
from traceprop_engine.sql_queries.resolve import Cte
from traceprop_engine.sql_queries.syntax import PREFIX, Syntax, Tree, walk
from traceprop_engine.sql_queries.traced import Grouped, Hidden, Input, Keyed, Parents, Traced

Found = TypeVar("Found")

_CORRELATED = (
    "a clause that DuckDB binds only in its place (a correlated WITH, grouping or set operation)"
)


@dataclass
class Run:
    """One query on its way: what was stored, what ran, and what the result depends on.

    Attributes:
        connection: Where the query runs; nobody else uses it.
        syntax: Parses and prints on it.
        functions: What is known of its functions.
        inputs: The tables that were passed.
        values: What is in them, where a second look may wait: nothing else decides what it gives.
        ctes: The common table expressions that were traced, by name.
        groups: The stored groupings.
        contexts: Inputs that the whole result depends on, and through what.
        ops: The statements that ran.
    """

    connection: duckdb.DuckDBPyConnection
    syntax: Syntax
    functions: Functions
    inputs: tuple[Input, ...]
    values: Mapping[str, SqlTable]
    ctes: dict[str, Traced] = field(default_factory=dict)
    cte_values: dict[str, Cte] = field(default_factory=dict)
    groups: list[Grouped] = field(default_factory=list)
    contexts: dict[tuple[str, str], None] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    _clauses: list[str] = field(default_factory=list)
    _bound: dict[int, tuple[Tree, duckdb.DuckDBPyRelation]] = field(default_factory=dict)
    _count: int = 0

    def fresh(self, kind: str) -> str:
        """Return a name that nothing has yet."""
        self._count += 1
        return f"{PREFIX}{kind}_{self._count}"

    def ran(self, clause: str) -> None:
        """Write down a clause of the statement that runs next."""
        self._clauses.append(clause)

    def depends(self, reads: frozenset[str], statistic: str) -> None:
        """Write down that the whole result depends on inputs."""
        for each in self.inputs:
            if each.name in reads:
                self.contexts[each.name, statistic] = None

    def n_rows_of(self, source: int) -> int:
        """Return how many rows a source has."""
        if source < len(self.inputs):
            return self.inputs[source].n_rows
        return self.groups[source - len(self.inputs)].n_rows

    def text(self, node: Tree) -> str:
        """Return the text of a query with the common table expressions that it names."""
        needed: dict[str, Traced] = {}
        self._collect(node, needed)
        entries = [
            {"key": name, "value": _with_query(self.cte_values[name].value, each.node)}
            for name, each in needed.items()
        ]
        return self.syntax.text(node | {"cte_map": {"map": entries}})

    def columns(self, node: Tree) -> list[str]:
        """Return the columns of a query; it does not run.

        Raises:
            UnsupportedSqlError: It means nothing out of its place.
        """
        return list(self._relation(node).columns)

    def result(self, traced: Traced, types: list[str]) -> tuple[pa.Table, Callable[[], Parents]]:
        """Run a query whose columns of the user have these types.

        Returns:
            Its result, and what gives the parents of its rows at any later time.

        Raises:
            SqlQueryError: It fails while it runs.
            SqlTraceError: It has other columns.
            UnsupportedSqlError: It cannot carry row numbers.
        """
        relation = self._relation(traced.node)
        n_hidden = len(traced.hidden)
        found = [str(each) for each in relation.types]
        if found[: len(found) - n_hidden] != types:
            raise SqlTraceError(f"its columns are {found}, not {types}")
        table = self._run(relation.to_arrow_table)
        n_user = len(types)
        parents = self._later(traced, table.select(range(n_user, table.num_columns)))
        if parents is None:
            return self.result(cast("Keyed", traced.keyed).with_lists, types)
        self._note_statement(traced.reads, table.num_rows)
        return table.select(range(n_user)), parents

    def _later(self, traced: Traced, hidden: pa.Table) -> Callable[[], Parents] | None:
        """Return what gives the parents of rows; what needs the connection is done now.

        Returns:
            ``None`` if the key of groups does not tell them apart.
        """
        if traced.keyed is None:
            return partial(_parents_of, traced.hidden, hidden, self._n_ins(traced))
        waiting = self._deferred(traced.keyed)
        if waiting is not None:
            return partial(waiting.parents, hidden)
        parents = self._parents_by_key(traced.keyed, hidden)
        return None if parents is None else partial(tuple[tuple[int, RowMap], ...], parents)

    def _deferred(self, keyed: Keyed) -> Deferred | None:
        """Return a second look that may wait, if it is one at a single input."""
        source, table = keyed.sources[0], keyed.rows["from_table"]
        if keyed.is_every_row or source >= len(self.inputs):
            return None
        found = self.inputs[source]
        if table.get("table_name") != found.table or table["sample"]:
            return None
        if found.name not in self.values:
            return None
        values = self.values[found.name]
        return deferred(keyed.rows, source, found, values, self.functions)

    def user_columns(self, traced: Traced) -> list[str]:
        """Return the columns of a traced query without the hidden ones.

        Raises:
            UnsupportedSqlError: It means nothing out of its place.
        """
        columns = self.columns(traced.node)
        return columns[: len(columns) - len(traced.hidden)]

    def renamed(self, traced: Traced, names: list[str]) -> Movable:
        """Return what moves the columns of a query when they get other names.

        Behind LATERAL the names cannot be asked for: what moves one may then move any.
        """
        if not (names and traced.movable):
            return traced.movable
        try:
            return renamed(traced.movable, self.user_columns(traced), names)
        except UnsupportedSqlError:
            return {ANY: all_inputs(traced.movable)}

    def stored(self, traced: Traced) -> Traced:
        """Run a query into a table; return a query of that table, without lists.

        Raises:
            SqlQueryError: It fails while it runs.
            UnsupportedSqlError: It cannot be run apart from the query around it.
        """
        columns = self.user_columns(traced)
        number = self.fresh("row")
        table = self._create(traced, [f"c{at}" for at in range(len(columns))], number)
        hidden = traced.hidden
        if traced.is_grouped:
            found = self._grouped(table, traced, number)
            if found is None and traced.keyed is not None:
                return self.stored(traced.keyed.with_lists)
            hidden = (found,) if found is not None else ()
        node = self.syntax.template(f"SELECT 1 FROM {table}")
        node["select_list"] = [
            *(self.syntax.column(f"c{at}", name) for at, name in enumerate(columns)),
            *(self.syntax.column(each.name, each.name) for each in hidden),
        ]
        return Traced(node, hidden, traced.reads, traced.movable)

    def _create(self, traced: Traced, columns: list[str], number: str) -> str:
        """Run a query into a table that also has the number of each row, and return its name."""
        table = self.fresh("stored")
        names = ", ".join([*columns, *traced.hidden_names(), number])
        text = (
            f"CREATE TEMP TABLE {table}({names}) AS "
            f"SELECT *, CAST(row_number() OVER () - 1 AS INTEGER) FROM ({self.text(traced.node)})"
        )
        self._run(lambda: self.connection.execute(text).fetchall())
        return table

    def _grouped(self, table: str, traced: Traced, number: str) -> Hidden | None:
        """Keep how stored rows follow from others; return the column of their numbers."""
        names = ", ".join(traced.hidden_names())
        found = self._fetched(f"SELECT {names} FROM {table} ORDER BY {number}")
        parents = self._parents(traced, found)
        if parents is None:
            return None
        self._note_statement(traced.reads, found.num_rows)
        self.groups.append(Grouped(found.num_rows, parents))
        return Hidden(number, len(self.inputs) + len(self.groups) - 1)

    def _parents(self, traced: Traced, hidden: pa.Table) -> Parents | None:
        """Return how rows follow from others, from their hidden columns.

        Returns:
            ``None`` if the key of groups does not tell them apart.
        """
        if traced.keyed is not None:
            return self._parents_by_key(traced.keyed, hidden)
        return _parents_of(traced.hidden, hidden, self._n_ins(traced))

    def _n_ins(self, traced: Traced) -> dict[int, int]:
        """Return how many rows each source of a query has."""
        return {each.source: self.n_rows_of(each.source) for each in traced.hidden}

    def _parents_by_key(self, keyed: Keyed, hidden: pa.Table) -> Parents | None:
        counts = hidden.column(1).to_numpy()
        if keyed.is_every_row:
            (source,) = keyed.sources
            whole = one_group(self.n_rows_of(source), counts)
            return None if whole is None else ((source, RowMap.groups(whole, len(counts))),)
        rows = self._run(self._relation(keyed.rows).to_arrow_table)
        if keyed.has_key:
            codes = group_codes(rows.column(0), hidden.column(0), counts)
        else:
            codes = one_group(rows.num_rows, counts)
        if codes is None:
            return None
        n_groups = hidden.num_rows
        return tuple(
            (source, group_map(codes, rows.column(at + 1), n_groups, self.n_rows_of(source)))
            for at, source in enumerate(keyed.sources)
        )

    def types(self, node: Tree) -> list[str]:
        """Return the types of the columns of a query; it does not run."""
        return [str(each) for each in self._relation(node).types]

    def _collect(self, node: Tree, needed: dict[str, Traced]) -> None:
        for each in walk(node):
            name = each.get("table_name")
            if each.get("type") == "BASE_TABLE" and name in self.ctes and name not in needed:
                self._collect(self.ctes[name].node, needed)
                needed[name] = self.ctes[name]

    def _relation(self, node: Tree) -> duckdb.DuckDBPyRelation:
        """Return a query as DuckDB has bound it; it has not run. A query is bound once."""
        known = self._bound.get(id(node))
        if known is None:
            text = self.text(node)
            known = (node, self._run(lambda: self.connection.sql(text)))
            self._bound[id(node)] = known
        return known[1]

    def _fetched(self, text: str) -> pa.Table:
        return self._run(lambda: self.connection.sql(text).to_arrow_table())

    def _run(self, action: Callable[[], Found]) -> Found:
        try:
            return action()
        except duckdb.BinderException as error:
            raise _unsupported(error) from error
        except duckdb.Error as error:
            raise SqlQueryError(str(error)) from error

    def _note_statement(self, reads: frozenset[str], n_rows: int) -> None:
        read = [each for each in self.inputs if each.name in reads]
        self.ops.append(
            Op(
                "SELECT",
                ", ".join(self._clauses),
                tuple(each.name for each in read),
                tuple(each.n_rows for each in read),
                n_rows,
            )
        )
        self._clauses.clear()


def _parents_of(hidden: tuple[Hidden, ...], found: pa.Table, n_ins: Mapping[int, int]) -> Parents:
    """Return how rows follow from others, from the values of their hidden columns."""
    columns = [(each.source, found.column(at)) for at, each in enumerate(hidden)]
    if any(each.kind != "row" for each in hidden):
        return tuple((source, list_map(each, n_ins[source])) for source, each in columns)
    return row_maps(columns, n_ins)


def _unsupported(error: duckdb.Error) -> UnsupportedSqlError:
    first_line = str(error).strip().splitlines()[0]
    return UnsupportedSqlError(
        f"this query with row numbers in it: {_CORRELATED} ({first_line})",
        "move the clause into a query of its own and pass its result as a table",
    )


def _with_query(value: Tree, node: Tree) -> dict[str, Any]:
    key = "query_node" if "query_node" in value else "query"
    return value | {key: node if key == "query_node" else {"node": node}}
