"""Errors of the check of a lineage against what its function does."""

from traceprop_engine.errors.base import TracepropError


class LineageFuzzError(TracepropError):
    """A lineage cannot be held against what its function does."""

    def __init__(self, reason: str, way_out: str) -> None:
        super().__init__(f"{reason}; {way_out}.")
