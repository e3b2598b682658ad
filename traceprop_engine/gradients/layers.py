"""The gradient of each row in the parameters of one layer, factored where possible."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.errors import GradientShapeError

BLOCK_BYTES = 1 << 26
"""Bytes of temporary arrays at most, except where a single row of a layer needs more."""

SUM_TERMS = 1024
"""Products that are summed as float32 before they are added up as float64."""

ELEMENTWISE = 20
"""Multiply-adds of a matrix product in the time of one that stands alone, about."""

RowChoice = slice | NDArray[np.integer]
"""Rows by their positions, or a run of them."""


@dataclass(frozen=True)
class LayerShape:
    """The size of one layer's gradient.

    Attributes:
        name: Name of the layer in its model.
        shape: ``(d_in, d_out)`` of a product of factors, ``(n_parameters,)`` of a flat gradient.
        n_positions: Positions that the product is summed over.
    """

    name: str
    shape: tuple[int, ...]
    n_positions: int = 1

    @property
    def n_parameters(self) -> int:
        """Number of the layer's parameters."""
        return int(np.prod(self.shape))

    @property
    def n_kept(self) -> int:
        """Numbers kept for each row: those of its two factors, or of its flat gradient."""
        return self.n_positions * sum(self.shape)


@dataclass(frozen=True, eq=False)
class LayerGradients:
    """What each row contributes to the gradient of one layer's parameters.

    The gradient of row ``i`` is ``inputs[i] ⊗ deltas[i]``: shape ``[d_in, d_out]``, and summed
    over the positions ``t`` of a convolution or a sequence. Where no such product exists, `inputs`
    is ``None`` and ``deltas[i]`` is the gradient itself, flat.

    Products, sums and norms come from the factors, without the gradient of every row in memory.
    Factors of float32 are multiplied as float32; what is summed over many terms is float64.

    Attributes:
        name: Name of the layer in its model.
        inputs: ``[n, d_in]`` or ``[n, t, d_in]``, a constant 1 last where the layer has a bias.
        deltas: Derivative of the row's scalar in the layer's outputs, ``[n, d_out]`` or
            ``[n, t, d_out]``; or ``[n, n_parameters]`` where `inputs` is ``None``.

    Raises:
        GradientShapeError: The two do not fit each other, or are not floating-point numbers.
    """

    name: str
    inputs: NDArray[np.floating] | None
    deltas: NDArray[np.floating]

    def __post_init__(self) -> None:
        what = f"deltas of layer {self.name!r}"
        _check_array(what, self.deltas, (2,) if self.inputs is None else (2, 3))
        if self.inputs is not None:
            _check_array(f"inputs of layer {self.name!r}", self.inputs, (2, 3))
            if self.inputs.shape[:-1] != self.deltas.shape[:-1]:
                wanted = f"of the rows and positions of its inputs, {self.inputs.shape[:-1]}"
                raise GradientShapeError(what, wanted, str(self.deltas.shape[:-1]))

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.deltas)

    @property
    def shape(self) -> LayerShape:
        """The size of a row's gradient."""
        n_outputs = self.deltas.shape[-1]
        if self.inputs is None:
            return LayerShape(self.name, (n_outputs,))
        n_positions = self.deltas.shape[1] if self.deltas.ndim > 2 else 1  # noqa: PLR2004 - n, t, d
        return LayerShape(self.name, (self.inputs.shape[-1], n_outputs), n_positions)

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """Precision of products: that of the factors, at least float32."""
        arrays = [self.deltas] if self.inputs is None else [self.inputs, self.deltas]
        return np.result_type(np.float32, *arrays)

    def take(self, rows: RowChoice) -> "LayerGradients":
        """Return the layer for some rows; a slice copies nothing."""
        inputs = None if self.inputs is None else self.inputs[rows]
        return LayerGradients(self.name, inputs, self.deltas[rows])

    def factors(self) -> tuple[NDArray[np.floating], NDArray[np.floating]] | None:
        """Return ``inputs [n, t, d_in]`` and ``deltas [n, t, d_out]``; ``None`` if flat."""
        if self.inputs is None:
            return None
        n_positions = self.shape.n_positions
        inputs = self.inputs.reshape(self.n_rows, n_positions, self.inputs.shape[-1])
        deltas = self.deltas.reshape(self.n_rows, n_positions, self.deltas.shape[-1])
        return inputs.astype(self.dtype, copy=False), deltas.astype(self.dtype, copy=False)

    def runs(self, n_parameters: int | None = None) -> Iterator[tuple[slice, slice]]:
        """Yield runs of at most `n_parameters`, or the outputs of one input, in ascending order.

        By default a block of a run takes a quarter of `BLOCK_BYTES`.

        Yields:
            The run as `block` reads it, and its place among the layer's parameters.
        """
        if n_parameters is None:
            n_parameters = BLOCK_BYTES // (4 * self.dtype.itemsize * max(self.n_rows, 1))
        shape = self.shape.shape
        width = 1 if self.inputs is None else shape[1]
        for part in slices(shape[0], n_parameters // max(width, 1)):
            yield part, slice(part.start * width, part.stop * width)

    def block(self, part: slice) -> NDArray[np.floating]:
        """Return the dense gradients of a run, a row for each parameter, ``[n_in_run, n_rows]``."""
        factors = self.factors()
        if factors is None:
            return self.deltas[:, part].T.astype(self.dtype, copy=False)
        inputs, deltas = factors[0][:, :, part], factors[1]
        size = inputs.shape[-1] * deltas.shape[-1]
        if self.shape.n_positions == 1:
            of_inputs, of_outputs = (np.ascontiguousarray(f[:, 0].T) for f in (inputs, deltas))
            return (of_inputs[:, None] * of_outputs).reshape(size, self.n_rows)
        return np.matmul(inputs.transpose(0, 2, 1), deltas).reshape(self.n_rows, size).T

    def dense(self) -> NDArray[np.floating]:
        """Return the gradient of every row, ``[n, n_parameters]``: only for what fits memory."""
        factors = self.factors()
        if factors is None:
            return self.deltas.astype(self.dtype)
        shape = self.n_rows, self.shape.n_parameters
        if self.shape.n_positions == 1:
            return (factors[0][:, 0, :, None] * factors[1]).reshape(shape)
        return np.matmul(factors[0].transpose(0, 2, 1), factors[1]).reshape(shape)

    def dot(self, vectors: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the gradients times each column of ``[n_parameters, k]``, ``[n, k]``."""
        vectors = vectors.astype(self.dtype, copy=False)
        products = np.zeros((self.n_rows, vectors.shape[1]))
        for rows in self._row_blocks():
            layer = self.take(rows)
            factors = layer.factors()
            if factors is None or self._is_denser(vectors.shape[1]):
                for part, place in layer.runs():
                    products[rows] += layer.block(part).T @ vectors[place]
                continue
            for column, vector in enumerate(np.ascontiguousarray(vectors.T)):
                outputs = factors[0] @ vector.reshape(self.shape.shape)
                products[rows, column] = (outputs * factors[1]).sum(axis=(1, 2), dtype=np.float64)
        return products

    def weighted_sum(self, weights: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the rows' gradients summed with each column of ``[n, k]``, ``[n_parameters, k]``.

        The rows are summed in blocks, and the blocks as float64.
        """
        weights = weights.astype(self.dtype, copy=False)
        sums = np.zeros((self.shape.n_parameters, weights.shape[1]))
        for rows in self._row_blocks(n_rows=SUM_TERMS // self.shape.n_positions):
            layer = self.take(rows)
            factors = layer.factors()
            if factors is None or self._is_denser(weights.shape[1]):
                for part, place in layer.runs():
                    sums[place] += layer.block(part) @ weights[rows]
                continue
            inputs, deltas = (factor.reshape(-1, factor.shape[-1]) for factor in factors)
            for column, weight in enumerate(weights[rows].T):
                of_positions = np.repeat(weight, self.shape.n_positions)[:, None]
                sums[:, column] += (inputs.T @ (of_positions * deltas)).ravel()
        return sums

    def squared_norms(self) -> NDArray[np.float64]:
        """Return the squared length of each row's gradient, ``[n]``."""
        norms = np.zeros(self.n_rows)
        is_summed = self._is_smaller_summed()
        for rows in self._row_blocks(n_more=0 if is_summed else self.shape.n_positions**2):
            layer = self.take(rows)
            factors = layer.factors()
            if factors is None or is_summed:
                for part, _ in layer.runs():
                    norms[rows] += np.square(layer.block(part)).sum(axis=0, dtype=np.float64)
                continue
            grams = [factor @ factor.transpose(0, 2, 1) for factor in factors]
            norms[rows] = (grams[0] * grams[1]).sum(axis=(1, 2), dtype=np.float64)
        return norms

    def _row_blocks(self, n_more: int = 0, n_rows: int = 1 << 20) -> Iterator[slice]:
        """Yield rows whose factors, and `n_more` numbers for each, take half of `BLOCK_BYTES`."""
        per_row = self.dtype.itemsize * (self.shape.n_kept + n_more)
        yield from slices(self.n_rows, min(BLOCK_BYTES // (2 * max(per_row, 1)), n_rows))

    def _is_denser(self, n_columns: int) -> bool:
        """Whether to sum the positions once for several columns, not for each of them."""
        n_positions = self.shape.n_positions
        return n_positions * n_columns > n_positions + n_columns

    def _is_smaller_summed(self) -> bool:
        """Whether summed gradients are smaller than the products of all pairs of positions."""
        shape, n_positions = self.shape.shape, self.shape.n_positions
        pairs = n_positions * (sum(shape) + ELEMENTWISE)
        return n_positions > 1 and self.shape.n_parameters < pairs


def slices(n: int, step: int) -> Iterator[slice]:
    """Yield runs of `step` positions, at least one, that cover ``n``."""
    step = max(step, 1)
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


def _check_array(what: str, array: NDArray[np.floating], dimensions: tuple[int, ...]) -> None:
    if array.ndim not in dimensions:
        wanted = "[n, t, d] or [n, d]" if len(dimensions) > 1 else "[n, n_parameters]"
        raise GradientShapeError(what, wanted, f"shape {array.shape}")
    if not np.issubdtype(array.dtype, np.floating):
        raise GradientShapeError(what, "floating-point numbers", str(array.dtype))
