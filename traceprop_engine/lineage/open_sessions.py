"""The sessions of this process that are open, for a caller that only knows an input's name."""

from threading import Lock
from weakref import WeakSet

from traceprop_engine.lineage.graph import default_graph
from traceprop_engine.lineage.marks import Notes

_lock = Lock()
_announced: WeakSet[Notes] = WeakSet()


def announce(notes: Notes) -> None:
    """Let the inputs of a session be found by name for as long as it is open."""
    with _lock:
        _announced.add(notes)


def notes_with(name: str) -> list[Notes]:
    """Return what every open session has written down that has an input of this name."""
    with _lock:
        candidates = [*_announced, default_graph()]
    return [notes for notes in candidates if notes.is_open and name in notes.inputs]
