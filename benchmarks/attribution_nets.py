"""How well attributions of nets rank retrained models, beside other packages on the same models.

``python -m benchmarks.attribution_nets SETTING --truth FOLDER [--peers] [--runs 3]`` prints a
Markdown table for one of the settings of `benchmarks.net_settings`, or for the logistic model of
Adult (``adult``, ``adult-ordinal``). Retrained models are kept in the folder, so that a second
command only attributes. Set ``OMP_NUM_THREADS=1``; times are processor seconds of one process.
"""

import argparse
import statistics
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.attribution_adult import adult_estimators, group_predictions
from benchmarks.attribution_peers import PeerTask, TwoOutputs, peers_of
from benchmarks.measured import machine
from benchmarks.net_data import Table
from benchmarks.net_settings import SETTINGS, Setting
from traceprop_engine.attribution import (
    EKFAC,
    GGN,
    KFAC,
    TRAK,
    AttributionScores,
    CheckpointEstimator,
    GradDot,
    LastLayer,
)
from traceprop_engine.quality import Comparison, SubsetTruth, compare, retrain_subsets
from traceprop_engine.retraining import RetrainingStep
from traceprop_engine.torch_gradients import TorchTraining, train_torch

PACKAGES = [
    "torch",
    "traker",
    "dattri",
    "kronfluence",
    "captum",
    "traceprop",
    "pyinfluence",
    "scikit-learn",
]
OURS = "ours: "
Work = Callable[[], NDArray[np.floating] | AttributionScores]


@dataclass(frozen=True)
class Case:
    """Retrained models of one setting, and the estimators of one trained model after another.

    `beside` is printed below the table.
    """

    truth: SubsetTruth
    origin: str
    estimators: Callable[[int], Mapping[str, Work]]
    beside: str = ""


def main() -> None:
    """Print a table for one setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("setting", choices=(*SETTINGS, "adult", "adult-ordinal"))
    parser.add_argument("--truth", type=Path, required=True, help="where retrained models are kept")
    parser.add_argument("--mnist", type=Path, help="a folder with the idx files of MNIST")
    parser.add_argument("--subsets", type=int, help="instead of the setting's own number")
    parser.add_argument("--runs", type=int, default=1, help="trained models to attribute")
    parser.add_argument("--peers", action="store_true", help="run the other packages too")
    parser.add_argument(
        "--only", nargs="+", help="run estimators whose name has one of these in it"
    )
    chosen = parser.parse_args()
    warnings.filterwarnings("ignore")  # what the peers deprecate
    case = adult_case(chosen) if chosen.setting.startswith("adult") else net_case(chosen)
    tables = [judged(case, run, chosen.only or [""]) for run in range(chosen.runs)]
    print(f"## {chosen.setting}: {case.origin}\n")
    print(summary(tables))
    beside = f"\n\n{case.beside}" if case.beside else ""
    print(f"\n{tables[0].to_markdown()}{beside}\n\n{measured_on()}")


def net_case(chosen: argparse.Namespace) -> Case:
    """Retrain a net's models, or read them, and say how each trained one is attributed."""
    setting = SETTINGS[chosen.setting]
    table = setting.load(chosen.mnist)
    truth = retrain_subsets(
        setting.retrainer(table, chosen.truth),
        n_subsets=chosen.subsets or setting.n_subsets,
        keep=setting.keep,
        seeds_per_subset=setting.seeds_per_subset,
        progress=_tell,
    )

    def estimators(run: int) -> Mapping[str, Work]:
        training = trained(setting, table, seed=1000 + run)
        works = our_estimators(training, table)
        return works | (peer_estimators(training, table, chosen.setting) if chosen.peers else {})

    return Case(truth, table.origin, estimators)


def adult_case(chosen: argparse.Namespace) -> Case:
    """Refit the logistic model of Adult, or read the refits, and say how it is attributed."""
    one_hot = chosen.setting == "adult"
    retrainer, works = adult_estimators(one_hot=one_hot, directory=chosen.truth, peers=chosen.peers)
    truth = retrain_subsets(retrainer, n_subsets=chosen.subsets or 500, progress=_tell)
    origin = f"Adult, {retrainer.run.parameters.size} parameters"
    return Case(truth, origin, lambda _run: works, group_predictions(retrainer, truth))


def trained(setting: Setting, table: Table, seed: int) -> TorchTraining:
    """Train the model that is attributed, on all rows."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = setting.build()
    recipe = replace(setting.recipe, seed=seed)
    return train_torch(module, table.features, table.labels, recipe, name=setting.name)


def our_estimators(training: TorchTraining, table: Table) -> dict[str, Work]:
    """Return this package's estimators, in their default settings."""
    queries, labels = table.query_features, table.query_labels
    last = [len(training.steps) - 1]
    kinds = (GGN, EKFAC, KFAC, TRAK, LastLayer, GradDot)
    works: dict[str, Work] = {
        f"{OURS}{kind.__name__}": partial(_fit_and_score, kind.fit, training, queries, labels)
        for kind in kinds
    }
    at_the_end = partial(GGN.fit, checkpoints=last)
    works[f"{OURS}GGN, last checkpoint"] = partial(
        _fit_and_score, at_the_end, training, queries, labels
    )
    return works


def peer_estimators(training: TorchTraining, table: Table, setting: str) -> dict[str, Work]:
    """Return the other packages' estimators of the same training."""
    module = training.at(-1)
    states = [training.at(place).state_dict() for place in range(len(training.steps))]
    if table.labels.max() == 1 and _n_outputs(module, table) == 1:
        module = TwoOutputs(module)
        states = [{f"net.{name}": value for name, value in one.items()} for one in states]
    task = PeerTask(
        module,
        tuple(states),
        torch.from_numpy(table.features),
        torch.from_numpy(table.labels),
        torch.from_numpy(table.query_features),
        torch.from_numpy(table.query_labels),
    )
    return {name: lambda run=run: run(task) for name, run in peers_of(setting).items()}


def judged(case: Case, run: int, only: Sequence[str]) -> Comparison:
    """Return the table of one trained model; a peer that fails is named and left out."""
    estimates, seconds = {}, {}
    works = case.estimators(run)
    for name in (name for name in works if any(part in name for part in only)):
        start = time.process_time()
        try:
            answer = works[name]()
        except Exception as error:
            if name.startswith(OURS):
                raise
            print(f"{name} failed: {error!r}", flush=True)
            traceback.print_exc(limit=-2)
            continue
        spent = time.process_time() - start
        if not isinstance(answer, AttributionScores):
            answer = AttributionScores(np.asarray(answer), case.truth.target, "", name)
        if not np.isfinite(answer.scores).all():
            print(f"{name} failed: scores that are not finite", flush=True)
            continue
        estimates[name], seconds[name] = answer, spent
        print(f"{name}: {seconds[name]:.2f} CPU s", flush=True)
    return compare(estimates, case.truth, seconds=seconds)


def summary(tables: list[Comparison]) -> str:
    """Return medians over the trained models, and our lead over the best peer."""
    scores: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    for table in tables:
        for name, quality, spent in zip(table.names, table.qualities, table.seconds, strict=True):
            scores.setdefault(name, []).append(quality.mean)
            seconds.setdefault(name, []).append(spent or 0.0)
    names = sorted(scores, key=lambda name: -statistics.median(scores[name]))
    lines = ["| estimator | median LDS | of each run | median CPU s |", "|---|---:|---|---:|"]
    for name in names:
        each = ", ".join(f"{score:.3f}" for score in scores[name])
        middle, spent = statistics.median(scores[name]), statistics.median(seconds[name])
        lines.append(f"| {name} | {middle:.3f} | {each} | {spent:.2f} |")
    ours = next(name for name in names if name.startswith(OURS))
    peers = [name for name in names if not name.startswith(OURS)]
    if peers:
        quality = statistics.median(scores[ours]) / statistics.median(scores[peers[0]])
        time_ratio = statistics.median(seconds[peers[0]]) / statistics.median(seconds[ours])
        lead = f"{quality:.2f} x its LDS, {1 / time_ratio:.2f} x its CPU time"
        lines += ["", f"{ours.removeprefix(OURS)} against the best peer, {peers[0]}: {lead}."]
    return "\n".join(lines)


def measured_on() -> str:
    """Return what the numbers were measured on, the packages included."""
    versions = [f"{name} {_version(name)}" for name in PACKAGES if _version(name)]
    return f"{machine('OMP_NUM_THREADS')}; {', '.join(versions)}."


def _fit_and_score(
    fit: Callable[..., CheckpointEstimator],
    training: TorchTraining,
    queries: NDArray[np.floating],
    labels: NDArray[np.generic],
) -> AttributionScores:
    return fit(training).scores(queries, labels)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _n_outputs(module: nn.Module, table: Table) -> int:
    with torch.no_grad():
        return int(module(torch.from_numpy(table.features[:1])).shape[-1])


def _tell(step: RetrainingStep) -> None:
    print(f"retrained {step.n_done}/{step.n_models}, {step.cpu_seconds:.0f} CPU s", flush=True)


if __name__ == "__main__":
    main()
