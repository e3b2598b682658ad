"""How the demo's nets are trained, in whatever framework."""

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.gradients.stored_net import StoredNet
from traceprop_engine.retraining.nets import NetProblem
from traceprop_engine.training.recipe import TrainingRecipe

RECIPE = TrainingRecipe(
    optimiser="sgd",
    learning_rate=0.05,
    momentum=0.9,
    weight_decay=1e-3,
    batch_size=32,
    epochs=10,
    schedule="cosine",
)
MIN_LDS = 0.3
"""What the check of the demo's nets asks of their influence scores."""


def net_problem(
    net: StoredNet, queries: NDArray[np.floating], labels: NDArray[np.float64]
) -> NetProblem:
    """Return the training of a recorded net and the queries that are asked of it."""
    return NetProblem(
        net.features,
        net.trained_labels,
        queries,
        labels,
        net.recipe or RECIPE,
        target=net.recorded.target,
    )
