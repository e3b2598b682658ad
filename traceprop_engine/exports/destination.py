"""Where an export goes: a file or a directory that is whole or absent."""

import os
import shutil
import uuid
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

from traceprop_engine.durable_files import publish, replace, staged_file, sync_directory
from traceprop_engine.errors import ExportExistsError, ExportWriteError

_CHOOSE = "choose another path, or replace it with --force (`force=True`)"


def refuse_taken(path: Path, *, force: bool, manifest: str | None = None) -> None:
    """Make sure that an export may be written to ``path``.

    Args:
        path: A file; a directory if there is a ``manifest``.
        force: Whether to replace an earlier export.
        manifest: The file that tells a directory with an export from other directories.

    Raises:
        ExportExistsError: Something is there, and is not to be replaced or is no export.
    """
    if not os.path.lexists(path):
        return
    if manifest is None and path.is_dir():
        raise ExportExistsError(path, "it is a directory, and this format is one file")
    if manifest is not None and not path.is_dir():
        raise ExportExistsError(path, "it is a file, and this format is a directory")
    if not force:
        raise ExportExistsError(path, _CHOOSE)
    if manifest is not None and not (path / manifest).is_file():
        raise ExportExistsError(path, f"it has no {manifest}, so it is no export to replace")


def write_file(path: Path, lines: Iterable[str], *, force: bool) -> int:
    """Write lines to a file, all of them or none, and return how many bytes they took.

    Raises:
        ExportExistsError: ``path`` is taken.
        ExportWriteError: The file system refused.
    """
    refuse_taken(path, force=force)
    data = "".join(f"{line}\n" for line in lines).encode()
    try:
        with staged_file(path.parent, data) as staged:
            if force:
                replace(staged, path)
            elif not publish(staged, path):
                raise ExportExistsError(path, _CHOOSE)
        sync_directory(path.parent)
    except OSError as error:
        raise ExportWriteError(path, error.strerror or str(error)) from error
    return len(data)


@contextmanager
def written_directory(path: Path, manifest: str, *, force: bool) -> Generator[Path]:
    """Lend an empty directory that stands at ``path`` once it is filled.

    An earlier export steps aside at the last moment. Between two renames there is none at ``path``;
    a crash there leaves the old one and the new one beside it, under names that end in ``.tmp``.

    Raises:
        ExportExistsError: ``path`` is taken.
        ExportWriteError: The file system refused.
    """
    refuse_taken(path, force=force, manifest=manifest)
    made = _beside(path)
    try:
        try:
            made.mkdir()
            yield made
            _sync_files(made)
            _put_in_place(made, path)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    except OSError as error:
        raise ExportWriteError(path, error.strerror or str(error)) from error


def _put_in_place(made: Path, path: Path) -> None:
    old = _beside(path) if path.exists() else None
    if old is not None:
        path.rename(old)
    made.rename(path)
    sync_directory(path.parent)
    if old is not None and old.is_symlink():
        old.unlink()
    elif old is not None:
        shutil.rmtree(old)


def _sync_files(directory: Path) -> None:
    for path in directory.iterdir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    sync_directory(directory)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
