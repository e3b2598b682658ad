"""How arrays come to know their rows."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from traceprop_engine.errors import CaptureError
from traceprop_engine.jax_arrays.origins import Origin
from traceprop_engine.jax_arrays.tracked_jax import TrackedJax
from traceprop_engine.lineage.carriers import carried, placed_of, unmarked
from traceprop_engine.lineage.graph import default_graph, root_rows
from traceprop_engine.lineage.marks import Node, Step
from traceprop_engine.lineage.pandas_capture import CaptureSession
from traceprop_engine.lineage.rows import as_array

_LARGEST = np.iinfo(np.int32).max


def from_jax(
    data: Any, source_id: str | None = None, *, session: CaptureSession | None = None
) -> TrackedJax:
    """Return a JAX array beside its row numbers.

    Args:
        data: An array of any library, or a pandas object, tracked or not.
        source_id: Names the input, if ``data`` is not tracked yet; ``"jax"`` without one.
        session: The capture session that the rows belong to; the graph of the process without one.

    Raises:
        CaptureError: There is another input of that name, or the array has no rows.

    Example:
        >>> with CaptureSession() as session:
        ...     doses = from_jax(jnp.arange(6.0).reshape(3, 2), "doses", session=session)
        ...     top = jax.jit(lambda a: a.sort_by(a.x[:, 0], descending=True)[:2] * 2)(doses)
        ...     session.lineage(top).maps["doses"].pairs()[1]
        array([2, 1])
    """
    plain = unmarked(data)
    x = plain if isinstance(plain, jax.Array) else jnp.asarray(np.asarray(plain))
    if not x.ndim:
        raise CaptureError("An array without axes has no rows", "give it one with `reshape(1)`")
    placed = placed_of(data)
    if placed is None or not placed[0].node.notes.is_open:
        notes = default_graph() if session is None else session.notes
        mark = root_rows(notes, len(x), source_id or "jax")
        placed = mark, range(len(x))
    mark, rows = placed
    if mark.node.n_rows > _LARGEST:
        raise CaptureError(f"{mark.node.n_rows:,} rows do not fit int32", "track them in parts")
    vector = jnp.asarray(as_array(rows).astype(np.int32))
    return TrackedJax(x, (vector,), Origin((mark.node,)), mark.steps)


@carried.register(jax.Array)
def _carried_by_array(value: jax.Array, node: Node, steps: tuple[Step, ...]) -> TrackedJax:
    every = jnp.arange(node.n_rows, dtype=jnp.int32)
    return TrackedJax(value, (every,), Origin((node,)), steps)
