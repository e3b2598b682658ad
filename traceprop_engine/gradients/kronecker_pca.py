"""A projection that the data choose: the strongest products of principal directions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.errors import ProjectionError
from traceprop_engine.gradients.factored_projection import describe_layout, require_layout
from traceprop_engine.gradients.kronecker_basis import (
    LayerBasis,
    entries,
    rotated,
    squared_entries,
)
from traceprop_engine.gradients.layers import BLOCK_BYTES, LayerGradients, LayerShape, slices
from traceprop_engine.gradients.rows import RowGradients

MAX_WIDTH = 8192
"""Widest factor whose principal directions are found.

The time grows with the third power of the width, and memory with its square: at this width some
minutes and 1.5 GB.
"""


@dataclass(frozen=True, eq=False)
class LayerDirections:
    """The directions of one layer that a row's gradient is written in.

    Attributes:
        of_inputs: Orthonormal columns, ``[d_in, r]``; ``None`` of a flat layer.
        of_deltas: Orthonormal columns, ``[d_out, s]``, or ``[n_parameters, s]`` of a flat layer;
            ``None`` of a flat layer with more than 4096 parameters, which are its directions.
        pairs: For each feature its column of `of_inputs` and of `of_deltas`, ``[n_features, 2]``.
    """

    of_inputs: NDArray[np.floating] | None
    of_deltas: NDArray[np.floating] | None
    pairs: NDArray[np.int64]

    def entries(self, layer: LayerGradients) -> NDArray[np.floating]:
        """Return the features of every row, ``[n, n_features]``."""
        written = rotated(layer, self.of_inputs, self.of_deltas)
        of_inputs, of_deltas = self.pairs.T
        return entries(written, of_inputs * written.deltas.shape[-1] + of_deltas)


@dataclass(frozen=True, eq=False)
class KroneckerPca:
    """The products of principal directions in which the gradients are largest.

    Each layer's inputs and deltas are written in the eigenvectors of their second moments; of all
    products of two of them, over all layers, those with the largest second moment of the gradient
    are kept. Since the products are orthonormal, the features give the gradient's part in their
    span: inner products are cut off, not randomly wrong. Far better than a random projection of
    the same size for gradients like those it was fitted on. Not the same to the bit on every
    machine, for eigenvectors are not: the directions are kept with what was projected.

    Attributes:
        layout: The layers.
        directions: Of each layer.
        kept: Share of the squared length of the fitted gradients that the features keep.

    References:
        George et al., 2018. Fast approximate natural gradient descent in a Kronecker-factored
        eigenbasis. The basis, and second moments in it. Choe et al., 2024 (LoGra), section 3.2,
        for principal directions as a projection; it keeps a grid of them, this the largest.
    """

    layout: tuple[LayerShape, ...]
    directions: tuple[LayerDirections, ...]
    kept: float

    @classmethod
    def fit(cls, gradients: RowGradients, n_features: int) -> "KroneckerPca":
        """Find the directions from the gradients of some rows: all, or a random sample.

        Args:
            gradients: Gradients of training rows.
            n_features: Numbers that represent a row; fewer where fewer directions are not zero.

        Raises:
            ProjectionError: A factor is wider than `MAX_WIDTH`, all gradients are zero, or
                `n_features` is not positive.
        """
        _check_fit(gradients, n_features)
        bases = [LayerBasis.of(layer) for layer in gradients.layers]
        moments = [
            _moments(layer, basis) for layer, basis in zip(gradients.layers, bases, strict=True)
        ]
        every = np.concatenate(moments)
        if not every.max(initial=0.0) > 0:
            raise ProjectionError("all of them are zero", "fit on rows with a gradient")
        order = np.argsort(-every, kind="stable")[: min(n_features, np.count_nonzero(every))]
        chosen = np.zeros(len(every), dtype=bool)
        chosen[order] = True
        ends = np.cumsum([moment.size for moment in moments])[:-1]
        directions = tuple(
            _directions(basis, part)
            for basis, part in zip(bases, np.split(chosen, ends), strict=True)
        )
        return cls(gradients.layout, directions, float(every[chosen].sum() / every.sum()))

    @property
    def n_features(self) -> int:
        """Numbers that represent a row."""
        return sum(len(layer.pairs) for layer in self.directions)

    def describe(self) -> dict[str, object]:
        """Return what makes this projection again, together with `arrays`."""
        return {
            "kind": "kronecker_pca",
            "layers": describe_layout(self.layout),
            "n_features": self.n_features,
            "kept": self.kept,
        }

    def arrays(self) -> dict[str, NDArray]:
        """Return the directions by name."""
        arrays: dict[str, NDArray] = {}
        for position, layer in enumerate(self.directions):
            if layer.of_inputs is not None:
                arrays[f"{position}.inputs"] = layer.of_inputs
            if layer.of_deltas is not None:
                arrays[f"{position}.deltas"] = layer.of_deltas
            arrays[f"{position}.pairs"] = layer.pairs
        return arrays

    def project(self, gradients: RowGradients) -> NDArray[np.floating]:
        """Return the features of every row, ``[n, n_features]``.

        Raises:
            ProjectionError: The gradients are of other layers.
        """
        require_layout(self.layout, gradients)
        features = np.empty((gradients.n_rows, self.n_features), dtype=gradients.dtype)
        start = 0
        for layer, directions in zip(gradients.layers, self.directions, strict=True):
            place = slice(start, start + len(directions.pairs))
            for rows in _row_blocks(layer):
                features[rows, place] = directions.entries(layer.take(rows))
            start = place.stop
        return features


def _check_fit(gradients: RowGradients, n_features: int) -> None:
    if n_features < 1:
        raise ProjectionError(f"{n_features} features are asked for", "ask for at least one")
    for layer in gradients.layout:
        if len(layer.shape) > 1 and max(layer.shape) > MAX_WIDTH:
            raise ProjectionError(
                f"layer {layer.name!r} has a factor of {max(layer.shape):,} numbers, and principal "
                f"directions are found up to {MAX_WIDTH:,}",
                "use a count sketch, or a factored projection",
            )


def _moments(layer: LayerGradients, basis: LayerBasis) -> NDArray[np.float64]:
    """Return the summed squares of the gradients in each product of directions, flat."""
    moments = np.zeros(layer.shape.n_parameters)
    for rows in _row_blocks(layer):
        moments += squared_entries(basis.rotated(layer.take(rows)))
    return moments


def _directions(basis: LayerBasis, chosen: NDArray[np.bool_]) -> LayerDirections:
    """Keep the directions that some chosen product needs."""
    products = chosen.reshape(len(basis.input_values), -1)
    of_inputs, products = _used(basis.inputs, products)
    of_deltas, products = _used(basis.deltas, products.T)
    return LayerDirections(of_inputs, of_deltas, np.argwhere(products.T))


def _used(
    directions: NDArray[np.floating] | None, products: NDArray[np.bool_]
) -> tuple[NDArray[np.floating] | None, NDArray[np.bool_]]:
    """Return the directions that a product is chosen of, and the lines of their products."""
    if directions is None:
        return None, products
    used = products.any(axis=1)
    return np.ascontiguousarray(directions[:, used]), products[used]


def _row_blocks(layer: LayerGradients) -> Iterator[slice]:
    """Yield rows whose factors, in new directions too, take a small part of `BLOCK_BYTES`."""
    yield from slices(layer.n_rows, BLOCK_BYTES // (4 * layer.dtype.itemsize * layer.shape.n_kept))


def directions_from(
    layout: Sequence[LayerShape], arrays: dict[str, NDArray]
) -> tuple[LayerDirections, ...]:
    """Return the directions that `KroneckerPca.arrays` gave."""
    return tuple(
        _directions_from(f"{position}.", layer, arrays) for position, layer in enumerate(layout)
    )


def _directions_from(place: str, layer: LayerShape, arrays: dict[str, NDArray]) -> LayerDirections:
    deltas, pairs = f"{place}deltas", arrays[f"{place}pairs"]
    if len(layer.shape) == 1:
        return LayerDirections(None, arrays.get(deltas), pairs)
    return LayerDirections(arrays[f"{place}inputs"], arrays[deltas], pairs)
