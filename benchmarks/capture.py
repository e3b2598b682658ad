"""What it costs to follow every row through a pipeline, beside two peers in the same run.

`python -m benchmarks.capture --rows 1000000` prints one JSON line for each case. Plain and tracked
runs alternate; the figure is process CPU time, as ratios of the minima and of the medians.

The pipeline has ten steps and three sources: concat, dropna, filter, merge, assign (z-score,
logarithm), drop_duplicates, sort, reset_index, group-wise transform, sample. Its result is compared
with the plain one, and its row maps with the key columns, before anything is timed.

*capture* is following every row while the pipeline runs, and giving its result back. *maps* is that
and decoding the row maps, which a result does when it is first asked for them. *persist* is both,
the witness check, and what a Dagster step records: row maps, operations and statistics, committed
to a store on disk. The peers: `tracepipe` (row-level, pandas) on the same
pipeline, and `traceprop` (array-level, NumPy) on the arithmetic of it.
"""

import argparse
import gc
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from traceprop_engine.lineage import CapturedLineage, CaptureSession, Followed, check_witness
from traceprop_engine.recording import InputRef, Materialization, record_lineage
from traceprop_engine.store import Store

Frames = dict[str, pd.DataFrame]


def make_sources(n_rows: int, seed: int = 0) -> Frames:
    """Return two stacked sources of ``1.1 * n_rows`` rows and one to join, a tenth as long."""
    rng = np.random.default_rng(seed)
    n_groups = n_rows // 10 + 1
    people = pd.DataFrame(
        {
            "pid": np.arange(n_rows),
            "k": rng.integers(0, n_groups, n_rows),
            "age": rng.integers(18, 90, n_rows).astype(float),
            "bal": rng.normal(size=n_rows),
            "t": rng.integers(0, 10**6, n_rows),
            "seg": pd.Series(rng.choice(list("abcd"), n_rows)).astype("str"),
        }
    )
    people.loc[rng.random(n_rows) < 0.03, "bal"] = np.nan  # noqa: PLR2004 (three in a hundred)
    more = people.sample(n_rows // 10, random_state=3).reset_index(drop=True)
    more = more.assign(pid=np.arange(n_rows, n_rows + len(more)))
    regions = pd.DataFrame(
        {
            "k": np.arange(n_groups),
            "region": rng.integers(0, 50, n_groups),
            "score": rng.normal(size=n_groups),
        }
    )
    return {"people": people, "more": more, "regions": regions}


def pipeline(people: pd.DataFrame, more: pd.DataFrame, regions: pd.DataFrame) -> pd.DataFrame:
    """Ten steps of ordinary pandas."""
    d = pd.concat([people, more], ignore_index=True)
    d = d.dropna(subset=["bal"])
    d = d[d["age"] > 21]  # noqa: PLR2004 (of age)
    d = d.merge(regions, on="k", how="inner")
    d = d.assign(z=(d["bal"] - d["bal"].mean()) / d["bal"].std(), la=np.log(d["age"]))
    d = d.drop_duplicates(["k", "t"])
    d = d.sort_values("t").reset_index(drop=True)
    d["seg_mean"] = d.groupby("seg")["bal"].transform("mean")
    d = d.sample(frac=0.8, random_state=0, ignore_index=True)
    return d[["pid", "z", "la", "score", "region", "seg_mean"]]


def followed(sources: Frames) -> tuple[pd.DataFrame, Followed]:
    """Run the pipeline and return its result with what is known of its rows."""
    with CaptureSession() as session:
        loaded = {name: session.load(frame, name) for name, frame in sources.items()}
        return session.detach(pipeline(**loaded))


def captured(sources: Frames) -> tuple[pd.DataFrame, CapturedLineage]:
    """Run the pipeline and return its result with the lineage of every row."""
    result, rows = followed(sources)
    return result, rows.lineage()


def persisted(sources: Frames, store: Store, run_id: str) -> None:
    """Run the pipeline, check its lineage against the data, and commit it to a store."""
    plain, lineage = captured(sources)
    lineage = check_witness(lineage, sources, plain)
    inputs = {name: InputRef("dataset", f"dv_{name}") for name in sources}
    record_lineage(store, Materialization("result", inputs, run_id=run_id), lineage)


def assert_exact(sources: Frames) -> None:
    """Fail unless the result is the plain one and the maps are those of the key columns."""
    plain = pipeline(**sources)
    result, lineage = captured(sources)
    pd.testing.assert_frame_equal(plain, result)
    key = np.full(len(plain), -1)
    for name, offset in (("people", 0), ("more", len(sources["people"]))):
        out_rows, in_rows = lineage.maps[name].pairs()
        key[out_rows] = in_rows + offset
    if not np.array_equal(key, plain["pid"].to_numpy()):
        raise AssertionError("a row map is wrong")


def compare(
    plain: Callable[[], object], tracked: Callable[[], object], repeats: int
) -> dict[str, float]:
    """Run two functions in turn and return their CPU seconds and ratios."""
    times: tuple[list[float], list[float]] = ([], [])
    plain(), tracked()
    for turn in range(repeats):
        order: Sequence[int] = (0, 1) if turn % 2 else (1, 0)
        for which in order:
            gc.collect()
            start = time.process_time()
            (plain, tracked)[which]()
            times[which].append(time.process_time() - start)
    base, cost = times
    return {
        "plain_s": round(min(base), 4),
        "tracked_s": round(min(cost), 4),
        "ratio_min": round(min(cost) / min(base), 3),
        "ratio_median": round(statistics.median(cost) / statistics.median(base), 3),
    }


def tracepipe_run(sources: Frames) -> Callable[[], object]:
    """Return the pipeline under tracepipe, in its cheapest mode."""
    import tracepipe  # noqa: PLC0415 (a peer; not a dependency)

    def run() -> object:
        tracepipe.enable(mode="ci")
        try:
            return pipeline(**sources)
        finally:
            tracepipe.disable()
            tracepipe.reset()

    return run


def arithmetic(balance: np.ndarray, age: np.ndarray) -> np.ndarray:
    """The z-score and the logarithm of the pipeline, on arrays."""
    return (balance - balance.mean()) / balance.std() + np.log(age)


def traceprop_run(balance: np.ndarray, age: np.ndarray) -> Callable[[], object]:
    """Return the arithmetic on arrays of the package traceprop, which follows arrays, not rows."""
    import traceprop  # noqa: PLC0415 (a peer; not a dependency)

    def run() -> object:
        traceprop.reset_graph()
        return arithmetic(
            traceprop.from_numpy(balance, source_id="balance"),
            traceprop.from_numpy(age, source_id="age"),
        )

    return run


def main() -> None:
    """Print one JSON line for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    sources = make_sources(options.rows)
    assert_exact(sources)
    plain = lambda: pipeline(**sources)  # noqa: E731 (one expression, used in each case)
    report("capture", options, compare(plain, lambda: followed(sources), options.repeats))
    report("maps", options, compare(plain, lambda: captured(sources), options.repeats))
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder, "store"))
        numbers = iter(range(10**6))
        report(
            "persist",
            options,
            compare(
                plain,
                lambda: persisted(sources, store, f"run-{next(numbers)}"),
                options.repeats,
            ),
        )
    if find_spec("tracepipe"):
        repeats = min(3, options.repeats)
        report("tracepipe", options, compare(plain, tracepipe_run(sources), repeats))
    if find_spec("traceprop"):
        values = sources["people"].fillna(0.0)
        balance, age = values["bal"].to_numpy(copy=True), values["age"].to_numpy(copy=True)
        cost = compare(
            lambda: arithmetic(balance, age), traceprop_run(balance, age), options.repeats
        )
        report("traceprop, arithmetic only", options, cost)


def report(case: str, options: argparse.Namespace, figures: dict[str, float]) -> None:
    """Print one case."""
    print(json.dumps({"case": case, "rows": options.rows, **figures}), flush=True)


if __name__ == "__main__":
    main()
