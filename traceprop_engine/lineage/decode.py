"""From the mark of a result to its lineage."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from traceprop_engine.lineage.captured import CapturedLineage, ContextDependency
from traceprop_engine.lineage.marks import (
    Mark,
    Node,
    Note,
    Notes,
    Placed,
    Tracked,
    look_through,
    steps_to,
)
from traceprop_engine.lineage.resolve import Maps, Mask, NodeMaps, reached_inputs
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.lineage.row_map_algebra import boxes_of, direct_of
from traceprop_engine.lineage.row_map_compound import PAIRS_LIMIT, Union
from traceprop_engine.lineage.row_map_kinds import Direct
from traceprop_engine.lineage.rows import IntArray, as_array

What = tuple[str, str | None, str | None]
"""Statistic, column, and what was fitted."""

Members = list[tuple[str, What, Mask]]
"""Input, what its rows took part in, and which rows did."""

_MOST_NOTES_APART = 16
_STATISTIC = "statistic"
_JOINED_STATISTIC = "aggregate joined to many rows"
_WAY_OUT = "keep to operations on whole rows, or declare the rows with `record`"


@dataclass(frozen=True, eq=False)
class Followed:
    """What a session knows of a result: enough to say its lineage at any later time.

    Attributes:
        n_rows: How many rows the result has.
        rows: Which rows they are; ``None`` if nobody followed them.
        columns: Which rows were turned into its columns, if any were.
        notes: What the session had written down.
    """

    n_rows: int
    rows: Placed | None
    columns: Placed | None
    notes: Notes

    @classmethod
    def now(
        cls, n_rows: int, rows: Placed | None, columns: Placed | None, notes: Notes
    ) -> "Followed":
        """Return what ``notes`` say now; what is written down later is not in it."""
        return cls(n_rows, rows, columns, Notes(inputs=dict(notes.inputs), found=dict(notes.found)))

    def lineage(self) -> CapturedLineage:
        """Return how the rows of the result follow from the rows of the inputs."""
        return _lineage_of(self.n_rows, self.rows, self.columns, self.notes)


def _lineage_of(
    n_rows: int, rows: Placed | None, columns: Placed | None, notes: Notes
) -> CapturedLineage:
    mark, across = rows and rows[0], columns and columns[0]
    maps, members = _direct_maps(rows)
    if columns is not None and (mark is None or not columns[0].node.is_statistic):
        reached = reached_inputs([(columns[0].node, columns[1])])
        members += [(name, ("columns", None, None), mask) for name, mask in reached.items()]
    members += _members_of(notes)
    reasons = _reasons(mark or across, maps, members, notes)
    for name, node in notes.inputs.items():
        if name in reasons:
            maps[name] = RowMap.unknown(n_rows, node.n_rows)
        elif name not in maps:
            masks = [mask for other, _, mask in members if other == name]
            members_of_any = np.flatnonzero(np.logical_or.reduce(masks))
            maps[name] = RowMap.context(n_rows, members_of_any, node.n_rows)
    marks = [each for each in (mark, across) if each is not None]
    claims = list(dict.fromkeys(claim for each in marks for claim in each.node.claims))
    return CapturedLineage(
        n_rows=n_rows,
        maps={name: maps[name] for name in notes.inputs},
        contexts=_contexts(members),
        ops=tuple(step.op for step in steps_to(marks)),
        fidelity="unknown" if reasons else "claimed" if claims else "exact",
        reason="; ".join([*reasons.values(), *claims]) or None,
    )


def followed_value(value: Tracked, notes: Notes) -> Followed:
    """Return what is known of a value that knows its rows, unless they are of other notes."""
    placed = value.__traceprop_placed__()
    if placed is None:
        return Followed.now(len(value.__traceprop_plain__()), None, None, notes)
    # A single value, such as a sum, has no length; its one row is that of its mark.
    n_rows, is_own = len(placed[1]), placed[0].node.notes is notes
    return Followed.now(n_rows, placed if is_own else None, None, notes)


def _direct_maps(rows: Placed | None) -> tuple[Maps, Members]:
    """Part direct maps from dependencies through statistics, and from joins with too many pairs."""
    direct: Maps = {}
    members: Members = []
    if rows is None:
        return direct, members
    for name, row_map in NodeMaps().of_rows(rows[0].node, rows[1]).items():
        boxes = boxes_of(row_map.relation)
        members += [
            (name, (_STATISTIC, None, None), _mask(box.members.array(), row_map.n_in))
            for box in boxes
        ]
        for part in _parts_of(row_map):
            n_pairs = float(part.counts().sum()) if part.kind in _MANY_PAIRS or boxes else 1.0
            if n_pairs > PAIRS_LIMIT:
                joined = part.backward(np.arange(part.n_out))
                members.append((name, (_JOINED_STATISTIC, None, None), _mask(joined, part.n_in)))
            elif n_pairs or not boxes:
                known = direct.get(name)
                direct[name] = RowMap(part) if known is None else known.union(RowMap(part))
    return direct, members


_MANY_PAIRS = ("window", "many", "segments", "factored")


def _parts_of(row_map: RowMap) -> list[Direct]:
    direct = direct_of(row_map.relation)
    if direct is None:
        return []
    return list(direct.parts) if isinstance(direct, Union) else [direct]


def _mask(rows: Any, n_rows: int) -> Mask:
    mask = np.zeros(n_rows, dtype=bool)
    mask[rows] = True
    return mask


def _members_of(notes: Notes) -> Members:
    """Return which rows of inputs every note is about; very many of one statistic are one."""
    alike: dict[What, list[Note]] = defaultdict(list)
    for note in list(notes.found.values()):
        alike[note.statistic, note.column, note.detail].append(note)
    known: dict[tuple[Node, int], dict[str, Mask]] = {}
    members: Members = []
    for what, several in alike.items():
        for reached in _reached(several, known):
            members += [(name, what, mask) for name, mask in reached.items()]
    return members


def _reached(
    several: list[Note], known: dict[tuple[Node, int], dict[str, Mask]]
) -> Iterator[dict[str, Mask]]:
    if len(several) > _MOST_NOTES_APART:
        yield reached_inputs(_united(several))
        return
    for note in several:
        key = (note.node, id(note.rows))
        if key not in known:
            known[key] = reached_inputs([(note.node, note.rows)])
        yield known[key]


def _united(several: list[Note]) -> Iterator[tuple[Node, IntArray]]:
    """Yield the rows of all notes, once for each node that they are rows of."""
    rows_of: dict[Node, list[IntArray]] = defaultdict(list)
    for note in several:
        node, rows = look_through(note.node, note.rows)
        if node is not None:
            rows_of[node].append(as_array(rows))
    for node, pieces in rows_of.items():
        yield node, np.concatenate(pieces)


def _contexts(members: Members) -> tuple[ContextDependency, ...]:
    """Return the dependencies, those of one statistic united where they are very many."""
    groups: dict[tuple[str, What], dict[int, Mask]] = defaultdict(dict)
    for name, what, mask in members:
        groups[name, what][id(mask)] = mask
    made: dict[int, RowMap] = {}
    return tuple(
        ContextDependency(name, statistic, column, _one_row(mask, made), detail)
        for (name, (statistic, column, detail)), masks in groups.items()
        for mask in _apart(list(masks.values()))
    )


def _apart(masks: list[Mask]) -> list[Mask]:
    if len(masks) > _MOST_NOTES_APART:
        return [np.logical_or.reduce(masks)]
    apart: list[Mask] = []
    for mask in masks:
        if not any(np.array_equal(mask, other) for other in apart):
            apart.append(mask)
    return apart


def _one_row(mask: Mask, made: dict[int, RowMap]) -> RowMap:
    """Return the map of one output row that came from the marked rows."""
    if id(mask) not in made:
        if mask.all():
            made[id(mask)] = RowMap.window([0], [len(mask)], len(mask))
        else:
            made[id(mask)] = RowMap.groups(mask.view(np.int8) - 1, 1)
    return made[id(mask)]


def _reasons(mark: Mark | None, maps: Maps, members: Members, notes: Notes) -> dict[str, str]:
    """Say for each input whose map is unknown why it is."""
    noted = {name for name, _, _ in members}
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
