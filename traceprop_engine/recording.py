"""Engine values to store facts, and back: what a run writes, and what a question reads.

Identifiers are digests of what they name, so that recording the same thing twice writes one fact.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from traceprop_engine.digests import identify
from traceprop_engine.errors import DatasetNotFoundError, TrainingRunNotFoundError
from traceprop_engine.lineage.captured import CapturedLineage, ContextDependency, Op
from traceprop_engine.lineage.row_map import RowMap, RowMapKind
from traceprop_engine.sources import RecordIndex, SourceVersion
from traceprop_engine.store import Store
from traceprop_engine.training import Predictions, TrainingRun

InputKind = Literal["source", "dataset"]
Facts = dict[str, list[dict[str, object]]]
_MEMBERS, _BITS = "members", "bits"


@dataclass(frozen=True)
class InputRef:
    """What an input of a dataset version was: a source version or another dataset version.

    Attributes:
        kind: Which of the two.
        id: Its identifier.
        columns: Names of its columns, for column lineage.
    """

    kind: InputKind
    id: str
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Materialization:
    """Who writes a dataset version, and from what.

    Attributes:
        dataset: Name of the dataset; in Dagster the asset key.
        inputs: What each input named in the lineage was.
        run_id: Identifier of the run, such as Dagster's.
        partition_key: The partition that is written; empty for an unpartitioned dataset.
        code_version: The version of the code that its author declared, if any.
    """

    dataset: str
    inputs: Mapping[str, InputRef]
    run_id: str
    partition_key: str = ""
    code_version: str | None = None


@dataclass(frozen=True, eq=False)
class RecordedRun:
    """A training run that a store holds.

    Attributes:
        id: Identifier of the training run.
        dataset_version_id: The dataset version whose rows are the training rows.
        run: The run itself; its index numbers the training rows.
    """

    id: str
    dataset_version_id: str
    run: TrainingRun


@dataclass(frozen=True)
class DatasetVersion:
    """The rows that one materialization wrote, as the catalogue knows them."""

    id: str
    dataset: str
    run_id: str
    n_rows: int
    fidelity: str
    coverage: float
    reason: str | None
    content_block: str | None
    is_training_run: bool
    columns: tuple[str, ...]
    commit_no: int


def record_source(store: Store, version: SourceVersion) -> InputRef:
    """Record what the bytes of a source file were, with the place of each record in them."""
    ref = InputRef("source", version.source_version_id, version.columns)
    if store.query("SELECT 1 FROM source_version WHERE source_version_id = ?", [ref.id]).num_rows:
        return ref
    facts = version.to_dict()
    facts["source_version_id"] = ref.id
    facts["columns"] = list(version.columns)
    facts["index_block"] = (
        store.put_table(version.index.to_table()) if version.index is not None else None
    )
    facts["seen_at"] = _now()
    store.commit({"source_version": [facts]}, ingest=False)
    return ref


def load_source(store: Store, source_version_id: str) -> SourceVersion:
    """Return a recorded source version, with its record index."""
    rows = store.query(
        "SELECT * FROM source_version WHERE source_version_id = ?", [source_version_id]
    ).to_pylist()
    if not rows:
        raise DatasetNotFoundError(source_version_id, [])
    facts = _decoded(rows[0], "columns")
    block = cast("str | None", facts.pop("index_block"))
    index = RecordIndex.from_table(store.get_table(block)) if block else None
    return SourceVersion.from_dict(facts, index)


def record_dataset(
    store: Store,
    made: Materialization,
    frame: pd.DataFrame,
    lineage: CapturedLineage,
) -> str:
    """Record the rows that one materialization wrote, and where each of them came from.

    Args:
        store: Where to write.
        made: Who writes it, and from what.
        frame: The rows, with the index that the reader shall get back.
        lineage: How the rows follow from the inputs.

    Returns:
        The identifier of the dataset version.
    """
    table = pa.Table.from_pandas(frame)
    block = store.put_table(table)
    columns = [{"name": str(f.name), "type": str(f.type)} for f in table.schema]
    version_id, facts = _dataset_facts(store, made, block, columns, lineage)
    facts["column_lineage"] = _column_facts(version_id, frame, lineage, made)
    store.commit(facts, ingest=False)
    return version_id


def record_lineage(store: Store, made: Materialization, lineage: CapturedLineage) -> str:
    """Record where rows came from without the rows themselves, for data that is kept elsewhere.

    Returns:
        The identifier of the dataset version.
    """
    version_id, facts = _dataset_facts(store, made, None, [], lineage)
    store.commit(facts, ingest=False)
    return version_id


def record_training_run(
    store: Store,
    made: Materialization,
    training_run: TrainingRun,
    lineage: CapturedLineage,
) -> tuple[str, str]:
    """Record a training run: its model, its training rows, and one gradient for each of them.

    The model is a dataset version of its own whose rows are the training rows, so that a walk
    along row maps goes through it.

    Returns:
        The identifier of the dataset version, and the identifier of the training run.
    """
    parameters = store.put_array(training_run.parameters)
    features = store.put_array(training_run.features)
    labels = store.put_array(training_run.targets)
    gradients = training_run.per_sample_grads()
    columns = [{"name": name, "type": "double"} for name in training_run.feature_names]
    version_id, facts = _dataset_facts(store, made, parameters, columns, lineage)
    run_id = identify("tr", {"dataset_version_id": version_id, "features": features})
    facts["training_run"] = [
        {
            "training_run_id": run_id,
            "dataset_version_id": version_id,
            "training_input_id": _direct_input(lineage, made.inputs),
            "name": training_run.name,
            "family": training_run.family,
            "label": training_run.label,
            "classes": list(training_run.classes),
            "feature_names": list(training_run.feature_names),
            "l2": training_run.l2,
            "fit_intercept": training_run.fit_intercept,
            "n_rows": training_run.n_train,
            "n_parameters": int(training_run.parameters.size),
            "parameters_block": parameters,
            "features_block": features,
            "labels_block": labels,
            "gradient_norm": training_run.gradient_norm,
            "n_iterations": training_run.n_iterations,
            "converged": training_run.converged,
            "metrics": dict(training_run.metrics),
            "loss_curve": list(training_run.loss_curve),
            "created_at": _now(),
        }
    ]
    facts["gradient_block"] = [
        {
            "training_run_id": run_id,
            "checkpoint": 0,
            "row_lo": 0,
            "row_hi": len(gradients),
            "dim": gradients.shape[1],
            "dtype": str(gradients.dtype),
            "loss": training_run.family,
            "projection": "none",
            "block": store.put_array(gradients),
        }
    ]
    store.commit(facts, ingest=False)
    return version_id, run_id


def record_predictions(
    store: Store,
    made: Materialization,
    predictions: Predictions,
    lineage: CapturedLineage,
    model: RecordedRun,
) -> str:
    """Record predictions with the features that the model saw, so that each can be explained."""
    frame = predictions.frame
    table = pa.Table.from_pandas(frame)
    columns = [{"name": str(f.name), "type": str(f.type)} for f in table.schema]
    block = store.put_table(table)
    version_id, facts = _dataset_facts(store, made, block, columns, lineage)
    labels = predictions.labels
    facts["column_lineage"] = _column_facts(version_id, frame, lineage, made)
    facts["prediction_set"] = [
        {
            "dataset_version_id": version_id,
            "training_run_id": model.id,
            "features_block": store.put_array(predictions.features),
            "labels_block": None if labels is None else store.put_array(model.run.encode(labels)),
            "created_at": _now(),
        }
    ]
    store.commit(facts, ingest=False)
    return version_id


def find_dataset_version(
    store: Store,
    dataset: str,
    *,
    partition_key: str | None = None,
    run_id: str | None = None,
) -> DatasetVersion:
    """Return the newest version of a dataset, preferring the one that ``run_id`` wrote.

    Args:
        store: Where to look.
        dataset: Name of the dataset, or the identifier of one of its versions.
        partition_key: Only versions of this partition.
        run_id: The run whose own version comes first, so that concurrent runs do not mix.

    Raises:
        DatasetNotFoundError: The store has no version of it.
    """
    found = store.query(
        """
        SELECT dataset_version_id, dataset, run_id, n_rows, fidelity, coverage, reason,
               content_block, commit_no, columns,
               dataset_version_id IN (SELECT dataset_version_id FROM training_run)
                 AS is_training_run
        FROM dataset_version
        WHERE (dataset = $dataset OR dataset_version_id = $dataset)
          AND ($partition IS NULL OR partition_key = $partition)
        ORDER BY coalesce(run_id = $run, false) DESC, commit_no DESC
        LIMIT 1
        """,
        {"dataset": dataset, "partition": partition_key, "run": run_id},
    ).to_pylist()
    if not found:
        raise DatasetNotFoundError(dataset, dataset_names(store))
    row = _decoded(found[0], "columns")
    columns = tuple(str(column["name"]) for column in row.pop("columns"))
    return DatasetVersion(id=row.pop("dataset_version_id"), columns=columns, **row)


def dataset_names(store: Store) -> list[str]:
    """Return the names of all recorded datasets, in alphabetical order."""
    table = store.query("SELECT DISTINCT dataset FROM dataset_version ORDER BY dataset")
    return [str(name) for name in table.column(0).to_pylist()]


def load_frame(store: Store, version: DatasetVersion) -> pd.DataFrame:
    """Return the rows of a dataset version as they were written, with their own index."""
    if version.content_block is None:
        raise DatasetNotFoundError(version.dataset, dataset_names(store))
    return store.get_table(version.content_block).to_pandas()


def load_training_run(store: Store, identifier: str) -> RecordedRun:
    """Return a recorded training run, by its identifier or that of its dataset version.

    Raises:
        TrainingRunNotFoundError: The store has no such run.
    """
    found = store.query(
        "SELECT * FROM training_run WHERE $id IN (training_run_id, dataset_version_id)",
        {"id": identifier},
    ).to_pylist()
    if not found:
        raise TrainingRunNotFoundError(identifier)
    facts = _decoded(found[0], "classes", "feature_names", "loss_curve")
    features = store.get_array(facts["features_block"])
    targets = store.get_array(facts["labels_block"])[:, 0]
    run = TrainingRun(
        family=facts["family"],
        name=facts["name"],
        feature_names=tuple(facts["feature_names"]),
        label=facts["label"],
        classes=tuple(facts["classes"]),
        l2=facts["l2"],
        parameters=store.get_array(facts["parameters_block"]),
        features=features,
        labels=decode_labels(facts["classes"], targets),
        index=pd.RangeIndex(len(features)),
        n_iterations=facts["n_iterations"],
        loss_curve=tuple(facts["loss_curve"]),
        fit_intercept=facts["fit_intercept"],
    )
    return RecordedRun(facts["training_run_id"], facts["dataset_version_id"], run)


def decode_labels(
    classes: Sequence[object], targets: npt.NDArray[np.float64]
) -> npt.NDArray[np.generic]:
    """Return labels from their positions in ``classes``; as they are when there are no classes."""
    return np.asarray(classes)[targets.astype(np.intp)] if classes else targets


def load_row_map(store: Store, facts: Mapping[str, object]) -> RowMap:
    """Return the row map that a row of the catalogue's table ``row_map`` describes."""
    block = cast("str | None", facts["block"])
    columns: dict[str, npt.NDArray[np.integer]] = {}
    if block is not None:
        table = store.get_table(block)
        columns = {name: table.column(name).to_numpy() for name in table.column_names}
    if facts["kind"] == _MEMBERS:
        bits = np.unpackbits(columns[_BITS].astype(np.uint8), count=cast("int", facts["n_in"]))
        return RowMap.groups(bits.astype(np.int8) - 1, 1)
    return RowMap.from_parts(
        cast("RowMapKind", facts["kind"]),
        cast("int", facts["n_out"]),
        cast("int", facts["n_in"]),
        json.loads(cast("str", facts["params"])),
        columns,
    )


def _dataset_facts(
    store: Store,
    made: Materialization,
    content_block: str | None,
    columns: Sequence[Mapping[str, str]],
    lineage: CapturedLineage,
) -> tuple[str, Facts]:
    identity = {
        "dataset": made.dataset,
        "partition_key": made.partition_key,
        "run_id": made.run_id,
        "content": content_block,
        "inputs": sorted((name, ref.id) for name, ref in made.inputs.items()),
    }
    version_id = identify("dv", identity)
    facts: Facts = {
        "dataset_version": [
            {
                "dataset_version_id": version_id,
                "dataset": made.dataset,
                "partition_key": made.partition_key,
                "run_id": made.run_id,
                "code_version": made.code_version,
                "n_rows": lineage.n_rows,
                "columns": list(columns),
                "content_block": content_block,
                "fidelity": lineage.fidelity,
                "coverage": lineage.coverage(),
                "reason": lineage.reason,
                "created_at": _now(),
            }
        ],
        "op": [_op_facts(version_id, n, op) for n, op in enumerate(lineage.ops)],
        "row_map": _row_map_facts(store, version_id, lineage, made.inputs),
    }
    return version_id, facts


def _op_facts(version_id: str, ordinal: int, op: Op) -> dict[str, object]:
    return {
        "dataset_version_id": version_id,
        "ordinal": ordinal,
        "name": op.name,
        "detail": op.detail,
        "inputs": list(op.inputs),
        "n_rows_in": list(op.n_rows_in),
        "n_rows_out": op.n_rows_out,
    }


def _row_map_facts(
    store: Store, version_id: str, lineage: CapturedLineage, inputs: Mapping[str, InputRef]
) -> list[dict[str, object]]:
    entries: list[tuple[str, RowMap, ContextDependency | None]] = [
        (name, row_map, None) for name, row_map in lineage.maps.items()
    ]
    entries += [(context.input, context.members, context) for context in lineage.contexts]
    written: dict[int, dict[str, object]] = {}  # several statistics of the same rows share a map
    for _, row_map, context in entries:
        if id(row_map) not in written:
            written[id(row_map)] = _map_parts(store, row_map, of_statistic=context is not None)
    known = "claimed" if lineage.fidelity == "claimed" else "exact"
    return [
        {
            "dataset_version_id": version_id,
            "ordinal": ordinal,
            "input_name": name,
            "input_kind": inputs[name].kind,
            "input_id": inputs[name].id,
            "role": "direct" if context is None else "context",
            "statistic": None if context is None else context.statistic,
            "column_name": None if context is None else context.column,
            "fidelity": known if row_map.is_known else "unknown",
            **written[id(row_map)],
        }
        for ordinal, (name, row_map, context) in enumerate(entries)
    ]


def _map_parts(store: Store, row_map: RowMap, *, of_statistic: bool) -> dict[str, object]:
    kind, params, columns = row_map.to_parts()
    if of_statistic and kind == "groups":
        # The members of a statistic: one bit for each row of the input is the least to write.
        kind, columns = _MEMBERS, {_BITS: np.packbits(columns["out_row"] == 0)}
    return {
        "kind": kind,
        "n_out": row_map.n_out,
        "n_in": row_map.n_in,
        "params": params,
        "block": store.put_table(pa.table(columns)) if columns else None,
    }


def column_lineage(
    columns: Iterable[str], lineage: CapturedLineage, inputs: Mapping[str, InputRef]
) -> list[tuple[str, str, str]]:
    """Return which columns have the name of a column of an input that rows came from.

    Only names are compared: a column that was renamed or derived is not followed.

    Returns:
        Column, input and the input's column.
    """
    names = list(columns)
    return [
        (column, name, column)
        for name, row_map in lineage.maps.items()
        if row_map.is_known
        for column in names
        if column in inputs[name].columns
    ]


def _column_facts(
    version_id: str, frame: pd.DataFrame, lineage: CapturedLineage, made: Materialization
) -> list[dict[str, object]]:
    return [
        {
            "dataset_version_id": version_id,
            "column_name": column,
            "input_name": name,
            "input_column": input_column,
        }
        for column, name, input_column in column_lineage(
            map(str, frame.columns), lineage, made.inputs
        )
    ]


def _direct_input(lineage: CapturedLineage, inputs: Mapping[str, InputRef]) -> str | None:
    known = [name for name, row_map in lineage.maps.items() if row_map.is_known]
    return inputs[known[0]].id if known else None


def _decoded(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return a row of the catalogue with its JSON columns ``names`` as values."""
    return {key: json.loads(value) if key in names else value for key, value in row.items()}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
