"""Where everything that a project records is kept: a log, blocks, and an index in DuckDB."""

from traceprop_engine.store.index import IngestReport, SetAside
from traceprop_engine.store.store import Store, StoreInfo

__all__ = ["IngestReport", "SetAside", "Store", "StoreInfo"]
