"""What is known of a value at one moment: its rows, its operations, and what its graph noted."""

from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traceprop_engine.errors import UntrackedValueError
from traceprop_engine.lineage.captured import CapturedLineage, ContextDependency, Fidelity
from traceprop_engine.lineage.carriers import placed_of
from traceprop_engine.lineage.decode import Followed
from traceprop_engine.lineage.graph import default_graph
from traceprop_engine.lineage.marks import (
    Mark,
    Node,
    Note,
    Notes,
    Placed,
    Step,
    derived,
    nodes_above,
    steps_to,
)
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.lineage.row_map_algebra import boxes_of, direct_of
from traceprop_engine.provenance_views.source_facts import token_of, versions_of
from traceprop_engine.sources import SourceVersion


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What was known of a value when it was asked for; what happens later is not in it.

    Attributes:
        n_rows: Rows of the value.
        rows: Its mark and its rows.
        columns: The rows that were turned into its columns, if any were.
        notes: The inputs and notes of its graph.
        is_scoped: Whether the graph is a session for one result: then every note counts for it.
        token: Tells the graph from every other one; ``None`` for a lineage that belongs to none.
        versions: The file version of inputs that were read from a file.
        said: Fidelity and reason, where the lineage was handed over ready.
        is_flow_known: Whether the steps say which of them went into which.
    """

    n_rows: int
    rows: Placed | None
    columns: Placed | None
    notes: Notes
    is_scoped: bool
    token: str | None
    versions: Mapping[str, SourceVersion]
    said: tuple[Fidelity, str | None] | None = None
    is_flow_known: bool = True

    @cached_property
    def lineage(self) -> CapturedLineage:
        """How the rows of the value follow from the rows of the inputs."""
        notes = self.notes
        if not self.is_scoped:
            notes = Notes(inputs=self._own_inputs(), found=self._own_notes())
        lineage = Followed(self.n_rows, self.rows, self.columns, notes).lineage()
        if self.said is None:
            return lineage
        return replace(lineage, fidelity=self.said[0], reason=self.said[1])

    @cached_property
    def left(self) -> tuple[ContextDependency, ...]:
        """What its graph noted beside, and no operation on the way is known to have taken."""
        own = self.notes.found if self.is_scoped else self._own_notes()
        return _contexts(self.notes, {k: v for k, v in self.notes.found.items() if k not in own})

    @cached_property
    def noted(self) -> tuple[ContextDependency, ...]:
        """What was noted in its graph, whatever became of it."""
        return _contexts(self.notes, self.notes.found)

    def marks(self) -> list[Mark]:
        """Return the marks of its rows and columns."""
        return [placed[0] for placed in (self.rows, self.columns) if placed is not None]

    def nodes(self) -> list[Node]:
        """Return the sets of rows that it comes from, parents first, its own ones last."""
        return nodes_above(mark.node for mark in self.marks())

    def steps(self) -> list[Step]:
        """Return the operations that led to it, in the order they ran."""
        return steps_to(self.marks())

    def kept_inputs(self) -> dict[str, Node]:
        """Return the inputs that what is known of the value is about."""
        if self.is_scoped:
            return self.notes.inputs
        names = {*self._own_inputs(), *(context.input for context in self.noted)}
        return {name: node for name, node in self.notes.inputs.items() if name in names}

    def _own_inputs(self) -> dict[str, Node]:
        """Return the inputs that its rows reach, or that it may depend on by a noted statistic.

        An operation that took an input of which nothing was noted took rows that are not there any
        more, or none.
        """
        names = {name for mark in self.marks() for name in (*mark.node.roots, *mark.node.lost)}
        noted = {name for note in self.notes.found.values() for name in note.node.roots}
        for taken in self._taken_by().values():
            names |= taken & noted
        return {name: node for name, node in self.notes.inputs.items() if name in names}

    def _own_notes(self) -> dict[Hashable, Note]:
        """Return the notes on statistics that operations on the way computed of their inputs.

        A statistic that was computed twice of one input, of other rows, counts with all of them.
        """
        taken = self._taken_by()
        return {
            key: note
            for key, note in self.notes.found.items()
            if note.node.roots & taken.get(note.statistic, set())
        }

    def _taken_by(self) -> dict[str, set[str]]:
        """Return for each name of an operation on the way the inputs that it took."""
        taken: dict[str, set[str]] = defaultdict(set)
        for step in self.steps():
            taken[step.op.name].update(step.op.inputs)
        return dict(taken)


def snapshot_of(value: Any) -> Snapshot:
    """Return what is known of a value now.

    Raises:
        UntrackedValueError: It carries no rows, or its graph is closed.
    """
    if isinstance(value, CapturedLineage):
        return _of_lineage(value)
    rows = placed_of(value)
    columns = placed_of(value.columns) if isinstance(value, pd.DataFrame) else None
    known = rows or columns
    if known is None or not known[0].node.notes.is_open:
        raise UntrackedValueError(type(value).__name__)
    notes = known[0].node.notes
    return Snapshot(
        n_rows=len(value) if rows is None else len(rows[1]),
        rows=rows if rows is None or rows[0].node.notes is notes else None,
        columns=columns if columns is None or columns[0].node.notes is notes else None,
        notes=Notes(inputs=dict(notes.inputs), found=dict(notes.found)),
        is_scoped=notes is not default_graph(),
        token=token_of(notes),
        versions=versions_of(notes),
    )


def _contexts(notes: Notes, found: Mapping[Hashable, Note]) -> tuple[ContextDependency, ...]:
    if not found:
        return ()
    some = Notes(inputs=notes.inputs, found=dict(found))
    return Followed(0, None, None, some).lineage().contexts


def note_of(context: ContextDependency, root: Node) -> Note:
    """Return a dependency as a note on the rows of its input."""
    rows = context.members.backward(np.arange(context.members.n_out))
    return Note(context.statistic, context.column, root, rows, rows, context.detail)


def _of_lineage(lineage: CapturedLineage) -> Snapshot:
    """Return a lineage that is known already as a graph of its inputs and its result."""
    notes = Notes()
    for name, row_map in lineage.maps.items():
        _add_input(notes, name, row_map.n_in)
    for number, context in enumerate(lineage.contexts):
        _add_input(notes, context.input, context.members.n_in)
        notes.found[number] = note_of(context, notes.inputs[context.input])
    claims = (lineage.reason or "",) if lineage.fidelity == "claimed" else ()
    node = derived(
        notes, lineage.n_rows, _edges(lineage, notes), lost=_lost(lineage), claims=claims
    )
    every = range(lineage.n_rows)
    mark = Mark(node, every, _in_a_row(lineage))
    said = (lineage.fidelity, lineage.reason)
    return Snapshot(
        lineage.n_rows,
        (mark, every),
        None,
        notes,
        is_scoped=True,
        token=None,
        versions={},
        said=said,
        is_flow_known=False,
    )


def _add_input(notes: Notes, name: str, n_rows: int) -> None:
    if name not in notes.inputs:
        notes.inputs[name] = Node(notes, n_rows, name=name, roots=frozenset([name]))


def _lost(lineage: CapturedLineage) -> dict[str, str]:
    unknown = [name for name, row_map in lineage.maps.items() if not row_map.is_known]
    return dict.fromkeys(unknown, lineage.reason or "an unknown operation")


def _edges(lineage: CapturedLineage, notes: Notes) -> list[tuple[Node, RowMap]]:
    """Return the maps; a statistic stays an edge where the dependencies do not say all of it."""
    edges: list[tuple[Node, RowMap]] = []
    for name, row_map in lineage.maps.items():
        if not row_map.is_known:
            continue
        relation = row_map.relation
        noted = _noted_rows(lineage, name, row_map.n_in)
        is_said = all(noted[box.members.array()].all() for box in boxes_of(relation))
        kept = direct_of(relation) if is_said else relation
        if kept is not None:
            edges.append((notes.inputs[name], RowMap(kept)))
    return edges


def _noted_rows(lineage: CapturedLineage, name: str, n_rows: int) -> NDArray[np.bool_]:
    """Return which rows of an input the dependencies of a lineage name, one flag for each."""
    noted = np.zeros(n_rows, dtype=bool)
    for context in lineage.contexts:
        if context.input == name:
            noted[context.members.backward(np.arange(context.members.n_out))] = True
    return noted


def _in_a_row(lineage: CapturedLineage) -> tuple[Step, ...]:
    last: tuple[Step, ...] = ()
    for op in lineage.ops:
        last = (Step(op, last),)
    return last
