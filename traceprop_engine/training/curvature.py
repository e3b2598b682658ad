"""A Hessian factored once, to solve with many times."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import get_lapack_funcs, solve_triangular

_EPSILON = float(np.finfo(np.float64).eps)


class NotPositiveDefiniteError(ArithmeticError):
    """The Hessian is singular to working precision, beyond its shift directions.

    A signal inside this package; the solver turns it into an error that names columns.

    Attributes:
        direction: The flattest direction, ``[n_parameters]``, scaled so that every parameter counts
            by its curvature.
    """

    def __init__(self, direction: NDArray[np.float64]) -> None:
        super().__init__("the Hessian is singular to working precision")
        self.direction = direction

    def culprits(self, features: Sequence[str]) -> list[str]:
        """Name the columns that make up the flat direction, in the order of the table."""
        names = [*features, "intercept"]
        by_column = np.abs(self.direction).reshape(-1, len(names)).max(axis=0)
        wanted = by_column > by_column.max() / 100
        return [name for name, taken in zip(names, wanted, strict=True) if taken]


@dataclass(frozen=True, eq=False)
class CurvatureFactor:
    """Cholesky factor of a Hessian, exact on what is orthogonal to its shift directions.

    Along orthonormal directions ``N`` that only shift all classes alike, a softmax Hessian is flat,
    or all but flat when only a small penalty holds it, and no gradient ever points there. So the
    factored matrix is ``H + N S Nᵀ`` with a positive diagonal ``S``. As ``H`` maps the shifts to
    shifts, the inverse of that is, for a vector orthogonal to them, exactly the pseudo-inverse of
    ``H``, and the answer is orthogonal to them again.

    Attributes:
        lower: Lower triangle ``L`` of ``D (H + N S Nᵀ) D = L Lᵀ``.
        scale: Diagonal of ``D``, which gives every parameter unit curvature so that features of
            very different size do no harm.
    """

    lower: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def of(
        cls, hessian: NDArray[np.float64], shift_directions: NDArray[np.float64]
    ) -> "CurvatureFactor":
        """Factor ``hessian``, ``[n_parameters, n_parameters]``.

        Args:
            hessian: Symmetric and positive semi-definite.
            shift_directions: Orthonormal columns that it maps to combinations of themselves.

        Raises:
            NotPositiveDefiniteError: It is flat along some other direction too.
        """
        sizes = np.diag(hessian) @ shift_directions**2
        sizes = np.where(sizes > 0, sizes, 1.0)
        lifted = hessian + (shift_directions * sizes) @ shift_directions.T
        diagonal = np.diag(lifted)
        if not np.all(diagonal > 0):
            raise NotPositiveDefiniteError((diagonal <= 0).astype(np.float64))
        scale = 1.0 / np.sqrt(diagonal)
        scaled = scale[:, None] * lifted * scale
        try:
            lower = np.asarray(np.linalg.cholesky(scaled), dtype=np.float64)
        except np.linalg.LinAlgError as error:
            raise NotPositiveDefiniteError(_flattest(scaled)) from error
        if _reciprocal_condition(scaled, lower) < 4 * len(lower) * _EPSILON:
            raise NotPositiveDefiniteError(_flattest(scaled))
        return cls(lower, scale)

    def whiten(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``W v`` for columns ``v``; ``Wᵀ W`` is the inverse of the factored matrix."""
        scaled = (self.scale * vectors.T).T
        return _solve_lower(self.lower, scaled, transposed=False)

    def solve(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the inverse times ``vectors``, ``[n_parameters]`` or ``[n_parameters, m]``."""
        halfway = self.whiten(vectors)
        back = _solve_lower(self.lower, halfway, transposed=True)
        return (self.scale * back.T).T

    def output_responses(
        self, features: NDArray[np.float64], n_outputs: int, *, fit_intercept: bool
    ) -> NDArray[np.float64]:
        """Return how each row's outputs answer a push on that row's own outputs.

        ``S_i = J_i H⁻¹ J_iᵀ`` with ``J_i`` the Jacobian of row ``i``'s outputs in the parameters;
        ``[n, n_outputs, n_outputs]``.
        """
        n_parameters = len(self.lower)
        width = n_parameters // n_outputs
        whitener = self.whiten(np.eye(n_parameters)).reshape(n_parameters, n_outputs, width)
        intercept = float(fit_intercept)
        sides = [
            features @ whitener[:, k, :-1].T + intercept * whitener[:, k, -1]
            for k in range(n_outputs)
        ]
        responses = np.empty((len(features), n_outputs, n_outputs))
        for one in range(n_outputs):
            for other in range(one + 1):
                product = np.einsum("np,np->n", sides[one], sides[other])
                responses[:, one, other] = responses[:, other, one] = product
        return responses


def _solve_lower(
    lower: NDArray[np.float64], vectors: NDArray[np.float64], *, transposed: bool
) -> NDArray[np.float64]:
    transpose = int(transposed)
    return np.asarray(
        solve_triangular(lower, vectors, trans=transpose, lower=True, check_finite=False),
        dtype=np.float64,
    )


def _flattest(scaled: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.linalg.eigh(scaled)[1][:, 0]


def _reciprocal_condition(scaled: NDArray[np.float64], lower: NDArray[np.float64]) -> float:
    norm = float(np.abs(scaled).sum(axis=0).max())
    (condition_of,) = get_lapack_funcs(("pocon",), (lower,))
    reciprocal, _ = condition_of(lower, norm, uplo="L")
    return float(reciprocal)
