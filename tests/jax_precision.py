"""Float64 in JAX for the length of a test."""

import jax


def float64():
    """Return a context in which JAX keeps 64 bits; older versions have it elsewhere."""
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    from jax.experimental import enable_x64  # noqa: PLC0415 - only older versions have it

    return enable_x64()
