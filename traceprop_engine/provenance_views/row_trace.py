"""The way of one row back to the sources, for a reader."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.errors import SourceChangedError, SourceError
from traceprop_engine.lineage.captured import ContextDependency, Op
from traceprop_engine.presentation import counted, row_numbers, visible
from traceprop_engine.sources import SourceRecord, SourceVersion, read_records, scan_source

MOST_RECORDS = 20
"""Records of one source whose text a trace shows."""


@dataclass(frozen=True, eq=False)
class TracedSource:
    """What one row came from in one source.

    Attributes:
        source: Name of the source.
        rows: Numbers of its rows, ascending; ``None`` when nobody knows them.
        uri: The file, if the source was read from one.
        records: The first `MOST_RECORDS` of the rows as they stand in the file.
        unavailable: Why there are no records although there is a file.
    """

    source: str
    rows: NDArray[np.int64] | None
    uri: str | None = None
    records: tuple[SourceRecord, ...] = ()
    unavailable: str | None = None


@dataclass(frozen=True, eq=False)
class RowTrace:
    """The way of one row of a value back to the sources; its text is for a reader.

    Attributes:
        row: Number of the row.
        n_rows: Rows of the value.
        sources: What it came from, source by source.
        statistics: What the value depends on as a whole, through statistics.
        ops: The operations on the way, in order.
        reason: Why rows are unknown, or merely claimed by the user's declaration.
        left: What else was noted in the same graph, and may have gone into anything.
    """

    row: int
    n_rows: int
    sources: tuple[TracedSource, ...]
    statistics: tuple[ContextDependency, ...]
    ops: tuple[Op, ...]
    reason: str | None = None
    left: tuple[ContextDependency, ...] = field(default=())

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def __repr__(self) -> str:
        return str(self)

    def _repr_markdown_(self) -> str:
        text = str(self)
        longest = max((len(run) for run in re.findall("`+", text)), default=0)
        fence = "`" * max(3, longest + 1)
        return f"{fence}text\n{text}\n{fence}\n"

    def _lines(self) -> Iterator[str]:
        yield f"row {self.row} of {counted(self.n_rows, 'row')}"
        for source in self.sources:
            yield from _source_lines(source)
        if all(source.rows is not None and not len(source.rows) for source in self.sources):
            yield "  no row of a source is known"
        if self.statistics:
            yield "  through statistics"
            yield from (f"    {_statistic(each)}" for each in self.statistics)
        if self.ops:
            yield "  operations"
            yield from (f"    {number}. {_op(op)}" for number, op in enumerate(self.ops, start=1))
        if self.left:
            yield "  also noted in this graph; what it went into is not known"
            yield from (f"    {_statistic(each)}" for each in self.left)
        if self.reason:
            yield f"  note: {visible(self.reason)}"


def traced_source(
    name: str, rows: NDArray[np.int64] | None, version: SourceVersion | None
) -> TracedSource:
    """Return what a row came from in a source, with its records if the file can still be read."""
    if version is None or rows is None or not len(rows):
        return TracedSource(name, rows, None if version is None else version.uri)
    try:
        version = _with_index(version)
        records = tuple(read_records(version, rows[:MOST_RECORDS].tolist()))
    except SourceError as error:
        return TracedSource(name, rows, version.uri, unavailable=str(error))
    return TracedSource(name, rows, version.uri, records)


def _with_index(version: SourceVersion) -> SourceVersion:
    """Return a version with the places of its records, which one from a SQLite store lacks."""
    if version.index is not None or version.format == "parquet":
        return version
    return _scanned(version)


@lru_cache(maxsize=64)
def _scanned(version: SourceVersion) -> SourceVersion:
    found = scan_source(
        version.uri,
        name=version.name,
        format=version.format,
        encoding=version.encoding or "utf-8",
        delimiter=version.delimiter or ",",
    )
    if found.sha256 != version.sha256:
        what = "the file has other bytes now"
        raise SourceChangedError(Path(version.uri), what, "put the version's file back")
    return found


def _source_lines(source: TracedSource) -> Iterator[str]:
    name = visible(source.source)
    if source.rows is None:
        yield f"  {name}: which rows is unknown"
        return
    numbers = f" ({row_numbers(source.rows.tolist())})" if len(source.rows) else ""
    yield f"  {name}: {counted(len(source.rows), 'row')}{numbers}"
    for record in source.records:
        yield f"    {_place(source, record)}  {visible(record.text)}"
    if len(source.records) < len(source.rows) and source.records:
        yield f"    … and {len(source.rows) - len(source.records):,} more"
    if source.unavailable:
        yield f"    (not readable: {visible(source.unavailable)})"


def _place(source: TracedSource, record: SourceRecord) -> str:
    file = PurePath(source.uri or "").name
    if record.line_number is None:
        return f"{file}#{record.row}"
    return f"{file}:{record.line_number}"


def _statistic(context: ContextDependency) -> str:
    members = context.members.backward(np.arange(context.members.n_out))
    column = "" if context.column is None else f" of {context.column!r}"
    every = len(members) == context.members.n_in
    which = "all rows" if every else f"rows {row_numbers(members.tolist())}"
    return visible(f"{context.statistic}{column}: {context.input}, {which}")


def _op(op: Op) -> str:
    rows_in = ", ".join(f"{n:,}" for n in op.n_rows_in) or "?"
    detail = f" {op.detail}" if op.detail else ""
    return visible(f"{op.name}{detail} ({rows_in} → {counted(op.n_rows_out, 'row')})")
