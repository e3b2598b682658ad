"""From the origin of each single value of a result to that of its rows.

Where an operation only moves values, the same operation on their numbers says where each of them
went. This module reads such an answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.arrays.combining import Decision
from traceprop_engine.arrays.lines import Lines, joined
from traceprop_engine.lineage.marks import Node, Via
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.lineage.rows import IntArray

NONE = -1
"""The number of a value that is of no row."""

Numbers = IntArray
"""Which line each value is of."""


@dataclass(frozen=True, eq=False, slots=True)
class Origin:
    """Lines that values may have come from, under the numbers from ``first`` on."""

    lines: Lines
    first: int

    def chosen(self, numbers: Numbers) -> NDArray[np.bool_]:
        """Return which of the numbers are of these lines."""
        return (numbers >= self.first) & (numbers < self.first + len(self.lines))


def pure_axis(numbers: Numbers) -> tuple[int | None, Numbers] | None:
    """Return an axis all of whose slices are of one number each, and those numbers.

    Without an axis there is one number for all. ``None`` when slices are mixed along every axis.
    """
    if numbers.size == 0:
        return None
    lengths = numbers.shape
    numbers = numbers[tuple(slice(0, 1) if step == 0 else slice(None) for step in numbers.strides)]
    first = numbers[(0,) * numbers.ndim]
    if (numbers == first).all():
        if lengths and lengths[0] == 1:
            return 0, np.array([first])
        return None, np.array([first])
    for axis in range(numbers.ndim):
        if numbers.shape[axis] < lengths[axis]:
            continue
        ahead = np.moveaxis(numbers, axis, 0)
        along = ahead[(slice(None), *[0] * (numbers.ndim - 1))]
        if (ahead == along.reshape(-1, *[1] * (numbers.ndim - 1))).all():
            return axis, along
    return None


def lines_along(numbers: Numbers, origins: Sequence[Origin]) -> Lines:
    """Return the lines of the positions along axis 0, each of which may be of many rows."""
    n = numbers.shape[0]
    places = np.repeat(np.arange(n), numbers.size // n if n else 0)
    return lines_of_pairs(places, numbers.reshape(-1), n, origins)


def lines_of_pairs(places: IntArray, numbers: Numbers, n: int, origins: Sequence[Origin]) -> Lines:
    """Return lines, ``n`` of them, that are of all the numbers at their place."""
    edges: list[tuple[Node, Via]] = []
    for origin in origins:
        chosen = origin.chosen(numbers)
        if chosen.any():
            at, local = places[chosen], numbers[chosen] - origin.first
            edges.append(_edge(at, local, n, origin.lines))
    if len(edges) == 1:
        node, via = edges[0]
        if not isinstance(via, RowMap):
            return Lines(node, via)
    return joined(origins[0].lines.notes, n, _merged(edges))


def decision_of(numbers: Numbers, origins: Sequence[Origin]) -> Decision:
    """Return what is known of a result whose values have these numbers."""
    pure = pure_axis(numbers)
    if pure is not None:
        axis, along = pure
        return Decision(lines_of_pairs(np.arange(len(along)), along, len(along), origins), axis)
    return Decision(lines_along(numbers, origins), 0)


def _edge(places: IntArray, local: Numbers, n: int, lines: Lines) -> Any:
    """Return from which node rows come, and how: by one row each if that is all."""
    one_each = np.full(n, NONE, dtype=np.int64)
    one_each[places] = local
    if (one_each[places] == local).all():
        return lines.node, lines.at(one_each).rows
    base = lines.base()
    return base, RowMap.from_pairs(places, local, n, base.n_rows)


def _merged(edges: Sequence[tuple[Node, Via]]) -> list[tuple[Node, Via]]:
    """Return the edges without those that say what another one says."""
    kept: list[tuple[Node, Via]] = []
    for node, via in edges:
        if not any(
            node is other
            and not isinstance(via, RowMap)
            and not isinstance(known, RowMap)
            and np.array_equal(via, known)
            for other, known in kept
        ):
            kept.append((node, via))
    return kept
