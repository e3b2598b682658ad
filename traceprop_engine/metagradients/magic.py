"""The metagradient of a training: how its result depends on the weight of each row."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.attribution import AttributionScores, TopRows
from traceprop_engine.attribution.checkpoints import target_unit
from traceprop_engine.attribution.functionals import Functional
from traceprop_engine.attribution.scores import Direction, check_k
from traceprop_engine.errors import RoughTrainingError
from traceprop_engine.gradients import OutputTarget
from traceprop_engine.jax_gradients import JaxTraining
from traceprop_engine.jax_gradients.scalars import own_target
from traceprop_engine.metagradients.functionals import Functionals
from traceprop_engine.metagradients.plan import MemoryPlan
from traceprop_engine.metagradients.replay import Replay, Report
from traceprop_engine.metagradients.reverse import plan_of, slopes_in_weights
from traceprop_engine.metagradients.smoothness import N_ROWS, Smoothness, compare, own_rows

MEMORY_BYTES: Final = 2**30
"""Memory of the states and of the queries on their way back, where nothing else is said."""


@dataclass(frozen=True, eq=False)
class Magic:
    r"""A recorded training, replayed and ready to be differentiated through.

    With the step ``s_t = h_t(s_{t-1}, w)`` of the optimiser, whose batch has the loss ``sum_i w_i
    loss_i / batch_size``, the derivative of a number ``f`` of the final parameters is

        df/dw = sum_t (dh_t/dw)ᵀ λ_t,    λ_{t-1} = (dh_t/ds_{t-1})ᵀ λ_t,    λ_T = df/ds_T

    A score is ``w_i df/dw_i``: to first order the target with the row minus the target without it,
    where training starts from the same parameters and takes the other rows in the same order. The
    derivative is exact; the step to a row's removal is approximate. It answers for this training,
    not for one with another seed.

    Attributes:
        training: The recorded training.
        plan: Which states are kept, and how many queries go back at once.
        smoothness: The probe by finite differences; ``None`` where it was left out.
        replay: The training with the kept states.

    References:
        Engstrom et al., 2025. Optimizing ML training with metagradient descent. arXiv 2503.13751,
        section 2. Ilyas and Engstrom, 2025. MAGIC: near-optimal data attribution for deep learning.
    """

    training: JaxTraining
    plan: MemoryPlan
    smoothness: Smoothness | None
    replay: Replay

    @classmethod
    def fit(
        cls,
        training: JaxTraining,
        *,
        memory_bytes: int = MEMORY_BYTES,
        probe: bool = True,
        progress: Report | None = None,
    ) -> "Magic":
        """Replay a training, keep states of it, and probe how smooth it is.

        Args:
            training: The recorded training.
            memory_bytes: Bound of the memory of states and of queries on their way back. The
                fewer states fit, the more steps are taken a second time.
            probe: Compare a few metagradients with finite differences (12 trainings).
            progress: Called now and then.

        Raises:
            ReplayError: The training does not arrive where the recorded one did.
            MetagradientMemoryError: Not even the smallest plan fits the memory.
        """
        plan = plan_of(training, memory_bytes)
        taken = Replay(training, plan.stride).taken(progress)
        return cls(training, plan, _probed(taken, plan) if probe else None, taken)

    @staticmethod
    def plan_memory(training: JaxTraining, *, memory_bytes: int = MEMORY_BYTES) -> MemoryPlan:
        """Return what `fit` would keep, without any work; print it to read it.

        Raises:
            MetagradientMemoryError: Not even the smallest plan fits the memory.
        """
        return plan_of(training, memory_bytes)

    @property
    def method(self) -> str:
        """What the scores are, in words."""
        return "metagradient: derivative of this training in the row's weight, times the weight"

    def scores(
        self,
        features: NDArray[np.generic],
        labels: NDArray[np.generic] | Sequence[Any] | None = None,
        *,
        target: OutputTarget | None = None,
        functionals: Sequence[Functional] | None = None,
        query_weights: Any = None,
        allow_rough: bool = False,
        progress: Report | None = None,
    ) -> AttributionScores:
        """Score every training row for every query, or for weighted sums of queries.

        Args:
            features: The queries, ``[n_query, ...]``.
            labels: Their labels, for targets that need them.
            target: A named target, or a function of one query's outputs in JAX; the margin
                (cross-entropy) or the prediction (squared loss) by default.
            functionals: Numbers of all queries together to explain instead, such as the mean of a
                group or the gap between two; each costs as much as one query.
            query_weights: ``[n_functionals, n_query]``: weighted sums of the targets to explain
                instead.
            allow_rough: Score though the probe says that the training is not smooth.
            progress: Called now and then.

        Returns:
            ``[n_query, n_train]``, or ``[n_functionals, n_train]``.

        Raises:
            RoughTrainingError: The training is not smooth, so the scores would be far off.
            QueryShapeError: Queries, labels or weights do not fit the training or each other.
            InfluenceTargetError: The net has no such target, or it needs labels.
            UnknownClassError: A label is no class of the net.
            FunctionalError: A functional is not defined for these queries.
        """
        self._require_smooth(allow_rough)
        wanted = own_target(self.training.loss) if target is None else target
        asked = Functionals.of(self.training, features, labels, wanted, query_weights)
        if functionals is not None:
            asked = asked.mixed(functionals)
        scores = np.empty((asked.n_functionals, self.training.n_train))
        at_once, n_steps = self.plan.queries_at_once, self.plan.n_steps
        total = asked.n_blocks(at_once) * n_steps
        for at, (block, gradients) in enumerate(asked.gradients(at_once)):
            slopes = slopes_in_weights(
                self.replay,
                gradients,
                progress,
                done=at * n_steps,
                total=total,
            )
            scores[block] = slopes[: block.stop - block.start] * self.training.weights
        name = "prediction" if callable(wanted) else wanted
        unit = target_unit(self.training, wanted)
        return AttributionScores(scores, name, unit, self.method, asked.names)

    def top_k(
        self,
        features: NDArray[np.generic],
        k: int,
        *,
        labels: NDArray[np.generic] | Sequence[Any] | None = None,
        target: OutputTarget | None = None,
        direction: Direction = "both",
        allow_rough: bool = False,
    ) -> list[TopRows]:
        """Return the ``k`` strongest training rows for each query; see `scores`."""
        check_k(k)
        scores = self.scores(features, labels, target=target, allow_rough=allow_rough)
        return [scores.top_k(k, query=query, direction=direction) for query in range(len(features))]

    def _require_smooth(self, allow_rough: bool) -> None:  # noqa: FBT001 - the user's own word
        probe = self.smoothness
        if probe is not None and not (probe.is_smooth or allow_rough):
            raise RoughTrainingError(self.training.name, probe.error, probe.limit)


def _probed(taken: Replay, plan: MemoryPlan) -> Smoothness:
    random = np.random.default_rng(0)
    n_rows = min(N_ROWS, taken.training.n_train)
    asked = own_rows(taken.training, random)
    return compare(asked, taken, plan, n_rows=n_rows, random=random)
