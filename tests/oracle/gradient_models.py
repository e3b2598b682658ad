"""Random gradients of every form, and their dense gradients by a loop in double precision."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.gradients import LayerGradients, RowGradients

SHAPES = {
    # name: positions (None: no axis for them), inputs (None: flat), outputs
    "linear": (None, 7, 5),
    "one output": (None, 9, 1),
    "one position": (1, 4, 3),
    "short sequence": (3, 11, 13),  # pairs of positions are cheaper
    "convolution": (36, 4, 3),  # summed gradients are cheaper
    "norm": (None, None, 6),
}


def random_layer(
    name: str, n_rows: int, rng: np.random.Generator, dtype: type = np.float64
) -> LayerGradients:
    """Return a layer of the form `name` with random factors."""
    positions, n_inputs, n_outputs = SHAPES[name]
    lead = (n_rows,) if positions is None else (n_rows, positions)
    inputs = None if n_inputs is None else rng.standard_normal((*lead, n_inputs)).astype(dtype)
    return LayerGradients(name, inputs, rng.standard_normal((*lead, n_outputs)).astype(dtype))


def random_gradients(
    n_rows: int,
    seed: int,
    names: tuple[str, ...] = tuple(SHAPES),
    dtype: type = np.float64,
) -> RowGradients:
    """Return gradients of training rows with layers of the forms `names`."""
    rng = np.random.default_rng(seed)
    layers = tuple(random_layer(name, n_rows, rng, dtype) for name in names)
    chances = rng.uniform(0.1, 0.9, n_rows)
    return RowGradients(
        layers, np.log(chances / (1 - chances)), chances - 1, chances * (1 - chances)
    )


def whole_gradients(n_rows: int, names: tuple[str, ...] = tuple(SHAPES)) -> RowGradients:
    """Return gradients of small whole numbers, whose sums are exact in any order, as float32.

    They come from no generator of NumPy, so that no release of it changes them.
    """
    gradients = random_gradients(n_rows, 0, names, np.float32)
    layers = (
        replace(
            layer,
            inputs=None if layer.inputs is None else _whole(layer.inputs.shape, 7919),
            deltas=_whole(layer.deltas.shape, 104_729),
        )
        for layer in gradients.layers
    )
    return replace(gradients, layers=tuple(layers))


def _whole(shape: tuple[int, ...], step: int) -> NDArray[np.float32]:
    places = np.arange(int(np.prod(shape)), dtype=np.int64)
    return ((places * places * step + places) % 11 - 5).astype(np.float32).reshape(shape)


def looped(gradients: RowGradients) -> NDArray[np.float64]:
    """Return the dense gradients, by one outer product for each row and position."""
    rows = []
    for row in range(gradients.n_rows):
        parts = [_looped_layer(layer, row).ravel() for layer in gradients.layers]
        rows.append(np.concatenate(parts))
    return np.array(rows)


def _looped_layer(layer: LayerGradients, row: int) -> NDArray[np.float64]:
    if layer.inputs is None:
        return layer.deltas[row].astype(np.float64)
    inputs = np.atleast_2d(layer.inputs[row]).astype(np.float64)
    deltas = np.atleast_2d(layer.deltas[row]).astype(np.float64)
    total = np.zeros((inputs.shape[1], deltas.shape[1]))
    for place, delta in zip(inputs, deltas, strict=True):
        total += np.outer(place, delta)
    return total
