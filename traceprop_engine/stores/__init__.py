"""Where lineage is kept beyond the process: a single SQLite file."""

from traceprop_engine.stores.sqlite_store import SQLiteStore
from traceprop_engine.stores.values import SavedLineage, StoredEdge, StoredNode

__all__ = ["SQLiteStore", "SavedLineage", "StoredEdge", "StoredNode"]
