"""Row numbers in few bytes, without loss.

Bytes of the same weight are put together and compressed with Zstandard, of the numbers themselves
or of their differences, whichever takes less. So a filter takes under a byte for each row, and rows
in no order little more than the bits that they have.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from traceprop_engine.lineage.row_map_arrays import IntArray

Encoding = Literal["plain", "delta"]

_compress = partial(pa.compress, codec="zstd", asbytes=True)


@dataclass(frozen=True)
class Packed:
    """A vector of whole numbers, compressed.

    Attributes:
        encoding: Whether ``data`` holds the numbers or their differences.
        n: How many there are.
        width: Bytes of each of them.
        data: The compressed bytes.
    """

    encoding: Encoding
    n: int
    width: int
    data: bytes

    def unpacked(self) -> IntArray:
        """Return the numbers, as int32 or int64, read-only.

        Raises:
            ValueError: The bytes are not those that `pack` made.
        """
        raw = pa.decompress(
            self.data, decompressed_size=self.n * self.width, codec="zstd", asbytes=True
        )
        planes = np.frombuffer(raw, dtype=np.uint8).reshape(self.width, self.n)
        numbers = np.ascontiguousarray(planes.T).view(f"<i{self.width}").ravel()
        if self.encoding == "delta":
            numbers = np.cumsum(numbers, dtype=numbers.dtype)
        found = numbers.astype(_native(self.width), copy=False)
        found.flags.writeable = False
        return found


def pack(numbers: IntArray) -> Packed:
    """Return whole numbers in few bytes."""
    width = 4 if _fits_four_bytes(numbers) else 8
    plain = np.ascontiguousarray(numbers, dtype=f"<i{width}")
    # Differences wrap around, and so does the sum that undoes them.
    delta = np.concatenate([plain[:1], plain[1:] - plain[:-1]])
    choices: tuple[tuple[Encoding, Any], ...] = (("plain", plain), ("delta", delta))
    packed = [Packed(how, len(plain), width, _planes(array)) for how, array in choices]
    return min(packed, key=lambda each: len(each.data))


def _planes(numbers: Any) -> bytes:
    planes = numbers.view(np.uint8).reshape(len(numbers), numbers.dtype.itemsize).T
    return _compress(planes.tobytes())


def _fits_four_bytes(numbers: IntArray) -> bool:
    if not len(numbers) or numbers.dtype == np.int32:
        return True
    bounds = np.iinfo(np.int32)
    return bool(numbers.min() >= bounds.min and numbers.max() <= bounds.max)


def _native(width: int) -> type[np.int32 | np.int64]:
    return np.int32 if width == np.dtype(np.int32).itemsize else np.int64
