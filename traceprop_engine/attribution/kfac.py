"""Influence through Kronecker-factored curvature: cheap for wide layers and many rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.attribution.checkpoints import (
    MEMORY_BYTES,
    BlockEffects,
    CheckpointEstimator,
    FittedCheckpoint,
    Progress,
    checked_memory,
    fit_checkpoints,
)
from traceprop_engine.attribution.curvature_solvers import question_vectors
from traceprop_engine.attribution.damping import Damping, check_damping, refuse_zero
from traceprop_engine.attribution.kronecker_refinement import RefinedCurvature
from traceprop_engine.errors import DampingError, EstimatorSettingError
from traceprop_engine.gradients import RecordedTraining, RowGradients
from traceprop_engine.gradients.kronecker_basis import KroneckerBasis, squared_entries

RELATIVE_DAMPING = 0.1
"""Automatic damping of a layer, as a share of the mean eigenvalue of its curvature."""

_CLOSE_ENOUGH = 1e-10
_RULES = {"auto": "0.1 of the mean eigenvalue", "trace": "tr(H)/n"}


@dataclass(frozen=True, eq=False)
class KFAC(CheckpointEstimator):
    r"""Influence through Kronecker factors of each layer's curvature.

    Of a layer with inputs ``a_i`` and deltas ``d_i``, for the weights ``c_i`` of `GGN`,

        H ≈ (Σ a_i a_iᵀ) ⊗ (Σ c_i d_i d_iᵀ) / n + λ I

    and layers are taken as independent. Sums run over positions too, and the second is then
    divided by their number. What a score estimates is that of `GGN`, as `H` is its approximation:
    the target less the target without the row, in the target's unit, averaged over checkpoints.
    The curvature is that of each row's margin: the exact expectation over labels for binary
    cross-entropy and squared error, but for more classes not that over all of them.

    Layers without factors have their whole curvature up to 4096 parameters, above it the diagonal.

    Attributes:
        refinements: Steps of conjugate gradients on the exact `H` of `GGN`, with the damping of
            this estimator, that follow.

    References:
        Martens and Grosse, 2015. Optimizing neural networks with Kronecker-factored approximate
        curvature. Section 3. Grosse and Martens, 2016. For positions of convolutions, as if
        independent.
    """

    refinements: int = 0
    exact_eigenvalues: ClassVar[bool] = False
    title: ClassVar[str] = "K-FAC"

    @classmethod
    def fit(
        cls,
        training: RecordedTraining,
        *,
        checkpoints: Sequence[int] | None = None,
        damping: Damping = "auto",
        refinements: int = 0,
        progress: Progress | None = None,
        memory_bytes: int = MEMORY_BYTES,
    ) -> Self:
        """Find the directions and curvatures of each layer at each checkpoint.

        Args:
            training: A recorded training.
            checkpoints: Which of its checkpoints, by position; all by default.
            damping: ``λ``, on the scale of losses summed over rows; ``"auto"`` is a tenth of the
                mean eigenvalue of each layer.
            refinements: Steps of conjugate gradients after it; they cost two products with all
                gradients a step and query.
            progress: Told the number of checkpoints fitted so far, and of all.
            memory_bytes: Bytes that the answer to one block of queries may take.

        Raises:
            CheckpointChoiceError: There are no such checkpoints.
            DampingError: The damping is 0, negative or no number, or the curvature is 0.
            EstimatorSettingError: `refinements` is negative, or there is too little memory.
            RowGradientsError: A gradient, slope or curvature is not finite.
        """
        check_damping(damping)
        refuse_zero(damping, "directions without curvature would be divided by 0")
        checked_memory(memory_bytes)
        if refinements < 0:
            raise EstimatorSettingError("refinements", "0 or more", refinements)
        fit = partial(
            _fitted, damping=damping, exact=cls.exact_eigenvalues, refinements=refinements
        )
        chosen, fitted, pushes = fit_checkpoints(training, checkpoints, fit, progress)
        rule = f"{damping:g}" if isinstance(damping, int | float) else _RULES[damping]
        refined = f"; {refinements} steps of conjugate gradients" if refinements else ""
        return cls(
            training=training,
            checkpoints=chosen,
            fitted=fitted,
            pushes=pushes,
            method=f"{cls.title} influence, damping {rule}{refined}; "
            f"mean over {len(chosen)} checkpoints",
            memory_bytes=memory_bytes,
            refinements=refinements,
        )


@dataclass(frozen=True, eq=False)
class EKFAC(KFAC):
    """`KFAC` with the exact curvature along each product of eigenvectors.

    The eigenvectors of K-FAC stay, and each of its eigenvalues is replaced by what the gradients
    have along its direction, ``Σ c_i (u_inᵀ a_i)² (u_outᵀ d_i)²``: the best diagonal in that basis.
    See `KFAC` for what a score is and for the rest.

    References:
        George et al., 2018. Fast approximate natural gradient descent in a Kronecker-factored
        eigenbasis. Equation 11. Grosse et al., 2023. Studying large language model generalization
        with influence functions. Section 3.1, with the damping.
    """

    exact_eigenvalues: ClassVar[bool] = True
    title: ClassVar[str] = "EK-FAC"


@dataclass(frozen=True, eq=False)
class KroneckerCurvature:
    """A curvature that is diagonal in the basis of one checkpoint.

    Attributes:
        basis: Products of eigenvectors of each layer's inputs and deltas.
        train: Gradients of the training rows in the basis.
        diagonal: Curvature along each direction with its damping, ``[n_parameters]``.
    """

    basis: KroneckerBasis
    train: RowGradients
    diagonal: NDArray[np.float64]

    @property
    def floats_per_question(self) -> int:
        """Numbers kept for each question: one for each parameter."""
        return self.train.n_parameters

    def ask(self, queries: RowGradients, weights: NDArray[np.float64] | None) -> BlockEffects:
        """Return what scores any block of training rows."""
        vectors = question_vectors(self.basis.rotated(queries), weights)
        directions = vectors / self.diagonal[:, None]
        return lambda rows: self.train.take(rows).dot(directions).T


def _fitted(
    train: RowGradients, *, damping: Damping, exact: bool, refinements: int
) -> FittedCheckpoint:
    basis = KroneckerBasis.of(train)
    rotated = basis.rotated(train)
    layers = [layer.products for layer in basis.layers]
    if exact:
        layers = [squared_entries(layer, train.curvatures) for layer in rotated.layers]
    diagonal, added = np.concatenate(layers), _layer_dampings(layers, damping, train.n_rows)
    if not refinements:
        return KroneckerCurvature(basis, rotated, diagonal + added)
    return RefinedCurvature(
        basis,
        rotated,
        diagonal,
        added,
        tolerance=_CLOSE_ENOUGH,
        max_steps=refinements,
        must_converge=False,
    )


def _layer_dampings(
    layers: Sequence[NDArray[np.float64]], damping: Damping, n_rows: int
) -> NDArray[np.float64]:
    """Return what is added along each direction, ``[n_parameters]``."""
    sizes = [len(layer) for layer in layers]
    if isinstance(damping, int | float):
        return np.full(sum(sizes), float(damping))
    if damping == "trace":
        means = np.full(len(layers), sum(layer.sum() for layer in layers) / n_rows)
    else:
        means = RELATIVE_DAMPING * np.array([layer.mean() for layer in layers])
    if not means.any():
        reason = "the curvature is 0 at a checkpoint"
        raise DampingError(damping, reason, "leave out that checkpoint or pass a number above 0")
    shares = np.where(means > 0, means, means.mean())  # a layer that no row has a gradient in
    return np.repeat(shares, sizes)
