"""Influence scores: how much each training row, or source row, moved each query."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traceprop_engine.attribution.bars import Bar, bars_svg
from traceprop_engine.attribution.group_scores import (
    Groups,
    GroupScores,
    add_columns,
    row_of,
    rows_of_groups,
    rows_of_ops,
    rows_of_sources,
    summed_by_group,
)
from traceprop_engine.attribution.targets import Target
from traceprop_engine.errors import QueryShapeError, RollUpError, ScoreGroupsError
from traceprop_engine.gradients.streaming import Direction
from traceprop_engine.lineage.captured import CapturedLineage
from traceprop_engine.lineage.row_map import RowMap


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

        An undefined score (NaN) makes the sums of its source rows undefined.

        Args:
            row_map: From training rows (its outputs) to source rows (its inputs).

        Raises:
            RollUpError: The map is unknown, or does not have these training rows as outputs.
        """
        _require_rolling(row_map, self.scores.shape[1])
        train_rows, source_rows = row_map.pairs()
        touched, columns = np.unique(source_rows, return_inverse=True)
        summed = add_columns(self.scores, train_rows, columns, len(touched))
        return SourceScores(summed, touched.astype(np.int64), row_map.n_in, self.target, self.unit)

    def by_group(self, groups: Groups) -> GroupScores:
        """Sum the scores of the training rows of each group, for all queries at once.

        Undefined scores (NaN) are left out of the sums, and counted in `GroupScores.n_undefined`.

        Args:
            groups: One label for each training row, as an array or Series of any type (a missing
                label: in no group); or the training rows of each group by its name, where a row
                may be in several groups and counts for each.

        Returns:
            ``[n_query, n_groups]``, the groups in the order of their first row, or as given.

        Raises:
            ScoreGroupsError: There is not one label for each row, or a row does not exist.
        """
        n_train = self.scores.shape[1]
        return self._summed(rows_of_groups(groups, n_train))

    def by_source(self, lineage: CapturedLineage | Mapping[str, RowMap]) -> "SourceTotals":
        """Sum the scores of the training rows that came from each source, for all queries at once.

        A training row made of rows of several sources, as after a join, counts in full for each of
        them; `GroupScores.n_shared` says how many do. Rows that reach a training row through a
        statistic only are not counted. A source that nobody knows the rows of has NaN as its sum.
        Undefined scores are left out, and counted in `GroupScores.n_undefined`.

        Args:
            lineage: Of the training table: its row map to each source by name.

        Raises:
            RollUpError: A map does not have these training rows as outputs.
        """
        maps = dict(lineage.maps if isinstance(lineage, CapturedLineage) else lineage)
        for row_map in maps.values():
            _require_train_rows(row_map.n_out, self.scores.shape[1])
        totals = self._summed(rows_of_sources(maps))
        return SourceTotals(**vars(totals), attribution=self, maps=maps)

    def by_op(self, lineage: CapturedLineage) -> GroupScores:
        """Sum the scores of the training rows that went through each recorded operation.

        The score of a training row counts once for each operation. Which rows an operation kept is
        not recorded, but which inputs went into it is. So a training row counts for an operation
        if a row of one of those inputs is behind it: all of the rows that went through are counted,
        and beside them, where one input took two ways, rows that came by the other way. An
        operation that names no input counts for every row. A row goes through several operations,
        so the sums do not add up. They tell how much influence passed an operation, not what the
        operation did. NaN where the rows of an input are unknown; undefined scores are left out.

        Args:
            lineage: Of the training table, with its operations.

        Raises:
            RollUpError: It is not of these training rows.
        """
        _require_train_rows(lineage.n_rows, self.scores.shape[1])
        return self._summed(rows_of_ops(lineage))

    def to_frame(
        self, k: int | None = None, *, query: int | None = None, direction: Direction = "both"
    ) -> pd.DataFrame:
        """Return ranked rows as a table: query, rank (from 1), training_row, score, unit.

        Undefined scores have no rank, and are left out.

        Args:
            k: How many rows for each query; all of them by default.
            query: Only this one; all queries by default.
            direction: Which rows to rank.

        Raises:
            QueryShapeError: ``k`` is below 1, or there is no such query.
        """
        asked = range(len(self.scores)) if query is None else [query]
        most = max(1, self.scores.shape[1]) if k is None else k
        tops = [self.top_k(most, query=one, direction=direction) for one in asked]
        counts = [len(top.rows) for top in tops]
        empty = TopRows(np.empty(0, dtype=np.int64), np.empty(0))
        return pd.DataFrame(
            {
                "query": np.repeat(np.asarray(asked, dtype=np.int64), counts),
                "rank": np.concatenate([empty.rows, *(np.arange(1, n + 1) for n in counts)]),
                "training_row": np.concatenate([empty.rows, *(top.rows for top in tops)]),
                "score": np.concatenate([empty.scores, *(top.scores for top in tops)]),
                "unit": self.unit,
            }
        )

    def to_svg(self, k: int = 10, *, query: int = 0, direction: Direction = "both") -> str:
        """Return the ``k`` strongest training rows of a query as bars, the strongest first.

        Raises:
            QueryShapeError: ``k`` is below 1, or there is no such query.
        """
        top = self.top_k(k, query=query, direction=direction)
        pairs = zip(top.rows, top.scores, strict=True)
        bars = [Bar(f"training row {row:,}", float(score)) for row, score in pairs]
        return bars_svg(bars, f"Scores of the {len(bars)} strongest rows, in {self.unit}")

    def _repr_svg_(self) -> str:
        return self.to_svg()

    def _summed(self, rows: Mapping[Hashable, NDArray[np.integer] | None]) -> GroupScores:
        return summed_by_group(self.scores, rows, self.target, self.unit)


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


@dataclass(frozen=True, eq=False)
class SourceTotals(GroupScores):
    """Sums of scores by source, and the way to the rows of each source.

    Attributes:
        attribution: The scores that were added up.
        maps: From training rows to the rows of each source.
    """

    attribution: AttributionScores
    maps: Mapping[str, RowMap]

    def rows_of(self, source: str) -> SourceScores:
        """Return the ranking of the rows of one source; see `AttributionScores.roll_up`.

        Raises:
            ScoreGroupsError: There is no such source.
            RollUpError: Its rows are unknown, or connected by a statistic only.
        """
        if source not in self.maps:
            known = ", ".join(map(repr, self.maps))
            raise ScoreGroupsError(f"there is no source {source!r}", f"ask for one of {known}")
        return self.attribution.roll_up(self.maps[source])


def strongest(
    rows: NDArray[np.int64], scores: NDArray[np.float64], k: int, direction: Direction
) -> TopRows:
    """Return the ``k`` rows with the largest scores in a direction, the first of ties first.

    Undefined scores are left out.

    Raises:
        QueryShapeError: There is no such direction.
    """
    if direction not in get_args(Direction):
        raise QueryShapeError("direction", f"one of {get_args(Direction)}", repr(direction))
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
    return row_of(values, query)


def _require_train_rows(n_rows: int, n_train: int) -> None:
    if n_rows != n_train:
        raise RollUpError(
            f"the row map is of {n_rows} rows, the scores of {n_train}",
            "pass the map of the training table that the run was trained on",
        )


def _require_rolling(row_map: RowMap, n_train: int) -> None:
    _require_train_rows(row_map.n_out, n_train)
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
