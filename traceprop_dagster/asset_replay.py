"""Run an asset's own function again, on the inputs that a store recorded or on changed ones.

Nothing is written: the function is called as Dagster calls it, but its result stays here.
"""

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import dagster as dg
import pandas as pd

from traceprop_dagster.errors import AssetReplayError
from traceprop_dagster.io_manager import SOURCE_OPTIONS_KEY
from traceprop_dagster.metadata import dataset_name
from traceprop_engine.errors import SourceChangedError
from traceprop_engine.lineage.captured import CapturedLineage
from traceprop_engine.recording import (
    DatasetVersion,
    InputRef,
    find_dataset_version,
    load_frame,
    load_source,
    load_training_run,
)
from traceprop_engine.recording.lineage import load_lineage
from traceprop_engine.sources import SourceVersion, read_source
from traceprop_engine.store import Store
from traceprop_engine.training import Predictions


@dataclass(frozen=True, eq=False)
class AssetReplay:
    """An asset, what it was made from, and how to run it again.

    Attributes:
        asset: The definition.
        version: What was recorded of it.
        lineage: The recorded lineage.
        frames: The recorded inputs that have rows, by the name that the lineage gives them.
        constants: Other inputs, such as a model, by the name of the argument.
        resources: What the function needs and the definition does not bring along.
        instance: Where Dagster keeps what the function logs; ephemeral.
    """

    asset: dg.AssetsDefinition
    version: DatasetVersion
    lineage: CapturedLineage
    frames: Mapping[str, pd.DataFrame]
    constants: Mapping[str, object]
    resources: Mapping[str, object]
    instance: dg.DagsterInstance
    partition_key: str | None = None

    def run(self, **frames: pd.DataFrame) -> pd.DataFrame:
        """Return what the asset's function makes of these inputs.

        Raises:
            AssetReplayError: It does not return a data frame or predictions.
        """
        context = dg.build_asset_context(
            resources=dict(self.resources),
            instance=self.instance,
            partition_key=self.partition_key,
        )
        value = self.asset(context, **self.constants, **_arguments(frames))
        return _frame_of(value, dataset_name(self.asset.key))


@contextmanager
def asset_replay(
    store: Store,
    asset: dg.AssetsDefinition,
    *,
    resources: Mapping[str, object],
    source_options: Mapping[str, Mapping[str, Any]],
    partition_key: str | None = None,
    run_id: str | None = None,
) -> Generator[AssetReplay]:
    """Yield an asset with its newest recorded inputs.

    Args:
        store: It holds what was recorded.
        asset: The definition of one asset.
        resources: By key; those that the definition brings along are not needed.
        source_options: How source files are read, by the name of the source; see
            `read_options_of`.
        partition_key: Of a partitioned asset, which partition.
        run_id: The run whose version is preferred.

    Raises:
        AssetReplayError: The definition cannot be run by itself, or a resource is missing.
        DatasetNotFoundError: Nothing was recorded of it.
        SourceChangedError: A source file is not what it was.
    """
    _require_single(asset)
    name = dataset_name(asset.key)
    version = find_dataset_version(store, name, partition_key=partition_key, run_id=run_id)
    lineage, inputs = load_lineage(store, version)
    frames = {key: _load(store, ref, source_options) for key, ref in inputs.items()}
    tables = {key: each for key, each in frames.items() if isinstance(each, pd.DataFrame)}
    if not tables:
        reason = "none of its recorded inputs has rows"
        raise AssetReplayError(name, reason, "check an asset that is made from data frames")
    others = {key: each for key, each in frames.items() if key not in tables}
    with dg.DagsterInstance.ephemeral() as instance:
        yield AssetReplay(
            asset=asset,
            version=version,
            lineage=lineage,
            frames=tables,
            constants=others | _unrecorded(store, asset, {*_arguments(frames)}, run_id),
            resources=_needed(asset, resources),
            instance=instance,
            partition_key=partition_key,
        )


def _require_single(asset: dg.AssetsDefinition) -> None:
    keys = list(asset.keys)
    if len(keys) != 1:
        name = ", ".join(dataset_name(key) for key in keys)
        reason = "one function makes them together"
        raise AssetReplayError(name, reason, "check a function that makes one asset")
    if not isinstance(asset.node_def, dg.OpDefinition):
        reason = "it is made by a graph of ops, which Dagster cannot call by itself"
        raise AssetReplayError(dataset_name(keys[0]), reason, "check an asset made by one function")


def _needed(asset: dg.AssetsDefinition, resources: Mapping[str, object]) -> dict[str, object]:
    """Return the resources that a call must be given."""
    io_manager = asset.get_io_manager_key_for_asset_key(asset.key)
    brought = set(asset.resource_defs)
    keys = sorted(set(asset.required_resource_keys) - brought - {io_manager})
    missing = [key for key in keys if key not in resources]
    if missing:
        reason = f"its resources {', '.join(missing)} are not given"
        raise AssetReplayError(dataset_name(asset.key), reason, "pass them, or define them")
    return {key: resources[key] for key in keys}


def read_options_of(
    assets: Iterable[dg.AssetSpec | dg.SourceAsset],
) -> dict[str, Mapping[str, Any]]:
    """Return how source files are read, by the name of the source; other assets say nothing."""
    found: dict[str, Mapping[str, Any]] = {}
    for asset in assets:
        options = asset.metadata.get(SOURCE_OPTIONS_KEY)
        if isinstance(options, dg.JsonMetadataValue):
            found[dataset_name(asset.key)] = cast("Mapping[str, Any]", options.value)
    return found


def _load(store: Store, ref: InputRef, options: Mapping[str, Mapping[str, Any]]) -> object:
    if ref.kind == "dataset":
        return _load_version(store, find_dataset_version(store, ref.id))
    recorded = load_source(store, ref.id)
    version, frame = read_source(
        recorded.uri, name=recorded.name, **options.get(recorded.name, _spec(recorded))
    )
    if version.sha256 != recorded.sha256:
        raise SourceChangedError(
            Path(recorded.uri),
            "it is not the file that the asset was made from",
            "materialize the asset again",
        )
    return frame


def _spec(recorded: SourceVersion) -> dict[str, Any]:
    names = ("format", "encoding", "delimiter")
    facts = {name: getattr(recorded, name) for name in names}
    return {name: value for name, value in facts.items() if value is not None}


def _load_version(store: Store, version: DatasetVersion) -> object:
    if version.is_training_run:
        return load_training_run(store, version.id).run
    return load_frame(store, version)


def _unrecorded(
    store: Store, asset: dg.AssetsDefinition, known: set[str], run_id: str | None
) -> dict[str, object]:
    """Return the inputs that the lineage does not speak of, such as the model behind a table."""
    definitions = asset.op.ins
    found: dict[str, object] = {}
    for name, key in asset.keys_by_input_name.items():
        is_nothing = definitions[name].dagster_type.is_nothing  # pyrefly: ignore[missing-attribute]
        if name not in known and not is_nothing:
            version = find_dataset_version(store, dataset_name(key), run_id=run_id)
            found[name] = _load_version(store, version)
    return found


def _arguments(frames: Mapping[str, Any]) -> dict[str, Any]:
    """Return frames by argument: the partitions of one input, ``name[key]``, are one dict."""
    arguments: dict[str, Any] = {}
    for name, frame in frames.items():
        argument, bracket, partition = name.partition("[")
        if bracket:
            arguments.setdefault(argument, {})[partition.removesuffix("]")] = frame
        else:
            arguments[name] = frame
    return arguments


def _frame_of(value: object, name: str) -> pd.DataFrame:
    """Return the data frame in what a function returned or yielded."""
    if isinstance(value, Generator):
        outputs = [each for each in value if isinstance(each, dg.Output | dg.MaterializeResult)]
        value = outputs[0] if outputs else None
    if isinstance(value, dg.Output | dg.MaterializeResult):
        value = value.value
    if isinstance(value, Predictions):
        return value.frame
    if not isinstance(value, pd.DataFrame):
        reason = f"it returned a {type(value).__name__}"
        raise AssetReplayError(name, reason, "only data frames and predictions can be compared")
    return value
