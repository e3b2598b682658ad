"""The model without some of its training rows, found by Newton steps on the rows that remain."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.errors import TrainingRowError
from traceprop_engine.training.newton import Progress
from traceprop_engine.training.run import TrainingRun


@dataclass(frozen=True, eq=False)
class Removal:
    """A training run after rows were taken out.

    Attributes:
        run: The run on the rows that remain; ``run.converged`` says whether it is exact, that is,
            what training from nothing on these rows would reach.
        rows: Positions of the removed rows in the old run, ascending.
        n_steps: Newton steps taken.
    """

    run: TrainingRun
    rows: NDArray[np.int64]
    n_steps: int

    @property
    def gradient_norm(self) -> float:
        """Norm of the gradient on the remaining rows: what is left of the removed rows' pull."""
        return self.run.gradient_norm


def remove_rows(
    run: TrainingRun,
    rows: Sequence[int] | NDArray[np.integer],
    *,
    progress: Progress | None = None,
) -> Removal:
    """Take rows out of a trained model exactly, without training again from nothing.

    Newton steps on the remaining rows start at the old parameters and end where the gradient is at
    its tolerance, ``1e-10 * n_remaining``: the minimum that a new training would find, to rounding.

    Args:
        run: A trained model.
        rows: Positions of training rows; repeats count once.
        progress: Called with a `TrainingStep` before each Newton step and at the end.

    Raises:
        TrainingRowError: A row does not exist, or no model can be trained on what remains.
        SingularCurvatureError: Columns become linearly dependent and nothing penalises them.
        SeparableClassesError: Classes become separable and nothing penalises the parameters.
        TrainingStalledError: Rounding or the step limit ended the descent too early.

    References:
        Guo et al., 2020. Certified data removal from machine learning models. The Newton
        update of their removal mechanism, repeated until the gradient vanishes.
    """
    positions = check_rows(run, rows)
    after = without_rows(run, positions).polish(progress=progress)
    return Removal(after, positions, after.n_iterations)


def without_rows(run: TrainingRun, positions: NDArray[np.int64]) -> TrainingRun:
    """Return the run on the rows that remain, its parameters as they were."""
    keep = np.ones(run.n_train, dtype=bool)
    keep[positions] = False
    return replace(
        run,
        features=run.features[keep],
        labels=run.labels[keep],
        index=run.index[keep],
        n_iterations=0,
        loss_curve=(),
    )


def check_rows(run: TrainingRun, rows: Sequence[int] | NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the positions, ascending and each once, if a model remains without them.

    Raises:
        TrainingRowError: A row does not exist, all rows are named, or all rows of a class.
    """
    given = np.asarray(rows)
    if given.size and not np.issubdtype(given.dtype, np.integer):
        raise TrainingRowError(f"they must be integer positions, not {given.dtype}")
    positions = np.unique(given).astype(np.int64)
    outside = positions[(positions < 0) | (positions >= run.n_train)]
    if len(outside):
        raise TrainingRowError(
            f"row {outside[0]} does not exist, it has rows 0 to {run.n_train - 1}"
        )
    if len(positions) == run.n_train:
        raise TrainingRowError("they are all of its rows, so no model remains")
    if run.classes:
        _require_every_class(run, positions)
    return positions


def _require_every_class(run: TrainingRun, positions: NDArray[np.int64]) -> None:
    """Refuse to empty a class: its free intercept would then run to minus infinity."""
    codes = run.targets.astype(np.intp)
    remaining = np.bincount(codes, minlength=len(run.classes))
    remaining -= np.bincount(codes[positions], minlength=len(run.classes))
    empty = np.flatnonzero(remaining == 0)
    if len(empty):
        raise TrainingRowError(
            f"they are all rows of class {run.classes[empty[0]]!r}, so no model of "
            f"{len(run.classes)} classes remains"
        )
