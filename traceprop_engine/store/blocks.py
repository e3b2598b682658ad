"""Blocks: big tables and arrays as immutable Parquet files, named by the SHA-256 of their bytes."""

import hashlib
import logging
import os
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from traceprop_engine.durable_files import publish, replace, staged_file, sync_directory
from traceprop_engine.errors import BlockNotFoundError, StoreCorruptError, StoreWriteError

Encoding = Literal["delta", "bytes", "plain"]
"""How columns are written.

*delta*: whole numbers as differences, small for numbers near their neighbours. *bytes*: whole
numbers as their first bytes, their second bytes and so on, each compressed: twice as fast for row
numbers in no order, which have no small differences. *plain*: values as they are.
"""

_VALUES = "values"
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_PARQUET_NAMES = {"delta": "DELTA_BINARY_PACKED", "bytes": "BYTE_STREAM_SPLIT"}
_logger = logging.getLogger(__name__)


class BlockStore:
    """The directory ``blocks``: one file ``<2 digits>/<sha256>.parquet`` for each content."""

    def __init__(self, directory: Path, staging: Path) -> None:
        """Use the existing ``directory``; files are written in ``staging`` first."""
        self._directory = directory
        self._staging = staging
        self._verified: dict[str, tuple[int, int]] = {}

    def path(self, block: str) -> Path:
        """Return the file of ``block``."""
        return self._directory / block[:2] / f"{block}.parquet"

    def names(self) -> list[str]:
        """Return the SHA-256 of every block, ascending."""
        return sorted(path.stem for path in self._directory.glob("??/*.parquet"))

    def put_table(self, table: pa.Table, encoding: Encoding = "delta") -> str:
        """Write ``table`` durably, unless it is there, and return the block's SHA-256.

        Raises:
            StoreWriteError: The file system refused; nothing was recorded.
        """
        return self._put(_encoded(table, encoding))

    def get_table(self, block: str) -> pa.Table:
        """Return the table of ``block``, verified.

        Raises:
            BlockNotFoundError: There is no such block.
            StoreCorruptError: The file is not what was written.
        """
        path = self.path(block)
        try:
            with pa.memory_map(str(path)) as file:
                self._verify(block, path, file)
                with pq.ParquetFile(file) as parquet:
                    return parquet.read()
        except FileNotFoundError as error:
            raise BlockNotFoundError(block, self._directory) from error
        except (pa.ArrowException, OSError) as error:
            raise StoreCorruptError(path, str(error)) from error

    def put_array(self, array: npt.NDArray[np.floating]) -> str:
        """Write the ``(n, p)`` matrix, or the ``(n,)`` vector as ``(n, 1)``; return its SHA-256.

        Raises:
            ValueError: ``array`` is not a float matrix or vector, or has no columns.
            StoreWriteError: The file system refused; nothing was recorded.
        """
        matrix = array[:, np.newaxis] if array.ndim == 1 else array
        if matrix.dtype not in _FLOATS or matrix.ndim != 2 or not matrix.shape[1]:  # noqa: PLR2004
            message = f"a block holds a float matrix, not {array.dtype} of shape {array.shape}"
            raise ValueError(message)
        values = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
        return self.put_table(pa.table({_VALUES: values}), "plain")

    def get_array(self, block: str) -> npt.NDArray[Any]:
        """Return the ``(n, p)`` matrix of ``block``, read-only, in the precision it was put in.

        Raises:
            BlockNotFoundError: There is no such block.
            StoreCorruptError: The file is not what was written, or holds no matrix.
        """
        table = self.get_table(block)
        if table.column_names != [_VALUES]:
            raise StoreCorruptError(self.path(block), "it holds a table, not a matrix")
        column = table.combine_chunks()[_VALUES]
        array = column.chunk(0) if column.num_chunks else pa.array([], column.type)
        return array.flatten().to_numpy().reshape(len(array), column.type.list_size)

    def _put(self, data: memoryview) -> str:
        block = hashlib.sha256(data).hexdigest()
        path = self.path(block)
        try:
            if self._is_whole(block, path) and self._touch(block):
                return block
            path.parent.mkdir(exist_ok=True)
            with staged_file(self._staging, data) as staged:
                if not publish(staged, path) and not self._is_whole(block, path):
                    _logger.warning("%s was damaged and is written anew", path)
                    replace(staged, path)
        except OSError as error:
            raise StoreWriteError(path, error.strerror or str(error)) from error
        return block

    def keep(self, blocks: set[str]) -> None:
        """Make ``blocks`` young again, so that nothing collects them, and durable with their names.

        Raises:
            BlockNotFoundError: One of them is not there.
            OSError: A directory cannot be opened.
        """
        for block in sorted(blocks):
            if not self._touch(block):
                raise BlockNotFoundError(block, self._directory)
        for directory in {self.path(block).parent for block in blocks}:
            sync_directory(directory)
        if blocks:
            sync_directory(self._directory)

    def _touch(self, block: str) -> bool:
        """Start the age of ``block`` anew; return whether it is there."""
        path = self.path(block)
        try:
            is_verified = self._verified.get(block) == _stamp(path)
            os.utime(path)
            if is_verified:
                self._verified[block] = _stamp(path)
        except FileNotFoundError:
            return False
        return True

    def _is_whole(self, block: str, path: Path) -> bool:
        try:
            with pa.memory_map(str(path)) as file:
                self._verify(block, path, file)
        except (FileNotFoundError, StoreCorruptError, pa.ArrowInvalid):  # the last: it is empty
            return False
        return True

    def _verify(self, block: str, path: Path, file: pa.MemoryMappedFile) -> None:
        seen = _stamp(path)
        if self._verified.get(block) == seen:
            return
        if hashlib.sha256(file.read_buffer()).hexdigest() != block:
            raise StoreCorruptError(path, "its SHA-256 does not fit")
        file.seek(0)
        self._verified[block] = seen


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _encoded(table: pa.Table, encoding: Encoding) -> memoryview:
    """Return ``table`` as the bytes of a Parquet file, the same for the same table."""
    numbers = [] if encoding == "plain" else _whole_numbers(table.schema)
    others = [name for name in table.column_names if name not in numbers]
    # What differences leave of random rows cannot be compressed, and trying costs most of all.
    of_numbers = {} if encoding == "delta" else dict.fromkeys(numbers, "lz4")
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression=dict.fromkeys(others, "zstd") | of_numbers if numbers else "zstd",
        write_statistics=others if numbers else True,
        use_dictionary=others if numbers else True,
        column_encoding=dict.fromkeys(numbers, _PARQUET_NAMES.get(encoding)) or None,
        use_compliant_nested_type=False,  # or the items of lists come back under another name
    )
    return memoryview(sink.getvalue())


def _whole_numbers(schema: pa.Schema) -> list[str]:
    """Return the columns of whole numbers that Parquet can tell from others by their name.

    It names the parts of a nested column with dots, and knows no two columns of one name apart.
    """
    n_of_name = Counter(schema.names)
    nested = tuple(f"{field.name}." for field in schema if pa.types.is_nested(field.type))
    return [
        field.name
        for field in schema
        if pa.types.is_integer(field.type)
        and n_of_name[field.name] == 1
        and not field.name.startswith(nested)
    ]
