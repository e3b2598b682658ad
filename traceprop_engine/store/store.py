"""`Store`: what a project has recorded, in one directory that any number of processes may use."""

import logging
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traceprop_engine.durable_files import sync_directory
from traceprop_engine.errors import (
    StoreBusyError,
    StoreConflictError,
    StoreCorruptError,
    StoreExistsError,
    StoreIndexError,
    StoreNotFoundError,
    StoreQueryError,
    StoreSchemaError,
    StoreWriteError,
    TracepropError,
)
from traceprop_engine.store.access import IndexFile, first_line, refusal
from traceprop_engine.store.blocks import BlockStore, Encoding
from traceprop_engine.store.bundle import encode_bundle
from traceprop_engine.store.collection import CollectionReport, collect
from traceprop_engine.store.index import Index, IngestReport
from traceprop_engine.store.info import StoreInfo, count_statement
from traceprop_engine.store.log import CommitLog
from traceprop_engine.store.rows import check_records
from traceprop_engine.store.schema import SCHEMA, Record, Schema
from traceprop_engine.store.shadow import ShadowIndex
from traceprop_engine.store.verification import VerificationReport, Verifier
from traceprop_engine.store.views import BlockLinks

_INDEX_NAME = "traceprop.duckdb"
_FOREIGN_WAIT_SECONDS = 1.0
_CORRUPT = "Corrupt database file"
Params = Sequence[object] | Mapping[str, object]
"""Values of a query, by position or by name."""

_logger = logging.getLogger(__name__)


class Store:
    """A directory of commits (``log``), blocks, and an index in DuckDB that follows from them.

    A writer never waits: it commits a file under the next number of the log. The index takes over
    what is pending whenever somebody has it open. Nothing stays open between two calls, so that
    one store object serves many threads and many processes serve one store.
    """

    def __init__(self, directory: Path, schema: Schema = SCHEMA) -> None:
        """Use the existing store in ``directory``; call `create` or `open` instead."""
        self.directory = directory
        self._staging = staging = directory / "staging"
        self._schema = schema
        self._log = CommitLog(directory / "log", staging)
        self._blocks = BlockStore(directory / "blocks", staging)
        self._links = BlockLinks(directory / "views", staging, self._blocks)
        self._index_file = IndexFile(directory / _INDEX_NAME, staging)
        self._shadow = ShadowIndex(directory, schema, self._log, self._blocks)

    @classmethod
    def create(cls, directory: Path | str, schema: Schema = SCHEMA) -> Self:
        """Make a store in ``directory``, or open the one that is there.

        Raises:
            StoreExistsError: ``directory`` is a file, or DuckDB cannot work there.
            StoreWriteError: The directory cannot be made.
            StoreSchemaError: The store there is of a newer release.
        """
        path = Path(directory).absolute()
        if unusable := sorted(set(str(path)) & set("?\\")):
            raise StoreExistsError(path, f"DuckDB cannot work in a path with {unusable[0]!r}")
        if path.exists() and not path.is_dir():
            raise StoreExistsError(path, "it is a file")
        try:
            for name in ("staging", "blocks", "log"):
                (path / name).mkdir(parents=True, exist_ok=True)
            sync_directory(path)
            sync_directory(path.parent)
        except OSError as error:
            raise StoreWriteError(path, error.strerror or str(error)) from error
        return cls.open(path, schema)

    @classmethod
    def open(cls, directory: Path | str, schema: Schema = SCHEMA) -> Self:
        """Open the store in ``directory``.

        Raises:
            StoreNotFoundError: There is none.
            StoreSchemaError: It was written by a newer release.
        """
        path = Path(directory).absolute()
        if not (path / "log").is_dir() or not (path / "blocks").is_dir():
            raise StoreNotFoundError(path)
        store = cls(path, schema)
        store._refuse_newer_schema()
        return store

    def put_table(self, table: pa.Table, encoding: Encoding = "delta") -> str:
        """Write ``table`` as a block, unless it is there, and return the block's SHA-256.

        Args:
            table: Any Arrow table.
            encoding: ``"delta"`` stores whole numbers as differences (row numbers), ``"bytes"``
                byte by byte (row numbers in no order), ``"plain"`` as they are.

        Raises:
            StoreWriteError: The file system refused; nothing was recorded.
        """
        return self._blocks.put_table(table, encoding)

    def get_table(self, block: str) -> pa.Table:
        """Return the table of ``block``, verified.

        Raises:
            BlockNotFoundError: There is no such block.
            StoreCorruptError: The file is not what was written.
        """
        return self._blocks.get_table(block)

    def put_array(self, array: npt.NDArray[np.floating]) -> str:
        """Write a matrix ``(n, p)``, or a vector as ``(n, 1)``; return its SHA-256.

        Raises:
            ValueError: ``array`` is not one- or two-dimensional float32 or float64.
            StoreWriteError: The file system refused; nothing was recorded.
        """
        return self._blocks.put_array(array)

    def get_array(self, block: str) -> npt.NDArray[Any]:
        """Return the ``(n, p)`` matrix of ``block``, read-only, in the precision it was put in.

        Raises:
            BlockNotFoundError: There is no such block.
            StoreCorruptError: The file is not what was written.
        """
        return self._blocks.get_array(block)

    def commit(
        self,
        tables: Mapping[str, Iterable[Mapping[str, object]]],
        *,
        key: str | None = None,
        ingest: bool = True,
    ) -> int:
        """Record rows of declared tables, all of them or none, durably.

        A row that is recorded already is harmless. So is the same commit under the same ``key``,
        readings of a clock apart.

        Args:
            tables: Rows by the name of their table. A JSON column takes a value, not text.
            key: Names what is recorded, for callers that may try again.
            ingest: Whether to bring the index up to date if nobody else has it open. It costs 20
                times what the commit costs; whoever asks next does it otherwise.

        Returns:
            The number of the commit.

        Raises:
            StoreRowError: A row does not fit its table; nothing was recorded.
            BlockNotFoundError: A row refers to a block that was not put; nothing was recorded.
            StoreWriteError: The file system refused; nothing was recorded.
            StoreConflictError: The rows contradict an earlier commit and are set aside. Only
                raised if the index was brought up to date; `verify` lists them otherwise.
        """
        records = check_records(tables, self._schema)
        self._keep_blocks(records)
        number = self._log.append(encode_bundle(records, key, self._schema.version))
        if ingest:
            self._ingest_after(number)
        return number

    def query(self, sql: str, params: Params = (), *, wait_seconds: float = 30.0) -> pa.Table:
        """Return the answer to one SQL statement, after taking over what is pending.

        If another program holds the index, the answer comes from a copy in memory. What the
        statement writes is refused.

        Args:
            sql: One statement of DuckDB, with ``?`` or ``$name`` for values.
            params: The values, by position or by name.
            wait_seconds: How long to wait for other processes of this store.

        Raises:
            StoreQueryError: DuckDB refused the statement.
            StoreIndexError: The index is damaged.
            StoreCorruptError: A pending commit is damaged.
        """
        with self._reading(wait_seconds) as connection:
            try:
                if len(connection.extract_statements(sql)) != 1:
                    raise StoreQueryError("give one statement")
                connection.execute("begin transaction read only")
                try:
                    return connection.sql(
                        sql, params=dict(params) if isinstance(params, Mapping) else list(params)
                    ).to_arrow_table()
                finally:
                    connection.rollback()
            except duckdb.Error as error:
                if _CORRUPT in str(error):
                    raise StoreIndexError(self._index_file.path, first_line(error)) from error
                raise StoreQueryError(first_line(error)) from error

    def ingest(self, *, blocking: bool = False, wait_seconds: float = 30.0) -> IngestReport | None:
        """Take over pending commits into the index.

        Returns:
            What was done; nothing if the index was busy and ``blocking`` is false.

        Raises:
            StoreBusyError: The index was busy for all of ``wait_seconds``.
            StoreIndexError: The index is damaged.
            StoreCorruptError: A pending commit is damaged.
        """
        try:
            with self._index_file.opened(wait_seconds if blocking else 0.0) as connection:
                return self._ingest(connection)
        except StoreBusyError:
            if blocking:
                raise
            return None

    def rebuild(self, *, wait_seconds: float = 30.0) -> IngestReport:
        """Make the index anew from the log.

        Raises:
            StoreBusyError: The index was busy for all of ``wait_seconds``.
            StoreCorruptError: A commit is damaged; the old index is left.
            StoreWriteError: The file system refused; the old index is left.
        """
        try:
            with self._index_file.replaced(wait_seconds) as connection:
                report = self._ingest(connection)
                self._links.keep_only(self._index(connection).links())
        except OSError as error:
            raise StoreWriteError(self.directory, error.strerror or str(error)) from error
        return report

    def verify(self, *, wait_seconds: float = 30.0) -> VerificationReport:
        """Read everything that is recorded and return what is damaged, missing, or set aside.

        Looks at the digests of commits and blocks, gaps in the log, blocks that are referred to
        and missing, and every row of the index against the log.

        Args:
            wait_seconds: How long to wait for other processes that have the index open.

        Raises:
            StoreSchemaError: A commit is of a newer release.
        """
        return Verifier(
            self.directory,
            self._schema,
            self._log,
            self._blocks,
            self._links,
            self._index_file,
        ).verify(wait_seconds)

    def gc(self, older_than_seconds: float) -> CollectionReport:
        """Remove blocks that no commit refers to, and files that crashed writers left behind.

        Args:
            older_than_seconds: Only what is older; longer than the longest time between a put and
                its commit.

        Raises:
            StoreCorruptError: A commit is damaged; nothing was removed.
            StoreWriteError: The directories are not writable.
        """
        try:
            return collect(self._log, self._blocks, self._staging, self._schema, older_than_seconds)
        except OSError as error:
            raise StoreWriteError(self.directory, error.strerror or str(error)) from error

    def info(self) -> StoreInfo:
        """Count what is recorded.

        Raises:
            StoreIndexError: The index is damaged.
            StoreCorruptError: A pending commit is damaged.
        """
        return StoreInfo.from_counts(
            self.directory,
            self._schema,
            counts=self.query(count_statement(self._schema)).to_pylist()[0],
            n_blocks=len(self._blocks.names()),
        )

    def _refuse_newer_schema(self) -> None:
        last = max(self._log.numbers(), default=0)
        if not last:
            return
        try:
            version = self._log.read(last).schema_version
        except StoreCorruptError:
            return  # `verify` must be able to open the store; whoever reads the commit is told
        if version > self._schema.version:
            raise StoreSchemaError(self.directory, version, self._schema.version)

    def _keep_blocks(self, records: Sequence[Record]) -> None:
        blocks = {
            str(row[name])
            for table, row in records
            for name in self._schema.tables[table].block_columns
            if row[name] is not None
        }
        try:
            self._blocks.keep(blocks)
        except OSError as error:
            raise StoreWriteError(self.directory, error.strerror or str(error)) from error

    def _ingest_after(self, number: int) -> None:
        try:
            report = self.ingest()
        except TracepropError as error:
            _logger.warning("Commit %d is recorded; the index is behind it: %s", number, error)
            return
        for set_aside in report.set_aside if report else ():
            if set_aside.commit_no == number:
                raise StoreConflictError(number, set_aside.reason)

    def _index(self, connection: duckdb.DuckDBPyConnection) -> Index:
        return Index(connection, self._schema, self._log, self._links)

    def _ingest(self, connection: duckdb.DuckDBPyConnection) -> IngestReport:
        index = self._index(connection)
        try:
            index.prepare(self.directory)
            report = index.ingest()
        except duckdb.Error as error:
            raise refusal(self._index_file.path, error) from error
        except OSError as error:
            raise StoreWriteError(self.directory, error.strerror or str(error)) from error
        for set_aside in report.set_aside:
            _logger.warning("Commit %d is set aside: %s", set_aside.commit_no, set_aside.reason)
        return report

    @contextmanager
    def _reading(self, wait_seconds: float) -> Generator[duckdb.DuckDBPyConnection]:
        foreign_wait = 0.0 if self._shadow.is_open else _FOREIGN_WAIT_SECONDS
        with ExitStack() as stack:
            try:
                connection = stack.enter_context(
                    self._index_file.opened(wait_seconds, foreign_wait)
                )
                self._ingest(connection)
                self._shadow.close_if_idle()
            except (StoreBusyError, StoreWriteError) as error:
                _logger.info("Reading from memory: %s", error)
                stack.close()
                connection = stack.enter_context(self._shadow.up_to_date())
            connection.execute("set timezone = 'UTC'")
            yield connection
