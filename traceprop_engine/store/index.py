"""The index: the rows of all commits as DuckDB tables, made from the log and nothing else."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from traceprop_engine.errors import StoreCorruptError, StoreLogError, StoreSchemaError
from traceprop_engine.store.judging import BUNDLE_TABLE, Candidate, Judge, SetAside
from traceprop_engine.store.log import CommitLog
from traceprop_engine.store.rows import content_digest, primary_key, stored_row
from traceprop_engine.store.schema import COMMIT_NO, MAPS_PER_COMMIT, Record, Row, Schema, Table
from traceprop_engine.store.views import BlockLinks, Link, links_of

_COMMITS_PER_BATCH = 200

_ARROW_TYPES = {
    "TEXT": pa.string(),
    "JSON": pa.string(),
    "BLOCK": pa.string(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "TIMESTAMPTZ": pa.timestamp("us", tz="UTC"),
}


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
        """Make tables, links and views where they are missing, old, or of a store that was moved.

        Args:
            where: Directory of the store.

        Raises:
            StoreSchemaError: The tables are of a newer release.
            OSError: The links cannot be written.
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
            self._links.prepare(self._connection, self._schema.tables.keys())
            self._links.add(self.links())
            self._connection.execute(
                "create or replace table store_meta as select ? as schema_version, ? as root",
                [self._schema.version, str(where)],
            )

    def ingest(self) -> IngestReport:
        """Take over every pending commit in one transaction.

        A commit that says something else under a primary key, or under its own key, than an
        earlier one is set aside as a whole, with the reason in table ``bundle``.

        Raises:
            StoreCorruptError: A pending commit is damaged; nothing was taken over.
            StoreLogError: The index knows a commit that the log does not have.
            StoreSchemaError: A commit is of a newer release.
            OSError: The links cannot be written.
        """
        pending = self._pending()
        set_aside: list[SetAside] = []
        if pending:
            with _transaction(self._connection):
                for start in range(0, len(pending), _COMMITS_PER_BATCH):
                    set_aside += self._ingest_batch(pending[start : start + _COMMITS_PER_BATCH])
        return IngestReport(tuple(pending), tuple(set_aside))

    def links(self) -> list[Link]:
        """Return the links that the recorded row maps and gradients need."""
        return [
            link
            for table in ("row_map", "gradient_block")
            if table in self._schema.tables
            for link in links_of(
                table,
                self._connection.sql(f"select * from {quoted(table)} where block is not null")
                .to_arrow_table()
                .to_pylist(),
            )
        ]

    def _stated(self) -> tuple[int | None, str | None]:
        try:
            ((version, root),) = self._connection.execute(
                "select schema_version, root from store_meta"
            ).fetchall()
        except duckdb.CatalogException:  # a new database; asking for its tables costs 10 ms
            return None, None
        return int(version), str(root)

    def _drop_tables(self) -> None:
        self._connection.execute("drop view if exists row_map_row; drop view if exists gradient")
        names = self._connection.execute(
            "select table_name from duckdb_tables()"
            " where database_name = current_database() and not internal and not temporary"
        ).fetchall()
        for (name,) in names:
            self._connection.execute(f"drop table {quoted(name)}")

    def _create_tables(self) -> None:
        for table in (*self._schema.tables.values(), BUNDLE_TABLE):
            self._connection.execute(_create_statement(table))

    def _pending(self) -> list[int]:
        numbers = self._log.numbers()
        last = self._connection.execute(
            "select commit_no, sha256 from bundle order by commit_no desc limit 1"
        ).fetchall()
        if last:
            self._refuse_other_log(*last[0], numbers=numbers)
        known = self._connection.execute("select commit_no from bundle").fetchnumpy()["commit_no"]
        return sorted(set(numbers).difference(known.tolist()))

    def _refuse_other_log(self, number: int, sha256: str, *, numbers: Sequence[int]) -> None:
        """Compare the last commit that the index knows with the log.

        A log that was cut, or cut and written on, has no commit of that number, or another one.
        Its new numbers would otherwise be taken for commits that the index has.
        """
        if number not in numbers or self._log.digest(number) != sha256:
            raise StoreLogError(self._log.path(number))

    def _ingest_batch(self, numbers: Sequence[int]) -> list[SetAside]:
        candidates = [self._candidate(number) for number in numbers]
        judge = Judge(
            self._schema,
            {
                key: row
                for table in self._schema.tables.values()
                for key, row in self._recorded(table, candidates)
            },
            self._contents(candidates),
        )
        for candidate in candidates:
            judge.judge(candidate)
        for name, rows in judge.accepted.items():
            self._links.add(links_of(name, rows))
            self._insert(self._schema.tables[name], rows)
        self._insert(BUNDLE_TABLE, judge.notes)
        return judge.set_aside

    def _candidate(self, number: int) -> Candidate:
        path = self._log.path(number)
        bundle = self._log.read(number)
        if bundle.schema_version > self._schema.version:
            raise StoreSchemaError(path, bundle.schema_version, self._schema.version)
        records = self._schema.upgrade(bundle.records, bundle.schema_version)
        if unknown := {name for name, _ in records}.difference(self._schema.tables):
            raise StoreCorruptError(path, f"no table is named {min(unknown)}")
        content = content_digest(records, self._schema) if bundle.key is not None else None
        return Candidate(number, bundle, tuple(self._stored(number, records)), content)

    def _stored(self, number: int, records: Sequence[Record]) -> Iterator[Record]:
        map_id = number * MAPS_PER_COMMIT
        for name, row in records:
            derived: Row = {COMMIT_NO: number}
            if name == "row_map":
                derived["map_id"] = map_id
                map_id += 1
            yield name, stored_row(self._schema.tables[name], row) | derived

    def _recorded(
        self, table: Table, candidates: Sequence[Candidate]
    ) -> Iterator[tuple[tuple[object, ...], Row]]:
        """Yield the rows of ``table`` that share a primary key with a candidate."""
        keys = {primary_key(table, row) for c in candidates for row in c.rows_of(table)}
        if not keys:
            return
        types = {column.name: _ARROW_TYPES[column.type] for column in table.columns}
        wanted = pa.Table.from_pylist(
            [dict(zip(table.primary_key, key, strict=True)) for key in keys],
            pa.schema([(name, types[name]) for name in table.primary_key]),
        )
        compared = ", ".join(quoted(c.name) for c in table.columns if c.compared)
        using = ", ".join(quoted(name) for name in table.primary_key)
        self._connection.register("wanted", wanted)
        found = self._connection.sql(
            f"select {compared} from {quoted(table.name)} semi join wanted using ({using})"
        ).to_arrow_table()
        self._connection.unregister("wanted")
        for row in found.to_pylist():
            yield (table.name, *primary_key(table, row)), row

    def _contents(self, candidates: Sequence[Candidate]) -> dict[str, tuple[int, str]]:
        keys = [c.bundle.key for c in candidates if c.bundle.key is not None]
        if not keys:
            return {}
        found = self._connection.execute(
            "select key, commit_no, content from bundle"
            " where status = 'accepted' and list_contains(?, key)",
            [keys],
        ).fetchall()
        return {key: (number, content) for key, number, content in found}

    def _insert(self, table: Table, rows: Sequence[Row]) -> None:
        if not rows:
            return
        schema = pa.schema([(c.name, _ARROW_TYPES[c.type]) for c in table.stored_columns])
        self._connection.register("accepted", pa.Table.from_pylist(list(rows), schema))
        self._connection.execute(f"insert into {quoted(table.name)} by name from accepted")
        self._connection.unregister("accepted")


def quoted(name: str) -> str:
    """Return ``name`` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _create_statement(table: Table) -> str:
    # No constraint for the primary key: `Judge` sees to it, and DuckDB would write the whole index
    # of the key again with every commit (89 ms against 55 ms for a commit after 5,000 others).
    columns = [
        f"{quoted(column.name)} {column.sql_type}"
        + " not null" * (column.name in {*table.primary_key, COMMIT_NO})
        for column in table.stored_columns
    ]
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
