"""The SQLite file of a store: its tables, and how it is opened.

A connection lives for one operation, so that a store may be used from any thread and survives a
fork. Rows are only ever added, under the digest of what they say; ids grow, so that a set of rows
has a larger one than those it comes from.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from traceprop_engine.errors import LineageFileError

SCHEMA_VERSION = 1
_APPLICATION_ID = 0x7470_6C6E

_TABLES = """
CREATE TABLE row_map (id INTEGER PRIMARY KEY AUTOINCREMENT, digest TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL, n_out INTEGER NOT NULL, n_in INTEGER NOT NULL, params TEXT NOT NULL);
CREATE TABLE row_map_column (row_map_id INTEGER NOT NULL REFERENCES row_map ON DELETE CASCADE,
    name TEXT NOT NULL, encoding TEXT NOT NULL, n INTEGER NOT NULL, width INTEGER NOT NULL,
    data BLOB NOT NULL, PRIMARY KEY (row_map_id, name));
CREATE TABLE source (id INTEGER PRIMARY KEY AUTOINCREMENT, digest TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL, uri TEXT NOT NULL, sha256 TEXT NOT NULL, facts TEXT NOT NULL);
CREATE TABLE node (id INTEGER PRIMARY KEY AUTOINCREMENT, digest TEXT NOT NULL UNIQUE,
    n_rows INTEGER NOT NULL, name TEXT, source_id INTEGER REFERENCES source,
    is_statistic INTEGER NOT NULL, is_stack INTEGER NOT NULL, lost TEXT NOT NULL,
    claims TEXT NOT NULL);
CREATE TABLE edge (id INTEGER PRIMARY KEY AUTOINCREMENT,
    child_id INTEGER NOT NULL REFERENCES node, ordinal INTEGER NOT NULL,
    parent_id INTEGER REFERENCES node, row_map_id INTEGER REFERENCES row_map,
    first_row INTEGER NOT NULL, n_rows INTEGER NOT NULL, UNIQUE (child_id, ordinal));
CREATE TABLE op (id INTEGER PRIMARY KEY AUTOINCREMENT, digest TEXT NOT NULL UNIQUE,
    number INTEGER NOT NULL, name TEXT NOT NULL, detail TEXT NOT NULL, inputs TEXT NOT NULL,
    n_rows_in TEXT NOT NULL, n_rows_out INTEGER NOT NULL, before TEXT NOT NULL);
CREATE TABLE value (id INTEGER PRIMARY KEY AUTOINCREMENT, digest TEXT NOT NULL UNIQUE,
    facts TEXT NOT NULL);
CREATE TABLE saved (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL,
    value_id INTEGER NOT NULL REFERENCES value, n_rows INTEGER NOT NULL, saved_at TEXT NOT NULL);
CREATE INDEX saved_by_name ON saved (name, id);
CREATE INDEX edge_by_parent ON edge (parent_id);
"""

TABLES = ("saved", "value", "op", "edge", "node", "source", "row_map_column", "row_map")
"""Every table, one that names another before it."""


class Database:
    """A SQLite file that holds lineage."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        """Create the file, or check that it is a store.

        Raises:
            LineageFileError: It is something else, of a newer release, or cannot be opened.
        """
        self.path = path
        self._timeout_s = timeout_s
        with self.writing() as connection:
            self._prepare(connection)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction that nobody else writes in; all of it is written, or nothing."""
        with self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction that sees the file as it is now, whoever writes meanwhile."""
        with self._connected() as connection:
            connection.execute("BEGIN")
            yield connection

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(
                sqlite3.connect(self.path, timeout=self._timeout_s, isolation_level=None)
            ) as connection:
                connection.row_factory = sqlite3.Row
                connection.execute("PRAGMA foreign_keys = ON")
                connection.execute("PRAGMA synchronous = FULL")
                yield connection
        except sqlite3.Error as error:
            raise self._refused(error) from error

    def _refused(self, error: sqlite3.Error) -> LineageFileError:
        if "locked" in str(error) or "busy" in str(error):
            problem = f"another process wrote to it for more than {self._timeout_s:g} s"
            return LineageFileError(self.path, problem, "try again, or raise timeout_s")
        problem = f"SQLite refuses it ({error})"
        return LineageFileError(self.path, problem, "check the path, or name another file")

    def _prepare(self, connection: sqlite3.Connection) -> None:
        (owner,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (n_tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if not n_tables:
            for statement in _TABLES.split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        elif owner != _APPLICATION_ID:
            problem = "it is a database of another program, or of the older package traceprop"
            raise LineageFileError(self.path, problem, "name another file")
        elif version > SCHEMA_VERSION:
            problem = f"a newer release wrote it (schema {version}, known is {SCHEMA_VERSION})"
            raise LineageFileError(self.path, problem, "upgrade traceprop-dagster")
