"""Outputs of retrained models kept in files, so that a run that was cut off goes on."""

import io
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.digests import sha256_bytes
from traceprop_engine.durable_files import publish, staged_file, sync_directory
from traceprop_engine.errors import RetrainingFileError

_DAMAGE = (zipfile.BadZipFile, zlib.error, NotImplementedError, KeyError, ValueError, EOFError)
"""What a file says whose bytes are not those that were written, wherever they differ."""


@dataclass(frozen=True, eq=False)
class KeptOutputs:
    """Outputs by the model's key, in memory, and in a folder where one is given.

    Attributes:
        folder: Holds one file for each group of models; `None` keeps nothing beyond this object.
        outputs: ``[n_query, n_outputs]`` of each model that is known.
    """

    folder: Path | None
    outputs: dict[str, NDArray[np.floating]] = field(default_factory=dict)

    @classmethod
    def open(cls, directory: Path | None, identity: str) -> "KeptOutputs":
        """Read what is kept of one kind of model; its folder is named by ``identity``.

        Raises:
            RetrainingFileError: A file in the folder is damaged.
            OSError: The folder cannot be made or read.
        """
        if directory is None:
            return cls(None)
        folder = directory / identity
        folder.mkdir(parents=True, exist_ok=True)
        kept = cls(folder)
        for path in sorted(folder.glob("*.npz")):
            kept.outputs.update(_read(path))
        return kept

    def add(self, keys: list[str], outputs: NDArray[np.floating]) -> None:
        """Keep the outputs of a group of models, ``[len(keys), n_query, n_outputs]``.

        Raises:
            OSError: The disk is full, or the folder is not writable.
        """
        self.outputs.update(zip(keys, outputs, strict=True))
        if self.folder is None:
            return
        content = io.BytesIO()
        np.savez_compressed(content, keys=np.array(keys), outputs=outputs)
        name = f"{sha256_bytes(''.join(keys).encode())[:24]}.npz"
        with staged_file(self.folder, content.getvalue()) as staged:
            publish(staged, self.folder / name)
        sync_directory(self.folder)


def model_keys(masks: NDArray[np.bool_], seeds: NDArray[np.int64]) -> list[str]:
    """Return a digest of the rows and the seed of each model."""
    packed = np.packbits(masks, axis=1)
    return [
        sha256_bytes(mask.tobytes() + int(seed).to_bytes(8, "little"))
        for mask, seed in zip(packed, seeds, strict=True)
    ]


def _read(path: Path) -> dict[str, NDArray[np.floating]]:
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as held:
            keys, outputs = held["keys"], held["outputs"]
    except _DAMAGE as error:
        raise RetrainingFileError(str(path), str(error)) from error
    if len(keys) != len(outputs):
        raise RetrainingFileError(str(path), f"{len(keys)} keys for {len(outputs)} models")
    return dict(zip(keys.tolist(), outputs, strict=True))
