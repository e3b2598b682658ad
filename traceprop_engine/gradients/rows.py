"""The gradient of each row's scalar in the parameters, layer by layer, factored where possible."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.errors import GradientShapeError
from traceprop_engine.gradients.layers import LayerGradients, LayerShape, RowChoice

__all__ = ["LayerGradients", "RowGradients"]


@dataclass(frozen=True, eq=False)
class RowGradients:
    """Gradients of one scalar of each row at one checkpoint, and how the loss depends on it.

    For training rows the scalar is what the loss of the row is a function of: the margin of the
    true class (log-odds of it against all others) for cross-entropy, the output for squared error.
    Then ``slopes[i] * gradient_i`` is the gradient of the row's loss, and ``curvatures[i]`` weighs
    ``gradient_i gradient_iᵀ`` in the generalised Gauss-Newton matrix of the scalar. For queries
    the scalar is the target that is asked about, and `slopes` and `curvatures` are empty.

    The parameters of all layers stand one after another, each layer's ``[d_in, d_out]`` flattened
    row by row: ``G``, the gradients of all rows, is ``[n, n_parameters]``, and never in memory
    unless `dense` is called.

    Attributes:
        layers: One for each layer with parameters.
        values: The scalar of each row, ``[n]``.
        slopes: Derivative of each row's loss in its scalar; cross-entropy: ``-(1 - p)`` with ``p``
            the probability of the true class; squared error (half): ``output - label``.
        curvatures: Second derivative: ``p (1 - p)``, or 1.

    Raises:
        GradientShapeError: There is no layer, or a part is of another number of rows.
    """

    layers: tuple[LayerGradients, ...]
    values: NDArray[np.floating]
    slopes: NDArray[np.floating]
    curvatures: NDArray[np.floating]

    def __post_init__(self) -> None:
        if not self.layers:
            raise GradientShapeError("layers", "at least one", "none")
        n_rows = self.layers[0].n_rows
        sizes = {f"deltas of layer {layer.name!r}": len(layer.deltas) for layer in self.layers}
        sizes["values"] = len(self.values)
        for what, part in (("slopes", self.slopes), ("curvatures", self.curvatures)):
            sizes |= {what: len(part)} if len(part) else {}
        for what, size in sizes.items():
            if size != n_rows:
                raise GradientShapeError(what, f"of {n_rows} rows as the first layer", str(size))

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.layers[0].n_rows

    @property
    def n_parameters(self) -> int:
        """Number of the parameters of all layers."""
        return sum(layer.shape.n_parameters for layer in self.layers)

    @property
    def layout(self) -> tuple[LayerShape, ...]:
        """The size of each layer, in order."""
        return tuple(layer.shape for layer in self.layers)

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """Precision of products: that of the layers, at least float32."""
        return np.result_type(*(layer.dtype for layer in self.layers))

    def take(self, rows: RowChoice) -> "RowGradients":
        """Return the gradients of some rows, which may repeat; a slice copies nothing."""
        layers = tuple(layer.take(rows) for layer in self.layers)
        slopes = self.slopes[rows] if len(self.slopes) else self.slopes
        curvatures = self.curvatures[rows] if len(self.curvatures) else self.curvatures
        return RowGradients(layers, self.values[rows], slopes, curvatures)

    @classmethod
    def concatenated(cls, parts: Sequence["RowGradients"]) -> "RowGradients":
        """Return the rows of all parts, one after another.

        Raises:
            GradientShapeError: There is no part, or they are not of the same layers.
        """
        if not parts:
            raise GradientShapeError("parts", "at least one", "none")
        for part in parts[1:]:
            _require_same_arrays(part, parts[0])
        layers = tuple(_stacked(layers) for layers in zip(*(p.layers for p in parts), strict=True))
        return cls(
            layers,
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.slopes for part in parts]),
            np.concatenate([part.curvatures for part in parts]),
        )

    def dense(self) -> NDArray[np.floating]:
        """Return ``G``, ``[n, n_parameters]``: only for what fits memory."""
        return np.concatenate([layer.dense() for layer in self.layers], axis=1, dtype=self.dtype)

    def dot(self, vectors: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return ``G v``, from the factors.

        Args:
            vectors: ``[n_parameters]`` or, several at once, ``[n_parameters, k]``.

        Returns:
            ``[n]`` or ``[n, k]``.

        Raises:
            GradientShapeError: The vectors are of another number of parameters.
        """
        columns = _columns("vectors", vectors, self.n_parameters)
        products = np.zeros((self.n_rows, columns.shape[1]))
        for layer, place in self._places():
            products += layer.dot(columns[place])
        return products.reshape(self.n_rows, *vectors.shape[1:])

    def weighted_sum(self, weights: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return ``Gᵀ w``, from the factors.

        Args:
            weights: ``[n]`` or, several at once, ``[n, k]``.

        Returns:
            ``[n_parameters]`` or ``[n_parameters, k]``.

        Raises:
            GradientShapeError: The weights are of another number of rows.
        """
        columns = _columns("weights", weights, self.n_rows)
        sums = np.concatenate([layer.weighted_sum(columns) for layer in self.layers])
        return sums.reshape(self.n_parameters, *weights.shape[1:])

    def squared_norms(self) -> NDArray[np.float64]:
        """Return the squared length of each row's gradient, ``[n]``."""
        return np.sum([layer.squared_norms() for layer in self.layers], axis=0)

    def _places(self) -> Iterator[tuple[LayerGradients, slice]]:
        start = 0
        for layer in self.layers:
            stop = start + layer.shape.n_parameters
            yield layer, slice(start, stop)
            start = stop


def require_same_layers(gradients: RowGradients, others: RowGradients) -> None:
    """Refuse gradients of another model; the number of positions may differ.

    Raises:
        GradientShapeError: They are not of the same layers.
    """
    if len(gradients.layers) != len(others.layers):
        wanted = f"of {len(others.layers)} layers as the others"
        raise GradientShapeError("gradients", wanted, str(len(gradients.layers)))
    for one, other in zip(gradients.layout, others.layout, strict=True):
        if (one.name, one.shape) != (other.name, other.shape):
            wanted = f"called {other.name!r} of shape {other.shape} as the others"
            raise GradientShapeError("a layer", wanted, f"{one.name!r} of shape {one.shape}")


def _require_same_arrays(gradients: RowGradients, others: RowGradients) -> None:
    require_same_layers(gradients, others)
    for layer, other in zip(gradients.layers, others.layers, strict=True):
        if layer.deltas.shape[1:] != other.deltas.shape[1:]:
            what = f"deltas of layer {layer.name!r} in every part"
            raise GradientShapeError(
                what, f"of shape [n, *{other.deltas.shape[1:]}]", str(layer.deltas.shape)
            )


def _stacked(layers: Sequence[LayerGradients]) -> LayerGradients:
    inputs = [layer.inputs for layer in layers if layer.inputs is not None]
    deltas = np.concatenate([layer.deltas for layer in layers])
    return LayerGradients(layers[0].name, np.concatenate(inputs) if inputs else None, deltas)


def _columns(what: str, array: NDArray[np.floating], n: int) -> NDArray[np.floating]:
    if array.ndim not in {1, 2} or len(array) != n:
        raise GradientShapeError(what, f"[{n}] or [{n}, k]", f"shape {array.shape}")
    return array if array.ndim > 1 else array[:, None]
