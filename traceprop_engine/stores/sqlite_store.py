"""Lineage in one SQLite file, for several processes at once."""

import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from traceprop_engine.errors import LineageFileError, LineageNotSavedError
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.provenance_views import ProvenanceView, provenance
from traceprop_engine.stores.database import TABLES, Database
from traceprop_engine.stores.reading import Reader
from traceprop_engine.stores.records import records_of
from traceprop_engine.stores.values import SavedLineage, StoredEdge, StoredNode
from traceprop_engine.stores.writing import Adding, known_maps, packed_maps

_MEMORY = ":memory:"

_NODES = (
    "SELECT node.id, n_rows, node.name AS source, sha256, is_statistic FROM node"
    " LEFT JOIN source ON source.id = source_id"
)
_EDGES = (
    "SELECT edge.id, parent_id AS parent, child_id AS child, first_row, edge.n_rows, kind,"
    " (SELECT coalesce(sum(length(data)), 0) FROM row_map_column"
    " WHERE row_map_column.row_map_id = row_map.id) AS n_bytes"
    " FROM edge JOIN row_map ON row_map.id = edge.row_map_id"
)


class SQLiteStore:
    """Keeps what is known of values: their sources, sets of rows, row maps and operations.

    A value is saved under a name in one transaction, whole or not at all. Nothing is ever replaced:
    records go by the digest of what they say, so that a second save of the same adds nothing, and
    what another process writes stays its own. Row maps are compressed.

    Args:
        path: The file; it is created where there is none.
        timeout_s: How long to wait for another process that writes, in seconds.

    Raises:
        LineageFileError: The file is no store of lineage, or cannot be opened.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from traceprop_engine.lineage import CapturedLineage, RowMap
        >>> lineage = CapturedLineage(2, {"visits": RowMap.select([0, 3], n_in=5)})
        >>> with TemporaryDirectory() as folder:
        ...     store = SQLiteStore(f"{folder}/lineage.db")
        ...     _ = store.save(lineage, "doses")
        ...     store.load("doses").rows(1)
        {'visits': array([3])}
    """

    def __init__(self, path: Path | str, *, timeout_s: float = 30.0) -> None:
        if str(path) == _MEMORY:
            problem = "a store in memory would keep nothing that the graph does not keep"
            raise LineageFileError(Path(path), problem, "name a file")
        self._database = Database(Path(path).absolute(), timeout_s)
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """The file."""
        return self._database.path

    def save(self, value: Any, name: str) -> int:
        """Save what is known of a value now, and return the number of the save.

        Saving the same again right after returns the number that it has.

        Args:
            value: A tracked value, a lineage, or a view.
            name: What to load it by; a later save under the name does not replace it.

        Raises:
            UntrackedValueError: The value carries no rows.
            LineageFileError: The file cannot be written.
        """
        records = records_of(provenance(value).snapshot)
        database = self._open()
        with database.reading() as connection:
            known = known_maps(connection, records.maps)
        packed = packed_maps({key: each for key, each in records.maps.items() if key not in known})
        with database.writing() as connection:
            return Adding(connection, packed).add(records, name)

    def load(self, name: str, *, number: int | None = None) -> ProvenanceView:
        """Return the view of a value that was saved, by this process or another.

        Args:
            name: The name it was saved under.
            number: Of one save of several; the last one by default.

        Raises:
            LineageNotSavedError: There is no such save.
            LineageFileError: The file is damaged.
        """
        with self._open().reading() as connection:
            digest = self._saved_value(connection, name, number)
            return ProvenanceView(Reader.of(self.path, connection).snapshot(digest))

    def names(self) -> list[str]:
        """Return the names that values were saved under."""
        query = "SELECT DISTINCT name FROM saved ORDER BY name"
        return [row["name"] for row in self._rows(query)]

    def saves(self, name: str) -> list[SavedLineage]:
        """Return what was saved under a name, the oldest first."""
        query = "SELECT id AS number, name, saved_at, n_rows FROM saved WHERE name = ? ORDER BY id"
        return [SavedLineage(**dict(row)) for row in self._rows(query, name)]

    def all_nodes(self) -> list[StoredNode]:
        """Return every set of rows, each after those that it comes from."""
        return [_node(row) for row in self._rows(f"{_NODES} ORDER BY node.id")]

    def get_node(self, node_id: int) -> StoredNode | None:
        """Return a set of rows; ``None`` if there is none with the id."""
        found = self._rows(f"{_NODES} WHERE node.id = ?", node_id)
        return _node(found[0]) if found else None

    def all_edges(self) -> list[StoredEdge]:
        """Return every edge between two sets of rows."""
        return [StoredEdge(**dict(row)) for row in self._rows(f"{_EDGES} ORDER BY edge.id")]

    def get_edge(self, edge_id: int) -> StoredEdge | None:
        """Return an edge; ``None`` if there is none with the id."""
        found = self._rows(f"{_EDGES} WHERE edge.id = ?", edge_id)
        return StoredEdge(**dict(found[0])) if found else None

    def row_map(self, edge_id: int) -> RowMap:
        """Return how the child's rows of an edge follow from the rows of its parent.

        Raises:
            LineageNotSavedError: There is no such edge.
        """
        query = "SELECT digest FROM edge JOIN row_map ON row_map.id = row_map_id WHERE edge.id = ?"
        with self._open().reading() as connection:
            row = connection.execute(query, [edge_id]).fetchone()
            if row is None:
                raise LineageNotSavedError(self.path, f"edge {edge_id}", [])
            return Reader.of(self.path, connection).row_map(row["digest"])

    def clear(self) -> None:
        """Remove everything that was saved, by whatever process; ids are not given again."""
        with self._open().writing() as connection:
            for table in TABLES:
                connection.execute(f"DELETE FROM {table}")

    def close(self) -> None:
        """Refuse further use. The file needs no closing: no connection outlives an operation."""
        self._is_closed = True

    def _open(self) -> Database:
        if self._is_closed:
            raise LineageFileError(self.path, "the store was closed", "make a new SQLiteStore")
        return self._database

    def _rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._open().reading() as connection:
            return connection.execute(query, values).fetchall()

    def _saved_value(self, connection: sqlite3.Connection, name: str, number: int | None) -> str:
        row = connection.execute(
            "SELECT digest FROM saved JOIN value ON value.id = value_id"
            " WHERE name = ?1 AND (?2 IS NULL OR saved.id = ?2) ORDER BY saved.id DESC LIMIT 1",
            [name, number],
        ).fetchone()
        if row is None:
            names = connection.execute("SELECT DISTINCT name FROM saved ORDER BY name").fetchall()
            wanted = f"lineage {name!r}" + ("" if number is None else f" with number {number}")
            raise LineageNotSavedError(self.path, wanted, [each["name"] for each in names])
        return row["digest"]


def _node(row: sqlite3.Row) -> StoredNode:
    facts = dict(row)
    return StoredNode(**facts | {"is_statistic": bool(facts["is_statistic"])})
