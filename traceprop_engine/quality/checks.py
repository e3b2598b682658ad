"""Scores must be of the queries, the rows and the target that were retrained for."""

import numpy as np

from traceprop_engine.attribution.scores import AttributionScores
from traceprop_engine.errors import QualityError


def check_scores(scores: AttributionScores, n_query: int, n_train: int, target: str) -> None:
    """Refuse scores that the retrained targets say nothing of.

    Raises:
        QualityError: They are of other queries, rows or another target, or some are undefined.
    """
    if scores.scores.shape != (n_query, n_train):
        raise QualityError(
            f"the scores are {list(scores.scores.shape)}, retraining is for {n_query} queries and "
            f"{n_train} rows",
            "score the queries that the retrainer was given",
        )
    if scores.target != target:
        raise QualityError(
            f"the scores are of the {scores.target}, retraining is of the {target}",
            f"score with target={target!r}, or retrain for the other",
        )
    undefined = np.flatnonzero(~np.isfinite(scores.scores).all(axis=0))
    if len(undefined):
        raise QualityError(
            f"row {undefined[0]} has no defined score", "leave the row out of training and scores"
        )
