"""What row maps cost: composing a chain of ten, and walking maps back and forth.

``python -m benchmarks.row_map --rows 1000000`` prints one JSON line for each case: CPU seconds, the
smallest and the median of repeats that are interleaved with those of all other cases, so that a
busy machine slows all of them alike.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.lineage.row_map import RowMap


@dataclass(frozen=True)
class Case:
    """One piece of work, and the map it works on or gives."""

    name: str
    work: Callable[[], object]
    row_map: RowMap


def main() -> None:
    """Print one JSON line for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    cases = [*_building(arguments.rows), *_asking(arguments.rows)]
    seconds = np.array([[_timed(case.work) for case in cases] for _ in range(arguments.repeats)])
    for case, taken in zip(cases, seconds.T, strict=True):
        line = {
            "case": case.name,
            "kind": case.row_map.kind,
            "n_out": case.row_map.n_out,
            "n_in": case.row_map.n_in,
            "cpu_seconds_min": round(float(taken.min()), 7),
            "cpu_seconds_median": round(float(np.median(taken)), 7),
        }
        print(json.dumps(line))


def pipeline(n: int) -> list[RowMap]:
    """Return the maps of ten steps after each other, the last step first.

    Filter, sort, drop rows, join, shuffle, slice, filter, bootstrap, filter, reverse.
    """
    rng = np.random.default_rng(0)
    steps: list[RowMap] = []

    def step(make: Callable[[int], RowMap]) -> None:
        steps.insert(0, make(steps[0].n_out if steps else n))

    step(lambda m: _filter(rng, m, 0.9))
    step(lambda m: RowMap.gather(rng.permutation(m), m))
    step(lambda m: _filter(rng, m, 0.98))
    step(lambda m: RowMap.gather(_with_gaps(rng, rng.permutation(m)), m))
    step(lambda m: RowMap.gather(rng.permutation(m), m))
    step(lambda m: RowMap.range(m // 10, 1, m - m // 10, m))
    step(lambda m: _filter(rng, m, 0.95))
    step(lambda m: RowMap.gather(rng.integers(0, m, m), m))
    step(lambda m: _filter(rng, m, 0.9))
    step(lambda m: RowMap.range(m - 1, -1, m, m))
    return steps


def _filter(rng: np.random.Generator, n: int, share: float) -> RowMap:
    return RowMap.select(np.flatnonzero(rng.random(n) < share), n)


def _with_gaps(rng: np.random.Generator, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ``rows`` with one in twenty replaced by -1, as a left join leaves them."""
    return np.where(rng.integers(0, 20, len(rows)) > 0, rows, -1)


def _composed(steps: list[RowMap]) -> RowMap:
    return reduce(lambda whole, step: step.compose(whole), reversed(steps))


def _building(n: int) -> Iterator[Case]:
    rng = np.random.default_rng(1)
    steps = pipeline(n)
    yield Case("compose ten steps", lambda: _composed(steps), _composed(steps))
    shuffled, kept = rng.permutation(n), np.flatnonzero(rng.integers(0, 2, n))
    for name, rows in (
        ("identity", np.arange(n)),
        ("range", np.arange(n)[::-1]),
        ("select", kept),
        ("gather", shuffled),
    ):
        yield Case(
            f"classify {name}", lambda rows=rows: RowMap.classify(rows, n), RowMap.classify(rows, n)
        )
    groups = RowMap.groups(rng.integers(0, n // 10 + 1, n), n // 10 + 1)
    bootstrap = RowMap.gather(rng.integers(0, n, n), n)
    yield Case(
        "group by after bootstrap", lambda: groups.compose(bootstrap), groups.compose(bootstrap)
    )
    joined_back = _joined_back(n)
    yield Case("join group means back", lambda: _joined_back(n), joined_back)


def _joined_back(n: int) -> RowMap:
    """Return the map of a table to which the mean of each row's group was joined."""
    codes = np.arange(n) % 7
    return RowMap.identity(n).union(RowMap.gather(codes, 7).compose(RowMap.groups(codes, 7)))


def _asking(n: int) -> Iterator[Case]:
    rng = np.random.default_rng(2)
    for name, row_map in _maps(n, rng).items():
        for n_asked in (1, 1000, None):
            for ask, n_rows in ((row_map.backward, row_map.n_out), (row_map.forward, row_map.n_in)):
                rows = _some_rows(rng, n_rows, n_asked)
                title = f"{ask.__name__} {n_asked or 'all'} {name}"
                yield Case(title, lambda ask=ask, rows=rows: ask(rows), row_map)


def _maps(n: int, rng: np.random.Generator) -> dict[str, RowMap]:
    at = np.arange(n)
    groups = RowMap.groups(rng.integers(0, n // 10 + 1, n), n // 10 + 1)
    return {
        "identity": RowMap.identity(n),
        "range": RowMap.range(n - 1, -1, n, n),
        "select": _filter(rng, n, 0.5),
        "gather": RowMap.gather(rng.permutation(n), n),
        "groups": groups,
        "window": RowMap.window(at - 2, at + 1, n),
        "many": groups.compose(RowMap.gather(rng.integers(0, n, n), n)),
        "factored": _joined_back(n),
        "context": RowMap.context(n, at, n),
        "ten steps": _composed(pipeline(n)),
    }


def _some_rows(rng: np.random.Generator, n_rows: int, n_asked: int | None) -> NDArray[np.int64]:
    if n_asked is None:
        return np.arange(n_rows)
    return np.sort(rng.choice(n_rows, min(n_asked, n_rows), replace=False))


def _timed(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
