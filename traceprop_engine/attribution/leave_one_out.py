"""Leaving out one row: in closed form for every row, by a refit for those of high leverage."""

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.attribution.removal import remove_rows
from traceprop_engine.errors import SeparableClassesError, SingularCurvatureError
from traceprop_engine.training.curvature import CurvatureFactor
from traceprop_engine.training.objective import linear_outputs, parameter_gradients
from traceprop_engine.training.run import TrainingRun

_UNDETERMINED = 1e-9
_BLOCK_FLOATS = 1 << 24
_CHORD_STEPS = 100
_SLOW = 0.9


def corrected_slopes(
    run: TrainingRun, factor: CurvatureFactor
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ``(I - C_i S_i)^-1 r_i`` and the leverage of every row.

    Args:
        run: The model.
        factor: Its Hessian, factored.

    Returns:
        The slopes, ``[n_train, n_outputs]``, NaN where the leverage is 1; and the leverages, the
        largest eigenvalue of each ``C_i S_i``, ``[n_train]``.
    """
    slopes = run.objective.slopes(run.parameters)
    leverage = np.empty(run.n_train)
    corrected = np.full_like(slopes, np.nan)
    for rows in row_blocks(run.n_train, run.n_outputs * run.parameters.size):
        features = run.features[rows]
        responses = factor.output_responses(
            features, run.n_outputs, fit_intercept=run.fit_intercept
        )
        curvature = run.objective.loss.curvature(linear_outputs(features, run.parameters))
        feedback = curvature @ responses
        leverage[rows] = np.linalg.eigvals(feedback).real.max(axis=1)
        ok = np.flatnonzero(leverage[rows] < 1 - _UNDETERMINED)
        solved = np.linalg.solve(np.eye(run.n_outputs) - feedback[ok], slopes[rows][ok, :, None])
        corrected[rows.start + ok] = solved[:, :, 0]
    return corrected, leverage


def refit_high(
    run: TrainingRun,
    factor: CurvatureFactor,
    leverage: NDArray[np.float64],
    *,
    refit_above: float,
    max_refits: int,
) -> tuple[dict[int, NDArray[np.float64]], list[int]]:
    """Refit a classifier without each row of high leverage, the highest first.

    Returns:
        The parameters without each such row, by row in ascending order; and the rows without which
        no model is determined: the only row of its class, or the one row that keeps columns
        independent or classes inseparable.
    """
    counts = np.bincount(run.targets.astype(np.intp), minlength=len(run.classes))
    alone = counts[run.targets.astype(np.intp)] == 1
    refits: dict[int, NDArray[np.float64]] = {}
    undetermined: list[int] = np.flatnonzero(alone).tolist()
    high = np.flatnonzero((leverage > refit_above) & ~alone)
    highest = high[np.argsort(-leverage[high], kind="stable")[:max_refits]]
    for row in np.sort(highest).tolist():
        try:
            refits[row] = _refit(run, factor, row)
        except (SingularCurvatureError, SeparableClassesError):
            undetermined.append(row)
    return refits, undetermined


def row_blocks(n_rows: int, floats_per_row: int) -> list[slice]:
    """Cut rows into blocks for which so many floats a row take at most 128 MB."""
    size = max(1, _BLOCK_FLOATS // floats_per_row)
    return [slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]


def _refit(run: TrainingRun, factor: CurvatureFactor, row: int) -> NDArray[np.float64]:
    """Return the minimum without a row, by chord steps where they are fast, else by Newton's."""
    quick = _chord_refit(run, factor, row) if run.l2 > 0 else None
    return remove_rows(run, [row]).run.parameters if quick is None else quick


def _chord_refit(run: TrainingRun, factor: CurvatureFactor, row: int) -> NDArray[np.float64] | None:
    """Return the minimum without a row, or ``None`` when the steps shrink too slowly.

    Each step uses the Hessian of the full model, less the row's own part by the formula of
    Sherman, Morrison and Woodbury, so that a step costs one gradient and no new factor.
    """
    objective, n_outputs = run.objective, run.n_outputs
    features, targets = run.features[[row]], run.targets[[row]]
    curvature = objective.loss.curvature(linear_outputs(features, run.parameters))[0]
    jacobian = parameter_gradients(
        np.eye(n_outputs), np.repeat(features, n_outputs, axis=0), fit_intercept=run.fit_intercept
    )
    pull = factor.solve(jacobian.T)
    downdate = np.linalg.solve(np.eye(n_outputs) - curvature @ (jacobian @ pull), curvature)
    parameters, norm = run.parameters, np.inf
    for _ in range(_CHORD_STEPS):
        slopes = objective.loss.slope(linear_outputs(features, parameters), targets)
        gradient = objective.gradient(parameters).ravel() - slopes[0] @ jacobian
        previous, norm = norm, float(np.linalg.norm(gradient))
        if norm <= 1e-10 * (run.n_train - 1):
            return parameters
        if norm > _SLOW * previous:
            return None
        step = factor.solve(gradient) + pull @ (downdate @ (pull.T @ gradient))
        parameters = parameters - step.reshape(parameters.shape)
    return None
