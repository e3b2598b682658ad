"""What stands in the records of a source version: each value as the file has it, for itself.

No reader's options and no other record decide what a value is: a CSV field is its text, a JSON
value what JSON says, a Parquet value of its column's type.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from traceprop_engine.digests import sha256_file
from traceprop_engine.errors import (
    CorruptSourceError,
    SourceChangedError,
    SourceNotFoundError,
    SourceParseError,
    SourceUnreadableError,
)
from traceprop_engine.sources.jsonl_source import JsonLinesScan
from traceprop_engine.sources.source_file import Progress, SourceFile, find_source, open_source
from traceprop_engine.sources.spec import SourceSpec
from traceprop_engine.sources.version import RecordIndex, SourceVersion

RecordValues: TypeAlias = Mapping[str, pa.Array | Sequence[object]]
"""The values of some records by column, all of one length; a missing one is null or ``None``.

Records without any column have one without a name, in which all is missing.
"""

_CHUNK_ROWS = 1 << 16
_CHUNK_BYTES = 1 << 24
_WAY_OUT = "put the version's file back, or read the new one as a new version"


def iter_record_values(
    version: SourceVersion, progress: Progress | None = None
) -> Iterator[RecordValues]:
    """Yield the values of all records, some at a time, at least one chunk.

    The file must be the version, before it is read and when the last chunk was taken; so act on the
    values for good only after that.

    Args:
        version: A source version.
        progress: Called after each chunk with the bytes read and the bytes of the file.

    Raises:
        SourceChangedError: The file is gone, or holds other bytes now.
        SourceParseError: A record cannot be taken apart.
        CorruptSourceError: The gzip or Parquet data are damaged.
    """
    path = Path(version.uri)
    _check_digest(path, version)
    with open_source(path, progress) as file:
        yield from _READ[version.format](file, version)
        if file.sha256() != version.sha256:
            raise SourceChangedError(path, "the file changed while it was read", _WAY_OUT)


def _check_digest(path: Path, version: SourceVersion) -> None:
    try:
        digest = sha256_file(find_source(path))
    except SourceNotFoundError as error:
        raise SourceChangedError(path, "the file is no longer there", _WAY_OUT) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise SourceUnreadableError(path, reason, "check its permissions") from error
    if digest != version.sha256:
        raise SourceChangedError(path, "the file has other bytes now", _WAY_OUT)


def _csv(file: SourceFile, version: SourceVersion) -> Iterator[RecordValues]:
    places = version.index
    chunks = file.chunks()
    if places is None or not version.n_rows:
        yield {name: pa.array([], pa.string()) for name in version.columns}
    else:
        for first, last, text in _record_texts(chunks, places):
            batch = _csv_fields(version, text)
            if len(batch) != last - first:
                problem = f"{last - first} records gave {len(batch)} rows"
                raise SourceParseError(file.path, problem)
            yield dict(zip(version.columns, batch.combine_chunks().columns, strict=True))
    for _ in chunks:  # what is left belongs to the digest
        pass


def _csv_fields(version: SourceVersion, text: bytes) -> pa.Table:
    try:
        return pa_csv.read_csv(
            pa.BufferReader(text),
            read_options=pa_csv.ReadOptions(
                use_threads=False,
                block_size=len(text) + 1,
                column_names=list(version.columns),
                encoding=version.encoding or "utf-8",
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter=version.delimiter or ",", newlines_in_values=True
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(version.columns, pa.string())
            ),
        )
    except (pa.ArrowException, ValueError, LookupError) as error:
        raise SourceParseError(Path(version.uri), str(error).partition("\n")[0]) from error


def _record_texts(chunks: Iterator[bytes], places: RecordIndex) -> Iterator[tuple[int, int, bytes]]:
    """Yield first and last row of some records, the last not included, and a text of these alone.

    In the text each record stands as in the file, with a line break behind it.
    """
    window, offset = bytearray(), 0
    for first, last in _groups(places):
        start, end = int(places.byte_starts[first]), int(places.byte_ends[last - 1])
        while offset + len(window) < end and (chunk := next(chunks, b"")):
            window += chunk
        del window[: start - offset]
        offset = start
        starts, ends = places.byte_starts[first:last], places.byte_ends[first:last]
        yield first, last, _lines(bytes(window[: end - start]), starts - start, ends - start)


def _groups(places: RecordIndex) -> Iterator[tuple[int, int]]:
    first = 0
    while first < places.n_rows:
        limit = int(places.byte_starts[first]) + _CHUNK_BYTES
        fitting = int(np.searchsorted(places.byte_ends, limit, side="right"))
        last = min(first + _CHUNK_ROWS, max(fitting, first + 1))
        yield first, last
        first = last


def _lines(text: bytes, starts: np.ndarray, ends: np.ndarray) -> bytes:
    """Return the records of ``text``, one after the other; what stands between them may be blank.

    One byte between two records is a line break, LF or CR.
    """
    if (starts[1:] == ends[:-1] + 1).all():
        return text + b"\n"
    spans = zip(starts.tolist(), ends.tolist(), strict=True)
    return b"\n".join([text[start:end] for start, end in spans]) + b"\n"


def _jsonl(file: SourceFile, version: SourceVersion) -> Iterator[RecordValues]:
    spec = SourceSpec(
        path=file.path,
        name=version.name,
        format="jsonl",
        encoding=version.encoding or "utf-8",
        delimiter=",",
    )
    scan = JsonLinesScan(file, spec, keep_index=False)
    for records in scan.blocks():
        columns = scan.columns or {"": None}
        yield {name: [record.get(name) for record in records] for name in columns}


def _parquet(file: SourceFile, version: SourceVersion) -> Iterator[RecordValues]:
    for _ in file.raw_chunks():
        pass
    if not version.n_rows:
        yield dict.fromkeys(version.columns or ("",), pa.nulls(0))
    try:
        for batch in pq.ParquetFile(file.rewound()).iter_batches(_CHUNK_ROWS):
            named = dict(zip(batch.schema.names, batch.columns, strict=True))
            yield named or {"": pa.nulls(batch.num_rows)}
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise CorruptSourceError(file.path, "Parquet", reason) from error


_READ = {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet}
