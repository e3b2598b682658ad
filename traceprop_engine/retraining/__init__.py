"""Models trained again on parts of their rows: the truth that attributions are held against.

The retrainers of nets stand in `vmapped_jax` and `vmapped_torch`, each with its framework.
"""

from traceprop_engine.retraining.bagged import Bagged, BagMember, Estimator
from traceprop_engine.retraining.convex import RefitConvex
from traceprop_engine.retraining.datamodel import Datamodel
from traceprop_engine.retraining.retrained import (
    RetrainedTargets,
    Retrainer,
    RetrainingProgress,
    RetrainingStep,
)

__all__ = [
    "BagMember",
    "Bagged",
    "Datamodel",
    "Estimator",
    "RefitConvex",
    "RetrainedTargets",
    "Retrainer",
    "RetrainingProgress",
    "RetrainingStep",
]
