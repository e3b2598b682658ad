"""Whether a metagradient tells what a change of weight does: a probe by finite differences."""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.errors import ProbeError
from traceprop_engine.gradients import OutputTarget
from traceprop_engine.jax_gradients import JaxTraining, final_parameters
from traceprop_engine.jax_gradients.scalars import own_target
from traceprop_engine.metagradients.functionals import Functionals
from traceprop_engine.metagradients.plan import MemoryPlan
from traceprop_engine.metagradients.replay import Replay
from traceprop_engine.metagradients.reverse import plan_of, slopes_in_weights

LIMIT: Final = 0.2
"""Largest relative error of the metagradient of a training that counts as smooth."""

N_ROWS: Final = 6
"""Rows whose weights are changed, where nothing else is said."""

STEP: Final = 0.1
"""Change of a weight, where nothing else is said."""

_N_QUERIES: Final = 4
_MEMORY_BYTES: Final = 2**30


@dataclass(frozen=True, eq=False)
class Smoothness:
    """Metagradients beside central finite differences of whole trainings.

    Attributes:
        rows: The training rows whose weights were changed, ``[n_rows]``.
        differences: ``(target(weight + step) - target(weight - step)) / (2 step)``,
            ``[n_query, n_rows]``.
        metagradients: The derivatives that they should be, ``[n_query, n_rows]``.
        limit: Largest `error` that counts as smooth.
    """

    rows: NDArray[np.int64]
    differences: NDArray[np.float64]
    metagradients: NDArray[np.float64]
    limit: float = LIMIT

    @property
    def error(self) -> float:
        """Norm of what they differ by, as a share of the larger of both norms; 0 to 2.

        Infinite where one of them is not finite: a training with a changed weight diverged.
        """
        if not (np.isfinite(self.differences) & np.isfinite(self.metagradients)).all():
            return math.inf
        larger = max(np.linalg.norm(self.differences), np.linalg.norm(self.metagradients))
        apart = np.linalg.norm(self.differences - self.metagradients)
        return float(apart / larger) if larger > 0 else 0.0

    @property
    def is_smooth(self) -> bool:
        """Whether the error is within the limit."""
        return self.error <= self.limit


def metasmoothness(  # noqa: PLR0913 - what is asked, and how it is probed
    training: JaxTraining,
    features: Any = None,
    labels: Any = None,
    *,
    target: OutputTarget | None = None,
    n_rows: int = N_ROWS,
    step: float = STEP,
    limit: float = LIMIT,
    seed: int = 0,
    memory_bytes: int = _MEMORY_BYTES,
) -> Smoothness:
    """Compare metagradients with finite differences on a few rows and queries.

    Half of the rows are those with the largest metagradients, half are random; each is trained
    without nothing changed but its weight, twice.

    Args:
        training: The recorded training.
        features: Queries, ``[n_query, ...]``; four random training rows where nothing is said.
        labels: Their labels.
        target: Of the queries; the loss's own by default.
        n_rows: Rows whose weights are changed: the cost is ``2 n_rows`` trainings.
        step: Change of a weight, in (0, 1].
        limit: Largest error that counts as smooth.
        seed: Decides the random rows and queries.
        memory_bytes: Bound of the memory of the way back.

    Raises:
        ProbeError: ``n_rows`` or ``step`` is out of its range.
        ReplayError: The training does not arrive where the recorded one did.
        TracepropError: The queries do not fit the training; the message names what.

    References:
        Engstrom et al., 2025. Optimizing ML training with metagradient descent. Section 3 for
        metasmoothness; the error here is a stricter measure than its agreement of signs.
    """
    _check(training, n_rows, step)
    plan = plan_of(training, memory_bytes)
    random = np.random.default_rng(seed)
    if features is None:
        asked = own_rows(training, random)
    else:
        target = own_target(training.loss) if target is None else target
        asked = Functionals.of(training, features, labels, target, None)
    taken = Replay(training, plan.stride).taken()
    return compare(asked, taken, plan, n_rows=n_rows, step=step, limit=limit, random=random)


def own_rows(training: JaxTraining, random: np.random.Generator) -> Functionals:
    """Return a few random training rows as queries."""
    n_queries = min(_N_QUERIES, training.n_train)
    chosen = np.sort(random.choice(training.n_train, n_queries, replace=False))
    features, labels = training.features[chosen], training.labels[chosen]
    return Functionals.of(training, features, labels, own_target(training.loss), None)


def compare(
    asked: Functionals,
    taken: Replay,
    plan: MemoryPlan,
    *,
    n_rows: int = N_ROWS,
    step: float = STEP,
    limit: float = LIMIT,
    random: np.random.Generator,
) -> Smoothness:
    """Return metagradients beside differences, for a replay that has its states."""
    slopes = np.empty((asked.n_functionals, asked.training.n_train))
    for block, gradients in asked.gradients(plan.queries_at_once):
        slopes[block] = slopes_in_weights(taken, gradients)[: block.stop - block.start]
    rows = _chosen_rows(slopes, n_rows, random)
    differences = np.stack([_difference(asked, row, step) for row in rows], axis=1)
    return Smoothness(rows, differences, slopes[:, rows], limit)


def _check(training: JaxTraining, n_rows: int, step: float) -> None:
    if not 1 <= n_rows <= training.n_train:
        raise ProbeError("n_rows", f"from 1 to {training.n_train}", n_rows)
    if not 0 < step <= 1:
        raise ProbeError("step", "above 0 and at most 1", step)


def _chosen_rows(
    slopes: NDArray[np.float64], n_rows: int, random: np.random.Generator
) -> NDArray[np.int64]:
    strongest = np.argsort(-np.linalg.norm(slopes, axis=0), kind="stable")[: (n_rows + 1) // 2]
    others = np.setdiff1d(np.arange(slopes.shape[1]), strongest)
    return np.concatenate([strongest, random.choice(others, n_rows // 2, replace=False)])


def _difference(asked: Functionals, row: int, step: float) -> NDArray[np.float64]:
    values = []
    for sign in (1, -1):
        weights = asked.training.weights.astype(np.float64)
        weights[row] += sign * step
        values.append(asked.values(final_parameters(asked.training, weights)))
    return (values[0] - values[1]) / (2 * step)
