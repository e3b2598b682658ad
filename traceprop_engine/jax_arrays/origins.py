"""Where the rows of a JAX array come from: what stays the same while its values are traced.

The numbers of the rows are arrays beside the values, so that JAX traces them along. What is here is
static: it is part of the structure that `jax.jit` compiles for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from traceprop_engine.errors import CaptureError
from traceprop_engine.lineage.marks import Mark, Node, Notes, Placed, Step, Via, derived, distinct
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.lineage.row_map_context import Box, Context, RowSet


@dataclass(frozen=True)
class Members:
    """Rows of a node that took part in a statistic; ``rows`` is ``None`` for all of them.

    Inside `jax.jit` nobody knows which rows an argument will hold, so that all of them count.
    """

    node: Node
    rows: bytes | None


@dataclass(frozen=True)
class Origin:
    """What is known of the rows of an array beside their numbers.

    Attributes:
        nodes: For each vector of row numbers, what they are rows of.
        members: The rows that it depends on through statistics.
        claims: Where the user declared which rows these are.
    """

    nodes: tuple[Node, ...]
    members: tuple[Members, ...] = ()
    claims: tuple[str, ...] = ()


def notes_of(origins: Iterable[Origin]) -> Notes:
    """Return the session that arrays belong to.

    Raises:
        CaptureError: They belong to several.
    """
    nodes = [n for each in origins for n in (*each.nodes, *(m.node for m in each.members))]
    if any(node.notes is not nodes[0].notes for node in nodes):
        names = sorted({name for node in nodes for name in node.roots})
        raise CaptureError(
            f"Arrays of different sessions meet in one operation ({', '.join(names)})",
            "make all of them with the same `session=`",
        )
    return nodes[0].notes


def members_of(node: Node, rows: NDArray[Any] | None) -> Members:
    """Return rows of a node as the members of a statistic; all of them for ``None``."""
    if rows is None:
        return Members(node, None)
    found = np.unique(rows[rows >= 0])
    return Members(node, None if len(found) == node.n_rows else found.astype(np.int64).tobytes())


def placed_at(
    origin: Origin, rows: Sequence[NDArray[Any]], n_rows: int, steps: tuple[Step, ...]
) -> Placed:
    """Return the mark of an array of ``n_rows`` rows."""
    if len(origin.nodes) == 1 and not origin.members and not origin.claims:
        return Mark(origin.nodes[0], rows[0], steps), rows[0]
    edges: list[tuple[Node, Via]] = list(zip(origin.nodes, rows, strict=True))
    edges += [(each.node, _through(each, n_rows)) for each in origin.members]
    plain = derived(notes_of([origin]), n_rows, edges, claims=origin.claims)
    node = Node(
        plain.notes,
        n_rows,
        edges=plain.edges,
        lost=plain.lost,
        claims=plain.claims,
        is_statistic=not origin.nodes or plain.is_statistic,
        roots=plain.roots,
    )
    every = range(n_rows)
    return Mark(node, every, steps), every


def together(origins: Sequence[Origin]) -> tuple[tuple[Members, ...], tuple[str, ...]]:
    """Return the members and the claims of several origins, once each."""
    members = distinct(each for origin in origins for each in origin.members)
    return members, distinct(each for origin in origins for each in origin.claims)


def n_rows_of(x: Any) -> int:
    """Return the length of axis 0; an array without axes is one row."""
    return x.shape[0] if x.ndim else 1


def is_traced(x: Any) -> bool:
    """Say whether a value is inside a transform of JAX."""
    return isinstance(x, jax.core.Tracer)


def _through(members: Members, n_rows: int) -> RowMap:
    n_in = members.node.n_rows
    if members.rows is not None:
        return RowMap.context(n_rows, np.frombuffer(members.rows, dtype=np.int64), n_in)
    return RowMap(Context(n_rows, n_in, None, (Box(RowSet.every(n_rows), RowSet.every(n_in)),)))
