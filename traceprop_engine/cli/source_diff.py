"""What changed between two versions of a source, with the text of the rows where it is there."""

from collections.abc import Sequence
from dataclasses import dataclass

from traceprop_engine.answers import source_lines
from traceprop_engine.errors import KeyColumnsError
from traceprop_engine.explanation import SourceLine
from traceprop_engine.identity import MatchCounts, match_versions
from traceprop_engine.recording import load_fingerprints
from traceprop_engine.sources import SourceVersion
from traceprop_engine.store import Store


@dataclass(frozen=True)
class SourceDiff:
    """How a new version of a source differs from an old one.

    Attributes:
        old: The one version.
        new: The other.
        key_columns: The columns that edited rows were known by; none if no key was given.
        known_key: The key columns that both versions were recorded with.
        columns_gone: Columns with values in the old version alone.
        columns_new: Columns of the new version alone.
        counts: How many rows there are of each kind.
        gone: Rows of the old version alone, the first of them.
        added: Rows of the new version alone, the first of them.
        edited: Rows with the same key and other values, the first of them: before and after.
    """

    old: SourceVersion
    new: SourceVersion
    key_columns: tuple[str, ...]
    known_key: tuple[str, ...]
    columns_gone: tuple[str, ...]
    columns_new: tuple[str, ...]
    counts: MatchCounts
    gone: tuple[SourceLine, ...]
    added: tuple[SourceLine, ...]
    edited: tuple[tuple[SourceLine, SourceLine], ...]


def diff_of(
    store: Store, old: SourceVersion, new: SourceVersion, key: Sequence[str], limit: int
) -> SourceDiff:
    """Return what changed from ``old`` to ``new``.

    Args:
        store: Where both are recorded.
        old: A recorded source version.
        new: Another one.
        key: Columns that tell rows apart, so that edited rows are known.
        limit: How many rows of each kind to return the text of.

    Raises:
        FingerprintsUnavailableError: Of one version there are none, and its file has changed.
        KeyColumnsError: A key column is no column of the source.
        RepeatedKeyError: The key does not tell the rows of a version apart.
        ProjectSecretError: The secret of the store cannot be used.
    """
    for version in (old, new):
        if missing := [name for name in key if name not in version.columns]:
            raise KeyColumnsError(missing, version.columns)
    before = load_fingerprints(store, old, key_columns=key)
    after = load_fingerprints(store, new, key_columns=key)
    match = match_versions(before, after, key_columns=key)
    edited = match.edited[:limit]
    pairs = zip(
        _lines(store, old, match.old_of_new[edited].tolist()),
        _lines(store, new, edited.tolist()),
        strict=True,
    )
    return SourceDiff(
        old=old,
        new=new,
        key_columns=tuple(sorted(set(key))),
        known_key=before.key_columns if before.key_columns == after.key_columns else (),
        columns_gone=tuple(sorted(set(before.columns) - set(after.columns))),
        columns_new=tuple(sorted(set(after.columns) - set(before.columns))),
        counts=match.counts,
        gone=tuple(_lines(store, old, match.gone[:limit].tolist())),
        added=tuple(_lines(store, new, match.new[:limit].tolist())),
        edited=tuple(pairs),
    )


def _lines(store: Store, version: SourceVersion, rows: Sequence[int]) -> list[SourceLine]:
    """Return rows of a version as lines, in the order of ``rows``."""
    by_row = {line.row: line for line in source_lines(store, version, rows)} if rows else {}
    return [by_row[row] for row in rows]
