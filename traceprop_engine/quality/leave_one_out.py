"""Scores against models trained again without one row."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.attribution.scores import AttributionScores
from traceprop_engine.attribution.targets import Target
from traceprop_engine.errors import QualityError
from traceprop_engine.quality.checks import check_scores
from traceprop_engine.quality.ranks import spearman_columns
from traceprop_engine.retraining import Retrainer, RetrainingProgress


@dataclass(frozen=True, eq=False)
class LooQuality:
    """How scores compare with the effects of leaving out single rows.

    The effect of a row is the target with it minus the target without it, as a score is.

    Attributes:
        rows: Rows that were left out, ascending, ``[n_rows]``.
        effects: Their true effects, mean over the seeds, ``[n_query, n_rows]``.
        per_query: Spearman's correlation over the rows, ``[n_query]``; 0 where undefined.
        spearman: Mean over the queries.
        slope: Of the effects on the scores through zero, all queries together; 1 is the right
            scale, and a negative one the wrong sign; `None` where all scores are 0.
        relative_error: Median over the rows of ``sum_q |score - effect| / sum_q |effect|``; `None`
            where no row has an effect.
        seed_correlation: Mean correlation over the rows of the effects under two seeds: how much of
            an effect is the row's and not chance; `None` for a single seed.
        seeds_per_row: Models with and without each row.
        target: Which number of each query.
        seed_policy: What the models' seeds decide, in words.
        method: How the scores were estimated.
    """

    rows: NDArray[np.int64]
    effects: NDArray[np.float64]
    per_query: NDArray[np.float64]
    spearman: float
    slope: float | None
    relative_error: float | None
    seed_correlation: float | None
    seeds_per_row: int
    target: Target
    seed_policy: str
    method: str

    def to_facts(self) -> dict[str, object]:
        """Return what is to be stored beside the scores, in values that JSON knows."""
        facts = asdict(self)
        del facts["effects"]
        return facts | {"rows": self.rows.tolist(), "per_query": self.per_query.tolist()}


def evaluate_loo(
    scores: AttributionScores,
    retrainer: Retrainer,
    *,
    rows: Sequence[int] | NDArray[np.integer] | None = None,
    n_rows: int = 50,
    seeds_per_row: int = 2,
    seed: int = 0,
    progress: RetrainingProgress | None = None,
) -> LooQuality:
    """Retrain without single rows and compare with their scores.

    Each model without a row is compared with the model of all rows under the same seed. For nets
    only the policy ``"zero_weight"`` keeps the rest of a training as it was; with ``"subset"`` one
    row's effect drowns in the noise of the training.

    Args:
        scores: Of the retrainer's queries and target.
        retrainer: Trains the model on subsets.
        rows: Rows to leave out; random ones by default.
        n_rows: How many random rows.
        seeds_per_row: Models with and without each row.
        seed: Decides the rows and the models' seeds.
        progress: Called after each group of models.

    Raises:
        QualityError: The scores are not of these queries, rows or target, there are fewer than
            three rows, one does not exist, or there is no seed.
    """
    n_train = retrainer.n_train
    check_scores(scores, retrainer.n_query, n_train, retrainer.target)
    random = np.random.default_rng(seed)
    chosen = _chosen_rows(rows, n_rows, n_train, random)
    if seeds_per_row < 1:
        raise QualityError(f"{seeds_per_row} seeds are asked for", "ask for one or more")
    n_seeds = 1 if retrainer.is_deterministic else seeds_per_row
    seeds = random.integers(1 << 31, size=n_seeds)
    masks = np.ones((len(chosen) + 1, n_train), dtype=bool)
    masks[np.arange(len(chosen)), chosen] = False
    retrained = retrainer.retrain(
        np.repeat(masks, n_seeds, axis=0), seeds=np.tile(seeds, len(masks)), progress=progress
    )
    values = retrained.values.reshape(len(masks), n_seeds, -1)
    by_seed = values[-1] - values[:-1]
    effects, estimates = by_seed.mean(axis=1), scores.scores[:, chosen].T
    each = np.nan_to_num(spearman_columns(estimates, effects))
    return LooQuality(
        rows=chosen,
        effects=effects.T,
        per_query=each,
        spearman=float(each.mean()),
        slope=_ratio((estimates * effects).sum(), (estimates**2).sum()),
        relative_error=_relative_error(estimates, effects),
        seed_correlation=_seed_correlation(by_seed),
        seeds_per_row=n_seeds,
        target=retrained.target,
        seed_policy=retrainer.seed_policy,
        method=scores.method,
    )


def _chosen_rows(
    rows: Sequence[int] | NDArray[np.integer] | None,
    n_rows: int,
    n_train: int,
    random: np.random.Generator,
) -> NDArray[np.int64]:
    drawn = random.permutation(n_train)[: max(0, n_rows)] if rows is None else np.asarray(rows)
    chosen = np.unique(drawn)
    whole = np.issubdtype(chosen.dtype, np.integer)
    if not whole or len(chosen) < 3 or chosen[0] < 0 or chosen[-1] >= n_train:  # noqa: PLR2004 - a rank correlation
        raise QualityError(
            f"{len(chosen)} rows of {chosen.dtype} are to be left out of {n_train}",
            f"name at least three rows by whole numbers from 0 to {n_train - 1}",
        )
    return chosen.astype(np.int64)


def _relative_error(estimates: NDArray[np.float64], effects: NDArray[np.float64]) -> float | None:
    sizes = np.abs(effects).sum(axis=1)
    errors = np.abs(estimates - effects).sum(axis=1)
    moved = sizes > 0
    return float(np.median(errors[moved] / sizes[moved])) if moved.any() else None


def _seed_correlation(by_seed: NDArray[np.float64]) -> float | None:
    """Return the mean over pairs of seeds and queries, of ``[n_rows, n_seeds, n_query]``."""
    n_seeds = by_seed.shape[1]
    if n_seeds == 1:
        return None
    pairs = [(i, j) for i in range(n_seeds) for j in range(i)]
    each = [spearman_columns(by_seed[:, i], by_seed[:, j]) for i, j in pairs]
    return float(np.nan_to_num(each).mean())


def _ratio(above: float, below: float) -> float | None:
    return float(above / below) if below else None
