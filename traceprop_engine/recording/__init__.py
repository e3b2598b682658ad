"""Engine values to store facts, and back: what a run writes, and what a question reads."""

from traceprop_engine.recording.arrays import array_table, is_array_table, table_array
from traceprop_engine.recording.dataset_facts import column_lineage
from traceprop_engine.recording.fingerprints import FINGERPRINT_ROWS, load_fingerprints
from traceprop_engine.recording.fitted import FittedStatistic, describe_fitted, load_fitted
from traceprop_engine.recording.nets import (
    load_questions,
    record_net_predictions,
    record_net_run,
)
from traceprop_engine.recording.read import (
    dataset_names,
    decode_labels,
    find_dataset_version,
    load_frame,
    load_source,
    load_table,
    load_training_run,
)
from traceprop_engine.recording.row_maps import load_row_map
from traceprop_engine.recording.values import (
    DatasetVersion,
    InputKind,
    InputRef,
    Materialization,
    RecordedRun,
)
from traceprop_engine.recording.write import (
    record_dataset,
    record_lineage,
    record_predictions,
    record_source,
    record_training_run,
)

__all__ = [
    "FINGERPRINT_ROWS",
    "DatasetVersion",
    "FittedStatistic",
    "InputKind",
    "InputRef",
    "Materialization",
    "RecordedRun",
    "array_table",
    "column_lineage",
    "dataset_names",
    "decode_labels",
    "describe_fitted",
    "find_dataset_version",
    "is_array_table",
    "load_fingerprints",
    "load_fitted",
    "load_frame",
    "load_questions",
    "load_row_map",
    "load_source",
    "load_table",
    "load_training_run",
    "record_dataset",
    "record_lineage",
    "record_net_predictions",
    "record_net_run",
    "record_predictions",
    "record_source",
    "record_training_run",
    "table_array",
]
