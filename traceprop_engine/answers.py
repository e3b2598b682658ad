"""Walks made ready to be shown: with the text of source rows, and with what is current."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from traceprop_engine.errors import SourceRowError
from traceprop_engine.explanation import (
    SourceLine,
    SourceLines,
    Step,
    describe_contexts,
    describe_step,
)
from traceprop_engine.recording import DatasetVersion, load_frame, load_training_run
from traceprop_engine.sources import SourceVersion
from traceprop_engine.store import Store
from traceprop_engine.tracing import (
    Affected,
    Trace,
    TracedDataset,
    TracedSource,
    affected_by,
    trace_back,
)


@dataclass(frozen=True)
class Origin:
    """Where rows of a dataset version came from, with the text of each source row.

    Attributes:
        lines: The source rows, file by file.
        steps: The datasets on the way, nearest to the sources first.
        statistics: Statistics on the way, one sentence each; their rows are not among ``lines``.
        unknown: One sentence for each place where the way was lost.
    """

    lines: tuple[SourceLine, ...]
    steps: tuple[Step, ...]
    statistics: tuple[str, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class ReachedVersion:
    """A dataset version that source rows reached, with the rows of it.

    Attributes:
        dataset: Its name.
        partition_key: The partition it holds; empty for an unpartitioned dataset.
        dataset_version_id: The version.
        rows: Row numbers in it, ascending.
        n_rows: All rows of the version.
        current: Whether the store has no newer version of this dataset and partition.
        training_run: Identifier and name of the model, if the version is one.
    """

    dataset: str
    partition_key: str
    dataset_version_id: str
    rows: npt.NDArray[np.int64]
    n_rows: int
    current: bool
    training_run: tuple[str, str] | None


@dataclass(frozen=True)
class Reach:
    """All that source rows reached, the newest version of each dataset apart from older ones.

    Attributes:
        lines: The source rows themselves.
        newest: The newest version that was reached of each dataset and partition.
        older: The versions before them.
        statistics: Statistics that the rows went into, one sentence each; they reach every row of
            the dataset that they are named for, and are not counted as rows.
        unknown: One sentence for each place where it is not known what was reached.
    """

    lines: tuple[SourceLine, ...]
    newest: tuple[ReachedVersion, ...]
    older: tuple[ReachedVersion, ...]
    statistics: tuple[str, ...]
    unknown: tuple[str, ...]


def origin_of(store: Store, dataset_version_id: str, rows: Sequence[int]) -> Origin:
    """Return the source rows that rows of a dataset version were made from, with their text.

    Raises:
        RowNotFoundError: A row number is outside the dataset version.
    """
    trace = trace_back(store, dataset_version_id, rows)
    lines = SourceLines(store)
    lines.load([trace.sources])
    return Origin(
        lines=lines.of(trace.sources),
        steps=tuple(map(describe_step, trace.datasets)),
        statistics=_statistics(trace),
        unknown=trace.unknown,
    )


def reach_of(store: Store, source: SourceVersion, rows: Sequence[int]) -> Reach:
    """Return everything that rows of a source version reached.

    Raises:
        SourceRowError: A row number is outside the source version.
    """
    lines = source_lines(store, source, rows)
    affected = affected_by(store, source.source_version_id, rows)
    reached = _reached_versions(store, affected)
    newest: dict[tuple[str, str], ReachedVersion] = {}
    for version in reached:  # in the order they were recorded, so the last one stays
        newest[version.dataset, version.partition_key] = version
    first = {version.dataset_version_id for version in newest.values()}
    return Reach(
        lines=lines,
        newest=tuple(v for v in reached if v.dataset_version_id in first),
        older=tuple(v for v in reached if v.dataset_version_id not in first),
        statistics=describe_contexts(affected.context),
        unknown=affected.unknown,
    )


def source_lines(
    store: Store, source: SourceVersion, rows: Sequence[int]
) -> tuple[SourceLine, ...]:
    """Return rows of a source version as lines, with the reason where a text cannot be read.

    Raises:
        SourceRowError: A row number is outside the source version.
    """
    numbers = np.unique(np.asarray(rows, dtype=np.int64))
    for row in numbers[(numbers < 0) | (numbers >= source.n_rows)]:
        raise SourceRowError(Path(source.uri), int(row), source.n_rows)
    named = TracedSource(
        source.source_version_id, source.name, source.uri, source.sha256, rows=numbers
    )
    lines = SourceLines(store)
    lines.load([[named]])
    return lines.of([named])


def table_of(store: Store, version: DatasetVersion) -> pd.DataFrame:
    """Return the rows of a dataset version as a table; for a model its training rows.

    The training rows have the label first, then the features as the model saw them.
    """
    if not version.is_training_run:
        return load_frame(store, version)
    run = load_training_run(store, version.id).run
    frame = pd.DataFrame(run.features, columns=list(run.feature_names))
    frame.insert(0, run.label, run.labels, allow_duplicates=True)
    return frame


def _statistics(trace: Trace) -> tuple[str, ...]:
    return describe_contexts(trace.contexts)


def _reached_versions(store: Store, affected: Affected) -> list[ReachedVersion]:
    facts = _version_facts(store, [d.dataset_version_id for d in affected.datasets])
    return [_reached(dataset, facts[dataset.dataset_version_id]) for dataset in affected.datasets]


def _reached(dataset: TracedDataset, facts: Mapping[str, Any]) -> ReachedVersion:
    run_id = facts["training_run_id"]
    return ReachedVersion(
        dataset=dataset.dataset,
        partition_key=facts["partition_key"],
        dataset_version_id=dataset.dataset_version_id,
        rows=dataset.rows,
        n_rows=dataset.n_rows,
        current=facts["current"],
        training_run=None if run_id is None else (run_id, facts["name"]),
    )


def _version_facts(store: Store, version_ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    found = store.query(
        """
        WITH ranked AS (
            SELECT dataset_version_id, partition_key,
                row_number() OVER (
                    PARTITION BY dataset, partition_key ORDER BY commit_no DESC
                ) = 1 AS current
            FROM dataset_version
        )
        SELECT ranked.*, training_run_id, name
        FROM ranked LEFT JOIN training_run USING (dataset_version_id)
        WHERE list_contains($ids, dataset_version_id)
        """,
        {"ids": list(version_ids)},
    )
    return {row["dataset_version_id"]: row for row in found.to_pylist()}
