"""The logistic model of Adult: exact influence, beside peers on the same refits.

``python -m benchmarks.attribution_nets adult`` (or ``adult-ordinal``) prints its table. Below it
stands how well Newton steps predict the model without half of its rows, against exact refits.
"""

import importlib
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from benchmarks.net_data import adult
from traceprop_engine.attribution import AttributionScores, InfluenceFunction
from traceprop_engine.quality import SubsetTruth
from traceprop_engine.quality.ranks import spearman_columns
from traceprop_engine.retraining import RefitConvex
from traceprop_engine.training import TrainingRun, train_logistic

L2 = 0.1
"""Strength of the penalty: scikit-learn's ``C=10``."""

_FAR = 5.0

Work = Callable[[], NDArray[np.floating] | AttributionScores]


def adult_estimators(
    *, one_hot: bool, directory: Path, peers: bool
) -> tuple[RefitConvex, dict[str, Work]]:
    """Return the retrainer of the model, and each estimator's work by its name."""
    train, queries = adult(one_hot=one_hot)
    features = [name for name in train if name != "income"]
    run = train_logistic(train, features=features, label="income", l2=L2, name="adult")
    asked, labels = queries[features].to_numpy(), queries["income"].to_numpy()
    works: dict[str, Work] = {
        "ours: influence function": lambda: InfluenceFunction.fit(run, leave_one_out=False).scores(
            asked, labels, target="margin"
        ),
        "ours: influence function, leave-one-out": lambda: InfluenceFunction.fit(run).scores(
            asked, labels, target="margin"
        ),
    }
    if peers:
        for package in (
            "traceprop.attribution.attribution_engine",
            "pyinfluence",
            "sklearn.linear_model",
        ):
            importlib.import_module(package)  # loading it is nobody's attribution time
        works |= {
            "traceprop 0.7.0 dot": lambda: _old_traceprop(run, asked, labels, "dot"),
            "traceprop 0.7.0 trak": lambda: _old_traceprop(run, asked, labels, "trak"),
            "pyinfluence": lambda: _pyinfluence(run, asked, labels),
        }
    return RefitConvex.of(run, asked, labels, directory=directory), works


def group_predictions(retrainer: RefitConvex, truth: SubsetTruth) -> str:
    """Return a table of how models without the rows of no subset are predicted.

    For each number of Newton steps: Spearman's correlation with the exact refits for each query
    over subsets, and the root mean square error of its margin over its standard deviation in the
    refits; the processor time of one prediction; and the subsets, and the queries, in which some
    margin is off by more than 5 log-odds.
    """
    columns = (
        "Newton steps | rank correlation | lowest | error, median | largest | CPU ms each | "
        "subsets far off | queries far off"
    )
    lines = [f"| {columns} |", f"|---|{'---:|' * columns.count('|')}"]
    refitted = truth.values.mean(axis=1)
    influence = InfluenceFunction.fit(retrainer.run, leave_one_out=False)
    signs = 2 * retrainer.query_labels - 1
    for n_steps in (1, 2):
        predicted, spent = np.empty_like(refitted), []
        for subset, mask in enumerate(truth.masks):
            start = time.process_time()
            removal = influence.predict_removal(np.flatnonzero(~mask), n_steps=n_steps)
            predicted[subset] = signs * removal.run.outputs(retrainer.features)[:, 0]
            spent.append(time.process_time() - start)
        each = spearman_columns(predicted, refitted)
        errors = np.sqrt(np.mean((predicted - refitted) ** 2, axis=0)) / refitted.std(axis=0)
        far = np.abs(predicted - refitted) > _FAR
        lines.append(
            f"| {n_steps} | {each.mean():.4f} | {each.min():.4f} | "
            f"{np.median(errors):.2%} | {errors.max():.1%} | {1e3 * statistics.median(spent):.1f} "
            f"| {far.any(axis=1).sum()} | {far.any(axis=0).sum()} |"
        )
    heading = f"Models without {1 - truth.keep:.0%} of the rows, {truth.n_subsets} subsets:"
    return "\n".join([heading, "", *lines])


def _old_traceprop(
    run: TrainingRun, asked: NDArray[np.float64], labels: NDArray[np.int64], estimator: str
) -> NDArray[np.floating]:
    from traceprop.attribution.attribution_engine import AttributionEngine  # noqa: PLC0415 - a peer
    from traceprop.attribution.gradient_store import GradientStore  # noqa: PLC0415 - a peer

    store = GradientStore(proj_dim=4096, seed=42)
    store.log_batch(_gradients(run, run.features, run.targets), source_id="x")
    engine = AttributionEngine(store, estimator=estimator)
    return engine.attribute_scores_batch(_gradients(run, asked, labels))


def _gradients(
    run: TrainingRun, features: NDArray[np.float64], labels: NDArray[np.generic]
) -> NDArray[np.float32]:
    """Return gradients of the loss in the weights, without the intercept, as its experiments do."""
    slopes = expit(run.outputs(features)[:, 0]) - labels
    return (slopes[:, None] * features).astype(np.float32)


def _pyinfluence(
    run: TrainingRun, asked: NDArray[np.float64], labels: NDArray[np.int64]
) -> NDArray[np.floating]:
    from pyinfluence import influence  # noqa: PLC0415 - a peer
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - a peer

    model = LogisticRegression(C=1 / L2, solver="newton-cholesky", tol=1e-8)
    model.fit(run.features, run.labels)
    scores = influence(model, run.features, run.labels, asked, labels, mode="loss")
    return np.asarray(scores) / expit(-_margins(run, asked, labels))[:, None]  # loss to margin


def _margins(
    run: TrainingRun, asked: NDArray[np.float64], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    return (2 * labels - 1) * run.outputs(asked)[:, 0]
