"""The IO manager: writes what an asset returned, and how its rows follow from the inputs' rows.

Dagster loads all inputs of a step, runs its body, and then hands over the output, in one process.
Between the first load and the next step a capture session follows the rows through pandas.
"""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa
from pydantic import PrivateAttr

from traceprop_dagster.declared_rows import with_declared_rows
from traceprop_dagster.errors import ModelInputError, UnsupportedOutputError
from traceprop_dagster.loaded_estimators import following_estimators
from traceprop_dagster.metadata import (
    column_lineage_metadata,
    dataset_name,
    frame_metadata,
    lineage_metadata,
    net_run_metadata,
    table_metadata,
    training_run_metadata,
)
from traceprop_dagster.resources import TracepropStore
from traceprop_dagster.values import (
    SUPPORTED,
    Kind,
    followed_value,
    kind_of,
    table_of,
    value_of,
    wanted_class,
)
from traceprop_engine.gradients.net_run import NetPredictions, NetRun
from traceprop_engine.gradients.stored_net import StoredNet
from traceprop_engine.lineage import CaptureSession
from traceprop_engine.lineage.captured import CapturedLineage, ContextDependency
from traceprop_engine.lineage.carriers import Recorded, plain_of
from traceprop_engine.lineage.granularity import Granularity, granularity_named
from traceprop_engine.lineage.graph import root_rows
from traceprop_engine.lineage.marks import Tracked
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.lineage.witness import check_witness
from traceprop_engine.recording import (
    InputRef,
    Materialization,
    RecordedRun,
    column_lineage,
    find_dataset_version,
    is_array_table,
    load_frame,
    load_table,
    load_training_run,
    record_dataset,
    record_net_predictions,
    record_net_run,
    record_predictions,
    record_source,
    record_training_run,
)
from traceprop_engine.sources import read_source
from traceprop_engine.store import Store
from traceprop_engine.training import Predictions, TrainingRun

SOURCE_PATH_KEY = "traceprop/source_path"
SOURCE_OPTIONS_KEY = "traceprop/source_options"
SOURCE_IDENTITY_KEY = "traceprop/source_identity"

StepId = tuple[str, str, int]


@dataclass
class _Step:
    """What was loaded for one attempt of one step."""

    session: CaptureSession
    opened: ExitStack
    inputs: dict[str, InputRef] = field(default_factory=dict)
    keys: dict[str, dg.AssetKey] = field(default_factory=dict)
    frames: dict[str, pd.DataFrame | pa.Table] = field(default_factory=dict)
    models: dict[str, RecordedRun] = field(default_factory=dict)

    @classmethod
    def begun(cls, level: Granularity) -> "_Step":
        """Return a step that is followed at a granularity until it is closed."""
        with ExitStack() as stack:
            session = stack.enter_context(CaptureSession(granularity=level))
            if session.keeps_rows:
                stack.enter_context(following_estimators())
            return cls(session, stack.pop_all())

    def close(self) -> None:
        """Stop following."""
        self.opened.close()


class TracepropIOManager(dg.ConfigurableIOManager):
    """Keeps frames, arrays, models and predictions in a store, with the lineage of each row.

    An input of an asset comes as the class that it is annotated with, whatever the asset before
    returned: a frame of pandas (the default), Polars or Arrow, a NumPy array, a PyTorch tensor. A
    pandas frame is followed through the body of the asset; so are Polars and Arrow, if the
    annotation is `TrackedPolars` or `TrackedTable`, and the estimators of scikit-learn, if the
    module of the asset imports it. For any other body the metadata of the asset may declare the
    rows (``traceprop/row_wise``, ``traceprop/context``), or the body returns what `record` gives.
    What nobody follows is recorded as unknown, which `build_lineage_coverage_checks` can turn into
    a failure.

    A model comes as what it was returned as: a `TrainingRun`; a `NetRun` comes as the `StoredNet`
    that the store holds of it, to be restored with its code.

    With a ``granularity`` other than ``ROW`` no body is followed: which assets went into which is
    kept, and so are declared rows; all other rows are unknown. What assets return is the same.
    """

    granularity: str = Granularity.ROW.value
    store: dg.ResourceDependency[TracepropStore]
    _steps: dict[StepId, _Step] = PrivateAttr(default_factory=dict)

    def load_input(self, context: dg.InputContext) -> object:
        """Return an input of a step, its rows marked so that they can be followed."""
        step = self._step(_step_id(context))
        name = context.name if context.has_input_name else dataset_name(context.asset_key)
        step.keys[name] = context.asset_key
        store = self.store.open()
        upstream = context.upstream_output
        metadata: Mapping[str, Any] = {} if upstream is None else upstream.definition_metadata
        if SOURCE_PATH_KEY in metadata:
            return self._load_source(context, store, step, name, metadata)
        return self._load_dataset(context, store, step, name)

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Write what an asset returned.

        Raises:
            UnsupportedOutputError: It is none of the classes that are kept.
            DeclarationError: The metadata of the asset declares rows that cannot be its own.
            LineageContradictionError: The values contradict the rows that were declared or found.
        """
        if obj is None:
            return
        step = self._step(_step_id(context))
        made = Materialization(
            dataset=dataset_name(context.asset_key),
            inputs=step.inputs,
            run_id=context.run_id,
            partition_key=context.partition_key if context.has_partition_key else "",
            code_version=context.version,
        )
        context.add_output_metadata(
            self._written(made, step, obj, context.definition_metadata or {})
        )

    def _written(
        self, made: Materialization, step: _Step, obj: object, declared: Mapping[str, Any]
    ) -> dict[str, Any]:
        store = self.store.open()
        if isinstance(obj, TrainingRun):
            rows = with_declared_rows(obj.index, declared, step.session)
            return self._write_training_run(store, made, step, obj, step.session.lineage(rows))
        if isinstance(obj, NetRun):
            rows = with_declared_rows(obj.index, declared, step.session)
            return self._write_net_run(store, made, step, obj, step.session.lineage(rows))
        if isinstance(obj, (Predictions, NetPredictions)):
            frame = with_declared_rows(obj.frame, declared, step.session)
            return self._write_predictions(store, made, step, replace(obj, frame=frame))
        kind = kind_of(type(plain_of(obj)))
        if kind is None:
            raise UnsupportedOutputError(made.dataset, type(plain_of(obj)), SUPPORTED)
        followed = with_declared_rows(obj, declared, step.session)
        if kind == "pandas":
            return self._write_frame(store, made, step, followed)
        return self._write_table(store, made, step, followed, kind)

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """End the sessions of this run, and show what it recorded to whoever asks in SQL."""
        del context
        was_used = bool(self._steps)
        for key in list(self._steps):
            self._steps.pop(key).close()
        if was_used:
            self.store.open().ingest()

    def _step(self, key: StepId) -> _Step:
        """Return the step that runs, ending the sessions of the steps before it."""
        for other in [k for k in self._steps if k != key]:
            self._steps.pop(other).close()
        if key not in self._steps:
            self._steps[key] = _Step.begun(granularity_named(self.granularity))
        return self._steps[key]

    def _load_source(
        self,
        context: dg.InputContext,
        store: Store,
        step: _Step,
        name: str,
        metadata: Mapping[str, Any],
    ) -> object:
        path = Path(metadata[SOURCE_PATH_KEY].value)
        options = metadata[SOURCE_OPTIONS_KEY].value if SOURCE_OPTIONS_KEY in metadata else {}
        version, frame = read_source(path, name=dataset_name(context.asset_key), **options)
        identity = metadata[SOURCE_IDENTITY_KEY].value if SOURCE_IDENTITY_KEY in metadata else {}
        step.inputs[name] = record_source(store, version, **identity)
        if kind_of(_wanted(context)) == "pandas":
            return _tracked(step, name, frame)
        table = pa.Table.from_pandas(frame, preserve_index=False)
        return _value(step, name, table, _wanted(context))

    def _load_dataset(
        self, context: dg.InputContext, store: Store, step: _Step, name: str
    ) -> object:
        if not context.has_asset_partitions:
            return self._load_version(context, store, step, name, None)
        partitions = list(context.asset_partition_keys)
        if len(partitions) == 1:
            return self._load_version(context, store, step, name, partitions[0])
        return {
            key: self._load_version(context, store, step, f"{name}[{key}]", key)
            for key in partitions
        }

    def _load_version(
        self,
        context: dg.InputContext,
        store: Store,
        step: _Step,
        name: str,
        partition: str | None,
    ) -> object:
        version = find_dataset_version(
            store,
            dataset_name(context.asset_key),
            partition_key=partition,
            run_id=context.step_context.run_id,
        )
        step.inputs[name] = InputRef("dataset", version.id, version.columns)
        step.keys[name] = context.asset_key
        if version.is_training_run:
            step.models[name] = load_training_run(store, version.id)
            return step.models[name].run
        if kind_of(_wanted(context)) == "pandas":
            return _tracked(step, name, load_frame(store, version))
        return _value(step, name, load_table(store, version), _wanted(context))

    def _write_frame(
        self, store: Store, made: Materialization, step: _Step, frame: pd.DataFrame
    ) -> dict[str, Any]:
        plain, lineage = step.session.finish(frame)
        lineage = check_witness(lineage, _known_frames(step, lineage), plain)
        version_id = record_dataset(store, made, plain, lineage)
        return self._dataset_metadata(
            step, version_id, lineage, map(str, plain.columns)
        ) | frame_metadata(plain)

    def _write_table(
        self, store: Store, made: Materialization, step: _Step, obj: object, kind: Kind
    ) -> dict[str, Any]:
        followed = obj if isinstance(obj, Tracked) else Recorded(obj, None)
        plain, lineage = step.session.finish(followed)
        table = table_of(plain, kind)
        if not is_array_table(table):
            check_witness(lineage, _known_frames(step, lineage), table.to_pandas())
        version_id = record_dataset(store, made, table, lineage)
        return self._dataset_metadata(
            step, version_id, lineage, table.column_names
        ) | table_metadata(table)

    def _write_training_run(
        self,
        store: Store,
        made: Materialization,
        step: _Step,
        run: TrainingRun,
        lineage: CapturedLineage,
    ) -> dict[str, Any]:
        version_id, run_id = record_training_run(store, made, run, lineage)
        return {
            **self._dataset_metadata(step, version_id, lineage),
            **training_run_metadata(run_id, run),
            **_link("traceprop/run_page", self.store.page("run", run_id)),
        }

    def _write_net_run(
        self,
        store: Store,
        made: Materialization,
        step: _Step,
        run: NetRun,
        lineage: CapturedLineage,
    ) -> dict[str, Any]:
        version_id, run_id = record_net_run(store, made, run, lineage)
        net = load_training_run(store, run_id).run
        facts = net_run_metadata(run_id, net) if isinstance(net, StoredNet) else {}
        return {
            **self._dataset_metadata(step, version_id, lineage),
            **facts,
            **_link("traceprop/run_page", self.store.page("run", run_id)),
        }

    def _write_predictions(
        self,
        store: Store,
        made: Materialization,
        step: _Step,
        predictions: Predictions | NetPredictions,
    ) -> dict[str, Any]:
        model_name, model = _only_model(made.dataset, step)
        plain, lineage = step.session.finish(predictions.frame)
        lineage = check_witness(lineage, _known_frames(step, lineage), plain)
        lineage = _with_model(lineage, model_name, model)
        if isinstance(predictions, NetPredictions):
            of_net = replace(predictions, frame=plain)
            version_id = record_net_predictions(store, made, of_net, lineage, model)
        else:
            written = replace(predictions, frame=plain)
            version_id = record_predictions(store, made, written, lineage, model)
        return self._dataset_metadata(
            step, version_id, lineage, map(str, plain.columns)
        ) | frame_metadata(plain)

    def _dataset_metadata(
        self, step: _Step, version_id: str, lineage: CapturedLineage, columns: Iterable[str] = ()
    ) -> dict[str, Any]:
        return {
            **_link("traceprop/page", self.store.page("dataset", version_id)),
            **lineage_metadata(version_id, lineage),
            **column_lineage_metadata(column_lineage(columns, lineage, step.inputs), step.keys),
        }


def _step_id(context: dg.InputContext | dg.OutputContext) -> StepId:
    step = context.step_context
    return step.run_id, step.step.key, step.previous_attempt_count


def _tracked(step: _Step, name: str, frame: pd.DataFrame) -> pd.DataFrame:
    step.frames[name] = frame
    return step.session.load(frame, name)


def _value(step: _Step, name: str, table: pa.Table, cls: type) -> object:
    """Return a kept table as a value of a class; its rows are an input of the session."""
    step.frames[name] = table
    mark = root_rows(step.session.notes, len(table), name)
    value = value_of(table, cls)
    return followed_value(value, mark.node, cls) if step.session.keeps_rows else value


def _wanted(context: dg.InputContext) -> type:
    return wanted_class(context.dagster_type.typing_type)


def _known_frames(step: _Step, lineage: CapturedLineage) -> dict[str, pd.DataFrame]:
    """Return the inputs whose rows are known, as frames; the columns of an array have no names."""
    return {
        name: frame if isinstance(frame, pd.DataFrame) else frame.to_pandas()
        for name, frame in step.frames.items()
        if lineage.maps[name].is_known
        and not (isinstance(frame, pa.Table) and is_array_table(frame))
    }


def _only_model(dataset: str, step: _Step) -> tuple[str, RecordedRun]:
    if len(step.models) != 1:
        raise ModelInputError(dataset, list(step.models))
    return next(iter(step.models.items()))


def _with_model(lineage: CapturedLineage, name: str, model: RecordedRun) -> CapturedLineage:
    """Add that every prediction depends on all training rows, through the parameters."""
    members = RowMap.groups(np.zeros(model.run.n_train, dtype=np.int32), 1)
    statistic = "NetRun.predict" if isinstance(model.run, StoredNet) else "TrainingRun.predict"
    context = ContextDependency(input=name, statistic=statistic, column=None, members=members)
    return replace(lineage, contexts=(*lineage.contexts, context))


def _link(key: str, address: str | None) -> dict[str, Any]:
    return {} if address is None else {key: dg.MetadataValue.url(address)}
