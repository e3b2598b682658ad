"""The demo's PyTorch model: a small multilayer perceptron on the same table."""

import dagster as dg
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from traceprop_dagster.checks import build_attribution_quality_check
from traceprop_dagster.demo import pipeline
from traceprop_dagster.demo.net_training import MIN_LDS, RECIPE, net_problem, trained_net
from traceprop_dagster.model_assets import build_attribution_asset
from traceprop_engine.gradients.net_run import NetPredictions, NetRun
from traceprop_engine.gradients.stored_net import StoredNet
from traceprop_engine.retraining.vmapped_torch import VmappedTorch
from traceprop_engine.torch_gradients import TorchTraining, train_torch

_HIDDEN = 32


def module_of(n_features: int) -> torch.nn.Module:
    """Return the net before training; the output is the log-odds of the outcome."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _layers(n_features)


def _layers(n_features: int) -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Linear(n_features, _HIDDEN), torch.nn.Tanh(), torch.nn.Linear(_HIDDEN, 1)
    )


@dg.asset(group_name="torch_model", kinds={"pytorch"})
def torch_model(context: dg.AssetExecutionContext, training_table: pd.DataFrame) -> NetRun:
    """A PyTorch net of the outcome on the features, recorded at five checkpoints."""
    return trained_net(
        context,
        training_table,
        lambda x, y: train_torch(module_of(x.shape[1]), x, y, RECIPE, name="torch_model"),
    )


@dg.asset(group_name="torch_model", kinds={"pytorch"})
def torch_predictions(training_table: pd.DataFrame, torch_model: StoredNet) -> NetPredictions:
    """The risk of each patient of the test split by the PyTorch net."""
    _, test = pipeline.split(training_table)
    module = module_of(len(torch_model.feature_names))
    run = torch_model.restored(lambda net: TorchTraining.from_stored(net, module))
    return run.predict(test, label="y", keep=["id"])


def retrainer(
    net: StoredNet, queries: NDArray[np.floating], labels: NDArray[np.float64]
) -> VmappedTorch:
    """Return what trains the net again on parts of its rows."""
    return VmappedTorch(lambda: _layers(len(net.feature_names)), net_problem(net, queries, labels))


TORCH_ASSETS = [
    torch_model,
    torch_predictions,
    build_attribution_asset(
        "torch_attributions", predictions=torch_predictions.key, group_name="torch_model"
    ),
]
TORCH_QUALITY = build_attribution_quality_check(
    predictions=torch_predictions.key, min_lds=MIN_LDS, retrainer=retrainer
)
