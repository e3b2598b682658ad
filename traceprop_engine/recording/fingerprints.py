"""Fingerprints of the rows of source versions in the store."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from traceprop_engine.digests import identify
from traceprop_engine.errors import (
    FingerprintsUnavailableError,
    SourceChangedError,
)
from traceprop_engine.identity import (
    ALGORITHM,
    Fingerprints,
    fingerprint_source,
    project_secret,
    secret_id_of,
)
from traceprop_engine.sources import SourceVersion
from traceprop_engine.store import Store

FINGERPRINT_ROWS = 2_000_000
"""Up to so many rows a source version is recorded with fingerprints, if nothing else is said.

They take about two seconds of a processor and 16 MB for each million rows, once for each version.
"""

_ROWS, _KEYS = "row", "key"


def fingerprint_facts(
    store: Store,
    version: SourceVersion,
    *,
    fingerprint: bool | None,
    key_columns: Sequence[str] | None,
) -> list[dict[str, object]]:
    """Write the fingerprints of a source version as a block, unless they are recorded.

    Args:
        store: Where to write.
        version: The source version; its file is read again.
        fingerprint: Whether to; by default if it has at most `FINGERPRINT_ROWS` rows, or if
            ``key_columns`` are given.
        key_columns: As for `fingerprint_source`.

    Returns:
        The new row of table ``source_fingerprint``, if there is one.

    Raises:
        SourceChangedError: The file is gone, or holds other bytes now.
        KeyColumnsError: A key column is no column of the source.
        ProjectSecretError: The secret of the store cannot be used.
    """
    if fingerprint is None:
        fingerprint = key_columns is not None or version.n_rows <= FINGERPRINT_ROWS
    if not fingerprint:
        return []
    secret = project_secret(store.directory)
    recorded = _recorded(store, version, secret_id_of(secret))
    if any(key_columns is None or _is_key(facts, key_columns) for facts in recorded):
        return []
    return [_facts(store, version, fingerprint_source(version, secret, key_columns=key_columns))]


def load_fingerprints(
    store: Store, version: SourceVersion, *, key_columns: Sequence[str] = ()
) -> Fingerprints:
    """Return the fingerprints of a source version: the recorded ones, or made from its file.

    Args:
        store: Where to look.
        version: A source version.
        key_columns: The key columns that they must have; without any, whatever was recorded will
            do.

    Raises:
        FingerprintsUnavailableError: None are recorded with this key, and the file has changed.
        KeyColumnsError: A key column is no column of the source.
        ProjectSecretError: The secret of the store cannot be used.
    """
    secret = project_secret(store.directory)
    recorded = _recorded(store, version, secret_id_of(secret))
    for facts in recorded:
        if not key_columns or _is_key(facts, key_columns):
            return _loaded(store, facts)
    try:
        return fingerprint_source(version, secret, key_columns=key_columns)
    except SourceChangedError as error:
        problem = _problem(store, version, recorded, key_columns)
        raise FingerprintsUnavailableError(version.name, version.sha256, problem) from error


def _problem(
    store: Store,
    version: SourceVersion,
    recorded: Sequence[dict[str, Any]],
    key_columns: Sequence[str],
) -> str:
    if recorded:
        known = " or ".join(
            sorted({", ".join(facts["key_columns"]) or "none" for facts in recorded})
        )
        asked = ", ".join(sorted(set(key_columns)))
        return f"was recorded with the key {known}, not {asked}"
    if _recorded(store, version, None):
        return "was recorded under another secret than the store has now"
    return "was recorded without fingerprints"


def _is_key(facts: dict[str, Any], key_columns: Sequence[str]) -> bool:
    return facts["key_columns"] == sorted(set(key_columns))


def _recorded(store: Store, version: SourceVersion, secret_id: str | None) -> list[dict[str, Any]]:
    """Return what is recorded of a version, the newest first; under any secret if none is named."""
    rows = store.query(
        """
        SELECT secret_id, columns, key_columns, block
        FROM source_fingerprint
        WHERE source_version_id = $version AND algorithm = $algorithm
          AND ($secret IS NULL OR secret_id = $secret)
        ORDER BY commit_no DESC
        """,
        {
            "version": version.source_version_id,
            "algorithm": ALGORITHM,
            "secret": secret_id,
        },
    ).to_pylist()
    lists = ("columns", "key_columns")
    return [{k: json.loads(v) if k in lists else v for k, v in row.items()} for row in rows]


def _facts(store: Store, version: SourceVersion, found: Fingerprints) -> dict[str, object]:
    hashes = {_ROWS: found.rows}
    if found.keys is not None:
        hashes[_KEYS] = found.keys
    facts: dict[str, object] = {
        "source_version_id": version.source_version_id,
        "algorithm": ALGORITHM,
        "secret_id": found.secret_id,
        "key_columns": list(found.key_columns),
    }
    return {
        "fingerprint_id": identify("fp", facts),
        **facts,
        "columns": list(found.columns),
        "block": store.put_table(pa.table(hashes), "plain"),
        "created_at": datetime.now(UTC).isoformat(timespec="microseconds"),
    }


def _loaded(store: Store, facts: dict[str, Any]) -> Fingerprints:
    table = store.get_table(facts["block"])
    hashes = {name: table.column(name).to_numpy() for name in table.column_names}
    return Fingerprints(
        rows=hashes[_ROWS],
        secret_id=facts["secret_id"],
        columns=tuple(facts["columns"]),
        key_columns=tuple(facts["key_columns"]),
        keys=hashes.get(_KEYS),
    )
