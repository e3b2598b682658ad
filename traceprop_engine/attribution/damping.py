"""How much is added to a curvature before it is inverted."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.errors import DampingError
from traceprop_engine.gradients import RowGradients

Damping = float | Literal["auto"]
"""A number to add to the diagonal of the curvature summed over rows, or a rule of the estimator."""


def check_damping(damping: Damping) -> None:
    """Refuse what is neither ``"auto"`` nor a number that can be added.

    Raises:
        DampingError: It is negative, not finite or no number.
    """
    if damping == "auto":
        return
    number = isinstance(damping, int | float) and not isinstance(damping, bool)
    if not number or not 0 <= damping < float("inf"):
        reason = "it is neither 'auto' nor a finite number from 0"
        raise DampingError(damping, reason, "leave it at 'auto'")


def refuse_zero(damping: Damping, reason: str) -> None:
    """Refuse a damping of 0 where the curvature is singular without one.

    Raises:
        DampingError: It is 0.
    """
    if damping != "auto" and damping == 0:
        raise DampingError(damping, reason, "leave it at 'auto' or pass a number above 0")


def mean_diagonal(weights: NDArray[np.floating], squared_norms: NDArray[np.floating]) -> float:
    """Return ``sum_i w_i |g_i|² / n``: the mean diagonal of the weighted kernel of all rows.

    Raises:
        DampingError: It is 0, so no damping can be read off.
    """
    mean = float(np.mean(np.asarray(weights, dtype=np.float64) * squared_norms))
    if mean == 0:
        reason = "every row has a curvature or gradient of 0 at a checkpoint"
        raise DampingError("auto", reason, "leave out that checkpoint or pass a number above 0")
    return mean


def resolved_damping(damping: Damping, train: RowGradients) -> float:
    """Return the number to add: by default the mean diagonal of the weighted kernel.

    Raises:
        DampingError: The default would be 0.
    """
    if damping == "auto":
        return mean_diagonal(train.curvatures, train.squared_norms())
    return float(damping)
