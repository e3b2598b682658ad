"""JAX: arrays beside the numbers of their rows, and functions that keep them."""

from traceprop_engine.jax_arrays.entrance import from_jax
from traceprop_engine.jax_arrays.joining import concatenate, where
from traceprop_engine.jax_arrays.row_functions import tracked_jit, tracked_vmap
from traceprop_engine.jax_arrays.tracked_jax import TrackedJax

__all__ = ["TrackedJax", "concatenate", "from_jax", "tracked_jit", "tracked_vmap", "where"]
