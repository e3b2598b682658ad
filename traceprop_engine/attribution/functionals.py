"""Numbers of a whole set of queries: the mean of a group, a gap between groups, an AUROC."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from traceprop_engine.errors import FunctionalError

_PAIRS_AT_ONCE = 1 << 22


class Functional(Protocol):
    """A differentiable number of the targets of all queries."""

    @property
    def name(self) -> str:
        """What it is called in answers."""
        ...

    def weights(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return its derivative in each query's target, ``[n_query]``.

        Args:
            values: The targets of the queries, ``[n_query]``.

        Raises:
            FunctionalError: It is not defined for these queries.
        """
        ...


@dataclass(frozen=True, eq=False)
class GroupMean:
    """The mean target of some queries: with target ``"loss"`` the mean loss of a group.

    Attributes:
        members: Which queries, ``[n_query]`` of bool.
        name: What it is called in answers.
    """

    members: NDArray[np.bool_]
    name: str = "mean"

    def weights(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return one over the size of the group for its members, else 0.

        Raises:
            FunctionalError: The group is empty or of other queries.
        """
        return _share(self.name, self.members, len(values))


@dataclass(frozen=True, eq=False)
class GroupGap:
    """The mean target of one group less that of another: a fairness gap.

    Attributes:
        first: The queries of the one group, ``[n_query]`` of bool.
        second: Those of the other.
        name: What it is called in answers.
    """

    first: NDArray[np.bool_]
    second: NDArray[np.bool_]
    name: str = "gap"

    def weights(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the weights of the first mean less those of the second.

        Raises:
            FunctionalError: A group is empty or of other queries.
        """
        n_query = len(values)
        return _share(self.name, self.first, n_query) - _share(self.name, self.second, n_query)


@dataclass(frozen=True, eq=False)
class SmoothAuroc:
    """A smooth stand-in for the area under the ROC curve.

    The AUROC is the share of pairs of a positive and a negative query in which the positive has
    the larger target. Here a pair counts ``sigmoid(difference / temperature)`` instead of 0 or 1,
    which can be differentiated. Ask it with a target that orders queries alike whatever their
    label: ``"logit"`` of a net with one output, or a function of the outputs.

    Attributes:
        positive: Which queries are positive, ``[n_query]`` of bool.
        temperature: Difference of targets at which a pair counts 0.73, in the target's unit; the
            smaller it is, the closer to the AUROC, and the fewer pairs have any derivative.
        name: What it is called in answers.

    References:
        Yan et al., 2003. Optimizing classifier performance via an approximation to the
        Wilcoxon-Mann-Whitney statistic. With the sigmoid in the place of their polynomial.
    """

    positive: NDArray[np.bool_]
    temperature: float = 1.0
    name: str = "smooth AUROC"

    def value(self, values: NDArray[np.floating]) -> float:
        """Return the smooth AUROC of targets, between 0 and 1.

        Raises:
            FunctionalError: See `weights`.
        """
        high, low = self._sides(values)
        total = sum(
            float(expit((block[:, None] - low) / self.temperature).sum())
            for block in _blocks(high, len(low))
        )
        return total / (len(high) * len(low))

    def weights(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the derivative of the smooth AUROC in each query's target.

        Raises:
            FunctionalError: There is no positive or no negative query, `positive` is of other
                queries, or the temperature is not above 0.
        """
        high, low = self._sides(values)
        pushed: list[NDArray[np.float64]] = []
        pulled = np.zeros(len(low))
        for block in _blocks(high, len(low)):
            share = expit((block[:, None] - low) / self.temperature)
            slopes = share * (1 - share) / self.temperature
            pushed.append(slopes.sum(axis=1))
            pulled += slopes.sum(axis=0)
        weights = np.empty(len(values))
        weights[self.positive] = np.concatenate(pushed)
        weights[~self.positive] = -pulled
        return weights / (len(high) * len(low))

    def _sides(
        self, values: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if not self.temperature > 0:
            reason = f"has the temperature {self.temperature!r}"
            raise FunctionalError(self.name, reason, "pass one above 0")
        _share(self.name, self.positive, len(values))
        _share(self.name, ~self.positive, len(values))
        exact = np.asarray(values, dtype=np.float64)
        return exact[self.positive], exact[~self.positive]


def functional_weights(
    functionals: Sequence[Functional], values: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the derivative of each functional in each query's target, ``[n_functional, n_query]``.

    Raises:
        FunctionalError: There is none, or one is not defined for these queries, or has no finite
            derivative.
    """
    if not functionals:
        raise FunctionalError("", "is missing: the list is empty", "name at least one functional")
    return np.stack([_derivative(functional, values) for functional in functionals])


def _derivative(functional: Functional, values: NDArray[np.floating]) -> NDArray[np.float64]:
    weights = np.asarray(functional.weights(values), dtype=np.float64)
    if weights.shape != values.shape or not np.isfinite(weights).all():
        reason = f"has no finite derivative in each of {len(values)} queries"
        raise FunctionalError(functional.name, reason, "let `weights` return one number for each")
    return weights


def _share(name: str, members: NDArray[np.bool_], n_query: int) -> NDArray[np.float64]:
    if members.shape != (n_query,) or members.dtype != np.bool_:
        got = f"{members.dtype} of shape {list(members.shape)}"
        reason = f"marks its queries by {got}"
        raise FunctionalError(name, reason, f"pass one bool for each of {n_query} queries")
    size = int(members.sum())
    if size == 0:
        raise FunctionalError(name, "has a group without queries", "give each group at least one")
    return members / size


def _blocks(values: NDArray[np.float64], width: int) -> list[NDArray[np.float64]]:
    size = max(1, _PAIRS_AT_ONCE // max(width, 1))
    return [values[start : start + size] for start in range(0, len(values), size)]
