"""Damped Newton descent to the minimum of a convex training objective."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.training.curvature import CurvatureFactor
from traceprop_engine.training.objective import Objective

MAX_STEPS = 200
_SUFFICIENT = 1e-4
_SHORTEST = 1e-10
_VALUE_NOISE = 1e-13


@dataclass(frozen=True)
class TrainingStep:
    """Where training stands; handed to a progress callback before each step and at the end.

    Attributes:
        step: Newton steps taken so far.
        objective: Sum of losses plus penalty.
        gradient_norm: Euclidean norm of its gradient.
    """

    step: int
    objective: float
    gradient_norm: float


Progress = Callable[[TrainingStep], None]
"""What a caller passes to follow training."""


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where the descent ended.

    Attributes:
        parameters: ``[n_outputs, n_features + 1]``.
        loss_curve: The objective before each step and at the end.
    """

    parameters: NDArray[np.float64]
    loss_curve: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class _Point:
    parameters: NDArray[np.float64]
    value: float
    gradient: NDArray[np.float64]

    @property
    def norm(self) -> float:
        return float(np.linalg.norm(self.gradient))


def minimise(
    objective: Objective,
    start: NDArray[np.float64],
    *,
    visit: Callable[[TrainingStep, NDArray[np.float64]], None],
) -> Minimum:
    """Take Newton steps with backtracking until the gradient is at its goal.

    Stops earlier where rounding lets no step improve; the caller compares the gradient.

    Args:
        objective: Convex, twice differentiable.
        start: Parameters to start from, ``[n_outputs, n_features + 1]``.
        visit: Called at each point with the step and its parameters; may raise to stop.

    Returns:
        The last point and the objective along the way.

    Raises:
        NotPositiveDefiniteError: The Hessian is singular at some point.

    References:
        Boyd and Vandenberghe, 2004. Convex optimization. Algorithm 9.5.
    """
    point = _point(objective, start)
    curve = [point.value]
    visit(TrainingStep(0, point.value, point.norm), point.parameters)
    while point.norm > objective.goal and len(curve) - 1 < MAX_STEPS:
        nearer = _newton_step(objective, point)
        if nearer is None:
            break
        point = nearer
        curve.append(point.value)
        visit(TrainingStep(len(curve) - 1, point.value, point.norm), point.parameters)
    return Minimum(point.parameters, tuple(curve))


def _newton_step(objective: Objective, point: _Point) -> _Point | None:
    """Return the next point, or ``None`` where rounding hides any improvement."""
    factor = CurvatureFactor.of(objective.hessian(point.parameters), objective.shift_directions())
    step = -factor.solve(point.gradient.ravel()).reshape(objective.shape)
    slope = float(np.sum(point.gradient * step))
    noise = _VALUE_NOISE * abs(point.value)
    length = 1.0
    while length > _SHORTEST:
        candidate = _point(objective, point.parameters + length * step)
        if candidate.value <= point.value + _SUFFICIENT * length * slope + noise:
            stalled = -slope <= noise and candidate.norm > point.norm / 2
            return None if stalled else candidate
        length /= 2
    return None


def _point(objective: Objective, parameters: NDArray[np.float64]) -> _Point:
    return _Point(parameters, objective.value(parameters), objective.gradient(parameters))
