"""PyTorch: recorded trainings of modules, and the gradient of each row, factored by layer."""

from traceprop_engine.torch_gradients.capture import row_gradients

__all__ = [
    "row_gradients",
]
