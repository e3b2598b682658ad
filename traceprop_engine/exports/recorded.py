"""What an export says: the facts of a store that are names, numbers and digests, never values.

The columns that are read stand here one by one. A column that a later release adds to the store
leaves it only when somebody has written it down here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from traceprop_engine.digests import canonical_json, sha256_bytes
from traceprop_engine.errors import DatasetNotFoundError, EmptyExportError, ExportTimeError
from traceprop_engine.recording import InputKind, dataset_names
from traceprop_engine.store import Store


@dataclass(frozen=True)
class SourceFacts:
    """The bytes of a source file: where they were, and what identifies them."""

    id: str
    name: str
    uri: str
    format: str
    sha256: str
    n_bytes: int
    n_rows: int
    columns: tuple[str, ...]


@dataclass(frozen=True)
class OpFacts:
    """One operation of a dataset version; ``detail`` only if it was asked for."""

    ordinal: int
    name: str
    detail: str | None
    inputs: tuple[str, ...]
    n_rows_in: tuple[int, ...]
    n_rows_out: int


@dataclass(frozen=True)
class Input:
    """What a dataset version was made from, under the name it had there."""

    name: str
    kind: InputKind
    id: str


@dataclass(frozen=True)
class MapFacts:
    """How the rows of a dataset version follow from one input.

    Attributes:
        params: The numbers of the map, as JSON text.
        block: SHA-256 of the block with its rows, if it has one.
        fitted: What was fitted, as JSON text, only if it was asked for.
    """

    map_id: int
    ordinal: int
    input: Input
    role: str
    kind: str
    n_out: int
    n_in: int
    params: str
    block: str | None
    statistic: str | None
    column_name: str | None
    fidelity: str
    fitted: str | None

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of kind, n_out, n_in, params and block."""
        named = {"kind": self.kind, "n_out": self.n_out, "n_in": self.n_in, "block": self.block}
        return sha256_bytes(canonical_json(named | {"params": json.loads(self.params)}).encode())


@dataclass(frozen=True)
class ModelFacts:
    """A trained model. Its dataset version has the training rows as rows."""

    id: str
    version_id: str
    name: str
    family: str
    n_rows: int
    converged: bool


@dataclass(frozen=True)
class ColumnFacts:
    """A column that has the name of a column of an input."""

    column: str
    input_name: str
    input_column: str


@dataclass(frozen=True)
class VersionFacts:
    """The rows that one materialization wrote, and how they came about.

    Attributes:
        columns: Name and type of each column.
        created_at: When it was recorded; the time of nothing else is known.
        model: The model that was trained here, if one was.
        predicted_by: The model whose predictions these are, if they are.
    """

    id: str
    dataset: str
    partition_key: str
    run_id: str
    code_version: str | None
    n_rows: int
    columns: tuple[tuple[str, str], ...]
    fidelity: str
    coverage: float
    reason: str | None
    created_at: datetime | None
    commit_no: int
    ops: tuple[OpFacts, ...]
    maps: tuple[MapFacts, ...]
    same_columns: tuple[ColumnFacts, ...]
    model: ModelFacts | None
    predicted_by: ModelFacts | None

    @property
    def recorded_at(self) -> datetime:
        """When it was recorded.

        Raises:
            ExportTimeError: Nobody wrote it down.
        """
        if self.created_at is None:
            raise ExportTimeError(self.dataset, self.id)
        return self.created_at

    @property
    def row_inputs(self) -> tuple[Input, ...]:
        """What its rows were made from, once each, in order."""
        return tuple({facts.input.id: facts.input for facts in self.maps}.values())

    @property
    def inputs(self) -> tuple[Input, ...]:
        """What it was made from, the model that predicted it last."""
        model = self.predicted_by
        if model is None or any(one.id == model.version_id for one in self.row_inputs):
            return self.row_inputs
        return (*self.row_inputs, Input(model.name, "dataset", model.version_id))

    def inputs_of(self, op: OpFacts) -> tuple[Input, ...]:
        """Return what rows went into an operation, as far as the row maps name it."""
        named = {facts.input.name: facts.input for facts in self.maps}
        found = [named[name] for name in op.inputs if name in named]
        return tuple({one.id: one for one in found}.values())


@dataclass(frozen=True)
class RecordedLineage:
    """The lineage of a store, or of one dataset and everything upstream of it.

    Attributes:
        dataset: The dataset it was asked for; ``None`` for the whole store.
        with_details: Whether the arguments of operations are in it.
        with_fitted: Whether what estimators were fitted to is in it.
        versions: Dataset versions in the order of their commits.
        sources: Source versions by identifier.
    """

    dataset: str | None
    with_details: bool
    with_fitted: bool
    versions: tuple[VersionFacts, ...]
    sources: Mapping[str, SourceFacts]

    @cached_property
    def by_id(self) -> Mapping[str, VersionFacts]:
        """The dataset versions by identifier."""
        return {version.id: version for version in self.versions}

    def row_maps(self) -> list[tuple[VersionFacts, MapFacts]]:
        """Return every row map with the dataset version that it belongs to, by ``map_id``."""
        found = [(version, facts) for version in self.versions for facts in version.maps]
        return sorted(found, key=lambda pair: pair[1].map_id)


# What a dataset version needs: its inputs, and the model that predicted it.
_SCOPE = """
WITH RECURSIVE needs(id, needed) AS (
    SELECT dataset_version_id, input_id FROM row_map
    UNION ALL
    SELECT p.dataset_version_id, t.dataset_version_id
    FROM prediction_set p JOIN training_run t USING (training_run_id)
), reached(id) AS (
    SELECT dataset_version_id FROM dataset_version
    WHERE $dataset IS NULL OR $dataset IN (dataset, dataset_version_id)
    UNION
    SELECT needed FROM needs JOIN reached USING (id)
)
SELECT dataset_version_id, dataset, partition_key, run_id, code_version, n_rows, columns, fidelity,
       coverage, reason, created_at, commit_no
FROM dataset_version WHERE dataset_version_id IN (SELECT id FROM reached)
ORDER BY commit_no, dataset_version_id
"""
_OPS = """
SELECT dataset_version_id, ordinal, name, CASE WHEN $details THEN detail END AS detail, inputs,
       n_rows_in, n_rows_out
FROM op WHERE dataset_version_id IN (SELECT unnest($ids)) ORDER BY dataset_version_id, ordinal
"""
_MAPS = """
SELECT dataset_version_id, map_id, ordinal, input_name, input_kind, input_id, role, kind, n_out,
       n_in, params, block, statistic, column_name, fidelity,
       CASE WHEN $fitted THEN fitted END AS fitted
FROM row_map WHERE dataset_version_id IN (SELECT unnest($ids))
ORDER BY dataset_version_id, ordinal
"""
_COLUMNS = """
SELECT dataset_version_id, column_name AS column, input_name, input_column
FROM column_lineage WHERE dataset_version_id IN (SELECT unnest($ids))
ORDER BY dataset_version_id, column_name, input_name, input_column
"""
_MODELS = """
SELECT training_run_id AS id, dataset_version_id AS version_id, name, family, n_rows, converged
FROM training_run WHERE dataset_version_id IN (SELECT unnest($ids)) ORDER BY training_run_id
"""
_PREDICTIONS = """
SELECT dataset_version_id, training_run_id
FROM prediction_set WHERE dataset_version_id IN (SELECT unnest($ids))
"""
_SOURCES = """
SELECT source_version_id AS id, name, uri, format, sha256, n_bytes, n_rows, columns
FROM source_version
WHERE $all OR source_version_id IN (SELECT unnest($ids))
ORDER BY commit_no, source_version_id
"""


def read_lineage(
    store: Store,
    dataset: str | None = None,
    *,
    with_details: bool = False,
    with_fitted: bool = False,
) -> RecordedLineage:
    """Return the lineage that a store holds, without any value of any row unless asked for.

    Args:
        store: Where to read.
        dataset: Only this dataset and all that it was made from: its name, for all of its versions,
            or the identifier of one version.
        with_details: Whether to read the arguments of operations, such as ``"by='id'"``. They
            stand in the code and may hold values.
        with_fitted: Whether to read what estimators were fitted to, such as the categories of a
            column. It is made of the values of rows.

    Raises:
        DatasetNotFoundError: The store has no such dataset.
        EmptyExportError: The store has no dataset version.
    """
    rows = store.query(_SCOPE, {"dataset": dataset}).to_pylist()
    if not rows:
        known = dataset_names(store)
        if dataset is None or not known:
            raise EmptyExportError(store.directory)
        raise DatasetNotFoundError(dataset, known)
    ids = [row["dataset_version_id"] for row in rows]
    facts = _Facts(store, ids, details=with_details, fitted=with_fitted)
    versions = tuple(facts.version(row) for row in rows)
    used = sorted({one.id for version in versions for one in version.inputs})
    found = store.query(_SOURCES, {"all": dataset is None, "ids": used}).to_pylist()
    sources = {row["id"]: _source(row) for row in found}
    return RecordedLineage(dataset, with_details, with_fitted, versions, sources)


class _Facts:
    """The facts of some dataset versions, each table read once."""

    def __init__(self, store: Store, ids: Sequence[str], *, details: bool, fitted: bool) -> None:
        self._ops = _grouped(store, _OPS, ids, details=details)
        self._maps = _grouped(store, _MAPS, ids, fitted=fitted)
        self._columns = _grouped(store, _COLUMNS, ids)
        models = [ModelFacts(**row) for row in store.query(_MODELS, {"ids": ids}).to_pylist()]
        self._models = {model.version_id: model for model in models}
        by_run = {model.id: model for model in models}
        predictions = store.query(_PREDICTIONS, {"ids": ids}).to_pylist()
        self._predicted_by = {
            row["dataset_version_id"]: by_run.get(row["training_run_id"]) for row in predictions
        }

    def version(self, row: Mapping[str, Any]) -> VersionFacts:
        """Return one dataset version with all that belongs to it."""
        values = dict(row)
        version_id = values.pop("dataset_version_id")
        columns = json.loads(values.pop("columns"))
        return VersionFacts(
            **values,
            id=version_id,
            columns=tuple((str(column["name"]), str(column["type"])) for column in columns),
            ops=tuple(map(_op, self._ops.get(version_id, ()))),
            maps=tuple(map(_map, self._maps.get(version_id, ()))),
            same_columns=tuple(ColumnFacts(**r) for r in self._columns.get(version_id, ())),
            model=self._models.get(version_id),
            predicted_by=self._predicted_by.get(version_id),
        )


def _grouped(
    store: Store, sql: str, ids: Sequence[str], **params: object
) -> dict[str, list[dict[str, Any]]]:
    grouped: dict[str, list[dict[str, Any]]] = {}
    for row in store.query(sql, {"ids": ids, **params}).to_pylist():
        grouped.setdefault(row.pop("dataset_version_id"), []).append(row)
    return grouped


def _op(row: Mapping[str, Any]) -> OpFacts:
    values = dict(row)
    inputs, n_rows_in = (tuple(json.loads(values.pop(name))) for name in ("inputs", "n_rows_in"))
    return OpFacts(**values, inputs=inputs, n_rows_in=n_rows_in)


def _map(row: Mapping[str, Any]) -> MapFacts:
    values = dict(row)
    made_from = Input(*(values.pop(f"input_{part}") for part in ("name", "kind", "id")))
    return MapFacts(**values, input=made_from)


def _source(row: Mapping[str, Any]) -> SourceFacts:
    values = dict(row)
    columns = tuple(json.loads(values.pop("columns")))
    return SourceFacts(**values, columns=columns)
