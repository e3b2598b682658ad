"""Errors of row identity: fingerprints, and the matching of two versions of a source."""

from collections.abc import Sequence
from pathlib import Path

from traceprop_engine.errors.base import TracepropError, quoted


class ProjectSecretError(TracepropError):
    """The file with the secret of a store's fingerprints cannot be made, read or used."""

    def __init__(self, path: Path, problem: str, way_out: str) -> None:
        super().__init__(f"{path}: {problem}; {way_out}.")


class UnknownValueKindError(TracepropError):
    """A column holds a value that has no canonical text."""

    def __init__(self, column: str, kind: type) -> None:
        super().__init__(
            f"Column {column!r} holds a {kind.__name__}, which has no canonical text: convert it "
            "to text, numbers, times or JSON values."
        )


class RepeatedColumnError(TracepropError):
    """Two columns of one table have the same name."""

    def __init__(self, column: str) -> None:
        super().__init__(
            f"More than one column is called {column!r}: give every column a name of its own."
        )


class KeyColumnsError(TracepropError):
    """The key columns are not columns of the rows."""

    def __init__(self, missing: Sequence[str], columns: Sequence[str]) -> None:
        super().__init__(
            f"There is no column {quoted(missing)} to tell rows by; there are {quoted(columns)}."
        )


class RepeatedKeyError(TracepropError):
    """Rows cannot be told by their key columns: some rows have the same values there."""

    def __init__(self, what: str, key_columns: Sequence[str], rows: Sequence[int]) -> None:
        super().__init__(
            f"The key {quoted(key_columns)} does not tell the rows of {what} apart: rows "
            f"{rows[0]} and {rows[1]} have the same; name more columns, or leave the key out."
        )


class UnlikeFingerprintsError(TracepropError):
    """Two sets of fingerprints were made in different ways and say nothing about each other."""

    def __init__(self, difference: str, way_out: str) -> None:
        super().__init__(f"The fingerprints cannot be compared: {difference}; {way_out}.")


class TooManyRowsError(TracepropError):
    """More rows than fingerprints of 64 bits can be trusted to tell apart."""

    def __init__(self, n_rows: int, limit: int) -> None:
        super().__init__(
            f"{n_rows:,} rows are more than the {limit:,} that fingerprints of 64 bits tell apart "
            "safely: split the source, or record it with fingerprint=False."
        )


class FingerprintsUnavailableError(TracepropError):
    """A source version was recorded without fingerprints, and its bytes are gone."""

    def __init__(self, source: str, sha256: str, problem: str) -> None:
        super().__init__(
            f"Version {sha256[:12]} of source {source!r} {problem}, and its file cannot be read "
            "as it was any more: put the bytes of that version back at its path."
        )
