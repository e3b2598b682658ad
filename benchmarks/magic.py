"""How well metagradients rank retrained models, beside an estimate that replays nothing.

``python -m benchmarks.magic [--nets gelu tanh relu] [--subsets 100] [--dropped 0.01 0.1 0.5]``
prints a Markdown table. Each net is trained once on digits; the truth are trainings with the same
start and order in which a random share of the rows weighs nothing. Set ``OMP_NUM_THREADS=1`` and
``XLA_FLAGS="--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"``; times are
processor seconds of one process, of fitting and of all 300 queries, with compilation.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jax
import numpy as np

from benchmarks.measured import machine, timed
from benchmarks.net_data import Table, digits
from traceprop_engine.attribution import AttributionScores
from traceprop_engine.attribution.ggn import GGN
from traceprop_engine.jax_gradients import JaxTraining, Mlp, train_jax
from traceprop_engine.jax_gradients.mlp import Activation
from traceprop_engine.metagradients import Magic
from traceprop_engine.quality import SubsetTruth
from traceprop_engine.quality.lds import judge
from traceprop_engine.retraining.nets import NetProblem
from traceprop_engine.retraining.vmapped_jax import VmappedJax
from traceprop_engine.training.recipe import TrainingRecipe


@dataclass(frozen=True)
class SmoothSetting:
    """A net of 64 inputs, 64 hidden units and 10 outputs, and how it is trained."""

    activation: Activation
    learning_rate: float
    batch_size: int
    epochs: int

    @property
    def net(self) -> Mlp:
        """The net."""
        return Mlp((64, 64, 10), self.activation)

    @property
    def recipe(self) -> TrainingRecipe:
        """SGD with momentum 0.9 and a cosine."""
        return TrainingRecipe(
            learning_rate=self.learning_rate,
            momentum=0.9,
            weight_decay=5e-4,
            batch_size=self.batch_size,
            epochs=self.epochs,
            schedule="cosine",
            warm_up=0.05,
        )


SETTINGS = {
    "gelu": SmoothSetting("gelu", 0.05, 120, 40),
    "tanh": SmoothSetting("tanh", 0.03, 200, 60),
    "relu": SmoothSetting("relu", 0.1, 60, 30),
}


def main() -> None:
    """Print a table of all nets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", nargs="+", choices=tuple(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--subsets", type=int, default=100)
    parser.add_argument("--dropped", nargs="+", type=float, default=[0.01, 0.1, 0.5])
    chosen = parser.parse_args()
    print("| net | estimator | rows dropped | LDS | 95 % | CPU s | ms a query |")
    print("|---|---|---|---|---|---|---|")
    notes = []
    for name in chosen.nets:
        lines, told = measured(name, SETTINGS[name], chosen.subsets, chosen.dropped)
        print("\n".join(lines), flush=True)
        notes.append(told)
    print("\n" + "\n".join(notes) + f"\n\n{measured_on()}")


def measured(
    name: str, setting: SmoothSetting, n_subsets: int, dropped: Sequence[float]
) -> tuple[list[str], str]:
    """Return the lines of one net, and what was measured beside them."""
    table = digits()
    seconds, training = timed(lambda: _trained(setting, table))
    magic_seconds, (magic, scores) = timed(lambda: _by_magic(training, table))
    ggn_seconds, ggn = timed(lambda: _by_ggn(training, table))
    lines, retraining = [], 0.0
    for truth in truths(setting, table, n_subsets, dropped):
        retraining += truth.cpu_seconds
        for words, answer, spent in (
            ("Magic", scores, magic_seconds),
            ("GGN, 5 checkpoints", ggn, ggn_seconds),
        ):
            quality = judge(answer, truth)
            low, high = quality.interval
            lines.append(
                f"| {name} | {words} | {1 - truth.keep:.0%} | {quality.mean:.3f} | "
                f"{low:.3f} to {high:.3f} | {spent:.1f} | "
                f"{1e3 * spent / len(table.query_labels):.0f} |"
            )
    error = magic.smoothness.error if magic.smoothness is not None else float("nan")
    told = (
        f"{name}: error of the smoothness probe {error:.2g}; {magic.plan}; training "
        f"{seconds:.1f} CPU s, {n_subsets * len(dropped)} retrainings {retraining:.1f} CPU s."
    )
    return lines, told


def truths(
    setting: SmoothSetting, table: Table, n_subsets: int, dropped: Sequence[float]
) -> Iterator[SubsetTruth]:
    """Yield retrained models for each share of dropped rows: same start, same order."""
    problem = NetProblem(
        table.features,
        table.labels,
        table.query_features,
        table.query_labels,
        setting.recipe,
        policy="zero_weight",
    )
    retrainer = VmappedJax(setting.net, setting.net.init, problem, name=setting.activation)
    n = len(table.labels)
    for share in dropped:
        masks = np.ones((n_subsets, n), dtype=bool)
        for subset, mask in enumerate(masks):
            order = np.random.default_rng([7, subset]).permutation(n)
            mask[order[: round(share * n)]] = False
        retrained = retrainer.retrain(masks, seeds=np.zeros(n_subsets, dtype=np.int64))
        yield SubsetTruth(
            masks=masks,
            keep=1 - share,
            seed=0,
            model=retrainer.name,
            seed_policy="one seed: the start and order of the attributed model",
            is_deterministic=True,
            retrained=retrained,
        )


def measured_on() -> str:
    """Return what the numbers were measured on."""
    settings = machine("OMP_NUM_THREADS", "XLA_FLAGS")
    return f"{settings}, jax {jax.__version__}, numpy {np.__version__}."


def _trained(setting: SmoothSetting, table: Table) -> JaxTraining:
    params = setting.net.init(0)
    return train_jax(
        setting.net, params, table.features, table.labels, setting.recipe, name=setting.activation
    )


def _by_magic(training: JaxTraining, table: Table) -> tuple[Magic, AttributionScores]:
    magic = Magic.fit(training)
    return magic, magic.scores(table.query_features, table.query_labels, allow_rough=True)


def _by_ggn(training: JaxTraining, table: Table) -> AttributionScores:
    return GGN.fit(training).scores(table.query_features, table.query_labels)


if __name__ == "__main__":
    main()
