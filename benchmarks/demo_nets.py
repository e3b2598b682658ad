"""How well influence scores of the demo's nets rank retrained nets, by several estimators.

``python -m benchmarks.demo_nets FOLDER`` prints a Markdown table for each net of a folder in which
``traceprop demo --nets`` ran. Nothing of the package was chosen by looking at these data. Set
``OMP_NUM_THREADS=1``; times are processor seconds of fitting and scoring.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from traceprop_dagster.demo import jax_model, torch_model
from traceprop_engine.attribution import (
    EKFAC,
    GGN,
    TRAK,
    AttributionScores,
    CheckpointEstimator,
    GradDot,
    LastLayer,
)
from traceprop_engine.explanation import load_predictions
from traceprop_engine.gradients import StoredNet
from traceprop_engine.quality import compare, retrain_subsets
from traceprop_engine.store import Store

NETS = {"torch_predictions": torch_model.retrainer, "jax_predictions": jax_model.retrainer}
ESTIMATORS: dict[str, Callable[[StoredNet], CheckpointEstimator]] = {
    "GGN": GGN.fit,
    "GGN, damping tr(H)/n": lambda net: GGN.fit(net, damping="trace"),
    "GGN, last checkpoint": lambda net: GGN.fit(net, checkpoints=[len(net.steps) - 1]),
    "EKFAC": EKFAC.fit,
    "TRAK": TRAK.fit,
    "LastLayer": LastLayer.fit,
    "GradDot": GradDot.fit,
}


def main() -> None:
    """Print one table for each net."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where `traceprop demo --nets` ran")
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--subsets", type=int, default=50)
    arguments = parser.parse_args()
    store = Store.open(arguments.folder / "store")
    for name in NETS:
        print(f"\n## {name}\n\n{table(store, name, arguments.queries, arguments.subsets)}")


def table(store: Store, name: str, n_queries: int, n_subsets: int) -> str:
    """Return the comparison of all estimators on one set of retrained nets, as Markdown."""
    predictions = load_predictions(store, name)
    net = predictions.model.run
    if not isinstance(net, StoredNet):
        raise SystemExit(f"{name} is of no net; run `traceprop demo --nets` with its framework.")
    drawn = np.random.default_rng(0).permutation(predictions.version.n_rows)[:n_queries]
    rows = np.sort(drawn)
    retrainer = NETS[name](net, predictions.features[rows], predictions.explained_labels(rows))
    truth = retrain_subsets(retrainer, n_subsets=n_subsets, seeds_per_subset=2)
    scores: dict[str, AttributionScores] = {}
    seconds: dict[str, float] = {}
    for label, fit in ESTIMATORS.items():
        start = time.process_time()
        numbers = rows.astype(np.float64)[:, np.newaxis]
        scores[label] = fit(net).scores(numbers, target=net.recorded.target)
        seconds[label] = time.process_time() - start
    return compare(scores, truth, seconds=seconds).to_markdown()


if __name__ == "__main__":
    main()
