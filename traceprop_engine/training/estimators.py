"""Take over a fitted scikit-learn estimator without importing scikit-learn."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from traceprop_engine.errors import UnsupportedEstimatorError
from traceprop_engine.training.run import TrainingRun
from traceprop_engine.training.tables import (
    check_features,
    class_positions,
    feature_matrix,
    label_numbers,
    label_values,
)

_SUPPORTED = ("LogisticRegression", "LinearRegression", "Ridge")


def from_estimator(
    estimator: Any, frame: pd.DataFrame, *, features: Sequence[str], label: str, name: str
) -> TrainingRun:
    """Write a fitted estimator as a training run over the rows it was fitted on.

    The parameters are taken as they are. ``gradient_norm`` of the true objective and ``converged``
    say how far they are from its minimum: solvers stop early at their default tolerance, and an
    estimator that was fitted on other rows, or with sample weights, shows there too. ``polish()``
    finishes the descent.

    Args:
        estimator: A fitted ``LogisticRegression``, ``LinearRegression`` or ``Ridge``.
        frame: The training table, in any row order.
        features: Columns in the order the estimator was fitted on.
        label: Column of the label.
        name: What to call this run.

    Returns:
        The run at the estimator's parameters.

    Raises:
        UnsupportedEstimatorError: Its objective is not the one of this package; the message says
            why and what to fit instead.
        TracepropError: The table does not fit; the message names the column.
    """
    kind = type(estimator).__name__
    _require_supported(estimator, kind)
    names = _matching_features(estimator, kind, check_features(features, label))
    is_linear = kind != "LogisticRegression"
    matrix = feature_matrix(frame, names)
    labels = label_numbers(frame, label) if is_linear else label_values(frame, label)
    classes = () if is_linear else tuple(np.asarray(estimator.classes_).tolist())
    if classes:
        class_positions(labels, classes)
    weights = np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64))
    return TrainingRun(
        family="linear" if is_linear else "logistic" if len(weights) == 1 else "softmax",
        name=name,
        feature_names=names,
        label=label,
        classes=classes,
        l2=_penalty(estimator, kind),
        parameters=_with_intercepts(weights, estimator.intercept_),
        features=matrix,
        labels=labels,
        index=frame.index,
        n_iterations=_iterations(estimator),
        fit_intercept=bool(estimator.fit_intercept),
    )


def _require_supported(estimator: Any, kind: str) -> None:
    if kind not in _SUPPORTED:
        raise UnsupportedEstimatorError(
            kind,
            "its objective is not known here",
            f"fit one of {', '.join(_SUPPORTED)} on the transformed table, or train_logistic, "
            "train_softmax or train_linear",
        )
    if not hasattr(estimator, "coef_"):
        raise UnsupportedEstimatorError(kind, "it is not fitted", "call its fit() first")
    for reason, way_out in _obstacles(estimator, kind):
        raise UnsupportedEstimatorError(kind, reason, way_out)


def _obstacles(estimator: Any, kind: str) -> list[tuple[str, str]]:
    """Return why the objective cannot be written, each with the way out."""
    found = []
    if getattr(estimator, "positive", False):
        found.append(("positive=True bounds the weights", "fit with positive=False"))
    if kind == "LogisticRegression":
        found += _logistic_obstacles(estimator)
    elif np.ndim(estimator.coef_) > 1 and len(estimator.coef_) > 1:
        found.append(("it predicts several labels at once", "fit one estimator for each label"))
    if kind == "Ridge" and np.size(estimator.alpha) != 1:
        found.append(("alpha is an array", "fit with one number as alpha"))
    return found


def _logistic_obstacles(estimator: Any) -> list[tuple[str, str]]:
    found = []
    penalty = _penalty_kind(estimator)
    if penalty not in {"l2", "none"}:
        found.append((f"its penalty is {penalty}, which is not smooth", "fit with an l2 penalty"))
    if estimator.class_weight is not None:
        found.append(("class_weight weighs the rows", "fit with class_weight=None"))
    several = len(estimator.classes_) > 2  # noqa: PLR2004 - more than two classes
    scheme = getattr(estimator, "multi_class", "auto")
    one_against_rest = scheme == "ovr" or estimator.solver == "liblinear"
    if several and one_against_rest:
        found.append(("it is one model for each class against the rest", "fit with solver='lbfgs'"))
    if not several and scheme == "multinomial":
        found.append(("multi_class='multinomial' halves the penalty", "leave multi_class out"))
    if estimator.solver == "liblinear" and estimator.fit_intercept:
        found.append(("solver='liblinear' penalises the intercept", "fit with solver='lbfgs'"))
    return found


def _penalty_kind(estimator: Any) -> str:
    """Return the penalty under both the old (``penalty``) and the new (``l1_ratio``) parameters."""
    penalty = getattr(estimator, "penalty", "deprecated")
    if penalty is None or penalty == "none":
        return "none"
    ratio = getattr(estimator, "l1_ratio", None) or 0.0
    if penalty in {"deprecated", "elasticnet"}:
        return {0.0: "l2", 1.0: "l1"}.get(float(ratio), "elasticnet")
    return str(penalty)


def _penalty(estimator: Any, kind: str) -> float:
    """Return the penalty in the units of this package's objective."""
    if kind == "LinearRegression":
        return 0.0
    if kind == "Ridge":
        return float(np.asarray(estimator.alpha).reshape(()))
    return 0.0 if _penalty_kind(estimator) == "none" else 1.0 / float(estimator.C)


def _matching_features(estimator: Any, kind: str, names: tuple[str, ...]) -> tuple[str, ...]:
    fitted = tuple(str(column) for column in getattr(estimator, "feature_names_in_", names))
    if fitted != names:
        raise UnsupportedEstimatorError(
            kind,
            f"it was fitted on the columns {list(fitted)}, not on {list(names)}",
            "pass these columns as `features`, in this order",
        )
    n_fitted = np.shape(estimator.coef_)[-1]
    if n_fitted != len(names):
        raise UnsupportedEstimatorError(
            kind,
            f"it was fitted on {n_fitted} columns, not on {len(names)}",
            "pass the same columns as `features`",
        )
    return names


def _with_intercepts(weights: np.ndarray, intercepts: Any) -> np.ndarray:
    column = np.broadcast_to(np.ravel(intercepts), (len(weights),))
    return np.column_stack([weights, column]).astype(np.float64)


def _iterations(estimator: Any) -> int:
    return int(np.max(getattr(estimator, "n_iter_", None) or 0))
