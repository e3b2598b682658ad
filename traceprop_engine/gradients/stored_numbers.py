"""Numbers of gradients as files hold them: float32, float16 or bfloat16."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.errors import GradientStorageError
from traceprop_engine.gradients.layers import BLOCK_BYTES, slices

StoredDtype = Literal["float32", "float16", "bfloat16"]
"""How numbers are stored.

*float32*: as computed. *float16*: half the bytes, 11 significant bits, up to 65,504. *bfloat16*:
half the bytes, 8 significant bits, the range of float32; its upper 16 bits as whole numbers.
"""

_FILE_DTYPES = {"float32": "<f4", "float16": "<f2", "bfloat16": "<u2"}
_LOST_SHARE = 1e-2  # of a row's squared length; bfloat16 rounds off less than 1e-4


def itemsize(dtype: StoredDtype) -> int:
    """Return the bytes of one stored number.

    Raises:
        GradientStorageError: There is no such dtype.
    """
    return np.dtype(_file_dtype(dtype)).itemsize


def encode(what: str, array: NDArray[np.floating], dtype: StoredDtype) -> NDArray[np.generic]:
    """Return the numbers as they are stored, rounded to the nearest, ties to even.

    Raises:
        GradientStorageError: A number is not finite, or too large or too small for the dtype.
    """
    file_dtype = _file_dtype(dtype)
    if not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0, 0])
        raise GradientStorageError(
            f"{what} have a number that is not finite in row {row}",
            "look for what overflows in the training, or leave the row out",
        )
    with np.errstate(over="ignore", under="ignore"):  # told below, by row
        single = np.ascontiguousarray(array, dtype="<f4")
        stored = _rounded(single) if dtype == "bfloat16" else single.astype(file_dtype)
    _check_kept(what, array, stored, dtype)
    return stored


def decode(stored: NDArray[np.generic], dtype: StoredDtype) -> NDArray[np.float32]:
    """Return stored numbers as float32, exactly; a view where they are."""
    if dtype == "bfloat16":
        return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return stored.astype(np.float32, copy=False)


def check_stored(stored: NDArray[np.generic], dtype: StoredDtype) -> bool:
    """Return whether an array of a file is of the dtype that its set says."""
    return stored.dtype == np.dtype(_file_dtype(dtype))


def _file_dtype(dtype: StoredDtype) -> str:
    if dtype not in _FILE_DTYPES:
        known = ", ".join(repr(name) for name in _FILE_DTYPES)
        raise GradientStorageError(f"there is no dtype {dtype!r}", f"use one of {known}")
    return _FILE_DTYPES[dtype]


def _rounded(single: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return the upper halves of float32 numbers, rounded to the nearest, ties to even."""
    bits = single.view("<u4")
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (rounded >> np.uint32(16)).astype("<u2")


def _check_kept(
    what: str, array: NDArray[np.floating], stored: NDArray[np.generic], dtype: StoredDtype
) -> None:
    for rows in slices(len(array), BLOCK_BYTES // (32 * max(array[:1].size, 1))):
        before = array[rows].reshape(rows.stop - rows.start, array[:1].size).astype(np.float64)
        after = decode(stored[rows], dtype).reshape(before.shape)
        if not np.isfinite(after).all():
            row = rows.start + int(np.argwhere(~np.isfinite(after))[0, 0])
            raise GradientStorageError(
                f"{what} have a number that is too large for {dtype} in row {row}", _way_out(dtype)
            )
        length = np.square(before).sum(axis=1)
        is_lost = np.square(before - after).sum(axis=1) > _LOST_SHARE * length
        if is_lost.any():
            row = rows.start + int(np.argmax(is_lost))
            raise GradientStorageError(
                f"{what} have numbers too small for {dtype} in row {row}", _way_out(dtype)
            )


def _way_out(dtype: StoredDtype) -> str:
    if dtype == "float16":
        return "store them as bfloat16 or float32"
    return "divide the targets by a constant, so that their gradients fit"
