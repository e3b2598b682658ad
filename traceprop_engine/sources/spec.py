"""Which file is to be read, and how: the arguments of a reader, checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from traceprop_engine.errors import SourceColumnsError, SourceOptionError
from traceprop_engine.sources.encoding import check_encoding
from traceprop_engine.sources.source_file import SourceFile, find_source
from traceprop_engine.sources.version import RecordIndex, SourceFormat, SourceVersion

_FORMATS: Mapping[str, SourceFormat] = {
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}


@dataclass(frozen=True)
class SourceSpec:
    """Which file is to be read, and how.

    Attributes:
        path: The absolute path.
        name: What the source is called.
        format: One of the formats.
        encoding: Of the text; for Parquet without meaning.
        delimiter: Between the fields of a CSV file.
    """

    path: Path
    name: str
    format: SourceFormat
    encoding: str
    delimiter: str

    def version(
        self, file: SourceFile, columns: Sequence[str], n_rows: int, index: RecordIndex | None
    ) -> SourceVersion:
        """Return what was found in ``file``, all of which was read.

        Raises:
            SourceChangedError: The file changed while it was read.
        """
        return SourceVersion(
            name=self.name,
            uri=str(self.path),
            format=self.format,
            compression="gzip" if file.is_gzip else None,
            encoding=None if self.format == "parquet" else self.encoding,
            delimiter=self.delimiter if self.format == "csv" else None,
            sha256=file.sha256(),
            n_bytes=file.n_bytes,
            n_rows=n_rows,
            columns=tuple(columns),
            index=index,
        )


def resolve_spec(
    path: Path | str, name: str | None, asked_format: str | None, encoding: str, delimiter: str
) -> SourceSpec:
    """Return the checked arguments of a reader; `None` stands for what the file's name says.

    Raises:
        SourceNotFoundError: There is no such file.
        SourceUnreadableError: It is a directory, or may not be read.
        SourceOptionError: The format, the encoding or the delimiter is none that can be read.
    """
    found = find_source(path)
    _check_delimiter(found, delimiter)
    return SourceSpec(
        path=found,
        name=_plain_stem(found) if name is None else name,
        format=_format(found, asked_format),
        encoding=check_encoding(found, encoding),
        delimiter=delimiter,
    )


def _plain_stem(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).stem


def _format(path: Path, asked: str | None) -> SourceFormat:
    if asked is not None and asked not in get_args(SourceFormat):
        raise SourceOptionError(path, f"there is no format {asked!r}", _known_formats())
    if asked is not None:
        return cast("SourceFormat", asked)
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if suffix not in _FORMATS:
        problem = f"the name's ending {suffix!r} does not say the format"
        raise SourceOptionError(path, problem, _known_formats())
    return _FORMATS[suffix]


def _known_formats() -> str:
    formats = ", ".join(repr(name) for name in get_args(SourceFormat))
    return f"rename it to end in {', '.join(_FORMATS)} (or .gz after it), or pass format= {formats}"


def _check_delimiter(path: Path, delimiter: str) -> None:
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '\n\r"\0':
        problem = f"the delimiter {delimiter!r} cannot stand between fields"
        raise SourceOptionError(
            path, problem, "pass one ASCII character that is no quote and no line break"
        )


def check_columns(path: Path, columns: Sequence[str]) -> None:
    """Check that each column has a name of its own.

    Raises:
        SourceColumnsError: A name is empty, or stands twice.
    """
    if "" in columns:
        problem = (
            f"column {columns.index('') + 1} of {len(columns)} has no name (pandas writes its "
            "index so, unless to_csv has index=False)"
        )
        raise SourceColumnsError(path, problem)
    if repeated := [name for name in dict.fromkeys(columns) if columns.count(name) > 1]:
        names = ", ".join(repr(name) for name in repeated)
        raise SourceColumnsError(path, f"more than one column is called {names}")


def check_options(
    path: Path, options: Mapping[str, object], allowed: Sequence[str], reader: str
) -> None:
    """Check that ``options`` can change the values that ``reader`` returns, and no more.

    Raises:
        SourceOptionError: An option could change which rows there are, or is unknown.
    """
    if refused := sorted(set(options) - set(allowed)):
        problem = f"the read option {refused[0]!r} might change which rows there are"
        way_out = f"select rows afterwards; {reader} takes {', '.join(allowed)}"
        raise SourceOptionError(path, problem, way_out)
