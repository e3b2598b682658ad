"""Newton descent with its failures told in the words of the user's table."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.errors import (
    SeparableClassesError,
    SingularCurvatureError,
    TrainingStalledError,
)
from traceprop_engine.training.curvature import CurvatureFactor, NotPositiveDefiniteError
from traceprop_engine.training.losses import Family
from traceprop_engine.training.newton import Minimum, Progress, TrainingStep, minimise
from traceprop_engine.training.objective import Objective
from traceprop_engine.training.separation import is_separable, separates


@dataclass(frozen=True)
class ModelNames:
    """How the user calls the parts of a model; for messages."""

    run: str
    label: str
    features: Sequence[str]


def reach_minimum(
    objective: Objective,
    start: NDArray[np.float64],
    *,
    family: Family,
    names: ModelNames,
    progress: Progress | None,
) -> Minimum:
    """Descend to the minimum, or say in one line why there is none.

    Raises:
        SingularCurvatureError: Columns are linearly dependent and nothing penalises them.
        SeparableClassesError: Classes are separable and nothing penalises the parameters.
        TrainingStalledError: Rounding or the step limit ended the descent too early.
    """
    unbounded = objective.l2 == 0 and family != "linear"

    def visit(step: TrainingStep, parameters: NDArray[np.float64]) -> None:
        if progress is not None:
            progress(step)
        if unbounded and separates(objective.outputs(parameters), objective.targets, family):
            raise SeparableClassesError(names.label)

    try:
        minimum = minimise(objective, objective.balanced(start), visit=visit)
        exists = not unbounded or _minimum_is_near(objective, minimum.parameters)
    except NotPositiveDefiniteError as singular:
        if unbounded and _is_separable(objective, family):
            raise SeparableClassesError(names.label) from singular
        raise SingularCurvatureError(singular.culprits(names.features)) from singular
    if not exists and _is_separable(objective, family):
        raise SeparableClassesError(names.label)
    _require_converged(objective, minimum, names.run)
    return minimum


def _require_converged(objective: Objective, minimum: Minimum, name: str) -> None:
    norm = float(np.linalg.norm(objective.gradient(minimum.parameters)))
    tolerance = objective.tolerance(minimum.parameters)
    if norm > tolerance:
        raise TrainingStalledError(name, norm, tolerance, len(minimum.loss_curve) - 1)


def _minimum_is_near(objective: Objective, parameters: NDArray[np.float64]) -> bool:
    """Say whether these parameters prove that a minimum exists, and near.

    With the Newton decrement ``nu`` and the largest response ``rho`` of a difference of outputs,
    ``rho * nu < 1`` proves it, by the generalised self-concordance of the logistic loss; when the
    parameters run to infinity the product tends to 1.

    References:
        Bach, 2010. Self-concordant analysis for logistic regression. Proposition 2.
    """
    factor = CurvatureFactor.of(objective.hessian(parameters), objective.shift_directions())
    decrement = np.linalg.norm(factor.whiten(objective.gradient(parameters).ravel()))
    responses = factor.output_responses(
        objective.features, objective.n_outputs, fit_intercept=objective.fit_intercept
    )
    own = np.einsum("nkk->nk", responses)
    if objective.n_outputs == 1:
        widest = own.max()
    else:
        widest = (own[:, :, None] + own[:, None, :] - 2 * responses).max()
    return bool(decrement * np.sqrt(widest) < 0.5)  # noqa: PLR2004 - below 1, with a margin


def _is_separable(objective: Objective, family: Family) -> bool:
    return is_separable(
        objective.features,
        objective.targets,
        family,
        n_outputs=objective.n_outputs,
        fit_intercept=objective.fit_intercept,
    )
