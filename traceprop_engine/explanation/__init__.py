"""The one question, answered: which source rows made this prediction, and what without them?"""

from traceprop_engine.explanation.attribution_engine import (
    AttributionEngine,
    AttributionResult,
    attribution_engine,
)
from traceprop_engine.explanation.attribution_quality import (
    QualityPlan,
    RetrainerOf,
    measure_attribution,
    record_attribution_quality,
)
from traceprop_engine.explanation.counterfactual import (
    Counterfactual,
    GroupRemoval,
    group_effect,
    removal_effect,
    what_if_removed,
)
from traceprop_engine.explanation.explain import (
    SourceLines,
    describe_contexts,
    describe_step,
    explain,
    explain_prediction,
)
from traceprop_engine.explanation.prediction_set import PredictionSet, load_predictions
from traceprop_engine.explanation.record import (
    query_id_of,
    record_counterfactual,
    record_explanation,
)
from traceprop_engine.explanation.removed_rows import RemovedRows, choose_removed
from traceprop_engine.explanation.scored_rows import (
    TrainingLineage,
    trace_rank,
    training_lineage,
)
from traceprop_engine.explanation.values import (
    ExplainedPrediction,
    Explanation,
    InfluentialRow,
    SourceLine,
    Step,
)

__all__ = [
    "AttributionEngine",
    "AttributionResult",
    "Counterfactual",
    "ExplainedPrediction",
    "Explanation",
    "GroupRemoval",
    "InfluentialRow",
    "PredictionSet",
    "QualityPlan",
    "RemovedRows",
    "RetrainerOf",
    "SourceLine",
    "SourceLines",
    "Step",
    "TrainingLineage",
    "attribution_engine",
    "choose_removed",
    "describe_contexts",
    "describe_step",
    "explain",
    "explain_prediction",
    "group_effect",
    "load_predictions",
    "measure_attribution",
    "query_id_of",
    "record_attribution_quality",
    "record_counterfactual",
    "record_explanation",
    "removal_effect",
    "trace_rank",
    "training_lineage",
    "what_if_removed",
]
