"""Rows of the catalogue, as pages want them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from traceprop_engine.explanation import SourceLine
from traceprop_engine.store import Store

_JSON = {
    "classes",
    "columns",
    "feature_names",
    "inputs",
    "loss_curve",
    "metrics",
    "n_rows_in",
    "training_rows",
}
Facts = dict[str, Any]


def facts(
    store: Store, sql: str, params: Sequence[object] | Mapping[str, object] = ()
) -> list[Facts]:
    """Return what a query finds, with columns of JSON as values."""
    return [_decoded(row) for row in store.query(sql, params).to_pylist()]


def _decoded(row: Facts) -> Facts:
    return {
        name: json.loads(value) if name in _JSON and isinstance(value, str) else value
        for name, value in row.items()
    }


def source_ids(store: Store, lines: Iterable[SourceLine]) -> Mapping[tuple[str, str, str], str]:
    """Return the source version that lines stand in, by name, path and SHA-256."""
    digests = sorted({line.sha256 for line in lines})
    found = store.query(
        "SELECT source_version_id, name, uri, sha256 FROM source_version "
        "WHERE list_contains($digests, sha256)",
        {"digests": digests},
    ).to_pylist()
    return {(f["name"], f["uri"], f["sha256"]): f["source_version_id"] for f in found}
