"""Training runs whose gradients and curvature are known in closed form."""

from traceprop_engine.training.estimators import from_estimator
from traceprop_engine.training.fit import train_linear, train_logistic, train_softmax
from traceprop_engine.training.losses import Family
from traceprop_engine.training.newton import TrainingStep
from traceprop_engine.training.predictions import Predictions
from traceprop_engine.training.run import TrainingRun

__all__ = [
    "Family",
    "Predictions",
    "TrainingRun",
    "TrainingStep",
    "from_estimator",
    "train_linear",
    "train_logistic",
    "train_softmax",
]
