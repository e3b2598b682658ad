"""From rows of a node to rows of the inputs: as row maps, or as the set of rows that is reached."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.lineage.marks import Node, Via, nodes_above
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.lineage.rows import (
    Rows,
    as_array,
    is_counting,
    map_of,
    no_rows,
    taken,
)

Maps = dict[str, RowMap]
"""For each input, how rows follow from its rows."""

Mask = NDArray[np.bool_]
"""Which rows of an input, one flag for each of them."""

_FEW_PIECES = 8


class NodeMaps:
    """The row maps of nodes to the inputs.

    Rows are followed downwards as long as the parents of a node share no input: each step is one
    lookup. Below a node whose parents do, maps are composed upwards, each node's once.
    """

    def __init__(self) -> None:
        self._known: dict[Node, Maps] = {}

    def of_rows(self, node: Node, rows: Rows) -> Maps:
        """Return the maps of some rows of a node; -1 is no row."""
        maps: Maps = {}
        waiting: list[tuple[Node, Rows]] = [(node, rows)]
        while waiting:
            each, at = waiting.pop()
            below = _below(each, at)
            if below is not None:
                waiting += below
                continue
            picked = map_of(at, each.n_rows)
            maps |= {name: picked.compose(inner) for name, inner in self._of(each).items()}
        return maps

    def _of(self, node: Node) -> Maps:
        for each in nodes_above([node], self._known):
            self._known[each] = _maps_of(each, self._known)
        return self._known[node]


def _below(node: Node, rows: Rows) -> list[tuple[Node, Rows]] | None:
    """Return the rows of the parents that rows of a node are, if no input is met twice."""
    parents = node.parents()
    if not parents or len(frozenset().union(*[each.roots for each in parents])) < sum(
        len(each.roots) for each in parents
    ):
        return None
    if node.pieces:
        return _pieces_below(node, rows) if len(node.pieces) <= _FEW_PIECES else None
    if any(isinstance(via, RowMap) for _, via in node.edges):
        return None
    if len(node.edges) > 1 and not isinstance(rows, range):
        rows = rows.astype(np.intp, copy=False)  # once; each lookup would do it again
    return [(parent, _looked_up(parent, via, rows)) for parent, via in node.edges]


def _looked_up(parent: Node, via: Any, rows: Rows) -> Rows:
    if is_counting(via, parent.n_rows):
        return rows
    return via if is_counting(rows, len(via)) else taken(via, as_array(rows))


def _pieces_below(node: Node, rows: Rows) -> list[tuple[Node, Rows]]:
    below: list[tuple[Node, Rows]] = []
    start = 0
    for n, parent, via in node.pieces:
        if parent is not None:
            local = as_array(rows) - start
            # Seen as unsigned, a negative number is larger than any other.
            local[local.view(f"u{local.itemsize}") >= n] = -1
            below.append((parent, _looked_up(parent, via, local)))
        start += n
    return below


def _maps_of(node: Node, known: dict[Node, Maps]) -> Maps:
    if node.name is not None:
        return {node.name: RowMap.identity(node.n_rows)}
    if node.pieces:
        return _stacked_maps(node, known)
    maps: Maps = {}
    for parent, via in node.edges:
        step = via if isinstance(via, RowMap) else map_of(via, parent.n_rows)
        for name, inner in known[parent].items():
            found = step.compose(inner)
            maps[name] = maps[name].union(found) if name in maps else found
    return maps


def _stacked_maps(node: Node, known: dict[Node, Maps]) -> Maps:
    sizes = {
        name: inner.n_in
        for _, parent, _ in node.pieces
        if parent is not None
        for name, inner in known[parent].items()
    }
    return {
        name: RowMap.segments(
            (n, _piece_map(n, parent, rows, name, n_in, known)) for n, parent, rows in node.pieces
        )
        for name, n_in in sizes.items()
    }


def _piece_map(
    n: int, parent: Node | None, rows: Rows, name: str, n_in: int, known: dict[Node, Maps]
) -> RowMap:
    inner = None if parent is None else known[parent].get(name)
    if inner is None:
        return RowMap.gather(no_rows(n), n_in)
    return map_of(rows, inner.n_out).compose(inner)


def reached_inputs(rows: Iterable[tuple[Node, Rows]]) -> dict[str, Mask]:
    """Return which rows of each input some rows of nodes come from.

    A mask is carried from node to node, children first: no map is composed for it.
    """
    masks: dict[Node, Mask] = {}
    for node, some in rows:
        found = _mask_of(some, node.n_rows)
        masks[node] = masks[node] | found if node in masks else found
    reached: dict[str, Mask] = {}
    for each in reversed(nodes_above(masks)):
        mask = masks.pop(each)
        if each.name is not None:
            reached[each.name] = mask
        start = 0
        for n, parent, via in _parts_of(each):
            if parent is not None:
                found = _parents_of(mask[start : start + n], parent, via)
                masks[parent] = masks[parent] | found if parent in masks else found
            start += n if each.pieces else 0
    return reached


def _parts_of(node: Node) -> list[tuple[int, Node | None, Via]]:
    """Return how many rows come from each parent, and how; all of them do from that of an edge."""
    return [*((node.n_rows, parent, via) for parent, via in node.edges), *node.pieces]


def _parents_of(mask: Mask, parent: Node, via: Via) -> Mask:
    """Return which rows of the parent the marked rows come from."""
    if isinstance(via, RowMap):
        return _mask_of(via.backward(np.flatnonzero(mask)), parent.n_rows)
    if is_counting(via, parent.n_rows):
        return mask
    if mask.all():
        return _mask_of(via, parent.n_rows)
    return _mask_of(as_array(via).take(np.flatnonzero(mask)), parent.n_rows)


def _mask_of(rows: Rows, n_rows: int) -> Mask:
    """Return a mask of rows; -1 is no row, and falls on a place behind the last one."""
    mask = np.zeros(n_rows + 1, dtype=bool)
    if isinstance(rows, range):
        mask[np.s_[:] if len(rows) == n_rows else as_array(rows)] = True
    else:
        # NumPy scatters by its own integers more than twice as fast as by narrower ones.
        mask[rows.astype(np.intp, copy=False)] = True
    return mask[:n_rows]
