"""Adding the records of one value to a store, in one transaction."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from traceprop_engine.digests import canonical_json
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.provenance_views.packing import Packed, pack
from traceprop_engine.stores.records import Fact, Records

Columns = Mapping[str, Packed]


def packed_maps(maps: Mapping[str, RowMap]) -> dict[str, Columns]:
    """Return the columns of row maps, compressed; done before the file is locked."""
    return {
        digest: {name: pack(column) for name, column in row_map.to_parts()[2].items()}
        for digest, row_map in maps.items()
    }


def known_maps(connection: sqlite3.Connection, digests: Iterable[str]) -> set[str]:
    """Return the digests of those row maps that the file has."""
    found = "SELECT 1 FROM row_map WHERE digest = ?"
    return {each for each in digests if connection.execute(found, [each]).fetchone()}


class Adding:
    """Adds records; what is there already is left alone."""

    def __init__(self, connection: sqlite3.Connection, packed: Mapping[str, Columns]) -> None:
        self._connection = connection
        self._packed = packed

    def add(self, records: Records, name: str) -> int:
        """Add the records and the save; return its number, that of the last one if it is equal."""
        for digest, row_map in records.maps.items():
            self._add_map(digest, row_map)
        for digest, fact in records.sources.items():
            row = {key: fact[key] for key in ("name", "uri", "sha256")}
            self._insert("source", digest, row | {"facts": canonical_json(fact)})
        for digest, fact in records.nodes.items():
            self._add_node(digest, fact, records.edges[digest])
        for digest, fact in records.steps.items():
            self._insert("op", digest, _as_texts(fact))
        facts = {"facts": canonical_json(records.value)}
        value_id, _ = self._insert("value", records.digest, facts)
        return self._save(name, value_id, records.value["n_rows"])

    def _add_map(self, digest: str, row_map: RowMap) -> None:
        kind, params, _ = row_map.to_parts()
        row: Fact = {"kind": kind, "n_out": row_map.n_out, "n_in": row_map.n_in}
        map_id, is_new = self._insert("row_map", digest, row | {"params": canonical_json(params)})
        if not is_new:
            return
        columns = self._packed.get(digest) or packed_maps({digest: row_map})[digest]
        self._connection.executemany(
            "INSERT INTO row_map_column VALUES (?, ?, ?, ?, ?, ?)",
            [(map_id, name, c.encoding, c.n, c.width, c.data) for name, c in columns.items()],
        )

    def _add_node(self, digest: str, fact: Fact, edges: Iterable[Fact]) -> None:
        source = fact["source"]
        row = {key: value for key, value in fact.items() if key != "source"}
        row["source_id"] = None if source is None else self._id("source", source)
        node_id, is_new = self._insert("node", digest, _as_texts(row))
        for ordinal, edge in enumerate(edges if is_new else ()):
            known = edge["parent"] is not None
            parent = self._id("node", edge["parent"]) if known else None
            row_map = self._id("row_map", edge["row_map"]) if known else None
            self._connection.execute(
                "INSERT INTO edge (child_id, ordinal, parent_id, row_map_id, first_row, n_rows)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                [node_id, ordinal, parent, row_map, edge["first_row"], edge["n_rows"]],
            )

    def _insert(self, table: str, digest: str, row: Fact) -> tuple[int, bool]:
        """Return the id of a record and whether it is new."""
        names = ["digest", *row]
        marks = ", ".join("?" * len(names))
        found = self._connection.execute(
            f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})"
            " ON CONFLICT (digest) DO NOTHING",
            [digest, *row.values()],
        )
        return self._id(table, digest), found.rowcount == 1

    def _id(self, table: str, digest: str) -> int:
        query = f"SELECT id FROM {table} WHERE digest = ?"
        return self._connection.execute(query, [digest]).fetchone()["id"]

    def _save(self, name: str, value_id: int, n_rows: int) -> int:
        query = "SELECT id, value_id FROM saved WHERE name = ? ORDER BY id DESC LIMIT 1"
        last = self._connection.execute(query, [name]).fetchone()
        if last is not None and last["value_id"] == value_id:
            return last["id"]
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        insert = "INSERT INTO saved (name, value_id, n_rows, saved_at) VALUES (?, ?, ?, ?)"
        return int(self._connection.execute(insert, [name, value_id, n_rows, now]).lastrowid or 0)


def _as_texts(fact: Fact) -> Fact:
    return {
        key: json.dumps(value) if isinstance(value, (list, dict)) else value
        for key, value in fact.items()
    }
