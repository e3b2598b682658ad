"""Rows of the catalogue, as pages want them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
    "quality_detail",
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


@dataclass(frozen=True)
class SourceFacts:
    """What a page says of the source version that lines stand in.

    Attributes:
        id: Of the source version.
        header: Names of the columns, as a CSV file has them in its header; ``None`` for others.
    """

    id: str
    header: str | None


def source_facts(
    store: Store, lines: Iterable[SourceLine]
) -> Mapping[tuple[str, str, str], SourceFacts]:
    """Return the source versions that lines stand in, by name, path and SHA-256."""
    digests = sorted({line.sha256 for line in lines})
    found = facts(
        store,
        "SELECT source_version_id, name, uri, sha256, delimiter, columns FROM source_version "
        "WHERE list_contains($digests, sha256)",
        {"digests": digests},
    )
    return {
        (f["name"], f["uri"], f["sha256"]): SourceFacts(
            f["source_version_id"], header_of(f["columns"], f["delimiter"])
        )
        for f in found
    }


def header_of(columns: Sequence[str], delimiter: str | None) -> str | None:
    """Return column names as the header of a CSV file; ``None`` without a delimiter."""
    return None if delimiter is None else delimiter.join(columns)
