"""Gradients of one scalar of each row, in blocks of rows that fit a memory bound."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import jax
import numpy as np
from numpy.typing import NDArray

from traceprop_engine.gradients import LayerGradients, Loss, OutputTarget
from traceprop_engine.jax_gradients.mlp import Mlp
from traceprop_engine.jax_gradients.scalars import query_scalar, row_scalar
from traceprop_engine.jax_gradients.steps import Apply, Params, outputs_of

_COPIES: Final = 3  # of a row's gradient that exist at once: JAX's, its temporary, NumPy's


@dataclass(frozen=True)
class Scalar:
    """Which scalar of a row: a target, or with ``None`` what the loss is a function of."""

    loss: Loss
    target: OutputTarget | None = None

    def __call__(self, outputs: jax.Array, label: jax.Array) -> jax.Array:
        """Return the scalar of one row, from its outputs ``[n_outputs]`` and its label."""
        if self.target is None:
            return row_scalar(self.loss, outputs, label)
        return query_scalar(self.loss, self.target, outputs, label)


@partial(jax.jit, static_argnames=("apply", "scalar"))
def dense_gradients(
    params: Params, features: Any, labels: Any, *, apply: Apply, scalar: Scalar
) -> tuple[jax.Array, Params]:
    """Return the scalar of each row, ``[n]``, and its gradient: each leaf ``[n, ...]``."""

    def value(params: Params, x: jax.Array, label: jax.Array) -> jax.Array:
        return scalar(outputs_of(apply, params, x[None])[0], label)

    return jax.vmap(jax.value_and_grad(value), in_axes=(None, 0, 0))(params, features, labels)


@partial(jax.jit, static_argnames=("mlp", "scalar"))
def factored_gradients(
    params: Params, features: Any, labels: Any, *, mlp: Mlp, scalar: Scalar
) -> tuple[jax.Array, list[jax.Array], list[jax.Array]]:
    """Return the scalar of each row, and for each layer its inputs and the slope in its outputs."""

    def total(shifts: list[jax.Array]) -> tuple[jax.Array, tuple[jax.Array, list[jax.Array]]]:
        outputs, inputs = mlp.tapped(params, features, shifts)
        values = jax.vmap(scalar)(outputs, labels)
        return values.sum(), (values, inputs)

    shifts = mlp.no_shifts(len(features), jax.tree.leaves(params)[0].dtype)
    deltas, (values, inputs) = jax.grad(total, has_aux=True)(shifts)
    return values, inputs, deltas


def row_gradients(
    apply: Apply,
    scalar: Scalar,
    params: Params,
    features: NDArray[np.generic],
    labels: NDArray[np.generic],
    memory_bytes: int,
) -> tuple[NDArray[np.floating], tuple[LayerGradients, ...]]:
    """Return the scalar of each row, ``[n]``, and its gradient, layer by layer.

    An `Mlp` gives factors; every other net one flat gradient for each leaf of its parameters.

    Args:
        apply: The net.
        scalar: Of each row.
        params: Of the net.
        features: ``[n, ...]``.
        labels: ``[n]``, as the scalar reads them.
        memory_bytes: Bound of what is held beside the result.
    """
    blocks = blocks_of(len(features), memory_bytes // (_COPIES * bytes_of(params)))
    work = partial(_factored, apply) if isinstance(apply, Mlp) else partial(_dense, apply)
    parts = [
        work(scalar, params, _padded(features, rows, size), _padded(labels, rows, size))
        for rows, size in blocks
    ]
    n = len(features)
    values = np.concatenate([values for values, _ in parts])[:n]
    by_layer = zip(*(layers for _, layers in parts), strict=True)
    return values, tuple(_joined(layers, n) for layers in by_layer)


def blocks_of(n: int, largest: int) -> Iterator[tuple[slice, int]]:
    """Yield blocks of about equal size, at most ``largest`` rows, and the size of a full one.

    All blocks but the last are full, so that one program is compiled for all of them.
    """
    n_blocks = -(-n // max(1, largest))
    size = -(-n // max(1, n_blocks))
    for begin in range(0, n, max(1, size)):
        yield slice(begin, min(begin + size, n)), size


def bytes_of(params: Params) -> int:
    """Return the bytes of all leaves."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(params))


def leaf_names(params: Params) -> tuple[str, ...]:
    """Return the name of each leaf: its place in the nesting, such as ``[0]['bias']``."""
    paths, _ = jax.tree.flatten_with_path(params)
    return tuple(jax.tree_util.keystr(path) or "params" for path, _ in paths)


def _dense(
    apply: Apply, scalar: Scalar, params: Params, features: Any, labels: Any
) -> tuple[NDArray[np.floating], list[LayerGradients]]:
    values, gradients = dense_gradients(params, features, labels, apply=apply, scalar=scalar)
    leaves = [np.asarray(leaf).reshape(len(features), -1) for leaf in jax.tree.leaves(gradients)]
    named = zip(leaf_names(params), leaves, strict=True)
    return np.asarray(values), [LayerGradients(name, None, leaf) for name, leaf in named]


def _factored(
    apply: Mlp, scalar: Scalar, params: Params, features: Any, labels: Any
) -> tuple[NDArray[np.floating], list[LayerGradients]]:
    values, inputs, deltas = factored_gradients(params, features, labels, mlp=apply, scalar=scalar)
    layers = [
        LayerGradients(f"layers[{at}]", _with_one(np.asarray(x)), np.asarray(delta))
        for at, (x, delta) in enumerate(zip(inputs, deltas, strict=True))
    ]
    return np.asarray(values), layers


def _with_one(inputs: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.concatenate([inputs, np.ones((len(inputs), 1), inputs.dtype)], axis=1)


def _padded(array: NDArray[np.generic], rows: slice, size: int) -> NDArray[np.generic]:
    """Return a block of rows, its last row repeated until it is full."""
    block = array[rows]
    return np.concatenate([block, np.repeat(block[-1:], size - len(block), axis=0)])


def _joined(parts: Sequence[LayerGradients], n: int) -> LayerGradients:
    deltas = np.concatenate([part.deltas for part in parts])[:n]
    inputs = [part.inputs for part in parts if part.inputs is not None]
    return LayerGradients(parts[0].name, np.concatenate(inputs)[:n] if inputs else None, deltas)
