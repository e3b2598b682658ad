"""Where a value came from: views of tracked values, and files whose lines a view can show."""

from traceprop_engine.provenance.compression import (
    bytes_per_row,
    compress,
    disable_compression,
    enable_compression,
)
from traceprop_engine.provenance.row_trace import RowTrace, TracedSource
from traceprop_engine.provenance.view import ProvenanceView, provenance

__all__ = [
    "ProvenanceView",
    "RowTrace",
    "TracedSource",
    "bytes_per_row",
    "compress",
    "disable_compression",
    "enable_compression",
    "provenance",
]
