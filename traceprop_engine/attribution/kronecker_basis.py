"""Eigenvectors of a layer's inputs and deltas: along their products curvature is near diagonal."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.attribution.leave_one_out import row_blocks
from traceprop_engine.gradients import LayerGradients, RowGradients

_DENSE_PARAMETERS = 4096


@dataclass(frozen=True, eq=False)
class LayerBasis:
    """Orthonormal directions of one layer.

    Attributes:
        inputs: Eigenvectors of the second moment of the inputs, ``[d_in, d_in]``; ``None`` for a
            layer without factors.
        deltas: Those of the curvature-weighted second moment of the deltas, ``[d_out, d_out]``; for
            a layer without factors of its gradients, or ``None`` where it has more than 4096
            parameters: then the parameters themselves are the directions.
        products: Curvature along each direction if inputs and deltas were independent, flat as the
            layer's parameters: the eigenvalues of K-FAC.
    """

    inputs: NDArray[np.floating] | None
    deltas: NDArray[np.floating] | None
    products: NDArray[np.float64]

    @classmethod
    def of(cls, layer: LayerGradients, curvatures: NDArray[np.floating]) -> "LayerBasis":
        """Find the directions of a layer, for the curvatures of its rows, ``[n]``."""
        factors = layer.factors()
        if factors is None:
            return _flat_basis(layer, curvatures)
        n_rows, n_positions = factors[0].shape[:2]
        of_positions = np.repeat(curvatures, n_positions)
        values_in, inputs = _eigen(factors[0].reshape(n_rows * n_positions, -1), None)
        values_out, deltas = _eigen(factors[1].reshape(n_rows * n_positions, -1), of_positions)
        products = np.outer(values_in, values_out).ravel() / (n_rows * n_positions)
        return cls(inputs, deltas, products)

    def rotated(self, layer: LayerGradients) -> LayerGradients:
        """Return the layer's gradients in these directions."""
        inputs = layer.inputs
        if self.inputs is not None and layer.inputs is not None:
            inputs = layer.inputs @ self.inputs
        deltas = layer.deltas if self.deltas is None else layer.deltas @ self.deltas
        return LayerGradients(layer.name, inputs, deltas)


@dataclass(frozen=True, eq=False)
class KroneckerBasis:
    """The directions of all layers: an orthonormal basis of the parameters.

    Attributes:
        layers: Of each layer.
    """

    layers: tuple[LayerBasis, ...]

    @classmethod
    def of(cls, train: RowGradients) -> "KroneckerBasis":
        """Find the directions from the training rows."""
        return cls(tuple(LayerBasis.of(layer, train.curvatures) for layer in train.layers))

    def rotated(self, gradients: RowGradients) -> RowGradients:
        """Return gradients in these directions; inner products stay as they are."""
        pairs = zip(self.layers, gradients.layers, strict=True)
        layers = tuple(basis.rotated(layer) for basis, layer in pairs)
        return RowGradients(layers, gradients.values, gradients.slopes, gradients.curvatures)


def exact_diagonal(layer: LayerGradients, curvatures: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return ``Σ_i c_i g_i²`` of each parameter of a layer, flat: the eigenvalues of EK-FAC.

    Args:
        layer: Gradients in the directions of a basis.
        curvatures: ``c``, ``[n]``.
    """
    factors = layer.factors()
    if factors is not None and layer.shape.n_positions == 1:
        inputs, deltas = factors[0][:, 0], factors[1][:, 0]
        weighted = curvatures[:, None] * np.square(deltas)
        return np.asarray(np.square(inputs).T @ weighted, dtype=np.float64).ravel()
    total = np.zeros(layer.shape.n_parameters)
    for rows in row_blocks(layer.n_rows, layer.shape.n_parameters):
        total += np.asarray(curvatures[rows] @ np.square(layer.take(rows).dense()))
    return total


def _flat_basis(layer: LayerGradients, curvatures: NDArray[np.floating]) -> LayerBasis:
    if layer.shape.n_parameters <= _DENSE_PARAMETERS:
        values, directions = _eigen(layer.deltas, curvatures)
        return LayerBasis(None, directions, values)
    return LayerBasis(None, None, exact_diagonal(layer, curvatures))


def _eigen(
    rows: NDArray[np.floating], weights: NDArray[np.floating] | None
) -> tuple[NDArray[np.float64], NDArray[np.floating]]:
    """Return the eigenvalues of the weighted sum of ``x xᵀ`` over rows, and the eigenvectors."""
    weighted = rows if weights is None else weights[:, None] * rows
    moment = np.asarray(rows.T @ weighted, dtype=np.float64)
    values, vectors = np.linalg.eigh((moment + moment.T) / 2)
    return np.maximum(values, 0.0), vectors.astype(rows.dtype)
