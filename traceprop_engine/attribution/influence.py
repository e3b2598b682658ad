"""The exact influence function of convex models, in closed form."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.attribution.leave_one_out import corrected_slopes, refit_high, row_blocks
from traceprop_engine.attribution.removal import Removal, check_rows, without_rows
from traceprop_engine.attribution.scores import (
    AttributionScores,
    Direction,
    TopRows,
    check_k,
    strongest_of_blocks,
)
from traceprop_engine.attribution.targets import QueryTarget, Target, resolve_target
from traceprop_engine.errors import (
    EstimatorSettingError,
    SingularCurvatureError,
    TrainingRowError,
    UnconvergedRunError,
)
from traceprop_engine.training.curvature import CurvatureFactor, NotPositiveDefiniteError
from traceprop_engine.training.objective import linear_outputs, parameter_gradients
from traceprop_engine.training.run import TrainingRun

REFIT_ABOVE = 0.25
"""Leverage above which one Newton step is not trusted and the model is refitted without the row.

Below it the step is off by some percent at most on average. The leverages of all rows add up to at
most the number of parameters, so in a large table few rows are above it.
"""
MAX_REFITS = 200
"""Refits at most, the rows of highest leverage first: a bound on the time of `fit`."""


@dataclass(frozen=True, eq=False)
class InfluenceFunction:
    r"""What leaving out each training row does to a model, ready for any number of queries.

    With the Hessian ``H`` of the objective, and of row ``i`` the Jacobian ``J_i`` of its outputs in
    the parameters and the slope ``r_i`` and curvature ``C_i`` of its loss in the outputs, one
    Newton step on the objective without row ``i`` moves the parameters by

        (H - J_iᵀ C_i J_i)^-1 J_iᵀ r_i  =  H^-1 J_iᵀ (I - C_i S_i)^-1 r_i,    S_i = J_i H^-1 J_iᵀ

    For one output the correction is the familiar ``1 / (1 - h_i)`` with leverage ``h_i``; for
    softmax it is a small matrix for each row. A score is minus the change of the query's target to
    first order; for predictions of linear models it is exact. Rows of high leverage are refitted.

    Attributes:
        run: The model and its training rows.
        hessian: ``[n_parameters, n_parameters]``, penalty included.
        factor: The same, factored.
        pushes: ``(I - C_i S_i)^-1 r_i`` of each row, ``[n_train, n_outputs]``; NaN where no model
            is determined without the row.
        leverage: Largest eigenvalue of ``C_i S_i``, in ``[0, 1]``, ``[n_train]``.
        refit_above: Leverage above which rows were refitted.
        refitted: Rows whose effect was found by refitting, ascending.
        refits: Parameters without each of them, ``[n_refitted, n_outputs, n_features + 1]``.
        leave_one_out: Whether scores answer for leaving out one row (leverage-corrected), or are
            the plain derivative in the row's weight, which adds up better over many rows.

    References:
        Koh and Liang, 2017. Understanding black-box predictions via influence functions. Equation
        2. Pregibon, 1981. Logistic regression diagnostics. For the leverage correction.
    """

    run: TrainingRun
    hessian: NDArray[np.float64]
    factor: CurvatureFactor
    pushes: NDArray[np.float64]
    leverage: NDArray[np.float64]
    refit_above: float
    refitted: NDArray[np.int64]
    refits: NDArray[np.float64]
    leave_one_out: bool

    @classmethod
    def fit(
        cls,
        run: TrainingRun,
        *,
        leave_one_out: bool = True,
        refit_above: float = REFIT_ABOVE,
        max_refits: int = MAX_REFITS,
        allow_unconverged: bool = False,
    ) -> "InfluenceFunction":
        """Factor the curvature of a trained model.

        Args:
            run: The model, at its minimum.
            leave_one_out: Correct for leverage, so that a score is the effect of leaving out one
                row; ``False`` gives the plain derivative.
            refit_above: Refit without a row whose leverage is above this (classifiers only).
            max_refits: Refit without so many rows at most; `rough` tells what is left.
            allow_unconverged: Accept a run that is not at its minimum; scores are then off by what
                training was short of.

        Raises:
            UnconvergedRunError: The run is not at its minimum.
            SingularCurvatureError: Columns are linearly dependent and nothing penalises them.
        """
        if not (run.converged or allow_unconverged):
            raise UnconvergedRunError(run.name, run.gradient_norm, run.gradient_tolerance)
        hessian = run.hessian()
        try:
            factor = CurvatureFactor.of(hessian, run.objective.shift_directions())
        except NotPositiveDefiniteError as singular:
            raise SingularCurvatureError(singular.culprits(run.feature_names)) from singular
        pushes, leverage = corrected_slopes(run, factor)
        refits: dict[int, NDArray[np.float64]] = {}
        if not leave_one_out:
            pushes = run.objective.slopes(run.parameters)
        elif run.family != "linear":
            refits, undetermined = refit_high(
                run, factor, leverage, refit_above=refit_above, max_refits=max_refits
            )
            pushes[undetermined] = np.nan
        return cls(
            run=run,
            hessian=hessian,
            factor=factor,
            pushes=pushes,
            leverage=leverage,
            refit_above=refit_above,
            refitted=np.array(list(refits), dtype=np.int64),
            refits=np.reshape(list(refits.values()), (-1, *run.parameters.shape)),
            leave_one_out=leave_one_out,
        )

    @property
    def method(self) -> str:
        """What the scores are, in words."""
        if not self.leave_one_out:
            return "influence function, first derivative in the row's weight"
        if self.run.family == "linear":
            return "leave-one-out, exact for predictions, to first order for losses"
        counts = (
            (len(self.refitted), "rows refitted exactly"),
            (len(self.rough), "rows only roughly right"),
        )
        told = "".join(f"; {n} {what}" for n, what in counts if n)
        return f"influence function, leverage-corrected{told}"

    @property
    def rough(self) -> NDArray[np.int64]:
        """Rows of high leverage that `max_refits` left to one Newton step, which may be far off."""
        if self.run.family == "linear" or not self.leave_one_out:
            return np.empty(0, dtype=np.int64)
        high = np.flatnonzero(self.leverage > self.refit_above)
        return np.setdiff1d(high, np.concatenate([self.refitted, self.undetermined]))

    @property
    def undetermined(self) -> NDArray[np.int64]:
        """Rows without which no model is determined; their scores are NaN."""
        return np.setdiff1d(np.flatnonzero(np.isnan(self.pushes[:, 0])), self.refitted)

    def scores(
        self,
        features: NDArray[np.float64],
        labels: NDArray[np.generic] | Sequence[object] | None = None,
        *,
        target: Target | None = None,
        of_class: object = None,
    ) -> AttributionScores:
        """Score every training row for every query.

        Args:
            features: The queries, ``[n_query, n_features]``.
            labels: Their true labels, for ``"margin"`` and ``"loss"``.
            target: ``"logit"``, ``"margin"``, ``"loss"`` or ``"prediction"``; by default logit
                (logistic), margin (softmax) or prediction (linear).
            of_class: The class that a logit is of.

        Raises:
            QueryShapeError: The queries do not fit the model.
            InfluenceTargetError: This model has no such target, or it needs labels or a class.
            UnknownClassError: A label or ``of_class`` is not a class of the model.
        """
        question = self._ask(features, labels, target, of_class)
        scores = np.empty((len(features), self.run.n_train))
        for rows in row_blocks(self.run.n_train, len(features) + 1):
            scores[:, rows] = question.block(rows)
        return AttributionScores(scores, question.target.kind, question.target.unit, self.method)

    def top_k(
        self,
        features: NDArray[np.float64],
        k: int,
        *,
        labels: NDArray[np.generic] | Sequence[object] | None = None,
        target: Target | None = None,
        of_class: object = None,
        direction: Direction = "both",
    ) -> list[TopRows]:
        """Return the ``k`` strongest training rows for each query, in bounded memory.

        The same as ``scores(...).top_k(k, query=q)`` for each query, without holding a score for
        every pair. See `scores` for the arguments and errors.
        """
        check_k(k)
        question = self._ask(features, labels, target, of_class)
        rows = row_blocks(self.run.n_train, len(features) + 1)
        return strongest_of_blocks(((block, question.block(block)) for block in rows), k, direction)

    def predict_removal(
        self, rows: Sequence[int] | NDArray[np.integer], *, n_steps: int = 1
    ) -> Removal:
        """Estimate the model without a group of rows by Newton steps on the rows that remain.

        Far better than adding up scores where rows work together, exact for linear models, and
        always told from the exact by the gradient norm of the result.

        Args:
            rows: Positions of training rows; repeats count once.
            n_steps: One, which needs the curvature of the removed rows only; or more, for large
                groups, each of which needs that of the rows that remain.

        Raises:
            EstimatorSettingError: ``n_steps`` is below 1.
            TrainingRowError: A row does not exist, or no model is determined by what remains.

        References:
            Guo et al., 2020. Certified data removal from machine learning models. The Newton
            update of their removal mechanism.
        """
        positions = check_rows(self.run, rows)
        after = without_rows(self.run, positions)
        if n_steps < 1:
            raise EstimatorSettingError("n_steps", "at least 1", n_steps)
        hessian = self.hessian - self.run.objective.loss_hessian(self.run.parameters, positions)
        for step in range(n_steps):
            hessian = hessian if step == 0 else after.hessian()
            after = self._stepped(after, hessian)
        return Removal(after, positions, n_steps)

    def _stepped(self, after: TrainingRun, hessian: NDArray[np.float64]) -> TrainingRun:
        """Return a run on the remaining rows one Newton step further."""
        try:
            factor = CurvatureFactor.of(hessian, self.run.objective.shift_directions())
        except NotPositiveDefiniteError as singular:
            raise TrainingRowError("the rows that remain determine no model") from singular
        gradient = after.objective.gradient(after.parameters)
        step = factor.solve(gradient.ravel()).reshape(gradient.shape)
        return replace(after, parameters=after.parameters - step)

    def _ask(
        self,
        features: NDArray[np.float64],
        labels: NDArray[np.generic] | Sequence[object] | None,
        target: Target | None,
        of_class: object,
    ) -> "_Question":
        self.run.check_query(features)
        resolved = resolve_target(
            self.run, features, labels=labels, target=target, of_class=of_class
        )
        return _question(self, features, resolved)


@dataclass(frozen=True, eq=False)
class _Question:
    """Queries in the form that scores any block of training rows.

    ``directions`` is ``H^-1`` times each query's target gradient, ``[n_outputs, n_query,
    n_features + 1]``; ``refit_scores`` is ``[n_query, n_refitted]``.
    """

    influence: InfluenceFunction
    target: QueryTarget
    directions: NDArray[np.float64]
    refit_scores: NDArray[np.float64]

    def block(self, rows: slice) -> NDArray[np.float64]:
        """Return the scores of a block of training rows, ``[n_query, n_rows]``."""
        influence = self.influence
        features, pushes = influence.run.features[rows], influence.pushes[rows]
        scores = np.zeros((self.directions.shape[1], len(features)))
        for output, direction in enumerate(self.directions):
            responses = direction[:, :-1] @ features.T + direction[:, -1:]
            scores -= responses * pushes[:, output]
        first, last = np.searchsorted(influence.refitted, [rows.start, rows.stop])
        columns = influence.refitted[first:last] - rows.start
        scores[:, columns] = self.refit_scores[:, first:last]
        return scores


def _question(
    influence: InfluenceFunction, features: NDArray[np.float64], target: QueryTarget
) -> _Question:
    run = influence.run
    outputs = run.outputs(features)
    slopes = target.slopes(outputs)
    gradients = parameter_gradients(slopes, features, fit_intercept=run.fit_intercept)
    directions = influence.factor.solve(gradients.T).reshape(*run.parameters.shape, len(features))
    if not run.fit_intercept:
        directions[:, -1] = 0.0
    refit_scores = np.empty((len(features), len(influence.refits)))
    for column, refit in enumerate(influence.refits):
        without = target.values(linear_outputs(features, refit))
        refit_scores[:, column] = target.values(outputs) - without
    return _Question(influence, target, directions.transpose(0, 2, 1), refit_scores)
