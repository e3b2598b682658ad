"""Influence through projected gradients: TRAK, with the damping and curvature it can have."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.attribution.checkpoints import (
    MEMORY_BYTES,
    BlockEffects,
    CheckpointEstimator,
    Progress,
    checked_memory,
    chosen_checkpoints,
    fit_each,
    train_rows,
)
from traceprop_engine.attribution.curvature_solvers import damped_factor, solved
from traceprop_engine.attribution.damping import (
    Damping,
    check_damping,
    mean_diagonal,
    refuse_zero,
)
from traceprop_engine.errors import EstimatorSettingError
from traceprop_engine.gradients import RecordedTraining, RowGradients
from traceprop_engine.gradients.kronecker_basis import weighted_moment
from traceprop_engine.gradients.projection import Projection, ProjectionKind, random_projection

N_FEATURES = 2048
"""Numbers that a row's gradient is projected to by default."""

_SEEDS = 1 << 64


@dataclass(frozen=True, eq=False)
class TRAK(CheckpointEstimator):
    r"""Influence of projected gradients, as if the net were linear in them.

    With ``f_i`` the projection of the gradient of row ``i``'s margin to ``k`` numbers and ``F`` all
    of them, at each checkpoint

        score(q, i) = -s_i f_qᵀ (Fᵀ C F + λ I)^-1 f_i

    where ``s_i`` is the slope of the row's loss, ``-(1 - p)`` for cross-entropy. ``C`` is the
    identity as published, or the curvatures ``p (1 - p)`` of `GGN`, of which it is then the
    projected form. Scores are averaged over checkpoints as products (the paper averages the two
    factors apart). With curvature a score estimates what that of `GGN` does; without, its size is
    too small, by about the typical curvature, and only its order means something.

    Published without damping; here λ is the mean of ``c_i |f_i|²`` by default, for without one the
    answer is noise once ``k`` comes near the number of rows, and is refused from there on.

    Attributes:
        n_features: ``k``.
        seed: Of the projection; each checkpoint adds its position, so that they err apart.

    References:
        Park et al., 2023. TRAK: attributing model behavior at scale. Equation 13.
    """

    n_features: int = N_FEATURES
    seed: int = 0

    @classmethod
    def fit(  # noqa: PLR0913 - each is a choice that published variants differ in
        cls,
        training: RecordedTraining,
        *,
        checkpoints: Sequence[int] | None = None,
        damping: Damping = "auto",
        n_features: int = N_FEATURES,
        projection: ProjectionKind = "count_sketch",
        curvature: bool = False,
        seed: int = 0,
        progress: Progress | None = None,
        memory_bytes: int = MEMORY_BYTES,
    ) -> "TRAK":
        """Project the gradients and factor their second moment at each checkpoint.

        Args:
            training: A recorded training.
            checkpoints: Which of its checkpoints, by position; all by default.
            damping: ``λ``, on the scale of sums over rows.
            n_features: ``k``; a net with no more parameters is not projected.
            projection: Kind of the projection.
            curvature: Weigh rows by the curvature of their loss.
            seed: Of the projection.
            progress: Told the number of checkpoints fitted so far, and of all.
            memory_bytes: Bytes that the answer to one block of queries may take.

        Raises:
            CheckpointChoiceError: There are no such checkpoints.
            DampingError: It is 0 although there are as many features as rows, or too small.
            EstimatorSettingError: There is too little memory.
            ProjectionError: There is no such projection, or no such number of features.
            RowGradientsError: A gradient, slope or curvature is not finite.
        """
        check_damping(damping)
        _check_features(training, n_features, damping, memory_bytes)
        chosen = chosen_checkpoints(training, checkpoints)
        fit = partial(
            ProjectedCurvature.fit,
            damping=damping,
            n_features=n_features,
            kind=projection,
            curvature=curvature,
        )
        fits = [partial(fit, seed=(seed + checkpoint) % _SEEDS) for checkpoint in chosen]
        trains = (train_rows(training, checkpoint) for checkpoint in chosen)
        fitted, pushes = fit_each(trains, fits, progress)
        kept = fitted[0].floats_per_question  # a factored projection may have fewer
        rule = f"{damping:g}" if isinstance(damping, int | float) else "tr/n"
        weighed = "with" if curvature else "without"
        return cls(
            training=training,
            checkpoints=chosen,
            fitted=fitted,
            pushes=pushes,
            method=f"TRAK, {kept} features ({projection}, seed {seed}) {weighed} curvature, "
            f"damping {rule}; mean over {len(chosen)} checkpoints",
            memory_bytes=memory_bytes,
            n_features=kept,
            seed=seed,
        )


@dataclass(frozen=True, eq=False)
class ProjectedCurvature:
    """``(Fᵀ C F + λ I)^-1`` of projected gradients at one checkpoint.

    Attributes:
        projection: From gradients to features.
        features: ``F``, ``[n_train, k]``.
        factor: Lower Cholesky factor, ``[k, k]``.
    """

    projection: Projection
    features: NDArray[np.floating]
    factor: NDArray[np.floating]

    @classmethod
    def fit(
        cls,
        train: RowGradients,
        *,
        damping: Damping,
        n_features: int,
        kind: ProjectionKind,
        curvature: bool,
        seed: int,
    ) -> "ProjectedCurvature":
        """Project the training rows and factor their second moment.

        Raises:
            DampingError: The damping is too small to invert it.
        """
        projection = random_projection(kind, train.layout, n_features, seed=seed)
        features = projection.project(train)
        weights = train.curvatures if curvature else np.ones(train.n_rows)
        squares = np.square(features, dtype=np.float64) @ np.ones(features.shape[1])
        added = (
            float(damping) if isinstance(damping, int | float) else mean_diagonal(weights, squares)
        )
        moment = weighted_moment(features, weights)
        return cls(projection, features, damped_factor(moment, added))

    @property
    def floats_per_question(self) -> int:
        """Numbers kept for each question: its features."""
        return len(self.factor)

    def ask(self, queries: RowGradients, weights: NDArray[np.float64] | None) -> BlockEffects:
        """Return what scores any block of training rows."""
        features = self.projection.project(queries)
        if weights is not None:
            features = weights @ features
        answer = solved(self.factor, features.T)
        directions = answer.astype(self.features.dtype, copy=False)
        return lambda rows: (self.features[rows] @ directions).T


def _check_features(
    training: RecordedTraining, n_features: int, damping: Damping, memory_bytes: int
) -> None:
    kept = min(n_features, training.n_parameters)
    if checked_memory(memory_bytes) < 8 * kept**2:
        wanted = f"at least {8 * kept**2} for {kept} features"
        raise EstimatorSettingError("memory_bytes", wanted, memory_bytes)
    if kept >= training.n_train:
        refuse_zero(damping, f"{kept} features of {training.n_train} rows can fit anything")
