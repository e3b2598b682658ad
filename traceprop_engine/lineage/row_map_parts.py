"""Row maps as named numbers and columns of equal length, which fit one Parquet file, and back.

Segments are written as the simple kind they flatten to.
"""

from collections.abc import Mapping

import numpy as np

from traceprop_engine.errors import RowMapError
from traceprop_engine.lineage.row_map_algebra import (
    flat,
    from_any_pairs,
)
from traceprop_engine.lineage.row_map_arrays import IntArray, checked_rows, owned
from traceprop_engine.lineage.row_map_context import Box, Context, RowSet
from traceprop_engine.lineage.row_map_kinds import (
    Gather,
    Groups,
    Many,
    Range,
    Relation,
    RowMapKind,
    Select,
    Window,
    joined,
)

Parts = tuple[RowMapKind, dict[str, int], dict[str, IntArray]]


def parts_of(relation: Relation) -> Parts:
    """Return the kind, its numbers and its columns."""
    simple = flat(relation)
    params: dict[str, int] = {}
    columns: dict[str, IntArray] = {}
    match simple:
        case Range():
            params = {"start": simple.start, "step": simple.step}
        case Select() | Gather():
            columns = {"in_row": simple.in_rows}
        case Groups():
            columns = {"out_row": simple.codes}
        case Window():
            columns = {"lo": simple.lo, "hi": simple.hi}
        case Many():
            out_rows, _ = simple.pairs()
            columns = {"out_row": owned(out_rows, simple.n_out), "in_row": simple.members}
        case Context():
            params, columns = _context_parts(simple)
        case _:
            pass
    return simple.kind, params, columns


def _context_parts(context: Context) -> tuple[dict[str, int], dict[str, IntArray]]:
    """Write each box as rows of its number, with -1 on the side that the row is not of."""
    params = {"boxes": len(context.boxes), "direct": int(context.direct is not None)}
    pieces: list[tuple[IntArray, IntArray, IntArray]] = []
    if context.direct is not None:
        out_rows, in_rows = context.direct.pairs()
        pieces.append((np.full(len(out_rows), -1), out_rows, in_rows))
    for number, box in enumerate(context.boxes):
        for side, rows in (("out", box.outs), ("in", box.members)):
            if rows.rows is None:
                params[f"every_{side}_{number}"] = 1
                continue
            none = np.full(len(rows), -1)
            ends = (rows.array(), none) if side == "out" else (none, rows.array())
            pieces.append((np.full(len(rows), number), *ends))
    if not pieces:
        return params, {}
    box_no, out_rows, in_rows = (joined(column) for column in zip(*pieces, strict=True))
    return params, {"box": box_no, "out_row": out_rows, "in_row": in_rows}


def context_from_parts(
    n_out: int, n_in: int, params: Mapping[str, int], columns: Mapping[str, IntArray]
) -> Context:
    """Return the context map that was written as these parts.

    Raises:
        RowMapError: A row is out of range, or the columns do not fit together.
    """
    empty = np.empty(0, dtype=np.int64)
    box_no, out_rows, in_rows = (columns.get(name, empty) for name in ("box", "out_row", "in_row"))
    if not len(box_no) == len(out_rows) == len(in_rows):
        raise RowMapError("The columns of a context map differ in length", "write the map again")
    checked_rows(out_rows, n_out, "out_row", none=True)
    checked_rows(in_rows, n_in, "in_row", none=True)
    boxes = []
    for number in range(params.get("boxes", 0)):
        here = box_no == number
        outs = out_rows[here & (out_rows >= 0)]
        members = in_rows[here & (in_rows >= 0)]
        boxes.append(
            Box(
                RowSet.every(n_out) if f"every_out_{number}" in params else RowSet.of(outs, n_out),
                RowSet.every(n_in) if f"every_in_{number}" in params else RowSet.of(members, n_in),
            )
        )
    direct = None
    if params.get("direct"):
        direct = from_any_pairs(out_rows[box_no < 0], in_rows[box_no < 0], n_out, n_in)
    return Context(direct, tuple(boxes), n_out, n_in)
