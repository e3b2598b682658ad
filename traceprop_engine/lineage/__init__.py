"""Which rows came from which: row maps, their capture, and their declaration."""

from traceprop_engine.lineage.captured import (
    CapturedLineage,
    ContextDependency,
    Fidelity,
    Op,
)
from traceprop_engine.lineage.declare import declares_rows, record, row_wise
from traceprop_engine.lineage.decode import Followed
from traceprop_engine.lineage.granularity import Granularity, granularity, set_granularity
from traceprop_engine.lineage.graph import reset_graph
from traceprop_engine.lineage.pandas_capture import CaptureSession
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.lineage.witness import check_witness

__all__ = [
    "CaptureSession",
    "CapturedLineage",
    "ContextDependency",
    "Fidelity",
    "Followed",
    "Granularity",
    "Op",
    "RowMap",
    "check_witness",
    "declares_rows",
    "granularity",
    "record",
    "reset_graph",
    "row_wise",
    "set_granularity",
]
