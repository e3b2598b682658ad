"""Parquet files: pyarrow for the values; a record is known by its number alone."""

import base64
import datetime as dt
import decimal
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from traceprop_engine.digests import canonical_json
from traceprop_engine.errors import CorruptSourceError, SourceParseError
from traceprop_engine.sources.source_file import SourceFile
from traceprop_engine.sources.spec import SourceSpec, check_columns
from traceprop_engine.sources.version import SourceVersion

READ_OPTIONS = ("columns",)
"""Options of `pyarrow.parquet.ParquetFile.read` that change columns, and never the rows."""

_PANDAS = b"pandas"
_T = TypeVar("_T")


def scan_parquet(file: SourceFile, spec: SourceSpec) -> SourceVersion:
    """Return the version of a Parquet file from its bytes and its footer.

    Raises:
        CorruptSourceError: It is no sound Parquet file.
        SourceColumnsError: A column name is empty, or stands twice.
        SourceChangedError: The file changed.
    """
    for _ in file.raw_chunks():
        pass
    return _version(file, spec, _opened(file))


def _version(file: SourceFile, spec: SourceSpec, parquet: pq.ParquetFile) -> SourceVersion:
    columns = parquet.schema_arrow.names
    check_columns(spec.path, columns)
    return spec.version(file, columns, parquet.metadata.num_rows, None)


def read_parquet(
    file: SourceFile, spec: SourceSpec, options: Mapping[str, Any]
) -> tuple[SourceVersion, pd.DataFrame]:
    """Return the version of a Parquet file and its values.

    Raises:
        SourceError: One of the errors of `scan_parquet`, or the values cannot be read.
    """
    version = scan_parquet(file, spec)
    parquet = _opened(file)
    table = _sound(file, lambda: parquet.read(columns=_chosen(spec, version, options)))
    file.check_unchanged()
    return version, _frame(spec, table, 0)


def iter_parquet(
    file: SourceFile, spec: SourceSpec, options: Mapping[str, Any], chunk_rows: int
) -> Iterator[pd.DataFrame]:
    """Yield the values of a Parquet file, at most ``chunk_rows`` rows at a time.

    Raises:
        SourceError: One of the errors of `scan_parquet`, or the values cannot be read.
    """
    version = scan_parquet(file, spec)
    columns = _chosen(spec, version, options)
    batches = _opened(file).iter_batches(chunk_rows, columns=columns)
    n_rows = 0
    while (batch := _sound(file, lambda: next(batches, None))) is not None:
        yield _frame(spec, pa.Table.from_batches([batch]), n_rows)
        n_rows += batch.num_rows


def row_texts(file: SourceFile, rows: Sequence[int]) -> dict[int, str]:
    """Return rows of a Parquet file, each as canonical JSON.

    Values that JSON has no word for are written as text: dates and times in ISO 8601, decimals in
    digits, NaN and infinities by name, bytes in base64.

    Args:
        file: The open file.
        rows: Numbers of rows that it has.

    Raises:
        CorruptSourceError: It is no sound Parquet file.
    """
    parquet = _opened(file)
    groups = [parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)]
    ends = np.cumsum(groups)
    wanted = np.unique(np.asarray(rows, dtype=np.int64))
    found: dict[int, str] = {}
    for group in np.unique(np.searchsorted(ends, wanted, side="right")).tolist():
        first = int(ends[group]) - groups[group]
        chosen = wanted[(wanted >= first) & (wanted < ends[group])]
        table = _sound(file, partial(parquet.read_row_group, group)).take(pa.array(chosen - first))
        texts = (canonical_json(_plain(row)) for row in table.to_pylist())
        found |= dict(zip(chosen.tolist(), texts, strict=True))
    return found


def _opened(file: SourceFile) -> pq.ParquetFile:
    return _sound(file, lambda: pq.ParquetFile(file.rewound()))


def _sound(file: SourceFile, read: Callable[[], _T]) -> _T:
    try:
        return read()
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise CorruptSourceError(file.path, "Parquet", reason) from error


def _chosen(
    spec: SourceSpec, version: SourceVersion, options: Mapping[str, Any]
) -> list[str] | None:
    if "columns" not in options:
        return None
    columns = list(options["columns"])
    if unknown := [name for name in columns if name not in version.columns]:
        raise SourceParseError(spec.path, f"there is no column {unknown[0]!r}")
    return columns


def _frame(spec: SourceSpec, table: pa.Table, start: int) -> pd.DataFrame:
    """Return the values of ``table``, with a plain index that counts its rows from ``start``."""
    try:
        frame = _without_index(table).to_pandas()
    except (pa.ArrowException, ValueError) as error:
        raise SourceParseError(spec.path, str(error).partition("\n")[0]) from error
    frame.index = pd.RangeIndex(start, start + len(frame))
    frame.columns = pd.Index(table.column_names)
    return frame


def _without_index(table: pa.Table) -> pa.Table:
    """Return ``table`` with pandas' notes on its column types, but none on an index."""
    metadata = dict(table.schema.metadata or {})
    if _PANDAS in metadata:
        notes = json.loads(metadata[_PANDAS]) | {"index_columns": [], "column_indexes": []}
        metadata[_PANDAS] = json.dumps(notes).encode()
    return table.replace_schema_metadata(metadata)


def _plain(value: object) -> object:  # noqa: PLR0911 (one branch for each kind of value)
    match value:
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case float() if not math.isfinite(value):
            return str(value)
        case bytes():
            return base64.b64encode(value).decode()
        case dt.date() | dt.time():
            return value.isoformat()
        case dt.timedelta() | decimal.Decimal():
            return str(value)
        case _:
            return value
