"""What it costs to follow rows through `group_by.agg` of Polars: CPU time beside the plain frame.

Run with ``python benchmarks/frames.py``; each figure is the best of five, in one process.
"""

import time
from collections.abc import Callable

import numpy as np
import polars as pl

from traceprop_engine.frames.of_polars import track_polars

N_ROWS = 1_000_000
REPEATS = 5


def cpu_ms(call: Callable[[], object]) -> float:
    """Return the least CPU time of several calls in milliseconds."""
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times) * 1e3


def visits(kind: str, n_groups: int) -> pl.DataFrame:
    """Return a million rows whose keys are of one kind."""
    rng = np.random.default_rng(0)
    code = rng.integers(0, n_groups, N_ROWS)
    keys = {"whole": code, "float": code / 4, "text": np.char.add("g", code.astype(str))}
    return pl.DataFrame({"key": keys[kind], "cost": rng.normal(size=N_ROWS)})


def summary(frame: pl.DataFrame) -> pl.DataFrame:
    """Group the rows as a user would."""
    return frame.group_by("key").agg(pl.col.cost.mean(), pl.col.cost.max().alias("most"))


def main() -> None:
    """Print a line for each kind of key and number of groups."""
    print(f"{'keys':>6} {'groups':>8} {'plain ms':>9} {'tracked ms':>11} {'ratio':>6}")
    for kind in ("whole", "text", "float"):
        for n_groups in (100, 10_000, 300_000):
            frame = visits(kind, n_groups)
            tracked = track_polars(frame, f"{kind}-{n_groups}")
            plain, followed = (cpu_ms(lambda f=f: summary(f)) for f in (frame, tracked))
            ratio = followed / plain
            print(f"{kind:>6} {n_groups:>8,} {plain:9.1f} {followed:11.1f} {ratio:6.2f}")


if __name__ == "__main__":
    main()
