"""A projection that the data choose: the strongest products of principal directions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.errors import ProjectionError
from traceprop_engine.gradients.factored_projection import describe_layout, require_layout
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
        of_deltas: Orthonormal columns, ``[d_out, s]``, or ``[n_parameters, s]`` of a flat layer.
        pairs: For each feature its column of `of_inputs` and of `of_deltas`, ``[n_features, 2]``.
    """

    of_inputs: NDArray[np.floating] | None
    of_deltas: NDArray[np.floating]
    pairs: NDArray[np.int64]


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
        bases = [_bases(layer) for layer in gradients.layers]
        moments = [
            _moments(layer, *basis) for layer, basis in zip(gradients.layers, bases, strict=True)
        ]
        every = np.concatenate([moment.ravel() for moment in moments])
        if not every.max(initial=0.0) > 0:
            raise ProjectionError("all of them are zero", "fit on rows with a gradient")
        order = np.argsort(-every, kind="stable")[: min(n_features, np.count_nonzero(every))]
        chosen = np.zeros(len(every), dtype=bool)
        chosen[order] = True
        ends = np.cumsum([moment.size for moment in moments])[:-1]
        directions = tuple(
            _directions(basis, part.reshape(moment.shape))
            for basis, moment, part in zip(bases, moments, np.split(chosen, ends), strict=True)
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
            for rows in _row_blocks(layer, directions.of_inputs, directions.of_deltas):
                features[rows, place] = _in_directions(layer.take(rows), directions)
            start = place.stop
        return features


def _check_fit(gradients: RowGradients, n_features: int) -> None:
    if n_features < 1:
        raise ProjectionError(f"{n_features} features are asked for", "ask for at least one")
    for layer in gradients.layout:
        if max(layer.shape) > MAX_WIDTH:
            raise ProjectionError(
                f"layer {layer.name!r} has a factor of {max(layer.shape):,} numbers, and principal "
                f"directions are found up to {MAX_WIDTH:,}",
                "use a count sketch, or a factored projection",
            )


def _bases(
    layer: LayerGradients,
) -> tuple[NDArray[np.floating] | None, NDArray[np.floating]]:
    factors = layer.factors()
    if factors is None:
        return None, _eigenvectors(layer.deltas.astype(layer.dtype, copy=False))
    inputs, deltas = (_eigenvectors(factor.reshape(-1, factor.shape[-1])) for factor in factors)
    return inputs, deltas


def _eigenvectors(factor: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the eigenvectors of the second moment of the rows, the largest first."""
    moment = np.zeros((factor.shape[1], factor.shape[1]))
    for rows in slices(len(factor), 8192):
        moment += factor[rows].T @ factor[rows]
    vectors = np.linalg.eigh(moment)[1][:, ::-1]
    return np.ascontiguousarray(vectors, dtype=factor.dtype)


def _moments(
    layer: LayerGradients,
    of_inputs: NDArray[np.floating] | None,
    of_deltas: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Return the summed squares of the gradients in each product of directions, ``[r, s]``."""
    n_inputs = 1 if of_inputs is None else of_inputs.shape[1]
    moments = np.zeros((n_inputs, of_deltas.shape[1]))
    for rows in _row_blocks(layer, of_inputs, of_deltas):
        inputs, deltas = _rotated(layer.take(rows), of_inputs, of_deltas)
        if inputs.shape[1] == 1:
            moments += np.square(inputs[:, 0]).T @ np.square(deltas[:, 0])
        else:
            products = np.matmul(inputs.transpose(0, 2, 1), deltas)
            moments += np.square(products).sum(axis=0, dtype=np.float64)
    return moments


def _rotated(
    layer: LayerGradients,
    of_inputs: NDArray[np.floating] | None,
    of_deltas: NDArray[np.floating],
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return the factors in the directions, ``[n, t, r]`` and ``[n, t, s]``."""
    factors = layer.factors()
    if factors is None or of_inputs is None:
        deltas = layer.deltas.astype(layer.dtype, copy=False) @ of_deltas
        return np.ones((layer.n_rows, 1, 1), dtype=deltas.dtype), deltas[:, None]
    return factors[0] @ of_inputs, factors[1] @ of_deltas


def _directions(
    basis: tuple[NDArray[np.floating] | None, NDArray[np.floating]], chosen: NDArray[np.bool_]
) -> LayerDirections:
    """Keep the directions that some chosen product needs."""
    of_inputs, of_deltas = basis
    used_inputs, used_deltas = chosen.any(axis=1), chosen.any(axis=0)
    pairs = np.argwhere(chosen[used_inputs][:, used_deltas])
    kept = None if of_inputs is None else np.ascontiguousarray(of_inputs[:, used_inputs])
    return LayerDirections(kept, np.ascontiguousarray(of_deltas[:, used_deltas]), pairs)


def _in_directions(layer: LayerGradients, directions: LayerDirections) -> NDArray[np.floating]:
    inputs, deltas = _rotated(layer, directions.of_inputs, directions.of_deltas)
    of_inputs, of_deltas = directions.pairs.T
    if inputs.shape[1] == 1:
        return inputs[:, 0, of_inputs] * deltas[:, 0, of_deltas]
    return np.matmul(inputs.transpose(0, 2, 1), deltas)[:, of_inputs, of_deltas]


def _row_blocks(
    layer: LayerGradients,
    of_inputs: NDArray[np.floating] | None,
    of_deltas: NDArray[np.floating],
) -> Iterator[slice]:
    n_inputs = 1 if of_inputs is None else of_inputs.shape[1]
    products = n_inputs * of_deltas.shape[1]
    per_row = layer.dtype.itemsize * (2 * layer.shape.n_kept + products)
    yield from slices(layer.n_rows, BLOCK_BYTES // (2 * per_row))


def directions_from(
    layout: Sequence[LayerShape], arrays: dict[str, NDArray]
) -> tuple[LayerDirections, ...]:
    """Return the directions that `KroneckerPca.arrays` gave."""
    return tuple(
        LayerDirections(
            arrays.get(f"{position}.inputs"),
            arrays[f"{position}.deltas"],
            arrays[f"{position}.pairs"],
        )
        for position in range(len(layout))
    )
