"""The derivative of a boosted prediction in the weight of each row, backwards through the trees."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.trees import losses
from traceprop_engine.trees.boosted import BoostedTrees, TrainedTrees, final_outputs
from traceprop_engine.trees.estimator import TreeEstimator
from traceprop_engine.trees.targets import TreeTarget


@dataclass(frozen=True, eq=False)
class LeafInfluence(TreeEstimator):
    """The exact derivative of the target in the weight of each row, structure of the trees fixed.

    It is the first-order estimate of what `LeafRefit` computes: a row moves the values of its
    leaves, these move the gradients of all rows in them, and so on through all later iterations,
    the base included. The chain rule is followed backwards from the query, so that all rows cost
    about as much as one boosting in fixed trees for each query.

    Attributes:
        trees: The trees, with their training rows in the leaves.
        means: Mean of each row and output before each iteration,
            ``[n_iterations, n_outputs, n_train]``.
        weights: Sum of hessians and penalty in each leaf, ``[n_leaves]``.

    References:
        Sharchilev et al., 2018. Finding influential training samples for gradient boosted decision
        trees. Section 4, LeafInfluence with all points updated; the same derivative, there computed
        forwards.
    """

    means: NDArray[np.float64]
    weights: NDArray[np.float64]
    method: ClassVar[str] = "derivative in each row's weight; structure of the trees fixed"

    @classmethod
    def fit(
        cls,
        model: BoostedTrees,
        features: Any,
        labels: NDArray[np.generic] | Sequence[object],
    ) -> "LeafInfluence":
        """Follow the training rows through the trees; the arguments and errors of `BoostIn.fit`."""
        trees = TrainedTrees.of(model, features, labels)
        means = np.empty(trees.leaves.shape)
        summed = np.empty(trees.n_leaves)
        for iteration, mean in trees.path():
            means[iteration] = mean
            hessians = losses.hessians(model.family, mean)
            for _, tree, weights in trees.leaf_weights(iteration, hessians):
                summed[tree] = weights
        return cls(trees, means, summed)

    def score_block(self, leaves: NDArray[np.int32], target: TreeTarget) -> NDArray[np.float64]:
        """Score all training rows for a few queries; see `TreeEstimator.score_block`."""
        trees, family = self.trees, self.trees.model.family
        slopes = target.slopes(final_outputs(trees.model, leaves))
        carried = np.zeros((*trees.answers.shape, slopes.shape[1]))
        scored = np.zeros((trees.n_train, slopes.shape[1]))
        for iteration in reversed(range(len(leaves))):
            mean = self.means[iteration]
            in_leaves = self._in_leaves(iteration, leaves[iteration], slopes, carried)
            values = trees.model.leaf_values[trees.leaves[iteration]]
            moved = trees.model.learning_rate * (mean - trees.answers)
            moved += values * losses.hessians(family, mean)
            scored -= (moved[:, :, None] * in_leaves).sum(axis=0)
            factors = losses.leaf_factors(family, mean, trees.model.learning_rate, values)
            carried -= losses.pulled_back(family, mean[:, :, None], factors[:, :, None], in_leaves)
        at_base = slopes + carried.sum(axis=1)
        scored += np.einsum("ki,kq->iq", losses.base_slopes(family, trees.answers), at_base)
        return scored.T

    def _in_leaves(
        self,
        iteration: int,
        leaves: NDArray[np.int32],
        slopes: NDArray[np.float64],
        carried: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Return the derivative in the value of each row's leaf, over the leaf's weight.

        Args:
            iteration: Whose trees.
            leaves: Leaf of each query there, ``[n_outputs, n_query]``.
            slopes: Derivative in the query's outputs, ``[n_outputs, n_query]``.
            carried: Derivative in the rows' outputs after it, ``[n_outputs, n_train, n_query]``.
        """
        found = np.empty_like(carried)
        queries = np.arange(slopes.shape[1])
        for output, reached in enumerate(leaves):
            tree = self.trees.tree(iteration, output)
            derivative = self.trees.members(iteration, output) @ carried[output]
            derivative[reached - tree.start, queries] += slopes[output]
            derivative /= self.weights[tree, None]
            found[output] = derivative[self.trees.leaves[iteration, output] - tree.start]
        return found
