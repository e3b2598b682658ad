"""What it costs to follow every row through a DuckDB query.

`python -m benchmarks.sql --rows 2000000` prints two JSON lines for each query, and two for all of
them together. Plain and traced runs alternate; the figure is process CPU time, as ratios of the
minima and of the medians. Both read the same pandas frames, register them, and return an Arrow
table. *follow* is running the query so that the lineage of its result can be told at any later
time; *maps* is that and telling it, as a result does when it is first asked. Before anything is
timed, the two results are compared, and the maps with a key column.
"""

import argparse
import json
from functools import partial

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.capture import compare
from traceprop_engine.lineage import CapturedLineage
from traceprop_engine.sql_queries import THREADS, SqlResult, trace_query

Frames = dict[str, pd.DataFrame]

QUERIES = {
    "filter": "SELECT * FROM visits WHERE dose > 0",
    "join": "SELECT v.*, p.age FROM visits v JOIN patients p USING (patient)",
    "order": "SELECT * FROM visits ORDER BY dose",
    "window": ("SELECT *, row_number() OVER (PARTITION BY patient ORDER BY dose) AS n FROM visits"),
    "union all": (
        "SELECT id, dose, site FROM visits WHERE dose > 0 "
        "UNION ALL SELECT id, weight, site FROM visits WHERE weight > 0"
    ),
    "nested join": (
        "SELECT q.*, r.age AS other FROM (SELECT v.*, p.age, p.friend FROM visits v "
        "JOIN patients p USING (patient) WHERE v.dose > -1) q "
        "JOIN patients r ON q.friend = r.patient"
    ),
    "group by few": (
        "SELECT site, clinic, count(*) AS n, avg(dose) AS dose, stddev(weight) AS weight, "
        "max(id) AS last FROM visits GROUP BY ALL"
    ),
    "group by many": (
        "SELECT patient, count(*) AS n, avg(dose) AS dose, stddev(weight) AS weight, "
        "max(id) AS last FROM visits GROUP BY patient"
    ),
    "group by, two sums": "SELECT clinic, sum(dose), avg(weight) FROM visits GROUP BY clinic",
    "distinct": "SELECT DISTINCT patient, site FROM visits",
    "total": "SELECT avg(dose), stddev(weight) FROM visits",
}


def make_frames(n_rows: int, seed: int = 0) -> Frames:
    """Return visits of ``n_rows`` rows, six columns and one text among them, and patients."""
    rng = np.random.default_rng(seed)
    n_patients = n_rows // 10 + 1
    visits = pd.DataFrame(
        {
            "id": np.arange(n_rows),
            "patient": rng.integers(0, n_patients, n_rows),
            "clinic": rng.integers(0, 100, n_rows),
            "dose": rng.normal(size=n_rows),
            "weight": rng.normal(size=n_rows),
            "site": pd.Series(rng.choice(list("abcd"), n_rows)).astype("str"),
        }
    )
    patients = pd.DataFrame(
        {
            "patient": np.arange(n_patients),
            "age": rng.integers(18, 90, n_patients),
            "friend": rng.integers(0, n_patients, n_patients),
        }
    )
    return {"visits": visits, "patients": patients}


def plain_run(query: str, frames: Frames) -> pa.Table:
    """Run a query as anyone would, on a connection of its own."""
    with duckdb.connect(config={"threads": THREADS}) as connection:
        for name, frame in frames.items():
            connection.register(name, frame)
        return connection.sql(query).to_arrow_table()


def maps_run(query: str, frames: Frames) -> CapturedLineage:
    """Run a query and tell the lineage of its result."""
    return trace_query(query, frames).lineage


def assert_exact(query: str, frames: Frames) -> None:
    """Fail unless the result is the plain one and the maps are those of the key column."""
    plain, traced = plain_run(query, frames), trace_query(query, frames)
    if plain.schema != traced.table.schema or plain.num_rows != traced.table.num_rows:
        raise AssertionError("the result is another one")
    if "id" in plain.column_names and not np.array_equal(keys_of(traced), ids_of(traced.table)):
        raise AssertionError("a row map is wrong")


def keys_of(traced: SqlResult) -> np.ndarray:
    """Return the visit of each row, as its map says."""
    out_rows, in_rows = traced.lineage.maps["visits"].pairs()
    keys = np.full(traced.table.num_rows, -1)
    keys[out_rows] = in_rows
    return keys


def ids_of(table: pa.Table) -> np.ndarray:
    """Return the visit of each row, as the result says."""
    return table.column("id").to_numpy()


def report(case: str, n_rows: int, figures: dict[str, float]) -> None:
    """Print one case."""
    print(json.dumps({"case": case, "rows": n_rows, **figures}), flush=True)


def total(figures: list[dict[str, float]]) -> dict[str, float]:
    """Return the sum of the minima of all queries, and its ratio."""
    plain, tracked = (sum(each[key] for each in figures) for key in ("plain_s", "tracked_s"))
    return {
        "plain_s": round(plain, 4),
        "tracked_s": round(tracked, 4),
        "ratio_min": round(tracked / plain, 3),
    }


def main() -> None:
    """Print two JSON lines for each query, and two for all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    frames = make_frames(options.rows)
    found: dict[str, list[dict[str, float]]] = {"follow": [], "maps": []}
    for case, query in QUERIES.items():
        if options.only in case:
            assert_exact(query, frames)
            plain = partial(plain_run, query, frames)
            runs = {
                "follow": partial(trace_query, query, frames),
                "maps": partial(maps_run, query, frames),
            }
            for name, run in runs.items():
                found[name].append(compare(plain, run, options.repeats))
                report(f"{case}, {name}", options.rows, found[name][-1])
    for name, figures in found.items():
        report(f"all queries, {name}", options.rows, total(figures))


if __name__ == "__main__":
    main()
