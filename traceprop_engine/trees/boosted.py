"""Boosted trees as the estimators see them, together with the rows they were trained on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from traceprop_engine.errors import EmptyTableError, TreeRowsError
from traceprop_engine.training.losses import Family
from traceprop_engine.trees import losses

_TINY = 1e-15
"""Added to the weight of a leaf, so that a leaf without rows has the value 0."""

_ROUNDING = 1e-5
"""Share of the gradients in a leaf that single precision may cost its value."""


class BoostedTrees(Protocol):
    """A fitted model that adds up trees, ``n_outputs`` at each of ``n_iterations``.

    The value of a leaf is ``-rate * sum of gradients / (sum of hessians + l2)`` over its rows, both
    taken at the outputs before the iteration, and the outputs before the first tree are those of
    the best constant. All rows weigh the same.
    """

    @property
    def name(self) -> str:
        """Name of the model, for messages."""
        ...

    @property
    def family(self) -> Family:
        """Loss: half the squared error, or the log-loss of two or of many classes."""
        ...

    @property
    def classes(self) -> tuple[object, ...]:
        """Classes in the order of their outputs; empty for a regression."""
        ...

    @property
    def learning_rate(self) -> float:
        """Factor on each leaf's value."""
        ...

    @property
    def l2(self) -> float:
        """Penalty on the values of the leaves."""
        ...

    @property
    def base(self) -> NDArray[np.float64]:
        """Outputs before the first tree, ``[n_outputs]``."""
        ...

    @property
    def leaf_values(self) -> NDArray[np.float64]:
        """Values of the leaves of all trees, learning rate included, ``[n_leaves]``."""
        ...

    @property
    def leaf_starts(self) -> NDArray[np.int64]:
        """First leaf of each tree, and the end, ``[n_iterations * n_outputs + 1]``."""
        ...

    def leaves(self, features: Any) -> NDArray[np.int32]:
        """Return the leaf of each row in each tree, ``[n_iterations, n_outputs, n_rows]``.

        Leaves are numbered over all trees, those of one tree in a row.

        Raises:
            QueryShapeError: The features do not fit the model.
        """
        ...

    def outputs(self, features: Any) -> NDArray[np.float64]:
        """Return what the model itself gives for each row, ``[n_outputs, n_rows]``."""
        ...


@dataclass(frozen=True, eq=False)
class TrainedTrees:
    """Boosted trees with the rows that they were trained on, in their leaves.

    Attributes:
        model: The trees.
        leaves: Leaf of each row, ``[n_iterations, n_outputs, n_train]``.
        order: Rows sorted by leaf, ``[n_iterations, n_outputs, n_train]``.
        answers: What each output should be, ``[n_outputs, n_train]``.
    """

    model: BoostedTrees
    leaves: NDArray[np.int32]
    order: NDArray[np.int32]
    answers: NDArray[np.float64]

    @classmethod
    def of(
        cls, model: BoostedTrees, features: Any, labels: NDArray[np.generic] | Sequence[object]
    ) -> "TrainedTrees":
        """Find the leaves of the training rows, and check that the model comes from them.

        Raises:
            EmptyTableError: There are no rows.
            TreeRowsError: The rows do not give the model's outputs, or its values of the leaves.
            QueryShapeError: The features do not fit the model.
            UnknownClassError: A label is not one of the model's classes.
        """
        if len(labels) == 0:
            raise EmptyTableError("explain")
        if len(labels) != len(features):
            reason = f"there are {len(features)} rows and {len(labels)} labels"
            raise TreeRowsError(model.name, reason)
        answered = losses.answers(model.family, labels, model.classes)
        leaves = model.leaves(features)
        order = np.argsort(leaves, axis=2, kind="stable").astype(np.int32)
        trees = cls(model, leaves, order, answered)
        trees.check(features)
        return trees

    @property
    def n_train(self) -> int:
        """Number of training rows."""
        return self.leaves.shape[2]

    @property
    def n_leaves(self) -> int:
        """Leaves of all trees."""
        return int(self.model.leaf_starts[-1])

    def tree(self, iteration: int, output: int) -> slice:
        """Return the leaves of a tree among those of all trees."""
        position = iteration * self.leaves.shape[1] + output
        starts = self.model.leaf_starts
        return slice(int(starts[position]), int(starts[position + 1]))

    def members(self, iteration: int, output: int) -> csr_array:
        """Return which rows are in each leaf of a tree, ``[n_leaves of the tree, n_train]``."""
        tree = self.tree(iteration, output)
        n_leaves = tree.stop - tree.start
        counts = np.bincount(self.leaves[iteration, output] - tree.start, minlength=n_leaves)
        ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        entries = np.ones(self.n_train), self.order[iteration, output], ends
        return csr_array(entries, shape=(n_leaves, self.n_train))

    def path(self) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Yield each iteration and the means of the rows before it, ``[n_outputs, n_train]``."""
        for iteration, outputs in staged_outputs(self.model, self.leaves):
            yield iteration, losses.means(self.model.family, outputs)

    def penalty(self, tree: slice) -> float:
        """Return what is added to the sum of hessians in each leaf of a tree.

        It is infinite where the tree is one leaf, which leaves the value at 0 whatever its rows.
        """
        return np.inf if tree.stop - tree.start == 1 else self.model.l2 + _TINY

    def leaf_weights(
        self, iteration: int, hessians: NDArray[np.float64]
    ) -> Iterator[tuple[int, slice, NDArray[np.float64]]]:
        """Yield each output, the leaves of its tree, and the sum of hessians and penalty there."""
        for output, hessian in enumerate(hessians):
            tree = self.tree(iteration, output)
            yield output, tree, self.members(iteration, output) @ hessian + self.penalty(tree)

    def check(self, features: Any) -> None:
        """Refuse rows that the model does not come from.

        Raises:
            TreeRowsError: Outputs, base or values of the leaves differ.
        """
        model = self.model
        followed = final_outputs(model, self.leaves)
        given = model.outputs(features)
        apart = np.abs(followed - given).max()
        if not apart <= 1e-6 * max(1.0, np.abs(given).max()):
            raise TreeRowsError(model.name, f"its outputs are off by {apart:.3g}")
        base = losses.base_scores(model.family, self.answers.mean(axis=1, keepdims=True))[:, 0]
        if not np.allclose(base, model.base, rtol=1e-9, atol=1e-9):
            reason = f"its outputs start at {model.base}, theirs would at {base}"
            raise TreeRowsError(model.name, reason)
        for iteration, mean in self.path():
            self._check_values(iteration, mean)

    def _check_values(self, iteration: int, mean: NDArray[np.float64]) -> None:
        model = self.model
        gradients = mean - self.answers
        weighed = self.leaf_weights(iteration, losses.hessians(model.family, mean))
        for output, tree, weights in weighed:
            sums = self.members(iteration, output) @ np.stack(
                [gradients[output], np.abs(gradients[output])], axis=1
            )
            steps = model.learning_rate * sums / weights[:, None]
            values = model.leaf_values[tree]
            allowed = _ROUNDING * (np.abs(steps[:, 1]) + np.abs(values)) + _TINY
            wrong = np.flatnonzero(~(np.abs(values + steps[:, 0]) <= allowed))
            if len(wrong):
                leaf = wrong[0]
                reason = (
                    f"leaf {leaf} of tree {iteration} has the value {values[leaf]:.6g}, "
                    f"and these rows give {-steps[leaf, 0]:.6g}"
                )
                raise TreeRowsError(model.name, reason)


def staged_outputs(
    model: BoostedTrees, leaves: NDArray[np.int32]
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield each iteration and the outputs of the rows before it, ``[n_outputs, n_rows]``.

    Args:
        model: The trees.
        leaves: Leaf of each row, ``[n_iterations, n_outputs, n_rows]``.
    """
    outputs = np.repeat(model.base[:, None], leaves.shape[2], axis=1)
    for iteration, reached in enumerate(leaves):
        yield iteration, outputs.copy()
        outputs += model.leaf_values[reached]


def final_outputs(model: BoostedTrees, leaves: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the outputs of rows in these leaves, ``[n_outputs, n_rows]``."""
    outputs = np.repeat(model.base[:, None], leaves.shape[2], axis=1)
    for reached in leaves:
        outputs += model.leaf_values[reached]
    return outputs


def incidence(
    leaves: NDArray[np.int32], n_leaves: int, entries: NDArray[np.float64] | None = None
) -> csr_array:
    """Return which leaves rows are in, as ``[n_rows, n_leaves]``.

    Args:
        leaves: ``[n_trees, n_rows]``.
        n_leaves: Leaves of all trees.
        entries: Entry of each row and tree, of the same shape; ones by default.
    """
    n_trees, n_rows = leaves.shape
    values = np.ones(leaves.size) if entries is None else np.ascontiguousarray(entries.T).ravel()
    ends = np.arange(0, leaves.size + 1, n_trees)
    columns = np.ascontiguousarray(leaves.T).ravel()
    return csr_array((values, columns, ends), shape=(n_rows, n_leaves))
