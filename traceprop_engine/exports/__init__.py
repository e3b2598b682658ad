"""Lineage in the formats of other programs: Parquet, OpenTelemetry, OpenLineage, W3C PROV.

`traceprop_engine.exports.otel_sdk` sends spans through an exporter of the OpenTelemetry SDK; it
alone needs that library.
"""

from traceprop_engine.exports.export import Export, ExportFormat, export_lineage
from traceprop_engine.exports.openlineage_events import facet_schema, run_events
from traceprop_engine.exports.otlp import otlp_requests
from traceprop_engine.exports.parquet_tables import write_parquet
from traceprop_engine.exports.prov_document import prov_document
from traceprop_engine.exports.recorded import RecordedLineage, read_lineage

__all__ = [
    "Export",
    "ExportFormat",
    "RecordedLineage",
    "export_lineage",
    "facet_schema",
    "otlp_requests",
    "prov_document",
    "read_lineage",
    "run_events",
    "write_parquet",
]
