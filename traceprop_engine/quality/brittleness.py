"""Does a prediction flip when its strongest supporters are taken out and the model is retrained?"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.attribution.scores import AttributionScores
from traceprop_engine.errors import QualityError
from traceprop_engine.quality.checks import check_scores
from traceprop_engine.retraining import Retrainer, RetrainingProgress
from traceprop_engine.retraining.output_targets import predicted_classes


@dataclass(frozen=True, eq=False)
class BrittlenessQuality:
    """What taking out the rows with the highest scores does to predictions.

    Only queries that the model of all rows gets right are counted: their class is what the rows
    that raise the margin support.

    Attributes:
        removed: Numbers of rows that were taken out, ``[n_steps]``.
        flip_rate: Share of the queries whose predicted class changes without their strongest
            supporters, ``[n_steps]``.
        random_flip_rate: The same with as many random rows, the same ones for all queries; mean
            over ``n_random`` draws.
        drop: Mean fall of the target without the supporters.
        random_drop: The same without random rows.
        n_query: Queries that were counted.
        n_random: Draws of random rows for each number.
        seeds_per_model: Models whose mean output decides the class.
        seed_policy: What the models' seeds decide, in words.
        method: How the scores were estimated.

    References:
        Ilyas et al., 2022. Datamodels: predicting predictions from training data. Section 4.1.
    """

    removed: tuple[int, ...]
    flip_rate: tuple[float, ...]
    random_flip_rate: tuple[float, ...]
    drop: tuple[float, ...]
    random_drop: tuple[float, ...]
    n_query: int
    n_random: int
    seeds_per_model: int
    seed_policy: str
    method: str

    def to_facts(self) -> dict[str, object]:
        """Return what is to be stored beside the scores, in values that JSON knows."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }


def brittleness(
    scores: AttributionScores,
    retrainer: Retrainer,
    *,
    removed: Sequence[int],
    n_random: int = 10,
    seeds_per_model: int = 2,
    seed: int = 0,
    progress: RetrainingProgress | None = None,
) -> BrittlenessQuality:
    """Take out each query's strongest supporters, retrain, and count the predictions that flip.

    Args:
        scores: Margins of the retrainer's queries.
        retrainer: Trains the model on subsets; one model for each query, seed and number.
        removed: Numbers of rows to take out.
        n_random: Draws of as many random rows, to compare with.
        seeds_per_model: Models whose mean output decides the class.
        seed: Decides random rows and the models' seeds.
        progress: Called after each group of models.

    Raises:
        QualityError: The scores are not margins of these queries and rows, a number is out of its
            range, or the model of all rows gets no query right.
    """
    n_train = retrainer.n_train
    check_scores(scores, retrainer.n_query, n_train, retrainer.target)
    if retrainer.target != "margin":
        raise QualityError(
            f"the target is the {retrainer.target}", "ask for the margin, whose sign is the class"
        )
    too_few = n_random < 1 or seeds_per_model < 1
    if not removed or min(removed) < 1 or max(removed) >= n_train or too_few:
        raise QualityError(
            f"{list(removed)} of {n_train} rows are to be taken out, {n_random} times at random, "
            f"with {seeds_per_model} seeds",
            f"name numbers from 1 to {n_train - 1}, and at least one random draw and one seed",
        )
    models = _Models.of(retrainer, seeds_per_model, seed)
    base, right = models.base(progress)
    order = np.argsort(-scores.scores[right], axis=1, kind="stable")
    found = [
        models.without(order, right, base, size, n_random, progress=progress) for size in removed
    ]
    flips, random_flips, drops, random_drops = zip(*found, strict=True)
    return BrittlenessQuality(
        removed=tuple(int(size) for size in removed),
        flip_rate=flips,
        random_flip_rate=random_flips,
        drop=drops,
        random_drop=random_drops,
        n_query=len(right),
        n_random=n_random,
        seeds_per_model=len(models.seeds),
        seed_policy=retrainer.seed_policy,
        method=scores.method,
    )


@dataclass(frozen=True, eq=False)
class _Models:
    """Models of any rows, the mean over the same seeds each."""

    retrainer: Retrainer
    seeds: NDArray[np.int64]
    random: np.random.Generator

    @classmethod
    def of(cls, retrainer: Retrainer, n_seeds: int, seed: int) -> "_Models":
        random = np.random.default_rng(seed)
        size = 1 if retrainer.is_deterministic else n_seeds
        return cls(retrainer, random.integers(1 << 31, size=size), random)

    def base(
        self, progress: RetrainingProgress | None
    ) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Return targets of the model of all rows, ``[n_query]``, and the queries it gets right."""
        every = np.ones((1, self.retrainer.n_train), dtype=bool)
        classes, targets, labels = self.trained(every, progress)
        right = np.flatnonzero(classes[0] == labels)
        if not len(right):
            raise QualityError("the model of all rows gets no query right", "choose other queries")
        return targets[0], right

    def without(
        self,
        order: NDArray[np.intp],
        right: NDArray[np.intp],
        base: NDArray[np.float64],
        size: int,
        n_random: int,
        *,
        progress: RetrainingProgress | None,
    ) -> tuple[float, float, float, float]:
        """Return flip rates and drops of the target, without supporters and without random rows."""
        n_train = order.shape[1]
        masks = np.ones((len(right) + n_random, n_train), dtype=bool)
        np.put_along_axis(masks[: len(right)], order[:, :size], values=False, axis=1)
        for mask in masks[len(right) :]:
            mask[self.random.permutation(n_train)[:size]] = False
        classes, targets, labels = self.trained(masks, progress)
        flipped = classes[:, right] != labels[right]
        fallen = base[right] - targets[:, right]
        own = np.arange(len(right))
        return (
            float(flipped[own, own].mean()),
            float(flipped[len(right) :].mean()),
            float(fallen[own, own].mean()),
            float(fallen[len(right) :].mean()),
        )

    def trained(
        self, masks: NDArray[np.bool_], progress: RetrainingProgress | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """Return classes and targets ``[m, n_query]``, by the mean over seeds, and the labels."""
        n_seeds = len(self.seeds)
        retrained = self.retrainer.retrain(
            np.repeat(masks, n_seeds, axis=0),
            seeds=np.tile(self.seeds, len(masks)),
            progress=progress,
        )
        outputs = retrained.outputs.reshape(len(masks), n_seeds, *retrained.outputs.shape[1:])
        return (
            predicted_classes(outputs.mean(axis=1), retrained.loss),
            retrained.values.reshape(len(masks), n_seeds, -1).mean(axis=1),
            retrained.labels,
        )
