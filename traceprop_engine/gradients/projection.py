"""Projections of gradients to fewer numbers: which there are, and making one again."""

from collections.abc import Mapping, Sequence
from math import isqrt
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.errors import ProjectionError
from traceprop_engine.gradients.factored_projection import FactoredProjection
from traceprop_engine.gradients.kronecker_pca import KroneckerPca, directions_from
from traceprop_engine.gradients.layers import LayerShape
from traceprop_engine.gradients.matrix_projection import (
    CountSketch,
    MatrixProjection,
    NoProjection,
)
from traceprop_engine.gradients.random_entries import CHANCES
from traceprop_engine.gradients.rows import RowGradients

ProjectionKind = Literal[
    "count_sketch", "sjlt", "rademacher", "achlioptas", "sparse", "gaussian", "factored"
]
"""A random projection.

*count_sketch*: each parameter into one feature, the fastest of those that keep every layer's
products. *sjlt*: into four. *rademacher*, *gaussian*: a dense matrix of signs, or of normal
numbers. *achlioptas*: signs, two of three entries 0. *sparse*: signs, one in the square root of
the parameters not 0. *factored*: small matrices for the factors of each layer (LoGra).
"""

_SJLT_NONZEROS = 4


class Projection(Protocol):
    """A linear map from the gradient of a row to fewer numbers.

    Inner products of gradients become inner products of features: in expectation over the seed
    for random projections, cut off to a subspace for one that the data choose.
    """

    @property
    def n_features(self) -> int:
        """Numbers that represent a row."""
        ...

    def project(self, gradients: RowGradients) -> NDArray[np.floating]:
        """Return the features of every row, ``[n, n_features]``, in the gradients' precision."""
        ...

    def describe(self) -> Mapping[str, object]:
        """Return, in words of JSON, what `projection_from` makes this projection of again."""
        ...

    def arrays(self) -> Mapping[str, NDArray]:
        """Return the arrays that `projection_from` needs too."""
        ...


def random_projection(
    kind: ProjectionKind, layout: Sequence[LayerShape], n_features: int, *, seed: int = 0
) -> Projection:
    """Return a projection of gradients of a layout, the same for the same seed on every machine.

    A model with no more parameters than features is not projected.

    Args:
        kind: Which one.
        layout: The layers, as `RowGradients.layout` gives them.
        n_features: Numbers to represent a row by; of a factored one at most so many.
        seed: From 0 to ``2^64 - 1``.

    Raises:
        ProjectionError: The kind is unknown, or a number is out of range.
    """
    n_parameters = sum(layer.n_parameters for layer in layout)
    _check_numbers(n_features, n_parameters, seed)
    if n_parameters <= n_features:
        return NoProjection(n_parameters)
    if kind == "factored":
        _check_layers(layout, n_features)
        return FactoredProjection.of(layout, n_features, seed)
    if kind in {"count_sketch", "sjlt"}:
        n_nonzeros = min(1 if kind == "count_sketch" else _SJLT_NONZEROS, n_features)
        return CountSketch(n_parameters, n_features, seed, n_nonzeros)
    if kind == "rademacher" or kind == "gaussian":  # noqa: PLR1714 - narrows the type
        return MatrixProjection(kind, n_parameters, n_features, seed)
    chances = {"achlioptas": round(CHANCES / 3), "sparse": _sparse_chances(n_parameters)}
    if kind not in chances:
        raise ProjectionError(f"there is no kind {kind!r}", f"use one of {_kinds()}")
    return MatrixProjection("sparse", n_parameters, n_features, seed, chances[kind])


def projection_from(description: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> Projection:
    """Make a projection again of what its `describe` and `arrays` gave.

    Raises:
        ProjectionError: The description is of no projection that this version knows.
    """
    facts = dict(description)
    kind = facts.pop("kind", None)
    try:
        match kind:
            case "none":
                return NoProjection(**facts)
            case "count_sketch":
                return CountSketch(**facts)
            case "matrix":
                return MatrixProjection(**facts)
            case "factored":
                layout = _layout(facts["layers"])
                sizes = tuple((inputs, outputs) for inputs, outputs in facts["sizes"])
                return FactoredProjection(layout, sizes, facts["seed"])
            case "kronecker_pca":
                layout = _layout(facts["layers"])
                return KroneckerPca(layout, directions_from(layout, dict(arrays)), facts["kept"])
    except (KeyError, TypeError, ValueError) as error:
        raise ProjectionError(
            f"the description of a {kind} projection lacks or has wrong {error}",
            "project the gradients again",
        ) from error
    raise ProjectionError(f"there is no kind {kind!r}", "project the gradients again")


def _layout(layers: Sequence[Mapping[str, Any]]) -> tuple[LayerShape, ...]:
    return tuple(LayerShape(layer["name"], tuple(layer["shape"])) for layer in layers)


def _sparse_chances(n_parameters: int) -> int:
    return max(1, CHANCES // max(isqrt(n_parameters), 1))


def _check_numbers(n_features: int, n_parameters: int, seed: int) -> None:
    if n_parameters < 1:
        raise ProjectionError("there are no parameters", "give the layout of the gradients")
    if n_features < 1:
        raise ProjectionError(f"{n_features} features are asked for", "ask for at least one")
    if not 0 <= seed < 1 << 64:
        raise ProjectionError(f"the seed is {seed}", "use one from 0 to 2^64 - 1")


def _check_layers(layout: Sequence[LayerShape], n_features: int) -> None:
    if n_features < len(layout):
        raise ProjectionError(
            f"{n_features} features are fewer than the {len(layout)} layers of a factored one",
            "ask for more features, or use a count sketch",
        )


def _kinds() -> str:
    return ", ".join(repr(kind) for kind in get_args(ProjectionKind))
