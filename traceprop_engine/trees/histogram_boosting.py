"""Scikit-learn's histogram gradient boosting, read for the estimators."""

from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from traceprop_engine.errors import QueryShapeError, UnsupportedTreesError
from traceprop_engine.training.losses import Family

_OWN_PARTS = ("_predictors", "_baseline_prediction", "_preprocess_X", "_bin_mapper", "_raw_predict")
_REFITS = "leave_groups_out refits any estimator exactly"


@dataclass(frozen=True, eq=False)
class HistogramBoosting:
    """The trees of a fitted ``HistGradientBoostingClassifier`` or ``-Regressor``.

    Missing values, categorical features, interaction constraints and random subsets of features
    are fine: they decide the trees' structure alone. The estimator may be fitted again afterwards;
    what was read stays. See `BoostedTrees` for the attributes.
    """

    estimator: Any  # its trees have no public names
    name: str
    family: Family
    classes: tuple[object, ...]
    learning_rate: float
    l2: float
    base: NDArray[np.float64]
    leaf_values: NDArray[np.float64]
    leaf_starts: NDArray[np.int64]

    @classmethod
    def of(cls, estimator: Any) -> "HistogramBoosting":
        """Read a fitted estimator.

        Raises:
            UnsupportedTreesError: It is another kind of model, it is not fitted, or its leaves are
                not sums over all rows: another loss, weights, monotonic constraints, or rows held
                out for early stopping.
        """
        _refuse(estimator)
        held = copy(estimator)
        held._predictors = list(estimator._predictors)  # noqa: SLF001 - a warm start adds to the list
        predictors = [tree for trees in held._predictors for tree in trees]  # noqa: SLF001 - no public way
        values = [tree.nodes["value"][tree.nodes["is_leaf"] == 1] for tree in predictors]
        classes = tuple(getattr(estimator, "classes_", ()))
        family: Family = "linear"
        if classes:
            family = "logistic" if len(classes) == 2 else "softmax"  # noqa: PLR2004 - two classes
        return cls(
            estimator=held,
            name=type(estimator).__name__,
            family=family,
            classes=classes,
            learning_rate=float(estimator.learning_rate),
            l2=float(estimator.l2_regularization),
            base=np.array(estimator._baseline_prediction, dtype=np.float64).ravel(),  # noqa: SLF001
            leaf_values=np.concatenate(values),
            leaf_starts=np.cumsum([0, *map(len, values)]),
        )

    def leaves(self, features: Any) -> NDArray[np.int32]:
        """Return the leaf of each row in each tree, ``[n_iterations, n_outputs, n_rows]``.

        Each tree is asked for its prediction with the leaves' numbers in the place of their values,
        so that missing values and categories go where the model sends them.

        Raises:
            QueryShapeError: The features do not fit the model.
        """
        table = self._table(features)
        bitsets, positions = self.estimator._bin_mapper.make_known_categories_bitsets()  # noqa: SLF001
        stages = self.estimator._predictors  # noqa: SLF001
        found = np.empty((len(stages), len(self.base), len(table)), dtype=np.int32)
        for iteration, trees in enumerate(stages):
            for output, tree in enumerate(trees):
                start = self.leaf_starts[iteration * len(self.base) + output]
                found[iteration, output] = _numbered(tree, int(start)).predict(
                    table, bitsets, positions, 1
                )
        return found

    def outputs(self, features: Any) -> NDArray[np.float64]:
        """Return what the estimator itself gives for each row, ``[n_outputs, n_rows]``."""
        return np.array(self.estimator._raw_predict(features), dtype=np.float64).T  # noqa: SLF001

    def _table(self, features: Any) -> NDArray[np.float64]:
        try:
            return self.estimator._preprocess_X(features, reset=False)  # noqa: SLF001
        except ValueError as error:
            wanted = f"as {self.name} was trained on"
            raise QueryShapeError("features", wanted, str(error).splitlines()[0]) from error


def _numbered(tree: Any, start: int) -> Any:
    """Return a tree whose leaves hold their numbers, counted from ``start``."""
    numbered = copy(tree)
    numbered.nodes = tree.nodes.copy()
    is_leaf = numbered.nodes["is_leaf"] == 1
    numbered.nodes["value"][is_leaf] = np.arange(start, start + is_leaf.sum())
    return numbered


def _refuse(estimator: Any) -> None:
    name = type(estimator).__name__
    if not isinstance(estimator, HistGradientBoostingClassifier | HistGradientBoostingRegressor):
        reason = "only scikit-learn's histogram gradient boosting is read"
        raise UnsupportedTreesError(name, reason, _REFITS)
    if not hasattr(estimator, "_predictors"):
        raise UnsupportedTreesError(name, "it is not fitted", "call `fit` first")
    missing = [part for part in _OWN_PARTS if not hasattr(estimator, part)]
    if missing:
        reason = f"this version of scikit-learn has no {missing[0]!r}"
        raise UnsupportedTreesError(name, reason, _REFITS)
    for is_so, reason, way_out in _reasons(estimator):
        if is_so:
            raise UnsupportedTreesError(name, reason, f"{way_out}, or refit: {_REFITS}")


def _reasons(estimator: Any) -> list[tuple[bool, str, str]]:
    held_out = estimator.do_early_stopping_ and estimator._use_validation_data  # noqa: SLF001
    constraints = estimator.monotonic_cst
    weighted = getattr(estimator, "_fitted_with_sw", False)
    class_weight = getattr(estimator, "class_weight", None)
    return [
        (
            estimator.loss not in {"log_loss", "squared_error"},
            f"loss {estimator.loss!r} is neither 'log_loss' nor 'squared_error'",
            "train with one of them",
        ),
        (
            len(getattr(estimator, "classes_", ())) == 1,
            "its rows are all of one class",
            "train on two classes or more",
        ),
        (constraints is not None, "monotonic constraints bound its leaves", "leave them out"),
        (weighted, "its rows have weights", "train a new estimator without sample_weight"),
        (class_weight is not None, "class_weight gives its rows weights", "leave it out"),
        (
            bool(held_out and estimator.validation_fraction is not None),
            "early stopping held out some of the rows ('auto' does so above 10,000 rows)",
            "train with early_stopping=False, or with validation_fraction=None",
        ),
    ]
