"""Dataset versions as OpenLineage run events, with a facet of our own for row maps.

Each dataset version is one run of the job that has its name. OpenLineage asks for a START and a
COMPLETE of every run; when the work began was not recorded, so both carry the time at which the
version was recorded, and the facet ``traceprop_recording`` says so.
"""

from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from uuid import UUID, uuid5

from traceprop_engine.exports.producer import NAME, software_version
from traceprop_engine.exports.recorded import Input, MapFacts, RecordedLineage, VersionFacts

Json = dict[str, object]

NAMESPACE = "traceprop"
"""The namespace of datasets and jobs, unless the caller names another."""

TIME = "when the dataset version was recorded; when the work began or ended was not recorded"

_SPEC = "https://openlineage.io/spec"
_OWN = "urn:traceprop:facets:1-0-0"
_RUNS = UUID("6f1a7f0e-6a43-5d5e-9a0e-0e2a54b1c0de")
"""The UUID namespace in which a dataset version has the identifier of its run."""


def facet_schema(facet: str) -> str:
    """Return the JSON Schema of one of our facets, as text.

    Args:
        facet: ``"TracepropRowMapDatasetFacet"`` or ``"TracepropRecordingRunFacet"``.
    """
    folder = files("traceprop_engine.exports") / "schemas"
    return (folder / f"{facet}.json").read_text(encoding="utf-8")


def run_events(lineage: RecordedLineage, namespace: str = NAMESPACE) -> Iterator[Json]:
    """Return the OpenLineage events of every dataset version, in the order of their commits.

    Args:
        lineage: What `read_lineage` returned.
        namespace: The OpenLineage namespace of datasets and jobs. Files have ``file``.

    Raises:
        ExportTimeError: A dataset version was recorded without a time.
    """
    events = _Events(lineage, namespace)
    for version in lineage.versions:
        yield events.event(version, "START")
        yield events.event(version, "COMPLETE") | {
            "inputs": [events.input_dataset(one) for one in version.inputs],
            "outputs": [events.output_dataset(version)],
        }


class _Events:
    """Makes the parts of events."""

    def __init__(self, lineage: RecordedLineage, namespace: str) -> None:
        self._lineage = lineage
        self._namespace = namespace
        self._producer = f"https://pypi.org/project/{NAME}/{software_version()}"

    def event(self, version: VersionFacts, event_type: str) -> Json:
        """Return an event without its datasets."""
        job_type = self._facet(
            "facets/2-0-4/JobTypeJobFacet",
            {"processingType": "BATCH", "integration": "TRACEPROP", "jobType": "DATASET"},
        )
        run_id = str(uuid5(_RUNS, version.id))
        return {
            "eventType": event_type,
            "eventTime": version.recorded_at.isoformat(timespec="microseconds"),
            "producer": self._producer,
            "schemaURL": f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent",
            "run": {"runId": run_id, "facets": {"traceprop_recording": self._recording(version)}},
            "job": {
                "namespace": self._namespace,
                "name": version.dataset,
                "facets": {"jobType": job_type},
            },
        }

    def input_dataset(self, one: Input) -> Json:
        """Return a source file or dataset version as an input."""
        facets: Json = {"version": self._version_facet(one.id)}
        statistics: Json = {}
        source, version = self._lineage.sources.get(one.id), self._lineage.by_id.get(one.id)
        if source is not None:
            facets["schema"] = self._schema_facet([{"name": name} for name in source.columns])
            facets["version"] = self._version_facet(source.sha256)
            statistics = {"rowCount": source.n_rows, "size": source.n_bytes, "fileCount": 1}
        elif version is not None:
            facets["schema"] = self._schema_facet(_fields(version))
            statistics = {"rowCount": version.n_rows}
        described: Json = self._address(one) | {"facets": facets}
        if statistics:
            facet = self._facet("facets/1-0-0/InputStatisticsInputDatasetFacet", statistics)
            described["inputFacets"] = {"inputStatistics": facet}
        return described

    def output_dataset(self, version: VersionFacts) -> Json:
        """Return a dataset version as an output, with all that is known of its rows."""
        facets: Json = {
            "schema": self._schema_facet(_fields(version)),
            "version": self._version_facet(version.id),
            "traceprop_rowMap": self._row_map_facet(version),
        }
        if version.same_columns:
            facets["columnLineage"] = self._column_facet(version)
        statistics = self._facet(
            "facets/1-0-2/OutputStatisticsOutputDatasetFacet", {"rowCount": version.n_rows}
        )
        return {
            "namespace": self._namespace,
            "name": version.dataset,
            "facets": facets,
            "outputFacets": {"outputStatistics": statistics},
        }

    def _address(self, one: Input) -> Json:
        if one.kind == "source":
            source = self._lineage.sources.get(one.id)
            return {"namespace": "file", "name": one.name if source is None else source.uri}
        version = self._lineage.by_id.get(one.id)
        name = one.name if version is None else version.dataset
        return {"namespace": self._namespace, "name": name}

    def _recording(self, version: VersionFacts) -> Json:
        return self._own_facet(
            "TracepropRecordingRunFacet",
            {
                "runId": version.run_id,
                "datasetVersionId": version.id,
                "partitionKey": version.partition_key or None,
                "codeVersion": version.code_version,
                "commitNo": version.commit_no,
                "ops": [op.name for op in version.ops],
                "eventTimeMeans": TIME,
            },
        )

    def _row_map_facet(self, version: VersionFacts) -> Json:
        return self._own_facet(
            "TracepropRowMapDatasetFacet",
            {
                "datasetVersionId": version.id,
                "nRows": version.n_rows,
                "coverage": version.coverage,
                "fidelity": version.fidelity,
                "reason": version.reason,
                "maps": [self._map(facts) for facts in version.maps],
            },
        )

    def _map(self, facts: MapFacts) -> Json:
        return _present(
            {
                "mapId": facts.map_id,
                "inputName": facts.input.name,
                "input": self._address(facts.input) | {"version": facts.input.id},
                "role": facts.role,
                "kind": facts.kind,
                "nOut": facts.n_out,
                "nIn": facts.n_in,
                "fidelity": facts.fidelity,
                "digest": facts.digest,
                "block": facts.block,
                "statistic": facts.statistic,
                "column": facts.column_name,
            }
        )

    def _column_facet(self, version: VersionFacts) -> Json:
        inputs = {facts.input.name: facts.input for facts in version.maps}
        fields: dict[str, dict[str, list[Json]]] = {}
        for same in version.same_columns:
            if same.input_name in inputs:
                found = self._address(inputs[same.input_name]) | {"field": same.input_column}
                fields.setdefault(same.column, {"inputFields": []})["inputFields"].append(found)
        return self._facet("facets/1-2-0/ColumnLineageDatasetFacet", {"fields": fields})

    def _schema_facet(self, fields: Sequence[Json]) -> Json:
        return self._facet("facets/1-2-0/SchemaDatasetFacet", {"fields": fields})

    def _version_facet(self, version: str) -> Json:
        return self._facet("facets/1-0-1/DatasetVersionDatasetFacet", {"datasetVersion": version})

    def _facet(self, path: str, values: Mapping[str, object]) -> Json:
        url = f"{_SPEC}/{path}.json#/$defs/{path.rpartition('/')[2]}"
        return {"_producer": self._producer, "_schemaURL": url, **values}

    def _own_facet(self, name: str, values: Mapping[str, object]) -> Json:
        return {
            "_producer": self._producer,
            "_schemaURL": f"{_OWN}:{name}",
            **_present(values),
        }


def _fields(version: VersionFacts) -> list[Json]:
    return [{"name": name, "type": type_} for name, type_ in version.columns]


def _present(values: Mapping[str, object]) -> Json:
    return {name: value for name, value in values.items() if value is not None}
