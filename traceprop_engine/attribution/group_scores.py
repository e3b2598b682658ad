"""Scores added up over groups of training rows: one number for each query and group."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from traceprop_engine.attribution.bars import Bar, bars_svg
from traceprop_engine.attribution.targets import Target
from traceprop_engine.errors import QueryShapeError, ScoreGroupsError
from traceprop_engine.lineage.captured import CapturedLineage, Op
from traceprop_engine.lineage.row_map import RowMap

Groups = ArrayLike | pd.Series | Mapping[Hashable, ArrayLike]
"""One label for each training row, or the training rows of each group."""


@dataclass(frozen=True, eq=False)
class GroupScores:
    """Sums of the scores of the training rows of each group.

    They say what taking the whole group out would change to first order, each row on its own; what
    rows of a group do together is in no sum, and a refit without the group tells.

    Attributes:
        scores: ``[n_query, n_groups]``. NaN where it is unknown which rows are in the group.
        groups: What each group is called.
        n_rows: Training rows in each group, ``[n_groups]``.
        n_undefined: How many of them have an undefined score (NaN: no model is determined without
            the row) for some query; such scores are left out of the sums, ``[n_groups]``.
        n_shared: Training rows that are in more than one group and count for each of them; if
            there are some, the sums of all groups do not add up to the sum of all scores.
        n_without: Training rows that are in no group.
        target: Which number of the query is explained.
        unit: Its unit.
    """

    scores: NDArray[np.float64]
    groups: tuple[Hashable, ...]
    n_rows: NDArray[np.int64]
    n_undefined: NDArray[np.int64]
    n_shared: int
    n_without: int
    target: Target
    unit: str

    def of(self, query: int = 0) -> dict[Hashable, float]:
        """Return the sum of each group for one query, the largest first by size.

        Raises:
            QueryShapeError: There is no such query.
        """
        row = row_of(self.scores, query)
        order = np.argsort(-np.abs(row), kind="stable")
        return {self.groups[group]: float(row[group]) for group in order}

    def to_frame(self) -> pd.DataFrame:
        """Return a table with one row for each query and group: query, group, score, unit, n_rows.

        Queries and groups stand in their own order.
        """
        n_query, n_groups = self.scores.shape
        return pd.DataFrame(
            {
                "query": np.repeat(np.arange(n_query), n_groups),
                "group": list(self.groups) * n_query,
                "score": self.scores.ravel(),
                "unit": self.unit,
                "n_rows": np.tile(self.n_rows, n_query),
            }
        )

    def to_svg(self, query: int = 0) -> str:
        """Return the sums for one query as bars, the largest first by size.

        Raises:
            QueryShapeError: There is no such query.
        """
        bars = [Bar(str(name), score) for name, score in self.of(query).items()]
        return bars_svg(bars, f"Summed scores of {self.target} by group, in {self.unit}")

    def _repr_svg_(self) -> str:
        return self.to_svg()


def summed_by_group(
    scores: NDArray[np.float64],
    memberships: Mapping[Hashable, NDArray[np.integer] | None],
    target: Target,
    unit: str,
) -> GroupScores:
    """Return sums of scores by group.

    Args:
        scores: ``[n_query, n_train]``.
        memberships: Distinct training rows of each group; ``None`` where nobody knows them.
        target: Which number of the query is explained.
        unit: Its unit.
    """
    n_train = scores.shape[1]
    known = [np.empty(0, int) if rows is None else rows for rows in memberships.values()]
    n_rows = np.array([len(rows) for rows in known], dtype=np.int64)
    columns = np.repeat(np.arange(len(known)), n_rows)
    rows = np.concatenate([np.empty(0, dtype=np.int64), *known]).astype(np.int64)
    undefined = np.isnan(scores)
    sums = add_columns(np.where(undefined, 0.0, scores), rows, columns, len(known))
    sums[:, [rows is None for rows in memberships.values()]] = np.nan
    counts = np.bincount(rows, minlength=n_train)
    return GroupScores(
        scores=sums,
        groups=tuple(memberships),
        n_rows=n_rows,
        n_undefined=np.bincount(columns[np.any(undefined, axis=0)[rows]], minlength=len(known)),
        n_shared=int((counts > 1).sum()),
        n_without=int((counts == 0).sum()),
        target=target,
        unit=unit,
    )


def add_columns(
    scores: NDArray[np.float64],
    rows: NDArray[np.integer],
    columns: NDArray[np.integer],
    n_columns: int,
) -> NDArray[np.float64]:
    """Return ``[n_query, n_columns]``: the sum of ``scores[:, rows]`` that go to each column."""
    shape = scores.shape[1], n_columns
    membership = csr_array((np.ones(len(columns)), (rows, columns)), shape=shape)
    return np.asarray((membership.T @ scores.T).T)


def rows_of_groups(groups: Groups, n_train: int) -> dict[Hashable, NDArray[np.integer] | None]:
    """Return the training rows of each group, the groups in the order of their first row.

    Args:
        groups: One label for each row (missing: in no group), or the rows of each group by name.
        n_train: Training rows.

    Raises:
        ScoreGroupsError: There is not one label for each row, or a row does not exist.
    """
    if isinstance(groups, Mapping):
        return {name: _checked_rows(name, rows, n_train) for name, rows in groups.items()}
    given: Any = groups
    labels = pd.Series(given).reset_index(drop=True)
    if len(labels) != n_train:
        raise ScoreGroupsError(
            f"there are {len(labels)} labels for {n_train} training rows",
            "give one label for each training row, in their order",
        )
    codes, names = pd.factorize(labels)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(names) + 1))
    return {
        name: order[first:last]
        for name, first, last in zip(names.tolist(), starts, starts[1:], strict=False)
    }


def rows_of_sources(
    maps: Mapping[str, RowMap],
) -> dict[Hashable, NDArray[np.integer] | None]:
    """Return the training rows with a row of each source behind them; ``None`` if unknown."""
    return {
        name: np.flatnonzero(row_map.covered()) if row_map.is_known else None
        for name, row_map in maps.items()
    }


def rows_of_ops(lineage: CapturedLineage) -> dict[Hashable, NDArray[np.integer] | None]:
    """Return the rows of a result that went through each of its operations; see `by_op`."""
    behind = {str(name): rows for name, rows in rows_of_sources(dict(lineage.maps)).items()}
    names = op_names(lineage.ops)
    everything = np.arange(lineage.n_rows)
    return {
        name: _through(op, behind, everything) for name, op in zip(names, lineage.ops, strict=True)
    }


def op_names(ops: Sequence[Op]) -> list[str]:
    """Return a name for each operation; the second of two that read alike ends in ``#2``."""
    seen: dict[str, int] = {}
    names = []
    for op in ops:
        text = f"{op.name}({op.detail})"
        seen[text] = seen.get(text, 0) + 1
        names.append(text if seen[text] == 1 else f"{text} #{seen[text]}")
    return names


def row_of(scores: NDArray[np.float64], query: int) -> NDArray[np.float64]:
    """Return the scores of one query.

    Raises:
        QueryShapeError: There is no such query.
    """
    if not 0 <= query < len(scores):
        raise QueryShapeError("query", f"from 0 to {len(scores) - 1}", str(query))
    return scores[query]


def _through(
    op: Op, behind: Mapping[str, NDArray[np.integer] | None], everything: NDArray[np.integer]
) -> NDArray[np.integer] | None:
    """Return the rows with a row of an input of the operation; all rows if it names none."""
    inputs = [behind[name] for name in op.inputs if name in behind]
    if not inputs:
        return everything
    known = [rows for rows in inputs if rows is not None]
    return np.unique(np.concatenate(known)) if len(known) == len(inputs) else None


def _checked_rows(name: Hashable, rows: ArrayLike, n_train: int) -> NDArray[np.integer]:
    given = np.asarray(rows)
    if given.size and not np.issubdtype(given.dtype, np.integer):
        raise ScoreGroupsError(
            f"rows of group {name!r} are {given.dtype}", "give integer positions, or a label a row"
        )
    positions = np.unique(given).astype(np.int64)
    outside = positions[(positions < 0) | (positions >= n_train)]
    if len(outside):
        raise ScoreGroupsError(
            f"group {name!r} names row {outside[0]}", f"rows go from 0 to {n_train - 1}"
        )
    return positions
