"""How much do row fingerprints cost, and how fast are two versions of a source matched?

Run: ``python -m benchmarks.identity [rows]``. Times are of the processor, the least of three.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from traceprop_engine.identity import fingerprint_source, match_versions, row_fingerprints
from traceprop_engine.recording import record_source
from traceprop_engine.sources import read_source, scan_source
from traceprop_engine.store import Store

SECRET = b"a secret of the benchmark, so so"


def mixed_frame(n: int) -> pd.DataFrame:
    """Return six columns: two of whole numbers, one each of texts, floats, truths and dates."""
    rng = np.random.default_rng(0)
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 2000, n), unit="D")
    return pd.DataFrame(
        {
            "id": np.arange(n),
            "name": pd.Series(rng.integers(0, 10**6, n)).map("person {}".format).astype("str"),
            "value": rng.normal(size=n),
            "kind": rng.integers(0, 50, n),
            "flag": rng.random(n) < 0.5,  # noqa: PLR2004 (half of them)
            "day": days.astype("str"),
        }
    )


def timed(what: str, n: int, call: Callable[[], Any], repeats: int = 3) -> None:
    """Print the least processor time of ``call``."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    best = min(seconds)
    print(f"{what:52}{best:8.2f} s{n / best / 1e6:9.2f} M rows/s", flush=True)


def stored_bytes(store: Store) -> int:
    """Return the size of all blocks."""
    return sum(path.stat().st_size for path in store.directory.glob("blocks/*/*"))


def main(n: int) -> None:
    """Print the table."""
    frame = mixed_frame(n)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        frame.to_csv(path, index=False)
        version = scan_source(path)
        timed("read_source, CSV", n, lambda: read_source(path))
        timed("row_fingerprints, frame", n, lambda: row_fingerprints(frame, SECRET))
        timed(
            "fingerprint_source, CSV, no key",
            n,
            lambda: fingerprint_source(version, SECRET, key_columns=()),
        )
        timed("fingerprint_source, CSV, key", n, lambda: fingerprint_source(version, SECRET))
        for wanted in (False, True):
            sizes = []

            def record(wanted: bool = wanted, sizes: list[int] = sizes) -> None:  # noqa: FBT001
                store = Store.create(Path(tempfile.mkdtemp(dir=folder)))
                record_source(store, version, fingerprint=wanted)
                sizes.append(stored_bytes(store))

            timed(f"record_source, fingerprint={wanted}", n, record)
            print(f"{'':52}{sizes[0] / n:8.2f} bytes a row")
        old = row_fingerprints(frame, SECRET)
        shuffled = row_fingerprints(frame.sample(frac=1, random_state=1), SECRET)
        timed("match_versions, shuffled", n, lambda: match_versions(old, shuffled))
        timed("its counts", n, lambda: match_versions(old, shuffled).counts)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
