"""How much each training row moved a prediction."""

from traceprop_engine.attribution.checkpoints import CheckpointEstimator
from traceprop_engine.attribution.damping import Damping, TrainingTime
from traceprop_engine.attribution.functionals import Functional, GroupGap, GroupMean, SmoothAuroc
from traceprop_engine.attribution.ggn import GGN
from traceprop_engine.attribution.grad_dot import GradCos, GradDot, TracIn
from traceprop_engine.attribution.group_scores import GroupScores
from traceprop_engine.attribution.influence import InfluenceFunction
from traceprop_engine.attribution.kfac import EKFAC, KFAC
from traceprop_engine.attribution.last_layer import LastLayer
from traceprop_engine.attribution.removal import Removal, remove_rows
from traceprop_engine.attribution.scores import (
    AttributionScores,
    SourceScores,
    SourceTotals,
    TopRows,
)
from traceprop_engine.attribution.targets import Target
from traceprop_engine.attribution.trak import TRAK

__all__ = [
    "EKFAC",
    "GGN",
    "KFAC",
    "TRAK",
    "AttributionScores",
    "CheckpointEstimator",
    "Damping",
    "Functional",
    "GradCos",
    "GradDot",
    "GroupGap",
    "GroupMean",
    "GroupScores",
    "InfluenceFunction",
    "LastLayer",
    "Removal",
    "SmoothAuroc",
    "SourceScores",
    "SourceTotals",
    "Target",
    "TopRows",
    "TracIn",
    "TrainingTime",
    "remove_rows",
]
