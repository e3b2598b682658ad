"""What a tracked frame of any library does with its rows, whatever the frame is.

A verb computes the user's result on the plain frame; beside it, row numbers go through the same
verb in a column that the user's code cannot meet.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Self

import pandas as pd

from traceprop_engine.errors import CaptureError
from traceprop_engine.lineage.captured import Op
from traceprop_engine.lineage.carriers import carried, node_of, placed_of
from traceprop_engine.lineage.graph import default_graph, root_rows
from traceprop_engine.lineage.marks import (
    Mark,
    Node,
    Placed,
    Step,
    derived,
    lost_node,
    stacked,
    steps_of,
    write_note,
)
from traceprop_engine.lineage.pandas_capture import CaptureSession
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.lineage.rows import IntArray, Rows, no_rows, taken

_LONGEST_DETAIL = 120


class FollowedFrame:
    """A frame and the rows that it holds; the verbs are those of each library."""

    KIND: str = "Frame"
    """How operations of the frame are called in lineage."""

    __slots__ = ("_frame", "_known")

    def __init__(self, frame: Any, placed: Placed | None) -> None:
        """Hold a plain frame, and its rows if they are known."""
        self._frame = frame
        self._known = placed

    @property
    def _placed(self) -> Placed | None:
        is_followed = self._known is not None and self._known[0].node.notes.is_open
        return self._known if is_followed else None

    def __traceprop_placed__(self) -> Placed | None:
        """Return its mark and its rows; ``None`` when nobody knows them."""
        return self._placed

    def __traceprop_plain__(self) -> Any:
        """Return the frame of the library."""
        return self._frame

    def __len__(self) -> int:
        return len(self._frame)

    def __repr__(self) -> str:
        names = sorted(self._placed[0].node.roots) if self._placed else []
        return f"{type(self).__name__} of {', '.join(names) or 'unknown rows'}\n{self._frame!r}"

    def __copy__(self) -> Self:
        return type(self)(self._frame, self._placed)

    def __deepcopy__(self, _memo: object) -> Self:
        return self.__copy__()  # the frame is never changed in place

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        self.note_all("__array__")
        return self._frame.__array__(*args, **kwargs)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        self.note_all("__arrow_c_stream__")
        return self._frame.__arrow_c_stream__(requested_schema)

    def to_pandas(self, **options: Any) -> pd.DataFrame:
        """Return a pandas frame, which an open session of its inputs goes on to follow."""
        return self.handed_over(self._frame.to_pandas(**options), "to_pandas")

    def handed_over(self, value: Any, verb: str) -> Any:
        """Return a value of another library, its rows with it if that library is followed."""
        if self._placed is None:
            return value
        if carried.dispatch(type(value)) is carried.dispatch(object):
            self.note_all(verb)
            return value
        step = self._step(verb, (), [self], len(value))
        return carried(value, node_of(self._placed), (step,))

    def of_all_rows(self, frame: Any, verb: str, *arguments: Any) -> Self:
        """Return a frame whose rows are those of this one, in order."""
        return self.of_rows(frame, range(len(self)), verb, *arguments)

    def of_rows(self, frame: Any, rows: Rows, verb: str, *arguments: Any) -> Self:
        """Return a frame whose row ``i`` is row ``rows[i]`` of this one, none where that is -1."""
        if self._placed is None or len(rows) != len(frame):
            return self.of_lost(frame, verb)
        mark, mine = self._placed
        picked = mine if isinstance(rows, range) else taken(mine, rows)
        steps = (self._step(verb, arguments, [self], len(frame)),)
        return type(self)(frame, (Mark(mark.node, picked, steps), picked))

    def of_group_codes(self, frame: Any, codes: IntArray, verb: str, *arguments: Any) -> Self:
        """Return a frame whose row ``i`` is made of the rows with code ``i``."""
        if self._placed is None:
            return type(self)(frame, None)
        base = node_of(self._placed)
        node = derived(base.notes, len(frame), [(base, RowMap.groups(codes, len(frame)))])
        return self._of_node(frame, node, self._step(verb, arguments, [self], len(frame)))

    def of_statistic(self, frame: Any, verb: str, *arguments: Any) -> Self:
        """Return a frame whose rows depend on all rows of this one through a statistic."""
        if self._placed is None:
            return type(self)(frame, None)
        base = node_of(self._placed)
        node = Node(
            base.notes,
            len(frame),
            edges=((base, RowMap.context(len(frame), range(base.n_rows), base.n_rows)),),
            lost=base.lost,
            claims=base.claims,
            is_statistic=True,
            roots=base.roots,
        )
        return self._of_node(frame, node, self._step(verb, arguments, [self], len(frame)))

    def of_joined(
        self, frame: Any, parts: Sequence[tuple[Any, IntArray]], verb: str, *arguments: Any
    ) -> Self:
        """Return a frame whose row ``i`` is made of one row of each part, none where it is -1."""
        found = [(placed_of(part), rows) for part, rows in parts]
        edges = [(p[0].node, taken(p[1], rows)) for p, rows in found if p is not None]
        if not edges:
            return type(self)(frame, None)
        notes = edges[0][0].notes
        node = derived(notes, len(frame), [edge for edge in edges if edge[0].notes is notes])
        step = self._step(verb, arguments, [part for part, _ in parts], len(frame))
        return self._of_node(frame, node, step)

    def of_stacked(self, frame: Any, parts: Sequence[Any], verb: str) -> Self:
        """Return a frame whose rows are those of the parts, one below the other."""
        mine = {id(part): placed for part, placed in placed_together(parts)}
        if not mine or sum(map(len, parts)) != len(frame):
            return self.of_lost(frame, verb, *parts)
        pieces = [_piece(len(part), mine.get(id(part))) for part in parts]
        notes = next(iter(mine.values()))[0].node.notes
        return self._of_node(frame, stacked(notes, pieces), self._step(verb, (), parts, len(frame)))

    def of_groups(self, frame: Any, codes: IntArray | None, verb: str, given: Any) -> Self:
        """Return a frame of groups with these codes; its rows are lost without codes."""
        if codes is None:
            return self.of_lost(frame, f"group_by.{verb}")
        return self.of_group_codes(frame, codes, f"group_by.{verb}", *given)

    def of_lost(self, frame: Any, verb: str, *others: Any) -> Self:
        """Return a frame whose rows may come from this one and the others, nobody knows how."""
        mine = placed_together([self, *others])
        if not mine:
            return type(self)(frame, None)
        nodes = [mark.node for _, (mark, _) in mine]
        node = lost_node(nodes[0].notes, len(frame), nodes, f"{self.KIND}.{verb}")
        return self._of_node(frame, node, self._step(verb, (), [self, *others], len(frame)))

    def note_all(self, verb: str, column: str | None = None) -> None:
        """Write down that all rows took part in a statistic, or that their values left."""
        if self._placed is not None:
            mark, rows = self._placed
            write_note(mark, f"{self.KIND}.{verb}", column, rows, id(rows), rows)

    def _of_node(self, frame: Any, node: Node, step: Step) -> Self:
        every = range(len(frame))
        return type(self)(frame, (Mark(node, every, (step,)), every))

    def _step(self, verb: str, arguments: Sequence[Any], frames: Sequence[Any], n_out: int) -> Step:
        marks = [mark for _, (mark, _) in placed_together(frames)]
        roots = frozenset().union(*[mark.node.roots for mark in marks])
        op = Op(
            name=f"{self.KIND}.{verb}",
            detail=_detail(arguments),
            inputs=tuple(name for name in marks[0].node.notes.inputs if name in roots),
            n_rows_in=tuple(len(each) for each in frames),
            n_rows_out=n_out,
        )
        return Step(op, steps_of(marks))


def placed_together(frames: Iterable[Any]) -> list[tuple[Any, Placed]]:
    """Return the frames that are followed in the session of the first one, with their rows."""
    found = [(each, placed) for each in frames if (placed := placed_of(each)) is not None]
    return [
        (each, placed)
        for each, placed in found
        if placed[0].node.notes is found[0][1][0].node.notes
    ]


def note_frame(frame: Any, statistic: str) -> None:
    """Write down that all rows of a frame took part in a statistic, if they are followed."""
    placed = placed_of(frame)
    if placed is not None:
        mark, rows = placed
        write_note(mark, statistic, None, rows, id(rows), rows)


def placed_input(n_rows: int, name: str | None, session: CaptureSession | None) -> Placed:
    """Return the mark of a new input of a session, of the process without one.

    Raises:
        CaptureError: It has no name, or the name is that of other rows.
    """
    if name is None:
        raise CaptureError("A frame that is not followed yet needs a name", "pass `name=`")
    mark = root_rows(default_graph() if session is None else session.notes, n_rows, name)
    return mark, range(n_rows)


def _piece(n: int, placed: Placed | None) -> tuple[int, Node | None, Rows]:
    return (n, None, no_rows(n)) if placed is None else (n, placed[0].node, placed[1])


def _detail(arguments: Sequence[Any]) -> str:
    shown = ", ".join(str(each) for each in arguments if each is not None and str(each))
    return shown if len(shown) <= _LONGEST_DETAIL else shown[: _LONGEST_DETAIL - 1] + "…"
