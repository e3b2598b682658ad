"""The index: the rows of all bundles as DuckDB tables, made from the log and nothing else."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa

from traceprop_engine.errors import StoreCorruptError, StoreIndexError, StoreSchemaError
from traceprop_engine.store.bundle import Bundle
from traceprop_engine.store.log import CommitLog
from traceprop_engine.store.rows import contradicted_columns, primary_key, stored_row
from traceprop_engine.store.schema import COMMIT_NO, MAPS_PER_COMMIT, Column, Row, Schema, Table
from traceprop_engine.store.views import BlockLinks

_BUNDLES_PER_BATCH = 200

_ARROW_TYPES = {
    "TEXT": pa.string(),
    "JSON": pa.string(),
    "BLOCK": pa.string(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "TIMESTAMPTZ": pa.timestamp("us", tz="UTC"),
}

BUNDLE_TABLE = Table(
    "bundle",
    tuple(
        Column(name, "BIGINT" if name in {"schema_version", "n_rows"} else "TEXT")
        for name in ("sha256", "key", "content", "schema_version", "n_rows", "status", "reason")
    ),
    (),
)
"""What became of each bundle: ``status`` is ``ingested``, ``repeated`` or ``set aside``."""


@dataclass(frozen=True)
class SetAside:
    """A commit whose rows are not in the tables because they contradict an earlier commit."""

    commit_no: int
    reason: str


@dataclass(frozen=True)
class IngestReport:
    """What one ingest did.

    Attributes:
        commit_numbers: The commits that were pending and are now in the index.
        set_aside: Those among them whose rows were not taken over.
    """

    commit_numbers: tuple[int, ...] = ()
    set_aside: tuple[SetAside, ...] = ()


class Index:
    """The tables in one open DuckDB database."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        schema: Schema,
        log: CommitLog,
        links: BlockLinks,
    ) -> None:
        """Use the database of ``connection``, which may be empty."""
        self._connection = connection
        self._schema = schema
        self._log = log
        self._links = links

    def prepare(self, where: Path) -> None:
        """Make the tables and views where they are missing, old, or of a store that was moved.

        Raises:
            StoreSchemaError: The tables are of a newer release.
        """
        version, root = self._stated()
        if version is not None and version > self._schema.version:
            raise StoreSchemaError(where, version, self._schema.version)
        if version == self._schema.version and root == str(where):
            return
        with _transaction(self._connection):
            if version != self._schema.version:
                self._drop_tables()
                self._create_tables()
            self._links.create()
            self._links.create_views(self._connection)
            self._connection.execute(
                "create or replace table store_meta as select ? as schema_version, ? as root",
                [self._schema.version, str(where)],
            )

    def ingest(self) -> IngestReport:
        """Take over every pending commit in one transaction.

        A commit that says something else under a primary key, or under its own key, than an
        earlier one is set aside as a whole, with the reason in table ``bundle``.

        Raises:
            StoreCorruptError: A pending bundle is damaged; nothing was taken over.
            StoreIndexError: The index knows commits that the log does not have.
            StoreSchemaError: A bundle is of a newer release.
        """
        pending = self._pending()
        if not pending:
            return IngestReport()
        set_aside: list[SetAside] = []
        with _transaction(self._connection):
            for start in range(0, len(pending), _BUNDLES_PER_BATCH):
                set_aside += self._ingest_batch(pending[start : start + _BUNDLES_PER_BATCH])
        return IngestReport(tuple(pending), tuple(set_aside))

    def _stated(self) -> tuple[int | None, str | None]:
        exists = self._connection.execute(
            "select count(*) from duckdb_tables() where table_name = 'store_meta'"
        ).fetchall()
        if exists == [(0,)]:
            return None, None
        ((version, root),) = self._connection.execute(
            "select schema_version, root from store_meta"
        ).fetchall()
        return int(version), str(root)

    def _drop_tables(self) -> None:
        self._connection.execute("drop view if exists row_map_row; drop view if exists gradient")
        names = self._connection.execute(
            "select table_name from duckdb_tables() where not internal"
        ).fetchall()
        for (name,) in names:
            self._connection.execute(f"drop table {quoted(name)}")

    def _create_tables(self) -> None:
        for table in (*self._schema.tables.values(), BUNDLE_TABLE):
            self._connection.execute(_create_statement(table))

    def _pending(self) -> list[int]:
        known = self._connection.execute(
            "select commit_no, sha256 from bundle order by commit_no"
        ).fetchall()
        numbers = self._log.numbers()
        if known:
            number, sha256 = known[-1]
            self._refuse_foreign_log(number, sha256, numbers)
        return sorted(set(numbers).difference(number for number, _ in known))

    def _refuse_foreign_log(self, number: int, sha256: str, numbers: Sequence[int]) -> None:
        """Compare the last commit known with the log.

        A log that was cut, or cut and written on, has no commit of that number, or another one;
        the numbers written anew would otherwise be taken for known.
        """
        if number not in numbers or self._log.digest(number) != sha256:
            raise StoreIndexError(
                self._log.path(number), f"it knows commit {number}, which the log lacks"
            )

    def _ingest_batch(self, numbers: Sequence[int]) -> list[SetAside]:
        judged = _Judge(self._schema)
        candidates = [self._candidate(number) for number in numbers]
        for table in self._schema.tables.values():
            keys = {
                primary_key(table, row)
                for c in candidates
                for name, row in c.rows
                if name == table.name
            }
            judged.recorded.update(self._recorded(table, keys))
        judged.contents.update(self._contents([c.bundle.key for c in candidates if c.bundle.key]))
        for candidate in candidates:
            judged.judge(candidate)
        self._links.add(judged.accepted)
        for table in self._schema.tables.values():
            self._insert(table, [row for name, row in judged.accepted if name == table.name])
        self._insert(BUNDLE_TABLE, judged.bundles)
        return judged.set_aside

    def _candidate(self, number: int) -> "_Candidate":
        bundle = self._log.read(number)
        if bundle.schema_version > self._schema.version:
            raise StoreSchemaError(
                self._log.path(number), bundle.schema_version, self._schema.version
            )
        records = self._schema.upgrade(bundle.records, bundle.schema_version)
        if unknown := {name for name, _ in records}.difference(self._schema.tables):
            raise StoreCorruptError(self._log.path(number), f"no table is named {min(unknown)}")
        rows = []
        map_id = number * MAPS_PER_COMMIT
        for name, row in records:
            stored = stored_row(self._schema.tables[name], row) | {COMMIT_NO: number}
            if name == "row_map":
                stored["map_id"] = map_id
                map_id += 1
            rows.append((name, stored))
        return _Candidate(number, bundle, rows)

    def _recorded(
        self, table: Table, keys: set[tuple[object, ...]]
    ) -> Iterator[tuple[tuple[object, ...], Row]]:
        if not keys:
            return
        columns = [column for column in table.columns if column.name in table.primary_key]
        wanted = pa.Table.from_pylist(
            [dict(zip(table.primary_key, key, strict=True)) for key in keys],
            pa.schema([(column.name, _ARROW_TYPES[column.type]) for column in columns]),
        )
        self._connection.register("wanted", wanted)
        compared = ", ".join(quoted(c.name) for c in table.columns if c.compared)
        using = ", ".join(quoted(name) for name in table.primary_key)
        found = self._connection.sql(
            f"select {compared} from {quoted(table.name)} semi join wanted using ({using})"
        ).to_arrow_table()
        self._connection.unregister("wanted")
        for row in found.to_pylist():
            yield (table.name, *primary_key(table, row)), row

    def _contents(self, keys: Sequence[str]) -> dict[str, tuple[int, str]]:
        if not keys:
            return {}
        found = self._connection.execute(
            "select key, commit_no, content from bundle"
            " where status = 'ingested' and list_contains(?, key)",
            [list(keys)],
        ).fetchall()
        return {key: (number, content) for key, number, content in found}

    def _insert(self, table: Table, rows: Sequence[Row]) -> None:
        if not rows:
            return
        schema = pa.schema([(c.name, _ARROW_TYPES[c.type]) for c in table.stored_columns])
        self._connection.register("accepted", pa.Table.from_pylist(list(rows), schema))
        self._connection.execute(f"insert into {quoted(table.name)} by name from accepted")
        self._connection.unregister("accepted")


@dataclass(frozen=True)
class _Candidate:
    """A pending bundle with its rows as they would be stored."""

    number: int
    bundle: Bundle
    rows: list[tuple[str, Row]]


@dataclass
class _Judge:
    """Decides, in the order of commits, what becomes of each candidate of a batch."""

    schema: Schema
    recorded: dict[tuple[object, ...], Row] = field(default_factory=dict)
    contents: dict[str, tuple[int, str]] = field(default_factory=dict)
    accepted: list[tuple[str, Row]] = field(default_factory=list)
    bundles: list[Row] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)

    def judge(self, candidate: _Candidate) -> None:
        """Accept the rows of ``candidate`` that are new, or set all of them aside."""
        content = candidate.bundle.content(self.schema) if candidate.bundle.key else None
        earlier = self.contents.get(candidate.bundle.key or "")
        if earlier is not None and earlier[1] == content:
            self._note(candidate, content, "repeated", None)
            return
        reason = (
            self._contradiction(candidate)
            if earlier is None
            else (
                f"key {candidate.bundle.key!r} stands for commit {earlier[0]}, which says otherwise"
            )
        )
        if reason is not None:
            self.set_aside.append(SetAside(candidate.number, reason))
            self._note(candidate, content, "set aside", reason)
            return
        self._accept(candidate)
        if candidate.bundle.key is not None and content is not None:
            self.contents[candidate.bundle.key] = (candidate.number, content)
        self._note(candidate, content, "ingested", None)

    def _contradiction(self, candidate: _Candidate) -> str | None:
        for name, row in candidate.rows:
            table = self.schema.tables[name]
            key = primary_key(table, row)
            recorded = self.recorded.get((name, *key))
            if recorded is not None and (columns := contradicted_columns(table, recorded, row)):
                return f"row {key} of {name} is recorded with other {', '.join(columns)}"
        return None

    def _accept(self, candidate: _Candidate) -> None:
        for name, row in candidate.rows:
            key = (name, *primary_key(self.schema.tables[name], row))
            if key not in self.recorded:
                self.recorded[key] = row
                self.accepted.append((name, row))

    def _note(
        self, candidate: _Candidate, content: str | None, status: str, reason: str | None
    ) -> None:
        self.bundles.append(
            {
                COMMIT_NO: candidate.number,
                "sha256": candidate.bundle.sha256,
                "key": candidate.bundle.key,
                "content": content,
                "schema_version": candidate.bundle.schema_version,
                "n_rows": len(candidate.rows),
                "status": status,
                "reason": reason,
            }
        )


def quoted(name: str) -> str:
    """Return a declared name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _create_statement(table: Table) -> str:
    columns = [f"{quoted(column.name)} {column.sql_type}" for column in table.stored_columns]
    key = table.primary_key or (COMMIT_NO,)
    columns.append(f"primary key ({', '.join(quoted(name) for name in key)})")
    return f"create table {quoted(table.name)} ({', '.join(columns)})"


@contextmanager
def _transaction(connection: duckdb.DuckDBPyConnection) -> Generator[None]:
    connection.begin()
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()
