"""Exact refits without each group of rows, for any model that can be fitted again."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone

from traceprop_engine.attribution.scores import Direction, TopRows, check_k, strongest
from traceprop_engine.errors import GroupRefitError, QueryShapeError, UnknownClassError

Output = Callable[[Any, Any], NDArray[np.floating]]
"""From a fitted model and queries to one number for each query."""


@dataclass(frozen=True, eq=False)
class GroupEffects:
    """What the model gives each query without each group of its training rows.

    Attributes:
        groups: The groups, in the order they first appear, ``n_groups``.
        before: Output of the model of all rows, ``[n_query]``.
        without: Output of the model without each group, ``[n_query, n_groups]``.
        unit: Unit of the output.
        method: How it was found.
    """

    groups: tuple[Hashable, ...]
    before: NDArray[np.float64]
    without: NDArray[np.float64]
    unit: str
    method: str = "refitted without each group"

    @property
    def scores(self) -> NDArray[np.float64]:
        """Output with the group minus without it, ``[n_query, n_groups]``; positive: raises it."""
        return self.before[:, None] - self.without

    def top_k(self, k: int, *, query: int = 0, direction: Direction = "both") -> TopRows:
        """Return the ``k`` strongest groups for a query, as positions in `groups`.

        Raises:
            QueryShapeError: ``k`` is below 1, or there is no such query.
        """
        check_k(k)
        if not 0 <= query < len(self.before):
            raise QueryShapeError("query", f"from 0 to {len(self.before) - 1}", str(query))
        return strongest(np.arange(len(self.groups)), self.scores[query], k, direction)


def leave_groups_out(  # noqa: PLR0913 - two tables, their labels, and what to compare
    estimator: Any,
    features: Any,
    labels: NDArray[np.generic] | Sequence[object],
    groups: Sequence[Hashable] | NDArray[np.generic],
    queries: Any,
    *,
    query_labels: NDArray[np.generic] | Sequence[object] | None = None,
    output: Output | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> GroupEffects:
    """Fit a model on all rows, and again without each group.

    It is the truth, at one fit for each group. Where fitting is random, set ``random_state``:
    otherwise two fits differ by chance as well.

    Args:
        estimator: Anything that scikit-learn can clone, with ``fit`` and ``predict``.
        features: Of the training rows, ``[n_train, n_features]``; an array or a DataFrame.
        labels: ``[n_train]``.
        groups: Group of each training row, ``[n_train]``: a source, a patient, the row itself;
            rows whose group is missing are one group, `None`.
        queries: Features of the queries, ``[n_query, n_features]``.
        query_labels: Labels of the queries, for the probability of their class.
        output: The number of each query to compare. By default what ``predict`` gives, or, for a
            model with ``predict_proba``, the probability of the query's label; 0 in a model whose
            rows are all of other classes.
        progress: Called with the models fitted so far, and all of them.

    Raises:
        GroupRefitError: It cannot be fitted again, a group holds all rows, or what is left
            determines no model.
        QueryShapeError: Lengths do not agree, labels of the queries are needed, or the output is no
            number, as of a classifier without ``predict_proba`` whose classes are words.
        UnknownClassError: A query's label is that of no training row.
    """
    n_rows = len(features)
    for what, values in (("labels", labels), ("groups", groups)):
        if len(values) != n_rows:
            raise QueryShapeError(what, f"one for each of {n_rows} rows", str(len(values)))
    answers = np.asarray(labels)
    read, unit = _reader(estimator, len(queries), query_labels, answers, output)
    codes, names = _coded(groups)
    kept = [np.arange(n_rows), *(np.flatnonzero(codes != group) for group in range(len(names)))]
    columns: list[NDArray[np.float64]] = []
    for rows in kept:
        fitted = _fitted(estimator, _taken(features, rows), answers[rows], len(columns), names)
        columns.append(_numbers(read(fitted, queries), len(queries)))
        if progress is not None:
            progress(len(columns), len(kept))
    return GroupEffects(names, columns[0], np.stack(columns[1:], axis=1), unit)


def _coded(
    groups: Sequence[Hashable] | NDArray[np.generic],
) -> tuple[NDArray[np.int64], tuple[Hashable, ...]]:
    """Return the position of each row's group, and the groups as they first appear."""
    positions: dict[Hashable, int] = {}
    given = groups.tolist() if isinstance(groups, np.ndarray) else groups
    named = (None if group is pd.NA or group != group else group for group in given)  # noqa: PLR0124 - NaN
    codes = [positions.setdefault(group, len(positions)) for group in named]
    return np.array(codes, dtype=np.int64), tuple(positions)


def _fitted(
    estimator: Any,
    features: Any,
    labels: NDArray[np.generic],
    position: int,
    names: tuple[Hashable, ...],
) -> Any:
    """Return a new model of these rows; ``position`` 0 is the one of all rows."""
    name = type(estimator).__name__
    where = f"group {names[position - 1]!r} left out" if position else "all rows"
    if len(labels) == 0:
        raise GroupRefitError(name, f"with {where} there are no rows", "name smaller groups")
    try:
        fitted = clone(estimator)
    except TypeError as error:
        way_out = "pass an unfitted or fitted estimator of scikit-learn's kind"
        raise GroupRefitError(name, "it cannot be cloned", way_out) from error
    try:
        return fitted.fit(features, labels)
    except ValueError as error:
        reason = f"with {where} its fit says {str(error).splitlines()[0]!r}"
        raise GroupRefitError(name, reason, "name smaller groups, or check the rows") from error


def _reader(
    estimator: Any,
    n_query: int,
    labels: NDArray[np.generic] | Sequence[object] | None,
    answers: NDArray[np.generic],
    output: Output | None,
) -> tuple[Output, str]:
    """Return what reads the number of each query from a fitted model, and its unit."""
    if n_query == 0:
        raise QueryShapeError("queries", "at least one row", "none")
    if output is not None:
        return output, f"unit of {getattr(output, '__name__', type(output).__name__)}"
    if not hasattr(estimator, "predict_proba"):
        return _predictions, "unit of the label"
    if labels is None or len(labels) != n_query:
        got = "none" if labels is None else str(len(labels))
        raise QueryShapeError("query_labels", f"one for each of {n_query} queries", got)
    wanted = np.asarray(labels)
    unknown = wanted[~np.isin(wanted, answers)]
    if len(unknown):
        raise UnknownClassError(unknown[0].item(), tuple(np.unique(answers).tolist()))

    def of_label(fitted: Any, queries: Any) -> NDArray[np.float64]:
        is_class = wanted[:, None] == np.asarray(fitted.classes_)
        return (fitted.predict_proba(queries) * is_class).sum(axis=1)

    return of_label, "probability"


def _predictions(fitted: Any, queries: Any) -> NDArray[np.floating]:
    return fitted.predict(queries)


def _numbers(values: NDArray[np.floating], n_query: int) -> NDArray[np.float64]:
    numbers = np.asarray(values)
    if numbers.shape != (n_query,) or numbers.dtype.kind not in "biuf":
        wanted = f"one number for each of {n_query} queries"
        raise QueryShapeError("output", wanted, f"{numbers.dtype} {list(numbers.shape)}")
    return numbers.astype(np.float64)


def _taken(features: Any, rows: NDArray[np.int64]) -> Any:
    return features.iloc[rows] if isinstance(features, pd.DataFrame) else np.asarray(features)[rows]
