"""Projections of each layer's two factors, which never form a dense gradient."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod, sqrt

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.errors import ProjectionError
from traceprop_engine.gradients.layers import BLOCK_BYTES, LayerGradients, LayerShape, slices
from traceprop_engine.gradients.random_entries import signs
from traceprop_engine.gradients.rows import RowGradients


@dataclass(frozen=True)
class FactoredProjection:
    """A random matrix for the inputs and one for the deltas of each layer.

    A row's features in a layer are ``(P inputs) ⊗ (Q deltas)``, so that the factors are projected
    and no dense gradient is formed: far less work than any one matrix for all parameters, at some
    loss, for the features are products. Inner products are kept in expectation, since ``P`` and
    ``Q`` are independent matrices of scaled signs. A factor that is small enough is kept whole. The
    matrices are the same on every machine.

    Attributes:
        layout: The layers.
        sizes: For each layer the features of its inputs and of its deltas (of a flat layer, 1 and
            those of its gradient).
        seed: Chooses the signs, from 0 to ``2^64 - 1``.

    References:
        Choe et al., 2024. What is your data worth to GPT? LLM-scale data valuation with influence
        functions. Equation 4 (LoGra).
    """

    layout: tuple[LayerShape, ...]
    sizes: tuple[tuple[int, int], ...]
    seed: int

    @classmethod
    def of(cls, layout: Sequence[LayerShape], n_features: int, seed: int) -> "FactoredProjection":
        """Share at most `n_features` among the layers; small layers leave theirs to larger ones."""
        shares = _shares([layer.n_parameters for layer in layout], n_features)
        sizes = tuple(_sizes(layer, share) for layer, share in zip(layout, shares, strict=True))
        return cls(tuple(layout), sizes, seed)

    @property
    def n_features(self) -> int:
        """Numbers that represent a row."""
        return sum(inputs * outputs for inputs, outputs in self.sizes)

    def describe(self) -> dict[str, object]:
        """Return what makes this projection again."""
        return {
            "kind": "factored",
            "layers": describe_layout(self.layout),
            "sizes": [list(sizes) for sizes in self.sizes],
            "seed": self.seed,
        }

    def arrays(self) -> dict[str, NDArray[np.floating]]:
        """Return nothing: the description says it all."""
        return {}

    def project(self, gradients: RowGradients) -> NDArray[np.floating]:
        """Return the features of every row, ``[n, n_features]``.

        Raises:
            ProjectionError: The gradients are of other layers.
        """
        require_layout(self.layout, gradients)
        features = np.empty((gradients.n_rows, self.n_features), dtype=gradients.dtype)
        start = 0
        for position, layer in enumerate(gradients.layers):
            n_inputs, n_outputs = self.sizes[position]
            place = slice(start, start + n_inputs * n_outputs)
            matrices = [self._signs(position, side) for side in (0, 1)]
            sizes = zip(self.sizes[position], matrices, strict=True)
            scale = 1 / sqrt(prod(size for size, matrix in sizes if matrix is not None))
            for rows in _row_blocks(layer, n_inputs * n_outputs):
                features[rows, place] = _projected(layer.take(rows), *matrices) * scale
            start = place.stop
        return features

    def _signs(self, position: int, side: int) -> NDArray[np.float32] | None:
        """Return the signs for the inputs (side 0) or deltas (1); ``None`` if it is kept whole."""
        width, size = _two(self.layout[position].shape)[side], self.sizes[position][side]
        if size == width:
            return None
        return signs(self.seed, 1 + 2 * position + side, slice(0, width), size)


def describe_layout(layout: Sequence[LayerShape]) -> list[dict[str, object]]:
    """Return the layers' names and shapes in words of JSON; positions do not matter."""
    return [{"name": layer.name, "shape": list(layer.shape)} for layer in layout]


def require_layout(layout: Sequence[LayerShape], gradients: RowGradients) -> None:
    """Refuse gradients of other layers than a projection was made for.

    Raises:
        ProjectionError: A layer has another name or shape.
    """
    wanted, found = describe_layout(layout), describe_layout(gradients.layout)
    if wanted != found:
        different = [pair for pair in zip(wanted, found, strict=False) if pair[0] != pair[1]]
        first = different[0] if different else (len(wanted), len(found))
        raise ProjectionError(
            f"the projection is of layers {first[0]}, they have {first[1]}",
            "make one for the layout of these gradients",
        )


def _shares(sizes: Sequence[int], total: int) -> list[int]:
    """Share a number of features evenly; what a layer has no parameters for goes to the others."""
    shares = [0] * len(sizes)
    left = total
    for rank, position in enumerate(sorted(range(len(sizes)), key=lambda at: sizes[at])):
        shares[position] = min(sizes[position], max(1, left // (len(sizes) - rank)))
        left -= shares[position]
    return shares


def _sizes(layer: LayerShape, share: int) -> tuple[int, int]:
    if share >= layer.n_parameters:
        return _two(layer.shape)
    if len(layer.shape) == 1:
        return 1, share
    inputs, outputs = layer.shape
    n_outputs = min(outputs, max(1, int(share**0.5)))
    n_inputs = min(inputs, share // n_outputs)
    return n_inputs, min(outputs, share // n_inputs)


def _two(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the widths of the inputs and deltas; a flat gradient has one constant input."""
    return (1, shape[0]) if len(shape) == 1 else (shape[0], shape[1])


def _row_blocks(layer: LayerGradients, n_features: int) -> Iterator[slice]:
    per_row = layer.dtype.itemsize * (layer.shape.n_kept + n_features)
    yield from slices(layer.n_rows, BLOCK_BYTES // (4 * per_row))


def _projected(
    layer: LayerGradients,
    of_inputs: NDArray[np.float32] | None,
    of_deltas: NDArray[np.float32] | None,
) -> NDArray[np.floating]:
    factors = layer.factors()
    if factors is None:
        dense = layer.dense()
        return dense if of_deltas is None else dense @ of_deltas
    inputs = factors[0] if of_inputs is None else factors[0] @ of_inputs
    deltas = factors[1] if of_deltas is None else factors[1] @ of_deltas
    return LayerGradients(layer.name, inputs, deltas).dense()
