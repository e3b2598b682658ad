"""Frames of Polars and Arrow that know which rows they hold."""

from traceprop_engine.frames.arrow_table import TrackedTable, concat_arrow, track_arrow
from traceprop_engine.frames.polars_concat import concat_polars
from traceprop_engine.frames.polars_frame import TrackedPolars
from traceprop_engine.frames.polars_tracking import track_polars

__all__ = [
    "TrackedPolars",
    "TrackedTable",
    "concat_arrow",
    "concat_polars",
    "track_arrow",
    "track_polars",
]
