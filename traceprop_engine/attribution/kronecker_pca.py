"""Curvature on the strongest Kronecker directions, and the damping alone beyond them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.attribution.checkpoints import BlockEffects
from traceprop_engine.attribution.curvature_solvers import (
    damped_factor,
    question_products,
    solved,
)
from traceprop_engine.gradients import RecordedTraining, RowGradients
from traceprop_engine.gradients.kronecker_basis import (
    KroneckerBasis,
    entries,
    squared_entries,
    weighted_moment,
)

_FEATURES = 2048


@dataclass(frozen=True, eq=False)
class KroneckerPCA:
    r"""The damped curvature along ``k`` directions, and the damping alone along all others.

    In the products of eigenvectors of each layer's inputs and deltas the curvature is near
    diagonal, so the ``k`` products with the largest ``Σ c_i g_i²`` hold most of it. With ``f`` the
    gradients along them and ``H_k = Σ c_i f_i f_iᵀ + λ I``

        g_qᵀ H^-1 g_i  ≈  f_qᵀ H_k^-1 f_i + (g_q·g_i - f_q·f_i) / λ

    which is exact for ``k`` = all parameters. What is left out is the curvature of the other
    directions, and between them and these.

    Attributes:
        basis: The directions.
        chosen: The strongest, by their places among the parameters, ascending, ``[k]``.
        train: Gradients of the training rows in the basis.
        features: ``f`` of each training row, ``[n_train, k]``.
        factor: Lower Cholesky factor of ``H_k``, ``[k, k]``.
        damping: ``λ``.

    References:
        George et al., 2018. Fast approximate natural gradient descent in a Kronecker-factored
        eigenbasis. For the directions and their curvatures. Choe et al., 2024. What is your data
        worth to GPT? For projecting on the strongest of them; they drop the others.
    """

    basis: KroneckerBasis
    chosen: NDArray[np.int64]
    train: RowGradients
    features: NDArray[np.floating]
    factor: NDArray[np.floating]
    damping: float

    @classmethod
    def fit(cls, train: RowGradients, damping: float, n_features: int) -> "KroneckerPCA":
        """Find the strongest directions and factor the curvature on them.

        Args:
            train: Gradients of the training rows.
            damping: ``λ``.
            n_features: ``k``; all parameters if there are fewer.
        """
        basis = KroneckerBasis.of(train)
        rotated = basis.rotated(train)
        strengths = [squared_entries(layer, train.curvatures) for layer in rotated.layers]
        chosen = _strongest(np.concatenate(strengths), n_features)
        features = chosen_gradients(rotated, chosen)
        hessian = weighted_moment(features, train.curvatures)
        return cls(basis, chosen, rotated, features, damped_factor(hessian, damping), damping)

    @property
    def floats_per_question(self) -> int:
        """Numbers kept for each question: its features and its factors."""
        return len(self.chosen) + sum(sum(layer.shape.shape) for layer in self.train.layers)

    def ask(self, queries: RowGradients, weights: NDArray[np.float64] | None) -> BlockEffects:
        """Return what scores any block of training rows."""
        rotated = self.basis.rotated(queries)
        features = chosen_gradients(rotated, self.chosen)
        if weights is not None:
            features = weights @ features
        answer = solved(self.factor, features.T).T
        within = np.asarray(answer - features / self.damping, dtype=self.features.dtype)

        def block(rows: slice) -> NDArray[np.floating]:
            beyond = question_products(rotated, weights, self.train.take(rows))
            return within @ self.features[rows].T + beyond / self.damping

        return block


def default_features(training: RecordedTraining, n_checkpoints: int, memory_bytes: int) -> int:
    """Return how many directions to keep: 2048, or as many as fit the memory."""
    fitting = memory_bytes // (8 * training.n_train * (n_checkpoints + 1))
    return max(1, min(_FEATURES, training.n_parameters, fitting))


def chosen_gradients(gradients: RowGradients, chosen: NDArray[np.int64]) -> NDArray[np.floating]:
    """Return some entries of every row's gradient, ``[n, k]``, without the others.

    Args:
        gradients: The rows.
        chosen: Places among the parameters, ascending.
    """
    parts: list[NDArray[np.floating]] = []
    start = 0
    for layer in gradients.layers:
        stop = start + layer.shape.n_parameters
        first, last = np.searchsorted(chosen, [start, stop])
        parts.append(entries(layer, chosen[first:last] - start))
        start = stop
    return np.concatenate(parts, axis=1, dtype=gradients.dtype)


def _strongest(strengths: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    if k >= len(strengths):
        return np.arange(len(strengths))
    return np.sort(np.argpartition(-strengths, k - 1)[:k])
