"""Leave-one-out with the structure of the trees fixed: all leaf values refitted, exactly."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.errors import QueryShapeError, TreeMemoryError
from traceprop_engine.trees import losses
from traceprop_engine.trees.boosted import BoostedTrees, TrainedTrees, incidence
from traceprop_engine.trees.estimator import TreeEstimator, TreeProgress
from traceprop_engine.trees.targets import TreeTarget

MEMORY_BYTES = 4 << 30
"""Bytes that the refitted values may take."""

_FLOATS_AT_ONCE = 1 << 20
"""Outputs that are refitted at once: few enough to stay near the processor."""


@dataclass(frozen=True, eq=False)
class RefittedLeaves:
    """The values of all leaves for other weights of the training rows.

    Attributes:
        base: Outputs before the first tree, ``[n_outputs, m]``.
        values: Values of the leaves, learning rate included, ``[n_leaves, m]``.
    """

    base: NDArray[np.float64]
    values: NDArray[np.float64]

    def outputs(self, leaves: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return the outputs of rows in these leaves, ``[n_outputs, n_rows, m]``.

        Args:
            leaves: ``[n_iterations, n_outputs, n_rows]``.
        """
        reached = np.swapaxes(leaves, 0, 1)
        sums = [incidence(trees, len(self.values)) @ self.values for trees in reached]
        return np.stack(sums) + self.base[:, None]


def refit_leaves(trees: TrainedTrees, weights: NDArray[np.float64]) -> RefittedLeaves:
    """Boost again in the trees as they are, for other weights of the rows.

    Args:
        trees: The trees with their rows.
        weights: Weight of each row in each of ``m`` models, at least 0, ``[n_train, m]``; 0 leaves
            the row out.

    Raises:
        QueryShapeError: There is not a weight for each row, or a model has no rows.
    """
    if len(weights) != trees.n_train or not (weights.sum(axis=0) > 0).all():
        raise QueryShapeError("weights", f"of {trees.n_train} rows, not all 0", str(weights.shape))
    model, answered = trees.model, trees.answers[:, :, None]
    base = losses.base_scores(model.family, trees.answers @ weights / weights.sum(axis=0))
    outputs = np.repeat(base[:, None], trees.n_train, axis=1)
    values = np.empty((trees.n_leaves, weights.shape[1]))
    for iteration, leaves in enumerate(trees.leaves):
        mean = losses.means(model.family, outputs)
        gradients = (mean - answered) * weights
        hessians = losses.hessians(model.family, mean) * weights
        for output, (gradient, hessian) in enumerate(zip(gradients, hessians, strict=True)):
            members, tree = trees.members(iteration, output), trees.tree(iteration, output)
            step = model.learning_rate * (members @ gradient)
            values[tree] = -step / (members @ hessian + trees.penalty(tree))
            outputs[output] += values[leaves[output]]
    return RefittedLeaves(base, values)


@dataclass(frozen=True, eq=False)
class LeafRefit(TreeEstimator):
    """What leaving out each row changes, with the structure of the trees fixed.

    Exact in that sense: for each row, the base and all values of the leaves are boosted again
    without it, from the first iteration to the last, in the trees as they stand. It is not
    scikit-learn's fit without the row, which may split elsewhere. `fit` takes time in proportion
    to ``n_train² · trees``. A leaf that loses its only row has the value 0.

    Attributes:
        trees: The trees, with their training rows in the leaves.
        full: Values of the leaves with all rows, ``m = 1``.
        without: Values of the leaves without each row, ``m = n_train``.

    References:
        Sharchilev et al., 2018. Finding influential training samples for gradient boosted decision
        trees. Section 3, LeafRefit.
    """

    full: RefittedLeaves
    without: RefittedLeaves
    method: ClassVar[str] = "leaf values refitted without each row; structure of the trees fixed"

    @classmethod
    def fit(
        cls,
        model: BoostedTrees,
        features: Any,
        labels: NDArray[np.generic] | Sequence[object],
        *,
        progress: TreeProgress | None = None,
        memory_bytes: int = MEMORY_BYTES,
    ) -> "LeafRefit":
        """Refit the values of all leaves without each row.

        Args:
            model: The trees, as by `HistogramBoosting.of`.
            features: Features of its training rows, ``[n_train, n_features]``.
            labels: Their labels, ``[n_train]``.
            progress: Called after each block of rows.
            memory_bytes: Bytes that the refitted values may take: 8 for each row and leaf.

        Raises:
            TreeMemoryError: They take more.
            TreeRowsError: The model was not trained on these rows.
            EmptyTableError: There are no rows.
            QueryShapeError: The features do not fit the model, or there is but one row.
            UnknownClassError: A label is not one of the model's classes.
        """
        trees = TrainedTrees.of(model, features, labels)
        n_rows = trees.n_train
        needed = 8 * n_rows * (trees.n_leaves + len(trees.answers))
        if needed > memory_bytes:
            raise TreeMemoryError(trees.n_leaves, n_rows, needed, memory_bytes)
        base = np.empty((len(trees.answers), n_rows))
        values = np.empty((trees.n_leaves, n_rows))
        size = max(1, _FLOATS_AT_ONCE // (n_rows * len(base)))
        for start in range(0, n_rows, size):
            stop = min(start + size, n_rows)
            weights = np.ones((n_rows, stop - start))
            weights[np.arange(start, stop), np.arange(stop - start)] = 0.0
            block = refit_leaves(trees, weights)
            base[:, start:stop], values[:, start:stop] = block.base, block.values
            if progress is not None:
                progress(stop, n_rows)
        full = refit_leaves(trees, np.ones((n_rows, 1)))
        return cls(trees, full, RefittedLeaves(base, values))

    def score_block(self, leaves: NDArray[np.int32], target: TreeTarget) -> NDArray[np.float64]:
        """Score all training rows for a few queries; see `TreeEstimator.score_block`."""
        before = target.values(self.full.outputs(leaves))
        return before - target.values(self.without.outputs(leaves))
