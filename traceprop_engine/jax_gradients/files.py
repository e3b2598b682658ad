"""Trainings on disk: one .npy file for each array, and one JSON file that describes them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from traceprop_engine.errors import TrainingFilesError
from traceprop_engine.jax_gradients.steps import Params
from traceprop_engine.training.recipe import TrainingRecipe

_FORMAT: Final = 1
_DESCRIPTION: Final = "training.json"


@dataclass(frozen=True, eq=False)
class SavedTraining:
    """What of a training is written: the parameters before and at each checkpoint."""

    name: str
    recipe: TrainingRecipe
    steps: tuple[int, ...]
    params: tuple[Params, ...]
    rows: Mapping[str, NDArray[Any]]

    def check_outputs(
        self, folder: Path, outputs: NDArray[np.floating], saved: NDArray[np.floating]
    ) -> None:
        """Refuse a net whose outputs differ by more than rounding from those that were saved.

        Raises:
            TrainingFilesError: They do.
        """
        bound = float(np.sqrt(np.finfo(saved.dtype).eps)) * (1 + np.abs(saved).max())
        if outputs.shape != saved.shape or not np.abs(outputs - saved).max() <= bound:
            raise TrainingFilesError(
                str(folder),
                "the net gives other outputs for its rows than the recorded one",
                "pass the net it was trained with",
            )


def save_training(folder: Path, kept: SavedTraining, outputs: NDArray[np.floating]) -> None:
    """Write a training to a new folder; the description comes last, with a digest of each array.

    Raises:
        TrainingFilesError: The folder holds something, or the parameters cannot be described.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        reason, way_out = "that folder is not empty", "choose a new one"
        raise TrainingFilesError(str(folder), reason, way_out)
    digests: dict[str, str] = {}

    def put(array: Any) -> str:
        file = f"{len(digests)}.npy"
        np.save(folder / file, np.asarray(array), allow_pickle=False)
        digests[file] = _digest(folder / file)
        return file

    description = {
        "format": _FORMAT,
        "name": kept.name,
        "recipe": asdict(kept.recipe),
        "steps": kept.steps,
        "params": [_described(folder, params, put) for params in kept.params],
        "rows": {name: put(array) for name, array in kept.rows.items()},
        "outputs": put(outputs),
        "sha256": digests,
    }
    (folder / _DESCRIPTION).write_text(json.dumps(description, indent=1), encoding="utf-8")


def load_training(folder: Path) -> tuple[SavedTraining, NDArray[np.floating]]:
    """Read a training and the outputs that its net gave for the first rows.

    Raises:
        TrainingFilesError: A file is missing or damaged, or JAX would round its numbers.
    """
    path = folder / _DESCRIPTION
    if not path.is_file():
        raise TrainingFilesError(str(folder), f"it has no {_DESCRIPTION}", "check the path")
    description = json.loads(path.read_text(encoding="utf-8"))
    if description["format"] != _FORMAT:
        reason = f"it has format {description['format']}, this version reads {_FORMAT}"
        raise TrainingFilesError(str(folder), reason, "use the version that wrote it")

    def get(file: str) -> NDArray[Any]:
        if not (folder / file).is_file() or _digest(folder / file) != description["sha256"][file]:
            reason = f"{file} is missing or not what was written"
            raise TrainingFilesError(str(folder), reason, "restore it, or train again")
        return np.load(folder / file, allow_pickle=False)

    def leaf(file: str) -> Any:
        array = get(file)
        kept = jnp.asarray(array)
        if kept.dtype != array.dtype:
            reason = f"its parameters are {array.dtype} and JAX is set to {kept.dtype}"
            raise TrainingFilesError(str(folder), reason, "set jax_enable_x64 before loading")
        return kept

    saved = SavedTraining(
        description["name"],
        TrainingRecipe(**description["recipe"]),
        tuple(description["steps"]),
        tuple(_restored(params, leaf) for params in description["params"]),
        {name: get(file) for name, file in description["rows"].items()},
    )
    return saved, get(description["outputs"])


def _described(folder: Path, params: Params, put: Any) -> dict[str, Any]:
    """Return the nesting of parameters, each leaf the name of its file."""
    if params is None:
        return {"none": True}
    if type(params) in (list, tuple):
        return {type(params).__name__: [_described(folder, part, put) for part in params]}
    if type(params) is dict and all(isinstance(key, str) for key in params):
        return {"dict": {key: _described(folder, part, put) for key, part in params.items()}}
    if hasattr(params, "dtype") and np.asarray(params).dtype.kind == "f":
        return {"file": put(params)}
    reason = f"its parameters hold a {type(params).__name__}, which has no form in JSON"
    raise TrainingFilesError(
        str(folder), reason, "nest them in dicts with text keys, lists, tuples"
    )


def _restored(described: dict[str, Any], leaf: Any) -> Params:
    ((kind, content),) = described.items()
    if kind == "none":
        return None
    if kind == "file":
        return leaf(content)
    if kind == "dict":
        return {key: _restored(part, leaf) for key, part in content.items()}
    parts = [_restored(part, leaf) for part in content]
    return parts if kind == "list" else tuple(parts)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
