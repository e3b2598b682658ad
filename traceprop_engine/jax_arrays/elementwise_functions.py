"""The functions of JAX that are known to treat each element by itself."""

from typing import Final

import jax
import jax.numpy as jnp

ELEMENTWISE: Final = frozenset(
    {
        jnp.abs, jnp.add, jnp.arctan, jnp.clip, jnp.cos, jnp.cosh, jnp.divide, jnp.equal, jnp.exp,
        jnp.expm1, jnp.floor, jnp.ceil, jnp.greater, jnp.isfinite, jnp.isnan, jnp.less, jnp.log,
        jnp.log1p, jnp.log2, jnp.logaddexp, jnp.logical_and, jnp.logical_not, jnp.logical_or,
        jnp.maximum, jnp.minimum, jnp.multiply, jnp.nan_to_num, jnp.negative, jnp.power,
        jnp.reciprocal, jnp.round, jnp.sign, jnp.sin, jnp.sinh, jnp.sqrt, jnp.square, jnp.subtract,
        jnp.tan, jnp.tanh, jax.nn.elu, jax.nn.gelu, jax.nn.leaky_relu, jax.nn.relu, jax.nn.sigmoid,
        jax.nn.silu, jax.nn.softplus,
    }
)  # fmt: skip
"""The functions that `TrackedJax.apply` takes: each element by itself, operands broadcast."""
