"""A record index under construction, block by block."""

import numpy as np

from traceprop_engine.sources.version import RecordIndex


class IndexBuilder:
    """Collects the places of records as they are found.

    Attributes:
        n_rows: Number of records so far.
    """

    def __init__(self, *, keep: bool) -> None:
        """Keep the places, or only count the records."""
        self.n_rows = 0
        self._keep = keep
        self._parts: list[np.ndarray] = []

    def append(self, lines: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> None:
        """Add records: the line number, first byte and end of each."""
        self.n_rows += len(lines)
        if self._keep and len(lines):
            self._parts.append(np.stack([lines, starts, ends]).astype(np.int64, copy=False))

    def build(self) -> RecordIndex:
        """Return the index of all records; may be called once."""
        places = np.concatenate([np.empty((3, 0), dtype=np.int64), *self._parts], axis=1)
        self._parts.clear()
        places.flags.writeable = False
        return RecordIndex(*places)
