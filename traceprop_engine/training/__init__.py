"""Training runs known in closed form, and the recipe by which a net is trained."""

from traceprop_engine.training.estimators import from_estimator
from traceprop_engine.training.fit import train_linear, train_logistic, train_softmax
from traceprop_engine.training.losses import Family
from traceprop_engine.training.newton import TrainingStep
from traceprop_engine.training.predictions import Predictions
from traceprop_engine.training.recipe import TrainingRecipe
from traceprop_engine.training.run import TrainingRun

__all__ = [
    "Family",
    "Predictions",
    "TrainingRecipe",
    "TrainingRun",
    "TrainingStep",
    "from_estimator",
    "train_linear",
    "train_logistic",
    "train_softmax",
]
