"""Projections by one random matrix for all parameters, made block by block where it is needed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from traceprop_engine.errors import ProjectionError
from traceprop_engine.gradients.layers import BLOCK_BYTES, LayerGradients, slices
from traceprop_engine.gradients.random_entries import (
    CHANCES,
    gaussians,
    signs,
    sketch_places,
    sparse_signs,
)
from traceprop_engine.gradients.rows import RowGradients

_SPARSE_BELOW = 0.05
"""Density below which a product with a sparse matrix is faster than with a dense one."""

EntryKind = Literal["rademacher", "gaussian", "sparse"]
"""Entries of a random matrix: signs, standard normal numbers, or signs with zeros between."""


@dataclass(frozen=True)
class NoProjection:
    """The gradients as they are, dense: for models with no more parameters than features.

    Attributes:
        n_parameters: Parameters of the model.
    """

    n_parameters: int

    @property
    def n_features(self) -> int:
        """Numbers that represent a row."""
        return self.n_parameters

    def describe(self) -> dict[str, str | int]:
        """Return what makes this projection again."""
        return {"kind": "none", "n_parameters": self.n_parameters}

    def arrays(self) -> dict[str, NDArray[np.floating]]:
        """Return nothing: the description says it all."""
        return {}

    def project(self, gradients: RowGradients) -> NDArray[np.floating]:
        """Return the dense gradients, ``[n, n_parameters]``.

        Raises:
            ProjectionError: The gradients are of another number of parameters.
        """
        _check_size(self.n_parameters, gradients)
        return gradients.dense()


@dataclass(frozen=True)
class CountSketch:
    """Each parameter goes, with a random sign, into a few random features.

    Inner products are kept in expectation. The features of layers without positions are the same
    to the bit on every machine, and however the rows are split: it is only signed sums.

    Attributes:
        n_parameters: Parameters of the model.
        n_features: Numbers that represent a row.
        seed: Chooses the features and signs, from 0 to ``2^64 - 1``.
        n_nonzeros: Features that each parameter goes into: 1 is the count sketch, more the sparse
            Johnson-Lindenstrauss transform (SJLT), a little better and slower.

    References:
        Charikar et al., 2002. Finding frequent items in data streams.
        Kane and Nelson, 2014. Sparser Johnson-Lindenstrauss transforms. The block construction.
    """

    n_parameters: int
    n_features: int
    seed: int
    n_nonzeros: int = 1

    def describe(self) -> dict[str, str | int]:
        """Return what makes this projection again."""
        return {
            "kind": "count_sketch",
            "n_parameters": self.n_parameters,
            "n_features": self.n_features,
            "seed": self.seed,
            "n_nonzeros": self.n_nonzeros,
        }

    def arrays(self) -> dict[str, NDArray[np.floating]]:
        """Return nothing: the description says it all."""
        return {}

    def project(self, gradients: RowGradients) -> NDArray[np.floating]:
        """Return the sketch of every row, ``[n, n_features]``.

        Raises:
            ProjectionError: The gradients are of another number of parameters.
        """
        _check_size(self.n_parameters, gradients)
        # Runs of fixed length, so that the order of every sum is fixed too.
        run = max(4096, 8 * self.n_features)
        sums = np.zeros((self.n_features, gradients.n_rows), dtype=gradients.dtype)
        for layer, part, place in _runs(gradients, run):
            sketch = self._matrix(place, gradients.dtype)
            for rows in slices(layer.n_rows, max(64, (1 << 20) // run)):
                block = np.ascontiguousarray(layer.take(rows).block(part))
                sums[:, rows] += sketch @ block
        return np.ascontiguousarray(sums.T) * gradients.dtype.type(1 / sqrt(self.n_nonzeros))

    def _matrix(self, place: slice, dtype: np.dtype[np.floating]) -> csr_array:
        """Return the columns of the sketch for a run of parameters, ``[n_features, n_in_run]``."""
        buckets, sign = sketch_places(self.seed, 0, place, self.n_features, self.n_nonzeros)
        parameters = np.repeat(np.arange(len(buckets), dtype=np.int32), self.n_nonzeros)
        order = np.argsort(buckets, axis=None, kind="stable")
        ends = np.cumsum(np.bincount(buckets.ravel(), minlength=self.n_features))
        starts = np.concatenate([[0], ends]).astype(np.int32)
        values = sign.ravel()[order].astype(dtype)
        return csr_array((values, parameters[order], starts), shape=(self.n_features, len(buckets)))


@dataclass(frozen=True)
class MatrixProjection:
    """A matrix of independent random entries with mean 0 and variance ``1 / n_features``.

    Inner products are kept in expectation. The matrix is the same on every machine; it is made
    again for each call, block by block, and never whole in memory.

    Attributes:
        entries: Which numbers.
        n_parameters: Parameters of the model.
        n_features: Numbers that represent a row.
        seed: Chooses the entries, from 0 to ``2^64 - 1``.
        chances: Of ``"sparse"``, how many of 32,768 entries are not 0; a third is the matrix of
            Achlioptas.

    References:
        Johnson and Lindenstrauss, 1984. For Gaussian entries.
        Achlioptas, 2003. Database-friendly random projections. Equations 1 and 2.
        Li et al., 2006. Very sparse random projections. Equation 3.
    """

    entries: EntryKind
    n_parameters: int
    n_features: int
    seed: int
    chances: int = CHANCES

    def describe(self) -> dict[str, str | int]:
        """Return what makes this projection again."""
        return {
            "kind": "matrix",
            "entries": self.entries,
            "n_parameters": self.n_parameters,
            "n_features": self.n_features,
            "seed": self.seed,
            "chances": self.chances,
        }

    def arrays(self) -> dict[str, NDArray[np.floating]]:
        """Return nothing: the description says it all."""
        return {}

    @property
    def density(self) -> float:
        """Share of entries that are not 0."""
        return self.chances / CHANCES if self.entries == "sparse" else 1.0

    def matrix(self, parameters: slice) -> NDArray[np.float32]:
        """Return the rows of the matrix for some parameters, before scaling."""
        if self.entries == "sparse":
            return sparse_signs(self.seed, 0, parameters, self.n_features, self.chances)
        make = signs if self.entries == "rademacher" else gaussians
        return make(self.seed, 0, parameters, self.n_features)

    def project(self, gradients: RowGradients) -> NDArray[np.floating]:
        """Return the features of every row, ``[n, n_features]``.

        Raises:
            ProjectionError: The gradients are of another number of parameters.
        """
        _check_size(self.n_parameters, gradients)
        features = np.empty((gradients.n_rows, self.n_features), dtype=gradients.dtype)
        for rows in slices(gradients.n_rows, max(1024, BLOCK_BYTES // (8 * self.n_features))):
            features[rows] = self._projected(gradients.take(rows))
        return features

    def _projected(self, gradients: RowGradients) -> NDArray[np.float64]:
        run = min(max(256, (1 << 21) // self.n_features), 8192)
        sums = np.zeros((gradients.n_rows, self.n_features))
        multiply = _times_sparse if self.density < _SPARSE_BELOW else _times_dense
        for layer, part, place in _runs(gradients, run):
            matrix = self.matrix(place).astype(gradients.dtype, copy=False)
            multiply(sums, layer, part, matrix)
        return sums * (1 / sqrt(self.n_features * self.density))


Multiply = Callable[[NDArray, LayerGradients, slice, NDArray], None]


def _times_dense(
    sums: NDArray[np.float64], layer: LayerGradients, part: slice, matrix: NDArray[np.floating]
) -> None:
    for rows in slices(layer.n_rows, BLOCK_BYTES // (4 * len(matrix) * matrix.itemsize)):
        sums[rows] += layer.take(rows).block(part).T @ matrix


def _times_sparse(
    sums: NDArray[np.float64], layer: LayerGradients, part: slice, matrix: NDArray[np.floating]
) -> None:
    transposed = csr_array(matrix.T)
    for rows in slices(layer.n_rows, max(64, (1 << 20) // len(matrix))):
        sums[rows] += (transposed @ np.ascontiguousarray(layer.take(rows).block(part))).T


def _runs(gradients: RowGradients, run: int) -> Iterator[tuple[LayerGradients, slice, slice]]:
    """Yield the runs of all layers, with their place among all parameters."""
    start = 0
    for layer in gradients.layers:
        for part, place in layer.runs(run):
            yield layer, part, slice(start + place.start, start + place.stop)
        start += layer.shape.n_parameters


def _check_size(n_parameters: int, gradients: RowGradients) -> None:
    if gradients.n_parameters != n_parameters:
        raise ProjectionError(
            f"the projection is of {n_parameters:,} parameters, they have "
            f"{gradients.n_parameters:,}",
            "make one for the layout of these gradients",
        )
