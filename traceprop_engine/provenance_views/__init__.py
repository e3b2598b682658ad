"""Where a value came from: views of tracked values, and files whose lines a view can show."""

from traceprop_engine.provenance_views.compression import (
    bytes_per_row,
    compress,
    disable_compression,
    enable_compression,
)
from traceprop_engine.provenance_views.files import (
    from_csv,
    from_pandas,
    from_parquet,
    load_source,
)
from traceprop_engine.provenance_views.row_trace import RowTrace, TracedSource
from traceprop_engine.provenance_views.view import ProvenanceView, provenance

__all__ = [
    "ProvenanceView",
    "RowTrace",
    "TracedSource",
    "bytes_per_row",
    "compress",
    "disable_compression",
    "enable_compression",
    "from_csv",
    "from_pandas",
    "from_parquet",
    "load_source",
    "provenance",
]
