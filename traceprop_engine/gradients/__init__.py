"""Per-sample gradients of a recorded training: their form, their size, their projection."""

from traceprop_engine.gradients.kernels import kernel, kernel_blocks
from traceprop_engine.gradients.kronecker_pca import KroneckerPca
from traceprop_engine.gradients.layers import LayerGradients, LayerShape
from traceprop_engine.gradients.memory import MemoryPlan, plan_memory
from traceprop_engine.gradients.net_run import NetPredictions, NetRun
from traceprop_engine.gradients.projection import (
    Projection,
    ProjectionKind,
    projection_from,
    random_projection,
)
from traceprop_engine.gradients.recorded import Loss, NamedTarget, OutputTarget, RecordedTraining
from traceprop_engine.gradients.rows import RowGradients
from traceprop_engine.gradients.shards import GradientShards, ShardSettings, write_shards
from traceprop_engine.gradients.stored_net import StoredNet
from traceprop_engine.gradients.streaming import (
    ScoredShards,
    StrongestRows,
    score_blocks,
    strongest_rows,
)

__all__ = [
    "GradientShards",
    "KroneckerPca",
    "LayerGradients",
    "LayerShape",
    "Loss",
    "MemoryPlan",
    "NamedTarget",
    "NetPredictions",
    "NetRun",
    "OutputTarget",
    "Projection",
    "ProjectionKind",
    "RecordedTraining",
    "RowGradients",
    "ScoredShards",
    "ShardSettings",
    "StoredNet",
    "StrongestRows",
    "kernel",
    "kernel_blocks",
    "plan_memory",
    "projection_from",
    "random_projection",
    "score_blocks",
    "strongest_rows",
    "write_shards",
]
