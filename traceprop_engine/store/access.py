"""Opening the DuckDB file of a store: never without the lock that all processes of ours respect.

DuckDB 2.0 reads the header of a file before it takes its own lock, and two processes that open
it at the same moment can lose a commit. So our lock is taken before DuckDB opens the file and
released after it has closed it. Nothing here, or in a process that has the file open, may open it
in another way: closing any descriptor of a file drops DuckDB's lock on it.
"""

import errno
import os
import random
import re
import time
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import duckdb
from filelock import FileLock, Timeout

from traceprop_engine.durable_files import replace
from traceprop_engine.errors import StoreBusyError, StoreIndexError, StoreWriteError

STORAGE_VERSION = "v1.5.0"
"""The file format, which DuckDB 1.5 and later can open."""

T = TypeVar("T")

_PAUSE_SECONDS = 0.02
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG)


class IndexFile:
    """The file ``traceprop.duckdb`` and the lock beside it."""

    def __init__(self, path: Path, staging: Path) -> None:
        """Use the file ``path``, which need not exist; a new one is made in ``staging`` first."""
        self.path = path
        self._staging = staging
        self._lock_path = path.with_name(f"{path.name}.lock")

    @contextmanager
    def opened(
        self, wait_seconds: float, foreign_wait_seconds: float | None = None
    ) -> Generator[duckdb.DuckDBPyConnection]:
        """Open the database inside the lock, and close both at the end.

        Args:
            wait_seconds: How long to wait for another process; 0 tries once.
            foreign_wait_seconds: How long to wait for one that does not use the lock, such as a
                DuckDB shell; as long as for others if not given.

        Raises:
            StoreBusyError: Another process held it for longer.
            StoreIndexError: The file is not a database that DuckDB can read.
            StoreWriteError: The file or its lock cannot be made or opened for writing.
        """
        foreign_wait = wait_seconds if foreign_wait_seconds is None else foreign_wait_seconds
        with self._in_turn(self._connect, wait_seconds, foreign_wait) as connection:
            try:
                yield connection
            finally:
                connection.close()

    @contextmanager
    def replaced(self, wait_seconds: float) -> Generator[duckdb.DuckDBPyConnection]:
        """Open a new, empty database that takes the place of the old one if all goes well.

        Raises:
            StoreBusyError: Another process held the old one for longer.
            StoreWriteError: The new one cannot be written.
        """
        in_turn = self._in_turn(self._let_go, wait_seconds, wait_seconds)
        with in_turn, self.new_file() as made:
            with duckdb.connect(str(made)) as connection:
                yield connection
                self._flush(connection)
            self.put_in_place(made)

    @contextmanager
    def _in_turn(
        self, attempt: Callable[[], T | str], wait_seconds: float, foreign_wait_seconds: float
    ) -> Generator[T]:
        """Lend what ``attempt`` gives inside the lock, once it gives no name of a holder."""
        started = time.monotonic()
        while True:
            with self.locked(max(0.0, started + wait_seconds - time.monotonic())):
                result = attempt()
                if not isinstance(result, str):
                    yield result
                    return
            waited = time.monotonic() - started
            if waited >= min(wait_seconds, foreign_wait_seconds):
                raise StoreBusyError(self.path, result, waited)
            time.sleep(_PAUSE_SECONDS * (1 + random.random()))  # noqa: S311  (spreads retries)

    @contextmanager
    def locked(self, wait_seconds: float) -> Generator[None]:
        """Hold the lock alone.

        Raises:
            StoreBusyError: Another process held it for longer.
            StoreWriteError: The lock cannot be made or opened.
        """
        lock = FileLock(self._lock_path, timeout=wait_seconds)
        try:
            lock.acquire(poll_interval=_PAUSE_SECONDS)
        except Timeout as error:
            raise StoreBusyError(self.path, self._lock_holder(), wait_seconds) from error
        except OSError as error:
            raise StoreWriteError(self._lock_path, error.strerror or str(error)) from error
        try:
            yield
        finally:
            lock.release()

    def _connect(self) -> duckdb.DuckDBPyConnection | str:
        """Return a connection, or who holds the file."""
        try:
            if not self.path.exists():
                self._create()
            return duckdb.connect(str(self.path))
        except OSError as error:
            raise StoreWriteError(self.path, error.strerror or str(error)) from error
        except duckdb.ConnectionException:
            return f"another connection of this process, {os.getpid()}"
        except duckdb.Error as error:
            if "Could not set lock on file" not in str(error):
                raise refusal(self.path, error) from error
            found = re.search(r"held in (.*) \(PID (\d+)\)", str(error))
            return f"process {found[2]} ({found[1]})" if found else "another process"

    def _let_go(self) -> str | None:
        """Return who holds the file, if anybody; what is in it does not matter."""
        try:
            connection = self._connect()
        except StoreIndexError:
            return None
        if isinstance(connection, str):
            return connection
        connection.close()
        return None

    def _create(self) -> None:
        with self.new_file() as made:
            self.put_in_place(made)

    @contextmanager
    def new_file(self) -> Generator[Path]:
        """Make an empty database file, and remove it at the end unless it was put in place.

        Raises:
            StoreWriteError: The disk is full or not writable.
        """
        made = self._staging / f"{uuid.uuid4().hex}.duckdb"
        try:
            self._make(made)
            yield made
        finally:
            made.unlink(missing_ok=True)
            _wal(made).unlink(missing_ok=True)

    def _make(self, made: Path) -> None:
        literal = str(made).replace("'", "''")
        try:
            with duckdb.connect() as memory:
                memory.execute(f"attach '{literal}' as made (storage_version '{STORAGE_VERSION}')")
                memory.execute("detach made")
        except duckdb.Error as error:
            raise refusal(self.path, error) from error

    def _flush(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Write the log of ``connection`` into its file, which closing does not if it cannot."""
        try:
            connection.execute("checkpoint")
        except duckdb.Error as error:
            raise refusal(self.path, error) from error

    def put_in_place(self, made: Path) -> None:
        """Let the closed database ``made`` be the index; the lock is held.

        The old write-ahead log goes first: without it the old file is merely behind the log.
        """
        _wal(self.path).unlink(missing_ok=True)
        replace(made, self.path)

    def _lock_holder(self) -> str:
        """Return who holds the lock, as far as the kernel tells."""
        table = Path("/proc/locks")
        if not table.exists():
            return "another process of this store"
        inode = f":{self._lock_path.stat().st_ino} "
        for line in table.read_text().splitlines():
            if inode in line and "FLOCK" in line:
                return f"process {line.split()[4]}"
        return "another process of this store"


def _wal(path: Path) -> Path:
    return path.with_name(f"{path.name}.wal")


def refusal(path: Path, error: duckdb.Error) -> StoreWriteError | StoreIndexError:
    """Return what an error of DuckDB on its own file ``path`` means.

    A full disk or a missing permission is no reason to doubt the file.
    """
    reason = first_line(error)
    if any(os.strerror(number) in reason for number in _CANNOT_WRITE):
        return StoreWriteError(path, reason)
    return StoreIndexError(path, reason)


def first_line(error: BaseException) -> str:
    """Return the first line of the message of ``error``."""
    return str(error).strip().split("\n", 1)[0]
