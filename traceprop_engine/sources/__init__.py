"""Source files as versions: what the bytes were, and where each record stands in them."""

from traceprop_engine.sources.reading import iter_source, read_source, scan_source
from traceprop_engine.sources.record_values import RecordValues, iter_record_values
from traceprop_engine.sources.records import read_records
from traceprop_engine.sources.source_file import Progress
from traceprop_engine.sources.version import (
    RecordIndex,
    SourceFormat,
    SourceRecord,
    SourceVersion,
)

__all__ = [
    "Progress",
    "RecordIndex",
    "RecordValues",
    "SourceFormat",
    "SourceRecord",
    "SourceVersion",
    "iter_record_values",
    "iter_source",
    "read_records",
    "read_source",
    "scan_source",
]
