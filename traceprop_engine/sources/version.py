"""What a source file was at the time it was read: its bytes, and the place of each record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa

from traceprop_engine.digests import identify
from traceprop_engine.errors import SourceRecordError

SourceFormat = Literal["csv", "parquet", "jsonl"]
"""The formats a source can have; CSV and JSON Lines also inside gzip."""

_INDEX_COLUMNS = ("line_number", "byte_start", "byte_end")
_TEXT_FACTS = ("name", "uri", "format", "sha256")
_OPTIONAL_FACTS = ("compression", "encoding", "delimiter")
_COUNT_FACTS = ("n_bytes", "n_rows")


@dataclass(frozen=True, eq=False)
class RecordIndex:
    """Where each record of a text file stands in the uncompressed text.

    The arrays are ``int64``, read-only, and as long as the file has records. A record that spans
    several lines (a quoted line break) has the number of its first line.

    Attributes:
        line_numbers: The line of each record, counted from 1; the header counts.
        byte_starts: Offset of the first byte of each record.
        byte_ends: Offset after the last byte of each record, its line break left out.

    Raises:
        SourceRecordError: The arrays differ in length, or a record does not come after the one
            before it.
    """

    line_numbers: np.ndarray
    byte_starts: np.ndarray
    byte_ends: np.ndarray

    def __post_init__(self) -> None:
        for name in ("line_numbers", "byte_starts", "byte_ends"):
            object.__setattr__(self, name, _frozen(getattr(self, name)))
        if not len(self.line_numbers) == len(self.byte_starts) == len(self.byte_ends):
            raise SourceRecordError("the arrays of its record index differ in length")
        if not _in_order(self):
            raise SourceRecordError("the records of its index are not in the order of the file")

    @property
    def n_rows(self) -> int:
        """Number of records."""
        return len(self.line_numbers)

    def to_table(self) -> pa.Table:
        """Return the index as a table of three ``int64`` columns, one row for each record."""
        arrays = (self.line_numbers, self.byte_starts, self.byte_ends)
        return pa.table(dict(zip(_INDEX_COLUMNS, arrays, strict=True)))

    @classmethod
    def from_table(cls, table: pa.Table) -> "RecordIndex":
        """Return the index that `to_table` wrote.

        Raises:
            SourceRecordError: The table has other columns, or an index that cannot be.
        """
        if tuple(table.column_names) != _INDEX_COLUMNS or set(table.schema.types) != {pa.int64()}:
            raise SourceRecordError(f"its record index has the columns {table.schema.names}")
        return cls(*(column.to_numpy() for column in table.columns))


def _frozen(values: np.ndarray) -> np.ndarray:
    array = np.asarray(values, dtype=np.int64)
    if array.flags.writeable:
        array = array.copy()
        array.flags.writeable = False
    return array


def _in_order(index: RecordIndex) -> bool:
    starts, ends, lines = index.byte_starts, index.byte_ends, index.line_numbers
    if not len(lines):
        return True
    inside = starts[0] >= 0 and lines[0] >= 1 and bool((starts <= ends).all())
    return inside and bool((ends[:-1] < starts[1:]).all()) and bool((np.diff(lines) > 0).all())


@dataclass(frozen=True)
class SourceVersion:
    """One version of a source file: its bytes by SHA-256, and the records found in them.

    Attributes:
        name: What the source is called, such as ``"patients"``.
        uri: The absolute path of the file, symbolic links resolved.
        format: How the bytes are to be read.
        compression: ``"gzip"``, or ``None``.
        encoding: Of the text; ``None`` for Parquet.
        delimiter: Between the fields of a CSV file; ``None`` for the other formats.
        sha256: Of the file's bytes as they are on the disk, 64 hexadecimal digits.
        n_bytes: Size of the file on the disk.
        n_rows: Number of records.
        columns: Names of the columns, in order.
        index: The place of each record in the text; ``None`` for Parquet, which has no lines.
            Two versions are equal when all the rest is: the bytes determine the index.
    """

    name: str
    uri: str
    format: SourceFormat
    compression: Literal["gzip"] | None
    encoding: str | None
    delimiter: str | None
    sha256: str
    n_bytes: int
    n_rows: int
    columns: tuple[str, ...]
    index: RecordIndex | None = field(compare=False, repr=False)

    @property
    def source_version_id(self) -> str:
        """The identifier: the same file under the same name, read the same way, has the same."""
        names = ("name", "uri", "format", "compression", "encoding", "delimiter", "sha256")
        return identify("sv", {name: getattr(self, name) for name in names})

    def to_dict(self) -> dict[str, object]:
        """Return every fact but the index, fit for JSON."""
        names = (*_TEXT_FACTS, *_OPTIONAL_FACTS, *_COUNT_FACTS)
        facts: dict[str, object] = {name: getattr(self, name) for name in names}
        return facts | {"columns": list(self.columns)}

    @classmethod
    def from_dict(cls, facts: Mapping[str, object], index: RecordIndex | None) -> "SourceVersion":
        """Return the version that `to_dict` wrote, with its index; other facts are ignored.

        Raises:
            SourceRecordError: A fact is missing or of the wrong kind, or the index has another
                number of records.
        """
        checked: dict[str, Any] = {name: _fact(facts, name, str) for name in _TEXT_FACTS}
        checked |= {name: _fact(facts, name, (str, type(None))) for name in _OPTIONAL_FACTS}
        checked |= {name: _fact(facts, name, int) for name in _COUNT_FACTS}
        checked["columns"] = tuple(_fact(facts, "columns", (list, tuple)))
        version = cls(**checked, index=index)
        _check_index(version)
        return version


def _fact(facts: Mapping[str, object], name: str, kind: type | tuple[type, ...]) -> Any:
    if name not in facts:
        raise SourceRecordError(f"the fact {name!r} is missing")
    if not isinstance(facts[name], kind):
        raise SourceRecordError(f"the fact {name!r} is {facts[name]!r}")
    return facts[name]


def _check_index(version: SourceVersion) -> None:
    if version.format not in get_args(SourceFormat):
        raise SourceRecordError(f"the fact 'format' is {version.format!r}")
    if (version.index is None) != (version.format == "parquet"):
        raise SourceRecordError("a text file has a record index, and a Parquet file has none")
    if version.index is not None and version.index.n_rows != version.n_rows:
        raise SourceRecordError(f"it has {version.n_rows} rows, its index {version.index.n_rows}")


@dataclass(frozen=True)
class SourceRecord:
    """One record of a source version, as it stands in the file.

    Attributes:
        row: Number of the record, counted from 0.
        line_number: Its first line, counted from 1; ``None`` for Parquet.
        byte_start: Offset of its first byte in the uncompressed text; ``None`` for Parquet.
        byte_end: Offset after its last byte, the line break left out; ``None`` for Parquet.
        text: The exact text; for Parquet, the row as canonical JSON.
    """

    row: int
    line_number: int | None
    byte_start: int | None
    byte_end: int | None
    text: str
