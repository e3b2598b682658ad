"""Trainings on disk: arrays in .npz files, the index as Parquet, and JSON that describes them."""

import json
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from traceprop_engine.digests import sha256_file
from traceprop_engine.durable_files import sync_directory
from traceprop_engine.errors import (
    ModuleOutputsError,
    TrainingFilesError,
    TrainingNotSavedError,
)
from traceprop_engine.gradients import Loss
from traceprop_engine.torch_gradients.modules import State
from traceprop_engine.training.recipe import TrainingRecipe

_FORMAT = 1
_DESCRIPTION = "training.json"
_ROWS = "rows.npz"
_INDEX = "index.parquet"


@dataclass(frozen=True, eq=False)
class SavedTraining:
    """What of a training is written, all but the code of its module.

    Attributes:
        states: Parameters and buffers at each checkpoint.
        steps: After which step each was kept.
        features: The training rows.
        labels: Their labels.
        loss: What was minimised.
        name: Name of the training.
        index: Index of the rows.
        recipe: How it was trained, where known.
        memory_limit: Bytes that capture may use.
        trained: Names of the parameters that were trained.
    """

    states: tuple[State, ...]
    steps: tuple[int, ...]
    features: NDArray[np.generic]
    labels: NDArray[np.generic]
    loss: Loss
    name: str
    index: pd.Index
    recipe: TrainingRecipe | None
    memory_limit: int
    trained: tuple[str, ...]

    def check_outputs(self, found: NDArray[np.floating], saved: NDArray[np.floating]) -> None:
        """Refuse a module that has the same parameters and computes something else.

        Raises:
            ModuleOutputsError: Its outputs differ from the saved ones by more than rounding.
        """
        bound = float(np.finfo(saved.dtype).eps) ** 0.5
        if found.shape != saved.shape or not np.allclose(found, saved, rtol=bound, atol=bound):
            raise ModuleOutputsError(self.name)


def write_training(directory: Path, saved: SavedTraining, outputs: NDArray[np.floating]) -> None:
    """Write a training into a new directory, which appears whole or not at all.

    Args:
        directory: It must not exist.
        saved: The training.
        outputs: Of its first rows at the last checkpoint, to know the module by.

    Raises:
        TrainingNotSavedError: The directory exists, or the index cannot be written as Parquet.
    """
    if directory.exists():
        raise TrainingNotSavedError(str(directory), "it exists already", "choose a new directory")
    with _staged(directory) as folder:
        files = [f"checkpoint-{position}.npz" for position in range(len(saved.states))]
        for file, state in zip(files, saved.states, strict=True):
            _write_arrays(folder / file, list(state.values()))
        _write_arrays(folder / _ROWS, [saved.features, saved.labels, outputs])
        _write_index(folder / _INDEX, saved.index, directory)
        description = {
            "format": _FORMAT,
            "name": saved.name,
            "loss": saved.loss,
            "steps": saved.steps,
            "recipe": None if saved.recipe is None else asdict(saved.recipe),
            "memory_limit": saved.memory_limit,
            "trained": saved.trained,
            "parameters": [list(state) for state in saved.states],
            "sha256": {file: sha256_file(folder / file) for file in (*files, _ROWS, _INDEX)},
        }
        (folder / _DESCRIPTION).write_text(json.dumps(description, indent=1), encoding="utf-8")


def read_training(directory: Path) -> tuple[SavedTraining, NDArray[np.floating]]:
    """Return a training and the outputs that it was known by; nothing is unpickled.

    Raises:
        TrainingFilesError: A file is missing or damaged, or of a newer format.
    """
    described = _read_description(directory)
    for file, digest in described["sha256"].items():
        path = directory / file
        if not path.is_file() or sha256_file(path) != digest:
            reason = f"{file} is missing or not what was written"
            raise TrainingFilesError(str(directory), reason, "restore it, or train again")
    features, labels, outputs = _read_arrays(directory / _ROWS)
    states = tuple(
        dict(zip(names, _read_arrays(directory / f"checkpoint-{position}.npz"), strict=True))
        for position, names in enumerate(described["parameters"])
    )
    recipe = described["recipe"]
    saved = SavedTraining(
        states,
        tuple(described["steps"]),
        features,
        labels,
        described["loss"],
        described["name"],
        pd.read_parquet(directory / _INDEX).index,
        None if recipe is None else TrainingRecipe(**recipe),
        described["memory_limit"],
        tuple(described["trained"]),
    )
    return saved, outputs


@contextmanager
def _staged(directory: Path) -> Iterator[Path]:
    """Give a folder beside the wanted one, and rename it to that when all is written."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    folder = directory.with_name(f"{directory.name}.{uuid.uuid4().hex}.tmp")
    folder.mkdir()
    try:
        yield folder
        folder.rename(directory)
        sync_directory(directory.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # gone already, where it was renamed


def _write_arrays(path: Path, arrays: Sequence[NDArray[np.generic]]) -> None:
    with path.open("wb") as file:
        np.savez(file, *arrays, allow_pickle=False)


def _read_arrays(path: Path) -> list[NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return [file[f"arr_{position}"] for position in range(len(file.files))]
    except (BadZipFile, ValueError, KeyError) as problem:
        reason = f"{path.name} is no file of plain arrays ({problem})"
        raise TrainingFilesError(str(path.parent), reason, "restore it") from problem


def _write_index(path: Path, index: pd.Index, directory: Path) -> None:
    try:
        pd.DataFrame({"position": range(len(index))}, index=index).to_parquet(path)
        same = pd.read_parquet(path).index.identical(index)
    except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError) as problem:
        reason, way_out = f"its index has no Parquet form ({problem})", "give an index of one type"
        raise TrainingNotSavedError(str(directory), reason, way_out) from problem
    if not same:
        reason = f"its index of type {index.dtype} comes back from Parquet as another"
        raise TrainingNotSavedError(str(directory), reason, "give an index of numbers or text")


def _read_description(directory: Path) -> dict[str, Any]:
    path = directory / _DESCRIPTION
    if not path.is_file():
        raise TrainingFilesError(str(directory), f"it has no {_DESCRIPTION}", "check the path")
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as problem:
        reason = f"{_DESCRIPTION} is no JSON ({problem})"
        raise TrainingFilesError(str(directory), reason, "restore it") from problem
    if described.get("format") != _FORMAT:
        reason = f"it has format {described.get('format')!r}, this version reads {_FORMAT}"
        raise TrainingFilesError(str(directory), reason, "use the version that wrote it")
    return described
