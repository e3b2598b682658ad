"""CSV files: the scan that finds the records, and pandas for the values, over the same bytes."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd

from traceprop_engine.errors import (
    EmptySourceError,
    RaggedRowError,
    SourceColumnsError,
    SourceError,
    SourceParseError,
    UnterminatedQuoteError,
)
from traceprop_engine.sources.csv_scanner import CsvScanner, ScannedBlock, count_line_breaks
from traceprop_engine.sources.encoding import TextCheck, without_mark
from traceprop_engine.sources.index_builder import IndexBuilder
from traceprop_engine.sources.source_file import SourceFile
from traceprop_engine.sources.spec import SourceSpec, check_columns
from traceprop_engine.sources.version import SourceVersion

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

READ_OPTIONS = (
    "cache_dates", "converters", "date_format", "dayfirst", "decimal", "dtype", "dtype_backend",
    "false_values", "float_precision", "keep_default_na", "na_filter", "na_values", "parse_dates",
    "thousands", "true_values", "usecols",
)  # fmt: skip
"""Options of `pandas.read_csv` that change values and columns, and never which rows there are."""

_MAX_HEADER_BYTES = 1 << 26


class CsvScan:
    """One pass over a CSV file: its header, its records, and the text that a parser may have.

    Attributes:
        columns: The column names; empty until `blocks` found the header.
        index: The places of the records that were found.
    """

    def __init__(self, file: SourceFile, spec: SourceSpec, *, keep_index: bool = True) -> None:
        """Scan the open ``file``, keeping the places of its records or only counting them."""
        self.columns: tuple[str, ...] = ()
        self.index = IndexBuilder(keep=keep_index)
        self._file = file
        self._spec = spec
        self._head = b""
        self._head_offset = 0

    def blocks(self) -> Iterator[ScannedBlock]:
        """Yield the text, block by block, each checked.

        Raises:
            NotTextError: Bytes are no text in the encoding.
            RaggedRowError: A record has another number of fields than the header.
            UnterminatedQuoteError: A quoted field never ends.
            SourceColumnsError: The header does not give every column a name of its own.
            EmptySourceError: There is no header.
        """
        self._head_offset, chunks = without_mark(self._file.chunks(), self._spec.encoding)
        scanner = CsvScanner(self._spec.delimiter, self._head_offset)
        check = TextCheck(self._spec.path, self._spec.encoding, self._head_offset)

        def line_after(beginning: bytes) -> int:
            return scanner.line + count_line_breaks(scanner.held + beginning)

        for chunk in chunks:
            check.check(chunk, line_after, last=False)
            yield self._take(scanner.feed(chunk))
        check.check(b"", line_after, last=True)
        last = scanner.finish()
        if scanner.in_quotes:
            raise UnterminatedQuoteError(self._spec.path, scanner.quote_line)
        yield self._take(last)
        if not self.columns:
            raise EmptySourceError(self._spec.path, "a header line with the column names")

    def _take(self, block: ScannedBlock) -> ScannedBlock:
        n_header = 0 if self.columns else self._find_header(block)
        records = slice(n_header, None)
        self._check_fields(block)
        self.index.append(
            block.line_numbers[records], block.byte_starts[records], block.byte_ends[records]
        )
        return block

    def _find_header(self, block: ScannedBlock) -> int:
        """Take the header from ``block``; return how many headers it has, none or one."""
        self._head += block.text
        if len(self._head) > _MAX_HEADER_BYTES:
            problem = f"the header is longer than {_MAX_HEADER_BYTES >> 20} MiB"
            raise SourceError(self._spec.path, problem, "close its quotes, or check its format")
        if not len(block.n_fields):
            return 0
        start, end = (
            block.byte_starts[0] - self._head_offset,
            block.byte_ends[0] - self._head_offset,
        )
        text = self._head[start:end].decode(self._spec.encoding)
        self.columns = tuple(self._split_header(text))
        check_columns(self._spec.path, self.columns)
        self._head = b""
        return 1

    def _split_header(self, text: str) -> list[str]:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=self._spec.delimiter)
        try:
            return next(reader)
        except csv.Error as error:
            raise SourceColumnsError(self._spec.path, f"the header is refused ({error})") from error

    def _check_fields(self, block: ScannedBlock) -> None:
        wrong = np.flatnonzero(block.n_fields != len(self.columns))
        if len(wrong):
            line, n_fields = int(block.line_numbers[wrong[0]]), int(block.n_fields[wrong[0]])
            raise RaggedRowError(self._spec.path, line, n_fields, len(self.columns))


def scan_csv(file: SourceFile, spec: SourceSpec) -> SourceVersion:
    """Return the version of a CSV file without reading its values.

    Raises:
        SourceError: One of the errors of `CsvScan.blocks`, or the file changed.
    """
    scan = CsvScan(file, spec)
    for _ in scan.blocks():
        pass
    return spec.version(file, scan.columns, scan.index.n_rows, scan.index.build())


def read_csv(
    file: SourceFile, spec: SourceSpec, options: Mapping[str, Any]
) -> tuple[SourceVersion, pd.DataFrame]:
    """Return the version of a CSV file and its values, from one pass.

    Raises:
        SourceError: One of the errors of `CsvScan.blocks`, the file changed, or pandas refused it.
    """
    scan = CsvScan(file, spec)
    frame = _parsed(spec, lambda: pd.read_csv(_text_of(scan), **_fixed(spec), **options))
    version = spec.version(file, scan.columns, scan.index.n_rows, scan.index.build())
    _check_frame(spec, frame, scan, 0)
    if len(frame) != version.n_rows:
        raise SourceParseError(spec.path, f"{version.n_rows} records gave {len(frame)} rows")
    return version, frame


def iter_csv(
    file: SourceFile, spec: SourceSpec, options: Mapping[str, Any], chunk_rows: int
) -> Iterator[pd.DataFrame]:
    """Yield the values of a CSV file, ``chunk_rows`` rows at a time, at least one frame.

    Raises:
        SourceError: One of the errors of `CsvScan.blocks`, the file changed, or pandas refused it.
    """
    scan = CsvScan(file, spec, keep_index=False)
    options = {**_fixed(spec), **options, "chunksize": chunk_rows}
    n_rows = 0
    with _parsed(spec, lambda: pd.read_csv(_text_of(scan), **options)) as reader:
        while (frame := _parsed(spec, lambda: next(reader, None))) is not None:
            _check_frame(spec, frame, scan, n_rows)
            n_rows += len(frame)
            yield frame
    if n_rows != scan.index.n_rows:
        raise SourceParseError(spec.path, f"{scan.index.n_rows} records gave {n_rows} rows")


def _fixed(spec: SourceSpec) -> dict[str, Any]:
    return {
        "sep": spec.delimiter,
        "header": 0,
        "index_col": None,
        "encoding": spec.encoding,
        "skip_blank_lines": False,
        "low_memory": False,
        "engine": "c",
    }


def _text_of(scan: CsvScan) -> io.BufferedReader:
    return io.BufferedReader(_BlockStream(block.plain_lines() for block in scan.blocks()), 1 << 18)


_T = TypeVar("_T")


def _parsed(spec: SourceSpec, parse: Callable[[], _T]) -> _T:
    try:
        return parse()
    except (ValueError, TypeError, OverflowError) as error:
        reason = str(error).partition("\n")[0]
        raise SourceParseError(spec.path, reason) from error


def _check_frame(spec: SourceSpec, frame: pd.DataFrame, scan: CsvScan, start: int) -> None:
    rows = pd.RangeIndex(start, start + len(frame))
    if not frame.index.equals(rows) or not set(frame.columns) <= set(scan.columns):
        raise SourceParseError(spec.path, "pandas took other rows or columns than the header has")


class _BlockStream(io.RawIOBase):
    """Blocks of bytes as a file to read."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = memoryview(b"")

    # pyrefly: ignore[missing-override-decorator] (typing.override needs Python 3.12)
    def readable(self) -> bool:
        return True

    # pyrefly: ignore[missing-override-decorator]
    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        target = memoryview(buffer)
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = memoryview(block)
        n_bytes = min(len(target), len(self._rest))
        target[:n_bytes] = self._rest[:n_bytes]
        self._rest = self._rest[n_bytes:]
        return n_bytes
