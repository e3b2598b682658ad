"""Lineage as a directory of Parquet files: the tables of the catalogue, and every pair of rows."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from traceprop_engine.digests import sha256_file
from traceprop_engine.errors import RowMapError
from traceprop_engine.exports.destination import written_directory
from traceprop_engine.exports.recorded import MapFacts, RecordedLineage
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.recording import load_row_map
from traceprop_engine.store import Store
from traceprop_engine.store.schema import SCHEMA_VERSION

MANIFEST = "manifest.json"
FORMAT_VERSION = 1
"""Counts up when a file or a column changes its meaning."""

Rows = npt.NDArray[np.int64]

_PAIRS = "row_map_row"
_PAIR_COLUMNS = ("map_id", "out_row", "in_row")
_ROWS_PER_GROUP = 1 << 20

# The columns that leave the store, table by table. What is not here stays: rows of datasets,
# classes and metrics of models, features, gradients, fingerprints, explanations; without $details
# and $fitted also the arguments of operations and what estimators were fitted to.
_TABLES = {
    "source_version": "source_version_id, name, uri, format, compression, encoding, delimiter,"
    " sha256, n_bytes, n_rows, columns, seen_at, commit_no",
    "dataset_version": "dataset_version_id, dataset, partition_key, run_id, code_version, n_rows,"
    " columns, fidelity, coverage, reason, created_at, commit_no",
    "op": "dataset_version_id, ordinal, name, CASE WHEN $details THEN detail END AS detail, inputs,"
    " n_rows_in, n_rows_out, commit_no",
    "row_map": "map_id, dataset_version_id, ordinal, input_name, input_kind, input_id, role, kind,"
    " n_out, n_in, params, block, statistic, column_name, fidelity,"
    " CASE WHEN $fitted THEN fitted END AS fitted, commit_no",
    "column_lineage": "dataset_version_id, column_name, input_name, input_column, commit_no",
    "training_run": "training_run_id, dataset_version_id, training_input_id, name, family, label,"
    " feature_names, n_rows, n_parameters, converged, created_at, commit_no",
    "prediction_set": "dataset_version_id, training_run_id, created_at, commit_no",
}


@dataclass(frozen=True)
class UnlistedMap:
    """A row map without pairs in the export, and why."""

    map_id: int
    reason: str


def write_parquet(store: Store, lineage: RecordedLineage, path: Path, *, force: bool) -> int:
    """Write lineage to the directory ``path`` and return how many bytes it took.

    One file for each table, ``row_map_row.parquet`` with all pairs of rows (``map_id``,
    ``out_row``, ``in_row``, in this order), and ``manifest.json`` with the digest of each file. The
    same store gives the same bytes.

    Raises:
        ExportExistsError: ``path`` is taken.
        ExportWriteError: The file system refused.
        StoreCorruptError: The block of a row map is damaged.
    """
    with written_directory(path, MANIFEST, force=force) as made:
        n_rows = {name: _write_table(store, lineage, name, made) for name in _TABLES}
        n_rows[_PAIRS], unlisted = _write_pairs(store, lineage, made)
        _write_manifest(lineage, made, n_rows, unlisted)
        return sum(file.stat().st_size for file in made.iterdir())


def _write_table(store: Store, lineage: RecordedLineage, name: str, directory: Path) -> int:
    key, ids = "dataset_version_id", list(lineage.by_id)
    if name == "source_version":
        key, ids = "source_version_id", list(lineage.sources)
    params: dict[str, object] = {"ids": ids}
    asked = {"details": lineage.with_details, "fitted": lineage.with_fitted}
    params |= {word: is_on for word, is_on in asked.items() if f"${word}" in _TABLES[name]}
    table = store.query(
        f"SELECT {_TABLES[name]} FROM {name} WHERE {key} IN (SELECT unnest($ids)) ORDER BY ALL",
        params,
    )
    pq.write_table(table, _file(directory, name), compression="zstd")
    return table.num_rows


def _write_pairs(
    store: Store, lineage: RecordedLineage, directory: Path
) -> tuple[int, list[UnlistedMap]]:
    """Write the pairs of one map after the other; only one is in memory at a time."""
    schema = pa.schema([pa.field(name, pa.int64(), nullable=False) for name in _PAIR_COLUMNS])
    unlisted: list[UnlistedMap] = []
    n_pairs = 0
    with pq.ParquetWriter(
        _file(directory, _PAIRS),
        schema,
        compression="zstd",
        use_dictionary=False,
        column_encoding=dict.fromkeys(_PAIR_COLUMNS, "DELTA_BINARY_PACKED"),
    ) as writer:
        for group in _groups(store, lineage, unlisted):
            writer.write_table(pa.table(group, schema=schema))
            n_pairs += len(group[0])
    return n_pairs, unlisted


def _groups(
    store: Store, lineage: RecordedLineage, unlisted: list[UnlistedMap]
) -> Iterator[list[Rows]]:
    """Return all pairs as columns, with many small maps together and large ones in pieces."""
    waiting: list[list[Rows]] = []
    n_waiting = 0
    for _, facts in lineage.row_maps():
        row_map = load_row_map(store, vars(facts))
        if reason := _why_unlisted(row_map):
            unlisted.append(UnlistedMap(facts.map_id, reason))
            continue
        for columns in _columns(facts, row_map):
            waiting.append(columns)
            n_waiting += len(columns[0])
            if n_waiting >= _ROWS_PER_GROUP:
                yield _joined(waiting)
                waiting.clear()
                n_waiting = 0
    if waiting:
        yield _joined(waiting)


def _why_unlisted(row_map: RowMap) -> str | None:
    if not row_map.is_known:
        return "it is not known how the rows follow from this input"
    if row_map.kind == "context":
        return "the rows follow from this input through a statistic alone"
    return None


def _columns(facts: MapFacts, row_map: RowMap) -> Iterator[list[Rows]]:
    for out_rows, in_rows in _pairs(row_map, 0):
        for start in range(0, len(out_rows), _ROWS_PER_GROUP):
            part = slice(start, start + _ROWS_PER_GROUP)
            map_ids = np.full(len(out_rows[part]), facts.map_id, dtype=np.int64)
            yield [map_ids, out_rows[part], in_rows[part]]


def _pairs(row_map: RowMap, first: int) -> Iterator[tuple[Rows, Rows]]:
    """Return the pairs of a map whose output starts at row ``first``, halved while too many."""
    try:
        out_rows, in_rows = row_map.pairs()
    except RowMapError:
        if row_map.n_out == 1:
            in_rows = row_map.backward(np.array([0]))
            yield np.full(len(in_rows), first), in_rows
            return
    else:
        yield out_rows + first, in_rows
        return
    middle = row_map.n_out // 2
    yield from _pairs(row_map.take(np.arange(middle)), first)
    yield from _pairs(row_map.take(np.arange(middle, row_map.n_out)), first + middle)


def _joined(parts: Sequence[list[Rows]]) -> list[Rows]:
    return [np.concatenate(columns) for columns in zip(*parts, strict=True)]


def _write_manifest(
    lineage: RecordedLineage,
    directory: Path,
    n_rows: dict[str, int],
    unlisted: Sequence[UnlistedMap],
) -> None:
    files = [
        {
            "name": _file(directory, name).name,
            "n_rows": n_rows[name],
            "n_bytes": _file(directory, name).stat().st_size,
            "sha256": sha256_file(_file(directory, name)),
        }
        for name in n_rows
    ]
    document = {
        "format": "traceprop-lineage",
        "format_version": FORMAT_VERSION,
        "schema_version": SCHEMA_VERSION,
        "dataset": lineage.dataset,
        "with_details": lineage.with_details,
        "with_fitted": lineage.with_fitted,
        "files": files,
        "maps_without_pairs": [vars(one) for one in unlisted],
    }
    (directory / MANIFEST).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _file(directory: Path, name: str) -> Path:
    return directory / f"{name}.parquet"
