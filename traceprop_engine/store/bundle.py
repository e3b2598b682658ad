"""A bundle: the rows of one commit in one Parquet file that can tell whether it is whole.

The file's key-value metadata holds the SHA-256 of the file itself, computed with that digest's 64
digits set to zero, so that no bit of it can change unnoticed.
"""

import hashlib
import io
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from traceprop_engine.digests import canonical_json
from traceprop_engine.errors import StoreCorruptError
from traceprop_engine.store.schema import Record

_HEADER = "traceprop.bundle"
_DIGEST = "traceprop.sha256"
_N_DIGITS = 64
_NO_DIGEST = "0" * _N_DIGITS
# How Parquet (Thrift compact protocol) writes the metadata entry: a field of type string, its
# length and bytes, for the key and for the value. Raw control characters cannot occur in the JSON
# of the header, so the last place where these bytes stand is the entry itself.
_DIGEST_ENTRY = b"\x18\x10" + _DIGEST.encode() + b"\x18\x40"


@dataclass(frozen=True)
class Bundle:
    """What one commit recorded.

    Attributes:
        records: The rows with the names of their tables, in the order they were given.
        key: Under which the caller may repeat the commit without harm, if one was given.
        schema_version: Of the release that wrote it.
        sha256: Of the file.
    """

    records: tuple[Record, ...]
    key: str | None
    schema_version: int
    sha256: str


def encode_bundle(records: Sequence[Record], key: str | None, schema_version: int) -> bytes:
    """Return the bytes of a bundle file with ``records``, no two calls returning the same."""
    table = pa.table(
        {
            "table": pa.array([name for name, _ in records], pa.string()),
            "row": pa.array([canonical_json(row) for _, row in records], pa.string()),
        }
    )
    header = {"key": key, "nonce": uuid.uuid4().hex, "schema_version": schema_version}
    sink = io.BytesIO()
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression="zstd",
        write_page_checksum=True,
        write_statistics=False,
        store_schema=False,
    ) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({_HEADER: canonical_json(header), _DIGEST: _NO_DIGEST})
    return _sealed(sink.getvalue())


def decode_bundle(data: bytes, path: Path) -> Bundle:
    """Return the bundle whose file ``path`` holds ``data``.

    Raises:
        StoreCorruptError: The digest does not fit, or the content is not a bundle's.
    """
    digest = verified_digest(data, path)
    try:
        with pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True) as file:
            header = json.loads(file.metadata.metadata[_HEADER.encode()])
            table = file.read()
        records = tuple((r["table"], dict(json.loads(r["row"]))) for r in table.to_pylist())
        bundle = Bundle(records, header["key"], int(header["schema_version"]), digest)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise StoreCorruptError(path, f"not a bundle: {error}") from error
    return bundle


def verified_digest(data: bytes, path: Path) -> str:
    """Return the SHA-256 that the bundle file ``path`` with the bytes ``data`` states.

    Raises:
        StoreCorruptError: It does not fit the bytes.
    """
    start = data.rfind(_DIGEST_ENTRY)
    if start < 0:
        raise StoreCorruptError(path, "its digest is missing")
    start += len(_DIGEST_ENTRY)
    stated = data[start : start + _N_DIGITS]
    blanked = data[:start] + _NO_DIGEST.encode() + data[start + _N_DIGITS :]
    digest = hashlib.sha256(blanked).hexdigest()
    if stated != digest.encode():
        raise StoreCorruptError(path, "its SHA-256 does not fit")
    return digest


def _sealed(data: bytes) -> bytes:
    start = data.rindex(_DIGEST_ENTRY) + len(_DIGEST_ENTRY)
    digest = hashlib.sha256(data).hexdigest().encode()
    return data[:start] + digest + data[start + _N_DIGITS :]
