"""Read source files as source versions, whatever their format."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from traceprop_engine.errors import SourceChangedError, SourceOptionError
from traceprop_engine.sources.csv_source import READ_OPTIONS as CSV_OPTIONS
from traceprop_engine.sources.csv_source import iter_csv, read_csv, scan_csv
from traceprop_engine.sources.jsonl_source import READ_OPTIONS as JSONL_OPTIONS
from traceprop_engine.sources.jsonl_source import iter_jsonl, read_jsonl, scan_jsonl
from traceprop_engine.sources.parquet_source import READ_OPTIONS as PARQUET_OPTIONS
from traceprop_engine.sources.parquet_source import iter_parquet, read_parquet, scan_parquet
from traceprop_engine.sources.source_file import Progress, open_source
from traceprop_engine.sources.spec import SourceSpec, check_options, resolve_spec
from traceprop_engine.sources.version import SourceFormat, SourceVersion

_SCAN = {"csv": scan_csv, "jsonl": scan_jsonl, "parquet": scan_parquet}
_READ = {"csv": read_csv, "jsonl": read_jsonl, "parquet": read_parquet}
_ITER = {"csv": iter_csv, "jsonl": iter_jsonl, "parquet": iter_parquet}
_OPTIONS = {"csv": CSV_OPTIONS, "jsonl": JSONL_OPTIONS, "parquet": PARQUET_OPTIONS}


def scan_source(
    path: Path | str,
    *,
    name: str | None = None,
    format: SourceFormat | None = None,  # noqa: A002 (the word that every reader uses)
    encoding: str = "utf-8",
    delimiter: str = ",",
    progress: Progress | None = None,
) -> SourceVersion:
    """Return the version of a source file, its records found and its values not kept.

    One pass in bounded memory, beside the index (24 bytes for each record). What is read may be
    CSV, JSON Lines, or Parquet; the first two also inside gzip, which is known by its first bytes.
    A CSV file has a header; it may have no records. Blank lines are no records. A UTF-8 byte order
    mark is skipped.

    Args:
        path: The file.
        name: What the source is called; the file's name without its endings by default.
        format: ``"csv"``, ``"jsonl"`` or ``"parquet"``; what the file's name says by default.
        encoding: Of the text: UTF-8, or one with a byte for each character that agrees with ASCII.
        delimiter: Between the fields of a CSV file.
        progress: Called after each chunk with the bytes read and the bytes of the file.

    Raises:
        SourceNotFoundError: There is no such file.
        SourceUnreadableError: It is a directory, no regular file, or may not be read.
        SourceOptionError: The format, encoding or delimiter is none that can be read.
        EmptySourceError: The file has no header (CSV) or no record (JSON Lines).
        NotTextError: Bytes are no text in the encoding.
        RaggedRowError: A CSV record has another number of fields than the header.
        UnterminatedQuoteError: A quoted CSV field never ends.
        SourceColumnsError: A column has no name, or the name of another.
        JsonLineError: A line is not one JSON object.
        CorruptSourceError: The gzip or Parquet data are damaged.
        SourceChangedError: The file changed while it was read.
    """
    spec = resolve_spec(path, name, format, encoding, delimiter)
    with open_source(spec.path, progress) as file:
        return _SCAN[spec.format](file, spec)


def read_source(
    path: Path | str,
    *,
    name: str | None = None,
    format: SourceFormat | None = None,  # noqa: A002 (the word that every reader uses)
    encoding: str = "utf-8",
    delimiter: str = ",",
    progress: Progress | None = None,
    read_options: Mapping[str, Any] | None = None,
) -> tuple[SourceVersion, pd.DataFrame]:
    """Return the version of a source file, and its values: row ``i`` is record ``i``.

    The frame's index counts from 0. CSV and JSON Lines are read in one pass: digest, record index
    and values come from the same bytes.

    Args:
        path: The file.
        name: What the source is called; the file's name without its endings by default.
        format: ``"csv"``, ``"jsonl"`` or ``"parquet"``; what the file's name says by default.
        encoding: Of the text: UTF-8, or one with a byte for each character that agrees with ASCII.
        delimiter: Between the fields of a CSV file.
        progress: Called after each chunk with the bytes read and the bytes of the file.
        read_options: How values are read: options of `pandas.read_csv` that leave the rows alone
            (``dtype``, ``usecols``, ``na_values``, ``parse_dates``, ...); ``dtype`` for JSON Lines;
            ``columns`` for Parquet.

    Raises:
        SourceParseError: The values cannot be read with these options.
        SourceError: One of the other errors of `scan_source`.
    """
    spec = resolve_spec(path, name, format, encoding, delimiter)
    options = _checked(spec, read_options)
    with open_source(spec.path, progress) as file:
        return _READ[spec.format](file, spec, options)


def iter_source(  # noqa: PLR0913 (the options of read_source, and how to go on)
    path: Path | str,
    *,
    chunk_rows: int,
    version: SourceVersion | None = None,
    name: str | None = None,
    format: SourceFormat | None = None,  # noqa: A002 (the word that every reader uses)
    encoding: str = "utf-8",
    delimiter: str = ",",
    progress: Progress | None = None,
    read_options: Mapping[str, Any] | None = None,
) -> Iterator[pd.DataFrame]:
    """Yield the values of a source file, some rows at a time, for files larger than memory.

    The index of each frame holds the numbers of its records. Types are found for each frame by
    itself: pass ``dtype`` where they must agree. A file that changed is noticed when the last frame
    was taken, so act on the frames for good only after that.

    Args:
        path: The file.
        chunk_rows: Most rows of a frame, at least 1.
        version: What the file must be: a version that `scan_source` returned.
        name: As for `read_source`.
        format: As for `read_source`.
        encoding: As for `read_source`.
        delimiter: As for `read_source`.
        progress: As for `read_source`.
        read_options: As for `read_source`.

    Raises:
        SourceChangedError: The file changed while it was read, or is not ``version``.
        SourceError: One of the other errors of `read_source`.
    """
    spec = resolve_spec(path, name, format, encoding, delimiter)
    options = _checked(spec, read_options)
    if chunk_rows < 1:
        raise SourceOptionError(spec.path, f"chunk_rows is {chunk_rows}", "pass 1 or more")
    return _frames(spec, options, chunk_rows, version, progress)


def _frames(
    spec: SourceSpec,
    options: Mapping[str, Any],
    chunk_rows: int,
    version: SourceVersion | None,
    progress: Progress | None,
) -> Iterator[pd.DataFrame]:
    with open_source(spec.path, progress) as file:
        yield from _ITER[spec.format](file, spec, options, chunk_rows)
        if version is not None and file.sha256() != version.sha256:
            what = "the file is not the version that was asked for"
            raise SourceChangedError(spec.path, what, "scan it again and use the new version")


def _checked(spec: SourceSpec, options: Mapping[str, Any] | None) -> Mapping[str, Any]:
    reader = {"csv": "pandas.read_csv", "jsonl": "JSON Lines", "parquet": "Parquet"}[spec.format]
    check_options(spec.path, options or {}, _OPTIONS[spec.format], reader)
    return options or {}
