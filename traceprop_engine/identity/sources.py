"""Fingerprints of the records of a source version, from the file and not from a frame of it.

A frame's values depend on the options it was read with, and on its other rows: one text turns a
column of numbers into texts. A fingerprint must not.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

from traceprop_engine.identity.arrow_texts import n_distinct
from traceprop_engine.identity.canonical import canonical_column
from traceprop_engine.identity.fingerprints import Fingerprints, first_repeat, row_fingerprints
from traceprop_engine.sources import RecordValues, SourceVersion, iter_record_values


def fingerprint_source(
    version: SourceVersion, secret: bytes, *, key_columns: Sequence[str] | None = None
) -> Fingerprints:
    """Return the fingerprints of all records of a source version; its file is read once more.

    Memory does not grow with the file, beside 16 bytes for each record.

    Args:
        version: A source version whose file has not changed.
        secret: The key of the digest; see `project_secret`.
        key_columns: Columns that tell records apart. By default the first column in which, at the
            beginning of the file, nothing is missing and no value stands twice; no key if there
            is none, or if a value stands twice later.

    Raises:
        KeyColumnsError: A key column is no column of the source.
        TooManyRowsError: There are more than `MOST_ROWS` records.
        SourceChangedError: The file is gone, or holds other bytes now.
        SourceError: The file cannot be read.
    """
    chunks = iter_record_values(version)
    first = next(chunks)
    keys = _distinct_column(first) if key_columns is None else key_columns
    found = row_fingerprints(chain([first], chunks), secret, key_columns=keys)
    if key_columns is None and found.keys is not None and first_repeat(found.keys):
        return replace(found, key_columns=(), keys=None)
    return found


def _distinct_column(values: RecordValues) -> tuple[str, ...]:
    """Return the first column in whose values nothing is missing and nothing stands twice."""
    for name, column in values.items():
        texts = canonical_column(name, column)
        if not texts.null_count and 0 < len(texts) == n_distinct(texts):
            return (name,)
    return ()
