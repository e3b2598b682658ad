"""The exact text of records of a source version, from the file as it is on the disk now."""

import time
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from operator import index
from pathlib import Path
from typing import SupportsIndex

from traceprop_engine.digests import sha256_file
from traceprop_engine.errors import (
    SourceChangedError,
    SourceNotFoundError,
    SourceRecordError,
    SourceRowError,
)
from traceprop_engine.sources.parquet_source import row_texts
from traceprop_engine.sources.source_file import FileIdentity, SourceFile, find_source, open_source
from traceprop_engine.sources.version import SourceRecord, SourceVersion

_SETTLED_NS = 1_000_000_000
_WAY_OUT = "put the version's file back, or read the new one as a new version"


def read_records(version: SourceVersion, rows: Iterable[int]) -> list[SourceRecord]:
    """Return records of ``version``, in the order of ``rows``, which may repeat.

    The file must still have the digest of the version. It is hashed once for each state of the
    file in a process; then a plain text file is read only where the records stand.

    Args:
        version: A source version.
        rows: Numbers of records, counted from 0.

    Raises:
        SourceRowError: The version has no such record.
        SourceChangedError: The file is gone, or holds other bytes now.
    """
    path = Path(version.uri)
    wanted = [_row(path, row, version.n_rows) for row in rows]
    try:
        find_source(path)
    except SourceNotFoundError as error:
        raise SourceChangedError(path, "the file is no longer there", _WAY_OUT) from error
    with open_source(path) as file:
        _check_digest(file, version)
        texts = _texts(file, version, sorted(set(wanted)))
    return [_record(version, row, texts[row]) for row in wanted]


def _row(path: Path, row: object, n_rows: int) -> int:
    number = index(row) if isinstance(row, SupportsIndex) else -1
    if not 0 <= number < n_rows:
        raise SourceRowError(path, row, n_rows)
    return number


def _check_digest(file: SourceFile, version: SourceVersion) -> None:
    # A file that was written to a moment ago may be written to again within the same tick of its
    # clock, and look the same: its digest is not remembered.
    settled = time.time_ns() - file.identity.changed_ns > _SETTLED_NS
    digest = (_remembered_sha256 if settled else _sha256)(file.path, file.identity)
    if digest != version.sha256:
        raise SourceChangedError(file.path, "the file has other bytes now", _WAY_OUT)


def _sha256(path: Path, identity: FileIdentity) -> str:  # noqa: ARG001 (the key of the memory)
    return sha256_file(path)


_remembered_sha256 = lru_cache(maxsize=256)(_sha256)


def _texts(file: SourceFile, version: SourceVersion, rows: Sequence[int]) -> dict[int, str]:
    if version.index is None:
        return row_texts(file, rows)
    spans = zip(version.index.byte_starts[rows], version.index.byte_ends[rows], strict=True)
    read = _streamed if file.is_gzip else _sought
    found = read(file, [(int(start), int(end)) for start, end in spans])
    encoding = version.encoding or "utf-8"
    return {row: data.decode(encoding) for row, data in zip(rows, found, strict=True)}


def _sought(file: SourceFile, spans: Sequence[tuple[int, int]]) -> Iterator[bytes]:
    raw = file.rewound()
    for start, end in spans:
        raw.seek(start)
        yield _whole(raw.read(end - start), start, end)


def _streamed(file: SourceFile, spans: Sequence[tuple[int, int]]) -> Iterator[bytes]:
    chunks = file.chunks()
    window, offset = b"", 0
    for start, end in spans:
        while offset + len(window) < end and (chunk := next(chunks, b"")):
            kept = window[max(start - offset, 0) :]
            offset += len(window) - len(kept)
            window = kept + chunk
        yield _whole(window[start - offset : end - offset], start, end)


def _whole(data: bytes, start: int, end: int) -> bytes:
    if len(data) != end - start:
        raise SourceRecordError(f"its index names bytes {start} to {end}, past the end of the file")
    return data


def _record(version: SourceVersion, row: int, text: str) -> SourceRecord:
    places = version.index
    if places is None:
        return SourceRecord(row, None, None, None, text)
    line, start, end = places.line_numbers[row], places.byte_starts[row], places.byte_ends[row]
    return SourceRecord(row, int(line), int(start), int(end), text)
