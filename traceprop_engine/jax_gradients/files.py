"""Trainings in JAX on disk: parameters in their nesting and rows, all but the net itself."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from traceprop_engine.errors import TrainingFilesError, TrainingNotSavedError
from traceprop_engine.gradients.training_files import (
    new_folder,
    read_arrays,
    read_description,
    write_arrays,
    write_description,
)
from traceprop_engine.jax_gradients.steps import Params
from traceprop_engine.training.recipe import TrainingRecipe

_FORMAT: Final = "jax 1"
_ROWS: Final = "rows.npz"


@dataclass(frozen=True, eq=False)
class SavedTraining:
    """What of a training is written.

    Attributes:
        name: Name of the training.
        recipe: How it was trained.
        steps: After which step each checkpoint was kept.
        params: Parameters before the first step, and at each checkpoint.
        rows: Features, labels and weights by name.
    """

    name: str
    recipe: TrainingRecipe
    steps: tuple[int, ...]
    params: tuple[Params, ...]
    rows: Mapping[str, NDArray[Any]]


def save_training(directory: Path, saved: SavedTraining, outputs: NDArray[np.floating]) -> None:
    """Write a training into a new directory, which appears whole or not at all.

    Args:
        directory: It must not exist.
        saved: The training.
        outputs: Of its first rows at the last checkpoint, to know the net by.

    Raises:
        TrainingNotSavedError: The directory exists, or the parameters cannot be described.
    """
    with new_folder(directory) as folder:
        nesting = None
        for position, params in enumerate(saved.params):
            leaves: list[NDArray[np.generic]] = []
            nesting = _described(directory, params, leaves)
            write_arrays(folder / _parameters(position), leaves)
        write_arrays(folder / _ROWS, [*saved.rows.values(), outputs])
        facts = {
            "name": saved.name,
            "recipe": asdict(saved.recipe),
            "steps": saved.steps,
            "nesting": nesting,
            "rows": list(saved.rows),
        }
        write_description(folder, _FORMAT, facts)


def load_training(directory: Path) -> tuple[SavedTraining, NDArray[np.floating]]:
    """Return a training and the outputs that its net gave for the first rows.

    Raises:
        TrainingFilesError: A file is missing or damaged, or JAX would round its numbers.
    """
    described = read_description(directory, _FORMAT)
    *rows, outputs = read_arrays(directory / _ROWS)

    def params(position: int) -> Params:
        arrays = read_arrays(directory / _parameters(position))
        leaves = [_on_device(directory, array) for array in arrays]
        return _restored(described["nesting"], leaves)

    steps = tuple(described["steps"])
    saved = SavedTraining(
        described["name"],
        TrainingRecipe(**described["recipe"]),
        steps,
        tuple(params(position) for position in range(len(steps) + 1)),
        dict(zip(described["rows"], rows, strict=True)),
    )
    return saved, outputs


def _parameters(position: int) -> str:
    return f"parameters-{position}.npz"


def _on_device(directory: Path, array: NDArray[Any]) -> jax.Array:
    kept = jnp.asarray(array)
    if kept.dtype != array.dtype:
        reason = f"its parameters are {array.dtype} and JAX is set to {kept.dtype}"
        raise TrainingFilesError(str(directory), reason, "set jax_enable_x64 before loading")
    return kept


def _described(directory: Path, params: Params, leaves: list[NDArray[np.generic]]) -> Any:
    """Return the nesting of parameters, each leaf its place in ``leaves``, which takes them all."""
    if params is None:
        return None
    if type(params) in (list, tuple):
        return {type(params).__name__: [_described(directory, part, leaves) for part in params]}
    if type(params) is dict and all(isinstance(key, str) for key in params):
        return {"dict": {key: _described(directory, part, leaves) for key, part in params.items()}}
    if hasattr(params, "dtype") and np.asarray(params).dtype.kind == "f":
        leaves.append(np.asarray(params))
        return len(leaves) - 1
    reason = f"its parameters hold a {type(params).__name__}, which has no form in JSON"
    way_out = "nest them in dicts with text keys, lists, tuples"
    raise TrainingNotSavedError(str(directory), reason, way_out)


def _restored(nesting: Any, leaves: list[jax.Array]) -> Params:
    if nesting is None:
        return None
    if isinstance(nesting, int):
        return leaves[nesting]
    ((kind, content),) = nesting.items()
    if kind == "dict":
        return {key: _restored(part, leaves) for key, part in content.items()}
    parts = [_restored(part, leaves) for part in content]
    return parts if kind == "list" else tuple(parts)
