"""Gradients of many rows on disk, in shards that are written once and mapped into memory."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.digests import canonical_json, sha256_bytes
from traceprop_engine.durable_files import publish, staged_file, sync_directory
from traceprop_engine.errors import GradientShapeError, GradientShardError, GradientStorageError
from traceprop_engine.gradients.layers import LayerGradients, slices
from traceprop_engine.gradients.projection import Projection, projection_from
from traceprop_engine.gradients.recorded import Loss
from traceprop_engine.gradients.rows import RowGradients
from traceprop_engine.gradients.shard_files import (
    Shard,
    ShardFile,
    read_shard,
    sidecar_path,
    whole_shard,
    write_array,
    write_shard,
)
from traceprop_engine.gradients.stored_numbers import (
    StoredDtype,
    check_stored,
    decode,
    encode,
    itemsize,
)

DESCRIPTION = "description.json"
"""Name of the file that says what the shards of a directory are."""

FEATURES = "features"
"""Name of the one flat layer of projected gradients."""

Progress = Callable[[int, int], None]
"""Told the number of rows done and of all rows."""

_SCALARS = ("values", "slopes", "curvatures")
_FORMAT = 1


@dataclass(frozen=True)
class ShardSettings:
    """What the gradients of a set of shards are.

    Attributes:
        model: Name of the training.
        checkpoint: Position of the checkpoint in the training's steps.
        step: Optimiser steps before it.
        loss: What was minimised.
        target: The scalar that the gradients are of.
        n_rows: Rows of the whole set.
        dtype: How numbers are stored.
        rows_per_shard: Rows of each shard but the last.
    """

    model: str
    checkpoint: int
    step: int
    loss: Loss
    target: str
    n_rows: int
    dtype: StoredDtype = "float32"
    rows_per_shard: int = 8192

    def shard_rows(self) -> Iterator[slice]:
        """Yield the rows of each shard."""
        yield from slices(self.n_rows, self.rows_per_shard)


@dataclass(frozen=True, eq=False)
class GradientShards:
    """A whole set of shards, mapped into memory: nothing is read before it is used.

    Attributes:
        directory: Where they are.
        settings: What they are.
        projection: How the gradients were projected; ``None`` if their factors are stored.
        shards: In the order of their rows.
    """

    directory: Path
    settings: ShardSettings
    projection: Projection | None
    shards: tuple[Shard, ...]
    _arrays: tuple[Mapping[str, NDArray[np.generic]], ...]

    @classmethod
    def open(cls, directory: Path, *, verify: bool = True) -> "GradientShards":
        """Open a directory that `write_shards` filled.

        Args:
            directory: The directory.
            verify: Read every file once and compare it with its digest.

        Raises:
            GradientShardError: A file is missing, damaged, or not of this set.
        """
        settings, facts, of = _read_description(directory)
        shards = []
        for rows in settings.shard_rows():
            path = sidecar_path(directory, rows)
            if not path.is_file():
                reason = f"rows {rows.start} to {rows.stop - 1} are missing"
                raise GradientShardError(path, reason, "finish writing the shards")
            shard = read_shard(path)
            if shard.of != of or shard.rows != rows:
                reason = "the shard is of another set of gradients"
                raise GradientShardError(path, reason, "write the shards again")
            shards.append(shard)
        files = _projection_files(directory, facts)
        if verify:
            _verify([*files.values(), *(file for shard in shards for file in shard.files.values())])
        arrays = {name: file.load() for name, file in files.items()}
        projection = facts["projection"] and projection_from(facts["projection"], arrays)
        mapped = tuple(_mapped(shard, settings.dtype) for shard in shards)
        return cls(directory, settings, projection, tuple(shards), mapped)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.settings.n_rows

    @property
    def n_features(self) -> int | None:
        """Numbers that stand for a row: features, or parameters; ``None`` without any row."""
        if self.projection is not None:
            return self.projection.n_features
        if not self.shards:
            return None
        return self.gradients(0, slice(0)).n_parameters

    @property
    def values(self) -> NDArray[np.float64]:
        """The scalar of each row, ``[n]``."""
        return self._scalars("values")

    @property
    def slopes(self) -> NDArray[np.float64]:
        """Derivative of each row's loss in its scalar, ``[n]``, or none."""
        return self._scalars("slopes")

    @property
    def curvatures(self) -> NDArray[np.float64]:
        """Second derivative of each row's loss in its scalar, ``[n]``, or none."""
        return self._scalars("curvatures")

    def stored(self, position: int) -> Mapping[str, NDArray[np.generic]]:
        """Return the arrays of a shard as they are stored, mapped into memory."""
        return self._arrays[position]

    def gradients(self, position: int, rows: slice = slice(None)) -> RowGradients:
        """Return the gradients of rows of a shard as float32.

        Projected ones are a single flat layer called ``"features"``, so that kernels, products and
        sums work on either form.

        Args:
            position: Which shard.
            rows: Which of its rows, by their positions in the shard.
        """
        arrays, dtype = self._arrays[position], self.settings.dtype
        layers = []
        for number, (name, has_inputs) in enumerate(self.shards[position].layers):
            inputs = decode(arrays[f"{number}.inputs"][rows], dtype) if has_inputs else None
            layers.append(
                LayerGradients(name, inputs, decode(arrays[f"{number}.deltas"][rows], dtype))
            )
        scalars = (arrays[name][rows].astype(np.float64) for name in _SCALARS)
        return RowGradients(tuple(layers), *scalars)

    def blocks(self) -> Iterator[tuple[slice, RowGradients]]:
        """Yield the gradients of one shard after another, with the positions of their rows."""
        for position, shard in enumerate(self.shards):
            yield shard.rows, self.gradients(position)

    def _scalars(self, name: str) -> NDArray[np.float64]:
        parts = [arrays[name] for arrays in self._arrays]
        return np.concatenate([np.empty(0), *parts], dtype=np.float64)


def write_shards(
    directory: Path,
    settings: ShardSettings,
    gradients_of: Callable[[slice], RowGradients],
    *,
    projection: Projection | None = None,
    progress: Progress | None = None,
) -> GradientShards:
    """Write gradients shard by shard; a shard that is there and whole is not computed again.

    Call it again with the same arguments after it was interrupted. Several processes may write the
    same set. At no time is more than one shard in memory.

    Args:
        directory: Where to; made if it is not there.
        settings: What the gradients are.
        gradients_of: Returns the gradients of some rows.
        projection: How to project them; ``None`` stores their factors.
        progress: Told before each shard and at the end.

    Raises:
        GradientStorageError: Numbers do not fit the dtype, the directory holds another set of
            gradients or cannot be written to.
        GradientShapeError: `gradients_of` returned another number of rows.
    """
    _check_settings(settings)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        of = _write_description(directory, settings, projection)
        for rows in settings.shard_rows():
            if progress is not None:
                progress(rows.start, settings.n_rows)
            if whole_shard(directory, rows, of) is None:
                _write_rows(directory, settings, rows, of, gradients_of(rows), projection)
    except OSError as error:
        raise GradientStorageError(
            f"{directory} cannot be written to ({error.strerror or error})",
            "make room or choose another directory",
        ) from error
    if progress is not None:
        progress(settings.n_rows, settings.n_rows)
    return GradientShards.open(directory, verify=False)


def available_cores() -> int:
    """Return the number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check_settings(settings: ShardSettings) -> None:
    itemsize(settings.dtype)
    if settings.rows_per_shard < 1 or settings.n_rows < 0:
        raise GradientStorageError(
            f"{settings.n_rows} rows in shards of {settings.rows_per_shard} are asked for",
            "use at least one row a shard",
        )


def _write_rows(
    directory: Path,
    settings: ShardSettings,
    rows: slice,
    of: str,
    gradients: RowGradients,
    projection: Projection | None,
) -> None:
    if gradients.n_rows != rows.stop - rows.start:
        wanted = f"of {rows.stop - rows.start} rows"
        what = f"gradients of rows {rows.start} to {rows.stop - 1}"
        raise GradientShapeError(what, wanted, str(gradients.n_rows))
    layers = gradients.layers
    if projection is not None:
        layers = (LayerGradients(FEATURES, None, projection.project(gradients)),)
    arrays: dict[str, NDArray[np.generic]] = {}
    for number, layer in enumerate(layers):
        what = f"layer {layer.name!r} of rows from {rows.start}"
        if layer.inputs is not None:
            arrays[f"{number}.inputs"] = encode(f"inputs of {what}", layer.inputs, settings.dtype)
        arrays[f"{number}.deltas"] = encode(f"deltas of {what}", layer.deltas, settings.dtype)
    for name in _SCALARS:
        arrays[name] = getattr(gradients, name).astype("<f8")
    of_layers = tuple((layer.name, layer.inputs is not None) for layer in layers)
    write_shard(directory, rows, of=of, layers=of_layers, arrays=arrays)


def _write_description(
    directory: Path, settings: ShardSettings, projection: Projection | None
) -> str:
    """Write what the set is, or check that the directory holds the same; return its SHA-256."""
    files = {}
    for name, array in (projection.arrays() if projection else {}).items():
        file = write_array(directory, f"projection.{name}", array)
        files[name] = {"name": file.path.name, "sha256": file.sha256, "bytes": file.n_bytes}
    facts = asdict(settings) | {
        "format": _FORMAT,
        "projection": dict(projection.describe()) if projection else None,
        "projection_files": files,
    }
    data = canonical_json(facts).encode()
    path = directory / DESCRIPTION
    with staged_file(directory, data) as staged:
        if not publish(staged, path) and path.read_bytes() != data:
            raise GradientStorageError(
                f"{directory} holds other gradients", "choose another directory or remove it"
            )
    sync_directory(directory)
    return sha256_bytes(data)


def _read_description(directory: Path) -> tuple[ShardSettings, dict[str, Any], str]:
    path = directory / DESCRIPTION
    try:
        data = path.read_bytes()
        facts = json.loads(data)
        if facts.pop("format") != _FORMAT:
            reason = "the shards are of a newer format"
            raise GradientShardError(path, reason, "read them with the version that wrote them")
        names = ("projection", "projection_files")
        others = {name: facts.pop(name) for name in names}
        return ShardSettings(**facts), others, sha256_bytes(data)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"is no description of gradients ({error})"
        raise GradientShardError(path, reason, "write the shards again") from error


def _projection_files(directory: Path, facts: Mapping[str, Any]) -> dict[str, ShardFile]:
    return {
        name: ShardFile(directory / Path(file["name"]).name, file["sha256"], file["bytes"])
        for name, file in facts["projection_files"].items()
    }


def _verify(files: Sequence[ShardFile]) -> None:
    with ThreadPoolExecutor(available_cores()) as threads:
        list(threads.map(ShardFile.verify, files))


def _mapped(shard: Shard, dtype: StoredDtype) -> Mapping[str, NDArray[np.generic]]:
    arrays = {part: file.load() for part, file in shard.files.items()}
    for part, array in arrays.items():
        if part not in _SCALARS and not check_stored(array, dtype):
            path = shard.files[part].path
            raise GradientShardError(path, f"holds {array.dtype}, not {dtype}", "write it again")
    return arrays
