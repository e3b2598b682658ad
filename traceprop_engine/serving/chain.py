"""The chain of datasets between source files and one row, as a graph with a place for each node."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from traceprop_engine.presentation import counted
from traceprop_engine.serving.views import link
from traceprop_engine.store import Store
from traceprop_engine.tracing import LineageGraph, Trace, trace_back


@dataclass(frozen=True)
class Node:
    """A source file or dataset version on the way.

    Attributes:
        id: Of the source version or dataset version.
        name: What it is called.
        caption: How many of its rows are on the way.
        address: Of its page, or of the page of the one row.
        is_source: Whether it is a source.
        level: Line of the picture that it stands on, from 0 at the top.
    """

    id: str
    name: str
    caption: str
    address: str
    is_source: bool
    level: int


@dataclass(frozen=True)
class Edge:
    """Rows of ``start`` went into rows of ``end``, or a statistic of them did."""

    start: str
    end: str
    is_statistic: bool


@dataclass(frozen=True)
class Chain:
    """The graph: nodes from the sources on, and the edges between them."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def chain_of(store: Store, dataset_version_id: str, rows: Sequence[int]) -> Chain:
    """Return the chain from source files to rows of a dataset version.

    Raises:
        RowNotFoundError: A row number is outside the dataset version.
    """
    graph = LineageGraph.upstream_of(store, dataset_version_id)
    trace = trace_back(store, dataset_version_id, rows, graph)
    nodes = {node.id: node for node in _source_nodes(trace)}
    edges: list[Edge] = []
    for dataset in trace.datasets:  # nearest to the sources first
        found = _edges(graph, dataset.dataset_version_id, nodes)
        edges += found
        level = 1 + max((nodes[edge.start].level for edge in found), default=0)
        nodes[dataset.dataset_version_id] = Node(
            id=dataset.dataset_version_id,
            name=dataset.dataset,
            caption=f"{len(dataset.rows):,} of {counted(dataset.n_rows, 'row')}",
            address=_address("dataset", dataset.dataset_version_id, dataset.rows.tolist()),
            is_source=False,
            level=level,
        )
    return Chain(tuple(_lowered(nodes, edges)), tuple(edges))


def _lowered(nodes: Mapping[str, Node], edges: Sequence[Edge]) -> list[Node]:
    """Return the nodes with each source just above the first dataset that it went into."""
    return [
        replace(
            node, level=min(nodes[edge.end].level for edge in edges if edge.start == node.id) - 1
        )
        if node.is_source
        else node
        for node in nodes.values()
    ]


def _source_nodes(trace: Trace) -> list[Node]:
    return [
        Node(
            id=source.source_version_id,
            name=source.name,
            caption=counted(len(source.rows), "record"),
            address=_address("source", source.source_version_id, source.rows.tolist()),
            is_source=True,
            level=0,
        )
        for source in trace.sources
        if len(source.rows)
    ]


def _address(kind: str, identifier: str, rows: Sequence[int]) -> str:
    return link(kind, identifier, "row", rows[0]) if len(rows) == 1 else link(kind, identifier)


def _edges(graph: LineageGraph, version_id: str, nodes: Mapping[str, Node]) -> list[Edge]:
    direct = _starts(graph.maps(version_id, "direct"), nodes)
    through = _starts(graph.maps(version_id, "context"), nodes)
    return [
        *(Edge(start, version_id, is_statistic=False) for start in direct),
        *(Edge(start, version_id, is_statistic=True) for start in through if start not in direct),
    ]


def _starts(maps: Sequence[Mapping[str, Any]], nodes: Mapping[str, Node]) -> list[str]:
    """Return the inputs of maps that are on the way, each once."""
    return list(dict.fromkeys(facts["input_id"] for facts in maps if facts["input_id"] in nodes))
