"""Scores averaged over models that were each trained on a part of the rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.attribution.scores import AttributionScores
from traceprop_engine.errors import RetrainingError


class Estimator(Protocol):
    """Scores the rows that a model was trained on."""

    def scores(self, features: Any, labels: Any = None, *, target: Any = None) -> AttributionScores:
        """Return a score of every training row for every query."""
        ...


@dataclass(frozen=True, eq=False)
class BagMember:
    """One model of a bag.

    Attributes:
        rows: Rows of the full table that it was trained on, in its order, ``[n_rows]``.
        estimator: Scores those rows.
    """

    rows: NDArray[np.int64]
    estimator: Estimator


@dataclass(frozen=True, eq=False)
class Bagged:
    """An estimator averaged over models, each trained on a part of the rows.

    A row's score is the mean over the models that were trained on it. What one training leaves to
    chance averages out; on small tables and overfitted nets this beats one model of all rows. Each
    score is the effect of a row among the rows of its models: a model of half the rows moves about
    twice as much for one row as the model of all rows.

    Attributes:
        members: The models.
        n_train: Rows of the full table.

    Raises:
        RetrainingError: A row is in no model, or twice in one, or does not exist.

    References:
        Park et al., 2023. TRAK: attributing model behavior at scale. Section 3.2, step 5: averaging
        over models trained on random halves.
    """

    members: tuple[BagMember, ...]
    n_train: int

    def __post_init__(self) -> None:
        for place, member in enumerate(self.members):
            different = np.unique(member.rows)
            inside = ((different >= 0) & (different < self.n_train)).all()
            if len(different) < len(member.rows) or not inside:
                raise RetrainingError(
                    f"The rows of model {place} of a bag",
                    f"they are not different rows from 0 to {self.n_train - 1}",
                    "name each row of the full table once",
                )
        uncovered = np.flatnonzero(np.bincount(self._all_rows(), minlength=self.n_train) == 0)
        if len(uncovered):
            raise RetrainingError(
                f"A bag of {len(self.members)} models",
                f"{len(uncovered)} of {self.n_train} rows are in none of them, the first is row "
                f"{uncovered[0]}",
                "add models, or raise the share of rows of each",
            )

    @classmethod
    def fit(
        cls,
        train: Callable[[NDArray[np.int64], int], Estimator],
        n_train: int,
        *,
        n_models: int,
        keep: float = 0.5,
        seed: int = 0,
    ) -> "Bagged":
        """Train models on random parts of the rows, in complementary pairs when they are halves.

        Args:
            train: ``train(rows, seed)`` trains a model on these rows and fits the estimator.
            n_train: Rows of the full table.
            n_models: Models to train.
            keep: Share of the rows of each, in (0, 1).
            seed: Decides the parts and each model's seed.

        Raises:
            RetrainingError: A setting is out of its range, or a row is in no model.
        """
        n_rows = round(keep * n_train)
        if not (0 < n_rows < n_train and n_models >= 1):
            raise RetrainingError(
                f"{n_models} models of {keep:g} of {n_train} rows",
                "a part has at least one row and less than all, and a bag at least one model",
                "change keep or n_models",
            )
        random = np.random.default_rng(seed)
        members: list[BagMember] = []
        order = np.empty(0, dtype=np.int64)
        for model in range(n_models):
            if len(order) < n_rows:
                order = random.permutation(n_train)
            rows, order = np.sort(order[:n_rows]), order[n_rows:]
            members.append(BagMember(rows, train(rows, seed + model)))
        return cls(tuple(members), n_train)

    def scores(self, features: Any, labels: Any = None, *, target: Any = None) -> AttributionScores:
        """Return the mean score of every training row for every query.

        Args:
            features: The queries, in the form that the estimators read.
            labels: Their labels, for targets that need them.
            target: Which number of a query; the estimators' own by default.
        """
        answers = [m.estimator.scores(features, labels, target=target) for m in self.members]
        total = np.zeros((len(answers[0].scores), self.n_train))
        for member, answer in zip(self.members, answers, strict=True):
            total[:, member.rows] += answer.scores
        counts = np.bincount(self._all_rows(), minlength=self.n_train)
        one = answers[0]
        method = f"{one.method}, mean over {len(answers)} models of parts of the rows"
        return AttributionScores(total / counts, one.target, one.unit, method)

    def _all_rows(self) -> NDArray[np.int64]:
        rows: Sequence[NDArray[np.int64]] = [member.rows for member in self.members]
        return np.concatenate([np.empty(0, dtype=np.int64), *rows])
