"""Files that are whole or absent: staged, flushed to the disk, then published under their name."""

import os
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def staged_file(folder: Path, data: bytes | memoryview, *, mode: int = 0o666) -> Generator[Path]:
    """Write ``data`` to a new file in ``folder``, flushed to the disk, and remove it at the end.

    What is to stay gets a second name by `publish` or `replace` before the end.

    Args:
        folder: Where to write.
        data: The whole content.
        mode: Permissions of the file from its first moment on, less those that the umask takes.

    Raises:
        OSError: The disk is full, or the folder is not writable; nothing is left behind.
    """
    path = folder / f"{uuid.uuid4().hex}.tmp"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield path
    finally:
        path.unlink(missing_ok=True)


def publish(staged: Path, target: Path) -> bool:
    """Give the file ``staged`` the name ``target`` too, unless that name is taken.

    A hard link appears at once and never replaces anything, so that of several processes exactly
    one gets the name. The name itself is on the disk after `sync_directory`.

    Returns:
        Whether the name was free.

    Raises:
        OSError: The file system has no hard links, or the folder is not writable.
    """
    try:
        os.link(staged, target)
    except FileExistsError:
        return False
    return True


def replace(staged: Path, target: Path) -> None:
    """Put ``staged`` in the place of ``target``, at once and durably.

    Only for a file whose whole content can be made again: an index, a damaged block.

    Raises:
        OSError: The folder is not writable.
    """
    staged.replace(target)
    sync_directory(target.parent)


def sync_directory(directory: Path) -> None:
    """Flush the names in ``directory`` to the disk.

    Raises:
        OSError: The directory cannot be opened.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
