"""Row-level lineage, influence and evidence for machine-learning pipelines. No Dagster in it.

```python
import traceprop_engine as tp

store = tp.Store.open(".traceprop")
answer = tp.explain(store, where="id = 7")
```
"""

from traceprop_engine.attribution import AttributionScores, InfluenceFunction, Removal, remove_rows
from traceprop_engine.errors import TracepropError
from traceprop_engine.explanation import (
    Counterfactual,
    Explanation,
    explain,
    load_predictions,
    what_if_removed,
)
from traceprop_engine.lineage import CapturedLineage, CaptureSession, RowMap
from traceprop_engine.recording import (
    InputRef,
    Materialization,
    record_dataset,
    record_predictions,
    record_source,
    record_training_run,
)
from traceprop_engine.sources import SourceVersion, read_records, read_source, scan_source
from traceprop_engine.store import Store
from traceprop_engine.tracing import Affected, Trace, affected_by, trace_back
from traceprop_engine.training import (
    Predictions,
    TrainingRun,
    from_estimator,
    train_linear,
    train_logistic,
    train_softmax,
)

__all__ = [
    "Affected",
    "AttributionScores",
    "CaptureSession",
    "CapturedLineage",
    "Counterfactual",
    "Explanation",
    "InfluenceFunction",
    "InputRef",
    "Materialization",
    "Predictions",
    "Removal",
    "RowMap",
    "SourceVersion",
    "Store",
    "Trace",
    "TracepropError",
    "TrainingRun",
    "affected_by",
    "explain",
    "from_estimator",
    "load_predictions",
    "read_records",
    "read_source",
    "record_dataset",
    "record_predictions",
    "record_source",
    "record_training_run",
    "remove_rows",
    "scan_source",
    "trace_back",
    "train_linear",
    "train_logistic",
    "train_softmax",
    "what_if_removed",
]
