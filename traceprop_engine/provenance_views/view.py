"""What can be asked of a tracked value: where its rows came from, and through what."""

from dataclasses import dataclass
from html import escape
from operator import index
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.errors import ViewRowError
from traceprop_engine.lineage.captured import CapturedLineage, ContextDependency, Op
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.lineage.rows import is_counting
from traceprop_engine.presentation import counted, visible
from traceprop_engine.provenance_views.compression import compress_if_enabled
from traceprop_engine.provenance_views.op_graph import op_graph
from traceprop_engine.provenance_views.pictures import mermaid_of, svg_of
from traceprop_engine.provenance_views.row_trace import RowTrace, traced_source
from traceprop_engine.provenance_views.snapshot import Snapshot, snapshot_of

Known = NDArray[np.int64] | None
"""Row numbers, ascending and distinct; ``None`` when nobody knows them."""


@dataclass(frozen=True, eq=False, repr=False)
class ProvenanceView:
    """What was known of a value when `provenance` was asked for it, or when it was saved.

    Attributes:
        snapshot: The graph behind it, as it was then.
    """

    snapshot: Snapshot

    @property
    def n_rows(self) -> int:
        """Rows of the value, along its first axis."""
        return self.snapshot.n_rows

    @property
    def lineage(self) -> CapturedLineage:
        """How the rows of the value follow from the rows of its sources."""
        return self.snapshot.lineage

    def ancestors(self) -> set[int]:
        """Return the ids of the sets of rows that the value comes from.

        A set of rows gets an id when an input is wrapped, and when rows are picked, put together or
        summarised; an operation that leaves the rows alone makes none. The value's own rows count
        only where they are those of an earlier set: an untouched input has no ancestors. An id is
        good for one process, or for the store that a view was loaded from.
        """
        placed = [each for each in (self.snapshot.rows, self.snapshot.columns) if each is not None]
        own = {
            mark.node
            for mark, rows in placed
            if not mark.steps and is_counting(rows, mark.node.n_rows)
        }
        return {node.number for node in self.snapshot.nodes() if node not in own}

    def ops(self) -> list[Op]:
        """Return the operations that led to the value, in the order they ran."""
        return [step.op for step in self.snapshot.steps()]

    def sources(self) -> list[str]:
        """Return the ids of the sources that rows or statistics of the value come from.

        A source counts too where it is only known that an operation on the way took its rows. What
        left tracking, such as a mean that was printed, does not: see `left`. In a capture session
        every input counts that the session's lineage names.
        """
        return list(self.lineage.maps)

    def rows(self, i: SupportsIndex) -> dict[str, Known]:
        """Return for each source the rows that row ``i`` came from, as numbers counted from 0.

        Rows that it depends on through a statistic only are not among them: see `statistics`.
        ``None`` instead of row numbers: nobody knows them, see ``lineage.reason``.

        Raises:
            ViewRowError: The value has no such row.
        """
        row = self._row(i)
        return {name: _rows_of(row_map, row) for name, row_map in self.lineage.maps.items()}

    def trace(self, i: SupportsIndex) -> RowTrace:
        """Return the way of row ``i`` back to the sources, with the lines of files it came from.

        Raises:
            ViewRowError: The value has no such row.
        """
        versions = self.snapshot.versions
        found = self.rows(i)
        return RowTrace(
            self._row(i),
            self.n_rows,
            tuple(traced_source(name, rows, versions.get(name)) for name, rows in found.items()),
            self.statistics(),
            tuple(self.ops()),
            self.lineage.reason,
            self.left(),
        )

    def statistics(self) -> tuple[ContextDependency, ...]:
        """Return what the value depends on through statistics, such as a mean over all rows."""
        return self.lineage.contexts

    def left(self) -> tuple[ContextDependency, ...]:
        """Return what else the graph of the process noted.

        These are statistics of other values, and values that left tracking, such as a mean as a
        Python number, which may have gone into anything. In a capture session all notes are among
        the `statistics`, and here there are none.
        """
        return self.snapshot.left

    def to_mermaid(self) -> str:
        """Return the operations between sources and value as a Mermaid flowchart."""
        return mermaid_of(op_graph(self.snapshot))

    def to_svg(self) -> str:
        """Return the operations between sources and value as an SVG picture.

        Each has a line of its own; of more than 50 the earlier ones share one.
        """
        return svg_of(op_graph(self.snapshot))

    def __repr__(self) -> str:
        return f"ProvenanceView({self._summary()})"

    def _repr_svg_(self) -> str:
        return self.to_svg()

    def _repr_markdown_(self) -> str:
        return f"{visible(self._summary())}\n\n```mermaid\n{self.to_mermaid()}```\n"

    def _repr_html_(self) -> str:
        lines = [self._summary(), *([self.lineage.reason] if self.lineage.reason else [])]
        text = "".join(f"<div>{escape(visible(line))}</div>" for line in lines)
        return f'<div style="overflow-x:auto">{text}{self.to_svg()}</div>'

    def _summary(self) -> str:
        names = ", ".join(repr(name) for name in self.sources()) or "no source"
        parts = [
            f"{counted(self.n_rows, 'row')} from {names}",
            counted(len(self.ops()), "operation"),
            counted(len(self.statistics()), "statistic"),
            self.lineage.fidelity,
        ]
        n_covered = round(self.lineage.coverage() * self.n_rows)
        if n_covered < self.n_rows:
            rows = counted(self.n_rows, "row")
            parts.append(f"{n_covered:,} of {rows} have a known source")
        return "; ".join(parts)

    def _row(self, i: SupportsIndex) -> int:
        row = index(i) if isinstance(i, SupportsIndex) and not isinstance(i, bool) else -1
        if not 0 <= row < self.n_rows:
            raise ViewRowError(i, self.n_rows)
        return row


def provenance(value: Any) -> ProvenanceView:
    """Return what can be asked of a value now; what happens to its graph later changes nothing.

    Args:
        value: A tracked array, tensor or table, a pandas object that is followed, or the lineage
            that a session or a query handed over.

    Raises:
        UntrackedValueError: The value carries no rows, or its graph is closed.
    """
    if isinstance(value, ProvenanceView):
        return value
    snapshot = snapshot_of(value)
    compress_if_enabled(snapshot)
    return ProvenanceView(snapshot)


def _rows_of(row_map: RowMap, row: int) -> Known:
    if not row_map.is_known:
        return None
    if row_map.kind == "context":
        return np.empty(0, dtype=np.int64)
    return row_map.backward([row])
