"""Row maps in less memory: what a graph keeps of its values, compressed without loss.

Compressed are the row maps between sets of rows, and the rows of the notes on statistics, which a
graph keeps for as long as it lives. The rows that a living array or frame holds itself are not, nor
those of stacked pieces. What is compressed is unpacked for as long as it is asked, so answers are
the same, but for the order of statistics, and take longer.
"""

from collections.abc import Container, Hashable, Iterable, Iterator
from dataclasses import fields, is_dataclass, replace
from threading import RLock
from typing import Any

import numpy as np

from traceprop_engine.digests import sha256_bytes
from traceprop_engine.lineage.graph import default_graph
from traceprop_engine.lineage.marks import Node, Note, Notes, Via, derived, nodes_above
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.lineage.rows import as_array, map_of
from traceprop_engine.provenance_views.packed_maps import MANY_ROWS, PACKED, packed_map
from traceprop_engine.provenance_views.packing import Packed
from traceprop_engine.provenance_views.snapshot import Snapshot, snapshot_of

_lock = RLock()
_is_enabled = [False]


def enable_compression() -> None:
    """Compress what the graph of the process holds, and go on so.

    From now on `provenance` compresses what the graph of a value keeps. Let no other thread ask for
    lineage while it runs.
    """
    with _lock:
        _is_enabled[0] = True
        _compress_notes(default_graph())


def disable_compression() -> None:
    """Compress nothing more; what is compressed stays so, and answers the same."""
    with _lock:
        _is_enabled[0] = False


def compress(value: Any) -> None:
    """Compress what the graph of a value keeps of it, whether compression is enabled or not.

    Raises:
        UntrackedValueError: The value carries no rows.
    """
    with _lock:
        _compress(snapshot_of(value))


def compress_if_enabled(snapshot: Snapshot) -> None:
    """Compress what the graph of a value keeps of it, if that is wanted."""
    with _lock:
        if _is_enabled[0]:
            _compress(snapshot)


def bytes_per_row(value: Any) -> float:
    """Return the bytes of row numbers that are held for each row of a value.

    Counted are its own rows, the row maps of the sets of rows that it comes from, and the notes on
    statistics; what several share counts once. Of a value without rows, all its bytes.

    Raises:
        UntrackedValueError: The value carries no rows.
    """
    snapshot = snapshot_of(value)
    notes = list(snapshot.notes.found.values())
    nodes = nodes_above([mark.node for mark in snapshot.marks()] + [note.node for note in notes])
    held = [placed[1] for placed in (snapshot.rows, snapshot.columns) if placed is not None]
    held += [via for node in nodes for _, via in node.edges]
    held += [rows for node in nodes for _, _, rows in node.pieces]
    held += [rows for note in notes for rows in (note.rows, note.chosen_from)]
    return sum(_sizes(held).values()) / max(1, snapshot.n_rows)


def _compress(snapshot: Snapshot) -> None:
    for node in snapshot.nodes():
        _compress_edges(node)
    placed = [each for each in (snapshot.rows, snapshot.columns) if each is not None]
    for mark, rows in placed:
        _compress_notes(mark.node.notes, _sizes([rows]))


def _compress_edges(node: Node) -> None:
    edges = tuple((parent, _packed(via, parent.n_rows)) for parent, via in node.edges)
    if any(new is not old for (_, new), (_, old) in zip(edges, node.edges, strict=True)):
        object.__setattr__(node, "edges", edges)  # the same relation, held in another way


def _packed(via: Via, n_in: int) -> Via:
    if isinstance(via, RowMap):
        return packed_map(via)
    if isinstance(via, range) or len(via) < MANY_ROWS:
        return via
    return packed_map(map_of(via.copy(), n_in))


def _compress_notes(notes: Notes, held: Container[int] = ()) -> None:
    """Put each note with many rows on a set of rows of its own, whose row map is compressed.

    The note gets a new key, of what it says: the old one holds the identity of the vector, which is
    now let go. Notes on memory that a value holds anyway, ``held`` by identity, are left alone.
    """
    for node in nodes_above(note.node for note in list(notes.found.values())):
        _compress_edges(node)
    for key, note in list(notes.found.items()):
        shared = any(memory in held for memory in _sizes([note.rows, note.chosen_from]))
        if shared or _is_packed(note):
            continue
        new = _key_of(note)
        if new not in notes.found:
            notes.found[new] = _packed_note(notes, note)
        del notes.found[key]


def _is_packed(note: Note) -> bool:
    """Say whether a note holds no vector that is long, or not its own."""
    if isinstance(note.rows, range):
        return isinstance(note.chosen_from, range)
    return len(note.rows) < MANY_ROWS and note.chosen_from is note.rows


def _key_of(note: Note) -> Hashable:
    rows = as_array(note.rows).astype("<i8", copy=False)
    return (
        note.statistic,
        note.column,
        note.detail,
        note.node.number,
        sha256_bytes(rows.tobytes()),
    )


def _packed_note(notes: Notes, note: Note) -> Note:
    if isinstance(note.rows, range) or len(note.rows) < MANY_ROWS:
        few = note.rows if isinstance(note.rows, range) else note.rows.copy()
        return replace(note, rows=few, chosen_from=few)
    via = _packed(note.rows, note.node.n_rows)
    every = range(len(note.rows))
    node = derived(notes, len(every), [(note.node, via)])
    return replace(note, node=node, rows=every, chosen_from=every)


def _sizes(values: Iterable[Any]) -> dict[int, int]:
    """Return the bytes of the vectors in some values, by the identity of their memory."""
    return {id(memory): size for value in values for memory, size in _memory(value)}


def _memory(value: Any) -> Iterator[tuple[object, int]]:
    match value:
        case np.ndarray():
            base = value.base if isinstance(value.base, np.ndarray) else value
            yield base, base.nbytes
        case Packed():
            yield value, len(value.data)
        case tuple():
            for each in value:
                yield from _memory(each)
        case _ if isinstance(value, PACKED):
            yield from _memory(value.packed)
        case _ if is_dataclass(value):
            for each in fields(value):
                yield from _memory(getattr(value, each.name))
