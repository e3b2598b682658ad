"""Trainings of modules on disk: states, rows and index, all but the code of the module."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from traceprop_engine.errors import TrainingNotSavedError
from traceprop_engine.gradients import Loss
from traceprop_engine.gradients.training_files import (
    new_folder,
    read_arrays,
    read_description,
    write_arrays,
    write_description,
)
from traceprop_engine.torch_gradients.modules import State
from traceprop_engine.training.recipe import TrainingRecipe

_FORMAT = "torch 1"
_ROWS = "rows.npz"
_INDEX = "index.parquet"


@dataclass(frozen=True, eq=False)
class SavedTraining:
    """What of a training is written.

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


def write_training(directory: Path, saved: SavedTraining, outputs: NDArray[np.floating]) -> None:
    """Write a training into a new directory, which appears whole or not at all.

    Args:
        directory: It must not exist.
        saved: The training.
        outputs: Of its first rows at the last checkpoint, to know the module by.

    Raises:
        TrainingNotSavedError: The directory exists, or the index cannot be written as Parquet.
    """
    with new_folder(directory) as folder:
        for position, state in enumerate(saved.states):
            write_arrays(folder / _checkpoint(position), list(state.values()))
        write_arrays(folder / _ROWS, [saved.features, saved.labels, outputs])
        _write_index(folder / _INDEX, saved.index, directory)
        facts = {
            "name": saved.name,
            "loss": saved.loss,
            "steps": saved.steps,
            "recipe": None if saved.recipe is None else asdict(saved.recipe),
            "memory_limit": saved.memory_limit,
            "trained": saved.trained,
            "parameters": [list(state) for state in saved.states],
        }
        write_description(folder, _FORMAT, facts)


def read_training(directory: Path) -> tuple[SavedTraining, NDArray[np.floating]]:
    """Return a training and the outputs that it was known by; nothing is unpickled.

    Raises:
        TrainingFilesError: A file is missing or damaged, or of another format.
    """
    described = read_description(directory, _FORMAT)
    features, labels, outputs = read_arrays(directory / _ROWS)
    states = tuple(
        dict(zip(names, read_arrays(directory / _checkpoint(position)), strict=True))
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


def _checkpoint(position: int) -> str:
    return f"checkpoint-{position}.npz"


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
