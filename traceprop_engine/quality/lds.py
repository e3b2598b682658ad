"""The linear datamodeling score: do summed scores rank subsets as retraining does?"""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.attribution.scores import AttributionScores
from traceprop_engine.attribution.targets import Target
from traceprop_engine.quality.checks import check_scores
from traceprop_engine.quality.ranks import RankedColumns, spearman
from traceprop_engine.quality.subsets import SubsetTruth, retrain_subsets
from traceprop_engine.retraining import Retrainer, RetrainingProgress


@dataclass(frozen=True, eq=False)
class LdsQuality:
    """A linear datamodeling score, with all that makes it comparable with another one.

    Scores of different ``keep``, seed policy or target are not comparable.

    Attributes:
        per_query: Spearman's correlation over subsets, of the summed scores of a subset's rows with
            the target after retraining on it, ``[n_query]``. 0 where one of the two is constant.
        mean: Mean over the queries.
        interval: 95 % of the bootstrap means over queries and subsets, both drawn anew, and moved
            so that their mean is the score: a subset that is drawn twice ties with itself, which
            lowers rank correlations a little. It holds the score, and ends at -1 and 1.
        ceiling: What an estimator of the expected target would reach, approximately; `None` where
            it was not measured.
        retrain_correlation: Correlation of two retrainings with different seeds.
        resampled: The bootstrap means so moved, ``[n_resamples]``, of the same draws for all
            estimators.
        n_undefined: Queries whose correlation is undefined and counts as 0.
        n_subsets: Subsets.
        seeds_per_subset: Models of each, whose mean target is compared.
        n_query: Queries.
        n_train: Rows of the full table.
        keep: Share of the rows in each subset.
        target: Which number of each query.
        seed: Of the draw of subsets and seeds.
        seed_policy: What the models' seeds decide, in words.
        model: Name of the model.
        method: How the scores were estimated.

    References:
        Park et al., 2023. TRAK: attributing model behavior at scale. Definition 2.3.
    """

    per_query: NDArray[np.float64]
    mean: float
    interval: tuple[float, float]
    ceiling: float | None
    retrain_correlation: float | None
    resampled: NDArray[np.float64]
    n_undefined: int
    n_subsets: int
    seeds_per_subset: int
    n_query: int
    n_train: int
    keep: float
    target: Target
    seed: int
    seed_policy: str
    model: str
    method: str

    def to_facts(self) -> dict[str, object]:
        """Return what is to be stored beside the scores, in values that JSON knows."""
        facts = asdict(self)
        del facts["resampled"]
        facts["per_query"] = self.per_query.tolist()
        facts["interval"] = list(self.interval)
        return facts

    def __str__(self) -> str:
        low, high = self.interval
        limit = "" if self.ceiling is None else f", noise ceiling {self.ceiling:.3f}"
        return (
            f"LDS {self.mean:.3f} [{low:.3f}, {high:.3f}]{limit} ({self.target}; {self.n_query} "
            f"queries; {self.n_subsets} subsets of {self.keep:.0%} of {self.n_train:,} rows, "
            f"{self.seeds_per_subset} seeds each)"
        )


def evaluate_lds(
    scores: AttributionScores,
    retrainer: Retrainer,
    *,
    n_subsets: int,
    keep: float = 0.5,
    seeds_per_subset: int = 2,
    seed: int = 0,
    progress: RetrainingProgress | None = None,
) -> LdsQuality:
    """Retrain on random subsets and correlate with the scores; see `LdsQuality`.

    To judge several estimators on the same models, call `retrain_subsets` once, and `judge` or
    `compare` for each.

    Args:
        scores: Of the retrainer's queries and target.
        retrainer: Trains the model on subsets.
        n_subsets: Subsets to draw, at least 3.
        keep: Share of the rows in each, in (0, 1).
        seeds_per_subset: Models of each subset; two or more measure the ceiling.
        seed: Decides the subsets and the models' seeds.
        progress: Called after each group of models.

    Raises:
        QualityError: The scores are not of these queries, rows or target, or a setting is out of
            its range.
        RetrainingError: A subset determines no model.
    """
    check_scores(scores, retrainer.n_query, retrainer.n_train, retrainer.target)
    truth = retrain_subsets(
        retrainer,
        n_subsets=n_subsets,
        keep=keep,
        seeds_per_subset=seeds_per_subset,
        seed=seed,
        progress=progress,
    )
    return judge(scores, truth)


def judge(scores: AttributionScores, truth: SubsetTruth) -> LdsQuality:
    """Return the linear datamodeling score on models that were retrained before.

    Raises:
        QualityError: The scores are not of these queries, rows or target.
    """
    n_train = truth.masks.shape[1]
    check_scores(scores, truth.n_query, n_train, truth.target)
    predicted = RankedColumns.of(truth.masks.astype(np.float64) @ scores.scores.T)
    each = spearman(predicted, truth.ranked, np.ones(truth.n_subsets, dtype=np.intp))
    drawn = [
        np.nan_to_num(spearman(predicted, truth.ranked, subsets)) @ queries / truth.n_query
        for subsets, queries in truth.resamples()
    ]
    mean = float(np.nan_to_num(each).mean())
    resampled = np.array(drawn) - np.mean(drawn) + mean
    low, high = np.clip(np.percentile(resampled, [2.5, 97.5]), -1.0, 1.0)
    return LdsQuality(
        per_query=np.nan_to_num(each),
        mean=mean,
        interval=(min(float(low), mean), max(float(high), mean)),
        ceiling=truth.ceiling,
        retrain_correlation=truth.retrain_correlation,
        resampled=resampled,
        n_undefined=int(np.isnan(each).sum()),
        n_subsets=truth.n_subsets,
        seeds_per_subset=truth.n_seeds,
        n_query=truth.n_query,
        n_train=n_train,
        keep=truth.keep,
        target=truth.target,
        seed=truth.seed,
        seed_policy=truth.seed_policy,
        model=truth.model,
        method=scores.method,
    )
