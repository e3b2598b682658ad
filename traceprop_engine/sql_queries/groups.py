"""Groupings whose rows are found again.

Each group gets the list of its rows from the aggregation that makes it: exact for every grouping,
and slow for many rows. Where a second look at the rows must give what the first one gave, they are
looked up by their key instead, and counted.
"""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from traceprop_engine.errors import UnsupportedSqlError
from traceprop_engine.sql_queries.run import Run
from traceprop_engine.sql_queries.stability import Stability
from traceprop_engine.sql_queries.syntax import Tree, walk_outside_subqueries
from traceprop_engine.sql_queries.traced import From, Hidden, Keyed, Traced

_BY_ALL = "FORCE_AGGREGATES"
_WHOLE_NUMBERS = frozenset(
    {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"}
)
_NO_KEYS = frozenset({"STAR", "WINDOW", "SUBQUERY", "COLLATE", "POSITIONAL_REFERENCE"})


class Groups:
    """Adds hidden columns to groupings."""

    def __init__(self, run: Run, stability: Stability) -> None:
        self._run = run
        self._stability = stability

    def traced(self, plain: Traced, source: From, *, is_distinct: bool) -> Traced:
        """Return a grouping with hidden columns.

        Args:
            plain: It without them; SELECT DISTINCT without the DISTINCT.
            source: Its FROM clause.
            is_distinct: Whether it is a SELECT DISTINCT.
        """
        with_lists = self._with_lists(plain, source, is_distinct=is_distinct)
        found = self._grouping(plain, is_distinct=is_distinct) if source.hidden else None
        if found is None:
            return with_lists
        node, keys = found
        if self._stability.is_unstable(source.table, node["where_clause"], keys):
            return with_lists
        return self._with_key(replace(plain, node=node), source, keys, with_lists)

    def _with_lists(self, plain: Traced, source: From, *, is_distinct: bool) -> Traced:
        hidden = tuple(
            Hidden(self._run.fresh("rows"), each.source, "rows") for each in source.hidden
        )
        items = [
            self._run.syntax.listed(old.name, new.name)
            for old, new in zip(source.hidden, hidden, strict=True)
        ]
        node = plain.node | {"select_list": [*plain.node["select_list"], *items]}
        if is_distinct:
            # No row makes no group, not even if all columns are constants.
            n_columns = len(self._run.columns(plain.node))
            node = self._run.syntax.by_columns(node, n_columns, "count(*) > 0")
        return Traced(node, hidden, plain.reads)

    def _with_key(
        self, plain: Traced, source: From, keys: list[Tree], with_lists: Traced
    ) -> Traced:
        rows = self._run.syntax.template("SELECT 1") | {
            "from_table": source.table,
            "where_clause": plain.node["where_clause"],
        }
        key = Hidden(self._run.fresh("key"), -1, "key")
        count = Hidden(self._run.fresh("count"), -1, "count")
        columns = [self._run.syntax.column(each.name, each.name) for each in source.hidden]
        rows, item = self._with_item(rows, keys, key.name, columns)
        counted = self._run.syntax.item("count(*)", count.name)
        node = plain.node | {"select_list": [*plain.node["select_list"], item, counted]}
        if self._types(rows) is None or self._types(node) is None:
            return with_lists
        sources = tuple(each.source for each in source.hidden)
        table = source.plain
        is_input = table["type"] == "BASE_TABLE" and sources[0] < len(self._run.inputs)
        is_whole = is_input and table["table_name"] == self._run.inputs[sources[0]].name
        is_every = not keys and is_whole and not (rows["where_clause"] or table["sample"])
        keyed = Keyed(rows, sources, with_lists, bool(keys), is_every)
        return Traced(node, (key, count), plain.reads, keyed=keyed)

    def _types(self, node: Tree) -> list[str] | None:
        """Return the types of a query, or nothing if DuckDB refuses it; lists need less of it."""
        try:
            return self._run.types(node)
        except UnsupportedSqlError:
            return None

    def _with_item(
        self, rows: Tree, keys: list[Tree], name: str, columns: list[Tree]
    ) -> tuple[Tree, Tree]:
        """Return a query of rows with the key of each, and the key as an expression.

        It is one whole number for the values that are grouped by: a hash, if need be.
        """
        if len(keys) == 1:
            item = keys[0] | {"alias": name}
            found = rows | {"select_list": [item, *columns]}
            if (self._types(found) or [""])[0] in _WHOLE_NUMBERS:
                return found, item
        item = (self._hash(keys) if keys else self._run.syntax.item("0")) | {"alias": name}
        return rows | {"select_list": [item, *columns]}, item

    def _hash(self, keys: list[Tree]) -> Tree:
        # An argument has no alias: DuckDB would print it, and read another query.
        keys = [each | {"alias": ""} for each in keys]
        call = self._run.syntax.item("hash(0)")
        if "arguments" in call:
            return call | {"arguments": [{"name": "", "expression": each} for each in keys]}
        return call | {"children": keys}

    def _grouping(self, plain: Traced, *, is_distinct: bool) -> tuple[Tree, list[Tree]] | None:
        """Return a grouping by expressions that are told, and what they are.

        Returns:
            ``None`` if it groups in several ways, or by what cannot stand in another query.
        """
        node = plain.node
        if node["sample"] or _has(node["select_list"], {"STAR"}):
            return None
        if is_distinct or node["aggregate_handling"] == _BY_ALL:
            return self._by_all(node, is_distinct=is_distinct)
        keys = [_expression(each, node["select_list"]) for each in node["group_expressions"]]
        sets = node["group_sets"]
        if len(sets) > 1 or (keys and sorted(sets[0]) != list(range(len(keys)))):
            return None
        found = [each for each in keys if each is not None and self._is_key(each)]
        return (node, found) if len(found) == len(keys) else None

    def _by_all(self, node: Tree, *, is_distinct: bool) -> tuple[Tree, list[Tree]] | None:
        """Return a grouping by all columns as one by their places."""
        items = node["select_list"]
        keys = [at for at, each in enumerate(items) if is_distinct or not self._aggregates(each)]
        names = {each["alias"].lower() for each in items if each["alias"]}
        is_told = all(self._is_key(items[at]) and not _names(items[at], names) for at in keys)
        mixed = (each for at, each in enumerate(items) if at not in keys)
        if not keys or not is_told or not all(self._is_made_of_groups(each) for each in mixed):
            return None
        places = ", ".join(str(at + 1) for at in keys)
        like = self._run.syntax.template(f"SELECT 1 GROUP BY {places}")
        changed = ("group_expressions", "group_sets", "aggregate_handling")
        return node | {key: like[key] for key in changed}, [items[at] for at in keys]

    def _is_key(self, expression: Tree) -> bool:
        return not (_has(expression, _NO_KEYS) or self._aggregates(expression))

    def _is_made_of_groups(self, item: Tree) -> bool:
        """Say whether an item looks at columns inside of aggregates alone."""
        if item.get("class") == "FUNCTION" and self._is_aggregate(item):
            return True
        if item.get("class") in ("COLUMN_REF", *_NO_KEYS):
            return False
        return all(
            self._is_made_of_groups(each)
            for each in item.get("arguments", item.get("children", []))
            for each in [each.get("expression", each)]
        ) and item.get("class") in ("FUNCTION", "CONSTANT")

    def _is_aggregate(self, call: Tree) -> bool:
        return call["function_name"].lower() in self._run.functions.aggregates

    def _aggregates(self, value: Tree) -> bool:
        calls = [e for e in walk_outside_subqueries(value) if e.get("class") == "FUNCTION"]
        return any(self._is_aggregate(each) for each in calls)


def _has(value: Any, classes: Collection[str]) -> bool:
    return any(
        each.get("class") in classes or each.get("function_name", "").lower() == "unnest"
        for each in walk_outside_subqueries(value)
    )


def _names(expression: Tree, aliases: Collection[str]) -> bool:
    """Say whether an expression may name another column of its own SELECT list."""
    if expression["class"] == "COLUMN_REF" and _names_it(expression, expression["alias"]):
        return False
    return any(
        each.get("class") == "COLUMN_REF" and each["column_names"][0].lower() in aliases
        for each in walk_outside_subqueries(expression)
    )


def _expression(key: Tree, items: list[Tree]) -> Tree | None:
    """Return what GROUP BY groups by, which may be named by its place or by an alias."""
    if key["class"] == "CONSTANT":
        place = key.get("literal", {}).get("text", "") or str(key.get("value", {}).get("value"))
        at = int(place) if place.isdecimal() else 0
        return items[at - 1] if 0 < at <= len(items) else None
    named = [each for each in items if each["alias"] and _names_it(key, each["alias"])]
    if not named:
        return key
    # A column wins over an alias: only where both are the same is it certain which one is meant.
    item = named[0]
    is_same = item["class"] == "COLUMN_REF" and _names_it(item, item["alias"])
    return item if is_same and key["class"] == "COLUMN_REF" else None


def _names_it(expression: Tree, alias: str) -> bool:
    return any(
        each.get("class") == "COLUMN_REF" and each["column_names"][-1].lower() == alias.lower()
        for each in walk_outside_subqueries(expression)
    )
