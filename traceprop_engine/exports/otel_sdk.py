"""Spans sent through an exporter of the OpenTelemetry SDK; needs the extra ``otel``."""

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags

from traceprop_engine.errors import ExportRefusedError
from traceprop_engine.exports.producer import software_version
from traceprop_engine.exports.recorded import RecordedLineage
from traceprop_engine.exports.spans import SCOPE, SERVICE, LineageSpan, SpanAddress, traces_of


def send_spans(lineage: RecordedLineage, exporter: SpanExporter) -> int:
    """Send the spans of each run through ``exporter`` and return how many there were.

    Args:
        lineage: What `read_lineage` returned.
        exporter: Any exporter of spans; the caller shuts it down.

    Raises:
        ExportRefusedError: The exporter reported a failure.
        ExportTimeError: A dataset version was recorded without a time.
    """
    named = {"service.name": SERVICE, "service.version": software_version()}
    resource, scope = Resource(named), InstrumentationScope(SCOPE, software_version())
    n_sent = 0
    for spans in traces_of(lineage):
        sent = [_readable(span, resource, scope) for span in spans]
        if exporter.export(sent) is not SpanExportResult.SUCCESS:
            raise ExportRefusedError(type(exporter).__name__, n_sent)
        n_sent += len(sent)
    return n_sent


def _readable(span: LineageSpan, resource: Resource, scope: InstrumentationScope) -> ReadableSpan:
    trace_id = span.address.trace_id
    parent = SpanAddress(trace_id, span.parent_id) if span.parent_id else None
    return ReadableSpan(
        span.name,
        context=_context(span.address),
        parent=None if parent is None else _context(parent),
        resource=resource,
        attributes=span.attributes,
        links=[Link(_context(address)) for address in span.links],
        kind=SpanKind.INTERNAL,
        start_time=span.time_unix_nano,
        end_time=span.time_unix_nano,
        instrumentation_scope=scope,
    )


def _context(address: SpanAddress) -> SpanContext:
    return SpanContext(
        int(address.trace_id, 16),
        int(address.span_id, 16),
        is_remote=False,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )
