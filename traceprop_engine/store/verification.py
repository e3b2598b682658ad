"""`verify`: whether everything that a store holds is what was written, and all of it is there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import duckdb

from traceprop_engine.digests import sha256_file
from traceprop_engine.errors import (
    StoreBusyError,
    StoreCorruptError,
    StoreIndexError,
    StoreLogError,
    StoreWriteError,
)
from traceprop_engine.store.access import IndexFile, refusal
from traceprop_engine.store.blocks import BlockStore
from traceprop_engine.store.bundle import Bundle
from traceprop_engine.store.index import Index, quoted
from traceprop_engine.store.judging import BUNDLE_TABLE
from traceprop_engine.store.log import CommitLog
from traceprop_engine.store.schema import Schema, Table
from traceprop_engine.store.views import BlockLinks

ProblemKind = Literal["log", "block", "index", "view", "set aside"]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: Where. *set aside* is a commit that contradicts an earlier one: nothing is damaged.
        subject: The file, block, or table.
        message: What is wrong with it, in one line.
    """

    kind: ProblemKind
    subject: str
    message: str


@dataclass(frozen=True)
class VerificationReport:
    """What `Store.verify` found.

    Attributes:
        n_commits: Commits that were read.
        n_blocks: Blocks that were read.
        problems: What is wrong, log first.
    """

    n_commits: int
    n_blocks: int
    problems: tuple[Problem, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is damaged or missing; commits that were set aside do not count."""
        return all(problem.kind == "set aside" for problem in self.problems)


def references(bundle: Bundle, schema: Schema) -> Iterator[tuple[str, str]]:
    """Yield the table and the block of every reference in ``bundle``."""
    for name, row in schema.upgrade(bundle.records, bundle.schema_version):
        for column in schema.tables[name].block_columns:
            if row.get(column) is not None:
                yield name, str(row[column])


@dataclass(frozen=True)
class Verifier:
    """The parts of one store, to be looked at one after the other."""

    root: Path
    schema: Schema
    log: CommitLog
    blocks: BlockStore
    links: BlockLinks
    index_file: IndexFile

    def verify(self, wait_seconds: float) -> VerificationReport:
        """Read everything and return what is wrong.

        Args:
            wait_seconds: How long to wait for the index.
        """
        numbers = self.log.numbers()
        problems = list(self._gaps(numbers))
        referred: dict[str, int] = {}
        for number in numbers:
            try:
                for _, block in references(self.log.read(number), self.schema):
                    referred.setdefault(block, number)
            except StoreCorruptError as error:
                problems.append(Problem("log", str(error.path), str(error)))
        is_log_sound = not problems
        problems += self._block_problems(referred)
        problems += self._index_problems(wait_seconds, is_log_sound=is_log_sound)
        return VerificationReport(len(numbers), len(self.blocks.names()), tuple(problems))

    def _gaps(self, numbers: Sequence[int]) -> Iterator[Problem]:
        for number in sorted(set(range(1, max(numbers, default=0))).difference(numbers)):
            path = str(self.log.path(number))
            yield Problem("log", path, "The commit is missing: restore it from a backup.")

    def _block_problems(self, referred: dict[str, int]) -> Iterator[Problem]:
        missing = set(referred)
        for block in self.blocks.names():
            path = self.blocks.path(block)
            try:
                reason = None if sha256_file(path) == block else "its SHA-256 does not fit"
            except FileNotFoundError:  # collected in the meantime
                continue
            except OSError as error:
                reason = error.strerror or str(error)
            missing.discard(block)
            if reason is not None:
                yield Problem("block", block, str(StoreCorruptError(path, reason)))
        for block in sorted(missing):
            message = f"Commit {referred[block]} refers to it, and it is missing: restore it."
            yield Problem("block", block, message)

    def _index_problems(self, wait_seconds: float, *, is_log_sound: bool) -> list[Problem]:
        path = str(self.index_file.path)
        if not is_log_sound:
            return [Problem("index", path, "Not compared, because the log is damaged.")]
        try:
            with self.index_file.opened(wait_seconds) as connection:
                return self._compare(connection)
        except (StoreBusyError, StoreIndexError, StoreLogError, StoreWriteError) as error:
            return [Problem("index", path, str(error))]

    def _compare(self, connection: duckdb.DuckDBPyConnection) -> list[Problem]:
        try:
            index = Index(connection, self.schema, self.log, self.links)
            index.prepare(self.root)
            index.ingest()
            problems = [*self._missing_links(index), *_set_aside(connection)]
            ((file,),) = connection.execute("select current_database()").fetchall()
            self._attach_expected(connection)
            for table in (*self.schema.tables.values(), BUNDLE_TABLE):
                problems += _differences(connection, table, str(file))
        except duckdb.Error as error:
            raise refusal(self.index_file.path, error) from error
        return problems

    def _attach_expected(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Attach the database ``expected`` with the tables that follow from the log, in memory."""
        connection.execute("attach ':memory:' as expected")
        connection.execute("use expected")
        with TemporaryDirectory(prefix="traceprop-") as folder:
            links = BlockLinks(Path(folder), Path(folder), self.blocks)
            expected = Index(connection, self.schema, self.log, links)
            expected.prepare(self.root)
            expected.ingest()

    def _missing_links(self, index: Index) -> Iterator[Problem]:
        for path in self.links.missing(index.links()):
            yield Problem(
                "view",
                str(path),
                "The link to its block is missing: run `traceprop store rebuild`.",
            )


def _differences(
    connection: duckdb.DuckDBPyConnection, table: Table, file: str
) -> Iterator[Problem]:
    key = ", ".join(quoted(name) for name in table.primary_key or ("commit_no",))
    columns = ", ".join(quoted(column.name) for column in table.stored_columns)
    found = f"select {columns} from {quoted(file)}.main.{quoted(table.name)}"
    expected = f"select {columns} from expected.main.{quoted(table.name)}"
    for verb, here, there in (("has", found, expected), ("lacks", expected, found)):
        rows = connection.execute(
            f"select {key} from ({here} except all {there}) order by all"
        ).fetchall()
        if rows:
            yield Problem(
                "index",
                table.name,
                f"The index {verb} {len(rows)} rows unlike the log, the first {rows[0]}: "
                "run `traceprop store rebuild`.",
            )


def _set_aside(connection: duckdb.DuckDBPyConnection) -> Iterator[Problem]:
    found = connection.execute(
        "select commit_no, reason from bundle where status = 'set aside' order by commit_no"
    ).fetchall()
    for number, reason in found:
        yield Problem("set aside", f"commit {number}", str(reason))
