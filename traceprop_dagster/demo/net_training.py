"""How the demo's nets are trained, in whatever framework."""

from collections.abc import Callable

import dagster as dg
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traceprop_dagster.demo import pipeline
from traceprop_engine.gradients.net_run import NetRun, TrainedNet
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


def trained_net(
    context: dg.AssetExecutionContext,
    training_table: pd.DataFrame,
    fit: Callable[[NDArray[np.float32], NDArray[np.generic]], TrainedNet],
) -> NetRun:
    """Train a net on the train split, and report how good it is on the test split."""
    train, test = pipeline.split(training_table)
    columns = pipeline.feature_columns(train)
    run = NetRun.train(train, features=columns, label="y", fit=fit)
    measured = run.evaluate(test)
    context.add_output_metadata({f"test/{name}": value for name, value in measured.items()})
    return run


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
