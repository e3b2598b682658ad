"""What it costs to ask a store for the parents and the children of one row, with many maps in it.

``python -m benchmarks.row_queries`` records 20 maps of 1,000,000 rows each and asks for single rows
of random maps, in SQL over the view ``row_map_row`` and through `load_row_map`. It prints one JSON
line for each way: CPU and elapsed milliseconds, the median and the largest of the repeats. A map is
*cold* when the process has not read its block before: then its bytes are hashed against its name.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from traceprop_engine.lineage import CapturedLineage, RowMap
from traceprop_engine.recording import InputRef, Materialization, load_row_map, record_lineage
from traceprop_engine.store import Store

Ask = Callable[[int, int], list[int]]


def recorded(store: Store, n_maps: int, n_rows: int) -> list[np.ndarray]:
    """Record maps of rows in no order and of filters in turn; return the parents of each map."""
    rng = np.random.default_rng(0)
    maps = []
    for number in range(n_maps):
        rows = rng.choice(2 * n_rows, n_rows, replace=False)
        rows = np.sort(rows) if number % 2 else rows
        maps.append(rows)
        lineage = CapturedLineage(n_rows, {"people": RowMap.gather(rows, 2 * n_rows)})
        made = Materialization(
            f"result_{number}", {"people": InputRef("source", "sv_people")}, run_id="run"
        )
        record_lineage(store, made, lineage)
    return maps


def ways(store: Store) -> dict[str, Ask]:
    """Return how to ask for parents and children: of a map's number and a row."""
    facts = store.query("SELECT * FROM row_map ORDER BY map_id").to_pylist()

    def in_sql(wanted: str, given: str) -> Ask:
        query = f"SELECT {wanted} FROM row_map_row WHERE map_id = ? AND {given} = ?"

        def ask(number: int, row: int) -> list[int]:
            found = store.query(query, [facts[number]["map_id"], row])
            return [int(each) for each in found.column(0).to_pylist()]

        return ask

    return {
        "SQL, backward": in_sql("in_row", "out_row"),
        "SQL, forward": in_sql("out_row", "in_row"),
        "map, backward": lambda n, row: load_row_map(store, facts[n]).backward([row]).tolist(),
        "map, forward": lambda n, row: load_row_map(store, facts[n]).forward([row]).tolist(),
    }


def main() -> None:
    """Print one JSON line for each way of asking."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--maps", type=int, default=20)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder, "store"))
        maps = recorded(store, options.maps, options.rows)
        rng = np.random.default_rng(1)
        for name, ask in ways(Store.open(store.directory)).items():
            cpu, elapsed = [], []
            for _ in range(options.repeats):
                number, at = int(rng.integers(options.maps)), int(rng.integers(options.rows))
                row, expected = (at, maps[number][at])[:: -1 if "forward" in name else 1]
                start = time.process_time(), time.perf_counter()
                found = ask(number, int(row))
                cpu.append((time.process_time() - start[0]) * 1e3)
                elapsed.append((time.perf_counter() - start[1]) * 1e3)
                if found != [expected]:
                    raise AssertionError(f"{name}: {found} is not {expected}")
            figures = {
                "cpu_ms_median": round(statistics.median(cpu), 2),
                "cpu_ms_max": round(max(cpu), 2),
                "elapsed_ms_median": round(statistics.median(elapsed), 2),
            }
            total = options.maps * options.rows
            print(json.dumps({"case": name, "map_rows": total, **figures}), flush=True)


if __name__ == "__main__":
    main()
