"""One pass over the bytes of a source file that notices when the file changes meanwhile."""

import gzip
import hashlib
import io
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from traceprop_engine.errors import (
    CorruptSourceError,
    EmptySourceError,
    SourceChangedError,
    SourceError,
    SourceNotFoundError,
    SourceUnreadableError,
)

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Progress = Callable[[int, int], None]
"""Called with the bytes of the file that are read, and the size of the file, both on the disk."""

CHUNK_BYTES = 1 << 20
"""Bytes of text that are read, checked and scanned at a time."""

_READ_AGAIN = "read it again when nothing writes to it any more"
_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class FileIdentity:
    """What must stay equal for a file to be taken as unchanged.

    The time of the last status change is part of it: a writer that puts back the modification
    time does not go unnoticed.
    """

    device: int
    inode: int
    n_bytes: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Return the identity in ``status``."""
        return cls(
            status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        )


def find_source(path: Path | str) -> Path:
    """Return the absolute path of a regular file, symbolic links resolved.

    Raises:
        SourceNotFoundError: There is no such file.
        SourceUnreadableError: It is a directory, a pipe, a device, or may not be read.
    """
    asked = Path(path)
    try:
        found = asked.resolve(strict=True)
        mode = found.stat().st_mode
    except FileNotFoundError as error:
        raise SourceNotFoundError(asked) from error
    except (OSError, RuntimeError, ValueError) as error:
        raise _unreadable(asked, error) from error
    if stat.S_ISDIR(mode):
        raise SourceUnreadableError(found, "it is a directory", "name one file in it")
    if not stat.S_ISREG(mode):
        raise SourceUnreadableError(
            found, "it is no regular file", "write its content to a file and name that"
        )
    return found


def _unreadable(path: Path, error: Exception) -> SourceUnreadableError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return SourceUnreadableError(path, reason, "check the path and its permissions")


@contextmanager
def open_source(
    path: Path, progress: Progress | None = None, chunk_bytes: int = CHUNK_BYTES
) -> Iterator["SourceFile"]:
    """Open the source file ``path``, which `find_source` returned, for one pass.

    When the block ends, and also when it ends with an error that the file's content caused, a file
    that changed meanwhile raises `SourceChangedError`.

    Raises:
        SourceUnreadableError: The file may not be read.
        EmptySourceError: It has no byte.
        CorruptSourceError: Its name says gzip and its first bytes do not.
        SourceChangedError: It changed while it was read.
    """
    try:
        raw = path.open("rb", buffering=0)
    except OSError as error:
        raise _unreadable(path, error) from error
    with raw:
        file = SourceFile(path, raw, progress, chunk_bytes)
        try:
            yield file
        except SourceError as error:
            file.check_unchanged(error)
            raise
        file.check_unchanged()


class SourceFile:
    """A source file, open for one pass; the digest is of the same bytes that are handed out.

    Attributes:
        path: The absolute path.
        is_gzip: Whether the bytes on the disk are gzip data.
        identity: What the file system said of the file when it was opened.
    """

    def __init__(
        self, path: Path, raw: io.FileIO, progress: Progress | None, chunk_bytes: int
    ) -> None:
        """Read from ``raw``, which `open_source` opened."""
        self.path = path
        self.identity = FileIdentity.of(os.fstat(raw.fileno()))
        self.is_gzip = raw.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        if not self.n_bytes:
            raise EmptySourceError(path, "at least a header or one record")
        if path.suffix == ".gz" and not self.is_gzip:
            raise CorruptSourceError(path, "gzip", "it does not begin like one")
        raw.seek(0)
        self._raw = raw
        self._hashed = _HashedReader(raw)
        self._progress = progress
        self._chunk_bytes = chunk_bytes

    @property
    def n_bytes(self) -> int:
        """Size of the file on the disk, in bytes."""
        return self.identity.n_bytes

    def sha256(self) -> str:
        """Return the digest of the file, all of whose bytes were handed out.

        Raises:
            SourceChangedError: The file changed, or another number of bytes was read than it had.
        """
        self.check_unchanged()
        if self._hashed.n_read != self.n_bytes:
            what = f"{self._hashed.n_read} bytes were read of {self.n_bytes}"
            raise SourceChangedError(self.path, what, _READ_AGAIN)
        return self._hashed.digest.hexdigest()

    def raw_chunks(self) -> Iterator[bytes]:
        """Yield the bytes of the file as they are on the disk."""
        while chunk := self._hashed.read(self._chunk_bytes):
            self._report()
            yield chunk

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes of the text, decompressed where the file is in gzip.

        Raises:
            CorruptSourceError: The gzip data are damaged, or end too early.
        """
        yield from self._unzipped_chunks() if self.is_gzip else self.raw_chunks()

    def _unzipped_chunks(self) -> Iterator[bytes]:
        with gzip.GzipFile(fileobj=io.BufferedReader(self._hashed, self._chunk_bytes)) as unzipped:
            while chunk := self._unzip(unzipped):
                self._report()
                yield chunk
        self._report()

    def _unzip(self, unzipped: gzip.GzipFile) -> bytes:
        try:
            return unzipped.read(self._chunk_bytes)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise CorruptSourceError(self.path, "gzip", str(error)) from error

    def rewound(self) -> io.FileIO:
        """Return the open file at its start, for a reader that seeks; do not close it."""
        self._raw.seek(0)
        return self._raw

    def check_unchanged(self, cause: SourceError | None = None) -> None:
        """Raise if the file is no longer the one that was opened.

        Args:
            cause: The error that made the caller ask, if one did.

        Raises:
            SourceChangedError: Another file is at the path, or this one was written to.
        """
        try:
            at_path = FileIdentity.of(self.path.stat())
        except OSError as error:
            what = "the file was removed while it was read"
            raise SourceChangedError(self.path, what, _READ_AGAIN) from cause or error
        if at_path != self.identity:
            what = "the file changed while it was read"
            raise SourceChangedError(self.path, what, _READ_AGAIN) from cause

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(self._hashed.n_read, self.n_bytes)


class _HashedReader(io.RawIOBase):
    """A raw file whose bytes are hashed as they are read; closing it leaves the file open."""

    def __init__(self, raw: io.FileIO) -> None:
        self._file = raw
        self.digest = hashlib.sha256()
        self.n_read = 0

    # pyrefly: ignore[missing-override-decorator] (typing.override needs Python 3.12)
    def readable(self) -> bool:
        return True

    # pyrefly: ignore[missing-override-decorator]
    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        n_read = self._file.readinto(buffer) or 0
        self.digest.update(memoryview(buffer)[:n_read])
        self.n_read += n_read
        return n_read
