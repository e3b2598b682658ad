"""The engine that the package traceprop has: scores of training rows, and where the rows come from.

It is thin. The estimates are those of `InfluenceFunction` and `GGN`, the way to the files is that
of `provenance`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.attribution import GGN, AttributionScores, InfluenceFunction
from traceprop_engine.errors import (
    NoTrainingLineageError,
    NotTrainedError,
    RollUpError,
    UntraceableRankError,
)
from traceprop_engine.gradients import RecordedTraining
from traceprop_engine.gradients.net_run import NetRun
from traceprop_engine.provenance_views import ProvenanceView, provenance
from traceprop_engine.training import TrainingRun


class Scoring(Protocol):
    """A fitted estimator: `InfluenceFunction`, `GGN` or any other of `attribution`."""

    def scores(
        self, features: NDArray[Any], labels: Any = None, *, target: Any = None
    ) -> AttributionScores:
        """Score every training row for every query."""
        ...


@dataclass(frozen=True, eq=False)
class AttributionResult:
    """The scores of queries, and the way from training rows to the files.

    Attributes:
        scores: ``[n_query, n_train]``: the target with the row minus the target without it.
        view: Where the training rows come from; ``None`` if the engine was not told.
        top_k: How many rows `top` names unless it is told.
    """

    scores: AttributionScores
    view: ProvenanceView | None
    top_k: int

    def top(self, k: int | None = None, *, query: int = 0) -> list[dict[str, object]]:
        """Return the strongest training rows for a query, the strongest first.

        Each is a dictionary: ``rank`` (from 0), ``sample_index`` (row number in the training),
        ``source_id`` (the source that the row came from; of several sources a list; ``None`` if
        that is unknown or the engine was not told), ``influence_score`` and ``unit``.

        Args:
            k: How many; ``top_k`` of `AttributionEngine.attribute` by default.
            query: Which query.

        Raises:
            QueryShapeError: ``k`` is below 1, or there is no such query.
        """
        top = self.scores.top_k(self.top_k if k is None else k, query=query)
        return [
            {
                "rank": rank,
                "sample_index": int(row),
                "source_id": self._source_of(int(row)),
                "influence_score": float(score),
                "unit": self.scores.unit,
            }
            for rank, (row, score) in enumerate(zip(top.rows, top.scores, strict=True))
        ]

    def by_source(self, query: int = 0) -> dict[str, float]:
        """Return the summed scores of the training rows from each source, the largest by size.

        For all queries at once and with the counts beside, ask `scores`:
        `AttributionScores.by_source`, whose rules are followed here.

        Raises:
            NoTrainingLineageError: The engine was not told where the training rows come from.
        """
        totals = self.scores.by_source(self._known().lineage).of(query)
        return {str(name): score for name, score in totals.items()}

    def by_op(self, query: int = 0) -> dict[str, float]:
        """Return the summed scores of the training rows that went through each operation.

        See `AttributionScores.by_op` for what is counted.

        Raises:
            NoTrainingLineageError: The engine was not told where the training rows come from.
        """
        totals = self.scores.by_op(self._known().lineage).of(query)
        return {str(name): score for name, score in totals.items()}

    def trace_to_file(self, rank: int = 0, *, query: int = 0) -> dict[str, Any]:
        """Return where the training row of a rank comes from.

        Returns:
            ``sample_index``, ``influence_score``, ``sources`` (the names of the sources that the
            row came from), ``ops`` (the operations on the way, in order), and ``trace``, a
            `RowTrace` with the row numbers and lines of the files, statistics and gaps.

        Args:
            rank: 0 for the strongest row.
            query: Which query.

        Raises:
            NoTrainingLineageError: The engine was not told where the training rows come from.
            UntraceableRankError: No training row has that rank.
        """
        view = self._known()
        ranked = self.top(max(1, self.scores.scores.shape[1]), query=query)
        if not 0 <= rank < len(ranked):
            raise UntraceableRankError(rank, len(ranked), first=0)
        row = int(str(ranked[rank]["sample_index"]))
        trace = view.trace(row)
        return {
            "sample_index": row,
            "influence_score": ranked[rank]["influence_score"],
            "sources": [each.source for each in trace.sources if _has_rows(each.rows)],
            "ops": list(trace.ops),
            "trace": trace,
        }

    def _known(self) -> ProvenanceView:
        if self.view is None:
            raise NoTrainingLineageError
        return self.view

    def _source_of(self, row: int) -> object:
        if self.view is None:
            return None
        found = self.view.rows(row)
        if any(rows is None for rows in found.values()):
            return None
        names = [name for name, rows in found.items() if _has_rows(rows)]
        return names[0] if len(names) == 1 else names or None


@dataclass(frozen=True, eq=False)
class AttributionEngine:
    """Scores training rows for any number of queries; made by `attribution_engine`.

    Attributes:
        estimator: The fitted estimator.
        view: Where the training rows come from, if it was told.
    """

    estimator: Scoring
    view: ProvenanceView | None

    def attribute(
        self,
        queries: NDArray[Any],
        labels: NDArray[np.generic] | Sequence[object] | None = None,
        *,
        target: Any = None,
        top_k: int = 50,
    ) -> AttributionResult:
        """Score every training row for every query.

        Args:
            queries: Their features, ``[n_query, ...]``, in the form of the training rows. Not
                gradients: those are taken here.
            labels: Their true labels, for the targets that need them, as for the estimator.
            target: Which output to explain; what suits the model by default.
            top_k: How many rows `AttributionResult.top` names unless it is told.

        Raises:
            TracepropError: As the estimator's ``scores`` says.
        """
        scores = self.estimator.scores(np.asarray(queries), labels, target=target)
        return AttributionResult(scores, self.view, top_k)


def attribution_engine(
    trained: TrainingRun | NetRun | RecordedTraining | Scoring, lineage: Any = None
) -> AttributionEngine:
    """Return what scores the training rows of a model for queries.

    ```python
    with tp.training_context(model, np.asarray(X), y, optimizer=optimizer) as run:
        ...  # the loop, as it is
    engine = tp.attribution_engine(run.training(), X)
    result = engine.attribute(x_test, y_test)
    result.top(5), result.by_source(), result.trace_to_file(rank=0)
    ```

    Args:
        trained: A convex model, scored by `InfluenceFunction`; a recorded training of a net, scored
            by `GGN`; or an estimator that is fitted already.
        lineage: Where the training rows come from: the tracked table or array that was trained on,
            its lineage, or what `provenance` says of it.

    Raises:
        NotTrainedError: ``trained`` is nothing that can be scored.
        UntrackedValueError: ``lineage`` carries no rows.
        RollUpError: ``lineage`` is not of the training rows.
        TracepropError: As the estimator's ``fit`` says.
    """
    estimator, n_train = _fitted(trained)
    view = None if lineage is None else provenance(lineage)
    if view is not None and n_train is not None and view.n_rows != n_train:
        raise RollUpError(
            f"the lineage is of {view.n_rows} rows, the training of {n_train}",
            "pass the very table that was trained on",
        )
    return AttributionEngine(estimator, view)


def _fitted(trained: Any) -> tuple[Scoring, int | None]:
    if isinstance(trained, TrainingRun):
        return InfluenceFunction.fit(trained), trained.n_train
    if isinstance(trained, NetRun):
        return GGN.fit(trained.training), trained.n_train
    if hasattr(trained, "train_gradients") and hasattr(trained, "query_gradients"):
        return GGN.fit(trained), trained.n_train
    if hasattr(trained, "scores"):
        return trained, None
    raise NotTrainedError(type(trained).__name__)


def _has_rows(rows: NDArray[np.int64] | None) -> bool:
    return rows is None or len(rows) > 0
