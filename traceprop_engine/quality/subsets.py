"""Random subsets retrained once, that any number of estimators are judged on."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.attribution.targets import Target
from traceprop_engine.errors import QualityError
from traceprop_engine.quality.ranks import RankedColumns, spearman_columns
from traceprop_engine.retraining import RetrainedTargets, Retrainer, RetrainingProgress

_N_RESAMPLES = 500
"""Draws of a bootstrap."""


@dataclass(frozen=True, eq=False)
class SubsetTruth:
    """Targets of the queries in models trained on random subsets of equal size.

    Attributes:
        masks: ``[n_subsets, n_train]``.
        keep: Share of the rows in each subset.
        seed: Of the draw of subsets and seeds.
        model: Name of the model.
        seed_policy: What the models' seeds decide, in words.
        is_deterministic: Whether retraining leaves nothing to chance.
        retrained: All models, those of one subset in a row; for `Datamodel.fit`.
    """

    masks: NDArray[np.bool_]
    keep: float
    seed: int
    model: str
    seed_policy: str
    is_deterministic: bool
    retrained: RetrainedTargets

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """Targets by subset, ``[n_subsets, n_seeds, n_query]``."""
        each = self.retrained.values
        return each.reshape(len(self.masks), -1, each.shape[1])

    @property
    def target(self) -> Target:
        """Which number of each query."""
        return self.retrained.target

    @property
    def cpu_seconds(self) -> float:
        """Processor time of the retraining; 0 where all was kept from before."""
        return self.retrained.cpu_seconds

    @property
    def n_subsets(self) -> int:
        """Number of subsets."""
        return len(self.masks)

    @property
    def n_seeds(self) -> int:
        """Models of each subset."""
        return self.values.shape[1]

    @property
    def n_query(self) -> int:
        """Number of queries."""
        return self.values.shape[2]

    @cached_property
    def ranked(self) -> RankedColumns:
        """Mean target over the seeds, ranked over subsets for each query."""
        return RankedColumns.of(self.values.mean(axis=1))

    @cached_property
    def retrain_correlation(self) -> float | None:
        """Mean Spearman correlation of two retrainings of the same subsets with different seeds.

        1 for models without chance; `None` where each subset has one model only.
        """
        if self.is_deterministic:
            return 1.0
        pairs = list(combinations(range(self.n_seeds), 2))
        if not pairs:
            return None
        each = [spearman_columns(self.values[:, i], self.values[:, j]) for i, j in pairs]
        return float(np.nan_to_num(each).mean())

    @property
    def ceiling(self) -> float | None:
        """The score that an estimator of the expected target would reach, approximately.

        With the correlation ``r`` of two retrainings, the mean over ``M`` seeds correlates by
        ``sqrt(M r / (1 + (M - 1) r))`` with the expectation over seeds. It is the formula of
        Pearson's correlation, taken for Spearman's.

        References:
            Spearman, 1910, and Brown, 1910: the reliability of a mean of repeated measurements.
        """
        return ceiling_of(self.retrain_correlation, self.n_seeds)

    def resamples(self) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Yield how often each subset and each query is drawn, with replacement.

        The same draws for every estimator, so that differences are judged on equal terms.
        """
        random = np.random.default_rng(self.seed)
        for _ in range(_N_RESAMPLES):
            subsets = random.integers(self.n_subsets, size=self.n_subsets)
            queries = random.integers(self.n_query, size=self.n_query)
            yield (
                np.bincount(subsets, minlength=self.n_subsets),
                np.bincount(queries, minlength=self.n_query),
            )


def ceiling_of(correlation: float | None, n_seeds: int) -> float | None:
    """Return ``sqrt(M r / (1 + (M - 1) r))``, 0 where retrainings do not agree at all."""
    if correlation is None:
        return None
    agreement = max(correlation, 0.0)
    return float(np.sqrt(n_seeds * agreement / (1 + (n_seeds - 1) * agreement)))


def retrain_subsets(
    retrainer: Retrainer,
    *,
    n_subsets: int,
    keep: float = 0.5,
    seeds_per_subset: int = 2,
    seed: int = 0,
    progress: RetrainingProgress | None = None,
) -> SubsetTruth:
    """Train models on random subsets of equal size, drawn without replacement.

    More subsets or seeds begin with the ones that fewer would have, so that a retrainer that keeps
    its results trains only what is new.

    Args:
        retrainer: Trains the model on subsets.
        n_subsets: Subsets to draw, at least 3.
        keep: Share of the rows in each, in (0, 1).
        seeds_per_subset: Models of each subset; one where retraining leaves nothing to chance.
        seed: Decides the subsets and the models' seeds.
        progress: Called after each group of models.

    Raises:
        QualityError: A setting is out of its range.
        RetrainingError: A subset determines no model.
    """
    n_rows = round(keep * retrainer.n_train)
    if not (0 < n_rows < retrainer.n_train and n_subsets > 2 and seeds_per_subset > 0):  # noqa: PLR2004 - a rank correlation
        raise QualityError(
            f"{n_subsets} subsets of {keep:g} of {retrainer.n_train} rows with {seeds_per_subset} "
            "seeds each",
            "ask for at least three subsets, each with some rows but not all, and a seed",
        )
    n_seeds = 1 if retrainer.is_deterministic else seeds_per_subset
    masks = np.zeros((n_subsets, retrainer.n_train), dtype=bool)
    seeds = np.empty(n_subsets * n_seeds, dtype=np.int64)
    for subset, mask in enumerate(masks):
        random = np.random.default_rng([seed, subset])
        mask[random.permutation(retrainer.n_train)[:n_rows]] = True
        seeds[subset * n_seeds :][:n_seeds] = random.integers(1 << 31, size=n_seeds)
    retrained = retrainer.retrain(np.repeat(masks, n_seeds, axis=0), seeds=seeds, progress=progress)
    return SubsetTruth(
        masks=masks,
        keep=keep,
        seed=seed,
        model=retrainer.name,
        seed_policy=retrainer.seed_policy,
        is_deterministic=retrainer.is_deterministic,
        retrained=retrained,
    )
