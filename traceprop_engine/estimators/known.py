"""Which estimators work row by row once they are fitted."""

from collections.abc import Iterable
from typing import Any

from sklearn.base import BaseEstimator

FITTING = ("fit", "partial_fit", "fit_transform", "fit_predict", "fit_resample")
"""Methods that read all rows that they are given."""

APPLYING = (
    "transform",
    "inverse_transform",
    "predict",
    "predict_proba",
    "predict_log_proba",
    "decision_function",
    "score_samples",
)
"""Methods that give a row for each row; of a fitting one, ``fit_transform`` and ``fit_predict``."""

# What these call is the user's; it may do anything with the rows.
_OF_THE_USER = ("FunctionTransformer",)

# A row of these depends on the rows beside it: when they stop is a matter of all rows together.
_STOP_TOGETHER = ("NMF", "MiniBatchNMF", "LatentDirichletAllocation")


def is_known(estimator: Any) -> bool:
    """Say whether an estimator, and each one inside it, is one of scikit-learn's own."""
    is_own = type(estimator).__module__.startswith("sklearn.")
    return (
        is_own
        and type(estimator).__name__ not in _OF_THE_USER
        and all(is_known(part) for part in _inside(estimator))
    )


def reads_rows_beside(estimator: Any) -> bool:
    """Say whether what a known estimator gives for a row depends on the rows given with it."""
    return type(estimator).__name__ in _STOP_TOGETHER or any(
        reads_rows_beside(part) for part in _inside(estimator)
    )


def _inside(estimator: Any) -> Iterable[Any]:
    """Return the estimators inside another one, whether they derive from scikit-learn's or not."""
    if not isinstance(estimator, BaseEstimator):
        return []
    parameters = estimator.get_params(deep=True).values()
    return [value for value in parameters if hasattr(value, "fit") and not isinstance(value, type)]
