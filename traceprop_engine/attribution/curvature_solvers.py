"""The exact inverse of one checkpoint's damped Gauss-Newton matrix: by rows or parameters."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from traceprop_engine.attribution.checkpoints import BlockEffects
from traceprop_engine.attribution.leave_one_out import row_blocks
from traceprop_engine.errors import DampingError
from traceprop_engine.gradients import RowGradients, kernel
from traceprop_engine.gradients.kronecker_basis import weighted_moment

_NEGLIGIBLE = 1e-20  # of the largest curvature: far below rounding, yet its root can be divided by
_SINGLE = 1e-3  # of the mean diagonal: above it, float32 factors lose nothing that counts


@dataclass(frozen=True, eq=False)
class DualCurvature:
    r"""``(Gᵀ C G + λ I)^-1`` seen through the kernel ``K = G Gᵀ`` of all training rows.

    By the push-through identity, with ``C`` the diagonal of curvatures,

        g_qᵀ (Gᵀ C G + λ I)^-1 Gᵀ  =  k_qᵀ C^½ (C^½ K C^½ + λ I)^-1 C^-½

    so that nothing of the size of the parameters is formed. Exact up to rounding.

    Attributes:
        train: Gradients of the training rows.
        roots: Roots of their curvatures, ``[n_train]``; a curvature of 0 is taken as negligible.
        factor: Lower Cholesky factor of ``C^½ K C^½ + λ I``, ``[n_train, n_train]``.
        damping: ``λ``.
    """

    train: RowGradients
    roots: NDArray[np.floating]
    factor: NDArray[np.floating]
    damping: float

    @classmethod
    def fit(cls, train: RowGradients, damping: float) -> "DualCurvature":
        """Factor the kernel of the training rows.

        Raises:
            DampingError: The damping is too small to invert the kernel.
        """
        gram = kernel(train)
        largest = float(np.max(train.curvatures)) or damping
        curvatures = np.maximum(train.curvatures, _NEGLIGIBLE * largest)
        mean = float(np.mean(curvatures * np.diagonal(gram)))
        dtype = gram.dtype if damping > _SINGLE * mean else np.float64
        roots = np.sqrt(curvatures, dtype=dtype)
        gram = gram.astype(dtype, copy=False)
        gram *= roots[:, None]
        gram *= roots
        return cls(train, roots, damped_factor(gram, damping), damping)

    @property
    def floats_per_question(self) -> int:
        """Numbers kept for each question: one for each training row."""
        return len(self.roots)

    def ask(self, queries: RowGradients, weights: NDArray[np.float64] | None) -> BlockEffects:
        """Return what scores any block of training rows."""
        cross = question_products(queries, weights, self.train)
        right = np.asarray(cross * self.roots, dtype=self.roots.dtype)
        effects = solved(self.factor, right.T).T / self.roots
        return lambda rows: effects[:, rows]


@dataclass(frozen=True, eq=False)
class PrimalCurvature:
    """``(Gᵀ C G + λ I)^-1`` as it is written, for models with few parameters. Exact.

    Attributes:
        train: Gradients of the training rows.
        factor: Lower Cholesky factor, ``[n_parameters, n_parameters]`` of float64.
        damping: ``λ``.
    """

    train: RowGradients
    factor: NDArray[np.floating]
    damping: float

    @classmethod
    def fit(cls, train: RowGradients, damping: float) -> "PrimalCurvature":
        """Sum and factor the curvature.

        Raises:
            DampingError: The curvature with the damping is singular.
        """
        hessian = np.zeros((train.n_parameters, train.n_parameters))
        for rows in row_blocks(train.n_rows, train.n_parameters):
            part = train.take(rows)
            hessian += weighted_moment(part.dense(), part.curvatures)
        return cls(train, damped_factor(hessian, damping), damping)

    @property
    def floats_per_question(self) -> int:
        """Numbers kept for each question: one for each parameter."""
        return self.train.n_parameters

    def ask(self, queries: RowGradients, weights: NDArray[np.float64] | None) -> BlockEffects:
        """Return what scores any block of training rows."""
        vectors = question_vectors(queries, weights)
        directions = solved(self.factor, vectors)
        return lambda rows: self.train.take(rows).dot(directions).T


def question_vectors(
    queries: RowGradients, weights: NDArray[np.float64] | None
) -> NDArray[np.floating]:
    """Return the gradient of each question in the parameters, ``[n_parameters, n_question]``."""
    return queries.dense().T if weights is None else queries.weighted_sum(weights.T)


def question_products(
    queries: RowGradients, weights: NDArray[np.float64] | None, train: RowGradients
) -> NDArray[np.floating]:
    """Return the products of each question's gradient with training gradients, ``[n_question, n]``.

    Weighted queries are added up in blocks: there is no number for every pair in memory.
    """
    if weights is None:
        return kernel(queries, train)
    products = np.zeros((len(weights), train.n_rows))
    for rows in row_blocks(queries.n_rows, train.n_rows):
        products += weights[:, rows] @ kernel(queries.take(rows), train)
    return products


def damped_factor(matrix: NDArray[np.floating], damping: float) -> NDArray[np.floating]:
    """Return the lower Cholesky factor of ``matrix + damping I``, in the place of the matrix.

    Args:
        matrix: Symmetric, positive semi-definite; it is overwritten.
        damping: From 0.

    Raises:
        DampingError: The sum is singular to working precision.
    """
    largest = float(np.max(np.diagonal(matrix), initial=0.0))
    matrix[np.diag_indices(len(matrix))] += damping
    way_out = "leave it at 'auto' or pass a larger number"
    try:
        factor = np.asarray(cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)[0])
    except LinAlgError as error:
        raise DampingError(damping, "the curvature is singular with it", way_out) from error
    pivot = float(np.min(np.diagonal(factor))) ** 2
    rounding = np.finfo(matrix.dtype).eps * largest * (1 if damping else len(matrix))
    if pivot <= rounding:
        raise DampingError(damping, "the curvature is singular to rounding with it", way_out)
    return factor


def solved(factor: NDArray[np.floating], right: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the solution of equations whose lower Cholesky factor is given."""
    return np.asarray(cho_solve((factor, True), right, check_finite=False))
