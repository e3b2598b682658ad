"""The log: every commit of a store as one immutable file, numbered without gaps."""

import os
from pathlib import Path

from traceprop_engine.durable_files import publish, staged_file, sync_directory
from traceprop_engine.errors import StoreCorruptError, StoreWriteError
from traceprop_engine.store.bundle import Bundle, decode_bundle, verified_digest

_N_DIGITS = 12
_SUFFIX = ".parquet"


class CommitLog:
    """Bundles under the numbers 1, 2, 3, …, each written once.

    Writers of any number of processes need no lock: whoever links a number first has it, and the
    next number is tried only when one is taken, so that no number is left out.
    """

    def __init__(self, directory: Path, staging: Path) -> None:
        """Use the existing ``directory``; files are written in ``staging`` first."""
        self._directory = directory
        self._staging = staging
        self._last_seen = 0

    def path(self, number: int) -> Path:
        """Return the file of commit ``number``."""
        return self._directory / f"{number:0{_N_DIGITS}d}{_SUFFIX}"

    def numbers(self) -> list[int]:
        """Return the numbers of all commits, ascending.

        A listing is no snapshot: it may show a name and miss one linked before it. So a number
        that seems to be left out is looked for by name.
        """
        listed = {
            int(name[:_N_DIGITS])
            for name in os.listdir(self._directory)  # noqa: PTH208  (Path objects cost 10 times)
            if name[_N_DIGITS:] == _SUFFIX and name[:_N_DIGITS].isdecimal()
        }
        last = max(listed, default=0)
        if len(listed) < last:
            missing = set(range(1, last + 1)) - listed
            listed |= {number for number in missing if self.path(number).exists()}
        return sorted(listed)

    def append(self, data: bytes) -> int:
        """Record the bundle ``data`` durably under the next free number and return the number.

        Raises:
            StoreWriteError: The file system refused; nothing was recorded.
        """
        try:
            with staged_file(self._staging, data) as staged:
                number = self._known_last() + 1
                while not publish(staged, self.path(number)):
                    number += 1
            sync_directory(self._directory)
        except OSError as error:
            raise StoreWriteError(self._directory, error.strerror or str(error)) from error
        self._last_seen = number
        return number

    def read(self, number: int) -> Bundle:
        """Return the bundle of commit ``number``, verified.

        Raises:
            StoreCorruptError: The file is not what was written, or cannot be read.
        """
        return decode_bundle(self._read_bytes(number), self.path(number))

    def digest(self, number: int) -> str:
        """Return the SHA-256 of commit ``number``, verified.

        Raises:
            StoreCorruptError: As `read`.
        """
        return verified_digest(self._read_bytes(number), self.path(number))

    def _read_bytes(self, number: int) -> bytes:
        path = self.path(number)
        try:
            return path.read_bytes()
        except OSError as error:
            raise StoreCorruptError(path, error.strerror or str(error)) from error

    def _known_last(self) -> int:
        """Return a number that is taken, at best the last; 0 in an empty log."""
        if self._last_seen and self.path(self._last_seen).exists():
            return self._last_seen
        return max(self.numbers(), default=0)
