"""How much is added to a curvature before it is inverted."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.errors import DampingError
from traceprop_engine.gradients import RowGradients

Damping = float | Literal["auto", "trace"]
"""A number to add to the diagonal of the curvature summed over rows, or a rule.

*auto*: the rule of the estimator. *trace*: the mean diagonal of the weighted kernel, ``tr(H) / n``.
"""


def check_damping(damping: Damping) -> None:
    """Refuse what is neither ``"auto"`` nor a number that can be added.

    Raises:
        DampingError: It is negative, not finite or no number.
    """
    if damping in ("auto", "trace"):
        return
    number = isinstance(damping, int | float) and not isinstance(damping, bool)
    if not number or not 0 <= damping < float("inf"):
        reason = "it is neither 'auto', 'trace' nor a finite number from 0"
        raise DampingError(damping, reason, "leave it at 'auto'")


def refuse_zero(damping: Damping, reason: str) -> None:
    """Refuse a damping of 0 where the curvature is singular without one.

    Raises:
        DampingError: It is 0.
    """
    if damping == 0:
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


@dataclass(frozen=True)
class TrainingTime:
    """How long a training was, in time of gradient flow, as its rows' own scalars tell.

    Attributes:
        total: ``τ``, on the scale of learning rate times steps of the mean loss; 0 where unknown.
        explained: Share of the squared movement of the scalars between checkpoints that gradient
            flow along the recorded gradients explains, less what moved against it; from 0 to 1.
    """

    total: float = 0.0
    explained: float = 0.0

    @classmethod
    def measure(cls, trains: Sequence[RowGradients], steps: Sequence[int]) -> "TrainingTime":
        """Compare how the scalars of the training rows moved with how gradient flow moves them.

        Gradient flow on the mean loss moves the scalars at ``v = -G Gᵀ s / n`` per unit of time.
        Between two checkpoints the movement ``m`` is fitted by ``τ v``, with the mean ``v`` of
        both: ``τ = m·v / v·v``. The time before the first checkpoint is taken by its steps.

        Args:
            trains: Gradients of the training rows at each checkpoint.
            steps: Optimiser steps at each, ascending.
        """
        if len(trains) < 2:  # noqa: PLR2004 - movement is between two
            return cls()
        speeds = [train.dot(train.weighted_sum(-train.slopes)) / train.n_rows for train in trains]
        total = moved = explained = 0.0
        for first, second in pairwise(range(len(trains))):
            movement = np.subtract(trains[second].values, trains[first].values, dtype=np.float64)
            speed = (speeds[first] + speeds[second]) / 2
            along, square = float(movement @ speed), float(speed @ speed)
            moved += float(movement @ movement)
            if square > 0:
                total += max(along, 0.0) / square
                explained += along * abs(along) / square
        whole = steps[-1] / (steps[-1] - steps[0])
        return cls(total * whole, float(np.clip(explained / moved, 0.0, 1.0)) if moved else 0.0)


def training_dampings(
    trains: Sequence[RowGradients], time: TrainingTime, damping: Damping
) -> tuple[float, ...]:
    """Return what is added to the curvature at each checkpoint.

    A linear model that gradient flow trains for a time ``τ`` follows its loss as far as a damping
    of ``n / τ`` on losses summed over rows lets it. That is the automatic damping where gradient
    flow explains the training. Where it explains nothing, because steps were too large or the
    gradients turned, it is the mean diagonal ``d`` of the weighted kernel; between them it is the
    geometric mean ``d^(1-w) max(d, n / τ)^w`` with ``w`` the share explained.

    Neither ``d`` nor the mean between follows from theory: both were chosen by how well the scores
    of some nets did in `benchmarks/results/attribution_nets.md`. How they do on data that they were
    not chosen on is in `benchmarks/results/demo_nets.md`.

    Raises:
        DampingError: A rule would give 0.
    """
    if damping not in ("auto", "trace"):
        return (float(damping),) * len(trains)
    diagonals = [mean_diagonal(train.curvatures, train.squared_norms()) for train in trains]
    if damping == "trace" or time.total <= 0:
        return tuple(diagonals)
    slow, share = trains[0].n_rows / time.total, time.explained
    return tuple(mean ** (1 - share) * max(mean, slow) ** share for mean in diagonals)
