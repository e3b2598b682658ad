"""The lasso for many right-hand sides at once."""

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.errors import RetrainingError

_MOST_STEPS = 10_000
_GAP = 1e-4
_CHECK_EVERY = 20


def lasso(
    design: NDArray[np.float64],
    answers: NDArray[np.float64],
    strengths: NDArray[np.float64],
    start: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Minimise ``||y - X b||² / (2 m) + strength ||b||_1`` for each column ``y``.

    Accelerated proximal gradient until the duality gap is below 1e-4 of the loss at zero.

    Args:
        design: ``X``, ``[m, n]``, its columns centred.
        answers: ``[m, n_answers]``, centred.
        strengths: Above 0, ``[n_answers]``.
        start: Coefficients to start from, ``[n, n_answers]``.

    Raises:
        RetrainingError: The gap is not closed within the step limit.

    References:
        Beck and Teboulle, 2009. A fast iterative shrinkage-thresholding algorithm. Equations 4.1 to
        4.3.
    """
    n_rows = len(design)
    longest = 1 / (np.linalg.norm(design, 2) ** 2 / n_rows)
    coefficients, ahead, pace = start, start, 1.0
    for step in range(_MOST_STEPS):
        slope = design.T @ (design @ ahead - answers) / n_rows
        moved = _shrink(ahead - longest * slope, longest * strengths)
        next_pace = (1 + np.sqrt(1 + 4 * pace**2)) / 2
        ahead = moved + (pace - 1) / next_pace * (moved - coefficients)
        coefficients, pace = moved, next_pace
        if step % _CHECK_EVERY == 0 and _is_near(design, answers, strengths, coefficients):
            return coefficients
    raise RetrainingError(
        f"A lasso of {design.shape[1]} rows", "it does not converge", "use the ridge penalty"
    )


def _shrink(values: NDArray[np.float64], by: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sign(values) * np.maximum(np.abs(values) - by, 0.0)


def _is_near(
    design: NDArray[np.float64],
    answers: NDArray[np.float64],
    strengths: NDArray[np.float64],
    coefficients: NDArray[np.float64],
) -> bool:
    """Say whether every duality gap is closed; the dual point is the residual, scaled down."""
    n_rows = len(design)
    residual = answers - design @ coefficients
    steepest = np.abs(design.T @ residual).max(axis=0) / n_rows
    scale = np.minimum(1.0, strengths / np.maximum(steepest, np.finfo(np.float64).tiny))
    primal = (residual**2).sum(axis=0) / (2 * n_rows) + strengths * np.abs(coefficients).sum(axis=0)
    zero = (answers**2).sum(axis=0) / (2 * n_rows)
    dual = zero - ((answers - scale * residual) ** 2).sum(axis=0) / (2 * n_rows)
    return bool(np.all(primal - dual <= _GAP * zero))
