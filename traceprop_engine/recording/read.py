"""Store facts to engine values: what a question reads."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from traceprop_engine.errors import (
    DatasetNotFoundError,
    NoRowsKeptError,
    SourceVersionNotFoundError,
    TrainingRunNotFoundError,
)
from traceprop_engine.recording.nets import stored_net
from traceprop_engine.recording.values import DatasetVersion, RecordedRun
from traceprop_engine.sources import RecordIndex, SourceVersion
from traceprop_engine.store import Store
from traceprop_engine.training import TrainingRun


def load_source(store: Store, source_version_id: str) -> SourceVersion:
    """Return a recorded source version, with its record index.

    Raises:
        SourceVersionNotFoundError: The store has no such version.
    """
    rows = store.query(
        "SELECT * FROM source_version WHERE source_version_id = ?", [source_version_id]
    ).to_pylist()
    if not rows:
        raise SourceVersionNotFoundError(source_version_id, None, source_names(store))
    facts = _decoded(rows[0], "columns")
    block = cast("str | None", facts.pop("index_block"))
    index = RecordIndex.from_table(store.get_table(block)) if block else None
    return SourceVersion.from_dict(facts, index)


def source_names(store: Store) -> list[str]:
    """Return the names of all recorded sources, in alphabetical order."""
    table = store.query("SELECT DISTINCT name FROM source_version ORDER BY name")
    return [str(name) for name in table.column(0).to_pylist()]


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
    """Return the rows of a dataset version as they were written, with their own index.

    Raises:
        NoRowsKeptError: It is a model, or was recorded without its rows.
    """
    return load_table(store, version).to_pandas()


def load_table(store: Store, version: DatasetVersion) -> pa.Table:
    """Return the rows of a dataset version as an Arrow table.

    Raises:
        NoRowsKeptError: It is a model, or was recorded without its rows.
    """
    if version.content_block is None or version.is_training_run:
        raise NoRowsKeptError(version.dataset)
    return store.get_table(version.content_block)


def load_training_run(store: Store, identifier: str) -> RecordedRun:
    """Return a recorded model, by the identifier of its training run or of its dataset version.

    Raises:
        TrainingRunNotFoundError: The store has no such run.
    """
    found = store.query(
        "SELECT * FROM training_run WHERE $id IN (training_run_id, dataset_version_id)",
        {"id": identifier},
    ).to_pylist()
    if not found:
        raise TrainingRunNotFoundError(identifier)
    facts = _decoded(found[0], "classes", "feature_names", "loss_curve", "metrics", "net")
    if facts["net"] is not None:
        net = stored_net(store, facts["training_run_id"], facts)
        return RecordedRun(facts["training_run_id"], facts["dataset_version_id"], net)
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


def _decoded(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return a row of the catalogue with its JSON columns ``names`` as values."""
    return {
        key: json.loads(value) if key in names and value is not None else value
        for key, value in row.items()
    }
