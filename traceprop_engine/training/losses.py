"""The three losses, as functions of a row's linear outputs.

A model of this package maps a row to ``n_outputs`` linear outputs, and a loss reads only those. So
each family is described here by its loss, slope and curvature in the outputs, and everything else
(gradients, Hessians, influence) follows from these by the chain rule, the same for all.

Shapes: outputs ``[n, n_outputs]``, targets ``[n]`` (a value, or the position of the class).
"""

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_softmax, softmax

Family = Literal["linear", "logistic", "softmax"]
"""The kinds of model: least squares, two classes with one output, many with one output each."""


class Loss(Protocol):
    """What a family must say about its loss."""

    def value(
        self, outputs: NDArray[np.float64], targets: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the loss of each row, ``[n]``."""
        ...

    def slope(
        self, outputs: NDArray[np.float64], targets: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the derivative of each row's loss in its outputs, ``[n, n_outputs]``."""
        ...

    def curvature(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the second derivative in the outputs, ``[n, n_outputs, n_outputs]``.

        It depends on the label in none of the three families.
        """
        ...


class SquaredLoss:
    """Half the squared error; in half squared units of the label."""

    def value(
        self, outputs: NDArray[np.float64], targets: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return ``(output - target)² / 2`` of each row."""
        return (outputs[:, 0] - targets) ** 2 / 2

    def slope(
        self, outputs: NDArray[np.float64], targets: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the residual ``output - target`` of each row."""
        return outputs - targets[:, None]

    def curvature(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return one for each row."""
        return np.ones((len(outputs), 1, 1))


class LogisticLoss:
    """Negative log-likelihood in nats of a label 0 or 1 whose log-odds are the output."""

    def value(
        self, outputs: NDArray[np.float64], targets: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return ``log(1 + exp(-margin))`` of each row."""
        return np.logaddexp(0.0, _sign(targets) * outputs[:, 0])

    def slope(
        self, outputs: NDArray[np.float64], targets: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return ``p - target``, written so that tiny residuals keep their digits."""
        sign = _sign(targets)
        return (sign * expit(sign * outputs[:, 0]))[:, None]

    def curvature(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``p (1 - p)`` of each row."""
        return (expit(outputs) * expit(-outputs))[:, :, None]


class SoftmaxLoss:
    """Negative log-likelihood in nats of a class whose score is its output."""

    def value(
        self, outputs: NDArray[np.float64], targets: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return ``-log p(class)`` of each row."""
        return -log_softmax(outputs, axis=1)[np.arange(len(outputs)), targets.astype(np.intp)]

    def slope(
        self, outputs: NDArray[np.float64], targets: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return ``p - one_hot(class)`` of each row."""
        slope = softmax(outputs, axis=1)
        slope[np.arange(len(outputs)), targets.astype(np.intp)] -= 1.0
        return slope

    def curvature(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``diag(p) - p pᵀ`` of each row."""
        shares = softmax(outputs, axis=1)
        return shares[:, :, None] * (np.eye(shares.shape[1]) - shares[:, None, :])


def loss_of(family: Family) -> Loss:
    """Return the loss that a family minimises."""
    losses: dict[Family, Loss] = {
        "linear": SquaredLoss(),
        "logistic": LogisticLoss(),
        "softmax": SoftmaxLoss(),
    }
    return losses[family]


def _sign(targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return -1 for class 1 and +1 for class 0: the loss rises with ``sign * output``."""
    return 1.0 - 2.0 * targets
