"""A snapshot as records that name each other by the digest of what they say.

Equal facts have equal digests in every process, so that writing them twice adds nothing, and two
processes that write at once cannot take each other's place.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from traceprop_engine.digests import canonical_json, sha256_bytes
from traceprop_engine.lineage.captured import ContextDependency
from traceprop_engine.lineage.marks import Node, Placed, Step, Via
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.lineage.rows import map_of
from traceprop_engine.provenance_views.snapshot import Snapshot

Fact = dict[str, Any]


@dataclass(frozen=True)
class Records:
    """The records of one value, each table by digest, what others name before those.

    Attributes:
        value: The value itself.
        maps: The row maps.
        sources: The file versions.
        nodes: The sets of rows.
        edges: For each set of rows, where they come from.
        steps: The operations.
    """

    value: Fact
    maps: Mapping[str, RowMap]
    sources: Mapping[str, Fact]
    nodes: Mapping[str, Fact]
    edges: Mapping[str, list[Fact]]
    steps: Mapping[str, Fact]

    @property
    def digest(self) -> str:
        """Of the value, whatever the order of its notes, which compression changes."""
        return digest_of_value(self.value)


def records_of(snapshot: Snapshot) -> Records:
    """Return the records of what was known of a value.

    A lineage that was handed over ready belongs to no graph; what it says stands for one.
    """
    if snapshot.token is not None:
        return _Writer(snapshot, snapshot.token).records()
    said = _Writer(snapshot, "").records().digest
    return _Writer(snapshot, said).records()


def digest_of_value(fact: Fact) -> str:
    """Return the digest of a value, whatever the order of its notes."""
    return _digest(fact | {"notes": sorted(fact["notes"], key=canonical_json)})


def digest_of_node(fact: Fact, edges: list[Fact], token: str) -> str:
    """Return the digest of a set of rows.

    Rows of a named input are told apart by the file, or else by the graph that named them.
    """
    of_graph = token if fact["name"] is not None and fact["source"] is None else None
    return _digest([fact, edges, of_graph])


def digest_of_step(fact: Fact, token: str) -> str:
    """Return the digest of an operation, which is one of the graph that it ran in."""
    return _digest([fact, token])


def digest_of_source(fact: Fact) -> str:
    """Return the digest of a file version."""
    return _digest(fact)


def digest_of_map(row_map: RowMap) -> str:
    """Return the digest of a row map as it is held."""
    kind, params, columns = row_map.to_parts()
    facts = [kind, row_map.n_out, row_map.n_in, params, sorted(columns)]
    found = hashlib.sha256(canonical_json(facts).encode())
    for name in sorted(columns):
        found.update(columns[name].astype("<i8").tobytes())
    return found.hexdigest()


class _Writer:
    def __init__(self, snapshot: Snapshot, token: str) -> None:
        self._snapshot = snapshot
        self._token = token
        self._maps: dict[str, RowMap] = {}
        self._sources: dict[str, Fact] = {}
        self._nodes: dict[str, Fact] = {}
        self._edges: dict[str, list[Fact]] = {}
        self._steps: dict[str, Fact] = {}
        self._digest_of: dict[Node | Step, str] = {}

    def records(self) -> Records:
        inputs = self._snapshot.kept_inputs()
        for node in dict.fromkeys([*inputs.values(), *self._snapshot.nodes()]):
            self._write_node(node)
        for position, step in enumerate(self._snapshot.steps()):
            self._write_step(step, position)
        value = self._value(inputs)
        return Records(value, self._maps, self._sources, self._nodes, self._edges, self._steps)

    def _value(self, inputs: Mapping[str, Node]) -> Fact:
        snapshot = self._snapshot
        return {
            "n_rows": snapshot.n_rows,
            "token": self._token,
            "is_scoped": snapshot.is_scoped,
            "is_flow_known": snapshot.is_flow_known,
            "fidelity": snapshot.lineage.fidelity,
            "reason": snapshot.lineage.reason,
            "places": [self._place(each) for each in (snapshot.rows, snapshot.columns)],
            "inputs": [[name, self._digest_of[node]] for name, node in inputs.items()],
            "notes": [self._note(each) for each in snapshot.noted],
        }

    def _write_node(self, node: Node) -> None:
        edges = [
            *(self._edge(parent, via, 0, node.n_rows) for parent, via in node.edges),
            *self._pieces(node),
        ]
        fact: Fact = {
            "n_rows": node.n_rows,
            "name": node.name,
            "is_statistic": node.is_statistic,
            "lost": node.lost,
            "claims": list(node.claims),
            "source": None if node.name is None else self._source(node.name),
            "is_stack": bool(node.pieces),
        }
        digest = digest_of_node(fact, edges, self._token)
        self._digest_of[node] = digest
        self._nodes[digest] = fact
        self._edges[digest] = edges

    def _pieces(self, node: Node) -> Iterable[Fact]:
        starts = accumulate((n for n, _, _ in node.pieces), initial=0)
        for start, (n, parent, rows) in zip(starts, node.pieces, strict=False):
            yield self._edge(parent, rows, start, n)

    def _edge(self, parent: Node | None, via: Via, first_row: int, n_rows: int) -> Fact:
        known = parent is not None
        return {
            "parent": self._digest_of[parent] if known else None,
            "row_map": self._map(as_row_map(via, parent.n_rows)) if known else None,
            "first_row": first_row,
            "n_rows": n_rows,
        }

    def _map(self, row_map: RowMap) -> str:
        digest = digest_of_map(row_map)
        self._maps[digest] = row_map
        return digest

    def _source(self, name: str) -> str | None:
        version = self._snapshot.versions.get(name)
        if version is None:
            return None
        fact = version.to_dict()
        digest = digest_of_source(fact)
        self._sources[digest] = fact
        return digest

    def _write_step(self, step: Step, position: int) -> None:
        op = step.op
        fact: Fact = {
            "name": op.name,
            "detail": op.detail,
            "inputs": list(op.inputs),
            "n_rows_in": list(op.n_rows_in),
            "n_rows_out": op.n_rows_out,
            "number": step.number if self._snapshot.token is not None else position,
            "before": [self._digest_of[before] for before in step.before],
        }
        digest = self._digest_of[step] = digest_of_step(fact, self._token)
        self._steps[digest] = fact

    def _place(self, placed: Placed | None) -> Fact | None:
        if placed is None:
            return None
        mark, rows = placed
        return {
            "node": self._digest_of[mark.node],
            "row_map": self._map(as_row_map(rows, mark.node.n_rows)),
            "steps": [self._digest_of[step] for step in mark.steps],
        }

    def _note(self, context: ContextDependency) -> Fact:
        return {
            "input": context.input,
            "statistic": context.statistic,
            "column": context.column,
            "detail": context.detail,
            "row_map": self._map(context.members),
        }


def as_row_map(via: Via, n_in: int) -> RowMap:
    """Return how rows follow from those of a parent as a row map."""
    return via if isinstance(via, RowMap) else map_of(via, n_in)


def _digest(facts: Mapping[str, Any] | list[Any]) -> str:
    return sha256_bytes(canonical_json(facts).encode())
