"""The operations between sources and a value as a graph of boxes, for pictures."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from traceprop_engine.lineage.captured import Op
from traceprop_engine.lineage.marks import Step
from traceprop_engine.presentation import counted
from traceprop_engine.provenance_views.snapshot import Snapshot

MOST_OPS = 50
"""Operations that a picture shows one by one; the earlier ones of more become one box."""


@dataclass(frozen=True)
class Box:
    """A source, an operation, the earlier operations together, or the value itself."""

    kind: Literal["source", "op", "earlier", "value"]
    title: str
    caption: str


@dataclass(frozen=True)
class Arrow:
    """Rows went from one box into another; both are numbers of boxes, and ``start < end``.

    Attributes:
        start: Where they came from.
        end: Where they went.
        is_order: Whether it is only known that one ran before the other.
    """

    start: int
    end: int
    is_order: bool = False


@dataclass(frozen=True)
class OpGraph:
    """Boxes in an order in which each stands behind those it depends on, and their arrows."""

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]


def op_graph(snapshot: Snapshot) -> OpGraph:
    """Return the graph of a value: its sources, its operations in order, and itself."""
    return _Drawing(snapshot).graph()


class _Drawing:
    """Numbers the boxes of one graph and collects its arrows."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._steps = snapshot.steps()
        self._boxes: list[Box] = []
        self._arrows: dict[Arrow, None] = {}

    def graph(self) -> OpGraph:
        sources = {name: self._add(box) for name, box in self._sources().items()}
        at = self._earlier(sources)
        for step in self._steps[-MOST_OPS:]:
            at[step] = self._add(Box("op", *_words(step.op)))
            self._join(_starts(step, sources, at), at[step], is_step=True)
        value = self._add(Box("value", "result", counted(self._snapshot.n_rows, "row")))
        last = [at[step] for mark in self._snapshot.marks() for step in mark.steps]
        self._join(last or sources.values(), value)
        return OpGraph(tuple(self._boxes), tuple(self._arrows))

    def _sources(self) -> Mapping[str, Box]:
        maps = self._snapshot.lineage.maps
        return {
            name: Box(
                "source",
                name,
                counted(row_map.n_in, "row") + ("" if row_map.is_known else ", path unknown"),
            )
            for name, row_map in maps.items()
        }

    def _earlier(self, sources: Mapping[str, int]) -> dict[Step, int]:
        """Put all operations but the last ones into one box; return where each of them is."""
        hidden = self._steps[:-MOST_OPS]
        if not hidden:
            return {}
        box = self._add(Box("earlier", counted(len(hidden), "earlier operation"), ""))
        names = dict.fromkeys(name for step in hidden for name in step.op.inputs)
        self._join([sources[name] for name in names if name in sources], box)
        return dict.fromkeys(hidden, box)

    def _add(self, box: Box) -> int:
        self._boxes.append(box)
        return len(self._boxes) - 1

    def _join(self, starts: Iterable[int], end: int, *, is_step: bool = False) -> None:
        for start in starts:
            between_ops = is_step and self._boxes[start].kind != "source"
            is_order = between_ops and not self._snapshot.is_flow_known
            self._arrows[Arrow(start, end, is_order)] = None


def _starts(step: Step, sources: Mapping[str, int], at: Mapping[Step, int]) -> Sequence[int]:
    """Return the boxes that an operation took rows from.

    Names of inputs that no operation before it brings are its own. Where it took more values than
    there are operations before it, one of them was an input as it is.
    """
    covered = {name for before in step.before for name in before.op.inputs}
    own = [name for name in step.op.inputs if name not in covered]
    if not own and len(step.op.n_rows_in) > len(step.before):
        own = list(step.op.inputs)
    return [*(sources[name] for name in own if name in sources), *(at[s] for s in step.before)]


def _words(op: Op) -> tuple[str, str]:
    rows_in = ", ".join(f"{n:,}" for n in op.n_rows_in) or "?"
    rows = f"{rows_in} → {counted(op.n_rows_out, 'row')}"
    return op.name, f"{op.detail} · {rows}" if op.detail else rows
