"""The losses that trees are boosted on: what a leaf's value is made of, and its derivatives.

Outputs are ``[n_outputs, n_rows, m]`` for ``m`` models at once. With ``p`` the mean that the
outputs stand for (their probability, or themselves for squared error), every family here has the
gradient ``p - y``.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_softmax, logit

from traceprop_engine.training.losses import Family
from traceprop_engine.training.tables import class_positions

_NO_RATE = np.finfo(np.float64).eps
"""How near to 0 and 1 the rate of a class is let, for its log-odds."""


def answers(
    family: Family, labels: NDArray[np.generic] | Sequence[object], classes: Sequence[object]
) -> NDArray[np.float64]:
    """Return what each output should be, ``[n_outputs, n_rows]``, in an array of its own.

    Raises:
        UnknownClassError: A label is not one of the classes.
    """
    if family == "linear":
        return np.array(labels, dtype=np.float64)[None]
    positions = class_positions(labels, classes)
    if family == "logistic":
        return positions[None]
    return (positions == np.arange(len(classes))[:, None]).astype(np.float64)


def means(family: Family, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean that outputs stand for, of the same shape."""
    if family == "linear":
        return outputs
    if family == "logistic":
        return expit(outputs)
    shares = np.exp(outputs - outputs.max(axis=0))
    shares /= shares.sum(axis=0)
    return shares


def hessians(family: Family, mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the second derivative of the loss in each output alone, of the same shape."""
    return np.ones_like(mean) if family == "linear" else mean * (1 - mean)


def base_scores(family: Family, mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the outputs before the first tree for mean answers, ``[n_outputs, m]``."""
    if family == "linear":
        return mean
    if family == "logistic":
        edge = 10 * _NO_RATE
        return logit(np.clip(mean, edge, 1 - edge))
    logs = np.log(np.clip(mean, _NO_RATE, 1 - _NO_RATE))
    return logs - logs.mean(axis=0)


def base_slopes(family: Family, answered: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the derivative of the outputs before the first tree in each row's weight.

    Args:
        family: The loss.
        answered: ``[n_outputs, n_rows]``.

    Returns:
        ``[n_outputs, n_rows]``, at weights of one.
    """
    mean = answered.mean(axis=1, keepdims=True)
    pull = (answered - mean) / answered.shape[1]
    if family == "linear":
        return pull
    if family == "logistic":
        return pull / (mean * (1 - mean))
    logs = pull / mean
    return logs - logs.mean(axis=0)


def pulled_back(
    family: Family,
    mean: NDArray[np.float64],
    factors: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Carry derivatives in leaf values back to the outputs of the rows in the leaves.

    A leaf's value depends on its rows' outputs through ``rate * gradient + value * hessian``.

    Args:
        family: The loss.
        mean: Mean of each row and output, ``[n_outputs, n_rows, 1]``.
        factors: ``(rate, value)`` summed up per row as ``rate + value * (1 - 2 mean)`` for classes,
            and the rate for squared error, ``[n_outputs, n_rows, 1]``.
        sums: Derivative in the value of the row's leaf, divided by the leaf's weight,
            ``[n_outputs, n_rows, m]``.

    Returns:
        What is to be taken from the derivative in each output, ``[n_outputs, n_rows, m]``.
    """
    if family == "linear":
        return factors * sums
    if family == "logistic":
        return mean * (1 - mean) * factors * sums
    shares = mean * factors * sums
    return shares - mean * shares.sum(axis=0)


def leaf_factors(
    family: Family, mean: NDArray[np.float64], rate: float, values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how a leaf's numerator depends on a row's output, over the row's hessian.

    Args:
        family: The loss.
        mean: ``[n_outputs, n_rows]``.
        rate: Learning rate.
        values: Value of the row's leaf, ``[n_outputs, n_rows]``.
    """
    if family == "linear":
        return np.full_like(mean, rate)
    return rate + values * (1 - 2 * mean)


def losses(
    family: Family, outputs: NDArray[np.float64], answered: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the loss of each row, nats or half the squared error, ``[n_rows, m]``.

    Args:
        family: The loss.
        outputs: ``[n_outputs, n_rows, m]``.
        answered: ``[n_outputs, n_rows]``.
    """
    if family == "linear":
        return (outputs[0] - answered[0, :, None]) ** 2 / 2
    if family == "logistic":
        return np.logaddexp(0.0, (1 - 2 * answered[0, :, None]) * outputs[0])
    return -(log_softmax(outputs, axis=0) * answered[:, :, None]).sum(axis=0)
