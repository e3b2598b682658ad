"""What can be asked about a query: a number of the model's outputs, its unit and its slope."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax

from traceprop_engine.errors import InfluenceTargetError
from traceprop_engine.training.run import TrainingRun
from traceprop_engine.training.tables import class_positions

Target = Literal["logit", "margin", "loss", "prediction"]
"""Which number of a query the scores explain.

*logit*: log-odds of the second class (logistic), or a class's output above the mean output
(softmax). *margin*: log-odds of the query's true class against all others. *loss*: of the query's
true label. *prediction*: the predicted value (linear).
"""


@dataclass(frozen=True, eq=False)
class QueryTarget:
    """One number for each query, as a function of the query's linear outputs.

    Attributes:
        run: The trained model.
        kind: Which number.
        labels: The queries' true labels as the loss reads them, ``[n_query]``; empty where the
            number does not depend on them.
        class_position: The class that a logit is of, by its position.
    """

    run: TrainingRun
    kind: Target
    labels: NDArray[np.float64]
    class_position: int

    @property
    def unit(self) -> str:
        """Unit of the number."""
        if self.run.family == "linear":
            label = f"unit of {self.run.label!r}"
            return label if self.kind == "prediction" else f"half squared {label}"
        return "nats" if self.kind == "loss" else "log-odds"

    def values(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the number of each query, ``[n_query]``, from outputs ``[n_query, n_outputs]``."""
        if self.kind == "prediction":
            return outputs[:, 0]
        if self.kind == "loss":
            return self.run.objective.loss.value(outputs, self.labels)
        if self.run.family == "logistic":
            return self._signs(len(outputs)) * outputs[:, 0]
        if self.kind == "logit":
            return outputs[:, self.class_position] - outputs.mean(axis=1)
        right = self._right(outputs)
        others = np.where(right, -np.inf, outputs)
        return outputs[right] - logsumexp(others, axis=1)

    def slopes(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the number's derivative in the outputs, ``[n_query, n_outputs]``."""
        if self.kind == "prediction":
            return np.ones_like(outputs)
        if self.kind == "loss":
            return self.run.objective.loss.slope(outputs, self.labels)
        if self.run.family == "logistic":
            return self._signs(len(outputs))[:, None]
        n_outputs = outputs.shape[1]
        if self.kind == "logit":
            return np.tile(
                np.eye(n_outputs)[self.class_position] - 1 / n_outputs, (len(outputs), 1)
            )
        right = self._right(outputs)
        return right - softmax(np.where(right, -np.inf, outputs), axis=1)

    def _signs(self, n_query: int) -> NDArray[np.float64]:
        if self.kind == "logit":
            return np.full(n_query, 1.0 if self.class_position == 1 else -1.0)
        return 2 * self.labels - 1

    def _right(self, outputs: NDArray[np.float64]) -> NDArray[np.bool_]:
        return np.arange(outputs.shape[1]) == self.labels[:, None]


def resolve_target(
    run: TrainingRun,
    features: NDArray[np.float64],
    *,
    labels: NDArray[np.generic] | Sequence[object] | None,
    target: Target | None,
    of_class: object,
) -> QueryTarget:
    """Return the number that is asked of each query.

    Args:
        run: The trained model.
        features: The queries, ``[n_query, n_features]``.
        labels: Their true labels, for a margin or loss.
        target: Which number; ``None`` for the model's own: logit, margin or prediction.
        of_class: The class that a logit is of; the second class of a logistic model by default.

    Raises:
        InfluenceTargetError: This model has no such number, or needs labels or a class for it.
        QueryShapeError: There is not one label for each query.
        UnknownClassError: A label, or ``of_class``, is not a class of the model.
    """
    kind = _own_target(run) if target is None else target
    _check_target(run, kind, of_class)
    position = 1
    if kind == "logit" and of_class is not None:
        position = int(class_positions([of_class], run.classes)[0])
    if kind not in {"margin", "loss"}:
        return QueryTarget(run, kind, np.empty(0), position)
    if labels is None:
        raise InfluenceTargetError(
            kind, "depends on the true label of the query", "pass labels, one for each query"
        )
    return QueryTarget(run, kind, run.encode_query(features, labels), position)


def _own_target(run: TrainingRun) -> Target:
    own: dict[str, Target] = {"linear": "prediction", "logistic": "logit", "softmax": "margin"}
    return own[run.family]


def _check_target(run: TrainingRun, kind: str, of_class: object) -> None:
    possible = ("prediction", "loss") if run.family == "linear" else ("logit", "margin", "loss")
    if kind not in possible:
        raise InfluenceTargetError(
            kind,
            f"does not exist for a {run.family} model",
            f"ask for one of {', '.join(possible)}",
        )
    if of_class is not None and kind != "logit":
        raise InfluenceTargetError(
            kind, "is not the target of one class", "leave of_class out, or ask for 'logit'"
        )
    if kind == "logit" and run.family == "softmax" and of_class is None:
        raise InfluenceTargetError(
            kind, "of a softmax model is one for each class", "name the class with of_class"
        )
