"""Which training rows of a model go when rows of a source go."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.errors import NotBehindModelError, RemovalChoiceError, SourceRowError
from traceprop_engine.explanation.explain import describe_contexts
from traceprop_engine.explanation.source_rows import rows_matching
from traceprop_engine.recording import RecordedRun, load_source
from traceprop_engine.store import Store
from traceprop_engine.tracing import (
    LineageGraph,
    TracedContext,
    TracedSource,
    affected_by,
    trace_back,
)


@dataclass(frozen=True, eq=False)
class RemovedRows:
    """Training rows to take out of a model, and why these.

    Attributes:
        told: What was asked to be removed, in words.
        training_rows: Row numbers in the training run, ascending.
        source_rows: How many rows of the source were asked to be removed; 0 if none was named.
        statistics: Statistics on the way to the model that the source rows went into, a sentence
            each: they reach every training row, and are left as they were.
        unknown: Where the way from the source to the model is not known, a sentence each.
    """

    told: str
    training_rows: NDArray[np.int64]
    source_rows: int = 0
    statistics: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def choose_removed(
    store: Store,
    model: RecordedRun,
    *,
    training_rows: Sequence[int] | NDArray[np.integer] | None = None,
    source: str | None = None,
    source_rows: Sequence[int] | NDArray[np.integer] | None = None,
    where: str | None = None,
) -> RemovedRows:
    """Return the training rows that a choice of rows stands for; see `what_if_removed`.

    Raises:
        RemovalChoiceError: Not exactly one of training rows and a source is named.
        NotBehindModelError: No training row is known to come from the source rows.
        NoMatchingRowError: The condition holds for no row of the source.
        SourceRowError: The source has no such row.
        TracepropError: See `rows_matching`.
    """
    way_out = "name training rows, or a source with a condition or row numbers if not all of it"
    if (training_rows is None) == (source is None):
        raise RemovalChoiceError("training rows and a source are two ways to say it", way_out)
    if source is None:
        if where is not None or source_rows is not None:
            raise RemovalChoiceError("a condition and row numbers are of a source", way_out)
        rows = np.unique(np.asarray(training_rows))
        return RemovedRows(f"{len(rows):,} of its training rows", rows)
    if where is not None and source_rows is not None:
        raise RemovalChoiceError("there are a condition and row numbers", "give one of them")
    return _behind_model(store, model, source, source_rows, where)


def _behind_model(
    store: Store,
    model: RecordedRun,
    source: str,
    source_rows: Sequence[int] | NDArray[np.integer] | None,
    where: str | None,
) -> RemovedRows:
    """Follow rows of every version of a source that is behind the model."""
    graph = LineageGraph.upstream_of(store, model.dataset_version_id)
    behind = trace_back(store, model.dataset_version_id, np.arange(model.run.n_train), graph)
    versions = [found for found in behind.sources if _is_named(found, source)]
    if not versions:
        names = sorted({found.name for found in behind.sources})
        raise NotBehindModelError(f"source {source!r}", model.run.name, names)
    ways = {version["dataset"] for version in graph.versions.values()}
    reached: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64)]
    statistics: list[TracedContext] = []
    unknown: list[str] = []
    n_source = 0
    for version in versions:
        chosen = _rows_of(store, version, source_rows, where)
        affected = affected_by(store, version.source_version_id, chosen)
        n_source += len(chosen)
        reached += [
            dataset.rows
            for dataset in affected.datasets
            if dataset.dataset_version_id == model.dataset_version_id
        ]
        statistics += [context for context in affected.context if context.dataset in ways]
        unknown += [told for told in affected.unknown if told in behind.unknown]
    rows = np.unique(np.concatenate(reached))
    told = _told(versions[0].name, source_rows, where)
    if not len(rows):
        names = sorted({found.name for found in behind.sources})
        raise NotBehindModelError(told, model.run.name, names)
    sentences = describe_contexts(dict.fromkeys(statistics))
    return RemovedRows(told, rows, n_source, sentences, tuple(dict.fromkeys(unknown)))


def _rows_of(
    store: Store,
    version: TracedSource,
    source_rows: Sequence[int] | NDArray[np.integer] | None,
    where: str | None,
) -> NDArray[np.int64]:
    recorded = load_source(store, version.source_version_id)
    if where is not None:
        way_out = "name rows of the source by their numbers"
        return np.asarray(rows_matching(recorded, where, way_out=way_out), dtype=np.int64)
    if source_rows is None:
        return np.arange(recorded.n_rows)
    rows = np.unique(np.asarray(source_rows, dtype=np.int64))
    for row in rows[(rows < 0) | (rows >= recorded.n_rows)]:
        raise SourceRowError(Path(version.uri), int(row), recorded.n_rows)
    return rows


def _is_named(found: TracedSource, source: str) -> bool:
    names = {found.name, found.source_version_id, found.uri, PurePath(found.uri).name}
    return source in names


def _told(
    name: str, source_rows: Sequence[int] | NDArray[np.integer] | None, where: str | None
) -> str:
    if where is not None:
        return f"the rows of {name} where {where}"
    return f"all rows of {name}" if source_rows is None else f"the chosen rows of {name}"
