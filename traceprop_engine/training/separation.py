"""Do the features separate the classes, so that no unpenalised optimum exists?"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csr_array, hstack, vstack

from traceprop_engine.training.losses import Family

_RAISED = 1e-4
"""A margin that counts as raised, where features and direction are at most 1 and the linear
programme keeps its constraints to 1e-7."""


def separates(outputs: NDArray[np.float64], targets: NDArray[np.float64], family: Family) -> bool:
    """Say whether these outputs put every row on the right side, strictly.

    If they do, twice the parameters fit better still, so without a penalty there is no optimum.
    """
    if family == "logistic":
        return bool(np.all((2 * targets - 1) * outputs[:, 0] > 0))
    positions = targets.astype(np.intp)[:, None]
    right = np.take_along_axis(outputs, positions, axis=1)
    others = outputs.copy()
    np.put_along_axis(others, positions, -np.inf, axis=1)
    return bool(np.all(right[:, 0] > others.max(axis=1)))


def is_separable(
    features: NDArray[np.float64],
    targets: NDArray[np.float64],
    family: Family,
    *,
    n_outputs: int,
    fit_intercept: bool,
) -> bool:
    """Decide by linear programming whether the classes are separable, in whole or in part.

    They are when some direction of the parameters lowers no row's margin and raises at least one:
    exactly then the unpenalised likelihood has no maximum at finite parameters.

    References:
        Albert and Anderson, 1984. On the existence of maximum likelihood estimates in logistic
        regression models. Konis, 2007, for the linear programme.
    """
    size = np.abs(features).max(axis=0)
    scaled = features / np.where(size > 0, size, 1.0)
    extended = np.hstack([scaled, np.full((len(scaled), 1), float(fit_intercept))])
    if family == "logistic":
        margins = csr_array((2 * targets - 1)[:, None] * extended)
    else:
        margins = _softmax_margins(extended, targets.astype(np.intp), n_outputs)
    answer = linprog(
        c=-np.asarray(margins.sum(axis=0)).ravel(),
        A_ub=-margins,
        b_ub=np.zeros(len(targets) * max(1, n_outputs - 1)),
        bounds=(-1, 1),
        method="highs",
    )
    return bool(answer.success and np.max(margins @ answer.x) > _RAISED)


def _softmax_margins(
    extended: NDArray[np.float64], positions: NDArray[np.intp], n_outputs: int
) -> csr_array:
    """Return rows that give (score of the right class - score of another), for every other."""
    blocks = []
    for offset in range(1, n_outputs):
        other = (positions + offset) % n_outputs
        pieces = [
            csr_array(((positions == k).astype(float) - (other == k))[:, None] * extended)
            for k in range(n_outputs)
        ]
        blocks.append(hstack(pieces, format="csr"))
    return csr_array(vstack(blocks, format="csr"))
