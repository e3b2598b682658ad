"""Per-sample gradients of a recorded training: their form, their size, their projection."""

from traceprop_engine.gradients.recorded import Loss, NamedTarget, OutputTarget, RecordedTraining
from traceprop_engine.gradients.rows import LayerGradients, RowGradients

__all__ = [
    "LayerGradients",
    "Loss",
    "NamedTarget",
    "OutputTarget",
    "RecordedTraining",
    "RowGradients",
]
