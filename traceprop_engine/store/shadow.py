"""A stand-in for the index when its file cannot be opened: the same tables, in memory."""

import shutil
import threading
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import duckdb

from traceprop_engine.store.blocks import BlockStore
from traceprop_engine.store.index import Index
from traceprop_engine.store.log import CommitLog
from traceprop_engine.store.schema import Schema
from traceprop_engine.store.views import BlockLinks


@dataclass(frozen=True)
class _Opened:
    """The database and the directory of links that its views read."""

    connection: duckdb.DuckDBPyConnection
    index: Index
    remove_folder: Callable[[], object]

    def close(self) -> None:
        self.connection.close()
        self.remove_folder()


class ShadowIndex:
    """An index in memory, built from the log when it is first needed and then kept up to date.

    It writes nothing into the store. Threads take turns.
    """

    def __init__(self, root: Path, schema: Schema, log: CommitLog, blocks: BlockStore) -> None:
        """Stand in for the index of the store in ``root``."""
        self._root = root
        self._schema = schema
        self._log = log
        self._blocks = blocks
        self._turn = threading.Lock()
        self._opened: _Opened | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is in memory."""
        return self._opened is not None

    @contextmanager
    def up_to_date(self) -> Generator[duckdb.DuckDBPyConnection]:
        """Take over what the log has and lend a connection.

        Raises:
            StoreCorruptError: A commit is damaged.
            StoreSchemaError: A commit is of a newer release.
        """
        with self._turn:
            if self._opened is None:
                self._opened = self._open()
            self._opened.index.ingest()
            with self._opened.connection.cursor() as cursor:
                yield cursor

    def close_if_idle(self) -> None:
        """Free the memory, unless a thread is reading; the next use builds it anew."""
        if self._turn.acquire(blocking=False):
            try:
                if self._opened is not None:
                    self._opened.close()
                    self._opened = None
            finally:
                self._turn.release()

    def _open(self) -> _Opened:
        folder = Path(mkdtemp(prefix="traceprop-")).resolve()
        # Nobody closes a store: what is left at its end goes with the object.
        remove_folder = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        connection = duckdb.connect()
        links = BlockLinks(folder, folder, self._blocks)
        index = Index(connection, self._schema, self._log, links)
        index.prepare(self._root)
        return _Opened(connection, index, remove_folder)
