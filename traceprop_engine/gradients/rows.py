"""The gradient of each row's scalar in the parameters, layer by layer, factored where possible."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class LayerGradients:
    """What each row contributes to the gradient of one layer's parameters.

    The gradient of row ``i`` is ``inputs[i] ⊗ deltas[i]``: shape ``[d_in, d_out]``, and summed
    over the positions ``t`` of a convolution or a sequence. Where no such product exists, `inputs`
    is ``None`` and ``deltas[i]`` is the gradient itself, flat.

    Attributes:
        name: Name of the layer in its model.
        inputs: ``[n, d_in]`` or ``[n, t, d_in]``, a constant 1 last where the layer has a bias.
        deltas: Derivative of the row's scalar in the layer's outputs, ``[n, d_out]`` or
            ``[n, t, d_out]``; or ``[n, n_parameters]`` where `inputs` is ``None``.
    """

    name: str
    inputs: NDArray[np.floating] | None
    deltas: NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class RowGradients:
    """Gradients of one scalar of each row at one checkpoint, and how the loss depends on it.

    For training rows the scalar is what the loss of the row is a function of: the margin of the
    true class (log-odds of it against all others) for cross-entropy, the output for squared error.
    Then ``slopes[i] * gradient_i`` is the gradient of the row's loss, and ``curvatures[i]`` weighs
    ``gradient_i gradient_iᵀ`` in the generalised Gauss-Newton matrix of the scalar. For queries
    the scalar is the target that is asked about, and `slopes` and `curvatures` are empty.

    Attributes:
        layers: One for each layer with parameters.
        values: The scalar of each row, ``[n]``.
        slopes: Derivative of each row's loss in its scalar; cross-entropy: ``-(1 - p)`` with ``p``
            the probability of the true class; squared error (half): ``output - label``.
        curvatures: Second derivative: ``p (1 - p)``, or 1.
    """

    layers: tuple[LayerGradients, ...]
    values: NDArray[np.floating]
    slopes: NDArray[np.floating]
    curvatures: NDArray[np.floating]
