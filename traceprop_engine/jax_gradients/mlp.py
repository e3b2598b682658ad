"""Plain multilayer perceptrons, whose gradients come as factors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import jax
import jax.numpy as jnp
import numpy as np

from traceprop_engine.errors import JaxTrainingError

Activation = Literal["relu", "tanh", "gelu"]
"""What follows each hidden layer; *gelu* is the exact one, with the error function."""

Layers = list[tuple[jax.Array, jax.Array]]
"""Weights ``[d_in, d_out]`` and bias ``[d_out]`` of each layer."""

_N_ENDS: Final = 2  # a net has at least inputs and outputs


@dataclass(frozen=True)
class Mlp:
    """A multilayer perceptron: ``mlp(params, x)`` are its outputs, ``[n, sizes[-1]]``.

    Attributes:
        sizes: Width of the inputs, of each hidden layer and of the outputs.
        activation: What follows each hidden layer.

    Raises:
        JaxTrainingError: There are fewer than two sizes, one is below 1, or there is no such
            activation.
    """

    sizes: tuple[int, ...]
    activation: Activation = "gelu"

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", tuple(self.sizes))
        if len(self.sizes) < _N_ENDS or min(self.sizes) < 1:
            raise JaxTrainingError(
                f"An Mlp of sizes {self.sizes}",
                "has no layer, or one without units",
                "give the width of the inputs, of each hidden layer and of the outputs",
            )
        if self.activation not in ("relu", "tanh", "gelu"):
            raise JaxTrainingError(
                f"The activation {self.activation!r}", "is not known", "use relu, tanh or gelu"
            )

    def init(self, seed: int, dtype: Any = np.float32) -> Layers:
        """Return parameters to start from, equal on every machine.

        Weights are uniform in ``±1 / sqrt(d_in)``, made of the raw stream of a seeded PCG64; biases
        are zero.

        Args:
            seed: Decides the weights.
            dtype: Floating type; float64 needs ``jax_enable_x64``.
        """
        stream = np.random.PCG64(seed)
        layers = []
        for d_in, d_out in zip(self.sizes[:-1], self.sizes[1:], strict=True):
            uniform = (stream.random_raw(d_in * d_out) >> np.uint64(11)) * 2.0**-53
            weights = (2 * uniform - 1).reshape(d_in, d_out) / np.sqrt(d_in)
            layers.append((jnp.asarray(weights, dtype), jnp.zeros(d_out, dtype)))
        return layers

    def __call__(self, params: Sequence[tuple[Any, Any]], x: Any) -> jax.Array:
        """Return the outputs of rows ``[n, sizes[0]]``, ``[n, sizes[-1]]``.

        Raises:
            JaxTrainingError: The parameters are of other widths.
        """
        self._check_widths(params)
        for weights, bias in params[:-1]:
            x = self._activate(x @ weights + bias)
        weights, bias = params[-1]
        return x @ weights + bias

    def tapped(
        self, params: Sequence[tuple[Any, Any]], x: Any, shifts: Sequence[Any]
    ) -> tuple[jax.Array, list[jax.Array]]:
        """Return the outputs with a shift added before each activation, and each layer's inputs.

        The derivative in a shift at zero is the derivative in the layer's outputs.

        Args:
            params: Of the net.
            x: Rows, ``[n, sizes[0]]``.
            shifts: For each layer ``[n, d_out]``.
        """
        inputs = []
        for depth, ((weights, bias), shift) in enumerate(zip(params, shifts, strict=True)):
            inputs.append(x)
            x = x @ weights + bias + shift
            if depth < len(params) - 1:
                x = self._activate(x)
        return x, inputs

    def no_shifts(self, n: int, dtype: Any) -> list[jax.Array]:
        """Return a shift of zero for each layer and ``n`` rows."""
        return [jnp.zeros((n, d_out), dtype) for d_out in self.sizes[1:]]

    def _check_widths(self, params: Sequence[tuple[Any, Any]]) -> None:
        ends = zip(self.sizes[:-1], self.sizes[1:], strict=True)
        wanted = [((d_in, d_out), (d_out,)) for d_in, d_out in ends]
        if [tuple(map(np.shape, layer)) for layer in params] != wanted:
            raise JaxTrainingError(
                f"An Mlp of sizes {self.sizes}",
                f"has parameters of shapes {[tuple(map(np.shape, layer)) for layer in params]}",
                "pass those that its `init` returns",
            )

    @property
    def _activate(self) -> Callable[[jax.Array], jax.Array]:
        functions: dict[str, Callable[[jax.Array], jax.Array]] = {
            "relu": jax.nn.relu,
            "tanh": jnp.tanh,
            "gelu": _gelu,
        }
        return functions[self.activation]


def _gelu(x: jax.Array) -> jax.Array:
    return jax.nn.gelu(x, approximate=False)
