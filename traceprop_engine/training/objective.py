"""The training objective and its exact derivatives.

    objective(parameters) = sum_i loss_i(parameters) + l2 / 2 * ||weights||²

The intercepts are parameters but carry no penalty. Parameters have the shape
``[n_outputs, n_features + 1]`` with the intercept last; where they stand in a vector or matrix,
they are laid out output by output, ``n_parameters = n_outputs * (n_features + 1)``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.training.losses import Loss

_EPSILON = float(np.finfo(np.float64).eps)
_BLOCK_FLOATS = 1 << 22


@dataclass(frozen=True, eq=False)
class Objective:
    """The sum of losses over training rows plus the penalty.

    Attributes:
        features: ``[n, n_features]``, float64.
        targets: ``[n]``; a value, or the position of the class as a float.
        loss: The loss of one row.
        n_outputs: Linear outputs of the model: 1, or the number of classes for softmax.
        l2: Strength of the penalty, at least 0.
        fit_intercept: ``False`` holds every intercept at zero.
    """

    features: NDArray[np.float64]
    targets: NDArray[np.float64]
    loss: Loss
    n_outputs: int
    l2: float
    fit_intercept: bool = True

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the parameters, ``(n_outputs, n_features + 1)``."""
        return self.n_outputs, self.features.shape[1] + 1

    @property
    def n_rows(self) -> int:
        """Number of training rows."""
        return len(self.targets)

    def outputs(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the linear outputs of the training rows, ``[n, n_outputs]``."""
        return linear_outputs(self.features, parameters)

    def value(self, parameters: NDArray[np.float64]) -> float:
        """Return the objective at ``parameters``."""
        losses = self.loss.value(self.outputs(parameters), self.targets)
        return float(losses.sum() + self.l2 / 2 * np.sum(parameters[:, :-1] ** 2))

    def slopes(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the derivative of each row's loss in its outputs, ``[n, n_outputs]``."""
        return self.loss.slope(self.outputs(parameters), self.targets)

    def gradient(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the gradient of the objective, in the shape of the parameters."""
        slopes = self.slopes(parameters)
        gradient = np.empty(self.shape)
        gradient[:, :-1] = slopes.T @ self.features + self.l2 * parameters[:, :-1]
        gradient[:, -1] = slopes.sum(axis=0) if self.fit_intercept else 0.0
        return gradient

    def hessian(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the Hessian of the objective, ``[n_parameters, n_parameters]``."""
        return self.loss_hessian(parameters) + np.diag(self._penalty().ravel())

    def loss_hessian(
        self, parameters: NDArray[np.float64], rows: NDArray[np.int64] | None = None
    ) -> NDArray[np.float64]:
        """Return the Hessian of the summed loss of ``rows`` (all by default), without penalty."""
        features = self.features if rows is None else self.features[rows]
        width = features.shape[1] + 1
        hessian = np.zeros((self.n_outputs, width, self.n_outputs, width))
        for block in _blocks(len(features), width + self.n_outputs**2):
            curvature = self.loss.curvature(linear_outputs(features[block], parameters))
            for one in range(self.n_outputs):
                for other in range(one + 1):
                    gram = self._gram(features[block], curvature[:, one, other])
                    hessian[one, :, other, :] += gram
                    if one != other:
                        hessian[other, :, one, :] += gram
        return hessian.reshape(self.n_outputs * width, -1)

    def shift_directions(self) -> NDArray[np.float64]:
        """Return an orthonormal basis of the directions that never change an output's meaning.

        ``[n_parameters, n_directions]``. Adding one number to every class's output changes no
        probability, so the loss of softmax is flat along the common shift of any column's
        parameters. A model without intercept holds the intercepts at zero, which counts as flat.
        Logistic and linear models have no such directions.
        """
        n_outputs, width = self.shape
        directions = [np.empty((n_outputs * width, 0))]
        if n_outputs > 1:
            last = width if self.fit_intercept else width - 1
            shifts = np.tile(np.eye(width)[:, :last], (n_outputs, 1))
            directions.append(shifts / np.sqrt(n_outputs))
        if not self.fit_intercept:
            directions.append(np.eye(n_outputs * width)[:, width - 1 :: width])
        return np.concatenate(directions, axis=1)

    def balanced(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return parameters of the same probabilities that sum to zero over the classes.

        Of all equivalent softmax parameters these have the smallest penalty, and from them on every
        gradient is orthogonal to the shifts. Logistic and linear parameters stay as they are.
        """
        return parameters if self.n_outputs == 1 else parameters - parameters.mean(axis=0)

    @property
    def goal(self) -> float:
        """The gradient norm that a solver aims at."""
        return 1e-10 * self.n_rows

    def tolerance(self, parameters: NDArray[np.float64]) -> float:
        """Return the gradient norm at which the minimum counts as reached.

        It is ``1e-10 * n_rows``; or, for features or labels so large that float64 cannot resolve
        that, the rounding error of the gradient's own sum.
        """
        return max(self.goal, self._rounding(parameters))

    def _rounding(self, parameters: NDArray[np.float64]) -> float:
        """Bound the rounding error of the gradient norm, to first order in machine epsilon."""
        error = self.l2 * np.abs(parameters)
        for block in _blocks(self.n_rows, self.shape[1] + self.n_outputs**2):
            sizes = np.abs(self.features[block])
            outputs = linear_outputs(self.features[block], parameters)
            slopes = np.abs(self.loss.slope(outputs, self.targets[block]))
            curvature = np.abs(self.loss.curvature(outputs))
            spread = linear_outputs(sizes, np.abs(parameters))
            row_error = slopes + np.einsum("nkl,nl->nk", curvature, spread)
            error[:, :-1] += row_error.T @ sizes
            error[:, -1] += row_error.sum(axis=0)
        return 4 * _EPSILON * float(np.linalg.norm(error))

    def _gram(
        self, features: NDArray[np.float64], weights: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return ``sum_i weights_i x_i x_iᵀ`` over rows extended by the intercept's one."""
        width = features.shape[1] + 1
        gram = np.zeros((width, width))
        gram[:-1, :-1] = features.T @ (weights[:, None] * features)
        if self.fit_intercept:
            gram[:-1, -1] = gram[-1, :-1] = features.T @ weights
            gram[-1, -1] = weights.sum()
        return gram

    def _penalty(self) -> NDArray[np.float64]:
        penalty = np.full(self.shape, self.l2)
        penalty[:, -1] = 0.0
        return penalty


def parameter_gradients(
    slopes: NDArray[np.float64], features: NDArray[np.float64], *, fit_intercept: bool
) -> NDArray[np.float64]:
    """Return each row's gradient in the parameters from its slope in the outputs (chain rule).

    Args:
        slopes: ``[n, n_outputs]``.
        features: ``[n, n_features]``.
        fit_intercept: ``False`` where the intercepts are held at zero.

    Returns:
        ``[n, n_parameters]``, laid out output by output, intercept last.
    """
    intercepts = np.full((len(features), 1), float(fit_intercept))
    extended = np.concatenate([features, intercepts], axis=1)
    n_parameters = slopes.shape[1] * extended.shape[1]
    return (slopes[:, :, None] * extended[:, None, :]).reshape(len(features), n_parameters)


def linear_outputs(
    features: NDArray[np.float64], parameters: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return ``features @ weights + intercept``, ``[n, n_outputs]``."""
    return features @ parameters[:, :-1].T + parameters[:, -1]


def _blocks(n_rows: int, floats_per_row: int) -> list[slice]:
    """Cut the rows so that what is held of a block beside the features stays under 100 MB."""
    size = max(1, _BLOCK_FLOATS // floats_per_row)
    return [slice(start, start + size) for start in range(0, n_rows, size)]
