"""JSON Lines files: one JSON object on each line, lines that are blank left out."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from traceprop_engine.errors import EmptySourceError, JsonLineError, SourceParseError
from traceprop_engine.sources.encoding import TextCheck, without_mark
from traceprop_engine.sources.index_builder import IndexBuilder
from traceprop_engine.sources.source_file import SourceFile
from traceprop_engine.sources.spec import SourceSpec, check_columns
from traceprop_engine.sources.version import SourceVersion

READ_OPTIONS = ("dtype",)
"""Options of `pandas.DataFrame.astype` that are taken for JSON Lines."""

_BLANKS = " \t\r"
_LF, _CR = b"\n\r"

Record = dict[str, Any]


class JsonLinesScan:
    """One pass over a JSON Lines file.

    Each line is parsed by itself with Python's `json`: a bad line is known by its number, a string
    of digits stays a string, and a float is the nearest one. (`pandas.read_json` does otherwise in
    all three.)

    Attributes:
        columns: The keys of all records so far, in the order they first came.
        index: The places of the records that were found.
    """

    def __init__(self, file: SourceFile, spec: SourceSpec, *, keep_index: bool = True) -> None:
        """Scan the open ``file``, keeping the places of its records or only counting them."""
        self.columns: dict[str, None] = {}
        self.index = IndexBuilder(keep=keep_index)
        self._file = file
        self._spec = spec
        self._line = 1
        self._decoder = json.JSONDecoder(object_pairs_hook=_object)

    def blocks(self) -> Iterator[list[Record]]:
        """Yield the records, some at a time.

        Raises:
            NotTextError: Bytes are no text in the encoding.
            JsonLineError: A line is not one JSON object, or has a key twice.
            SourceColumnsError: A key is empty.
            EmptySourceError: There is no record.
        """
        offset, chunks = without_mark(self._file.chunks(), self._spec.encoding)
        self._offset = offset
        self._check = TextCheck(self._spec.path, self._spec.encoding, offset)
        open_line = bytearray()
        for chunk in chunks:
            whole, line_break, rest = chunk.rpartition(b"\n")
            if line_break:
                yield self._take(bytes(open_line) + whole + line_break)
                open_line = bytearray(rest)
            else:
                open_line += chunk
        yield self._take(bytes(open_line))
        if not self.index.n_rows:
            raise EmptySourceError(self._spec.path, "at least one line with a JSON object")
        check_columns(self._spec.path, list(self.columns))

    def _take(self, block: bytes) -> list[Record]:
        self._check.check(block, lambda text: self._line + text.count(b"\n"), last=True)
        lines = block.decode(self._spec.encoding).split("\n")
        kept = [number for number, line in enumerate(lines) if line.strip(_BLANKS)]
        records = [self._record(lines[number], number) for number in kept]
        starts, ends = _line_spans(block)
        self.index.append(
            np.array(kept, dtype=np.int64) + self._line,
            starts[kept] + self._offset,
            ends[kept] + self._offset,
        )
        self._line += len(lines) - 1
        self._offset += len(block)
        return records

    def _record(self, line: str, number: int) -> Record:
        try:
            record = self._decoder.decode(line)
        except (ValueError, RecursionError) as error:
            raise self._error(number, f"no JSON ({error})") from error
        if not isinstance(record, dict):
            raise self._error(number, f"no JSON object, but {line.strip(_BLANKS)[:40]}")
        if not record.keys() <= self.columns.keys():
            self.columns.update(dict.fromkeys(record))
        return record

    def _error(self, number: int, problem: str) -> JsonLineError:
        return JsonLineError(self._spec.path, self._line + number, problem)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    record = dict(pairs)
    if len(record) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        message = f"the key {repeated!r} stands twice in one object"
        raise ValueError(message)
    return record


def _line_spans(block: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return where each line begins and ends, its line break left out."""
    data = np.frombuffer(block, dtype=np.uint8)
    breaks = np.flatnonzero(data == _LF)
    starts = np.concatenate([[0], breaks + 1])
    crlf = (breaks > 0) & (data[breaks - 1] == _CR)
    return starts, np.concatenate([breaks - crlf, [len(block)]])


def scan_jsonl(file: SourceFile, spec: SourceSpec) -> SourceVersion:
    """Return the version of a JSON Lines file; its lines are parsed, and not kept.

    Raises:
        SourceError: One of the errors of `JsonLinesScan.blocks`, or the file changed.
    """
    scan = JsonLinesScan(file, spec)
    for _ in scan.blocks():
        pass
    return spec.version(file, tuple(scan.columns), scan.index.n_rows, scan.index.build())


def read_jsonl(
    file: SourceFile, spec: SourceSpec, options: Mapping[str, Any]
) -> tuple[SourceVersion, pd.DataFrame]:
    """Return the version of a JSON Lines file and its values, from one pass.

    Raises:
        SourceError: One of the errors of `JsonLinesScan.blocks`, the file changed, or pandas
            refused the values.
    """
    scan = JsonLinesScan(file, spec)
    records = [record for block in scan.blocks() for record in block]
    version = spec.version(file, tuple(scan.columns), scan.index.n_rows, scan.index.build())
    return version, _frame(spec, records, version.columns, options, 0)


def iter_jsonl(
    file: SourceFile, spec: SourceSpec, options: Mapping[str, Any], chunk_rows: int
) -> Iterator[pd.DataFrame]:
    """Yield the values of a JSON Lines file, ``chunk_rows`` rows at a time.

    A frame has the columns that were seen up to its block of the file.

    Raises:
        SourceError: One of the errors of `JsonLinesScan.blocks`, the file changed, or pandas
            refused the values.
    """
    scan = JsonLinesScan(file, spec, keep_index=False)
    waiting: list[Record] = []
    n_rows = 0
    for block in scan.blocks():
        waiting += block
        while len(waiting) > chunk_rows:
            yield _frame(spec, waiting[:chunk_rows], tuple(scan.columns), options, n_rows)
            n_rows += chunk_rows
            del waiting[:chunk_rows]
    if waiting:
        yield _frame(spec, waiting, tuple(scan.columns), options, n_rows)


def _frame(
    spec: SourceSpec,
    records: Sequence[Record],
    columns: Sequence[str],
    options: Mapping[str, Any],
    start: int,
) -> pd.DataFrame:
    rows = pd.RangeIndex(start, start + len(records))
    try:
        frame = pd.DataFrame(list(records), index=rows, columns=list(columns))
        return frame.astype(options["dtype"]) if "dtype" in options else frame
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise SourceParseError(spec.path, str(error).partition("\n")[0]) from error
