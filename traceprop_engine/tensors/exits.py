"""Values that leave a tensor as something else, and what is written down about that.

A number from ``x.mean().item()`` may go into anything. So the rows that it came from count as
context of every later result of the session.
"""

from typing import Final

import numpy as np

from traceprop_engine.lineage.marks import Note, Notes, Placed
from traceprop_engine.lineage.resolve import reached_inputs

EXITS: Final = frozenset(
    {
        "__array__", "__bool__", "__complex__", "__contains__", "__float__", "__index__",
        "__int__", "allclose", "equal", "is_nonzero", "item", "tolist",
    }
)  # fmt: skip
"""Functions that give values of their own."""

SHARED_MEMORY: Final = frozenset(
    {
        "__array__", "__dlpack__", "__cuda_array_interface__", "data_ptr", "numpy", "get:data",
        "storage", "untyped_storage", "_typed_storage",
    }
)  # fmt: skip
"""Functions that hand out the memory: what is written there is not seen."""

_MOST_NOTES = 64


def note_exit(placed: Placed, name: str) -> None:
    """Write down that values of these rows left through a function.

    Many notes on one function become one for each input, so that a loop does not fill the memory.
    """
    mark, rows = placed
    notes, statistic = mark.node.notes, f"torch.{name}"
    key = (statistic, None, mark.node.number, id(rows))
    notes.found.setdefault(key, Note(statistic, None, mark.node, rows, rows))
    alike = [key for key, note in list(notes.found.items()) if note.statistic == statistic]
    if len(alike) > _MOST_NOTES:
        _unite(notes, statistic, alike)


def _unite(notes: Notes, statistic: str, keys: list[object]) -> None:
    several = [notes.found.pop(key) for key in keys]
    reached = reached_inputs([(note.node, note.rows) for note in several])
    for name, mask in reached.items():
        rows = np.flatnonzero(mask)
        key = (statistic, None, notes.inputs[name].number, "united")
        notes.found[key] = Note(statistic, None, notes.inputs[name], rows, rows)
