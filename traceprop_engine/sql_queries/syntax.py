"""The syntax tree of a query, as DuckDB's own parser gives it, and back to text.

Nothing but DuckDB parses and prints, so that what runs is what the user wrote: every text is parsed
once more, and refused unless it gives the tree that it was printed from.
"""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import duckdb

from traceprop_engine.errors import SqlQueryError, SqlStatementError, SqlTraceError

Tree = dict[str, Any]
"""A node of the syntax tree: a query, a table of a FROM clause, or an expression."""

PREFIX = "__tp_"
"""How every name begins that is ours and not the user's."""

_SELECT = "SELECT_NODE"
_COLUMN = f"{PREFIX}c"
_ITEM = f"SELECT {_COLUMN}"
_LIST = f"SELECT list({_COLUMN})"
_STAR = f"SELECT * FROM {PREFIX}t"
_DERIVED = f"SELECT 1 FROM (SELECT 2) AS {PREFIX}q"
_FIXED = (
    _ITEM,
    _LIST,
    _STAR,
    _DERIVED,
    "SELECT 1",
    "SELECT 0",
    "SELECT count(*)",
    "SELECT hash(0)",
    "SELECT CAST(NULL AS INTEGER)",
    "SELECT 1 UNION ALL SELECT 2",
)
_PARSE = "SELECT json_serialize_sql(?::VARCHAR, skip_default := false)"
_PRINT = "SELECT json_deserialize_sql(?::JSON)"


class Syntax:
    """Parses and prints queries on a connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._templates: dict[str, str] = {}

    def parse(self, query: str) -> Tree:
        """Return the tree of a text that is one SELECT statement.

        Raises:
            SqlStatementError: It is something else, several statements, or none.
            SqlQueryError: It is no SQL.
        """
        found = self._parsed(query)
        if found.get("error"):
            if found.get("error_type") == "parser":
                raise SqlQueryError(f"Parser Error: {found['error_message']}")
            raise SqlStatementError("a statement that is no SELECT (or a PIVOT statement)")
        statements = found["statements"]
        if len(statements) != 1:
            raise SqlStatementError(f"{len(statements)} statements")
        return statements[0]["node"]

    def text(self, node: Tree) -> str:
        """Return the SQL text of a query.

        Raises:
            SqlTraceError: The text says something else than the tree.
        """
        statement = {"error": False, "statements": [{"node": node}]}
        [(text,)] = self._connection.execute(_PRINT, [json.dumps(statement)]).fetchall()
        again = self._parsed(text)
        if again.get("error") or _canonical(again["statements"][0]["node"]) != _canonical(node):
            raise SqlTraceError("DuckDB prints another query than it parsed")
        return text

    def template(self, query: str) -> Tree:
        """Return a tree of our own that the caller may change."""
        known = _fixed_templates().get(query) or self._templates.get(query)
        if known is None:
            known = self._templates[query] = json.dumps(self.parse(query))
        return json.loads(known)

    def item(self, expression: str, alias: str = "") -> Tree:
        """Return an expression of our own."""
        found = self.template(f"SELECT {expression}")["select_list"][0]
        found["alias"] = alias
        return found

    def column(self, name: str, alias: str) -> Tree:
        """Return a column of our own."""
        found = self.template(_ITEM)["select_list"][0]
        return found | {"column_names": [name], "alias": alias}

    def listed(self, name: str, alias: str) -> Tree:
        """Return the list of a column of our own."""
        found = self.template(_LIST)["select_list"][0]
        for each in walk(found):
            if each.get("class") == "COLUMN_REF":
                each["column_names"] = [name]
        return found | {"alias": alias}

    def table(self, name: str) -> Tree:
        """Return a reference to a table of our own."""
        return self.template(f"SELECT 1 FROM {name}")["from_table"]

    def derived(self, node: Tree, alias: str, columns: list[str] | None = None) -> Tree:
        """Return a query as a table of a FROM clause."""
        found = self.template(_DERIVED)["from_table"]
        found["subquery"]["node"] = node
        return found | {"alias": alias, "column_name_alias": columns or []}

    def star_of(self, table: Tree, without: list[str], items: list[Tree]) -> Tree:
        """Return ``SELECT * EXCLUDE (without), items FROM table``."""
        found = self.template(_STAR)
        found["select_list"][0]["exclude_list"] = without
        found["select_list"] += items
        return found | {"from_table": table}

    def by_columns(self, node: Tree, n_columns: int, having: str) -> Tree:
        """Return a SELECT grouped by its first columns, by place: ALL would forget collations."""
        places = ", ".join(str(at + 1) for at in range(n_columns))
        like = self.template(f"SELECT 1 GROUP BY {places} HAVING {having}")
        changed = ("group_expressions", "group_sets", "aggregate_handling", "having")
        return node | {key: like[key] for key in changed}

    def _parsed(self, query: str) -> Tree:
        return _parsed(self._connection, query)


def _parsed(connection: duckdb.DuckDBPyConnection, query: str) -> Tree:
    [(tree,)] = connection.execute(_PARSE, [query]).fetchall()
    return _without_locations(json.loads(tree))


@cache
def _fixed_templates() -> dict[str, str]:
    """Return the trees, as JSON, of those texts of our own that never change."""
    with duckdb.connect() as connection:
        trees = {query: _parsed(connection, query) for query in _FIXED}
    return {query: json.dumps(tree["statements"][0]["node"]) for query, tree in trees.items()}


def is_query(value: Any) -> bool:
    """Say whether a value of the tree is a query."""
    return isinstance(value, dict) and str(value.get("type", "")).endswith("_NODE")


def walk(value: Any) -> Iterator[Tree]:
    """Yield every node of a tree, those of nested queries too."""
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from walk(each)
    elif isinstance(value, list):
        for each in value:
            yield from walk(each)


def walk_outside_subqueries(value: Any) -> Iterator[Tree]:
    """Yield every node of an expression that belongs to its own query."""
    if isinstance(value, dict):
        if is_query(value):
            return
        yield value
        for each in value.values():
            yield from walk_outside_subqueries(each)
    elif isinstance(value, list):
        for each in value:
            yield from walk_outside_subqueries(each)


def children_of(node: Tree) -> list[Tree]:
    """Return the queries that a set operation stacks; releases hold them in two ways."""
    return list(node.get("children") or (node["left"], node["right"]))


def with_children(node: Tree, children: list[Tree]) -> Tree:
    """Return a set operation of other queries."""
    if node.get("children"):
        return node | {"children": children}
    return node | {"left": children[0], "right": children[1]}


def _without_locations(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: each for key, each in value.items() if not key.startswith("query_location")}
        return {key: _without_locations(each) for key, each in kept.items()}
    return [_without_locations(each) for each in value] if isinstance(value, list) else value


def _canonical(value: Any) -> Any:
    """Return a tree with those things made alike that DuckDB prints in another form or order."""
    if isinstance(value, list):
        return [_canonical(each) for each in value]
    if not isinstance(value, dict):
        return value
    inner = _wrapped_values(value)
    if inner is not None:
        return _canonical(inner)
    found = {key: _canonical(each) for key, each in value.items() if key != "named_param_map"}
    if "exclude_list" in found:
        found["exclude_list"] = sorted(found["exclude_list"], key=json.dumps)
    if found.get("type") == _SELECT:
        keys = [json.dumps(each, sort_keys=True) for each in found.pop("group_expressions")]
        found["group_sets"] = sorted(
            sorted(keys[at] for at in each) for each in found["group_sets"]
        )
    return found


def _wrapped_values(value: Tree) -> Tree | None:
    """Return the VALUES list that DuckDB prints as ``(SELECT * FROM (VALUES ...)) AS alias``."""
    if value.get("type") != "SUBQUERY" or value.get("column_name_alias") != []:
        return None
    inner = value["subquery"].get("node", {}).get("from_table") or {}
    is_list = inner.get("type") == "EXPRESSION_LIST" and inner.get("alias") == value["alias"]
    return inner if is_list else None
