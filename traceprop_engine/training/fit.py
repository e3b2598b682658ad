"""Train a linear, logistic or softmax model to its exact minimum."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traceprop_engine.errors import ModelSizeError, PenaltyError
from traceprop_engine.training.losses import Family
from traceprop_engine.training.newton import Progress
from traceprop_engine.training.run import TrainingRun
from traceprop_engine.training.tables import (
    check_features,
    feature_matrix,
    find_classes,
    label_numbers,
    label_values,
)

MAX_PARAMETERS = 10_000
"""Largest model that is handled exactly; its Hessian takes 800 MB."""


def train_linear(
    frame: pd.DataFrame,
    *,
    features: Sequence[str],
    label: str,
    l2: float,
    name: str,
    progress: Progress | None = None,
) -> TrainingRun:
    """Fit least squares, ``sum_i (prediction - label)² / 2 + l2 / 2 * ||weights||²``.

    Args:
        frame: The training table, one row for each training row.
        features: Numeric columns to predict from.
        label: Numeric column to predict.
        l2: Strength of the penalty on the weights (not on the intercept); 0 for none.
        name: What to call this run.
        progress: Called with a `TrainingStep` before each Newton step and at the end.

    Returns:
        The run at its minimum.

    Raises:
        TracepropError: The table or the penalty does not fit, or there is no unique minimum; the
            message names the column and the way out.
    """
    names = check_features(features, label)
    matrix = feature_matrix(frame, names)
    labels = label_numbers(frame, label)
    run = _untrained(frame.index, matrix, labels, ("linear", name, names, label, (), l2))
    return run.polish(progress=progress)


def train_logistic(
    frame: pd.DataFrame,
    *,
    features: Sequence[str],
    label: str,
    l2: float,
    name: str,
    progress: Progress | None = None,
) -> TrainingRun:
    """Fit a two-class model, ``sum_i -log p(label_i) + l2 / 2 * ||weights||²``.

    Its output is the log-odds of the second of the two classes in ascending order.

    Args:
        frame: The training table, one row for each training row.
        features: Numeric columns to predict from.
        label: Column with exactly two distinct values.
        l2: Strength of the penalty on the weights (not on the intercept); 0 for none.
        name: What to call this run.
        progress: Called with a `TrainingStep` before each Newton step and at the end.

    Returns:
        The run at its minimum.

    Raises:
        TracepropError: The table or the penalty does not fit, or there is no unique minimum; the
            message names the column and the way out.
    """
    names = check_features(features, label)
    matrix = feature_matrix(frame, names)
    labels = label_values(frame, label)
    classes = find_classes(labels, label, binary=True)
    run = _untrained(frame.index, matrix, labels, ("logistic", name, names, label, classes, l2))
    return run.polish(progress=progress)


def train_softmax(
    frame: pd.DataFrame,
    *,
    features: Sequence[str],
    label: str,
    l2: float,
    name: str,
    progress: Progress | None = None,
) -> TrainingRun:
    """Fit a model of two or more classes with one weight vector for each class.

    Only differences of outputs matter, so the parameters are the minimum that sums to zero over the
    classes, column by column.

    Args:
        frame: The training table, one row for each training row.
        features: Numeric columns to predict from.
        label: Column with two or more distinct values.
        l2: Strength of the penalty on the weights (not on the intercepts); 0 for none.
        name: What to call this run.
        progress: Called with a `TrainingStep` before each Newton step and at the end.

    Returns:
        The run at its minimum.

    Raises:
        TracepropError: The table or the penalty does not fit, or there is no unique minimum; the
            message names the column and the way out.
    """
    names = check_features(features, label)
    matrix = feature_matrix(frame, names)
    labels = label_values(frame, label)
    classes = find_classes(labels, label, binary=False)
    run = _untrained(frame.index, matrix, labels, ("softmax", name, names, label, classes, l2))
    return run.polish(progress=progress)


def _untrained(
    index: pd.Index,
    features: NDArray[np.float64],
    labels: NDArray[np.generic],
    identity: tuple[Family, str, tuple[str, ...], str, tuple[object, ...], float],
) -> TrainingRun:
    """Return the run whose parameters are all zero."""
    family, name, names, label, classes, l2 = identity
    if not (np.isfinite(l2) and l2 >= 0):
        raise PenaltyError(l2)
    n_outputs = len(classes) if family == "softmax" else 1
    shape = n_outputs, len(names) + 1
    if shape[0] * shape[1] > MAX_PARAMETERS:
        raise ModelSizeError(shape[0] * shape[1], MAX_PARAMETERS)
    return TrainingRun(
        family, name, names, label, classes, float(l2), np.zeros(shape), features, labels, index
    )
