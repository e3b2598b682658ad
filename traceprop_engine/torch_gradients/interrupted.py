"""The state of a training that still runs, in one file that is replaced as a whole."""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.durable_files import replace, staged_file
from traceprop_engine.errors import TrainingFilesError

_FILE = "running.npz"


@dataclass(frozen=True, eq=False)
class RunningState:
    """All that a training needs to go on as if it had never stopped.

    Attributes:
        identity: Of its recipe, rows, layers and parameters by name and shape.
        step: Steps that are done.
        arrays: Everything that a step changes, by name.
    """

    identity: str
    step: int
    arrays: dict[str, NDArray[np.generic]]


def write_running(directory: Path, state: RunningState) -> None:
    """Put the state in the place of an earlier one, at once and durably.

    Raises:
        OSError: The directory cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    said = {"identity": state.identity, "step": state.step, "names": list(state.arrays)}
    content = io.BytesIO()
    np.savez(content, np.array(json.dumps(said)), *state.arrays.values(), allow_pickle=False)
    with staged_file(directory, content.getbuffer()) as staged:
        replace(staged, directory / _FILE)


def read_running(directory: Path, identity: str) -> RunningState | None:
    """Return the state that was written, or ``None`` where there is none yet.

    Raises:
        TrainingFilesError: It is damaged, or belongs to another training.
    """
    path = directory / _FILE
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = [file[f"arr_{position}"] for position in range(len(file.files))]
        said = json.loads(str(arrays[0]))
        names = said["names"]
    except (BadZipFile, ValueError, KeyError, IndexError, EOFError) as problem:
        reason = f"{_FILE} is damaged ({problem})"
        raise TrainingFilesError(str(directory), reason, "delete it and train anew") from problem
    if said["identity"] != identity:
        raise TrainingFilesError(
            str(directory),
            "it is of a training with another recipe, other rows or another module",
            "choose another directory",
        )
    return RunningState(identity, said["step"], dict(zip(names, arrays[1:], strict=True)))
