"""From the mark of a result to its lineage: compose the steps back to the inputs."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np

from traceprop_engine.lineage.captured import CapturedLineage, ContextDependency, Op
from traceprop_engine.lineage.pandas_marks import (
    Mark,
    Node,
    Notes,
    Step,
    mark_of,
    positions,
)
from traceprop_engine.lineage.pandas_rows import IntArray, Rows, map_of, no_rows
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.lineage.row_map_algebra import boxes_of, direct_of
from traceprop_engine.lineage.row_map_compound import PAIRS_LIMIT, Union
from traceprop_engine.lineage.row_map_kinds import Direct

Maps = dict[str, RowMap]
"""For each input, how the rows of a node follow from its rows."""

Members = list[tuple[str, str, str | None, IntArray]]
"""Input, statistic, column, and the rows of the input that took part."""

_MOST_NOTES_APART = 16
_STATISTIC = "statistic"
_JOINED_STATISTIC = "aggregate joined to many rows"
_WAY_OUT = "keep to pandas operations on whole rows, or declare the rows with `record`"


def lineage_of(index: Any, columns: Any, notes: Notes) -> CapturedLineage:
    """Return the lineage of a result.

    Args:
        index: Its row index.
        columns: The index of its columns, ``None`` for a series or an index; a mark on it says that
            rows were turned into columns.
        notes: What the session has written down.
    """
    mark, across = mark_of(index), None if columns is None else mark_of(columns)
    found = _NodeMaps()
    maps, members = _split(found.at(index, mark) if mark is not None else {})
    if across is not None and (mark is None or not across.node.is_statistic):
        turned = found.at(columns, across)
        members += [(name, "columns", None, _all_of(each)) for name, each in turned.items()]
    members += _members_of(notes, found)
    reasons = _reasons(mark or across, maps, members, notes)
    for name, node in notes.inputs.items():
        if name in reasons:
            maps[name] = RowMap.unknown(len(index), node.n_rows)
        elif name not in maps:
            rows = np.concatenate([rows for other, _, _, rows in members if other == name])
            maps[name] = RowMap.context(len(index), rows, node.n_rows)
    marks = [each for each in (mark, across) if each is not None]
    claims = list(dict.fromkeys(claim for each in marks for claim in each.node.claims))
    return CapturedLineage(
        n_rows=len(index),
        maps={name: maps[name] for name in notes.inputs},
        contexts=_contexts(members, notes),
        ops=_ops(marks),
        fidelity="unknown" if reasons else "claimed" if claims else "exact",
        reason="; ".join([*reasons.values(), *claims]) or None,
    )


class _NodeMaps:
    """The row maps of nodes to the inputs, each computed once."""

    def __init__(self) -> None:
        self._known: dict[Node, Maps] = {}

    def at(self, index: Any, mark: Mark) -> Maps:
        """Return the maps of the positions of a marked index."""
        return self.of_rows(mark.node, positions(index, mark))

    def of_rows(self, node: Node, rows: Rows) -> Maps:
        """Return the maps of some rows of a node."""
        for each in _in_order(node, self._known):
            self._known[each] = _maps_of(each, self._known)
        taken = map_of(rows, node.n_rows)
        return {name: taken.compose(inner) for name, inner in self._known[node].items()}


def _in_order(node: Node, known: dict[Node, Maps]) -> list[Node]:
    """Return a node and what it comes from, parents first, without what is known."""
    found: set[Node] = set()
    waiting = [node]
    while waiting:
        each = waiting.pop()
        if each not in found and each not in known:
            found.add(each)
            waiting += each.parents()
    return sorted(found, key=lambda each: each.number)


def _maps_of(node: Node, known: dict[Node, Maps]) -> Maps:
    if node.name is not None:
        return {node.name: RowMap.identity(node.n_rows)}
    if node.pieces:
        return _stacked_maps(node, known)
    maps: Maps = {}
    for parent, via in node.edges:
        step = via if isinstance(via, RowMap) else map_of(via, parent.n_rows)
        for name, inner in known[parent].items():
            found = step.compose(inner)
            maps[name] = maps[name].union(found) if name in maps else found
    return maps


def _stacked_maps(node: Node, known: dict[Node, Maps]) -> Maps:
    sizes = {
        name: inner.n_in
        for _, parent, _ in node.pieces
        if parent is not None
        for name, inner in known[parent].items()
    }
    return {
        name: RowMap.segments(
            (n, _piece_map(n, parent, rows, name, n_in, known)) for n, parent, rows in node.pieces
        )
        for name, n_in in sizes.items()
    }


def _piece_map(
    n: int, parent: Node | None, rows: Rows, name: str, n_in: int, known: dict[Node, Maps]
) -> RowMap:
    inner = None if parent is None else known[parent].get(name)
    if inner is None:
        return RowMap.gather(no_rows(n), n_in)
    return map_of(rows, inner.n_out).compose(inner)


def _split(maps: Maps) -> tuple[Maps, Members]:
    """Part direct maps from dependencies through statistics, and from joins with too many pairs."""
    direct: Maps = {}
    members: Members = []
    for name, row_map in maps.items():
        boxes = boxes_of(row_map.relation)
        members += [(name, _STATISTIC, None, box.members.array()) for box in boxes]
        for part in _parts_of(row_map):
            n_pairs = float(part.counts().sum())
            if n_pairs > PAIRS_LIMIT:
                members.append((name, _JOINED_STATISTIC, None, _all_of(RowMap(part))))
            elif n_pairs or not boxes:
                known = direct.get(name)
                direct[name] = RowMap(part) if known is None else known.union(RowMap(part))
    return direct, members


def _parts_of(row_map: RowMap) -> list[Direct]:
    direct = direct_of(row_map.relation)
    if direct is None:
        return []
    return list(direct.parts) if isinstance(direct, Union) else [direct]


def _members_of(notes: Notes, found: _NodeMaps) -> Members:
    """Return the rows of inputs that every note is about."""
    known: dict[tuple[Node, int], Maps] = {}
    members: Members = []
    for note in list(notes.found.values()):
        key = (note.node, id(note.rows))
        if key not in known:
            known[key] = found.of_rows(note.node, note.rows)
        members += [
            (name, note.statistic, note.column, _all_of(each)) for name, each in known[key].items()
        ]
    return members


def _all_of(row_map: RowMap) -> IntArray:
    return row_map.backward(np.arange(row_map.n_out))


def _contexts(members: Members, notes: Notes) -> tuple[ContextDependency, ...]:
    """Return the dependencies, those of one statistic united where they are very many."""
    groups: dict[tuple[str, str, str | None], list[IntArray]] = defaultdict(list)
    for name, statistic, column, rows in members:
        groups[name, statistic, column].append(rows)
    return tuple(
        ContextDependency(name, statistic, column, _one_row(rows, notes.inputs[name].n_rows))
        for (name, statistic, column), several in groups.items()
        for rows in _apart(several)
    )


def _apart(several: list[IntArray]) -> list[IntArray]:
    apart: list[IntArray] = []
    for rows in several:
        if not any(np.array_equal(rows, other) for other in apart):
            apart.append(rows)
        if len(apart) > _MOST_NOTES_APART:
            return [np.unique(np.concatenate(several))]
    return apart


def _one_row(rows: IntArray, n_in: int) -> RowMap:
    """Return the map of one output row that came from these rows, ascending and distinct."""
    if len(rows) and int(rows[-1]) - int(rows[0]) + 1 == len(rows):
        return RowMap.window([rows[0]], [int(rows[-1]) + 1], n_in)
    codes = np.full(n_in, -1, dtype=np.int8)
    codes[rows] = 0
    return RowMap.groups(codes, 1)


def _reasons(mark: Mark | None, maps: Maps, members: Members, notes: Notes) -> dict[str, str]:
    """Say for each input whose map is unknown why it is."""
    noted = {name for name, _, _, _ in members}
    reasons: dict[str, str] = {}
    for name in notes.inputs:
        if mark is None:
            reasons[name] = f"the rows of {name!r} were not followed to the result{_hint(notes)}"
        elif name in mark.node.lost:
            reasons[name] = f"the rows of {name!r} were lost in {mark.node.lost[name]}"
        elif name not in maps and name not in noted:
            reasons[name] = f"no row of the result is known to come from {name!r}"
    return {name: f"{reason}: {_WAY_OUT}" for name, reason in reasons.items()}


def _hint(notes: Notes) -> str:
    last = dict.fromkeys(note.statistic for note in notes.found.values())
    return f" (noted: {', '.join(list(last)[-3:])})" if last else ""


def _ops(marks: Iterable[Mark]) -> tuple[Op, ...]:
    """Return the operations that led to the marks, in the order they ran."""
    found: set[Step] = set()
    waiting = [step for mark in marks for step in mark.steps]
    while waiting:
        step = waiting.pop()
        if step not in found:
            found.add(step)
            waiting += step.before
    return tuple(step.op for step in sorted(found, key=lambda step: step.number))

