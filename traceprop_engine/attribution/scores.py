"""Influence scores: how much each training row, or source row, moved each query."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from traceprop_engine.attribution.targets import Target
from traceprop_engine.errors import QueryShapeError, RollUpError
from traceprop_engine.lineage.row_map import RowMap

Direction = Literal["both", "raises", "lowers"]
"""Which rows to rank: all by the size of their score, or those that raise or lower the target."""


@dataclass(frozen=True, eq=False)
class TopRows:
    """The most influential rows for one query, the strongest first.

    Attributes:
        rows: Positions of the rows, ``[k]``; fewer when fewer qualify.
        scores: Their signed scores, ``[k]``.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class AttributionScores:
    """The estimated effect of every training row on every query.

    A score is the target with the row minus the target without it: positive means that the row
    raises the target, and leaving the row out changes the target by ``-score``.

    Attributes:
        scores: ``[n_query, n_train]``; NaN where no model is determined without the row.
        target: Which number of the query is explained; a function of the outputs that the user
            wrote is a ``"prediction"``, and `unit` names it.
        unit: Its unit.
        method: How the scores were estimated.
        functionals: Where each row of `scores` is of a number of all queries together (a group's
            mean, a gap) instead of one query: their names, ``[n_functional]``.
    """

    scores: NDArray[np.float64]
    target: Target
    unit: str
    method: str
    functionals: tuple[str, ...] = ()

    def top_k(self, k: int, *, query: int = 0, direction: Direction = "both") -> TopRows:
        """Return the ``k`` strongest training rows for a query; ties go to the earlier row.

        Raises:
            QueryShapeError: ``k`` is below 1, or there is no such query.
        """
        scores = _scores_of(self.scores, k, query)
        return strongest(np.arange(len(scores)), scores, k, direction)

    def roll_up(self, row_map: RowMap) -> "SourceScores":
        """Sum the scores of the training rows that each source row went into.

        It is a ranking of source rows, not a refit without them: effects of several training rows
        are taken to add up, and a source row that changes a training row without removing it counts
        as if the training row went with it.

        Args:
            row_map: From training rows (its outputs) to source rows (its inputs).

        Raises:
            RollUpError: The map is unknown, or does not have these training rows as outputs.
        """
        _require_rolling(row_map, self.scores.shape[1])
        train_rows, source_rows = row_map.pairs()
        touched, columns = np.unique(source_rows, return_inverse=True)
        shape = self.scores.shape[1], len(touched)
        membership = csr_array((np.ones(len(columns)), (train_rows, columns)), shape=shape)
        summed = (membership.T @ self.scores.T).T
        return SourceScores(summed, touched.astype(np.int64), row_map.n_in, self.target, self.unit)


@dataclass(frozen=True, eq=False)
class SourceScores:
    """A ranking of source rows: summed scores of the training rows that each went into.

    Attributes:
        scores: ``[n_query, n_touched]``.
        rows: Source rows that reach some training row, ascending, ``[n_touched]``; the score of
            every other source row is zero.
        n_source: Rows of the source.
        target: Which number of the query is explained.
        unit: Its unit.
    """

    scores: NDArray[np.float64]
    rows: NDArray[np.int64]
    n_source: int
    target: Target
    unit: str

    def top_k(self, k: int, *, query: int = 0, direction: Direction = "both") -> TopRows:
        """Return the ``k`` strongest source rows for a query; ties go to the earlier row.

        Raises:
            QueryShapeError: ``k`` is below 1, or there is no such query.
        """
        return strongest(self.rows, _scores_of(self.scores, k, query), k, direction)


def strongest(
    rows: NDArray[np.int64], scores: NDArray[np.float64], k: int, direction: Direction
) -> TopRows:
    """Return the ``k`` rows with the largest scores in a direction, the first of ties first.

    Undefined scores are left out.
    """
    strength = {"both": np.abs(scores), "raises": scores, "lowers": -scores}[direction]
    qualifies = np.isfinite(scores) if direction == "both" else strength > 0
    if k < len(strength):  # sorting all rows would take longer than scoring them
        ranked = np.where(qualifies, strength, -np.inf)
        qualifies &= ranked >= -np.partition(-ranked, k - 1)[k - 1]
    rows, scores, strength = rows[qualifies], scores[qualifies], strength[qualifies]
    order = np.argsort(-strength, kind="stable")[:k]
    return TopRows(rows[order], scores[order])


def strongest_of_blocks(
    blocks: Iterable[tuple[slice, NDArray[np.float64]]], k: int, direction: Direction
) -> list[TopRows]:
    """Return the ``k`` strongest rows for each query, from one block of rows after another.

    Args:
        blocks: Rows in ascending order, and their scores, ``[n_query, n_rows]``.
        k: How many.
        direction: Which rows to rank.
    """
    best: list[TopRows] = []
    for rows, block in blocks:
        best = best or [TopRows(np.empty(0, dtype=np.int64), np.empty(0))] * len(block)
        positions = np.arange(rows.start, rows.stop)
        best = [
            strongest(
                np.concatenate([top.rows, positions]),
                np.concatenate([top.scores, scores]),
                k,
                direction,
            )
            for top, scores in zip(best, block, strict=True)
        ]
    return best


def check_k(k: int) -> None:
    """Refuse a number of rows below one.

    Raises:
        QueryShapeError: ``k`` is below 1.
    """
    if k < 1:
        raise QueryShapeError("k", "at least 1", str(k))


def _scores_of(values: NDArray[np.float64], k: int, query: int) -> NDArray[np.float64]:
    check_k(k)
    if not 0 <= query < len(values):
        raise QueryShapeError("query", f"from 0 to {len(values) - 1}", str(query))
    return values[query]


def _require_rolling(row_map: RowMap, n_train: int) -> None:
    if row_map.n_out != n_train:
        raise RollUpError(
            f"the row map is of {row_map.n_out} rows, the scores of {n_train}",
            "pass the map of the training table that the run was trained on",
        )
    if not row_map.is_known:
        raise RollUpError(
            "the row map is unknown, so no training row has known source rows",
            "declare the rows of the operation that lost them",
        )
    if row_map.kind == "context":
        raise RollUpError(
            "the row map goes through a statistic of all rows, which no training row stands for",
            "pass the map of direct parents",
        )
