"""Polars frames that begin to be followed, or go on."""

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

from traceprop_engine.errors import CaptureError
from traceprop_engine.frames.followed import placed_input
from traceprop_engine.frames.hidden_names import require_free
from traceprop_engine.frames.of_polars.frame import TrackedPolars
from traceprop_engine.lineage.carriers import carried, placed_of, unmarked
from traceprop_engine.lineage.marks import Mark, Node, Step
from traceprop_engine.lineage.pandas_capture import CaptureSession


def track_polars(
    frame: Any, name: str | None = None, *, session: CaptureSession | None = None
) -> TrackedPolars:
    """Return a Polars frame that knows its rows.

    Args:
        frame: A `polars.DataFrame` that is a new input; or a followed value, such as a pandas frame
            of an open session or a `TrackedTable`, whose rows go on.
        name: What lineage calls a new input.
        session: The session of a new input; without it, the graph of the process.

    Raises:
        CaptureError: A new input has no name, or that of other rows, or it is no frame.
    """
    placed, plain = placed_of(frame), unmarked(frame)
    if isinstance(plain, pd.DataFrame):
        plain = pl.from_pandas(plain)
    elif isinstance(plain, (pa.Table, np.ndarray)):
        plain = pl.DataFrame(plain)
    if not isinstance(plain, pl.DataFrame):
        raise CaptureError(
            f"A {type(plain).__name__} is no frame that Polars takes", "give a polars.DataFrame"
        )
    require_free(plain.columns)
    # A clone shares the data, and does not change when its user changes the frame in place.
    return TrackedPolars(
        plain.clone(), placed_input(len(plain), name, session) if placed is None else placed
    )


@carried.register(pl.DataFrame)
def _carried_by_polars(value: Any, node: Node, steps: tuple[Step, ...]) -> TrackedPolars:
    every = range(node.n_rows)
    return TrackedPolars(value, (Mark(node, every, steps), every))
