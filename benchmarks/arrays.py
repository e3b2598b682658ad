"""What it costs that arrays know their rows, beside plain NumPy and beside traceprop 0.7.0.

``python -m benchmarks.arrays`` prints one JSON line for each expression, size and way: CPU seconds
of a call, the smallest and the median of repeats that are interleaved with those of all other ways,
and both as a ratio to plain NumPy.
"""

import argparse
import importlib.util
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np

from traceprop_engine.arrays import from_numpy
from traceprop_engine.lineage.granularity import granularity
from traceprop_engine.lineage.graph import reset_graph

_HALF = 0.5

Expression = Callable[[Any, Any], Any]


def named(a: Any, b: Any) -> Any:
    """Work in steps, each with a name, as most scripts do."""
    c = a + b
    d = c * b
    return d - a


def chained(a: Any, b: Any) -> Any:
    """Work in one expression, whose temporaries NumPy reuses."""
    return a * 2.0 + b * 3.0 - 1.0


def polynomial(a: Any, _b: Any) -> Any:
    """Work in one long expression."""
    return ((a * 0.5 + 1.0) * a - 2.0) * a + 3.0


def functions(a: Any, b: Any) -> Any:
    """Call functions beside operators."""
    return np.sqrt(a * a + b * b) / 2.0


def standardised(a: Any, _b: Any) -> Any:
    """Use two statistics of all rows."""
    return (a - a.mean()) / a.std()


def filtered(a: Any, b: Any) -> Any:
    """Pick rows."""
    return a[b > _HALF] * 2.0


EXPRESSIONS = [named, chained, polynomial, functions, standardised, filtered]


def main() -> None:
    """Print one JSON line for each expression, size and way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--only", nargs="*", default=[each.__name__ for each in EXPRESSIONS])
    arguments = parser.parse_args()
    for size in arguments.sizes:
        for expression in EXPRESSIONS:
            if expression.__name__ in arguments.only:
                for line in measured(expression, size, arguments.repeats):
                    print(json.dumps(line), flush=True)


def measured(expression: Expression, size: int, repeats: int) -> Iterator[dict[str, Any]]:
    """Yield what each way takes for an expression of vectors of one size."""
    ways = list(_ways(size))
    inner = max(1, 1_000_000 // size)
    taken: dict[str, list[float]] = {name: [] for name, *_ in ways}
    for at in range(repeats + 3):
        # Every way is first as often as the others: who follows whom must not matter.
        for name, scope, a, b in ways[at % len(ways) :] + ways[: at % len(ways)]:
            with scope():
                start = time.process_time()
                for _ in range(inner):
                    expression(a, b)
                taken[name].append((time.process_time() - start) / inner)
    plain = taken["plain"][3:]
    for name, seconds in taken.items():
        mine = seconds[3:]
        ratios = [one / other for one, other in zip(mine, plain, strict=True)]
        yield {
            "expression": expression.__name__,
            "elements": size,
            "way": name,
            "cpu_ms_min": round(min(mine) * 1e3, 4),
            "cpu_ms_median": round(statistics.median(mine) * 1e3, 4),
            "ratio_of_min": round(min(mine) / min(plain), 3),
            "ratio_of_median": round(statistics.median(mine) / statistics.median(plain), 3),
            "median_of_ratios": round(statistics.median(ratios), 3),
        }


def _ways(size: int) -> Iterator[tuple[str, Callable[[], Any], Any, Any]]:
    rng = np.random.default_rng(0)
    a, b = rng.random(size), rng.random(size)
    yield "plain", nullcontext, a.copy(), b.copy()
    reset_graph()
    yield "ours ROW", nullcontext, from_numpy(a, "a"), from_numpy(b, "b")
    with granularity("OP"):
        yield "ours OP", lambda: granularity("OP"), from_numpy(a, "c"), from_numpy(b, "d")
    if importlib.util.find_spec("traceprop"):
        tp = __import__("traceprop")
        yield (
            "traceprop 0.7.0",
            nullcontext,
            tp.from_numpy(a.copy(), source_id="a"),
            tp.from_numpy(b.copy(), source_id="b"),
        )


if __name__ == "__main__":
    main()
