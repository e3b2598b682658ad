"""Columns of a frame as one array of numbers, or a refusal that names the column."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import DTypeLike, NDArray

from traceprop_engine.errors import NotNumericError, SourceOptionError, UnknownColumnError

_NUMBER_KINDS = "biuf"
_EXACT_IN_FLOAT = 1 << 53

Check = Callable[[pd.Series], bool]


def named_columns(columns: Sequence[str] | None, where: Path | str) -> list[str] | None:
    """Return the names of the columns to take; ``None`` for all.

    Raises:
        SourceOptionError: They are one text, or none.
    """
    if columns is None:
        return None
    names = list(columns)
    if isinstance(columns, str) or not names:
        way_out = "pass a list of names, or leave it out for all columns"
        raise SourceOptionError(where, f"columns is {columns!r}", way_out)
    return names


def chosen_columns(frame: pd.DataFrame, columns: Sequence[str] | None) -> pd.DataFrame:
    """Return a frame with these columns in this order; with all of them for ``None``.

    Raises:
        UnknownColumnError: The frame has no such column.
    """
    if columns is None:
        return frame
    for name in columns:
        if name not in frame.columns:
            raise UnknownColumnError(str(name), [str(each) for each in frame.columns])
    return frame[list(columns)]


def numbers_of(
    frame: pd.DataFrame, where: str, dtype: DTypeLike | None, way_out: str
) -> NDArray[Any]:
    """Return the columns of a frame as an array ``[rows, columns]``; a missing value is NaN.

    Args:
        frame: The columns.
        where: What they are of, for messages.
        dtype: Of the array; float64 by default.
        way_out: What to do about columns that hold no numbers, for messages.

    Raises:
        NotNumericError: A column holds no numbers, or some that the array cannot hold.
    """
    _refuse(frame, lambda column: column.dtype.kind not in _NUMBER_KINDS, where, _TEXT, way_out)
    wanted = np.dtype(np.float64 if dtype is None else dtype)
    if dtype is None:
        _refuse(frame, _is_wide, where, _WIDE, "pass dtype='int64'")
    else:
        problem = f"values that {wanted} cannot hold"
        _refuse(
            frame, _refusal_of(wanted), where, problem, "leave dtype out, or fill and round first"
        )
    return _array(frame, wanted)


_TEXT = "what is no number"
_WIDE = "whole numbers beyond 2**53, which float64 rounds"


def _refuse(frame: pd.DataFrame, check: Check, where: str, problem: str, way_out: str) -> None:
    columns = [(name, frame.iloc[:, at]) for at, name in enumerate(frame.columns)]
    refused = [str(name) for name, column in columns if len(column) and check(column)]
    if refused:
        raise NotNumericError(where, refused, problem, way_out)


def _is_wide(column: pd.Series) -> bool:
    if column.dtype.kind not in "iu" or not column.count():
        return False
    return int(column.max()) > _EXACT_IN_FLOAT or int(column.min()) < -_EXACT_IN_FLOAT


def _refusal_of(dtype: np.dtype[Any]) -> Check:
    """Return what says of a column that a type would change its values by more than rounding."""
    if dtype.kind == "b":
        return _cannot_hold(0, 1)
    if dtype.kind in "iu":
        bounds = np.iinfo(str(dtype))
        return _cannot_hold(int(bounds.min), int(bounds.max))
    if dtype.kind not in "fc":
        return lambda _: True
    most = float(np.finfo(dtype).max)
    return lambda column: bool((column.abs()[np.isfinite(column)] > most).any())


def _cannot_hold(low: int, high: int) -> Check:
    def check(column: pd.Series) -> bool:
        if column.isna().any():
            return True
        if column.dtype.kind == "f" and not (np.isfinite(column) & (column % 1 == 0)).all():
            return True
        return not low <= int(column.min()) <= int(column.max()) <= high

    return check


def _array(frame: pd.DataFrame, dtype: np.dtype[Any]) -> NDArray[Any]:
    found = np.empty(frame.shape, dtype=dtype)
    for at in range(frame.shape[1]):
        column = frame.iloc[:, at]
        # Only extension types, which have a missing value of their own, need to be told of NaN.
        has_gaps = column.isna().any()
        found[:, at] = column.to_numpy(dtype, na_value=np.nan) if has_gaps else column
    return found
