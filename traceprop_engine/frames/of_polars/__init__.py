"""Frames of Polars that know which rows they hold."""

from traceprop_engine.frames.of_polars.concat import concat_polars
from traceprop_engine.frames.of_polars.frame import TrackedPolars
from traceprop_engine.frames.of_polars.tracking import track_polars

__all__ = ["TrackedPolars", "concat_polars", "track_polars"]
