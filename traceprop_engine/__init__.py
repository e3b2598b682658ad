"""Row-level lineage, influence and evidence for machine-learning pipelines. No Dagster in it.

```python
import traceprop_engine as tp

store = tp.Store.open(".traceprop")
answer = tp.explain(store, where="id = 7")
```

A name is imported from its module when it is first used. So the package loads at once, and PyTorch,
JAX, scikit-learn and Polars are needed by those only who use what stands on them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from traceprop_engine.errors import ExtraMissingError, TracepropError

if TYPE_CHECKING:
    from traceprop_engine.arrays import TrackedArray, array, from_numpy, to_pandas
    from traceprop_engine.attribution import (
        EKFAC,
        GGN,
        KFAC,
        TRAK,
        AttributionScores,
        Functional,
        GradCos,
        GradDot,
        GroupGap,
        GroupMean,
        GroupScores,
        InfluenceFunction,
        LastLayer,
        Removal,
        SmoothAuroc,
        SourceTotals,
        TracIn,
        remove_rows,
    )
    from traceprop_engine.estimators import EstimatorFollowing, fitted_statistic
    from traceprop_engine.explanation import (
        AttributionResult,
        Counterfactual,
        Explanation,
        GroupRemoval,
        QualityPlan,
        TrainingLineage,
        attribution_engine,
        explain,
        load_predictions,
        measure_attribution,
        trace_rank,
        training_lineage,
        what_if_removed,
    )
    from traceprop_engine.exports import export_lineage
    from traceprop_engine.frames import TrackedTable, concat_arrow, track_arrow
    from traceprop_engine.frames.of_polars import TrackedPolars, concat_polars, track_polars
    from traceprop_engine.fuzz import LineageCheck, check_lineage
    from traceprop_engine.gradients import (
        LayerGradients,
        NetPredictions,
        NetRun,
        RecordedTraining,
        RowGradients,
        StoredNet,
        random_projection,
    )
    from traceprop_engine.identity import fingerprint_source, match_versions, row_fingerprints
    from traceprop_engine.jax_arrays import TrackedJax, from_jax, tracked_jit, tracked_vmap
    from traceprop_engine.jax_gradients import JaxTraining, Mlp, train_jax
    from traceprop_engine.lineage import (
        CapturedLineage,
        CaptureSession,
        Followed,
        Granularity,
        RowMap,
        declares_rows,
        granularity,
        record,
        reset_graph,
        row_wise,
        set_granularity,
    )
    from traceprop_engine.metagradients import Magic, metasmoothness
    from traceprop_engine.provenance_views import (
        ProvenanceView,
        RowTrace,
        TracedSource,
        bytes_per_row,
        compress,
        disable_compression,
        enable_compression,
        from_csv,
        from_pandas,
        from_parquet,
        load_source,
        provenance,
    )
    from traceprop_engine.quality import brittleness, evaluate_lds, evaluate_loo
    from traceprop_engine.recording import (
        FittedStatistic,
        InputRef,
        Materialization,
        load_fingerprints,
        load_fitted,
        record_dataset,
        record_predictions,
        record_source,
        record_training_run,
    )
    from traceprop_engine.retraining import Bagged, Datamodel, RefitConvex
    from traceprop_engine.retraining.nets import NetProblem
    from traceprop_engine.retraining.vmapped_jax import VmappedJax
    from traceprop_engine.retraining.vmapped_torch import VmappedTorch
    from traceprop_engine.sources import SourceVersion, read_records, read_source, scan_source
    from traceprop_engine.sql_queries import SqlResult, sql, trace_query
    from traceprop_engine.store import Store
    from traceprop_engine.stores import SQLiteStore
    from traceprop_engine.tensors import (
        FollowedLoader,
        TrackedDataset,
        TrackedStream,
        TrackedTensor,
        TrainingStep,
        TrainingSteps,
        follow,
        from_torch,
        track_dataset,
    )
    from traceprop_engine.torch_gradients import (
        TorchTraining,
        TrainingCallback,
        train_torch,
        training_context,
    )
    from traceprop_engine.tracing import Affected, Trace, affected_by, trace_back
    from traceprop_engine.training import (
        Predictions,
        TrainingRun,
        from_estimator,
        train_linear,
        train_logistic,
        train_softmax,
    )
    from traceprop_engine.training.recipe import TrainingRecipe
    from traceprop_engine.trees import (
        BoostIn,
        HistogramBoosting,
        LeafInfluence,
        LeafRefit,
        leave_groups_out,
    )

_NAMES = {
    "arrays": "TrackedArray array from_numpy to_pandas",
    "attribution": "AttributionScores EKFAC Functional GGN GradCos GradDot GroupGap"
    " GroupMean GroupScores InfluenceFunction KFAC LastLayer Removal"
    " SmoothAuroc SourceTotals TRAK TracIn remove_rows",
    "estimators": "EstimatorFollowing fitted_statistic",
    "explanation": "AttributionResult Counterfactual Explanation GroupRemoval"
    " QualityPlan TrainingLineage attribution_engine explain"
    " load_predictions measure_attribution trace_rank training_lineage"
    " what_if_removed",
    "exports": "export_lineage",
    "frames": "TrackedTable concat_arrow track_arrow",
    "frames.of_polars": "TrackedPolars concat_polars track_polars",
    "fuzz": "LineageCheck check_lineage",
    "gradients": "LayerGradients NetPredictions NetRun RecordedTraining RowGradients"
    " StoredNet random_projection",
    "identity": "fingerprint_source match_versions row_fingerprints",
    "jax_arrays": "TrackedJax from_jax tracked_jit tracked_vmap",
    "jax_gradients": "JaxTraining Mlp train_jax",
    "lineage": "CaptureSession CapturedLineage Followed Granularity RowMap"
    " declares_rows granularity record reset_graph row_wise set_granularity",
    "metagradients": "Magic metasmoothness",
    "provenance_views": "ProvenanceView RowTrace TracedSource bytes_per_row compress"
    " disable_compression enable_compression from_csv from_pandas"
    " from_parquet load_source provenance",
    "quality": "brittleness evaluate_lds evaluate_loo",
    "recording": "FittedStatistic InputRef Materialization load_fingerprints"
    " load_fitted record_dataset record_predictions record_source"
    " record_training_run",
    "retraining": "Bagged Datamodel RefitConvex",
    "retraining.nets": "NetProblem",
    "retraining.vmapped_jax": "VmappedJax",
    "retraining.vmapped_torch": "VmappedTorch",
    "sources": "SourceVersion read_records read_source scan_source",
    "sql_queries": "SqlResult sql trace_query",
    "store": "Store",
    "stores": "SQLiteStore",
    "tensors": "FollowedLoader TrackedDataset TrackedStream TrackedTensor TrainingStep"
    " TrainingSteps follow from_torch track_dataset",
    "torch_gradients": "TorchTraining TrainingCallback train_torch training_context",
    "tracing": "Affected Trace affected_by trace_back",
    "training": "Predictions TrainingRun from_estimator train_linear train_logistic train_softmax",
    "training.recipe": "TrainingRecipe",
    "trees": "BoostIn HistogramBoosting LeafInfluence LeafRefit leave_groups_out",
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names.split()}

_EXTRA_OF = {
    "estimators": "sklearn",
    "frames.of_polars": "polars",
    "jax_arrays": "jax",
    "jax_gradients": "jax",
    "metagradients": "jax",
    "retraining.vmapped_jax": "jax",
    "retraining.vmapped_torch": "torch",
    "tensors": "torch",
    "torch_gradients": "torch",
    "trees": "sklearn",
}
"""The extra that a module needs which stands on another library."""

__all__ = [
    "EKFAC",
    "GGN",
    "KFAC",
    "TRAK",
    "Affected",
    "AttributionResult",
    "AttributionScores",
    "Bagged",
    "BoostIn",
    "CaptureSession",
    "CapturedLineage",
    "Counterfactual",
    "Datamodel",
    "EstimatorFollowing",
    "Explanation",
    "FittedStatistic",
    "Followed",
    "FollowedLoader",
    "Functional",
    "GradCos",
    "GradDot",
    "Granularity",
    "GroupGap",
    "GroupMean",
    "GroupRemoval",
    "GroupScores",
    "HistogramBoosting",
    "InfluenceFunction",
    "InputRef",
    "JaxTraining",
    "LastLayer",
    "LayerGradients",
    "LeafInfluence",
    "LeafRefit",
    "LineageCheck",
    "Magic",
    "Materialization",
    "Mlp",
    "NetPredictions",
    "NetProblem",
    "NetRun",
    "Predictions",
    "ProvenanceView",
    "QualityPlan",
    "RecordedTraining",
    "RefitConvex",
    "Removal",
    "RowGradients",
    "RowMap",
    "RowTrace",
    "SQLiteStore",
    "SmoothAuroc",
    "SourceTotals",
    "SourceVersion",
    "SqlResult",
    "Store",
    "StoredNet",
    "TorchTraining",
    "TracIn",
    "Trace",
    "TracedSource",
    "TracepropError",
    "TrackedArray",
    "TrackedDataset",
    "TrackedJax",
    "TrackedPolars",
    "TrackedStream",
    "TrackedTable",
    "TrackedTensor",
    "TrainingCallback",
    "TrainingLineage",
    "TrainingRecipe",
    "TrainingRun",
    "TrainingStep",
    "TrainingSteps",
    "VmappedJax",
    "VmappedTorch",
    "affected_by",
    "array",
    "attribution_engine",
    "brittleness",
    "bytes_per_row",
    "check_lineage",
    "compress",
    "concat_arrow",
    "concat_polars",
    "declares_rows",
    "disable_compression",
    "enable_compression",
    "evaluate_lds",
    "evaluate_loo",
    "explain",
    "export_lineage",
    "fingerprint_source",
    "fitted_statistic",
    "follow",
    "from_csv",
    "from_estimator",
    "from_jax",
    "from_numpy",
    "from_pandas",
    "from_parquet",
    "from_torch",
    "granularity",
    "leave_groups_out",
    "load_fingerprints",
    "load_fitted",
    "load_predictions",
    "load_source",
    "match_versions",
    "measure_attribution",
    "metasmoothness",
    "provenance",
    "random_projection",
    "read_records",
    "read_source",
    "record",
    "record_dataset",
    "record_predictions",
    "record_source",
    "record_training_run",
    "remove_rows",
    "reset_graph",
    "row_fingerprints",
    "row_wise",
    "scan_source",
    "set_granularity",
    "sql",
    "to_pandas",
    "trace_back",
    "trace_query",
    "trace_rank",
    "track_arrow",
    "track_dataset",
    "track_polars",
    "tracked_jit",
    "tracked_vmap",
    "train_jax",
    "train_linear",
    "train_logistic",
    "train_softmax",
    "train_torch",
    "training_context",
    "training_lineage",
    "what_if_removed",
]


def __getattr__(name: str) -> object:
    """Import a public name from its module.

    Raises:
        AttributeError: There is no such name.
        ExtraMissingError: The library that it stands on is not installed.
    """
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(import_module(f"{__name__}.{module}"), name)
    except ModuleNotFoundError as error:
        if module not in _EXTRA_OF or (error.name or "").startswith(__name__):
            raise
        raise ExtraMissingError(name, error.name or "", _EXTRA_OF[module]) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
