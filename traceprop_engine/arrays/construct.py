"""Arrays that know their rows, from plain values and from other values that know theirs."""

from itertools import count
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from traceprop_engine.arrays.combining import keeps_nothing
from traceprop_engine.arrays.lines import Lines
from traceprop_engine.arrays.memory import RowArray, held_of
from traceprop_engine.arrays.tracked import tracked_array
from traceprop_engine.errors import ArrayInputError
from traceprop_engine.lineage.carriers import carried, node_of, placed_of, plain_of
from traceprop_engine.lineage.graph import default_graph, root_rows
from traceprop_engine.lineage.marks import Placed
from traceprop_engine.lineage.pandas_align import set_row_mark
from traceprop_engine.lineage.pandas_capture import CaptureSession
from traceprop_engine.lineage.pandas_marks import marked_view

Labelled = TypeVar("Labelled", pd.DataFrame, pd.Series)


def array(
    data: Any,
    source_id: str | None = None,
    *,
    dtype: Any = None,
    session: CaptureSession | None = None,
) -> Any:
    """Return an array that knows its rows.

    Args:
        data: Anything that NumPy makes an array of, as a new input; or a value that knows its rows
            already, such as a tracked tensor or a pandas frame of an open session: the array goes
            on from there. The array has memory of its own.
        source_id: Names a new input; one without a name is an input of its own. Arrays of one
            name are columns of one input, so they have equally many rows.
        dtype: Of the array, see `numpy.array`.
        session: What a new input belongs to; the graph of the process without one.

    Returns:
        A `TrackedArray`; a plain array where the granularity is ``OFF``.

    Raises:
        ArrayInputError: It has no axis whose positions could be rows.
        CaptureError: Another input of that name has another number of rows.

    Example:
        >>> ages = array([31, 64, 57], source_id="ages")
        >>> (ages[::-1] + 1).__traceprop_placed__()[1]
        range(2, -1, -1)
    """
    if isinstance(data, RowArray) and held_of(data) is not None:
        return data.astype(data.dtype if dtype is None else dtype)
    placed = placed_of(data)
    plain = np.array(_values_of(data), dtype=dtype)
    if plain.ndim == 0:
        raise ArrayInputError("A single value has no rows", "pass an array with at least one axis")
    if keeps_nothing():
        return plain
    if placed is None:
        placed = _new_input(len(plain), source_id, session)
    return tracked_array(plain, Lines(placed[0].node, placed[1]), placed[0].steps)


def from_numpy(
    arr: Any, source_id: str | None = None, *, session: CaptureSession | None = None
) -> Any:
    """Return an array that knows its rows, with the values of another one; see `array`.

    Raises:
        ArrayInputError: It has no axis whose positions could be rows.
        CaptureError: Another input of that name has another number of rows.
    """
    return array(arr, source_id, session=session)


def to_pandas(values: Any, *, columns: Any = None, index: Any = None) -> pd.DataFrame | pd.Series:
    """Return a frame of a matrix, or a series of a vector, which an open session goes on to follow.

    Args:
        values: A tracked array of one or two axes; of any other one the result is a plain frame.
        columns: Names of the columns; the name of the series for a vector.
        index: Labels of the rows.

    Raises:
        ArrayInputError: It has more axes, or none.
    """
    plain = plain_of(values)
    ndim = np.ndim(plain)
    if ndim not in (1, 2):
        raise ArrayInputError(f"An array of {ndim} axes is no frame", "pass a vector or a matrix")
    if ndim == 1:
        frame: Any = pd.Series(plain, index=index, name=columns)
    else:
        frame = pd.DataFrame(plain, index=index, columns=columns)
    placed = placed_of(values)
    return frame if placed is None else carried(frame, node_of(placed), placed[0].steps)


def _values_of(data: Any) -> Any:
    plain = plain_of(data)
    if isinstance(plain, (pd.DataFrame, pd.Series)):
        unmarked = plain.copy(deep=False)
        set_row_mark(unmarked, None)
        return unmarked.to_numpy()
    if isinstance(plain, pd.Index):
        return marked_view(plain, None).to_numpy()
    return plain.detach().cpu().numpy() if hasattr(plain, "detach") else plain


def _new_input(n_rows: int, name: str | None, session: CaptureSession | None) -> Placed:
    notes = default_graph() if session is None else session.notes
    if name is None:
        names = ("array" if at == 1 else f"array {at}" for at in count(1))
        name = next(each for each in names if each not in notes.inputs)
    return root_rows(notes, n_rows, name), range(n_rows)
