"""The OpenLineage events are what the official client would write, and say what is recorded."""

import json
from uuid import UUID

import pytest
from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from openlineage.client import event_v2, facet_v2
from openlineage.client.serde import Serde

from tests.hostile_names import NAMES, record_hostile_names
from tests.recorded_store import record_pipeline
from traceprop_engine.digests import canonical_json, sha256_bytes
from traceprop_engine.exports import export_lineage, facet_schema, read_lineage, run_events
from traceprop_engine.lineage.captured import CapturedLineage
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.recording import InputRef, Materialization, record_lineage

OWN = {
    "traceprop_rowMap": "TracepropRowMapDatasetFacet",
    "traceprop_recording": "TracepropRecordingRunFacet",
}
_STATISTICS = facet_v2.output_statistics_output_dataset
FACETS = {
    "version": facet_v2.dataset_version_dataset.DatasetVersionDatasetFacet,
    "jobType": facet_v2.job_type_job.JobTypeJobFacet,
    "inputStatistics": facet_v2.input_statistics_input_dataset.InputStatisticsInputDatasetFacet,
    "outputStatistics": _STATISTICS.OutputStatisticsOutputDatasetFacet,
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return record_pipeline(tmp_path_factory.mktemp("recorded"))


@pytest.fixture(scope="module")
def events(recorded, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "events.jsonl"
    export_lineage(recorded.store, out, format="openlineage")
    return [json.loads(line) for line in out.read_text().splitlines()]


def official(event):
    """Make an event anew from the classes of the official client; they refuse unknown fields."""
    values = dict(event)
    assert values.pop("schemaURL").endswith("/2-0-2/OpenLineage.json#/$defs/RunEvent")
    return event_v2.RunEvent(
        **values
        | {
            "eventType": event_v2.RunState(event["eventType"]),
            "run": event_v2.Run(**_with_facets(event["run"])),
            "job": event_v2.Job(**_with_facets(event["job"])),
            "inputs": [event_v2.InputDataset(**_with_facets(d)) for d in event.get("inputs", [])],
            "outputs": [
                event_v2.OutputDataset(**_with_facets(d)) for d in event.get("outputs", [])
            ],
        }
    )


def _with_facets(part):
    names = ("facets", "inputFacets", "outputFacets")
    return {
        key: {name: _facet(name, facet) for name, facet in value.items() if name not in OWN}
        if key in names
        else value
        for key, value in part.items()
    }


def _facet(name, facet):
    values = {key: value for key, value in facet.items() if not key.startswith("_")}
    if name == "schema":
        module = facet_v2.schema_dataset
        fields = [module.SchemaDatasetFacetFields(**field) for field in values["fields"]]
        made = module.SchemaDatasetFacet(fields=fields, producer=facet["_producer"])
    elif name == "columnLineage":
        module = facet_v2.column_lineage_dataset
        fields = {
            column: module.Fields([module.InputField(**one) for one in found["inputFields"]])
            for column, found in values["fields"].items()
        }
        made = module.ColumnLineageDatasetFacet(fields=fields, producer=facet["_producer"])
    else:
        made = FACETS[name](**values, producer=facet["_producer"])
    return made


def without_empty(value):
    """Leave out what is empty, and facets of our own; the classes write defaults as empty lists."""
    if isinstance(value, dict):
        items = {key: without_empty(item) for key, item in value.items() if key not in OWN}
        return {key: item for key, item in items.items() if item not in ([], {})}
    return list(map(without_empty, value)) if isinstance(value, list) else value


def complete(events):
    return [event for event in events if event["eventType"] == "COMPLETE"]


def event_of(events, version_id):
    (event,) = [
        event
        for event in complete(events)
        if event["run"]["facets"]["traceprop_recording"]["datasetVersionId"] == version_id
    ]
    return event


def test_the_official_client_writes_the_same_events(events):
    for event in events:
        assert without_empty(Serde.to_dict(official(event))) == without_empty(event)


def test_the_official_client_writes_the_same_events_for_any_name(tmp_path):
    events = json.loads(json.dumps(list(run_events(read_lineage(record_hostile_names(tmp_path))))))
    for event in events:
        assert without_empty(Serde.to_dict(official(event))) == without_empty(event)
        validated(event)
    assert [event["outputs"][0]["name"] for event in complete(events)] == list(NAMES)
    made_from = [event["inputs"][0]["name"] for event in complete(events)[1:]]
    assert made_from == list(NAMES[:-1])


def validated(event):
    """Hold the facets of our own against their schemas, and return how many there were."""
    parts = [event["run"], event["job"], *event.get("inputs", []), *event.get("outputs", [])]
    facets = [item for part in parts for item in part.get("facets", {}).items() if item[0] in OWN]
    for name, facet in facets:
        schema = json.loads(facet_schema(OWN[name]))
        Draft202012Validator(schema, format_checker=FormatChecker()).validate(facet)
        assert facet["_schemaURL"] == schema["$id"]
    return len(facets)


def test_our_facets_fit_their_schemas(events):
    assert [validated(event) for event in events] == [1, 2] * (len(events) // 2)


@pytest.mark.parametrize("name", OWN.values())
def test_our_schemas_are_schemas(name):
    Draft202012Validator.check_schema(json.loads(facet_schema(name)))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda facet: facet.pop("coverage"),
        lambda facet: facet.update(fidelity="certain"),
        lambda facet: facet.update(rows=[1, 2, 3]),
        lambda facet: facet["maps"][0].pop("digest"),
        lambda facet: facet["maps"][0].update(digest="0"),
        lambda facet: facet["maps"][0]["input"].pop("version"),
    ],
)
def test_the_schema_refuses_what_is_no_row_map_facet(recorded, events, spoil):
    event = json.loads(json.dumps(event_of(events, recorded.table)))
    spoil(event["outputs"][0]["facets"]["traceprop_rowMap"])
    with pytest.raises(ValidationError):
        validated(event)


def test_every_dataset_version_is_a_run_that_starts_and_completes(recorded, events):
    rows = recorded.store.query(
        "SELECT dataset_version_id, dataset, created_at FROM dataset_version"
    )
    expected = {row["dataset_version_id"]: row for row in rows.to_pylist()}
    types = {}
    for event in events:
        row = expected[event["run"]["facets"]["traceprop_recording"]["datasetVersionId"]]
        assert event["job"]["name"] == row["dataset"]
        assert event["eventTime"] == row["created_at"].isoformat(timespec="microseconds")
        types.setdefault(UUID(event["run"]["runId"]), []).append(event["eventType"])
    assert list(types.values()) == [["START", "COMPLETE"]] * len(expected)


def test_inputs_are_the_files_and_the_versions_that_were_read(recorded, events):
    inputs = event_of(events, recorded.table)["inputs"]
    sources = recorded.store.query("SELECT uri, sha256 FROM source_version").to_pylist()
    sha256_of = {row["uri"]: row["sha256"] for row in sources}
    told = {
        (one["namespace"], one["name"]): one["facets"]["version"]["datasetVersion"]
        for one in inputs
    }
    files = {str(recorded.folder / name) for name in ("people.csv", "areas.parquet")}
    assert told == {("file", uri): sha256_of[uri] for uri in files} | {
        ("traceprop", "visit_features"): recorded.visit_features
    }


def test_predictions_have_the_model_as_an_input(events):
    (event,) = [e for e in complete(events) if e["job"]["name"] == "predictions"]
    assert [one["name"] for one in event["inputs"]] == ["training_table", "risk_model"]


def test_columns_lead_to_the_columns_of_their_name(recorded, events):
    facets = event_of(events, recorded.table)["outputs"][0]["facets"]
    told = {
        (column, one["name"], one["field"])
        for column, found in facets["columnLineage"]["fields"].items()
        for one in found["inputFields"]
    }
    people, areas = (str(recorded.folder / name) for name in ("people.csv", "areas.parquet"))
    columns = {people: ["id", "age", "note"], areas: ["id", "area"]}
    expected = {(column, name, column) for name, found in columns.items() for column in found}
    assert told == expected
    named = [field["name"] for field in facets["schema"]["fields"]]
    assert named == list(recorded.frame.columns)


def test_the_row_map_facet_names_each_map_with_its_digest(recorded, events):
    facet = event_of(events, recorded.table)["outputs"][0]["facets"]["traceprop_rowMap"]
    rows = recorded.store.query(
        "SELECT * FROM row_map WHERE dataset_version_id = ? ORDER BY ordinal", [recorded.table]
    ).to_pylist()
    assert len(facet["maps"]) == len(rows) == 4
    for told, row in zip(facet["maps"], rows, strict=True):
        content = {key: row[key] for key in ("kind", "n_out", "n_in", "block")}
        content["params"] = json.loads(row["params"])
        assert told["digest"] == sha256_bytes(canonical_json(content).encode())
        assert told.get("block") == row["block"]
        assert (told["kind"], told["nOut"], told["nIn"]) == (row["kind"], row["n_out"], row["n_in"])
        assert (told["mapId"], told["input"]["version"]) == (row["map_id"], row["input_id"])
        assert (told["role"], told.get("statistic")) == (row["role"], row["statistic"])
    assert (facet["coverage"], facet["fidelity"], facet["nRows"]) == (1.0, "exact", 60)


def test_lost_rows_are_told_as_lost(events):
    (event,) = [e for e in complete(events) if e["job"]["name"] == "mystery"]
    facet = event["outputs"][0]["facets"]["traceprop_rowMap"]
    assert (facet["coverage"], facet["fidelity"]) == (0.0, "unknown")
    assert [one["kind"] for one in facet["maps"]] == ["unknown"]
    assert facet["reason"] == "DataFrame.values left pandas"


def test_a_digest_changes_with_the_map(tmp_path):
    store = record_hostile_names(tmp_path)
    maps = {
        "a": RowMap.range(0, 1, 2, 5),
        "b": RowMap.range(1, 1, 2, 5),
        "c": RowMap.select([0, 3], 5),
        "d": RowMap.select([0, 4], 5),
    }
    made = Materialization("maps", dict.fromkeys(maps, InputRef("source", "sv")), "run")
    version = record_lineage(store, made, CapturedLineage(2, maps))
    (facts,) = read_lineage(store, version).versions
    assert len({one.digest for one in facts.maps}) == len(maps)


def test_an_input_that_the_store_does_not_know_keeps_its_name(tmp_path):
    store = record_hostile_names(tmp_path)
    made = Materialization("orphan", {"gone": InputRef("source", "sv_gone")}, "run")
    version = record_lineage(store, made, CapturedLineage(2, {"gone": RowMap.identity(2)}))
    *_, event = run_events(read_lineage(store, version))
    (told,) = event["inputs"]
    assert (told["name"], told["facets"]["version"]["datasetVersion"]) == ("gone", "sv_gone")


def test_the_namespace_is_the_callers(recorded):
    *_, event = run_events(read_lineage(recorded.store), "credit")
    assert {event["job"]["namespace"], event["outputs"][0]["namespace"]} == {"credit"}
