"""UNION, INTERSECT and EXCEPT of queries that carry hidden columns.

Without ALL they are groupings: the rows of all sides are stacked, each with its side, and grouped
by every column; which sides a group has decides whether it stays.
"""

from collections.abc import Callable
from dataclasses import replace

from traceprop_engine.errors import UnsupportedSqlError
from traceprop_engine.sql_queries.movable import ANY, Movable, all_inputs, merged
from traceprop_engine.sql_queries.run import Run
from traceprop_engine.sql_queries.syntax import Tree, children_of, with_children
from traceprop_engine.sql_queries.traced import Hidden, Traced

_STAYS = {
    "UNION": "count(*) > 0",
    "UNION_BY_NAME": "count(*) > 0",
    "EXCEPT": "max({side}) = 0",
    "INTERSECT": "count(DISTINCT {side}) = {n}",
}


class SetOperations:
    """Rewrites set operations."""

    def __init__(self, run: Run, settled: Callable[[Tree], Traced]) -> None:
        self._run = run
        self._settled = settled

    def traced(self, node: Tree) -> Traced:
        """Return a set operation whose last columns are hidden ones.

        Raises:
            UnsupportedSqlError: It is INTERSECT ALL or EXCEPT ALL.
        """
        kind, is_all = node["setop_type"], node["setop_all"]
        name = kind.replace("_", " ") + (" ALL" if is_all else "")
        if kind not in _STAYS or (is_all and not kind.startswith("UNION")):
            raise UnsupportedSqlError(
                name, "number equal rows with row_number() and use it without ALL"
            )
        children = [self._settled(each) for each in children_of(node)]
        self._run.ran(name)
        if is_all:
            return self._at_the_end(self._stacked(node, children))
        if kind == "EXCEPT":
            self._run.depends(frozenset().union(*[each.reads for each in children[1:]]), kind)
        return self._grouped(node, children)

    def _at_the_end(self, traced: Traced) -> Traced:
        """Return a query with its hidden columns last, where BY NAME may have mixed them in."""
        if traced.node["setop_type"] != "UNION_BY_NAME":
            return traced
        derived = self._run.syntax.derived(traced.node | {"modifiers": []}, self._run.fresh("set"))
        items = [self._run.syntax.column(each.name, each.name) for each in traced.hidden]
        node = self._run.syntax.star_of(derived, traced.hidden_names(), items)
        modifiers = traced.node["modifiers"]
        return replace(traced, node=node | {"modifiers": modifiers})

    def _stacked(self, node: Tree, children: list[Traced], sides: str | None = None) -> Traced:
        """Return the rows of all children, one below the other, in one set of hidden columns."""
        slots: list[Hidden] = []
        places = [self._places(each, slots) for each in children]
        queries = [
            self._in_slots(each, where, slots, side, sides)
            for side, (each, where) in enumerate(zip(children, places, strict=True))
        ]
        reads = frozenset[str]().union(*[each.reads for each in children])
        movable = self._movable(node, children)
        return Traced(with_children(node, queries), tuple(slots), reads, movable)

    def _movable(self, node: Tree, children: list[Traced]) -> Movable:
        """Return what moves the columns, which have the names of the first query."""
        if not any(each.movable for each in children) or node["setop_type"] == "UNION_BY_NAME":
            return merged(each.movable for each in children)
        names = self._names(children[0])
        if names is None:
            return {ANY: all_inputs(merged(each.movable for each in children))}
        return merged(self._run.renamed(each, names) for each in children)

    def _names(self, child: Traced) -> list[str] | None:
        """Return the columns of a query, ``None`` behind LATERAL."""
        try:
            return self._run.user_columns(child)
        except UnsupportedSqlError:
            return None

    def _places(self, child: Traced, slots: list[Hidden]) -> dict[str, str]:
        """Return which hidden column of a child goes into which common one."""
        free = list(slots)
        places: dict[str, str] = {}
        for each in child.hidden:
            slot = next((slot for slot in free if slot.source == each.source), None)
            if slot is None:
                slot = Hidden(self._run.fresh("row"), each.source)
                slots.append(slot)
            else:
                free.remove(slot)
            places[slot.name] = each.name
        return places

    def _in_slots(
        self,
        child: Traced,
        places: dict[str, str],
        slots: list[Hidden],
        side: int,
        sides: str | None,
    ) -> Tree:
        items = [
            self._run.syntax.column(places[each.name], each.name)
            if each.name in places
            else self._run.syntax.item("CAST(NULL AS INTEGER)", each.name)
            for each in slots
        ]
        if sides is not None:
            items.append(self._run.syntax.item(str(side), sides))
        derived = self._run.syntax.derived(child.node, self._run.fresh("side"))
        return self._run.syntax.star_of(derived, child.hidden_names(), items)

    def _grouped(self, node: Tree, children: list[Traced]) -> Traced:
        kind, sides = node["setop_type"], self._run.fresh("side")
        like = self._run.syntax.template("SELECT 1 UNION ALL SELECT 2")
        like |= {"setop_type": node["setop_type"] if kind == "UNION_BY_NAME" else "UNION"}
        stacked = self._stacked(like, children, sides)
        kept = children[:1] if kind == "EXCEPT" else children
        sources = {hidden.source for each in kept for hidden in each.hidden}
        members = [each for each in stacked.hidden if each.source in sources]
        hidden = tuple(Hidden(self._run.fresh("rows"), each.source, "rows") for each in members)
        condition = "" if kind != "EXCEPT" else f" FILTER ({sides} = 0)"
        items = [
            self._run.syntax.item(f"list({old.name}){condition}", new.name)
            for old, new in zip(members, hidden, strict=True)
        ]
        derived = self._run.syntax.derived(stacked.node, self._run.fresh("set"))
        found = self._run.syntax.star_of(derived, [*stacked.hidden_names(), sides], items)
        n_columns = len(self._run.user_columns(stacked)) - 1
        stays = _STAYS[kind].format(side=sides, n=len(children))
        found = self._run.syntax.by_columns(found, n_columns, stays)
        name = kind.replace("_", " ")
        self._run.depends(all_inputs(stacked.movable), f"{name} by values of other rows")
        changed = found | {"modifiers": node["modifiers"]}
        return Traced(changed, hidden, stacked.reads, stacked.movable)
