"""Fingerprints of rows: a keyed 64-bit digest of what stands in a row, and nothing else.

A fingerprint does not depend on the row's number, on other rows, or on the order of the columns. It
covers the names of the columns that hold a value, so that a new column that is empty in a row
leaves the row's fingerprint as it was, and a renamed column changes it.

It is the BLAKE2b digest (RFC 7693, its keyed mode) of names and canonical values. Without the key
nobody can tell whose row it is by trying likely values, which a plain hash of personal data allows.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from traceprop_engine.errors import KeyColumnsError, RepeatedColumnError, TooManyRowsError
from traceprop_engine.identity.arrow_texts import any_contains, joined, replaced
from traceprop_engine.identity.canonical import Values, canonical_column

ALGORITHM = "blake2b-64-v1"
"""How fingerprints are made; it changes whenever the same row would get another one."""

MOST_ROWS = 100_000_000
"""Rows of one version that 64 bits tell apart safely.

Two different rows of ``n`` share a fingerprint with a chance of about ``n² / 2^65``: 2.7e-8 at 1e6
rows, 2.7e-6 at 1e7, 2.7e-4 at 1e8. Versions with more rows are refused.
"""

Columns: TypeAlias = pd.DataFrame | pa.Table | pa.RecordBatch | Mapping[str, Values]
"""Rows by column: a frame, an Arrow table, or the values of each column by its name."""

Hashes: TypeAlias = npt.NDArray[np.uint64]
Texts: TypeAlias = dict[str, pa.LargeBinaryArray]

_CHUNK_ROWS = 1 << 16
_PERSON = b"traceprop row 1"
_PERSON_OF_SECRET = b"traceprop secret"
_UNIT, _ESCAPE = b"\x1f", b"\x1e"


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """The fingerprints of all rows of one table.

    Attributes:
        rows: One for each row, ``uint64``, read-only.
        secret_id: Which secret they were made with; it does not give the secret away.
        columns: The columns that they cover, in alphabetical order.
        key_columns: The columns that tell rows apart, in alphabetical order; none if not chosen.
        keys: One for each row that covers the key columns alone; nothing without key columns.
    """

    rows: Hashes
    secret_id: str
    columns: tuple[str, ...]
    key_columns: tuple[str, ...] = ()
    keys: Hashes | None = None

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.rows)

    @cached_property
    def occurrences(self) -> npt.NDArray[np.int32]:
        """For each row, how many rows before it have the same fingerprint."""
        return occurrences(self.rows)


def row_fingerprints(
    values: Columns | Iterable[Columns], secret: bytes, *, key_columns: Sequence[str] = ()
) -> Fingerprints:
    """Return the fingerprints of rows; about a microsecond for each.

    Args:
        values: All rows, or chunks of them, one after the other. A frame's index is no part.
        secret: The key of the digest, 16 to 64 bytes; see `project_secret`.
        key_columns: Columns that tell rows apart. Rows get a second fingerprint of these alone.

    Raises:
        KeyColumnsError: A key column is no column of the rows.
        RepeatedColumnError: Two columns have one name.
        UnknownValueKindError: A value has no canonical text.
        TooManyRowsError: There are more than `MOST_ROWS` rows.

    Example:
        >>> frame = pd.DataFrame({"id": [1, 2, 1], "name": ["Ada", "Grace", "Ada"]})
        >>> found = row_fingerprints(frame, secret=b"a secret of the project")
        >>> bool(found.rows[0] == found.rows[2]), found.occurrences.tolist()
        (True, [0, 0, 1])
    """
    keys = tuple(sorted(set(key_columns)))
    hasher = RowHasher(secret)
    parts: list[tuple[Hashes, Hashes]] = []
    columns: set[str] = set()
    n_rows = 0
    for texts in _canonical_chunks(values):
        columns.update(texts)
        n_rows += len(next(iter(texts.values()), ()))
        if n_rows > MOST_ROWS:
            raise TooManyRowsError(n_rows, MOST_ROWS)
        parts.append((hasher.of(texts), hasher.of(_only(texts, keys))))
    if missing := sorted(set(keys) - columns):
        raise KeyColumnsError(missing, sorted(columns))
    return Fingerprints(
        rows=_stacked([rows for rows, _ in parts]),
        secret_id=secret_id_of(secret),
        columns=tuple(sorted(columns)),
        key_columns=keys,
        keys=_stacked([of_keys for _, of_keys in parts]) if keys else None,
    )


def _canonical_chunks(values: Columns | Iterable[Columns]) -> Iterator[Texts]:
    """Yield the canonical texts of rows, column by column in alphabetical order, some at a time.

    Raises:
        RepeatedColumnError: Two columns have one name.
        UnknownValueKindError: A value has no canonical text.
    """
    if isinstance(values, pd.DataFrame | pa.Table | pa.RecordBatch | Mapping):
        yield from _texts_of(values)
    else:
        for chunk in values:
            yield from _texts_of(chunk)


def _texts_of(values: Columns) -> Iterator[Texts]:
    names = _names(values)
    n_rows = _n_rows(values)
    for start in range(0, max(n_rows, 1), _CHUNK_ROWS):
        columns = zip(names, _columns(values, start, start + _CHUNK_ROWS), strict=True)
        yield {name: canonical_column(name, column) for name, column in sorted(columns, key=_name)}


def _name(named: tuple[str, Values]) -> str:
    return named[0]


def _names(values: Columns) -> list[str]:
    if isinstance(values, pd.DataFrame):
        names = list(map(str, values.columns))
    else:
        names = list(map(str, values if isinstance(values, Mapping) else values.schema.names))
    if len(set(names)) < len(names):
        raise RepeatedColumnError(next(name for name in names if names.count(name) > 1))
    return names


def _n_rows(values: Columns) -> int:
    if isinstance(values, pd.DataFrame):
        return len(values)
    columns = list(values.values()) if isinstance(values, Mapping) else values.columns
    return max(map(len, columns), default=0)


def _columns(values: Columns, start: int, stop: int) -> list[Values]:
    if isinstance(values, pd.DataFrame):
        chunk = values.iloc[start:stop]
        return [chunk.iloc[:, i] for i in range(chunk.shape[1])]
    columns = list(values.values()) if isinstance(values, Mapping) else values.columns
    return [column[start:stop] for column in columns]


def secret_id_of(secret: bytes) -> str:
    """Return what tells ``secret`` apart from others without giving it away."""
    return hashlib.blake2b(digest_size=8, key=secret, person=_PERSON_OF_SECRET).hexdigest()


class RowHasher:
    """Hashes rows under one secret."""

    def __init__(self, secret: bytes) -> None:
        """Use ``secret``, at most 64 bytes."""
        self._start = hashlib.blake2b(digest_size=8, key=secret, person=_PERSON)

    def of(self, texts: Mapping[str, pa.LargeBinaryArray]) -> Hashes:
        """Return a hash of each row of canonical ``texts``."""
        if not texts:
            return np.empty(0, dtype=np.uint64)
        digests = self._digests(_encoded_rows(texts).to_pylist())
        return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64, copy=False)

    def _digests(self, rows: Sequence[bytes]) -> Iterator[bytes]:
        copy = self._start.copy  # half the time of taking in the key again
        for row in rows:
            state = copy()
            state.update(row)
            yield state.digest()


def _encoded_rows(texts: Mapping[str, pa.LargeBinaryArray]) -> pa.LargeBinaryArray:
    """Return each row as its names and values, one after the other, missing values left out."""
    # A piece that is never null: Arrow 26 joins pieces that are all null to no rows at all.
    pieces: list[pa.Scalar | pa.Array] = [_scalar(b"")]
    for name, column in texts.items():
        label, value = _scalar(_escaped(name.encode("utf-8", "surrogatepass"))), _escape(column)
        if column.null_count:
            pieces.append(joined(label, value, between=_scalar(_UNIT)))
        else:
            pieces += [label, value]
    return joined(*pieces, between=_scalar(_UNIT), skip_null=True)


def _scalar(text: bytes) -> pa.Scalar:
    return pa.scalar(text, pa.large_binary())


def _escaped(text: bytes) -> bytes:
    return text.replace(_ESCAPE, _ESCAPE + b"0").replace(_UNIT, _ESCAPE + b"1")


def _escape(column: pa.LargeBinaryArray) -> pa.LargeBinaryArray:
    """Return texts in which no separator stands."""
    for mark, instead in ((_ESCAPE, _ESCAPE + b"0"), (_UNIT, _ESCAPE + b"1")):
        if any_contains(column, mark):
            column = replaced(column, mark, instead)
    return column


def _only(texts: Texts, names: Sequence[str]) -> Texts:
    """Return the columns ``names`` of canonical texts; all missing where there is no such."""
    n_rows = len(next(iter(texts.values()), ()))
    missing = pa.nulls(n_rows, pa.large_binary())
    return {name: texts.get(name, missing) for name in names}


def _stacked(parts: Sequence[Hashes]) -> Hashes:
    """Return hashes one after the other, read-only."""
    hashes = np.concatenate([np.empty(0, dtype=np.uint64), *parts])
    hashes.flags.writeable = False
    return hashes


def occurrences(hashes: Hashes) -> npt.NDArray[np.int32]:
    """Return how many equal hashes stand before each one.

    Example:
        >>> occurrences(np.array([7, 5, 7, 7], dtype=np.uint64)).tolist()
        [0, 0, 1, 2]
    """
    order = np.argsort(hashes, kind="stable")
    in_order = hashes[order]
    is_first = np.concatenate([[True], in_order[1:] != in_order[:-1]])[: len(hashes)]
    places = np.arange(len(hashes), dtype=np.int32)
    first = np.maximum.accumulate(np.where(is_first, places, 0))
    found = np.empty(len(hashes), dtype=np.int32)
    found[order] = places - first
    found.flags.writeable = False
    return found


def first_repeat(hashes: Hashes) -> tuple[int, int] | None:
    """Return the places of two equal hashes, or nothing if all are distinct.

    Example:
        >>> first_repeat(np.array([7, 5, 7], dtype=np.uint64))
        (0, 2)
    """
    order = np.argsort(hashes, kind="stable")
    in_order = hashes[order]
    repeated = np.flatnonzero(in_order[1:] == in_order[:-1])
    if not len(repeated):
        return None
    first = int(repeated[0])
    return int(order[first]), int(order[first + 1])
