"""BoostIn: TracIn for boosted trees, each iteration a step of training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from traceprop_engine.trees import losses
from traceprop_engine.trees.boosted import BoostedTrees, TrainedTrees, incidence, staged_outputs
from traceprop_engine.trees.estimator import TreeEstimator
from traceprop_engine.trees.targets import TreeTarget


@dataclass(frozen=True, eq=False)
class BoostIn(TreeEstimator):
    """What each row's weight does to the leaves it shares with the query, summed over iterations.

    With ``g`` and ``h`` the row's gradient and hessian before an iteration, ``v`` the value of its
    leaf without the learning rate and ``W`` the leaf's sum of hessians and penalty, a unit of
    weight moves the value by ``-rate (g + h v) / W``. The score is the sum, over the trees where
    query and row share a leaf, of that times the slope of the query's target before the iteration.
    That the row also moved the gradients of later iterations is left out; `LeafInfluence` has it.

    Attributes:
        trees: The trees, with their training rows in the leaves.
        pushes: Change of each leaf's value with each row's weight, ``[n_leaves, n_train]``, sparse.

    References:
        Brophy, Hammoudeh, Lowd, 2023. Adapting and evaluating influence-estimation methods for
        gradient-boosted decision trees. BoostIn. Theirs is of the loss, and positive lowers it.
    """

    pushes: csr_array
    method: ClassVar[str] = "BoostIn; leaves shared with the query, summed over iterations"

    @classmethod
    def fit(
        cls,
        model: BoostedTrees,
        features: Any,
        labels: NDArray[np.generic] | Sequence[object],
    ) -> "BoostIn":
        """Find what each row's weight does to the leaves that it is in.

        Args:
            model: The trees, as by `HistogramBoosting.of`.
            features: Features of its training rows, ``[n_train, n_features]``.
            labels: Their labels, ``[n_train]``.

        Raises:
            TreeRowsError: The model was not trained on these rows.
            EmptyTableError: There are no rows.
            QueryShapeError: The features do not fit the model.
            UnknownClassError: A label is not one of the model's classes.
        """
        trees = TrainedTrees.of(model, features, labels)
        pushes = np.empty(trees.leaves.shape)
        for iteration, mean in trees.path():
            hessians = losses.hessians(model.family, mean)
            for output, tree, weights in trees.leaf_weights(iteration, hessians):
                leaves = trees.leaves[iteration, output]
                gradients = mean[output] - trees.answers[output]
                moved = model.learning_rate * gradients
                moved += model.leaf_values[leaves] * hessians[output]
                pushes[iteration, output] = -moved / weights[leaves - tree.start]
        flat = trees.leaves.reshape(-1, trees.n_train), trees.n_leaves
        entries = pushes.reshape(-1, trees.n_train)
        return cls(trees, csr_array(incidence(*flat, entries).T.tocsr()))

    def score_block(self, leaves: NDArray[np.int32], target: TreeTarget) -> NDArray[np.float64]:
        """Score all training rows for a few queries; see `TreeEstimator.score_block`."""
        slopes = np.empty(leaves.shape)
        for iteration, outputs in staged_outputs(self.trees.model, leaves):
            slopes[iteration] = target.slopes(outputs)
        n_query = leaves.shape[2]
        asked = incidence(
            leaves.reshape(-1, n_query), self.trees.n_leaves, slopes.reshape(-1, n_query)
        )
        return (asked @ self.pushes).toarray()
