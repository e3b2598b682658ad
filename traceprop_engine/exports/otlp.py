"""Spans as OTLP/JSON lines, as the OpenTelemetry collector reads and writes them in files.

Identifiers are hexadecimal digits and 64-bit numbers are texts, as the encoding of OTLP in JSON
asks for. It needs no OpenTelemetry library.
"""

from collections.abc import Iterator, Mapping

from traceprop_engine.exports.producer import software_version
from traceprop_engine.exports.recorded import RecordedLineage
from traceprop_engine.exports.spans import SCOPE, SERVICE, LineageSpan, Value, traces_of

_INTERNAL = 1


def otlp_requests(lineage: RecordedLineage) -> Iterator[dict[str, object]]:
    """Return one ``ExportTraceServiceRequest`` for each run, as JSON values.

    Raises:
        ExportTimeError: A dataset version was recorded without a time.
    """
    named = {"service.name": SERVICE, "service.version": software_version()}
    resource = {"attributes": _attributes(named)}
    scope = {"name": SCOPE, "version": software_version()}
    for spans in traces_of(lineage):
        scoped = {"scope": scope, "spans": [_span(span) for span in spans]}
        yield {"resourceSpans": [{"resource": resource, "scopeSpans": [scoped]}]}


def _span(span: LineageSpan) -> dict[str, object]:
    time = str(span.time_unix_nano)
    described: dict[str, object] = {
        "traceId": span.address.trace_id,
        "spanId": span.address.span_id,
        "name": span.name,
        "kind": _INTERNAL,
        "startTimeUnixNano": time,
        "endTimeUnixNano": time,
        "attributes": _attributes(span.attributes),
    }
    if span.parent_id:
        described["parentSpanId"] = span.parent_id
    if span.links:
        described["links"] = [{"traceId": o.trace_id, "spanId": o.span_id} for o in span.links]
    return described


def _attributes(values: Mapping[str, Value]) -> list[dict[str, object]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: Value) -> dict[str, object]:
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, tuple):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    return {"doubleValue": value}
