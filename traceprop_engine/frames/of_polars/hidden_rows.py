"""The column of row numbers that goes through a verb where the user's code cannot meet it."""

import numpy as np
import polars as pl

from traceprop_engine.frames.hidden_names import OTHER_ROW, ROW, require_free
from traceprop_engine.lineage.rows import IntArray


def numbered(frame: pl.DataFrame, name: str = ROW) -> pl.DataFrame:
    """Return a frame with its row numbers as a last column."""
    require_free(frame.columns)
    rows = pl.Series(name, np.arange(len(frame)), dtype=pl.Int64)
    return frame.hstack([rows])


def row_numbers(frame: pl.DataFrame, name: str = ROW) -> IntArray:
    """Return the row numbers in a frame, -1 where it has none."""
    return frame[name].fill_null(-1).to_numpy()


def without_numbers(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame without its hidden columns."""
    return frame.drop(ROW, OTHER_ROW, strict=False)
