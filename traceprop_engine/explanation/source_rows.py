"""Rows of a recorded source for which a condition holds."""

from collections.abc import Sequence
from pathlib import Path

from traceprop_engine.digests import sha256_file
from traceprop_engine.errors import NoMatchingRowError, SourceChangedError
from traceprop_engine.row_predicate import rows_where
from traceprop_engine.sources import SourceVersion, read_source


def rows_matching(version: SourceVersion, predicate: str, *, way_out: str) -> Sequence[int]:
    """Return the numbers of the records for which a condition holds; the file is read again.

    Args:
        version: Which bytes are meant.
        predicate: Such as ``"id = 7"``.
        way_out: What to do if the file has changed, for the error.

    Raises:
        NoMatchingRowError: It holds for none.
        RowPredicateError: It is no condition over the columns.
        SourceChangedError: The file is not this version any more.
    """
    options = {"name": version.name, "format": version.format}
    if version.encoding is not None:
        options["encoding"] = version.encoding
    if version.delimiter is not None:
        options["delimiter"] = version.delimiter
    path = Path(version.uri)
    changed = SourceChangedError(path, "the file has other bytes now", way_out)
    # Before it is read, because other bytes may be no table at all, and that is not the point.
    if path.is_file() and sha256_file(path) != version.sha256:
        raise changed
    now, frame = read_source(path, **options)
    if now.sha256 != version.sha256:
        raise changed
    rows = rows_where(frame, predicate)
    if not len(rows):
        raise NoMatchingRowError(version.uri, predicate)
    return [int(row) for row in rows]
