"""The files of one shard of gradients: arrays that are written once, and a sidecar that names them.

A shard is there when its sidecar is: the arrays come first, under names that hold their digests, so
that of two processes that write the same shard each leaves a whole one and one of them counts.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.digests import canonical_json, sha256_file
from traceprop_engine.durable_files import publish, replace, staged_file, sync_directory
from traceprop_engine.errors import GradientShardError

_WRITE_AGAIN = "write the shards again: those that are whole are kept"


@dataclass(frozen=True)
class ShardFile:
    """One array of a shard.

    Attributes:
        path: Where it is.
        sha256: Of its bytes.
        n_bytes: Their number.
    """

    path: Path
    sha256: str
    n_bytes: int

    def verify(self) -> None:
        """Compare the bytes of the file with their digest.

        Raises:
            GradientShardError: The file is missing, or not what was written.
        """
        if not self.path.is_file():
            raise GradientShardError(self.path, "the file is missing", _WRITE_AGAIN)
        if self.path.stat().st_size != self.n_bytes or sha256_file(self.path) != self.sha256:
            raise GradientShardError(self.path, "its SHA-256 does not fit", _WRITE_AGAIN)

    def load(self) -> NDArray[np.generic]:
        """Return the array, mapped into memory and read-only.

        Raises:
            GradientShardError: The file is missing, or holds no array.
        """
        try:
            mapped = np.load(self.path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise GradientShardError(
                self.path, f"cannot be read ({error})", _WRITE_AGAIN
            ) from error
        return np.asarray(mapped)


@dataclass(frozen=True)
class Shard:
    """The rows of one shard and its files.

    Attributes:
        rows: Which rows, by their positions in the whole set.
        of: SHA-256 of the description of the set that it belongs to.
        layers: For each layer its name and whether it has inputs.
        files: By the name of the part.
    """

    rows: slice
    of: str
    layers: tuple[tuple[str, bool], ...]
    files: Mapping[str, ShardFile]

    def verify(self) -> None:
        """Compare all files with their digests.

        Raises:
            GradientShardError: A file is missing, or not what was written.
        """
        for file in self.files.values():
            file.verify()


def sidecar_path(directory: Path, rows: slice) -> Path:
    """Return the file that says that the shard of some rows is there."""
    return directory / f"rows-{rows.start:012d}-{rows.stop:012d}.json"


def write_array(directory: Path, name: str, array: NDArray[np.generic]) -> ShardFile:
    """Write an array as ``<name>.<digest>.npy``, durably, unless it is there.

    Raises:
        OSError: The disk is full, or the directory is not writable.
    """
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    data = buffer.getbuffer()
    sha256 = hashlib.sha256(data).hexdigest()
    path = directory / f"{name}.{sha256[:16]}.npy"
    with staged_file(directory, data) as staged:
        if not publish(staged, path):
            replace(staged, path)  # what is there may be damaged
    return ShardFile(path, sha256, len(data))


def write_shard(
    directory: Path,
    rows: slice,
    *,
    of: str,
    layers: tuple[tuple[str, bool], ...],
    arrays: Mapping[str, NDArray[np.generic]],
) -> Shard:
    """Write the arrays of a shard and then its sidecar, all durably.

    Raises:
        OSError: The disk is full, or the directory is not writable.
    """
    stem = sidecar_path(directory, rows).stem
    files = {
        part: write_array(directory, f"{stem}.{part}", array) for part, array in arrays.items()
    }
    shard = Shard(rows, of, layers, files)
    with staged_file(directory, canonical_json(_facts(shard)).encode()) as staged:
        sync_directory(directory)  # the arrays have their names before the sidecar has its
        replace(staged, sidecar_path(directory, rows))
    return shard


def read_shard(path: Path) -> Shard:
    """Return the shard that a sidecar tells of.

    Raises:
        GradientShardError: The file is no sidecar.
    """
    try:
        facts = json.loads(path.read_bytes())
        files = {
            part: ShardFile(path.parent / Path(file["name"]).name, file["sha256"], file["bytes"])
            for part, file in facts["files"].items()
        }
        layers = tuple((name, has_inputs) for name, has_inputs in facts["layers"])
        return Shard(slice(*facts["rows"]), facts["of"], layers, files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise GradientShardError(
            path, f"is no sidecar of a shard ({error})", _WRITE_AGAIN
        ) from error


def whole_shard(directory: Path, rows: slice, of: str) -> Shard | None:
    """Return the shard of some rows if it is there, belongs to the set, and its files are whole."""
    path = sidecar_path(directory, rows)
    if not path.exists():
        return None
    try:
        shard = read_shard(path)
        shard.verify()
    except GradientShardError:
        return None  # it is written again
    return shard if shard.of == of and shard.rows == rows else None


def _facts(shard: Shard) -> dict[str, Any]:
    return {
        "rows": [shard.rows.start, shard.rows.stop],
        "of": shard.of,
        "layers": [list(layer) for layer in shard.layers],
        "files": {
            part: {"name": file.path.name, "sha256": file.sha256, "bytes": file.n_bytes}
            for part, file in shard.files.items()
        },
    }
