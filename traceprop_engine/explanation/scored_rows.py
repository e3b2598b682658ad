"""Scores of recorded training rows, carried to the sources and operations behind them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from traceprop_engine.attribution import AttributionScores
from traceprop_engine.errors import UntraceableRankError
from traceprop_engine.explanation.explain import SourceLines, influential_row
from traceprop_engine.explanation.values import InfluentialRow
from traceprop_engine.lineage.captured import CapturedLineage, Op
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.recording import RecordedRun
from traceprop_engine.store import Store
from traceprop_engine.tracing import LineageGraph, trace_back

_NO_ROWS = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class TrainingLineage:
    """How training rows follow from everything that was recorded before them.

    Attributes:
        sources: From the training rows to the rows of each source version behind them, for
            `AttributionScores.by_source`. A source goes by its name, and by name and digest where
            several versions of it are behind the model.
        steps: The operations of all datasets on the way, nearest to the sources first, for
            `AttributionScores.by_op`: each named with its dataset, with the inputs of that dataset
            as the maps.
    """

    sources: CapturedLineage
    steps: CapturedLineage


def training_lineage(store: Store, model: RecordedRun) -> TrainingLineage:
    """Return the row maps between the training rows of a model and all that is behind them.

    ```python
    behind = training_lineage(store, predictions.model)
    scores = predictions.scores_of(np.arange(1000))
    scores.by_source(behind.sources), scores.by_op(behind.steps)
    ```
    """
    graph = LineageGraph.upstream_of(store, model.dataset_version_id)
    n_rows = model.run.n_train
    reached = {model.dataset_version_id: RowMap.identity(n_rows)}
    sources: dict[str, RowMap] = {}
    steps: dict[str, RowMap] = {}
    ops: list[Op] = []
    for version_id in reversed(graph.versions):
        here = reached.get(version_id)
        if here is None:  # connected by a statistic only
            continue
        steps[version_id] = here
        for facts in graph.maps(version_id, "direct"):
            behind = here.compose(graph.row_map(facts))
            _unite(sources if facts["input_kind"] == "source" else reached, facts, behind)
            steps[_key(version_id, facts["input_name"])] = behind
        ops = [*_named_ops(graph, version_id, steps), *ops]
    names = _source_names(store, sources)
    by_name = {names[source]: row_map for source, row_map in sources.items()}
    return TrainingLineage(
        CapturedLineage(n_rows, by_name), CapturedLineage(n_rows, steps, ops=tuple(ops))
    )


def trace_rank(
    store: Store, model: RecordedRun, scores: AttributionScores, rank: int = 1, *, query: int = 0
) -> InfluentialRow:
    """Return the training row of a rank for a query, with the source lines it was made from.

    Args:
        store: Where the pipeline was recorded.
        model: The model that the scores are of.
        scores: Scores of its training rows.
        rank: 1 for the strongest by size.
        query: Position of the query among the scores.

    Raises:
        UntraceableRankError: No training row has that rank.
        QueryShapeError: There is no such query.
    """
    top = scores.top_k(max(1, rank), query=query)
    if not 1 <= rank <= len(top.rows):
        everything = scores.top_k(max(1, scores.scores.shape[1]), query=query)
        raise UntraceableRankError(rank, len(everything.rows))
    row, score = int(top.rows[rank - 1]), float(top.scores[rank - 1])
    trace = trace_back(store, model.dataset_version_id, [row])
    lines = SourceLines(store)
    lines.load([trace.sources])
    return influential_row(rank, row, score, trace, lines)


def _unite(into: dict[str, RowMap], facts: Mapping[str, Any], row_map: RowMap) -> None:
    key = facts["input_id"]
    into[key] = into[key].union(row_map) if key in into else row_map


def _key(version_id: str, input_name: str) -> str:
    return f"{version_id}/{input_name}"


def _named_ops(graph: LineageGraph, version_id: str, steps: Mapping[str, RowMap]) -> list[Op]:
    """Return the operations of a dataset version with inputs as they are called in ``steps``."""
    dataset = graph.versions[version_id]["dataset"]
    named = []
    for op in graph.dataset(version_id, _NO_ROWS).ops:
        keys = [_key(version_id, name) for name in op.inputs]
        inputs = tuple(key for key in keys if key in steps) or (version_id,)
        named.append(replace(op, name=f"{dataset}: {op.name}", inputs=inputs))
    return named


def _source_names(store: Store, found: Mapping[str, RowMap]) -> dict[str, str]:
    facts = store.query(
        "SELECT source_version_id, name, sha256 FROM source_version "
        "WHERE list_contains($ids, source_version_id)",
        {"ids": list(found)},
    ).to_pylist()
    names = [each["name"] for each in facts]
    return {
        each["source_version_id"]: each["name"]
        if names.count(each["name"]) == 1
        else f"{each['name']} ({each['sha256'][:12]})"
        for each in facts
    }
