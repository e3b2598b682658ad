"""Planted keys: column ``key`` numbers the rows of an input, and a result says which it holds."""

import numpy as np
import polars as pl

from traceprop_engine.frames import track_polars
from traceprop_engine.lineage import CaptureSession

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


def keys_of(frame, column="key"):
    """The input rows of each row of a result, as its own key column says."""
    return [
        [] if value is None else sorted(value) if isinstance(value, list) else [value]
        for value in frame[column].to_list()
    ]


def maps_to(lineage, name):
    row_map = lineage.maps[name]
    return [row_map.backward([row]).tolist() for row in range(row_map.n_out)]


def both(run, *names):
    """The plain result, the tracked one, its lineage."""
    plain = {"visits": visits(), "people": PEOPLE}
    with CaptureSession() as session:
        wanted = run(*(plain[name] for name in names))
        tracked = run(*(track_polars(plain[name], name, session=session) for name in names))
        found, lineage = session.finish(tracked)
    return wanted, found, lineage
