"""Conjugate gradients on the exact curvature, in the basis where it is near diagonal."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.attribution.checkpoints import BlockEffects
from traceprop_engine.attribution.curvature_solvers import question_vectors
from traceprop_engine.errors import EstimatorSettingError
from traceprop_engine.gradients import RowGradients
from traceprop_engine.gradients.kronecker_basis import KroneckerBasis, squared_entries


@dataclass(frozen=True, eq=False)
class RefinedCurvature:
    """``(Gᵀ C G + λ)^-1`` by conjugate gradients, preconditioned by its diagonal in a basis.

    Attributes:
        basis: Products of eigenvectors of each layer's inputs and deltas.
        train: Gradients of the training rows in the basis.
        diagonal: ``Σ c_i g_i²`` in the basis, ``[n_parameters]``: the curvature of EK-FAC.
        damping: ``λ``: a number, or one for each parameter.
        tolerance: Norm of the residual, as a share of the right side's, at which to stop.
        max_steps: Steps after which to stop.
        must_converge: Whether stopping above the tolerance is an error.

    References:
        Martens, 2010. Deep learning via Hessian-free optimization. For products with the
        Gauss-Newton matrix in place of the matrix.
    """

    basis: KroneckerBasis
    train: RowGradients
    diagonal: NDArray[np.float64]
    damping: float | NDArray[np.float64]
    tolerance: float
    max_steps: int
    must_converge: bool = True

    @classmethod
    def fit(
        cls, train: RowGradients, damping: float, *, tolerance: float, max_steps: int
    ) -> "RefinedCurvature":
        """Find the basis and the curvature along it."""
        basis = KroneckerBasis.of(train)
        rotated = basis.rotated(train)
        layers = [squared_entries(layer, train.curvatures) for layer in rotated.layers]
        return cls(basis, rotated, np.concatenate(layers), damping, tolerance, max_steps)

    @property
    def floats_per_question(self) -> int:
        """Numbers kept for each question: four vectors of parameters."""
        return 4 * self.train.n_parameters

    def ask(self, queries: RowGradients, weights: NDArray[np.float64] | None) -> BlockEffects:
        """Return what scores any block of training rows.

        Raises:
            EstimatorSettingError: The tolerance was not reached, where it must be.
        """
        vectors = question_vectors(self.basis.rotated(queries), weights)
        directions = self.solve(np.asarray(vectors, dtype=np.float64))
        return lambda rows: self.train.take(rows).dot(directions).T

    def solve(self, right: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the inverse times each column of ``right``, ``[n_parameters, k]``.

        Raises:
            EstimatorSettingError: The tolerance was not reached, where it must be.
        """
        damping = np.broadcast_to(self.damping, self.diagonal.shape)[:, None]
        scale = 1 / (self.diagonal[:, None] + damping)
        solution = scale * right
        residual = right - self._product(solution, damping)
        direction, energy = np.zeros_like(right), np.ones(right.shape[1])
        norms = np.linalg.norm(right, axis=0)
        for _ in range(self.max_steps):
            if np.all(np.linalg.norm(residual, axis=0) <= self.tolerance * norms):
                return solution
            preconditioned = scale * residual
            previous, energy = energy, np.sum(residual * preconditioned, axis=0)
            direction = preconditioned + _ratio(energy, previous) * direction
            product = self._product(direction, damping)
            step = _ratio(energy, np.sum(direction * product, axis=0))
            solution = solution + step * direction
            residual = residual - step * product
        self._check_residual(np.linalg.norm(residual, axis=0), norms)
        return solution

    def _product(
        self, vectors: NDArray[np.float64], damping: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        along = self.train.dot(vectors) * self.train.curvatures[:, None]
        return self.train.weighted_sum(along) + damping * vectors

    def _check_residual(self, reached: NDArray[np.float64], norms: NDArray[np.float64]) -> None:
        worst = float(np.max(_ratio(reached, norms)))
        if self.must_converge and worst > self.tolerance:
            wanted = f"larger: {self.max_steps} steps reached a residual of {worst:.2g}"
            raise EstimatorSettingError("damping", wanted, self.damping)


def _ratio(over: NDArray[np.float64], under: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the quotient, 0 where both are 0 because a column is solved already."""
    return np.divide(over, under, out=np.zeros_like(over), where=under > 0)
