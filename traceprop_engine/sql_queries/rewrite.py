"""SELECT and set operations that carry row numbers in hidden columns.

A row that is made of one row of each table keeps their numbers. A row that is made of a group keeps
a list of numbers, made by the very aggregation that makes the row; when a query goes on from there,
the groups are stored first and get numbers of their own.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from traceprop_engine.errors import UnsupportedSqlError
from traceprop_engine.sql_queries.expressions import Expressions
from traceprop_engine.sql_queries.from_clause import FromClause
from traceprop_engine.sql_queries.groups import Groups
from traceprop_engine.sql_queries.movable import Movable, movable_items, touched, touched_in_select
from traceprop_engine.sql_queries.resolve import Resolved
from traceprop_engine.sql_queries.run import Run
from traceprop_engine.sql_queries.set_operations import SetOperations
from traceprop_engine.sql_queries.stability import Stability
from traceprop_engine.sql_queries.syntax import Tree, walk, walk_outside_subqueries
from traceprop_engine.sql_queries.traced import From, Traced

_CLAUSES = {
    "where_clause": "WHERE",
    "group_expressions": "GROUP BY",
    "having": "HAVING",
    "qualify": "QUALIFY",
    "sample": "USING SAMPLE",
}
_BY_ALL = "FORCE_AGGREGATES"
_DEPENDENT = frozenset({"having", "qualify", "sample"})
_EXPRESSIONS = ("select_list", "where_clause", "group_expressions", "having", "qualify")
_AFTER_ROWS = ("select_list", "having", "qualify", "modifiers")


class Rewriter:
    """Rewrites queries; groupings below others are run on the way."""

    def __init__(self, run: Run, resolved: Resolved) -> None:
        self._run = run
        self._expressions = Expressions(run)
        self._from = FromClause(run, self._expressions, self.settled)
        self._sets = SetOperations(run, self.settled)
        self._stability = Stability(run.functions)
        self._groups = Groups(run, self._stability)
        self._trace_ctes(resolved)

    def traced(self, node: Tree) -> Traced:
        """Return a query whose last columns are hidden ones.

        Raises:
            UnsupportedSqlError: The rows of a clause cannot be followed.
        """
        if node["type"] == "SELECT_NODE":
            return self._select(node)
        traced = self._sets.traced(node)
        source = _result_of(traced, self._run)
        modifiers = self._modifiers(traced.node["modifiers"], source)
        self._note_limits(node, traced.reads)
        return replace(traced, node=traced.node | {"modifiers": modifiers})

    def settled(self, node: Tree) -> Traced:
        """Return a traced query without lists: its groups are stored."""
        traced = self.traced(node)
        if traced.is_grouped:
            return self._run.stored(traced)
        return traced

    def _trace_ctes(self, resolved: Resolved) -> None:
        """Trace what the query names; what is read twice and may differ then is stored."""
        stability = self._stability
        counts = _references(resolved)
        for name, cte in resolved.ctes.items():
            if not counts.get(name):
                continue
            self._run.ran("WITH")
            traced = self.settled(cte.node)
            if stability.is_unstable(traced.node):
                if counts[name] > 1:
                    traced = self._run.stored(traced)
                else:
                    stability.note(name)
            movable = self._run.renamed(traced, cte.value["aliases"])
            self._run.cte_values[name] = cte
            self._run.ctes[name] = replace(traced, movable=movable)

    def _select(self, node: Tree) -> Traced:
        is_distinct = any(_is_distinct(each) for each in node["modifiers"])
        is_grouped = self._is_grouped(node)
        if is_distinct and (is_grouped or _makes_rows(node)):
            return self._select(self._distinct_around(node))
        source = self._from.traced(node["from_table"])
        changed = self._clauses(node, source)
        reads = source.reads | self._expressions.reads([node[key] for key in _AFTER_ROWS])
        reads |= self._expressions.reads([node["where_clause"], node["group_expressions"]])
        self._note_dependencies(node, reads)
        traced = Traced(changed, (), reads)
        if is_grouped or is_distinct:
            traced = self._groups.traced(traced, source, is_distinct=is_distinct)
        else:
            items = [self._run.syntax.column(each.name, each.name) for each in source.hidden]
            changed["select_list"] = [*changed["select_list"], *items]
            traced = Traced(changed, source.hidden, reads)
        in_sight = self._expressions.in_sight(source)
        self._note_movable(node, in_sight, is_grouped=is_grouped)
        return replace(traced, movable=self._movable(node, traced, in_sight))

    def _note_movable(
        self, node: Tree, in_sight: Mapping[str, Movable], *, is_grouped: bool
    ) -> None:
        """Write down the inputs that decide, through movable columns, on rows and groups."""
        where = touched_in_select(node["where_clause"], node, in_sight)
        self._run.depends(where, "WHERE by values of other rows")
        if is_grouped and (node["group_expressions"] or node["aggregate_handling"] == _BY_ALL):
            keys = [each for each in node["select_list"] if not self._aggregates(each)]
            found = touched([*keys, node["group_expressions"]], in_sight)
            self._run.depends(found, "GROUP BY values of other rows")
        if any(_is_distinct(each) for each in node["modifiers"]):
            found = touched_in_select(node["select_list"], node, in_sight)
            self._run.depends(found, "DISTINCT by values of other rows")
        unnested = [each for each in node["select_list"] if _unnests(each)]
        found = touched_in_select(unnested, node, in_sight)
        self._run.depends(found, "unnest of values of other rows")

    def _movable(
        self, node: Tree, traced: Traced, in_sight: Mapping[str, Movable]
    ) -> dict[str, frozenset[str]]:
        is_plain = not any(in_sight.values()) and not self._aggregates(node["select_list"])
        if is_plain:
            return {}
        aggregates = self._run.functions.aggregates
        return movable_items(node, in_sight, aggregates, traced.reads)

    def _aggregates(self, value: Any) -> bool:
        return any(
            each.get("class") == "FUNCTION"
            and each["function_name"].lower() in self._run.functions.aggregates
            for each in walk_outside_subqueries(value)
        )

    def _clauses(self, node: Tree, source: From) -> Tree:
        """Return a SELECT whose expressions do not see hidden columns."""
        changed = node | {"from_table": source.table}
        for key in _EXPRESSIONS:
            changed[key] = self._expressions.rewritten(node[key], source)
        for key, clause in _CLAUSES.items():
            if node[key]:
                self._run.ran(clause)
        if node["aggregate_handling"] == _BY_ALL:
            self._run.ran("GROUP BY ALL")
        changed["modifiers"] = self._modifiers(node["modifiers"], source)
        return changed

    def _modifiers(self, modifiers: list[Tree], source: From) -> list[Tree]:
        """Return ORDER BY, LIMIT and DISTINCT ON of a query; plain DISTINCT is a grouping."""
        changed: list[Tree] = []
        for each in modifiers:
            if each["type"] == "ORDER_MODIFIER":
                self._run.ran("ORDER BY")
                changed.append(self._expressions.order(each, source))
            elif _is_distinct(each):
                self._run.ran("DISTINCT")
            else:
                self._run.ran(_modifier_name(each))
                changed.append(self._expressions.rewritten(each, source))
        return changed

    def _note_dependencies(self, node: Tree, reads: frozenset[str]) -> None:
        """Write down the clauses by which any row may decide on any other."""
        for key in sorted(_DEPENDENT):
            if node[key]:
                self._run.depends(reads, _CLAUSES[key])
        self._note_limits(node, reads)
        if any(_has_class(node[key], "WINDOW") for key in _AFTER_ROWS):
            self._run.ran("window")
            self._run.depends(reads, "window")

    def _note_limits(self, node: Tree, reads: frozenset[str]) -> None:
        for each in node["modifiers"]:
            if each["type"] != "ORDER_MODIFIER" and not _is_distinct(each):
                self._run.depends(reads, _modifier_name(each))

    def _is_grouped(self, node: Tree) -> bool:
        is_grouped = bool(node["group_sets"] or node["having"])
        if is_grouped or node["aggregate_handling"] == _BY_ALL:
            return True
        return self._aggregates([node[key] for key in _AFTER_ROWS])

    def _distinct_around(self, node: Tree) -> Tree:
        """Return DISTINCT of groups, windows or unnested lists as one around them.

        Raises:
            UnsupportedSqlError: It is ordered by more than columns of the result.
        """
        for each in node["modifiers"]:
            if each["type"] == "ORDER_MODIFIER" and not all(
                order["expression"]["class"] in ("CONSTANT", "STAR") for order in each["orders"]
            ):
                raise UnsupportedSqlError(
                    "DISTINCT of aggregates, windows or unnest with ORDER BY an expression",
                    "order by the number of a column, or put the part without them in a subquery",
                )
        inner = self._run.syntax.derived(node | {"modifiers": []}, self._run.fresh("distinct"))
        outer = self._run.syntax.star_of(inner, [], [])
        return outer | {"modifiers": node["modifiers"]}


def _references(resolved: Resolved) -> dict[str, int]:
    """Return how often each common table expression is named by what the query needs."""
    counts: dict[str, int] = {}
    waiting: list[Any] = [resolved.node]
    while waiting:
        for each in walk(waiting.pop()):
            name = each.get("table_name")
            if each.get("type") == "BASE_TABLE" and name in resolved.ctes:
                if name not in counts:
                    waiting.append(resolved.ctes[name].node)
                counts[name] = counts.get(name, 0) + 1
    return counts


def _is_distinct(modifier: Tree) -> bool:
    return modifier["type"] == "DISTINCT_MODIFIER" and not modifier["distinct_on_targets"]


def _modifier_name(modifier: Tree) -> str:
    return "DISTINCT ON" if modifier["type"] == "DISTINCT_MODIFIER" else "LIMIT"


def _makes_rows(node: Tree) -> bool:
    """Say whether a SELECT list cannot be grouped by."""
    has_window = _has_class(node["select_list"], "WINDOW") or bool(node["qualify"])
    return has_window or _unnests(node["select_list"])


def _unnests(value: Any) -> bool:
    return any(
        each.get("class") == "FUNCTION" and each["function_name"].lower() == "unnest"
        for each in walk_outside_subqueries(value)
    )


def _has_class(value: Any, name: str) -> bool:
    return any(each.get("class") == name for each in walk_outside_subqueries(value))


def _result_of(traced: Traced, run: Run) -> From:
    """Return the result of a set operation, as what its ORDER BY can name."""
    plain = run.syntax.derived(traced.node | {"modifiers": []}, run.fresh("set"))
    return From(plain, plain, traced.hidden)
