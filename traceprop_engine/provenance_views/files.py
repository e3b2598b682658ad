"""Files and frames as tracked arrays, whose rows are those of the file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from numpy.typing import DTypeLike, NDArray

from traceprop_engine.arrays import TrackedArray, array, from_numpy
from traceprop_engine.errors import (
    CaptureError,
    HeaderlessFileError,
    SourceOptionError,
    SourceParseError,
)
from traceprop_engine.lineage.carriers import Recorded, placed_of
from traceprop_engine.lineage.graph import default_graph
from traceprop_engine.lineage.pandas_capture import CaptureSession
from traceprop_engine.provenance_views.numbers import chosen_columns, named_columns, numbers_of
from traceprop_engine.provenance_views.source_facts import remember_version, require_version
from traceprop_engine.sources import SourceFormat, SourceVersion, read_source, scan_source

_TEXT_WAY_OUT = (
    "take other columns with columns=[...], or follow text in a session: load_source(session, path)"
)


def from_csv(
    path: Path | str,
    source_id: str | None = None,
    *,
    columns: Sequence[str] | None = None,
    dtype: DTypeLike | None = None,
    delimiter: str = ",",
    encoding: str = "utf-8",
    session: CaptureSession | None = None,
) -> TrackedArray:
    """Return the values of a CSV file as a tracked array ``[records, columns]``.

    The version of the file is remembered, so that a trace shows the very lines. The first line
    names the columns. A missing value is NaN. For columns of text use `load_source`.

    Args:
        path: The file.
        source_id: What the source is called; the file's name without its endings by default.
        columns: Names of the columns to take, in this order; all of them by default.
        dtype: Of the array; float64 by default.
        delimiter: Between the fields.
        encoding: Of the text.
        session: The capture session that the rows belong to; the graph of the process without one.

    Raises:
        NotNumericError: A column holds text, or numbers that ``dtype`` cannot hold.
        UnknownColumnError: The file has no such column.
        HeaderlessFileError: The first line reads like values.
        SourceIdTakenError: The name stands for another version of a file.
        CaptureError: The name stands for an input with another number of rows.
        SourceError: The file cannot be read as CSV, ``source_id`` is no text, or ``columns`` no
            list of names.
    """
    _require_text(path, source_id)
    names = named_columns(columns, path)
    taken = None if names is None else {"usecols": set(names).__contains__}
    form: Any = {"format": "csv", "delimiter": delimiter, "encoding": encoding}
    try:
        version, frame = read_source(path, name=source_id, read_options=taken, **form)
    except SourceParseError:
        # Where no such column is there is nothing to read; that is what is to be said.
        _require_columns(scan_source(path, **form), names)
        raise
    _require_header(version)
    _require_columns(version, names)
    return _tracked(version, chosen_columns(frame, names), dtype, session)


def from_parquet(
    path: Path | str,
    source_id: str | None = None,
    *,
    columns: Sequence[str] | None = None,
    dtype: DTypeLike | None = None,
    session: CaptureSession | None = None,
) -> TrackedArray:
    """Return the values of a Parquet file as a tracked array ``[rows, columns]``.

    The version of the file is remembered, so that a trace shows the very rows.

    Args:
        path: The file.
        source_id: What the source is called; the file's name without its endings by default.
        columns: Names of the columns to take, in this order; all of them by default.
        dtype: Of the array; float64 by default.
        session: The capture session that the rows belong to; the graph of the process without one.

    Raises:
        NotNumericError: A column holds no numbers, or numbers that ``dtype`` cannot hold.
        SourceIdTakenError: The name stands for another version of a file.
        CaptureError: The name stands for an input with another number of rows.
        SourceError: The file cannot be read as Parquet, or has no such column, or ``columns`` is no
            list of names.
    """
    names = named_columns(columns, path)
    taken = None if names is None else {"columns": names}
    version, frame = read_source(path, name=source_id, format="parquet", read_options=taken)
    return _tracked(version, chosen_columns(frame, names), dtype, session)


def from_pandas(
    frame: pd.DataFrame | pd.Series,
    source_id: str | None = None,
    *,
    columns: Sequence[str] | None = None,
    dtype: DTypeLike | None = None,
    session: CaptureSession | None = None,
) -> TrackedArray:
    """Return the values of a frame as a tracked array ``[rows, columns]``, of a series ``[rows]``.

    A frame that a session follows keeps its rows; any other one becomes an input.

    Args:
        frame: The values; the array is a copy.
        source_id: What the input is called; ``"frame"`` by default. Not for a followed frame.
        columns: Names of the columns to take, in this order; all of them by default.
        dtype: Of the array; float64 by default.
        session: The capture session that the rows belong to; the graph of the process without one.

    Raises:
        NotNumericError: A column holds no numbers, or numbers that ``dtype`` cannot hold.
        UnknownColumnError: The frame has no such column.
        SourceOptionError: ``columns`` is no list of names.
        CaptureError: The name stands for an input with another number of rows, or the frame is
            followed and gets a new name or session.
    """
    placed = placed_of(frame)
    if placed is not None and (source_id is not None or session is not None):
        raise CaptureError(
            "The frame is followed already, so it cannot become a new input",
            "leave source_id and session out, or pass a plain copy of its values",
        )
    table = frame.to_frame() if isinstance(frame, pd.Series) else frame
    names = named_columns(columns, "The frame")
    numbers = numbers_of(
        chosen_columns(table, names), "The frame", dtype, "turn it into numbers, or leave it out"
    )
    values = numbers[:, 0] if isinstance(frame, pd.Series) else numbers
    if placed is None:
        return from_numpy(values, source_id or "frame", session=session)
    return array(Recorded(values, placed))


def load_source(
    session: CaptureSession,
    path: Path | str,
    source_id: str | None = None,
    *,
    format: SourceFormat | None = None,  # noqa: A002 (the word that every reader uses)
    delimiter: str = ",",
    encoding: str = "utf-8",
    read_options: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Return a file as a frame that a session follows, text and all.

    The version of the file is remembered, so that a trace shows the very lines.

    Args:
        session: The session, which is open.
        path: The file: CSV, JSON Lines or Parquet.
        source_id: What the source is called; the file's name without its endings by default.
        format: What the file's name says by default.
        delimiter: Between the fields of a CSV file.
        encoding: Of the text.
        read_options: How values are read, as for `read_source`.

    Raises:
        CaptureError: The session is not open, or the name is taken.
        SourceError: The file cannot be read.
    """
    version, frame = read_source(
        path,
        name=source_id,
        format=format,
        delimiter=delimiter,
        encoding=encoding,
        read_options=read_options,
    )
    loaded = session.load(frame, version.name)
    remember_version(session.notes, version)
    return loaded


def _tracked(
    version: SourceVersion,
    frame: pd.DataFrame,
    dtype: DTypeLike | None,
    session: CaptureSession | None,
) -> TrackedArray:
    numbers: NDArray[Any] = numbers_of(frame, version.uri, dtype, _TEXT_WAY_OUT)
    notes = default_graph() if session is None else session.notes
    require_version(notes, version)
    tracked = from_numpy(numbers, version.name, session=session)
    remember_version(notes, version)
    return tracked


def _require_columns(version: SourceVersion, names: list[str] | None) -> None:
    chosen_columns(pd.DataFrame(columns=list(version.columns)), names)


def _require_text(path: Path | str, source_id: object) -> None:
    """Refuse what the older package took in this place: the type of the values."""
    if source_id is not None and not isinstance(source_id, str):
        problem = f"source_id is {source_id!r}"
        raise SourceOptionError(path, problem, "pass a name; the type of the values is dtype=")


def _require_header(version: SourceVersion) -> None:
    """Refuse a header of values, which a reader would drop; 0, 1, 2, ... are names of columns."""
    names = version.columns
    if names == tuple(str(at) for at in range(len(names))):
        return
    if all(_is_number(name) for name in names):
        raise HeaderlessFileError(version.uri, names)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
