"""Making the graph of a saved value again."""

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traceprop_engine.errors import LineageFileError, RowMapError
from traceprop_engine.lineage.captured import ContextDependency, Op
from traceprop_engine.lineage.marks import Mark, Node, Notes, Placed, Step, Via
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.lineage.row_map_kinds import Function, Identity, Range
from traceprop_engine.lineage.rows import Rows
from traceprop_engine.provenance_views.packing import Packed
from traceprop_engine.provenance_views.snapshot import Snapshot, note_of
from traceprop_engine.sources import SourceVersion
from traceprop_engine.stores.records import (
    Fact,
    digest_of_map,
    digest_of_node,
    digest_of_source,
    digest_of_step,
    digest_of_value,
)


@dataclass(frozen=True, eq=False)
class Reader:
    """Reads one value from an open transaction.

    Attributes:
        path: Of the file, for messages.
        connection: The transaction.
        notes: The graph that is made.
        nodes: The nodes that were made, by digest.
        steps: The operations that were made, by digest.
        maps: The row maps that were read, by digest.
        versions: The file versions of sources, by name.

    Every record is held against the digest that it goes by, so that a damaged file is noticed.
    """

    path: Path
    connection: sqlite3.Connection
    notes: Notes
    nodes: dict[str, Node]
    steps: dict[str, Step]
    maps: dict[str, RowMap]
    versions: dict[str, SourceVersion]

    @classmethod
    def of(cls, path: Path, connection: sqlite3.Connection) -> "Reader":
        """Return a reader that has read nothing yet."""
        return cls(path, connection, Notes(), {}, {}, {}, {})

    def snapshot(self, digest: str) -> Snapshot:
        """Return what was known of the value that was saved.

        Raises:
            LineageFileError: The file does not say what it should.
        """
        facts = self._json(self._row("value", digest), "facts")
        self._check("value", digest, digest_of_value(facts))
        token = facts["token"]
        self.notes.inputs.update({name: self._node(of, token) for name, of in facts["inputs"]})
        for number, note in enumerate(facts["notes"]):
            self.notes.found[number] = note_of(
                ContextDependency(
                    note["input"],
                    note["statistic"],
                    note["column"],
                    self._map(note["row_map"]),
                    note["detail"],
                ),
                self.notes.inputs[note["input"]],
            )
        rows, columns = (self._placed(place, token) for place in facts["places"])
        return Snapshot(
            facts["n_rows"],
            rows,
            columns,
            self.notes,
            is_scoped=facts["is_scoped"],
            token=token,
            versions=self.versions,
            said=(facts["fidelity"], facts["reason"]),
            is_flow_known=facts["is_flow_known"],
        )

    def row_map(self, digest: str) -> RowMap:
        """Return a row map.

        Raises:
            LineageFileError: Its bytes are not those that were written.
        """
        row = self._row("row_map", digest)
        query = "SELECT * FROM row_map_column WHERE row_map_id = ?"
        try:
            columns = {
                each["name"]: Packed(
                    each["encoding"], each["n"], each["width"], each["data"]
                ).unpacked()
                for each in self.connection.execute(query, [row["id"]])
            }
            params = json.loads(row["params"])
            found = RowMap.from_parts(row["kind"], row["n_out"], row["n_in"], params, columns)
        except (OSError, ValueError, RowMapError) as error:
            raise self._damaged("row_map", digest) from error
        self._check("row_map", digest, digest_of_map(found))
        return found

    def _map(self, digest: str) -> RowMap:
        if digest not in self.maps:
            self.maps[digest] = self.row_map(digest)
        return self.maps[digest]

    def _node(self, digest: str, token: str) -> Node:
        """Return a node; those that it comes from are made first."""
        waiting = [digest]
        while waiting:
            row = self._row("node", waiting[-1])
            edges = self._edges(row["id"])
            missing = [each["parent"] for each in edges if each["parent"] is not None]
            missing = [each for each in missing if each not in self.nodes]
            waiting += missing
            if not missing:
                self.nodes[waiting.pop()] = self._made(row, edges, token)
        return self.nodes[digest]

    def _edges(self, node_id: int) -> list[Fact]:
        found = self.connection.execute(
            "SELECT node.digest AS parent, row_map.digest AS row_map, first_row, edge.n_rows"
            " FROM edge LEFT JOIN node ON node.id = edge.parent_id"
            " LEFT JOIN row_map ON row_map.id = edge.row_map_id"
            " WHERE child_id = ? ORDER BY ordinal",
            [node_id],
        )
        return [dict(each) for each in found]

    def _made(self, row: sqlite3.Row, edges: list[Fact], token: str) -> Node:
        fact: Fact = {
            "n_rows": row["n_rows"],
            "name": row["name"],
            "is_statistic": bool(row["is_statistic"]),
            "lost": self._json(row, "lost"),
            "claims": self._json(row, "claims"),
            "source": self._source(row),
            "is_stack": bool(row["is_stack"]),
        }
        self._check("node", row["digest"], digest_of_node(fact, edges, token))
        ways: list[tuple[int, Node | None, Via]] = []
        for each in edges:
            parent = None if each["parent"] is None else self.nodes[each["parent"]]
            via = range(0) if parent is None else as_via(self._map(each["row_map"]))
            ways.append((each["n_rows"], parent, via))
        parents = [parent for _, parent, _ in ways if parent is not None]
        own = frozenset() if row["name"] is None else frozenset([row["name"]])
        return Node(
            self.notes,
            row["n_rows"],
            edges=() if row["is_stack"] else tuple((p, via) for _, p, via in ways if p is not None),
            pieces=tuple((n, p, _rows(via)) for n, p, via in ways) if row["is_stack"] else (),
            name=row["name"],
            lost=fact["lost"],
            claims=tuple(fact["claims"]),
            is_statistic=fact["is_statistic"],
            roots=own.union(*(parent.roots for parent in parents)),
            number=row["id"],
        )

    def _source(self, node: sqlite3.Row) -> str | None:
        """Take note of the file version that an input was, and return its digest."""
        if node["source_id"] is None:
            return None
        query = "SELECT * FROM source WHERE id = ?"
        row = self.connection.execute(query, [node["source_id"]]).fetchone()
        if row is None:
            raise self._damaged("node", node["digest"])
        facts = self._json(row, "facts")
        self._check("source", row["digest"], digest_of_source(facts))
        columns = tuple(facts["columns"])
        self.versions[node["name"]] = SourceVersion(**facts | {"columns": columns}, index=None)
        return row["digest"]

    def _placed(self, place: Fact | None, token: str) -> Placed | None:
        if place is None:
            return None
        rows = _rows(as_via(self._map(place["row_map"])))
        steps = tuple(self._step(digest, token) for digest in place["steps"])
        return Mark(self._node(place["node"], token), rows, steps), rows

    def _step(self, digest: str, token: str) -> Step:
        """Return an operation; those before it are made first."""
        waiting = [digest]
        while waiting:
            row = self._row("op", waiting[-1])
            fact = {name: row[name] for name in ("number", "name", "detail", "n_rows_out")}
            fact |= {name: self._json(row, name) for name in ("inputs", "n_rows_in", "before")}
            self._check("op", row["digest"], digest_of_step(fact, token))
            missing = [each for each in fact["before"] if each not in self.steps]
            waiting += missing
            if not missing:
                befores = tuple(self.steps[each] for each in fact["before"])
                self.steps[waiting.pop()] = Step(_op(fact), befores, fact["number"])
        return self.steps[digest]

    def _row(self, table: str, digest: str) -> sqlite3.Row:
        row = self.connection.execute(f"SELECT * FROM {table} WHERE digest = ?", [digest])
        found = row.fetchone()
        if found is None:
            raise self._damaged(table, digest)
        return found

    def _json(self, row: sqlite3.Row, name: str) -> Any:
        try:
            return json.loads(row[name])
        except ValueError as error:
            raise self._damaged("record", row["digest"]) from error

    def _check(self, table: str, digest: str, found: str) -> None:
        """Hold a record against the digest that it goes by."""
        if found != digest:
            raise self._damaged(table, digest)

    def _damaged(self, table: str, digest: str) -> LineageFileError:
        what = f"the {table.replace('_', ' ')} {digest[:12]} is damaged"
        return LineageFileError(self.path, what, "save the value to another file")


def as_via(row_map: RowMap) -> Via:
    """Return a row map as row numbers if every output row has at most one parent."""
    relation = row_map.relation
    match relation:
        case Identity():
            return range(relation.n_in)
        case Range():
            end = relation.start + relation.step * relation.n_out
            return range(relation.start, end, relation.step)
        case Function():
            return relation.parents()
        case _:
            return row_map


def _rows(via: Via) -> Rows:
    if isinstance(via, RowMap):
        raise TypeError(f"{via} is no vector of rows")
    return via


def _op(fact: Fact) -> Op:
    return Op(
        fact["name"],
        fact["detail"],
        tuple(fact["inputs"]),
        tuple(fact["n_rows_in"]),
        fact["n_rows_out"],
    )
