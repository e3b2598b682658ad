"""Functions of several arrays that pick and stack rows."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from traceprop_engine.errors import UnknownRowsError
from traceprop_engine.jax_arrays.origins import Origin, notes_of, together
from traceprop_engine.jax_arrays.tracked_jax import (
    TrackedJax,
    elementwise,
    steps_after,
    values_of,
)
from traceprop_engine.lineage.marks import Node


def where(condition: Any, one: Any, other: Any) -> TrackedJax:
    """Return ``jnp.where``: rows of what was picked, and of the condition."""
    x = jnp.where(values_of(condition), values_of(one), values_of(other))
    picked = jnp.broadcast_to(values_of(condition), x.shape)
    axes = tuple(range(1, x.ndim))
    parts: list[Any] = [condition]
    for each, used in ((one, picked.any(axis=axes)), (other, (~picked).any(axis=axes))):
        if isinstance(each, TrackedJax):
            whole = elementwise(x, [each], "where")
            rows = tuple(jnp.where(used, row, -1) if x.ndim else row for row in whole.rows)
            parts.append(TrackedJax(x, rows, whole.origin, whole.steps))
    return elementwise(x, parts, "where")


def concatenate(arrays: Sequence[Any]) -> TrackedJax:
    """Return arrays one below the other; what is not tracked has no rows."""
    x = jnp.concatenate([values_of(each) for each in arrays])
    tracked = [each for each in arrays if isinstance(each, TrackedJax)]
    if not tracked:
        raise UnknownRowsError("None of the arrays is tracked", "use `jnp.concatenate`")
    notes_of([each.origin for each in tracked])
    slots: dict[tuple[Node, int], list[Any]] = {}
    for at, each in enumerate(arrays):
        for slot, rows in _numbered(each):
            none = [jnp.full(len(values_of(a)), -1, dtype=jnp.int32) for a in arrays]
            slots.setdefault(slot, none)[at] = jnp.broadcast_to(rows, (len(each),))
    members, claims = together([each.origin for each in tracked])
    origin = Origin(tuple(node for node, _ in slots), members, claims)
    rows = tuple(jnp.concatenate(each) for each in slots.values())
    return TrackedJax(x, rows, origin, steps_after(x, tracked, "concatenate"))


def _numbered(array: Any) -> list[tuple[tuple[Node, int], Any]]:
    if not isinstance(array, TrackedJax):
        return []
    seen: list[Node] = []
    found: list[tuple[tuple[Node, int], Any]] = []
    for node, rows in zip(array.origin.nodes, array.rows, strict=True):
        found.append(((node, seen.count(node)), rows))
        seen.append(node)
    return found
