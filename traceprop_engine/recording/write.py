"""Engine values to store facts: what a run writes.

Identifiers are digests of what they name, so that recording the same thing twice writes one fact.
"""

from collections.abc import Sequence

import pandas as pd
import pyarrow as pa

from traceprop_engine.digests import identify
from traceprop_engine.lineage.captured import CapturedLineage
from traceprop_engine.recording.dataset_facts import (
    Facts,
    dataset_facts,
    direct_input,
    frame_facts,
    now,
)
from traceprop_engine.recording.fingerprints import fingerprint_facts
from traceprop_engine.recording.values import InputRef, Materialization, RecordedRun
from traceprop_engine.sources import SourceVersion
from traceprop_engine.store import Store
from traceprop_engine.training import Predictions, TrainingRun


def record_source(
    store: Store,
    version: SourceVersion,
    *,
    fingerprint: bool | None = None,
    key_columns: Sequence[str] | None = None,
) -> InputRef:
    """Record what the bytes of a source file were, with the place of each record in them.

    With fingerprints, its rows can be found again in later versions; see
    `traceprop_engine.identity`.

    Args:
        store: Where to write.
        version: What was read.
        fingerprint: Whether to record the fingerprint of each row, for which the file is read once
            more; by default up to `FINGERPRINT_ROWS` rows.
        key_columns: The columns that tell rows apart, so that an edited row is known as that; by
            default the first column in which nothing stands twice or is missing.

    Raises:
        SourceChangedError: The file changed since it was read, so that it gives no fingerprints;
            read it again, or pass ``fingerprint=False``.
        KeyColumnsError: A key column is no column of the source.
        ProjectSecretError: The secret of the store cannot be used.
    """
    ref = InputRef("source", version.source_version_id, version.columns)
    facts: Facts = {
        "source_fingerprint": fingerprint_facts(
            store, version, fingerprint=fingerprint, key_columns=key_columns
        )
    }
    known = store.query("SELECT 1 FROM source_version WHERE source_version_id = ?", [ref.id])
    if not known.num_rows:
        facts["source_version"] = [_source_facts(store, version)]
    if any(facts.values()):
        store.commit(facts, ingest=False)
    return ref


def _source_facts(store: Store, version: SourceVersion) -> dict[str, object]:
    index = None if version.index is None else store.put_table(version.index.to_table())
    return {
        **version.to_dict(),
        "source_version_id": version.source_version_id,
        "index_block": index,
        "seen_at": now(),
    }


def record_dataset(
    store: Store,
    made: Materialization,
    frame: pd.DataFrame | pa.Table,
    lineage: CapturedLineage,
) -> str:
    """Record the rows that one materialization wrote, and where each of them came from.

    Args:
        store: Where to write.
        made: Who writes it, and from what.
        frame: The rows: a pandas frame with the index that the reader shall get back, or a table.
        lineage: How the rows follow from the inputs.

    Returns:
        The identifier of the dataset version.
    """
    version_id, facts = frame_facts(store, made, frame, lineage)
    store.commit(facts, ingest=False)
    return version_id


def record_lineage(store: Store, made: Materialization, lineage: CapturedLineage) -> str:
    """Record where rows came from without the rows themselves, for data that is kept elsewhere.

    Returns:
        The identifier of the dataset version.
    """
    version_id, facts = dataset_facts(store, made, None, [], lineage)
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
    version_id, facts = dataset_facts(store, made, parameters, columns, lineage)
    run_id = identify("tr", {"dataset_version_id": version_id, "features": features})
    facts["training_run"] = [
        {
            "training_run_id": run_id,
            "dataset_version_id": version_id,
            "training_input_id": direct_input(lineage, made.inputs),
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
            "created_at": now(),
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
    version_id, facts = frame_facts(store, made, predictions.frame, lineage)
    labels = predictions.labels
    encoded = None if labels is None else store.put_array(model.convex.encode(labels))
    facts["prediction_set"] = [
        {
            "dataset_version_id": version_id,
            "training_run_id": model.id,
            "features_block": store.put_array(predictions.features),
            "labels_block": encoded,
            "created_at": now(),
        }
    ]
    store.commit(facts, ingest=False)
    return version_id
