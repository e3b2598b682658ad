"""Errors of provenance views, of files read as tracked arrays, and of lineage kept in SQLite."""

from collections.abc import Sequence
from pathlib import Path

from traceprop_engine.errors.base import TracepropError, quoted


class UntrackedValueError(TracepropError):
    """A value carries no rows, so that nothing is known of where it came from."""

    def __init__(self, kind: str) -> None:
        super().__init__(
            f"This {kind} is not tracked: make it from tracked values (`from_csv`, `from_numpy`, "
            "`from_pandas`, ...), ask while the session that loaded it is open, and before "
            "`reset_graph`."
        )


class ViewRowError(TracepropError):
    """A provenance view has no such row."""

    def __init__(self, row: object, n_rows: int) -> None:
        allowed = f"rows go from 0 to {n_rows - 1:,}" if n_rows else "it has no rows"
        super().__init__(f"The value has no row {row!r}; {allowed}.")


class NotNumericError(TracepropError):
    """Columns of a table hold values that a numeric array cannot hold."""

    def __init__(self, where: str, columns: Sequence[str], problem: str, way_out: str) -> None:
        super().__init__(f"{where}: {problem} in {quoted(columns)}; {way_out}.")
        self.columns = tuple(columns)


class HeaderlessFileError(TracepropError):
    """The first line of a file reads like values, not like names of columns."""

    def __init__(self, path: str, names: Sequence[str]) -> None:
        super().__init__(
            f"{path}: the header reads like a row of values ({quoted(names, 4)}), which would be "
            "lost; put a line with the names of the columns on top."
        )


class SourceIdTakenError(TracepropError):
    """A name of a source stands for another version of a file already."""

    def __init__(self, name: str, taken_by: str) -> None:
        super().__init__(
            f"The source {name!r} is another version of {taken_by} in this graph; pass another "
            "source_id, or start anew with `reset_graph()`."
        )


class LineageFileError(TracepropError):
    """A file is no SQLite store of lineage that can be used."""

    def __init__(self, path: Path, problem: str, way_out: str) -> None:
        super().__init__(f"{path}: {problem}; {way_out}.")


class LineageNotSavedError(TracepropError):
    """A SQLite store has no lineage under a name or number."""

    def __init__(self, path: Path, wanted: str, known: Sequence[object]) -> None:
        has = f"it has {quoted(known)}" if known else "nothing was saved in it yet"
        super().__init__(f"{path}: there is no {wanted}; {has}.")
