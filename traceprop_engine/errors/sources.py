"""Errors of source files."""

from pathlib import Path

from traceprop_engine.errors.base import TracepropError


class SourceError(TracepropError):
    """A source file cannot be read as asked; every error of `traceprop_engine.sources` is one."""

    def __init__(self, where: Path | str, problem: str, way_out: str) -> None:
        super().__init__(f"{where}: {problem}; {way_out}.")


class SourceNotFoundError(SourceError):
    """There is no file at the path."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "there is no such file", "check the path and the working directory")


class SourceUnreadableError(SourceError):
    """There is something at the path, but no regular file that may be read."""

    def __init__(self, path: Path, reason: str, way_out: str) -> None:
        super().__init__(path, f"cannot be read ({reason})", way_out)


class SourceOptionError(SourceError):
    """An argument does not fit the source: a format, an encoding, a delimiter, a read option."""


class EmptySourceError(SourceError):
    """The file holds no record, and not even a header that would name the columns."""

    def __init__(self, path: Path, wanted: str) -> None:
        super().__init__(path, "the file is empty", f"it needs {wanted}")


class NotTextError(SourceError):
    """Bytes of the file are no text in the encoding it was read with."""

    def __init__(self, path: Path, line: int, offset: int, reason: str) -> None:
        super().__init__(
            f"{path}, line {line}",
            f"{reason} at byte offset {offset}",
            "name the file's encoding, such as encoding='latin-1', or convert it to UTF-8",
        )
        self.line = line
        self.offset = offset


class RaggedRowError(SourceError):
    """A record of a CSV file has more or fewer fields than the header."""

    def __init__(self, path: Path, line: int, n_fields: int, n_columns: int) -> None:
        super().__init__(
            f"{path}, line {line}",
            f"the record has {n_fields} fields where the header has {n_columns}",
            "quote fields that hold a delimiter or line break, or pass the delimiter= of the file",
        )
        self.line = line
        self.n_fields = n_fields
        self.n_columns = n_columns


class UnterminatedQuoteError(SourceError):
    """A quoted field of a CSV file never ends."""

    def __init__(self, path: Path, line: int) -> None:
        super().__init__(
            f"{path}, line {line}",
            "the quoted field that begins here is never closed",
            'close it, and write a quote inside a quoted field as ""',
        )
        self.line = line


class SourceColumnsError(SourceError):
    """The column names of a source cannot be told apart, or one has no name."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(path, problem, "give every column a name of its own")


class JsonLineError(SourceError):
    """A line of a JSON Lines file is not one JSON object."""

    def __init__(self, path: Path, line: int, problem: str) -> None:
        super().__init__(f"{path}, line {line}", problem, "write one JSON object on each line")
        self.line = line


class CorruptSourceError(SourceError):
    """A gzip or Parquet file is damaged, or is no such file."""

    def __init__(self, path: Path, container: str, reason: str) -> None:
        super().__init__(
            path, f"is no sound {container} file ({reason})", "fetch or write the file again"
        )


class SourceParseError(SourceError):
    """The library that reads the values refused the file or the read options."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, f"its values cannot be read ({reason})", "change the read_options")


class SourceChangedError(SourceError):
    """The file no longer holds the bytes that were read, or that a source version names."""

    def __init__(self, path: Path, what: str, way_out: str) -> None:
        super().__init__(path, what, way_out)


class SourceRowError(SourceError):
    """A record number is outside the source version."""

    def __init__(self, path: Path, row: object, n_rows: int) -> None:
        super().__init__(
            path, f"there is no record {row!r}", f"the version has {n_rows} records, counted from 0"
        )


class SourceRecordError(TracepropError):
    """A stored source version or record index does not say what one must say."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"This is no source version: {problem}; scan the source file again.")
