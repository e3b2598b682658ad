"""The kernel of two sets of gradients, ``G Hᵀ``, from their factors."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.gradients.layers import BLOCK_BYTES, ELEMENTWISE, LayerGradients, slices
from traceprop_engine.gradients.rows import RowGradients, require_same_layers

_TILE_ROWS = 2048  # three tiles of float32 at once stay below BLOCK_BYTES


def kernel(gradients: RowGradients, others: RowGradients | None = None) -> NDArray[np.floating]:
    """Return the inner product of every pair of gradients, ``G Hᵀ``, ``[n, m]``.

    A layer whose gradient is a product adds ``(A Bᵀ) ∘ (D Eᵀ)`` of inputs ``A, B`` and deltas
    ``D, E``; one with positions adds the same summed over pairs of positions, or the product of
    its dense gradients, whichever is less work; a flat one ``G Hᵀ`` as it is. Beside the result
    the memory is bounded, whatever the number of rows and parameters.

    Args:
        gradients: ``G``.
        others: ``H``; by default ``G``: then half of the symmetric kernel is computed.

    Returns:
        The kernel in the precision of the factors, at least float32.

    Raises:
        GradientShapeError: The two are not of the same layers.

    References:
        Goodfellow, 2015. Efficient per-example gradient computations. For products of layers.
        Li et al., 2022. Large language models can be strong differentially private learners.
        Equation 3, norms by pairs of positions.
    """
    if others is None:
        return _symmetric(gradients)
    blocks = kernel_blocks(gradients, others, _TILE_ROWS)
    return _filled((gradients.n_rows, others.n_rows), _dtype(gradients, others), blocks)


def kernel_blocks(
    gradients: RowGradients, others: RowGradients, n_rows: int
) -> Iterator[tuple[slice, NDArray[np.floating]]]:
    """Yield the kernel of some rows with all others, for a kernel that is larger than memory.

    Args:
        gradients: ``G``.
        others: ``H``.
        n_rows: Rows of ``G`` at a time.

    Yields:
        The rows and their kernel, ``[n_in_block, m]``.

    Raises:
        GradientShapeError: The two are not of the same layers.
    """
    require_same_layers(gradients, others)
    for rows in slices(gradients.n_rows, n_rows):
        part = gradients.take(rows)
        block = np.empty((part.n_rows, others.n_rows), dtype=_dtype(gradients, others))
        for columns in slices(others.n_rows, _TILE_ROWS):
            block[:, columns] = _tile(part, others.take(columns))
        yield rows, block


def _symmetric(gradients: RowGradients) -> NDArray[np.floating]:
    whole = np.empty((gradients.n_rows, gradients.n_rows), dtype=gradients.dtype)
    for rows in slices(gradients.n_rows, _TILE_ROWS):
        part = gradients.take(rows)
        triangle = np.tril(_tile(part, part))
        whole[rows, rows] = triangle + np.tril(triangle, -1).T
        for columns in slices(rows.start, _TILE_ROWS):
            whole[rows, columns] = _tile(part, gradients.take(columns))
            whole[columns, rows] = whole[rows, columns].T
    return whole


def _tile(gradients: RowGradients, others: RowGradients) -> NDArray[np.floating]:
    """Return the kernel of few enough rows; of a set with itself, only the lower triangle counts.

    Of the product of a matrix with itself NumPy computes one triangle.
    """
    tile = np.zeros((gradients.n_rows, others.n_rows), dtype=_dtype(gradients, others))
    for layer, other in zip(gradients.layers, others.layers, strict=True):
        if _dense_is_cheaper(layer, other):
            _add_dense(tile, layer, other)
        else:
            _add_pairs(tile, layer, other)
    return tile


def _dense_is_cheaper(layer: LayerGradients, other: LayerGradients) -> bool:
    """Whether dense gradients and one matrix product are less work than pairs of positions."""
    shape = layer.shape
    if len(shape.shape) == 1:
        return True
    n, m = layer.n_rows, other.n_rows
    n_positions, m_positions = shape.n_positions, other.shape.n_positions
    pairs = n * m * n_positions * m_positions * (sum(shape.shape) + ELEMENTWISE)
    sums = (n * n_positions + m * m_positions) * ELEMENTWISE
    return (sums + n * m) * shape.n_parameters < pairs


def _add_dense(tile: NDArray[np.floating], layer: LayerGradients, other: LayerGradients) -> None:
    wider = max(layer, other, key=lambda side: side.n_rows)
    for part, _ in wider.runs():
        left = layer.block(part)
        right = left if layer is other else other.block(part)
        tile += left.T @ right


def _add_pairs(tile: NDArray[np.floating], layer: LayerGradients, other: LayerGradients) -> None:
    n_positions, m_positions = layer.shape.n_positions, other.shape.n_positions
    if n_positions == m_positions == 1:
        tile += _pairs(layer, other)
        return
    step = int((BLOCK_BYTES / (4 * tile.itemsize * n_positions * m_positions)) ** 0.5)
    for rows in slices(layer.n_rows, step):
        for columns in slices(rows.stop if layer is other else other.n_rows, step):
            products = _pairs(layer.take(rows), other.take(columns))
            shape = -1, n_positions, columns.stop - columns.start, m_positions
            tile[rows, columns] += products.reshape(shape).sum(axis=(1, 3))


def _pairs(layer: LayerGradients, other: LayerGradients) -> NDArray[np.floating]:
    """Return the products of all pairs of positions, ``[n * t, m * s]``."""
    inputs, deltas = _flat_factors(layer)
    other_inputs, other_deltas = (inputs, deltas) if layer is other else _flat_factors(other)
    products = inputs @ other_inputs.T
    products *= deltas @ other_deltas.T
    return products


def _flat_factors(layer: LayerGradients) -> list[NDArray[np.floating]]:
    factors = layer.factors() or ()
    return [factor.reshape(-1, factor.shape[-1]) for factor in factors]


def _filled(
    shape: tuple[int, int],
    dtype: np.dtype[np.floating],
    blocks: Iterator[tuple[slice, NDArray[np.floating]]],
) -> NDArray[np.floating]:
    whole = np.empty(shape, dtype=dtype)
    for rows, block in blocks:
        whole[rows] = block
    return whole


def _dtype(gradients: RowGradients, others: RowGradients) -> np.dtype[np.floating]:
    return np.result_type(gradients.dtype, others.dtype)
