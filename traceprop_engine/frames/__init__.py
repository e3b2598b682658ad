"""Frames of Arrow that know which rows they hold; those of Polars are in `of_polars`."""

from traceprop_engine.frames.arrow_table import TrackedTable, concat_arrow, track_arrow

__all__ = ["TrackedTable", "concat_arrow", "track_arrow"]
