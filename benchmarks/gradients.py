"""Projections of per-sample gradients, and the strongest rows of a large stored set.

``python -m benchmarks.gradients [--skip-projections] [--skip-streaming]`` prints one JSON line for
each case. All ways run in turn, again and again; the figures are medians of process CPU time. Set
``OPENBLAS_NUM_THREADS=1`` and ``OMP_NUM_THREADS=1``, or threads that wait count too.

Projections are of the gradients of the net 784-128-64-10 (109,386 parameters). Ours start from the
factors. The projectors of traker and dattri, where they are installed, are given dense gradients,
and the time to form these is not counted. The error is that of the kernel of the features, relative
to the kernel of the gradients, for factors of which the singular values fall off as ``1 / place``.

Streaming takes the 20 strongest of a million rows of 512 features for some queries, on one thread
and on two, from shards in the page cache; it is compared with reading their bytes once (the largest
of them as whole numbers), and with a matrix product by NumPy and by torch of all rows at once.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.gradients import (
    GradientShards,
    KroneckerPca,
    LayerGradients,
    LayerShape,
    ProjectionKind,
    RowGradients,
    ScoredShards,
    ShardSettings,
    kernel,
    random_projection,
    strongest_rows,
    write_shards,
)
from traceprop_engine.gradients.stored_numbers import StoredDtype

Way = Callable[[], Any]
WIDTHS = (784, 128, 64, 10)
K = 20


def main() -> None:
    """Print one JSON line for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--skip-projections", action="store_true")
    parser.add_argument("--skip-streaming", action="store_true")
    parser.add_argument("--projected-rows", type=int, default=1024)
    parser.add_argument("--features", type=int, nargs="*", default=[512, 2048])
    parser.add_argument("--streamed-rows", type=int, default=1_000_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="for the shards, up to 2 GB; a temporary one")
    chosen = parser.parse_args()
    if not chosen.skip_projections:
        for n_features in chosen.features:
            for line in projections(chosen.projected_rows, n_features, chosen.turns):
                print(json.dumps(line), flush=True)
    if not chosen.skip_streaming:
        for dtype in get_args(StoredDtype):
            with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
                shards = stored(Path(folder), chosen.streamed_rows, 512, dtype)
                for n_queries in (1, 64):
                    print(json.dumps(streaming(shards, n_queries, chosen.turns)), flush=True)


def projections(n_rows: int, n_features: int, turns: int) -> Iterator[dict[str, object]]:
    """Yield the throughput of each projection."""
    gradients = net_gradients(n_rows)
    makers = {kind: random_projection(kind, gradients.layout, n_features) for kind in _kinds()}
    makers["kronecker_pca"] = KroneckerPca.fit(gradients, n_features)
    ways: dict[str, Way] = {name: _bound(made, gradients) for name, made in makers.items()}
    ways |= peer_projections(gradients.dense(), n_features)
    exact = kernel(gradients)
    for name, seconds in in_turn(ways, turns).items():
        features = np.asarray(ways[name]())
        yield {
            "case": f"projection to {n_features}",
            "way": name,
            "features": features.shape[1],
            "rows_per_cpu_second": round(n_rows / seconds),
            "dense_gb_per_cpu_second": round(4e-9 * n_rows * gradients.n_parameters / seconds, 2),
            "kernel_error": round(
                float(np.linalg.norm(features @ features.T - exact) / np.linalg.norm(exact)), 4
            ),
        }


def peer_projections(dense: NDArray[np.floating], n_features: int) -> dict[str, Way]:
    """Return the projectors for processors of the peers that are installed."""
    ways: dict[str, Way] = {}
    for package, path in (("trak", "trak.projectors"), ("dattri", "dattri.func.projection")):
        if find_spec(package) is None:
            continue
        module, torch = import_module(path), import_module("torch")
        torch.set_num_threads(1)
        rows = torch.from_numpy(dense)
        kinds = ("normal", "rademacher", *(["random_mask"] if package == "dattri" else []))
        for kind in kinds:
            named = module.ProjectionType(kind)
            made = module.BasicProjector(dense.shape[1], n_features, 0, named, torch.device("cpu"))
            scale = _scale(package, kind, dense.shape[1] / n_features, n_features)
            ways[f"{package} {kind}"] = _scaled(made, rows, scale)
    return ways


def streaming(shards: GradientShards, n_queries: int, turns: int) -> dict[str, object]:
    """Return the times of the strongest rows for some queries."""
    queries = np.random.default_rng(1).standard_normal((n_queries, 512)).astype(np.float32)
    terms = [ScoredShards(shards, queries)]
    every = [shards.stored(place)["0.deltas"] for place in range(len(shards.shards))]
    n_bytes = sum(part.nbytes for part in every)
    ways: dict[str, Way] = {
        "read once": lambda: [part.view(np.uint32).max() for part in every],
        "ours": lambda: strongest_rows(terms, K, n_threads=1),
        "ours, 2 threads": lambda: strongest_rows(terms, K, n_threads=2),
    }
    whole = np.concatenate(every)
    if shards.settings.dtype == "float32":
        ways["numpy product"] = lambda: _largest(whole @ queries.T)
    # On processors torch multiplies matrices of float16 by a slow path: minutes for this one.
    is_slow = shards.settings.dtype == "float16" and n_queries > 1
    if find_spec("torch") is not None and not is_slow:
        ways["torch product"] = _torch_product(whole, queries, shards.settings.dtype)
    walls: dict[str, float] = {}
    cpu = in_turn(ways, turns, walls)
    return {
        "case": f"strongest {K} of {shards.n_rows:,} x 512 {shards.settings.dtype}",
        "queries": n_queries,
        "gigabytes": round(1e-9 * n_bytes, 2),
        "read_gb_per_second": round(1e-9 * n_bytes / cpu["read once"], 1),
        "cpu_ms_per_query": {way: round(1e3 * one / n_queries, 2) for way, one in cpu.items()},
        "wall_ms_per_query": {way: round(1e3 * one / n_queries, 2) for way, one in walls.items()},
        "ours_to_read_once": round(cpu["ours"] / n_queries / cpu["read once"], 2),
    }


def net_gradients(n_rows: int) -> RowGradients:
    """Return gradients of random factors whose singular values fall off, in random directions."""
    rng = np.random.default_rng(0)

    def factor(width: int) -> NDArray[np.float32]:
        directions = np.linalg.qr(rng.standard_normal((width, width)))[0]
        drawn = rng.standard_normal((n_rows, width)) / (1 + np.arange(width))
        return (drawn @ directions).astype(np.float32)

    layers = tuple(
        LayerGradients(str(place), factor(inputs + 1), factor(outputs))
        for place, (inputs, outputs) in enumerate(pairwise(WIDTHS))
    )
    nothing = np.zeros(n_rows)
    return RowGradients(layers, nothing, nothing, nothing)


def stored(folder: Path, n_rows: int, n_features: int, dtype: StoredDtype) -> GradientShards:
    """Write random features."""
    settings = ShardSettings("random", 0, 1, "squared", "prediction", n_rows, dtype, 65_536)

    def features(rows: slice) -> RowGradients:
        n = rows.stop - rows.start
        drawn = np.random.default_rng(rows.start).standard_normal((n, n_features), dtype=np.float32)
        nothing = np.zeros(n)
        layer = LayerGradients("features", None, drawn)
        return RowGradients((layer,), nothing, nothing, nothing)

    as_they_are = random_projection(
        "count_sketch", (LayerShape("features", (n_features,)),), n_features
    )
    return write_shards(folder, settings, features, projection=as_they_are)


def in_turn(
    ways: Mapping[str, Way], turns: int, walls: dict[str, float] | None = None
) -> dict[str, float]:
    """Return the median CPU seconds of each way; fill `walls` with those of the clock."""
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    wall: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, way in ways.items():
            start, begun = time.process_time(), time.perf_counter()
            way()
            cpu[name].append(time.process_time() - start)
            wall[name].append(time.perf_counter() - begun)
    if walls is not None:
        walls |= {name: statistics.median(seconds) for name, seconds in wall.items()}
    return {name: statistics.median(seconds) for name, seconds in cpu.items()}


def _kinds() -> tuple[ProjectionKind, ...]:
    return get_args(ProjectionKind)


def _bound(projection: Any, gradients: RowGradients) -> Way:
    return lambda: projection.project(gradients)


def _scale(package: str, kind: str, shrinking: float, n_features: int) -> float:
    """Return what the peers leave out for inner products to be kept."""
    if kind == "random_mask":
        return shrinking**0.5
    return n_features**-0.5 if package == "trak" else 1.0


def _scaled(projector: Any, rows: Any, scale: float) -> Way:
    return lambda: projector.project(rows, 0) * scale


def _largest(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    return np.argpartition(-np.abs(scores), K, axis=0)[:K]


def _torch_product(
    whole: NDArray[np.generic], queries: NDArray[np.float32], dtype: StoredDtype
) -> Way:
    torch = import_module("torch")
    torch.set_num_threads(1)
    named = getattr(torch, dtype)
    rows = torch.from_numpy(whole.view(np.int16) if dtype == "bfloat16" else whole)
    rows = rows.view(named)
    asked = torch.from_numpy(queries.T.copy()).to(named).squeeze(1)
    return lambda: torch.topk((rows @ asked).abs(), K, dim=0)


if __name__ == "__main__":
    main()
