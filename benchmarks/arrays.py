"""What it costs that arrays know their rows, beside plain NumPy and beside traceprop 0.7.0.

``python -m benchmarks.arrays`` prints one JSON line for each expression, size and way: CPU seconds
of a call, the smallest of repeats that are interleaved with plain NumPy on the same memory, and
ratios to it.
"""

import argparse
import importlib.util
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from traceprop_engine.arrays import from_numpy
from traceprop_engine.lineage.carriers import lent
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
    """Yield what each way takes, beside plain NumPy on the same memory."""
    ways = list(_ways(size))
    inner = max(1, 1_000_000 // size)
    taken: dict[str, list[tuple[float, float]]] = {way.name: [] for way in ways}
    for at in range(repeats + 3):
        # Every way is first as often as the others, and so is plain NumPy.
        for way in ways[at % len(ways) :] + ways[: at % len(ways)]:
            runs = [(way.scope, way.tracked), (nullcontext, way.plain)]
            seconds = [0.0, 0.0]
            for which in (0, 1) if at % 2 else (1, 0):
                scope, vectors = runs[which]
                with scope():
                    start = time.process_time()
                    for _ in range(inner):
                        expression(*vectors)
                    seconds[which] = (time.process_time() - start) / inner
            taken[way.name].append((seconds[0], seconds[1]))
    for name, pairs in taken.items():
        mine, plain = zip(*pairs[3:], strict=True)
        yield {
            "expression": expression.__name__,
            "elements": size,
            "way": name,
            "cpu_ms_min": round(min(mine) * 1e3, 4),
            "plain_cpu_ms_min": round(min(plain) * 1e3, 4),
            "ratio_of_min": round(min(mine) / min(plain), 3),
            "ratio_of_median": round(statistics.median(mine) / statistics.median(plain), 3),
            "median_of_ratios": round(statistics.median(a / b for a, b in pairs[3:]), 3),
        }


@dataclass(frozen=True)
class Way:
    """Two tracked vectors, and the same memory as plain NumPy sees it.

    Where memory lies changes the time of a short expression by more than tracking does.
    """

    name: str
    scope: Callable[[], Any]
    tracked: tuple[Any, Any]
    plain: tuple[Any, Any]


def _ways(size: int) -> Iterator[Way]:
    rng = np.random.default_rng(0)
    a, b = rng.random(size), rng.random(size)
    reset_graph()
    for name, scope in (("ours ROW", nullcontext), ("ours OP", lambda: granularity("OP"))):
        with scope():
            tracked = from_numpy(a, f"{name} a"), from_numpy(b, f"{name} b")
            yield Way(name, scope, tracked, (lent(tracked[0]), lent(tracked[1])))
    if importlib.util.find_spec("traceprop"):
        tp = __import__("traceprop")
        plain = a.copy(), b.copy()
        tracked = tuple(tp.from_numpy(each, source_id=str(at)) for at, each in enumerate(plain))
        yield Way("traceprop 0.7.0", nullcontext, tracked, plain)


if __name__ == "__main__":
    main()
