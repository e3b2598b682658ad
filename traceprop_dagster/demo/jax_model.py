"""The demo's JAX model: the same multilayer perceptron, trained by the same recipe."""

import dagster as dg
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traceprop_dagster.checks import build_attribution_quality_check
from traceprop_dagster.demo import pipeline
from traceprop_dagster.demo.net_training import MIN_LDS, RECIPE, net_problem, trained_net
from traceprop_dagster.model_assets import build_attribution_asset
from traceprop_engine.gradients.net_run import NetPredictions, NetRun
from traceprop_engine.gradients.stored_net import StoredNet
from traceprop_engine.jax_gradients import JaxTraining, Mlp, train_jax
from traceprop_engine.retraining.vmapped_jax import VmappedJax

_HIDDEN = 32


def mlp_of(n_features: int) -> Mlp:
    """Return the net; the output is the log-odds of the outcome."""
    return Mlp((n_features, _HIDDEN, 1), activation="tanh")


@dg.asset(group_name="jax_model", kinds={"jax"})
def jax_model(context: dg.AssetExecutionContext, training_table: pd.DataFrame) -> NetRun:
    """A JAX net of the outcome on the features, recorded at five checkpoints."""

    def fit(x: NDArray[np.float32], y: NDArray[np.generic]) -> JaxTraining:
        mlp = mlp_of(x.shape[1])
        return train_jax(mlp, mlp.init(0), x, y, RECIPE, name="jax_model")

    return trained_net(context, training_table, fit)


@dg.asset(group_name="jax_model", kinds={"jax"})
def jax_predictions(training_table: pd.DataFrame, jax_model: StoredNet) -> NetPredictions:
    """The risk of each patient of the test split by the JAX net."""
    _, test = pipeline.split(training_table)
    mlp = mlp_of(len(jax_model.feature_names))
    run = jax_model.restored(lambda net: JaxTraining.from_stored(net, mlp, mlp.init(0)))
    return run.predict(test, label="y", keep=["id"])


def retrainer(
    net: StoredNet, queries: NDArray[np.floating], labels: NDArray[np.float64]
) -> VmappedJax:
    """Return what trains the net again on parts of its rows."""
    mlp = mlp_of(len(net.feature_names))
    return VmappedJax(mlp, mlp.init, net_problem(net, queries, labels))


JAX_ASSETS = [
    jax_model,
    jax_predictions,
    build_attribution_asset(
        "jax_attributions", predictions=jax_predictions.key, group_name="jax_model"
    ),
]
JAX_QUALITY = build_attribution_quality_check(
    predictions=jax_predictions.key, min_lds=MIN_LDS, retrainer=retrainer
)
