"""Tracked Polars frames, one below or beside the other."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from traceprop_engine.errors import CaptureError
from traceprop_engine.frames.of_polars.frame import TrackedPolars
from traceprop_engine.lineage.carriers import plain_of

_BELOW = ("vertical", "vertical_relaxed", "diagonal", "diagonal_relaxed")


def concat_polars(
    frames: Sequence[pl.DataFrame | TrackedPolars], *, how: Any = "vertical", **options: Any
) -> TrackedPolars:
    """Return what `polars.concat` gives for frames, of which some are tracked.

    Args:
        frames: The frames.
        how: As in Polars. Rows are followed one below the other, and beside each other where all
            frames have as many.
        options: As in Polars.

    Raises:
        CaptureError: There is no frame.
    """
    if not frames:
        raise CaptureError("`concat_polars` got no frames", "give at least one")
    result = pl.concat([plain_of(frame) for frame in frames], how=how, **options)
    carrier = TrackedPolars(result, None)
    if how in _BELOW:
        return carrier.of_stacked(result, frames, f"concat(how={how!r})")
    if how == "horizontal" and {len(frame) for frame in frames} == {len(result)}:
        every = np.arange(len(result))
        return carrier.of_joined(result, [(f, every) for f in frames], f"concat(how={how!r})")
    return carrier.of_lost(result, f"concat(how={how!r})", *frames)
