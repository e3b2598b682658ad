"""Which table every name of a query means, before anything is rewritten.

Every common table expression gets a name of its own, so that none shadows another, and those of the
query itself are lifted out. What cannot be followed is refused here, by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from traceprop_engine.errors import SqlTableError, UnsupportedSqlError
from traceprop_engine.sql_queries.syntax import PREFIX, Tree, is_query

_ROWLESS_FUNCTIONS = frozenset({"unnest", "generate_series", "range"})
_REFUSED_TABLES = {
    "PIVOT": ("PIVOT and UNPIVOT", "write it as GROUP BY with FILTER, or as UNION ALL"),
    "SHOW_REF": ("DESCRIBE, SHOW and SUMMARIZE", "write the aggregates out"),
}
_REFUSED_QUERIES = {
    "RECURSIVE_CTE_NODE": ("a recursive WITH", "unroll it, or run it beside and pass its result"),
}
_TABLES = frozenset({"BASE_TABLE", "JOIN", "SUBQUERY", "EMPTY", "EXPRESSION_LIST"})
_JOIN_TYPES = frozenset({"INNER", "LEFT", "RIGHT", "FULL", "OUTER", "SEMI", "ANTI"})
_JOIN_KINDS = frozenset({"REGULAR", "NATURAL", "CROSS", "POSITIONAL", "ASOF"})
_QUERIES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE"})

Scope = Mapping[str, str]
"""The name that each common table expression in sight has got, by its lower-case name."""


@dataclass(frozen=True)
class Cte:
    """A common table expression that was lifted out.

    Attributes:
        node: Its query.
        value: Its entry as DuckDB wrote it, with column names and whether to materialise it.
    """

    node: Tree
    value: Tree


@dataclass(frozen=True)
class Resolved:
    """A query without common table expressions of its own.

    Attributes:
        node: The query.
        ctes: The expressions that it names, by their new names, each after those that it uses.
    """

    node: Tree
    ctes: dict[str, Cte]


def resolved(node: Tree, tables: Mapping[str, str]) -> Resolved:
    """Return a query in which every table name is an input or a lifted expression.

    Args:
        node: The query; it is changed.
        tables: The inputs: the name of each, by its lower-case name.

    Raises:
        SqlTableError: A name is neither.
        UnsupportedSqlError: The query has a shape whose rows cannot be followed.
    """
    resolver = _Resolver(tables)
    resolver.query(node, {}, lift=True)
    return Resolved(node, resolver.ctes)


@dataclass
class _Resolver:
    tables: Mapping[str, str]
    ctes: dict[str, Cte] = field(default_factory=dict)
    _count: int = 0

    def query(self, node: Tree, scope: Scope, *, lift: bool) -> None:
        """Resolve a query; those of an expression keep their common table expressions."""
        _refuse(node["type"], _QUERIES, _REFUSED_QUERIES, "query")
        for entry in node["cte_map"]["map"]:
            scope = {**scope, entry["key"].lower(): self._cte(entry, scope, lift=lift)}
        if lift:
            node["cte_map"] = {"map": list[Tree]()}
        for key, value in node.items():
            if key != "cte_map":
                self._visit(value, scope, lift=lift)

    def _cte(self, entry: Tree, scope: Scope, *, lift: bool) -> str:
        value = entry["value"]
        query = value["query_node"] if "query_node" in value else value["query"]["node"]
        self.query(query, scope, lift=lift)
        name = f"{PREFIX}cte_{self._count}"
        self._count += 1
        entry["key"] = name
        if lift:
            self.ctes[name] = Cte(query, value)
        return name

    def _visit(self, value: Any, scope: Scope, *, lift: bool) -> None:
        if isinstance(value, list):
            for each in value:
                self._visit(each, scope, lift=lift)
        elif is_query(value):
            self.query(value, scope, lift=lift)
        elif isinstance(value, dict):
            # An expression has a class; a table of a FROM clause has an alias and none.
            if "alias" in value and "sample" in value and "class" not in value:
                self._table(value, scope)
            inner = lift and value.get("class") != "SUBQUERY"
            for each in value.values():
                self._visit(each, scope, lift=inner)

    def _table(self, table: Tree, scope: Scope) -> None:
        kind = table["type"]
        if kind == "TABLE_FUNCTION":
            _require_rowless(table["function"]["function_name"])
        else:
            _refuse(kind, _TABLES, _REFUSED_TABLES, "table")
        if kind == "BASE_TABLE":
            self._base_table(table, scope)
        if kind == "JOIN":
            _require_known_join(table)

    def _base_table(self, table: Tree, scope: Scope) -> None:
        name = table["table_name"]
        table["alias"] = table["alias"] or name
        if table["schema_name"] or table["catalog_name"]:
            parts = (table["catalog_name"], table["schema_name"], name)
            raise SqlTableError.unknown(".".join(each for each in parts if each), self._known())
        if table.get("at_clause"):
            raise UnsupportedSqlError("AT (a version of a table)", "pass that version as a table")
        found = scope.get(name.lower()) or self.tables.get(name.lower())
        if found is None:
            raise SqlTableError.unknown(name, self._known())
        rename_table(table, found)

    def _known(self) -> list[str]:
        return list(self.tables.values())


def rename_table(table: Tree, name: str) -> None:
    """Make a reference to a table one to another; its alias stays."""
    table["table_name"] = name
    if "qualified_name" in table:
        table["qualified_name"] = {"path": [name]}


def _require_rowless(function: str) -> None:
    if function.lower() not in _ROWLESS_FUNCTIONS:
        raise UnsupportedSqlError(
            f"the table function {function!r}", "read its rows first and pass them as a table"
        )


def _require_known_join(table: Tree) -> None:
    name = f"{table['ref_type']} {table['join_type']} JOIN"
    if table["join_type"] not in _JOIN_TYPES or table["ref_type"] not in _JOIN_KINDS:
        raise UnsupportedSqlError(f"a {name}", "use another kind of join")
    if table.get("ranking_expression") is not None:
        raise UnsupportedSqlError("a NEAREST join", "use an ASOF join")
    if table["alias"]:
        raise UnsupportedSqlError("a name of a join", "name the tables of the join")


def _refuse(
    kind: str, known: frozenset[str], refused: Mapping[str, tuple[str, str]], what: str
) -> None:
    if kind not in known:
        raise UnsupportedSqlError(
            *refused.get(kind, (f"a {what} of kind {kind}", "write it in another way"))
        )
