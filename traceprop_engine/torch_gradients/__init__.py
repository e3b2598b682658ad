"""PyTorch: recorded trainings of modules, and the gradient of each row, factored by layer."""

from traceprop_engine.torch_gradients.capture import row_gradients
from traceprop_engine.torch_gradients.plan import CapturePlan, LayerPlan
from traceprop_engine.torch_gradients.recorder import (
    TrainingCallback,
    TrainingRecorder,
    training_context,
)
from traceprop_engine.torch_gradients.train import train_torch
from traceprop_engine.torch_gradients.training import TorchTraining

__all__ = [
    "CapturePlan",
    "LayerPlan",
    "TorchTraining",
    "TrainingCallback",
    "TrainingRecorder",
    "row_gradients",
    "train_torch",
    "training_context",
]
