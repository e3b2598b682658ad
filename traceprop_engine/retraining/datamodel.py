"""Datamodels: retrained targets as a linear function of which rows were trained on."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.attribution.scores import AttributionScores
from traceprop_engine.attribution.targets import Target
from traceprop_engine.errors import RetrainingError
from traceprop_engine.retraining.lasso import lasso
from traceprop_engine.retraining.retrained import RetrainedTargets

Penalty = Literal["ridge", "lasso"]
"""Small weights on all rows, or few rows with a weight."""

_RIDGE_FACTORS = np.logspace(-3, 3, 25)
_LASSO_SHARES = np.geomspace(0.9, 0.01, 12)
_FOLDS = 5
_FEWEST = 2 * _FOLDS


@dataclass(frozen=True, eq=False)
class Datamodel:
    """A linear model of each query's target in the rows that were trained on.

    The weight of a row is its score: the mean change of the target when it is among the rows.

    Attributes:
        weights: ``[n_query, n_train]``.
        intercepts: ``[n_query]``.
        penalty: Which penalty was used.
        strength: Chosen penalty: of the mean squared row norm (ridge), or of the strength at which
            all weights vanish (lasso).
        explained: Share of each query's variance that is predicted on held-out subsets,
            ``[n_query]``; below 0 where a constant predicts better, 0 where there is no variance.
        n_subsets: Different subsets that were regressed on.
        target: Which number of a query.
        has_prior: Whether weights were drawn to the scores of another estimator.

    References:
        Ilyas et al., 2022. Datamodels: predicting predictions from training data. Equation 1.
    """

    weights: NDArray[np.float64]
    intercepts: NDArray[np.float64]
    penalty: Penalty
    strength: float
    explained: NDArray[np.float64]
    n_subsets: int
    target: Target
    unit: str
    has_prior: bool

    @classmethod
    def fit(
        cls,
        retrained: RetrainedTargets,
        *,
        penalty: Penalty = "ridge",
        prior: AttributionScores | None = None,
    ) -> "Datamodel":
        """Regress retrained targets on masks; the penalty is chosen by cross-validation.

        Models of one subset with several seeds count once, by their mean. The ridge is judged by
        leaving out one subset at a time, in closed form; the lasso by five folds. One strength
        serves all queries.

        Args:
            retrained: Models trained on random subsets.
            penalty: Small weights on all rows, or few rows with a weight.
            prior: Scores of the same queries that weights are drawn to instead of zero, each
                query's scaled to fit first.

        Raises:
            RetrainingError: There are fewer than ten subsets, the prior is of other queries or
                another target, or there is no such penalty.
        """
        if penalty not in _PENALTIES:
            raise RetrainingError(
                f"Penalty {penalty!r}", "it is not known", f"choose one of {list(_PENALTIES)}"
            )
        masks, answers = _subsets(retrained)
        if len(masks) < _FEWEST:
            raise RetrainingError(
                f"A datamodel of {len(masks)} subsets",
                f"cross-validation needs at least {_FEWEST}",
                "retrain on more subsets",
            )
        design, centred = masks - masks.mean(axis=0), answers - answers.mean(axis=0)
        base = np.zeros((answers.shape[1], masks.shape[1]))
        if prior is not None:
            base = _scaled_prior(prior, retrained, design, centred)
        left = centred - design @ base.T
        change, strength, errors = _PENALTIES[penalty](design, left)
        weights = base + change.T
        spread = (centred**2).sum(axis=0)
        unexplained = np.divide(errors, spread, out=np.ones_like(errors), where=spread > 0)
        return cls(
            weights=weights,
            intercepts=answers.mean(axis=0) - weights @ masks.mean(axis=0),
            penalty=penalty,
            strength=strength,
            explained=1 - unexplained,
            n_subsets=len(masks),
            target=retrained.target,
            unit=retrained.unit,
            has_prior=prior is not None,
        )

    @property
    def method(self) -> str:
        """What the scores are, in words."""
        prior = ", drawn to another estimator's scores" if self.has_prior else ""
        return f"datamodel, {self.penalty} on {self.n_subsets} retrained subsets{prior}"

    def scores(self) -> AttributionScores:
        """Return the weights as scores of the queries that were retrained for."""
        return AttributionScores(self.weights, self.target, self.unit, self.method)

    def predict(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the predicted target of each query for other subsets, ``[m, n_query]``."""
        return self.intercepts + np.asarray(masks, dtype=np.float64) @ self.weights.T


def _subsets(retrained: RetrainedTargets) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return different masks, and the mean target of their models."""
    packed = np.packbits(retrained.masks, axis=1)
    _, first, subset = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    totals = np.zeros((len(first), retrained.values.shape[1]))
    np.add.at(totals, subset.ravel(), retrained.values)
    counts = np.bincount(subset.ravel(), minlength=len(first))
    return retrained.masks[first].astype(np.float64), totals / counts[:, None]


def _scaled_prior(
    prior: AttributionScores,
    retrained: RetrainedTargets,
    design: NDArray[np.float64],
    answers: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the prior's scores, each query's times the factor that fits its targets best."""
    wanted = answers.shape[1], design.shape[1]
    if prior.scores.shape != wanted or prior.target != retrained.target:
        raise RetrainingError(
            f"A prior of {prior.target} scores {list(prior.scores.shape)}",
            f"the models have {retrained.target} targets of {wanted[0]} queries and {wanted[1]} "
            "rows",
            "score the same queries for the same target",
        )
    predicted = design @ prior.scores.T
    size = np.maximum((predicted**2).sum(axis=0), np.finfo(np.float64).tiny)
    factors = (predicted * answers).sum(axis=0) / size
    return factors[:, None] * prior.scores


def _ridge(
    design: NDArray[np.float64], answers: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
    """Return weights ``[n, n_query]``, the chosen factor, and squared leave-one-out errors.

    The intercept is free, so a subset's leverage has ``1 / m`` beside the ridge's.
    """
    n_subsets = len(design)
    values, vectors = np.linalg.eigh(design @ design.T)
    values = np.maximum(values, 0.0)
    unit, rotated = values.mean(), vectors.T @ answers
    spread = np.maximum((answers**2).sum(axis=0), np.finfo(np.float64).tiny)

    def errors(factor: float) -> NDArray[np.float64]:
        shares = values / (values + factor * unit)
        leverage = 1 / n_subsets + vectors**2 @ shares
        residual = answers - vectors @ (shares[:, None] * rotated)
        return ((residual / (1 - leverage)[:, None]) ** 2).sum(axis=0)

    judged = [errors(factor) for factor in _RIDGE_FACTORS]
    best = int(np.argmin([(error / spread).mean() for error in judged]))
    dual = vectors @ (rotated / (values + _RIDGE_FACTORS[best] * unit)[:, None])
    return design.T @ dual, float(_RIDGE_FACTORS[best]), judged[best]


def _lasso(
    design: NDArray[np.float64], answers: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
    """Return weights ``[n, n_query]``, the chosen share, and squared errors of held-out folds."""
    spread = np.maximum((answers**2).sum(axis=0), np.finfo(np.float64).tiny)
    fold = np.arange(len(design)) % _FOLDS
    errors = np.zeros((len(_LASSO_SHARES), answers.shape[1]))
    for held_out in range(_FOLDS):
        inside = fold != held_out
        centre, level = design[inside].mean(axis=0), answers[inside].mean(axis=0)
        path = _lasso_path(design[inside] - centre, answers[inside] - level, len(_LASSO_SHARES))
        for share, weights in enumerate(path):
            predicted = level + (design[~inside] - centre) @ weights
            errors[share] += ((answers[~inside] - predicted) ** 2).sum(axis=0)
    best = int(np.argmin((errors / spread).mean(axis=1)))
    weights = _lasso_path(design, answers, best + 1)[-1]
    return weights, float(_LASSO_SHARES[best]), errors[best]


def _lasso_path(
    design: NDArray[np.float64], answers: NDArray[np.float64], n_shares: int
) -> list[NDArray[np.float64]]:
    """Return the weights for the first shares, each started from the one before."""
    most = np.abs(design.T @ answers).max(axis=0) / len(design)
    most = np.maximum(most, np.finfo(np.float64).tiny)
    weights = np.zeros((design.shape[1], answers.shape[1]))
    path = []
    for share in _LASSO_SHARES[:n_shares]:
        weights = lasso(design, answers, share * most, weights)
        path.append(weights)
    return path


_PENALTIES = {"ridge": _ridge, "lasso": _lasso}
