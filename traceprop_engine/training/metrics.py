"""How good a model's outputs are on labelled rows."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from traceprop_engine.training.losses import Family, loss_of


def evaluate_outputs(
    outputs: NDArray[np.float64], targets: NDArray[np.float64], family: Family
) -> dict[str, float]:
    """Return the metrics of a family, by name.

    Linear: ``r2`` and ``rmse`` (in units of the label). Logistic: ``accuracy``, ``auc``,
    ``log_loss`` (nats a row). Softmax: ``accuracy``, ``log_loss``. A metric that is undefined on
    these rows is left out: ``auc`` with one class, ``r2`` of a constant label.

    Args:
        outputs: Linear outputs, ``[n, n_outputs]``, n at least 1.
        targets: Values, or positions of classes, ``[n]``.
        family: The kind of model.
    """
    mean_loss = float(loss_of(family).value(outputs, targets).mean())
    if family == "linear":
        return _regression_metrics(mean_loss, targets)
    if family == "softmax":
        hits = outputs.argmax(axis=1) == targets
        return {"accuracy": float(hits.mean()), "log_loss": mean_loss}
    hits = (outputs[:, 0] > 0) == (targets > 0)
    metrics = {"accuracy": float(hits.mean()), "log_loss": mean_loss}
    if 0 < targets.sum() < len(targets):
        metrics["auc"] = area_under_roc(outputs[:, 0], targets > 0)
    return metrics


def area_under_roc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Return the chance that a positive row scores above a negative one, ties counting half.

    Args:
        scores: ``[n]``, higher for what looks more positive.
        positive: ``[n]``, with at least one row of each kind.

    References:
        Hanley and McNeil, 1982. The meaning and use of the area under a ROC curve. By the rank
        sum of Mann and Whitney, 1947.

    Example:
        >>> area_under_roc(np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, False, True, True]))
        0.875
    """
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    rank_sum = float(rankdata(scores)[positive].sum())
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def _regression_metrics(mean_loss: float, targets: NDArray[np.float64]) -> dict[str, float]:
    mean_square = 2 * mean_loss
    metrics = {"rmse": float(np.sqrt(mean_square))}
    variance = float(targets.var())
    if variance > 0:
        metrics["r2"] = 1 - mean_square / variance
    return metrics
