"""A saved training on disk: arrays in .npz files, and JSON that describes them; nothing pickled."""

import json
import shutil
import uuid
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.digests import sha256_file
from traceprop_engine.durable_files import sync_directory
from traceprop_engine.errors import ModuleOutputsError, TrainingFilesError, TrainingNotSavedError

_DESCRIPTION = "training.json"


@contextmanager
def new_folder(directory: Path) -> Generator[Path]:
    """Give a folder beside the wanted one, and rename it to that when all is written.

    Raises:
        TrainingNotSavedError: The directory exists.
    """
    if directory.exists():
        raise TrainingNotSavedError(str(directory), "it exists already", "choose a new directory")
    directory.parent.mkdir(parents=True, exist_ok=True)
    folder = directory.with_name(f"{directory.name}.{uuid.uuid4().hex}.tmp")
    folder.mkdir()
    try:
        yield folder
        folder.rename(directory)
        sync_directory(directory.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # gone already, where it was renamed


def write_arrays(path: Path, arrays: Sequence[NDArray[np.generic]]) -> None:
    """Write arrays into a file, in order."""
    with path.open("wb") as file:
        np.savez(file, *arrays, allow_pickle=False)


def read_arrays(path: Path) -> list[NDArray[Any]]:
    """Return the arrays of a file, in order.

    Raises:
        TrainingFilesError: The file holds something else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return [file[f"arr_{position}"] for position in range(len(file.files))]
    except (BadZipFile, ValueError, KeyError, EOFError) as problem:
        reason = f"{path.name} is no file of plain arrays ({problem})"
        raise TrainingFilesError(str(path.parent), reason, "restore it") from problem


def write_description(folder: Path, kind: str, facts: Mapping[str, object]) -> None:
    """Write facts as JSON, with a digest of each file that the folder holds by now.

    Args:
        folder: The folder of the training.
        kind: Whose training it is, and the version of the format.
        facts: What JSON has words for.
    """
    digests = {path.name: sha256_file(path) for path in sorted(folder.iterdir())}
    description = {"format": kind, **facts, "sha256": digests}
    (folder / _DESCRIPTION).write_text(json.dumps(description, indent=1), encoding="utf-8")


def read_description(directory: Path, kind: str) -> dict[str, Any]:
    """Return the facts, once every file is there as it was written.

    Raises:
        TrainingFilesError: A file is missing or damaged, or the training is of another kind.
    """
    path = directory / _DESCRIPTION
    if not path.is_file():
        raise TrainingFilesError(str(directory), f"it has no {_DESCRIPTION}", "check the path")
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as problem:
        reason = f"{_DESCRIPTION} is no JSON ({problem})"
        raise TrainingFilesError(str(directory), reason, "restore it") from problem
    found = described.get("format") if isinstance(described, dict) else None
    if found != kind:
        reason = f"it has format {found!r}, and {kind!r} is read here"
        way_out = "load it with what wrote it, in the version that did"
        raise TrainingFilesError(str(directory), reason, way_out)
    for file, digest in described["sha256"].items():
        if not (directory / file).is_file() or sha256_file(directory / file) != digest:
            reason = f"{file} is missing or not what was written"
            raise TrainingFilesError(str(directory), reason, "restore it, or train again")
    return described


def check_outputs(name: str, found: NDArray[np.floating], saved: NDArray[np.floating]) -> None:
    """Refuse a net that has the parameters of a training and computes something else.

    Raises:
        ModuleOutputsError: Its outputs differ from the saved ones by more than rounding.
    """
    bound = float(np.sqrt(np.finfo(saved.dtype).eps)) * (1 + np.abs(saved).max())
    if found.shape != saved.shape or not np.abs(found - saved).max() <= bound:
        raise ModuleOutputsError(name)
