"""How well influence scores of recorded predictions agree with models trained again."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.attribution import AttributionScores
from traceprop_engine.digests import identify
from traceprop_engine.errors import QualityError
from traceprop_engine.explanation.prediction_set import PredictionSet
from traceprop_engine.gradients.stored_net import StoredNet
from traceprop_engine.quality import LdsQuality, evaluate_lds
from traceprop_engine.retraining import RefitConvex, Retrainer, RetrainingProgress
from traceprop_engine.store import Store

RetrainerOf = Callable[[StoredNet, NDArray[np.floating], NDArray[np.float64]], Retrainer]
"""Builds what trains a net again, from the net in the store and the queries' features and labels.

A label is the position of the class that is explained, or a value.
"""


@dataclass(frozen=True)
class QualityPlan:
    """On what the quality of an attribution is measured.

    Attributes:
        n_queries: Predictions to measure on, drawn at random; all of them if there are fewer.
        n_subsets: Subsets of the training rows, at least 3.
        keep: Share of the rows in each, in (0, 1).
        seeds_per_subset: Models of each subset of a net; two or more measure the noise ceiling.
        seed: Decides queries, subsets and the models' seeds.
    """

    n_queries: int = 50
    n_subsets: int = 50
    keep: float = 0.5
    seeds_per_subset: int = 2
    seed: int = 0


def measure_attribution(
    predictions: PredictionSet,
    plan: QualityPlan,
    *,
    retrainer: RetrainerOf | None = None,
    progress: RetrainingProgress | None = None,
) -> LdsQuality:
    """Return the linear datamodeling score of the influence scores of recorded predictions.

    The scores are those that `explain` names rows by; the models are trained again on random
    subsets of the training rows. Preprocessing is left as it was.

    Args:
        predictions: Recorded predictions.
        plan: On what it is measured.
        retrainer: What trains a net again, since a store keeps none of its code; a convex model is
            refitted exactly without one.
        progress: Called after each group of models.

    Raises:
        QualityError: A net has no retrainer, or a setting is out of its range.
        RetrainingError: A subset determines no model.
    """
    n_rows = predictions.version.n_rows
    drawn = np.random.default_rng(plan.seed).permutation(n_rows)[: max(1, plan.n_queries)]
    rows = np.sort(drawn)
    scores = predictions.scores_of(rows)
    return evaluate_lds(
        scores,
        _retrainer(predictions, rows, scores, retrainer),
        n_subsets=plan.n_subsets,
        keep=plan.keep,
        seeds_per_subset=plan.seeds_per_subset,
        seed=plan.seed,
        progress=progress,
    )


def record_attribution_quality(
    store: Store, predictions: PredictionSet, quality: LdsQuality
) -> str:
    """Record how good the influence scores of a model are; return the identifier."""
    detail = quality.to_facts()
    del detail["per_query"]
    low, high = quality.interval
    facts = {
        "training_run_id": predictions.model.id,
        "method": quality.method,
        "measure": "lds",
        "target": quality.target,
        "value": quality.mean,
        "low": low,
        "high": high,
        "ceiling": quality.ceiling,
        "detail": detail,
    }
    identifier = identify("aq", facts)
    created = {"quality_id": identifier, "created_at": datetime.now(UTC)}
    store.commit({"attribution_quality": [facts | created]})
    return identifier


def _retrainer(
    predictions: PredictionSet,
    rows: NDArray[np.intp],
    scores: AttributionScores,
    retrainer: RetrainerOf | None,
) -> Retrainer:
    """Return what trains the model again and asks it what the scores explain."""
    run, features = predictions.model.run, predictions.features[rows]
    if not isinstance(run, StoredNet):
        asked = predictions.explained_labels(rows)
        return RefitConvex(run, features, asked, scores.target)
    if retrainer is None:
        raise QualityError(
            f"Net {run.name!r} cannot be trained again, since the store keeps no code of it",
            "pass `retrainer`, which builds a VmappedTorch or VmappedJax",
        )
    return retrainer(run, features, predictions.explained_labels(rows))
