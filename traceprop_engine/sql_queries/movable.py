"""Columns whose values move when another row goes: sums of a group, the empty side of a join.

A clause that keeps, joins or groups rows by such a column may let a row appear that no deleted row
was a parent of, as HAVING does. What it looks at is therefore a dependency of the whole result.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from traceprop_engine.sql_queries.syntax import Tree, walk, walk_outside_subqueries

Movable = Mapping[str, frozenset[str]]
"""For a column, in lower case, the inputs whose rows move it; ``ANY`` stands for every column."""

ANY = "*"
_NOTHING: frozenset[str] = frozenset()


def merged(parts: Iterable[Movable]) -> dict[str, frozenset[str]]:
    """Return what moves a column in any of several tables."""
    found: dict[str, frozenset[str]] = {}
    for part in parts:
        for name, inputs in part.items():
            found[name] = found.get(name, _NOTHING) | inputs
    return found


def side_by_side(*sides: Mapping[str, Movable]) -> dict[str, Movable]:
    """Return what moves the columns of all tables; several may share a name, or have none."""
    found: dict[str, Movable] = {}
    for side in sides:
        for alias, movable in side.items():
            found[alias] = merged([found.get(alias, {}), movable])
    return found


def all_inputs(movable: Movable) -> frozenset[str]:
    """Return every input that moves some column."""
    return _NOTHING.union(*movable.values())


def renamed(movable: Movable, columns: list[str], names: list[str]) -> Movable:
    """Return what moves columns that have got other names, the first ones of them."""
    new = {column.lower(): name.lower() for column, name in zip(columns, names, strict=False)}
    return {new.get(column, column): inputs for column, inputs in movable.items()}


def touched(value: Any, of_alias: Mapping[str, Movable]) -> frozenset[str]:
    """Return the inputs that move what an expression looks at.

    Args:
        value: The expression, or several.
        of_alias: What moves the columns of each table in sight.
    """
    if not any(of_alias.values()):
        return _NOTHING
    every = merged(of_alias.values())
    found = _NOTHING
    for each in walk(value):
        if each.get("class") == "STAR":
            found |= all_inputs(every)
        elif each.get("class") == "COLUMN_REF":
            found |= _touched_by(each["column_names"], of_alias, every)
    return found


def _touched_by(
    names: list[str], of_alias: Mapping[str, Movable], every: Movable
) -> frozenset[str]:
    first, *rest = [name.lower() for name in names]
    # A qualified name may also be a field of a column: both are looked up.
    table = of_alias.get(first, {}) if rest else {}
    inner = table.get(rest[0], _NOTHING) | table.get(ANY, _NOTHING) if rest else _NOTHING
    if rest and first in of_alias:
        return inner
    return inner | every.get(first, _NOTHING) | every.get(ANY, _NOTHING)


def touched_in_select(value: Any, node: Tree, of_alias: Mapping[str, Movable]) -> frozenset[str]:
    """Return the same for an expression that may name columns of its own SELECT list."""
    found = touched(value, of_alias)
    aliases = {item["alias"].lower() for item in node["select_list"] if item["alias"]}
    for each in walk(value):
        if each.get("class") == "COLUMN_REF" and each["column_names"][0].lower() in aliases:
            return found | touched(node["select_list"], of_alias)
    return found


def movable_items(
    node: Tree,
    of_alias: Mapping[str, Movable],
    aggregates: frozenset[str],
    reads: frozenset[str],
) -> dict[str, frozenset[str]]:
    """Return what moves the columns of a SELECT.

    Args:
        node: The SELECT.
        of_alias: What moves the columns of each table of its FROM clause.
        aggregates: Names of functions whose value any row of a group moves.
        reads: The inputs that the rows of a group come from.
    """
    found: list[Movable] = []
    for item in node["select_list"]:
        is_aggregate = any(
            each.get("class") == "FUNCTION" and each["function_name"].lower() in aggregates
            for each in walk_outside_subqueries(item)
        )
        inputs = reads if is_aggregate else touched_in_select(item, node, of_alias)
        stars = [each for each in walk_outside_subqueries(item) if each.get("class") == "STAR"]
        if stars and not is_aggregate:
            found.append(_through_star(item, of_alias))
        if inputs and (is_aggregate or item.get("class") != "STAR"):
            found.append({_name_of(item): inputs})
    return merged(found)


def _through_star(item: Tree, of_alias: Mapping[str, Movable]) -> Movable:
    every = merged(of_alias.values())
    relation = (item.get("relation_name") or "").lower()
    through = dict(of_alias.get(relation, every)) if relation else every
    if item.get("replace_list") or item.get("rename_list") or item.get("class") != "STAR":
        inputs = all_inputs(every)
        return {ANY: inputs} if inputs else {}
    return through


def _name_of(item: Tree) -> str:
    """Return the name of a column; one that DuckDB would make up may be any."""
    if item["alias"]:
        return item["alias"].lower()
    return item["column_names"][-1].lower() if item["class"] == "COLUMN_REF" else ANY
