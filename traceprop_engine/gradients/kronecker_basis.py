"""Eigenvectors of a layer's inputs and deltas: along their products curvature is near diagonal."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.gradients.layers import BLOCK_BYTES, ELEMENTWISE, LayerGradients, slices
from traceprop_engine.gradients.rows import RowGradients

_DENSE_PARAMETERS = 4096


@dataclass(frozen=True, eq=False)
class LayerBasis:
    """Orthonormal directions of one layer.

    Attributes:
        inputs: Eigenvectors of the second moment of the inputs, ``[d_in, d_in]``; ``None`` for a
            layer without factors.
        deltas: Those of the weighted second moment of the deltas, ``[d_out, d_out]``; for a layer
            without factors of its gradients, or ``None`` where it has more than 4096 parameters:
            then the parameters themselves are the directions.
        input_values: Mean square of the inputs along each direction, ``[d_in]``; 1 without factors.
        delta_values: Weighted sum of the squares of the deltas along each direction.
    """

    inputs: NDArray[np.floating] | None
    deltas: NDArray[np.floating] | None
    input_values: NDArray[np.float64]
    delta_values: NDArray[np.float64]

    @classmethod
    def of(cls, layer: LayerGradients, weights: NDArray[np.floating] | None = None) -> "LayerBasis":
        """Find the directions of a layer.

        Args:
            layer: Gradients of the rows.
            weights: Of each row, ``[n]``, such as its curvature; 1 by default.
        """
        factors = layer.factors()
        if factors is None:
            if layer.shape.n_parameters > _DENSE_PARAMETERS:
                return cls(None, None, np.ones(1), squared_entries(layer, weights))
            values, deltas = _eigen(layer.deltas.astype(layer.dtype, copy=False), weights)
            return cls(None, deltas, np.ones(1), values)
        of_positions = None if weights is None else np.repeat(weights, factors[0].shape[1])
        inputs, deltas = (factor.reshape(-1, factor.shape[-1]) for factor in factors)
        input_values, of_inputs = _eigen(inputs, None)
        delta_values, of_deltas = _eigen(deltas, of_positions)
        return cls(of_inputs, of_deltas, input_values / max(len(inputs), 1), delta_values)

    @property
    def products(self) -> NDArray[np.float64]:
        """Curvature along each direction if inputs and deltas were independent, flat: K-FAC's."""
        return np.outer(self.input_values, self.delta_values).ravel()

    def rotated(self, layer: LayerGradients) -> LayerGradients:
        """Return the layer's gradients in these directions."""
        return rotated(layer, self.inputs, self.deltas)


@dataclass(frozen=True, eq=False)
class KroneckerBasis:
    """The directions of all layers: an orthonormal basis of the parameters.

    Attributes:
        layers: Of each layer.
    """

    layers: tuple[LayerBasis, ...]

    @classmethod
    def of(cls, train: RowGradients) -> "KroneckerBasis":
        """Find the directions from the training rows, weighted by their curvatures."""
        return cls(tuple(LayerBasis.of(layer, train.curvatures) for layer in train.layers))

    def rotated(self, gradients: RowGradients) -> RowGradients:
        """Return gradients in these directions; inner products stay as they are."""
        pairs = zip(self.layers, gradients.layers, strict=True)
        layers = tuple(basis.rotated(layer) for basis, layer in pairs)
        return RowGradients(layers, gradients.values, gradients.slopes, gradients.curvatures)


def rotated(
    layer: LayerGradients,
    of_inputs: NDArray[np.floating] | None,
    of_deltas: NDArray[np.floating] | None,
) -> LayerGradients:
    """Return a layer whose factors are written in directions, the columns; ``None`` leaves one."""
    inputs = layer.inputs
    if inputs is not None and of_inputs is not None:
        inputs = inputs @ of_inputs
    deltas = layer.deltas if of_deltas is None else layer.deltas @ of_deltas
    return LayerGradients(layer.name, inputs, deltas)


def squared_entries(
    layer: LayerGradients, weights: NDArray[np.floating] | None = None
) -> NDArray[np.float64]:
    """Return ``Σ_i w_i g_i²`` of each parameter of a layer, flat.

    Of gradients in the directions of a basis, weighted by curvatures: the eigenvalues of EK-FAC.

    Args:
        layer: Gradients of the rows.
        weights: ``w``, ``[n]``; 1 by default.
    """
    total = np.zeros(layer.shape.n_parameters)
    one = np.ones(layer.n_rows, dtype=layer.dtype) if weights is None else weights
    is_product = layer.inputs is not None and layer.shape.n_positions == 1
    width = layer.shape.n_kept if is_product else layer.shape.n_parameters
    for rows in slices(layer.n_rows, BLOCK_BYTES // (2 * layer.dtype.itemsize * max(width, 1))):
        part = layer.take(rows)
        factors = part.factors()
        if is_product and factors is not None:
            weighted = one[rows, None] * np.square(factors[1][:, 0])
            total += (np.square(factors[0][:, 0]).T @ weighted).ravel()
        else:
            total += one[rows] @ np.square(part.dense())
    return total


def entries(layer: LayerGradients, places: NDArray[np.int64]) -> NDArray[np.floating]:
    """Return some entries of every row's gradient, ``[n, k]``.

    Args:
        layer: Gradients of the rows.
        places: Which, by their places among the layer's parameters.
    """
    if layer.inputs is None:
        return layer.deltas[:, places].astype(layer.dtype, copy=False)
    shape, itemsize = layer.shape, layer.dtype.itemsize
    whole = shape.n_positions > 1 and shape.n_parameters < ELEMENTWISE * len(places)
    width = shape.n_kept + (shape.n_parameters if whole else 2 * len(places))
    chosen = np.empty((layer.n_rows, len(places)), dtype=layer.dtype)
    for rows in slices(layer.n_rows, BLOCK_BYTES // (4 * itemsize * max(width, 1))):
        part = layer.take(rows)
        factors = None if whole else part.factors()
        chosen[rows] = part.dense()[:, places] if factors is None else _products(*factors, places)
    return chosen


def weighted_moment(
    rows: NDArray[np.floating], weights: NDArray[np.floating] | None = None
) -> NDArray[np.float64]:
    """Return ``Fᵀ diag(w) F``, ``[k, k]``: products as precise as the rows, sums of float64."""
    moment = np.zeros((rows.shape[1], rows.shape[1]))
    roots = None if weights is None else np.sqrt(weights).astype(rows.dtype, copy=False)
    for block in slices(len(rows), BLOCK_BYTES // (2 * rows.itemsize * max(rows.shape[1], 1))):
        part = rows[block] if roots is None else rows[block] * roots[block, None]
        moment += part.T @ part
    return moment


def _products(
    inputs: NDArray[np.floating], deltas: NDArray[np.floating], places: NDArray[np.int64]
) -> NDArray[np.floating]:
    of_inputs, of_outputs = np.divmod(places, deltas.shape[-1])
    chosen = inputs[:, 0, of_inputs] * deltas[:, 0, of_outputs]
    for position in range(1, inputs.shape[1]):
        chosen += inputs[:, position, of_inputs] * deltas[:, position, of_outputs]
    return chosen


def _eigen(
    rows: NDArray[np.floating], weights: NDArray[np.floating] | None
) -> tuple[NDArray[np.float64], NDArray[np.floating]]:
    """Return the eigenvalues of the weighted sum of ``x xᵀ`` over rows, and the eigenvectors."""
    values, vectors = np.linalg.eigh(weighted_moment(rows, weights))
    return np.maximum(values, 0.0), vectors.astype(rows.dtype, copy=False)
