"""Polars frames with planted keys, and what they are joined to."""

import numpy as np
import polars as pl

from tests.oracle.planted_keys import plain_and_tracked
from traceprop_engine.frames.of_polars import track_polars

N = 24


def visits(n=N, seed=0):
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "key": np.arange(n),
            "g": rng.integers(0, 4, n),
            "x": rng.normal(size=n).round(1),
            "h": pl.Series(rng.normal(size=n).round(2)).scatter(range(0, n, 5), None),
            "s": rng.choice(["a", "b", "c"], n),
            "l": [[int(i)] * int(rng.integers(1, 3)) for i in range(n)],
        }
    )


PEOPLE = pl.DataFrame({"pkey": [0, 1, 2, 3, 4], "g": [3, 1, 1, 0, 9], "name": list("vwxyz")})


def both(run, *names):
    """The plain result, the tracked one, its lineage."""
    plain = {"visits": visits(), "people": PEOPLE}
    return plain_and_tracked(run, {name: plain[name] for name in names}, track_polars)
