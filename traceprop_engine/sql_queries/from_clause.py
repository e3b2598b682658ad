"""FROM clauses: tables, joins and derived tables that carry row numbers along."""

from collections.abc import Callable
from dataclasses import replace

from traceprop_engine.sql_queries.expressions import Expressions
from traceprop_engine.sql_queries.movable import (
    ANY,
    Movable,
    all_inputs,
    merged,
    side_by_side,
    touched,
)
from traceprop_engine.sql_queries.resolve import rename_table
from traceprop_engine.sql_queries.run import Run
from traceprop_engine.sql_queries.syntax import Tree, walk_outside_subqueries
from traceprop_engine.sql_queries.traced import From, Hidden, Traced

_ONE_SIDED = frozenset({"SEMI", "ANTI"})
_EMPTY_RIGHT = frozenset({"LEFT", "FULL", "OUTER"})
_EMPTY_LEFT = frozenset({"RIGHT", "FULL", "OUTER"})


class FromClause:
    """Rewrites FROM clauses."""

    def __init__(self, run: Run, expressions: Expressions, query: Callable[[Tree], Traced]) -> None:
        self._run = run
        self._expressions = expressions
        self._query = query

    def traced(self, table: Tree) -> From:
        """Return a table of a FROM clause, with hidden columns."""
        if table.get("sample"):
            self._run.ran("TABLESAMPLE")
        found = self._by_kind(table)
        if table.get("sample"):
            self._run.depends(found.reads, "TABLESAMPLE")
        return found

    def _by_kind(self, table: Tree) -> From:
        if table["type"] == "JOIN":
            return self._join(table)
        if table["type"] == "SUBQUERY":
            return self._derived(table, self._query(table["subquery"]["node"]))
        if table["type"] != "BASE_TABLE":
            return self._rowless(table)
        if table["table_name"] in self._run.ctes:
            return self._cte(table)
        return self._input(table)

    def _input(self, table: Tree) -> From:
        source, found = next(
            (at, each)
            for at, each in enumerate(self._run.inputs)
            if each.name == table["table_name"]
        )
        self._run.ran(f"FROM {found.name}")
        hidden = Hidden(self._run.fresh("row"), source)
        named = table["column_name_alias"]
        columns = [*named, *found.columns[len(named) :], hidden.name]
        traced = table | {"column_name_alias": columns}
        rename_table(traced, found.table)
        return _one_table(table, traced, (hidden,), frozenset([found.name]))

    def _cte(self, table: Tree) -> From:
        traced = self._run.ctes[table["table_name"]]
        hidden = tuple(Hidden(self._run.fresh("row"), each.source) for each in traced.hidden)
        items = [
            self._run.syntax.column(old.name, new.name)
            for old, new in zip(traced.hidden, hidden, strict=True)
        ]
        reference = self._run.syntax.table(table["table_name"])
        inner = self._run.syntax.star_of(reference, traced.hidden_names(), items)
        derived = self._run.syntax.derived(inner, table["alias"], table["column_name_alias"])
        changed = derived | {"sample": table["sample"]}
        return _one_table(
            table,
            changed,
            hidden,
            traced.reads,
            self._run.renamed(traced, table["column_name_alias"]),
        )

    def _derived(self, table: Tree, traced: Traced) -> From:
        changed = table | {"subquery": table["subquery"] | {"node": traced.node}}
        movable = self._run.renamed(traced, table["column_name_alias"])
        return _one_table(table, changed, traced.hidden, traced.reads, movable)

    def _rowless(self, table: Tree) -> From:
        """Return VALUES, a table function of no table, or nothing at all."""
        source = From(table, table, of_alias={table["alias"].lower(): ()})
        changed = self._expressions.rewritten(table, source)
        found = touched(table, self._expressions.in_sight(source))
        if table["type"] == "TABLE_FUNCTION":
            self._run.depends(found, "JOIN by values of other rows")
        movable = {ANY: found} if found else {}
        return _one_table(table, changed, (), self._expressions.reads(table), movable)

    def _join(self, table: Tree) -> From:
        kind = table["join_type"]
        name = f"{table['ref_type']} {kind} JOIN".removeprefix("REGULAR ")
        left = self.traced(table["left"])
        self._run.ran(
            name.replace("CROSS INNER", "CROSS").replace("POSITIONAL INNER", "POSITIONAL")
        )
        with self._expressions.beside(left):
            right = self._right(table["right"], kind)
        both = From(
            table | {"left": left.table, "right": right.table},
            table,
            left.hidden + right.hidden,
            {**left.of_alias, **right.of_alias},
            left.reads | right.reads | self._expressions.reads(table["condition"]),
            side_by_side(left.movable, right.movable),
        )
        self._note_movable(table, both)
        if table["ref_type"] == "POSITIONAL":
            self._run.depends(both.reads, "POSITIONAL JOIN")
        condition = self._expressions.rewritten(table["condition"], both)
        return replace(
            both,
            table=both.table | {"condition": condition},
            movable=self._after_join(table, left, right),
        )

    def _note_movable(self, table: Tree, both: From) -> None:
        """Write down the inputs that decide, through movable columns, which rows join."""
        in_sight = self._expressions.in_sight(both)
        found = touched(table["condition"], in_sight)
        every = merged(both.movable.values())
        for name in [ANY, *table["using_columns"]] if table["using_columns"] else []:
            found |= every.get(name.lower(), frozenset())
        if table["ref_type"] == "NATURAL":
            found |= all_inputs(every)
        self._run.depends(found, "JOIN by values of other rows")

    def _after_join(self, table: Tree, left: From, right: From) -> dict[str, Movable]:
        """Return what moves columns behind a join: those of a side that may be empty do."""
        kind, is_asof = table["join_type"], table["ref_type"] == "ASOF"
        return side_by_side(
            self._moved_by(left) if kind in _EMPTY_LEFT else left.movable,
            self._moved_by(right) if kind in _EMPTY_RIGHT or is_asof else right.movable,
        )

    def _moved_by(self, side: From) -> dict[str, Movable]:
        return {
            alias: merged([each, dict.fromkeys(self._columns(side, alias), side.reads)])
            for alias, each in side.movable.items()
        }

    def _columns(self, side: From, alias: str) -> list[str]:
        """Return the columns of a table, or `ANY` where they are not simply told."""
        tables = [
            each
            for each in walk_outside_subqueries(side.plain)
            if each.get("alias", "").lower() == alias and each.get("type") == "BASE_TABLE"
        ]
        inputs = {each.name: each.columns for each in self._run.inputs}
        if len(tables) != 1 or tables[0]["table_name"] not in inputs:
            return [ANY]
        named = tables[0]["column_name_alias"]
        return [name.lower() for name in (*named, *inputs[tables[0]["table_name"]])]

    def _right(self, table: Tree, kind: str) -> From:
        """Return a side of a join; of some joins it only decides which rows of the other stay."""
        if kind not in _ONE_SIDED:
            return self.traced(table)
        reads = self._expressions.reads(table)
        self._run.depends(reads, f"{kind} JOIN")
        return From(self._expressions.plain(table), table, of_alias={}, reads=reads)


def _one_table(
    plain: Tree,
    table: Tree,
    hidden: tuple[Hidden, ...],
    reads: frozenset[str],
    movable: Movable | None = None,
) -> From:
    names = tuple(each.name for each in hidden)
    alias = plain["alias"].lower()
    return From(table, plain, hidden, {alias: names}, reads, {alias: movable or {}})
