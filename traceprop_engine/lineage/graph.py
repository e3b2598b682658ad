"""The graph that values are tracked in when no session is named: one for the process."""

from threading import Lock

from traceprop_engine.errors import CaptureError
from traceprop_engine.lineage.marks import Mark, Node, Notes

_lock = Lock()
_graphs = [Notes(is_open=True)]


def default_graph() -> Notes:
    """Return the graph of the process."""
    return _graphs[0]


def reset_graph() -> None:
    """Start a fresh graph; what was tracked in the old one stays usable and is not followed."""
    with _lock:
        _graphs[0].is_open = False
        _graphs[0] = Notes(is_open=True)


def root_rows(notes: Notes, n_rows: int, name: str) -> Mark:
    """Return the mark of the rows of an input, which may come in several arrays of one length.

    Raises:
        CaptureError: There is an input of that name with another number of rows.
    """
    with _lock:
        node = notes.inputs.get(name)
        if node is None:
            node = Node(notes, n_rows, name=name, roots=frozenset([name]))
            notes.inputs[name] = node
    if node.n_rows != n_rows:
        raise CaptureError(
            f"The input {name!r} has {node.n_rows:,} rows, and this array of it has {n_rows:,}",
            "give each input its own name, or start anew with `reset_graph()`",
        )
    return Mark(node, range(n_rows))
