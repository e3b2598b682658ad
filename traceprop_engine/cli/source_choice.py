"""Rows of a recorded source, chosen as a person would: by line, by number, or by a condition."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

from traceprop_engine.errors import (
    OnlySourceVersionError,
    SourceLineError,
    SourceVersionAmbiguousError,
    SourceVersionNotFoundError,
)
from traceprop_engine.explanation import source_rows
from traceprop_engine.recording import load_source
from traceprop_engine.sources import SourceVersion, read_records
from traceprop_engine.store import Store

_BY_USE = {"latest": 0, "previous": 1}


@dataclass(frozen=True)
class ChosenSource:
    """A version of a source, and the other versions that it was chosen among."""

    version: SourceVersion
    others: tuple[str, ...]


def find_source(store: Store, source: str, version: str | None = None) -> ChosenSource:
    """Return a recorded version of a source; the one that was used last if none is asked for.

    Args:
        store: Where to look.
        source: Name of the source, its file name or path, or the identifier of a version.
        version: The first digits of the SHA-256 of the version, at least one.

    Raises:
        SourceVersionNotFoundError: There is none.
        SourceVersionAmbiguousError: The name stands for several sources, or ``version`` for
            several versions.
    """
    found = _named(store, source)
    paths = sorted({facts["uri"] for facts in found})
    if len(paths) > 1:
        raise SourceVersionAmbiguousError(source, paths, "give the path")
    chosen = found if version is None else [f for f in found if f["sha256"].startswith(version)]
    digests = list(dict.fromkeys(facts["sha256"][:12] for facts in chosen))
    if version is not None and not chosen:
        known = list(dict.fromkeys(facts["sha256"][:12] for facts in found))
        raise SourceVersionNotFoundError(source, version, known)
    if version is not None and len(digests) > 1:
        raise SourceVersionAmbiguousError(version, digests, "give more digits")
    first = chosen[0]["source_version_id"]
    others = tuple(f["sha256"] for f in found if f["source_version_id"] != first)
    return ChosenSource(load_source(store, first), others)


def find_version(store: Store, source: str, asked: str) -> SourceVersion:
    """Return one version of a source, whatever path it was read at.

    Args:
        store: Where to look.
        source: Name of the source, its file name or path, or the identifier of a version.
        asked: ``latest``, the version that was used last; ``previous``, the one before it; or the
            first characters of the SHA-256 or the identifier of a version.

    Raises:
        SourceVersionNotFoundError: There is none.
        OnlySourceVersionError: The previous one is asked for, and there is one version.
        SourceVersionAmbiguousError: The name stands for several sources, or ``asked`` for several
            versions.
    """
    found = _named(store, source)
    names = sorted({facts["name"] for facts in found})
    if len(names) > 1:
        raise SourceVersionAmbiguousError(source, names, "give the name of the source")
    if asked == "previous" and len(found) == 1:
        raise OnlySourceVersionError(found[0]["name"], found[0]["sha256"][:12])
    if asked in _BY_USE:
        chosen = found[_BY_USE[asked] :][:1]
    else:
        ways = ("sha256", "source_version_id")
        chosen = [facts for facts in found if any(facts[w].startswith(asked) for w in ways)]
    digests = list(dict.fromkeys(facts["sha256"][:12] for facts in chosen))
    if not chosen:
        known = list(dict.fromkeys(facts["sha256"][:12] for facts in found))
        raise SourceVersionNotFoundError(source, asked, known)
    if len(digests) > 1:
        raise SourceVersionAmbiguousError(asked, digests, "give more digits")
    return load_source(store, chosen[0]["source_version_id"])


def _named(store: Store, source: str) -> list[dict[str, str]]:
    recorded = _recorded(store)
    found = [facts for facts in recorded if _is_named(facts, source)]
    if not found:
        names = sorted({facts["name"] for facts in recorded})
        raise SourceVersionNotFoundError(source, None, names)
    return found


def _recorded(store: Store) -> list[dict[str, str]]:
    """Return all source versions, the one that a dataset was made from last first."""
    return store.query(
        """
        SELECT source_version_id, s.name, s.uri, s.sha256
        FROM source_version s LEFT JOIN row_map m ON m.input_id = s.source_version_id
        GROUP BY ALL
        ORDER BY max(greatest(s.commit_no, coalesce(m.commit_no, 0))) DESC, source_version_id
        """
    ).to_pylist()


def _is_named(facts: dict[str, str], source: str) -> bool:
    path = PurePath(facts["uri"])
    return source in {
        facts["name"],
        facts["source_version_id"],
        facts["uri"],
        path.name,
    } or (len(PurePath(source).parts) > 1 and path.match(source))


def row_of_line(version: SourceVersion, line: int) -> int:
    """Return the number of the record that stands on a line, counted from 1, of a text file.

    Raises:
        SourceLineError: No record stands there, or the file has no lines.
        SourceChangedError: Whether one does depends on the text, and the file has changed.
    """
    if version.index is None:
        raise SourceLineError(version.uri, line, "a Parquet file has no lines")
    starts = version.index.line_numbers
    row = int(np.searchsorted(starts, line, side="right")) - 1
    if row < 0:
        raise SourceLineError(version.uri, line, "it comes before the first record")
    if starts[row] != line:
        (record,) = read_records(version, [row])
        if line > starts[row] + record.text.count("\n"):
            raise SourceLineError(version.uri, line, "no record stands there")
    return row


def rows_matching(version: SourceVersion, predicate: str) -> Sequence[int]:
    """Return the numbers of the records for which a condition holds; the file is read again.

    Raises:
        NoMatchingRowError: It holds for none.
        RowPredicateError: It is no condition over the columns.
        SourceChangedError: The file is not this version any more.
    """
    way_out = "choose rows by --row or --line, or a version with --version"
    return source_rows.rows_matching(version, predicate, way_out=way_out)
