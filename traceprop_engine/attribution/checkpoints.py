"""What the estimators for nets share: fitted checkpoints, queries in blocks, scores, top rows."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.attribution.functionals import Functional, functional_weights
from traceprop_engine.attribution.leave_one_out import row_blocks
from traceprop_engine.attribution.scores import (
    AttributionScores,
    Direction,
    TopRows,
    check_k,
    strongest_of_blocks,
)
from traceprop_engine.attribution.targets import Target
from traceprop_engine.errors import (
    CheckpointChoiceError,
    EstimatorSettingError,
    InfluenceTargetError,
    QueryShapeError,
    RowGradientsError,
)
from traceprop_engine.gradients import OutputTarget, RecordedTraining, RowGradients

MEMORY_BYTES = 4 << 30
"""Bytes that a fitted estimator, and again the answer to one block of queries, may take."""

Progress = Callable[[int, int], None]
"""Called with the number of checkpoints fitted so far, and of all."""

BlockScores = Callable[[slice], NDArray[np.float64]]
"""From training rows to the scores of each question and row, ``[n_question, n_rows]``."""

BlockEffects = Callable[[slice], NDArray[np.floating]]
"""From training rows to ``g_qᵀ P g_i`` of each question and row, ``[n_question, n_rows]``."""


class FittedCheckpoint(Protocol):
    """The gradients of all training rows at one checkpoint, with what stands for ``H^-1``."""

    @property
    def floats_per_question(self) -> int:
        """Numbers kept for each question until all training rows are scored."""
        ...

    def ask(self, queries: RowGradients, weights: NDArray[np.float64] | None) -> BlockEffects:
        """Return what scores any block of training rows.

        Args:
            queries: Gradients of the target of each query.
            weights: ``[n_question, n_query]``: each question is a weighted sum of the queries;
                ``None`` where each query is a question.
        """
        ...


@dataclass(frozen=True, eq=False)
class CheckpointEstimator:
    """An estimator that adds up, over checkpoints, products of query and training gradients.

    With ``g_i`` the gradient of the scalar that row ``i``'s loss depends on, ``s_i`` the slope of
    the loss in it, and ``P`` the estimator's preconditioner at a checkpoint, the score of row ``i``
    for a query with gradient ``g_q`` is ``-s_i g_qᵀ P g_i``, weighted over the checkpoints.
    Positive: the row raises the target. Scores are linear in the target, so those of several rows
    or queries add up. Rows whose gradient or slope is zero score 0.

    Attributes:
        training: The recorded training.
        checkpoints: Which of its checkpoints are used, by position.
        fitted: Each of them, fitted.
        pushes: ``-s_i`` of each row, times the weight of the checkpoint, ``[n_train]`` each.
        method: How scores are estimated, in words.
        unit_form: Unit of the scores, with ``{}`` in the place of the target's.
        memory_bytes: Bytes that the answer to one block of queries may take.
    """

    training: RecordedTraining
    checkpoints: tuple[int, ...]
    fitted: tuple[FittedCheckpoint, ...]
    pushes: tuple[NDArray[np.float64], ...]
    method: str
    unit_form: str = "{}"
    memory_bytes: int = MEMORY_BYTES

    def scores(
        self,
        features: NDArray[np.floating],
        labels: NDArray[np.generic] | Sequence[object] | None = None,
        *,
        target: OutputTarget | None = None,
        functionals: Sequence[Functional] | None = None,
    ) -> AttributionScores:
        """Score every training row for every query, or for every functional of all queries.

        Args:
            features: The queries, ``[n_query, ...]``, in the form of the training rows.
            labels: Their labels, for the targets that need them.
            target: Which scalar of the outputs; by default the margin of a classifier and the
                prediction of a net trained on squared error.
            functionals: Numbers of all queries together to explain, each in a row of the result;
                a functional is linearised at every checkpoint.

        Returns:
            ``[n_query, n_train]`` or ``[n_functional, n_train]``, in the target's unit.

        Raises:
            QueryShapeError: There are no queries, or not one label for each.
            InfluenceTargetError: The training has no such target.
            FunctionalError: A functional is not defined for these queries.
            RowGradientsError: A query's gradient is not finite, or too large to multiply.
        """
        asked = _asked_target(self.training, target)
        rows = row_blocks(self.training.n_train, 1 + self._questions(features, functionals))
        answers = [
            np.concatenate([question(block) for block in rows], axis=1)
            for question in self._ask(features, labels, asked, functionals)
        ]
        return AttributionScores(
            np.concatenate(answers),
            _target_name(asked),
            self.unit_form.format(target_unit(self.training, asked)),
            self.method,
            tuple(functional.name for functional in functionals or ()),
        )

    def top_k(
        self,
        features: NDArray[np.floating],
        k: int,
        *,
        labels: NDArray[np.generic] | Sequence[object] | None = None,
        target: OutputTarget | None = None,
        functionals: Sequence[Functional] | None = None,
        direction: Direction = "both",
    ) -> list[TopRows]:
        """Return the ``k`` strongest training rows for each query or functional.

        The same as ``scores(...).top_k(k, query=q)`` for each, in blocks of training rows, without
        a score for every pair in memory. See `scores` for the arguments and errors.
        """
        check_k(k)
        asked = _asked_target(self.training, target)
        rows = row_blocks(self.training.n_train, 1 + self._questions(features, functionals))
        return [
            top
            for question in self._ask(features, labels, asked, functionals)
            for top in strongest_of_blocks(
                ((block, question(block)) for block in rows), k, direction
            )
        ]

    def _questions(
        self, features: NDArray[np.floating], functionals: Sequence[Functional] | None
    ) -> int:
        """Return how many questions are answered at once."""
        if functionals is not None:
            return len(functionals)
        floats = sum(fitted.floats_per_question for fitted in self.fitted)
        return min(len(features), max(1, self.memory_bytes // (16 * floats)))

    def _ask(
        self,
        features: NDArray[np.floating],
        labels: NDArray[np.generic] | Sequence[object] | None,
        target: OutputTarget,
        functionals: Sequence[Functional] | None,
    ) -> Iterator[BlockScores]:
        """Yield what scores blocks of training rows, for one block of queries after another."""
        given = checked_labels(features, labels)
        size = len(features) if functionals is not None else self._questions(features, None)
        for start in range(0, len(features), size):
            queries = slice(start, start + size)
            part = None if given is None else given[queries]
            yield self._ask_block(features[queries], part, target, functionals)

    def _ask_block(
        self,
        features: NDArray[np.floating],
        labels: NDArray[np.generic] | None,
        target: OutputTarget,
        functionals: Sequence[Functional] | None,
    ) -> BlockScores:
        asked: list[BlockEffects] = []
        for checkpoint, fitted in zip(self.checkpoints, self.fitted, strict=True):
            queries = self.training.query_gradients(checkpoint, features, labels, target)
            _check_usable(f"queries at checkpoint {checkpoint}", queries)
            weights = None
            if functionals is not None:
                weights = functional_weights(functionals, queries.values)
            asked.append(fitted.ask(queries, weights))
        return _summed(asked, self.pushes)


def fit_checkpoints(
    training: RecordedTraining,
    checkpoints: Sequence[int] | None,
    fit: Callable[[RowGradients], FittedCheckpoint],
    progress: Progress | None,
    weights: Sequence[float] | None = None,
) -> tuple[tuple[int, ...], tuple[FittedCheckpoint, ...], tuple[NDArray[np.float64], ...]]:
    """Fit an estimator at each checkpoint, reading one after another.

    Args:
        training: The recorded training.
        checkpoints: Which of its checkpoints, by position; all by default.
        fit: What fits one of them to the gradients of its training rows.
        progress: Told before each checkpoint and at the end.
        weights: Of each checkpoint's scores; by default they are averaged.

    Returns:
        The checkpoints, each fitted, and the weighted pushes of each.

    Raises:
        CheckpointChoiceError: There are no such checkpoints.
        RowGradientsError: A gradient, slope or curvature is not finite.
    """
    chosen = chosen_checkpoints(training, checkpoints)
    trains = (train_rows(training, checkpoint) for checkpoint in chosen)
    fitted, pushes = fit_each(trains, [fit] * len(chosen), progress, weights)
    return chosen, fitted, pushes


def fit_each(
    trains: Iterable[RowGradients],
    fits: Sequence[Callable[[RowGradients], FittedCheckpoint]],
    progress: Progress | None,
    weights: Sequence[float] | None = None,
) -> tuple[tuple[FittedCheckpoint, ...], tuple[NDArray[np.float64], ...]]:
    """Fit each checkpoint by its own function; see `fit_checkpoints`."""
    shares = [1 / len(fits)] * len(fits) if weights is None else weights
    fitted: list[FittedCheckpoint] = []
    pushes: list[NDArray[np.float64]] = []
    for train, fit, share in zip(trains, fits, shares, strict=True):
        if progress is not None:
            progress(len(fitted), len(fits))
        fitted.append(fit(train))
        pushes.append(-share * np.asarray(train.slopes, dtype=np.float64))
    if progress is not None:
        progress(len(fits), len(fits))
    return tuple(fitted), tuple(pushes)


def train_rows(training: RecordedTraining, checkpoint: int) -> RowGradients:
    """Return the gradients of the training rows at a checkpoint once they can be used.

    Raises:
        RowGradientsError: A gradient, slope or curvature is missing, not finite or too large to
            multiply, or a curvature is negative.
    """
    train = training.train_gradients(checkpoint)
    what = f"training {training.name!r} at step {training.steps[checkpoint]}"
    if train.n_rows != training.n_train:
        reason = f"they are of {train.n_rows} rows, not {training.n_train}"
        raise RowGradientsError(what, reason, "give them for every training row")
    if len(train.slopes) != train.n_rows or len(train.curvatures) != train.n_rows:
        way_out = "give them for every training row"
        raise RowGradientsError(what, "slopes or curvatures are missing", way_out)
    _check_usable(what, train)
    if np.any(train.curvatures < 0):
        row = int(np.flatnonzero(train.curvatures < 0)[0])
        raise RowGradientsError(what, f"row {row} has a negative curvature", "use a convex loss")
    return train


def chosen_checkpoints(
    training: RecordedTraining, checkpoints: Sequence[int] | None
) -> tuple[int, ...]:
    """Return the positions of the checkpoints to use.

    Raises:
        CheckpointChoiceError: There are none, one does not exist, or they do not ascend.
    """
    n_kept = len(training.steps)
    chosen = tuple(range(n_kept)) if checkpoints is None else tuple(checkpoints)
    way_out = f"name some from 0 to {n_kept - 1} in ascending order, or leave them out for all"
    if not chosen:
        way_out = "record the training with checkpoints" if n_kept == 0 else way_out
        raise CheckpointChoiceError(training.name, "there are none", way_out)
    missing = [position for position in chosen if not 0 <= position < n_kept]
    if missing or any(second <= first for first, second in pairwise(chosen)):
        reason = f"there is no {missing[0]}" if missing else f"{list(chosen)} does not ascend"
        raise CheckpointChoiceError(training.name, reason, way_out)
    return chosen


def checked_memory(memory_bytes: int) -> int:
    """Return a memory bound once it is one.

    Raises:
        EstimatorSettingError: It is below one mebibyte.
    """
    if memory_bytes < 1 << 20:
        raise EstimatorSettingError("memory_bytes", f"at least {1 << 20}", memory_bytes)
    return memory_bytes


def checked_labels(
    features: NDArray[np.floating], labels: NDArray[np.generic] | Sequence[object] | None
) -> NDArray[np.generic] | None:
    """Return the labels of queries as an array, one for each query.

    Raises:
        QueryShapeError: There are no queries, or not one label for each.
    """
    if len(features) == 0:
        raise QueryShapeError("features", "of at least one query", "none")
    if labels is None:
        return None
    if len(labels) != len(features):
        wanted = f"one for each of {len(features)} queries"
        raise QueryShapeError("labels", wanted, str(len(labels)))
    return np.asarray(labels)


def target_unit(training: RecordedTraining, target: OutputTarget) -> str:
    """Return the unit of a target of a recorded training."""
    if callable(target):
        return f"unit of {_callable_name(target)}"
    if training.loss == "squared":
        return "half squared unit of the label" if target == "loss" else "unit of the label"
    if target == "loss":
        return "nats"
    return "log-odds" if target == "margin" or training.n_outputs == 1 else "logits"


def _asked_target(training: RecordedTraining, target: OutputTarget | None) -> OutputTarget:
    if target is None:
        return "margin" if training.loss == "cross_entropy" else "prediction"
    if target == "margin" and training.loss == "squared":
        way_out = "ask for 'prediction' or 'loss'"
        raise InfluenceTargetError(target, "is of classifiers", way_out)
    return target


def _target_name(target: OutputTarget) -> Target:
    return "prediction" if callable(target) else target


def _callable_name(target: Callable) -> str:
    return getattr(target, "__name__", type(target).__name__)


def _summed(asked: Sequence[BlockEffects], pushes: Sequence[NDArray[np.float64]]) -> BlockScores:
    def block(rows: slice) -> NDArray[np.float64]:
        first, *others = zip(asked, pushes, strict=True)
        total = np.asarray(first[0](rows) * first[1][rows], dtype=np.float64)
        for effect, push in others:
            total += effect(rows) * push[rows]
        return total

    return block


def _check_usable(what: str, gradients: RowGradients) -> None:
    """Refuse numbers that are not finite, or so large that sums of products would not be."""
    for part in (gradients.values, gradients.slopes, gradients.curvatures):
        _largest(what, part)
    for layer in gradients.layers:
        parts = [layer.deltas] if layer.inputs is None else [layer.inputs, layer.deltas]
        largest = prod(max(_largest(what, part), 1.0) for part in parts) * layer.shape.n_positions
        sums = largest * largest * layer.n_rows * layer.shape.n_parameters
        if sums > float(np.finfo(layer.dtype).max):
            reason = f"products of those of layer {layer.name!r} overflow {layer.dtype}"
            raise RowGradientsError(what, reason, "divide the features, or the target, by a number")


def _largest(what: str, part: NDArray[np.floating]) -> float:
    largest = float(np.maximum(np.max(part, initial=0.0), -np.min(part, initial=0.0)))
    if not np.isfinite(largest):
        finite = np.isfinite(part).reshape(len(part), -1).all(axis=1)
        row = int(np.flatnonzero(~finite)[0])
        way_out = "check the features, and that the training did not diverge"
        raise RowGradientsError(what, f"those of row {row} are not finite", way_out)
    return largest
