"""PyTorch: tensors and training loops that know their rows."""

from traceprop_engine.tensors.datasets import TrackedDataset, TrackedStream, track_dataset
from traceprop_engine.tensors.follow import FollowedLoader, follow
from traceprop_engine.tensors.tracked_tensor import TrackedTensor, from_torch
from traceprop_engine.tensors.training_steps import TrainingStep, TrainingSteps

__all__ = [
    "FollowedLoader",
    "TrackedDataset",
    "TrackedStream",
    "TrackedTensor",
    "TrainingStep",
    "TrainingSteps",
    "follow",
    "from_torch",
    "track_dataset",
]
