"""What can be asked about a query of boosted trees: a number, its slope and its unit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from traceprop_engine.attribution.targets import Target
from traceprop_engine.errors import InfluenceTargetError, QueryShapeError
from traceprop_engine.training.losses import Family
from traceprop_engine.trees import losses
from traceprop_engine.trees.boosted import BoostedTrees

_POSSIBLE: dict[Family, tuple[Target, ...]] = {
    "linear": ("prediction", "loss"),
    "logistic": ("margin", "loss", "logit"),
    "softmax": ("margin", "loss"),
}
"""Targets of each family; the first one is its own."""


@dataclass(frozen=True, eq=False)
class TreeTarget:
    """One number of each query, as a function of its outputs.

    Attributes:
        family: Loss of the model.
        kind: Which number.
        answers: What each output should be, ``[n_outputs, n_query]``; zeros where the number does
            not depend on labels.
    """

    family: Family
    kind: Target
    answers: NDArray[np.float64]

    @property
    def unit(self) -> str:
        """Unit of the number."""
        if self.family == "linear":
            label = "unit of the label"
            return label if self.kind == "prediction" else f"half squared {label}"
        return "nats" if self.kind == "loss" else "log-odds"

    def of(self, queries: slice) -> "TreeTarget":
        """Return the same number of some of the queries."""
        return TreeTarget(self.family, self.kind, self.answers[:, queries])

    def values(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the number, ``[n_query, m]``, from outputs ``[n_outputs, n_query, m]``."""
        if self.kind == "loss":
            return losses.losses(self.family, outputs, self.answers)
        if self.kind in {"prediction", "logit"}:
            return outputs[0]
        if self.family == "logistic":
            return (2 * self.answers[0, :, None] - 1) * outputs[0]
        right = self.answers[:, :, None] == 1
        others = logsumexp(np.where(right, -np.inf, outputs), axis=0)
        return np.where(right, outputs, 0.0).sum(axis=0) - others

    def slopes(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return its derivative in the outputs, both ``[n_outputs, n_query]``."""
        if self.kind == "loss":
            return losses.means(self.family, outputs) - self.answers
        if self.kind in {"prediction", "logit"}:
            return np.ones_like(outputs)
        if self.family == "logistic":
            return 2 * self.answers - 1
        right = self.answers == 1
        return right - losses.means(self.family, np.where(right, -np.inf, outputs))


def tree_target(
    model: BoostedTrees,
    n_query: int,
    labels: NDArray[np.generic] | Sequence[object] | None,
    target: Target | None,
) -> TreeTarget:
    """Return the number that is asked of each query.

    Raises:
        InfluenceTargetError: This model has no such number, or needs labels for it.
        QueryShapeError: There are no queries, or not one label for each.
        UnknownClassError: A label is not one of the model's classes.
    """
    if n_query == 0:
        raise QueryShapeError("queries", "at least one row", "none")
    possible = _POSSIBLE[model.family]
    kind = possible[0] if target is None else target
    if kind not in possible:
        reason = f"does not exist for {model.name} of {len(model.classes)} classes"
        raise InfluenceTargetError(str(kind), reason, f"ask for one of {', '.join(possible)}")
    if kind in {"prediction", "logit"}:
        return TreeTarget(model.family, kind, np.zeros((1, n_query)))
    if labels is None:
        reason = "depends on the true label of the query"
        raise InfluenceTargetError(kind, reason, "pass labels, one for each query")
    if len(labels) != n_query:
        raise QueryShapeError("labels", f"one for each of {n_query} queries", str(len(labels)))
    return TreeTarget(model.family, kind, losses.answers(model.family, labels, model.classes))
