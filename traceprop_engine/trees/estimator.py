"""What the estimators for boosted trees share: queries in blocks, scores, strongest rows."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.attribution.leave_one_out import row_blocks
from traceprop_engine.attribution.scores import AttributionScores, Direction, TopRows, check_k
from traceprop_engine.attribution.targets import Target
from traceprop_engine.trees.boosted import TrainedTrees
from traceprop_engine.trees.targets import TreeTarget, tree_target

TreeProgress = Callable[[int, int], None]
"""Called with the training rows done so far, and all of them."""


@dataclass(frozen=True, eq=False)
class TreeEstimator(ABC):
    """An estimator of what each training row did to an ensemble of boosted trees.

    Positive: the row raises the target. The structure of the trees is taken as given: that a row
    also moved splits is left out, by every estimator of this package.

    Attributes:
        trees: The trees, with their training rows in the leaves.
    """

    trees: TrainedTrees
    method: ClassVar[str]

    def scores(
        self,
        queries: Any,
        labels: NDArray[np.generic] | Sequence[object] | None = None,
        *,
        target: Target | None = None,
    ) -> AttributionScores:
        """Score every training row for every query.

        Args:
            queries: Their features, ``[n_query, n_features]``, in the form of the training rows.
            labels: Their labels, for the targets that need them.
            target: *margin* of the query's class (log-odds; the default of classifiers), *loss* of
                its label (nats; half squared units), *logit* of the second of two classes, or
                *prediction* (the default of regressors).

        Returns:
            ``[n_query, n_train]``, in the target's unit.

        Raises:
            QueryShapeError: There are no queries, they do not fit the model, or there is not one
                label for each.
            InfluenceTargetError: The model has no such target, or needs labels for it.
            UnknownClassError: A label is not one of the model's classes.
        """
        asked = tree_target(self.trees.model, len(queries), labels, target)
        blocks = list(self._blocks(queries, asked))
        return self._answer(np.concatenate(blocks), asked)

    def top_k(
        self,
        queries: Any,
        k: int,
        *,
        labels: NDArray[np.generic] | Sequence[object] | None = None,
        target: Target | None = None,
        direction: Direction = "both",
    ) -> list[TopRows]:
        """Return the ``k`` strongest training rows for each query.

        The same as ``scores(...).top_k(k, query=q)`` for each, without a score for every pair in
        memory. See `scores` for the arguments and errors.
        """
        check_k(k)
        asked = tree_target(self.trees.model, len(queries), labels, target)
        return [
            self._answer(scored, asked).top_k(k, query=query, direction=direction)
            for scored in self._blocks(queries, asked)
            for query in range(len(scored))
        ]

    @abstractmethod
    def score_block(self, leaves: NDArray[np.int32], target: TreeTarget) -> NDArray[np.float64]:
        """Score all training rows for a few queries, ``[n_query, n_train]``.

        Args:
            leaves: Leaf of each query, ``[n_iterations, n_outputs, n_query]``.
            target: Which number of each.
        """
        ...

    def _answer(self, scored: NDArray[np.float64], asked: TreeTarget) -> AttributionScores:
        return AttributionScores(scored, asked.kind, asked.unit, self.method)

    def _blocks(self, queries: Any, asked: TreeTarget) -> Iterator[NDArray[np.float64]]:
        leaves = self.trees.model.leaves(queries)
        n_outputs = len(self.trees.answers)
        for block in row_blocks(len(queries), 8 * n_outputs * self.trees.n_train):
            yield self.score_block(leaves[:, :, block], asked.of(block))
