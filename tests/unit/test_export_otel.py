"""The OTLP export is what the protocol's own messages read, and what the SDK would send."""

import base64
import json
from datetime import UTC, datetime

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.hostile_names import NAMES, record_hostile_names
from tests.recorded_store import record_pipeline
from traceprop_engine.errors import ExportRefusedError, ExportTimeError
from traceprop_engine.exports import export_lineage, otlp_requests, read_lineage
from traceprop_engine.exports.otel_sdk import send_spans
from traceprop_engine.store import Store


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return record_pipeline(tmp_path_factory.mktemp("recorded"))


@pytest.fixture(scope="module")
def requests(recorded, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "spans.jsonl"
    export_lineage(recorded.store, out, format="otel")
    return [parsed(json.loads(line)) for line in out.read_text().splitlines()]


def parsed(document):
    """Read OTLP/JSON with the protocol's messages; their JSON has base64 where OTLP has hex."""

    def as_protobuf(value):
        if isinstance(value, dict):
            return {
                key: base64.b64encode(bytes.fromhex(item)).decode()
                if key in {"traceId", "spanId", "parentSpanId"}
                else as_protobuf(item)
                for key, item in value.items()
            }
        return list(map(as_protobuf, value)) if isinstance(value, list) else value

    return json_format.ParseDict(as_protobuf(document), ExportTraceServiceRequest())


def spans_of(requests):
    return [
        span
        for request in requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def plain(value):
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(map(plain, value.array_value.values))
    return getattr(value, kind)


def attributes_of(span):
    return {item.key: plain(item.value) for item in span.attributes}


def is_op(span):
    return "traceprop.op" in attributes_of(span)


def test_each_run_is_a_trace_with_a_span_for_each_dataset_version(recorded, requests):
    rows = recorded.store.query("SELECT run_id, dataset_version_id FROM dataset_version")
    expected = {(row["run_id"], row["dataset_version_id"]) for row in rows.to_pylist()}
    versions = [span for span in spans_of(requests) if not is_op(span)]
    told = {
        (a["traceprop.run_id"], a["traceprop.dataset_version_id"])
        for a in map(attributes_of, versions)
    }
    assert told == expected
    assert len(versions) == len(expected)
    assert all(len({span.trace_id for span in spans_of([one])}) == 1 for one in requests)
    assert len({span.trace_id for span in versions}) == len(requests) == 2


def test_identifiers_are_whole_and_all_different(requests):
    spans = spans_of(requests)
    assert {(len(span.trace_id), len(span.span_id)) for span in spans} == {(16, 8)}
    assert len({span.span_id for span in spans}) == len(spans)


def test_operations_are_children_with_their_rows(recorded, requests):
    spans = spans_of(requests)
    by_id = {span.span_id: span for span in spans}
    told = []
    for span in filter(is_op, spans):
        parent, told_op = by_id[span.parent_span_id], attributes_of(span)
        assert parent.trace_id == span.trace_id
        assert span.name == told_op["traceprop.op"]
        told.append(
            (
                attributes_of(parent)["traceprop.dataset_version_id"],
                told_op["traceprop.ordinal"],
                span.name,
                list(told_op["traceprop.inputs"]),
                list(told_op["traceprop.n_rows_in"]),
                told_op["traceprop.n_rows_out"],
            )
        )
    ops = recorded.store.query(
        "SELECT dataset_version_id, ordinal, name, inputs, n_rows_in, n_rows_out FROM op"
    ).to_pylist()
    expected = [
        (
            *list(op.values())[:3],
            json.loads(op["inputs"]),
            json.loads(op["n_rows_in"]),
            op["n_rows_out"],
        )
        for op in ops
    ]
    assert sorted(told) == sorted(expected)


def test_links_lead_to_what_a_dataset_was_made_from(recorded, requests):
    spans = [span for span in spans_of(requests) if not is_op(span)]
    name_of = {(span.trace_id, span.span_id): span.name for span in spans}
    links = {
        attributes_of(span)["traceprop.dataset_version_id"]: {
            name_of[link.trace_id, link.span_id] for link in span.links
        }
        for span in spans
    }
    assert links[recorded.table] == {"visit_features"}
    assert links[recorded.model] == {"training_table"}
    assert {"training_table", "risk_model"} in links.values()


def test_the_only_time_is_when_it_was_recorded_and_the_span_says_so(recorded, requests):
    rows = recorded.store.query("SELECT dataset_version_id, created_at FROM dataset_version")
    created = {row["dataset_version_id"]: row["created_at"] for row in rows.to_pylist()}
    for span in spans_of(requests):
        told = attributes_of(span)
        assert span.start_time_unix_nano == span.end_time_unix_nano
        assert "operations have no times of their own" in told["traceprop.time"]
        if version := told.get("traceprop.dataset_version_id"):
            seconds, rest = divmod(span.start_time_unix_nano, 10**9)
            time = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)
            assert time == created[version]


def test_fidelity_and_reason_of_lost_rows_are_told(requests):
    (mystery,) = [span for span in spans_of(requests) if span.name == "mystery"]
    told = attributes_of(mystery)
    assert (told["traceprop.fidelity"], told["traceprop.coverage"]) == ("unknown", 0.0)
    assert told["traceprop.reason"] == "DataFrame.values left pandas"


def test_any_name_is_told_as_it_is(tmp_path):
    store = record_hostile_names(tmp_path)
    requests = [parsed(json.loads(json.dumps(one))) for one in otlp_requests(read_lineage(store))]
    assert [span.name for span in spans_of(requests) if not is_op(span)] == list(NAMES)


def test_the_sdk_gets_the_spans_that_the_file_has(recorded, requests):
    exporter = InMemorySpanExporter()
    n_sent = send_spans(read_lineage(recorded.store), exporter)
    sent = exporter.get_finished_spans()
    assert n_sent == len(sent) == len(spans_of(requests))
    for span, in_file in zip(sent, spans_of(requests), strict=True):
        assert span.context.trace_id.to_bytes(16) == in_file.trace_id
        assert span.context.span_id.to_bytes(8) == in_file.span_id
        assert (span.parent is None) == (not in_file.parent_span_id)
        assert span.parent is None or span.parent.span_id.to_bytes(8) == in_file.parent_span_id
        assert span.name == in_file.name
        assert dict(span.attributes) == attributes_of(in_file)
        assert span.start_time == span.end_time == in_file.start_time_unix_nano
        links = [link.context.span_id.to_bytes(8) for link in span.links]
        assert links == [link.span_id for link in in_file.links]
        assert span.resource.attributes["service.name"] == "traceprop"


def test_an_exporter_that_fails_is_named(recorded):
    class BrokenExporter(SpanExporter):
        def export(self, spans):
            return SpanExportResult.FAILURE

    with pytest.raises(ExportRefusedError, match="BrokenExporter reported a failure after 0 spans"):
        send_spans(read_lineage(recorded.store), BrokenExporter())


def test_a_version_without_a_time_is_refused_by_name(tmp_path):
    store = Store.create(tmp_path / "store")
    row = {
        "dataset_version_id": "dv_1",
        "dataset": "timeless",
        "run_id": "run",
        "n_rows": 0,
        "columns": [],
        "fidelity": "exact",
        "coverage": 1.0,
    }
    store.commit({"dataset_version": [row]})
    for format_ in ("otel", "openlineage"):
        with pytest.raises(ExportTimeError, match="Version dv_1 of 'timeless'"):
            export_lineage(store, tmp_path / "out", format=format_)
    assert not (tmp_path / "out").exists()
    assert export_lineage(store, tmp_path / "out", format="prov").n_dataset_versions == 1
