"""Expressions of a query that carries hidden columns.

The hidden columns must not be seen by an expression, and what a query inside an expression reads is
a dependency of the whole result.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from traceprop_engine.errors import UnsupportedSqlError
from traceprop_engine.sql_queries.movable import Movable, side_by_side
from traceprop_engine.sql_queries.run import Run
from traceprop_engine.sql_queries.syntax import Tree, is_query, walk, walk_outside_subqueries
from traceprop_engine.sql_queries.traced import From

_STATISTICS = {
    "ANY": "IN (SELECT ...)",
    "EXISTS": "EXISTS (SELECT ...)",
    "NOT_EXISTS": "NOT EXISTS (SELECT ...)",
    "SCALAR": "scalar subquery",
}
_PLACE = "POSITIONAL_REFERENCE"


class Expressions:
    """Rewrites expressions."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._beside: dict[str, Movable] = {}

    @contextmanager
    def beside(self, source: From) -> Iterator[None]:
        """Let the tables of a FROM clause be seen by what stands behind them in it."""
        before = self._beside
        self._beside = side_by_side(before, source.movable)
        yield
        self._beside = before

    def rewritten(self, value: Any, source: From) -> Any:
        """Return an expression, or a list of them, that does not see hidden columns.

        Raises:
            UnsupportedSqlError: It may see them in a way that cannot be helped.
        """
        self._require_no_whole_rows(value, source)
        _require_no_places(value, source)
        return self._rewritten(value, source)

    def order(self, modifier: Tree, source: From) -> Tree:
        """Return an ORDER BY; ALL and places mean the result, where hidden columns come last."""
        orders = [
            each if _is_of_result(each["expression"]) else self.rewritten(each, source)
            for each in modifier["orders"]
        ]
        return modifier | {"orders": orders}

    def in_sight(self, source: From) -> dict[str, Movable]:
        """Return what moves the columns of all tables that an expression can name."""
        return side_by_side(self._beside, source.movable)

    def reads(self, value: Any) -> frozenset[str]:
        """Return the names of the inputs that queries inside an expression read."""
        tables = {each["table_name"] for each in walk(value) if each.get("type") == "BASE_TABLE"}
        inputs = {each.name for each in self._run.inputs}
        found = [self._run.ctes[name].reads for name in tables if name in self._run.ctes]
        return frozenset(tables & inputs).union(*found)

    def plain(self, value: Any) -> Any:
        """Return a query, or a part of one, that sees common table expressions as the user does."""
        if isinstance(value, list):
            return [self.plain(each) for each in value]
        if not isinstance(value, dict):
            return value
        if value.get("type") == "BASE_TABLE" and value["table_name"] in self._run.ctes:
            return self._plain_cte(value)
        return {key: self.plain(each) for key, each in value.items()}

    def _plain_cte(self, table: Tree) -> Tree:
        traced = self._run.ctes[table["table_name"]]
        inner = self._run.syntax.star_of(
            self._run.syntax.table(table["table_name"]), traced.hidden_names(), []
        )
        derived = self._run.syntax.derived(inner, table["alias"], table["column_name_alias"])
        return derived | {"sample": table["sample"]}

    def _rewritten(self, value: Any, source: From) -> Any:
        if isinstance(value, list):
            return [self._rewritten(each, source) for each in value]
        if not isinstance(value, dict):
            return value
        if is_query(value):
            return self.plain(value)
        if value.get("class") == "STAR":
            return self._star(value, source)
        if value.get("class") == "SUBQUERY":
            self._note(value)
        return {key: self._rewritten(each, source) for key, each in value.items()}

    def _note(self, value: Tree) -> None:
        statistic = _STATISTICS.get(value["subquery_type"], "subquery")
        self._run.depends(self.reads(value["subquery"]), statistic)
        self._run.ran(statistic)

    def _star(self, star: Tree, source: From) -> Tree:
        if star.get("expr") is not None:
            self._require_unseen(star["expr"], source)
            return star | {"expr": self._rewritten(star["expr"], source)}
        relation = star["relation_name"].lower()
        if relation and relation not in source.of_alias:
            raise UnsupportedSqlError(
                f"{star['relation_name']}.* of a table outside this FROM clause", "name its columns"
            )
        hidden = source.of_alias[relation] if relation else source.hidden_names()
        changed = {
            "exclude_list": [*star["exclude_list"], *hidden],
            "replace_list": self._rewritten(star["replace_list"], source),
        }
        return star | changed

    def _require_unseen(self, pattern: Tree, source: From) -> None:
        """Refuse COLUMNS with a pattern that a hidden name has."""
        names = source.hidden_names()
        if pattern.get("class") != "CONSTANT" or not names:
            return
        text = self._run.syntax.text(
            self._run.syntax.template("SELECT 1") | {"select_list": [pattern]}
        )
        found = self._run.connection.execute(
            f"SELECT bool_or(regexp_matches(name, ({text}))) FROM unnest(?) AS names(name)", [names]
        ).fetchall()
        if found != [(False,)]:
            raise UnsupportedSqlError("COLUMNS with a pattern that fits any name", "use COLUMNS(*)")

    def _require_no_whole_rows(self, value: Any, source: From) -> None:
        """Refuse a name of a table where a column stands: its row would have hidden columns."""
        aliases = {*source.of_alias, *self._beside}
        for each in walk(value):
            if each.get("class") != "COLUMN_REF":
                continue
            *first, last = [part.lower() for part in each["column_names"]]
            if last not in aliases or (first and first[0] in aliases):
                continue
            if first or last not in self._columns_of(source):
                raise UnsupportedSqlError(
                    f"{each['column_names'][-1]!r}, a whole row as a value or a name that a table "
                    "has too",
                    "write the columns, each as table.column, and give tables other names",
                )

    def _columns_of(self, source: From) -> set[str]:
        if source.plain["type"] == "EMPTY":
            return set()
        node = self._run.syntax.star_of(self.plain(source.plain), [], [])
        return {name.lower() for name in self._run.columns(node)}


def _require_no_places(value: Any, source: From) -> None:
    """Refuse a column by its place behind a join, where the hidden columns count too."""
    if source.plain["type"] == "JOIN" and any(
        each.get("class") == _PLACE for each in walk_outside_subqueries(value)
    ):
        raise UnsupportedSqlError("a column of a join by its place, such as #1", "write its name")


def _is_of_result(expression: Tree) -> bool:
    return expression.get("class") == _PLACE or (
        expression.get("class") == "STAR"
        and expression["columns"]
        and expression["expr"] is None
        and not (expression["exclude_list"] or expression["replace_list"])
    )
