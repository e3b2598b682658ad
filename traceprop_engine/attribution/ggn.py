"""The default for nets: influence by the Gauss-Newton matrix of the margin, over checkpoints."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, Self, get_args

from traceprop_engine.attribution.checkpoints import (
    MEMORY_BYTES,
    CheckpointEstimator,
    FittedCheckpoint,
    Progress,
    checked_memory,
    chosen_checkpoints,
    fit_each,
    train_rows,
)
from traceprop_engine.attribution.curvature_solvers import DualCurvature, PrimalCurvature
from traceprop_engine.attribution.damping import (
    Damping,
    TrainingTime,
    check_damping,
    refuse_zero,
    training_dampings,
)
from traceprop_engine.attribution.kronecker_pca import KroneckerPCA, default_features
from traceprop_engine.attribution.kronecker_refinement import RefinedCurvature
from traceprop_engine.errors import EstimatorSettingError
from traceprop_engine.gradients import RecordedTraining, RowGradients

Solver = Literal["auto", "dual", "primal", "kronecker_pca", "cg"]
"""How the curvature is inverted; see `GGN`."""

DUAL_ROWS = 8192
"""Rows up to which the kernel of all training rows is factored."""

PRIMAL_PARAMETERS = 2048
"""Parameters up to which the curvature of more rows than that is factored."""

_WORDS = {
    "dual": "exact, in the rows",
    "primal": "exact, in the parameters",
    "kronecker_pca": "approximate, {} Kronecker directions and the damping beyond them",
    "cg": "conjugate gradients to a relative residual of {:g}",
}
_TOLERANCE = 1e-4
_MAX_STEPS = 500


@dataclass(frozen=True, eq=False)
class GGN(CheckpointEstimator):
    r"""Influence of training rows through the Gauss-Newton matrix of the rows' own scalar.

    With ``g_i`` the gradient of the margin of row ``i`` (of the output, for squared error),
    ``s_i`` the slope and ``c_i`` the curvature of the row's loss in it, at each checkpoint

        H = Σ_i c_i g_i g_iᵀ + λ I,    score(q, i) = -s_i g_qᵀ H^-1 g_i

    and scores are the mean over the checkpoints of one run. What a score estimates, in the unit of
    the target and to first order: the target as trained, less the target if the row had been left
    out. Cross-entropy has ``s = -(1-p)`` and ``c = p(1-p)``, and for a binary net ``H`` is its
    Gauss-Newton matrix; for more classes it is that of the margin, one gradient a row instead of
    one for each class. For a convex model with its l2 penalty as damping, at its minimum, this is
    the influence function. For a net it is an estimate: weights near the start of a training say
    what the row would have changed early on, and the damping stands for what a training of finite
    length does not follow. By default it is read off the training itself, see
    `attribution.damping.training_dampings`. Ranks are trusted more than sizes.

    The inverse is taken by one of four solvers. For up to 8192 rows that is *dual*, exact, or, for
    few parameters, *primal*, exact, whichever is less work; for more rows *primal* up to 2048
    parameters, above that or where memory does not reach *kronecker_pca*, approximate. *cg*, on
    request, is exact to a stated residual at any size and takes time for each query.

    Attributes:
        solver: How the curvature is inverted.
        dampings: ``λ`` at each checkpoint.
        time: How long the training was as gradient flow, and how much of it that explains: where
            it is little, expect less of the scores of any method that is linear in gradients.

    References:
        Martens, 2020. New insights and perspectives on the natural gradient method. Section 8.
        Koh and Liang, 2017. Understanding black-box predictions via influence functions.
        Park et al., 2023. TRAK: attributing model behavior at scale. Equation 13 without a
        projection and with the curvature that it drops. Pruthi et al., 2020. Estimating training
        data influence by tracing gradient descent. For the sum over checkpoints.
    """

    solver: Solver = "auto"
    dampings: tuple[float, ...] = ()
    time: TrainingTime = field(default_factory=TrainingTime)

    @classmethod
    def fit(
        cls,
        training: RecordedTraining,
        *,
        checkpoints: Sequence[int] | None = None,
        damping: Damping = "auto",
        solver: Solver = "auto",
        progress: Progress | None = None,
        memory_bytes: int = MEMORY_BYTES,
    ) -> Self:
        """Factor the curvature at each checkpoint.

        Args:
            training: A recorded training.
            checkpoints: Which of its checkpoints, by position; all by default.
            damping: ``λ``, on the scale of losses summed over rows; ``"auto"`` reads it off the
                training, ``"trace"`` is ``Σ c_i |g_i|² / n`` at each checkpoint.
            solver: How the curvature is inverted; ``"auto"`` chooses by size and memory.
            progress: Told the number of checkpoints fitted so far, and of all.
            memory_bytes: Bytes that the fitted curvatures may take, and again the answer to one
                block of queries.

        Raises:
            CheckpointChoiceError: There are no such checkpoints.
            DampingError: The curvature is singular with this damping.
            EstimatorSettingError: There is no such solver, or too little memory.
            RowGradientsError: A gradient, slope or curvature is not finite.
        """
        check_damping(damping)
        chosen = chosen_checkpoints(training, checkpoints)
        checked_memory(memory_bytes)
        _check_solver(solver)
        trains = [train_rows(training, checkpoint) for checkpoint in chosen]
        if solver == "auto":
            solver = _cheapest_solver(trains[0], len(chosen), memory_bytes)
        if solver != "primal":
            refuse_zero(damping, "only solver='primal' can do without one")
        n_features = default_features(training, len(chosen), memory_bytes)
        time = TrainingTime.measure(trains, [training.steps[checkpoint] for checkpoint in chosen])
        dampings = training_dampings(trains, time, damping)
        fits = [_solver(solver, added, n_features) for added in dampings]
        fitted, pushes = fit_each(trains, fits, progress)
        words = _WORDS[solver].format(n_features if solver == "kronecker_pca" else _TOLERANCE)
        told = f"{_rule(damping, time)}; {words}; mean over {len(chosen)} checkpoints"
        return cls(
            training=training,
            checkpoints=chosen,
            fitted=fitted,
            pushes=pushes,
            method=f"Gauss-Newton influence, {told}",
            memory_bytes=memory_bytes,
            solver=solver,
            dampings=dampings,
            time=time,
        )


def _check_solver(solver: Solver) -> None:
    if solver not in get_args(Solver):
        raise EstimatorSettingError("solver", f"one of {', '.join(get_args(Solver))}", solver)


def _cheapest_solver(train: RowGradients, n_checkpoints: int, memory_bytes: int) -> Solver:
    """Return the exact solver that takes the least work, if one is in reach."""
    n, p = train.n_rows, train.n_parameters
    kernel_work = n**2 * sum(layer.shape.n_kept for layer in train.layers)
    work: dict[Solver, tuple[int, float]] = {
        "dual": (n, kernel_work + n**3 / 3),
        "primal": (p, n * p**2 + p**3 / 3),
    }
    limits = {"dual": DUAL_ROWS, "primal": DUAL_ROWS if n <= DUAL_ROWS else PRIMAL_PARAMETERS}
    in_reach = [
        solver
        for solver, (side, _) in work.items()
        if side <= limits[solver] and 8 * side**2 * (n_checkpoints + 2) <= memory_bytes
    ]
    return min(in_reach, key=lambda solver: work[solver][1], default="kronecker_pca")


def _solver(
    solver: Solver, damping: float, n_features: int
) -> Callable[[RowGradients], FittedCheckpoint]:
    if solver == "primal":
        return partial(PrimalCurvature.fit, damping=damping)
    if solver == "dual":
        return partial(DualCurvature.fit, damping=damping)
    if solver == "kronecker_pca":
        return partial(KroneckerPCA.fit, damping=damping, n_features=n_features)
    return partial(
        RefinedCurvature.fit, damping=damping, tolerance=_TOLERANCE, max_steps=_MAX_STEPS
    )


def _rule(damping: Damping, time: TrainingTime) -> str:
    if isinstance(damping, int | float):
        return f"damping {damping:g}"
    if damping == "trace" or time.total <= 0:
        return "damping tr(H)/n"
    return f"damping by a training time that explains {time.explained:.0%} of the training"
