"""Walks along recorded row maps: backward to source rows, forward to all that they reached.

A *direct* dependency follows rows; a *context* dependency goes through a statistic, such as the
mean of a column, and reaches every row of the result. The two are never mixed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from traceprop_engine.errors import RowNotFoundError
from traceprop_engine.lineage.captured import Op
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.recording import describe_fitted, load_row_map
from traceprop_engine.store import Store

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TracedSource:
    """Rows of one source version that a trace ended at."""

    source_version_id: str
    name: str
    uri: str
    sha256: str
    rows: Rows


@dataclass(frozen=True)
class TracedDataset:
    """One dataset version that a walk passed, with the rows of it on the way.

    Attributes:
        ops: The operations that made it, in order.
    """

    dataset_version_id: str
    dataset: str
    n_rows: int
    rows: Rows
    ops: tuple[Op, ...]


@dataclass(frozen=True)
class TracedContext:
    """A statistic that a dataset on the way depends on, and how many rows went into it.

    Attributes:
        fitted: What was fitted, in a few words; empty if nothing was, or it takes more.
    """

    dataset: str
    input_name: str
    statistic: str
    column: str | None
    n_members: int
    fitted: str = ""


@dataclass(frozen=True)
class Trace:
    """Where rows of a dataset version came from.

    Attributes:
        sources: The source rows, one entry for each source version.
        datasets: The dataset versions on the way, nearest to the sources first.
        contexts: Statistics on the way; their rows are not among ``sources``.
        unknown: One sentence for each place where the way was lost.
    """

    sources: tuple[TracedSource, ...]
    datasets: tuple[TracedDataset, ...]
    contexts: tuple[TracedContext, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class Affected:
    """All that rows of a source version reached.

    Attributes:
        datasets: Dataset versions with a row that was made from one of the source rows; training
            runs are among them, with their training rows as rows.
        context: Dataset versions that only a statistic, or something made with it, connects.
        training_runs: Identifiers and names of the models among ``datasets``.
        unknown: One sentence for each place where it is not known what was reached.
    """

    datasets: tuple[TracedDataset, ...]
    context: tuple[TracedContext, ...]
    training_runs: tuple[tuple[str, str], ...]
    unknown: tuple[str, ...]


class LineageGraph:
    """The row maps of one walk: catalogue rows read once, arrays loaded when a walk needs them."""

    def __init__(self, store: Store, versions: Sequence[Mapping[str, Any]]) -> None:
        self._store = store
        self.versions = {str(row["dataset_version_id"]): row for row in versions}
        self._maps = self._read("row_map", _MAP_COLUMNS)
        self._ops = self._read("op", "*")
        self._loaded: dict[tuple[str, int], RowMap] = {}

    @classmethod
    def upstream_of(cls, store: Store, dataset_version_id: str) -> "LineageGraph":
        """Return the graph of a dataset version and all that it was made from."""
        return cls(store, _closure(store, dataset_version_id, _UPSTREAM))

    @classmethod
    def downstream_of(cls, store: Store, input_id: str) -> "LineageGraph":
        """Return the graph of all that was made from a source version or dataset version."""
        return cls(store, _closure(store, input_id, _DOWNSTREAM))

    def _read(self, table: str, columns: str) -> dict[str, list[Mapping[str, Any]]]:
        grouped: dict[str, list[Mapping[str, Any]]] = {key: [] for key in self.versions}
        found = self._store.query(
            f"SELECT {columns} FROM {table} WHERE list_contains($ids, dataset_version_id) "
            "ORDER BY dataset_version_id, ordinal",
            {"ids": list(self.versions)},
        )
        for row in found.to_pylist():
            grouped[row["dataset_version_id"]].append(row)
        return grouped

    def maps(self, dataset_version_id: str, role: str) -> list[Mapping[str, Any]]:
        """Return the catalogue rows of the maps of a dataset version that play ``role``."""
        return [row for row in self._maps[dataset_version_id] if row["role"] == role]

    def row_map(self, facts: Mapping[str, Any]) -> RowMap:
        """Return the row map of a catalogue row, loading its arrays at the first use."""
        key = (facts["dataset_version_id"], facts["ordinal"])
        if key not in self._loaded:
            self._loaded[key] = load_row_map(self._store, facts)
        return self._loaded[key]

    def dataset(self, dataset_version_id: str, rows: Rows) -> TracedDataset:
        """Return a dataset version as a stop of a walk."""
        version = self.versions[dataset_version_id]
        return TracedDataset(
            dataset_version_id=dataset_version_id,
            dataset=version["dataset"],
            n_rows=version["n_rows"],
            rows=rows,
            ops=tuple(_recorded_op(row) for row in self._ops[dataset_version_id]),
        )

    def context(self, facts: Mapping[str, Any]) -> TracedContext:
        """Return a statistic as a stop of a walk."""
        return TracedContext(
            dataset=self.versions[facts["dataset_version_id"]]["dataset"],
            input_name=facts["input_name"],
            statistic=facts["statistic"],
            column=facts["column_name"],
            n_members=len(self.row_map(facts).backward(np.array([0]))),
            fitted=describe_fitted(facts["fitted"]),
        )

    def passed_on(self, facts: Mapping[str, Any]) -> TracedContext:
        """Return rows that a statistic reached, as what the rows made from them depend on."""
        return TracedContext(
            dataset=self.versions[facts["dataset_version_id"]]["dataset"],
            input_name=facts["input_name"],
            statistic=_PASSED_ON,
            column=None,
            n_members=facts["n_in"],
        )


# What was fitted may be large, and is shown only if it is short.
_MAP_COLUMNS = "* REPLACE (CASE WHEN length(fitted) <= 2000 THEN fitted END AS fitted)"
_PASSED_ON = "rows made with a statistic"
_UPSTREAM = "SELECT m.input_id FROM row_map m JOIN reached ON m.dataset_version_id = reached.id"
_DOWNSTREAM = "SELECT m.dataset_version_id FROM row_map m JOIN reached ON m.input_id = reached.id"


def _closure(store: Store, start: str, step: str) -> list[Mapping[str, Any]]:
    return store.query(
        f"""
        WITH RECURSIVE reached(id) AS (SELECT ? UNION {step})
        SELECT dataset_version_id, dataset, n_rows, commit_no
        FROM dataset_version WHERE dataset_version_id IN (SELECT id FROM reached)
        ORDER BY commit_no, dataset_version_id
        """,
        [start],
    ).to_pylist()


def trace_back(
    store: Store,
    dataset_version_id: str,
    rows: Sequence[int] | Rows,
    graph: LineageGraph | None = None,
) -> Trace:
    """Return the source rows that rows of a dataset version were made from, and the way there.

    Args:
        store: Where the lineage was recorded.
        dataset_version_id: The dataset version to start at.
        rows: Row numbers in it.
        graph: The graph of ``LineageGraph.upstream_of``, to share among many walks.

    Raises:
        RowNotFoundError: A row number is outside the dataset version.
    """
    graph = graph or LineageGraph.upstream_of(store, dataset_version_id)
    start = _checked_rows(graph, dataset_version_id, rows)
    reached: dict[str, Rows] = {dataset_version_id: start}
    source_rows: dict[str, Rows] = {}
    contexts: list[TracedContext] = []
    unknown: list[str] = []
    for version_id in reversed(graph.versions):
        here = reached.get(version_id)
        if here is None or not len(here):
            continue
        contexts += [graph.context(facts) for facts in graph.maps(version_id, "context")]
        for facts in graph.maps(version_id, "direct"):
            row_map = graph.row_map(facts)
            if not row_map.is_known:
                unknown.append(_lost(graph, facts))
                continue
            into = source_rows if facts["input_kind"] == "source" else reached
            _add(into, facts["input_id"], row_map.backward(here))
    datasets = [
        graph.dataset(key, reached[key]) for key in graph.versions if len(reached.get(key, ()))
    ]
    return Trace(
        sources=_traced_sources(store, source_rows),
        datasets=tuple(datasets),
        contexts=tuple(contexts),
        unknown=tuple(unknown),
    )


def affected_by(store: Store, source_version_id: str, rows: Sequence[int] | Rows) -> Affected:
    """Return every dataset row, training run and model that rows of a source version reached."""
    graph = LineageGraph.downstream_of(store, source_version_id)
    reached: dict[str, Rows] = {source_version_id: np.unique(np.asarray(rows, dtype=np.int64))}
    through_statistic: set[str] = set()
    contexts: list[TracedContext] = []
    unknown: list[str] = []
    for version_id in graph.versions:
        for facts in graph.maps(version_id, "direct"):
            here = reached.get(facts["input_id"])
            if here is not None and len(here):
                row_map = graph.row_map(facts)
                if row_map.is_known:
                    _add(reached, version_id, row_map.forward(here))
                else:
                    unknown.append(_lost(graph, facts))
            if facts["input_id"] in through_statistic:
                through_statistic.add(version_id)
                contexts.append(graph.passed_on(facts))
        for facts in graph.maps(version_id, "context"):
            here = reached.get(facts["input_id"], np.empty(0, dtype=np.int64))
            if facts["input_id"] in through_statistic or len(graph.row_map(facts).forward(here)):
                through_statistic.add(version_id)
                contexts.append(graph.context(facts))
    datasets = [
        graph.dataset(key, reached[key]) for key in graph.versions if len(reached.get(key, ()))
    ]
    return Affected(
        datasets=tuple(datasets),
        context=tuple(contexts),
        training_runs=_training_runs(store, [dataset.dataset_version_id for dataset in datasets]),
        unknown=tuple(unknown),
    )


def _checked_rows(graph: LineageGraph, version_id: str, rows: Sequence[int] | Rows) -> Rows:
    wanted = np.unique(np.asarray(rows, dtype=np.int64))
    version = graph.versions[version_id]
    outside = wanted[(wanted < 0) | (wanted >= version["n_rows"])]
    if len(outside):
        raise RowNotFoundError(version["dataset"], int(outside[0]), version["n_rows"])
    return wanted


def _recorded_op(row: Mapping[str, Any]) -> Op:
    return Op(
        name=row["name"],
        detail=row["detail"],
        inputs=tuple(json.loads(row["inputs"])),
        n_rows_in=tuple(json.loads(row["n_rows_in"])),
        n_rows_out=row["n_rows_out"],
    )


def _add(into: dict[str, Rows], key: str, rows: Rows) -> None:
    into[key] = np.union1d(into[key], rows) if key in into else rows


def _lost(graph: LineageGraph, facts: Mapping[str, Any]) -> str:
    dataset = graph.versions[facts["dataset_version_id"]]["dataset"]
    return f"How the rows of '{dataset}' follow from its input '{facts['input_name']}' is unknown."


def _traced_sources(store: Store, rows: Mapping[str, Rows]) -> tuple[TracedSource, ...]:
    found = store.query(
        "SELECT source_version_id, name, uri, sha256 FROM source_version "
        "WHERE list_contains($ids, source_version_id) ORDER BY name, commit_no",
        {"ids": list(rows)},
    ).to_pylist()
    return tuple(TracedSource(rows=rows[f["source_version_id"]], **f) for f in found)


def _training_runs(store: Store, version_ids: Sequence[str]) -> tuple[tuple[str, str], ...]:
    found = store.query(
        "SELECT training_run_id, name FROM training_run "
        "WHERE list_contains($ids, dataset_version_id) ORDER BY commit_no",
        {"ids": list(version_ids)},
    )
    return tuple((row["training_run_id"], row["name"]) for row in found.to_pylist())
