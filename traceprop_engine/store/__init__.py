"""Where everything that a project records is kept: a log, blocks, and an index in DuckDB."""

from traceprop_engine.store.blocks import Encoding
from traceprop_engine.store.collection import CollectionReport
from traceprop_engine.store.index import IngestReport
from traceprop_engine.store.info import StoreInfo
from traceprop_engine.store.judging import SetAside
from traceprop_engine.store.store import Store
from traceprop_engine.store.verification import Problem, VerificationReport

__all__ = [
    "CollectionReport",
    "Encoding",
    "IngestReport",
    "Problem",
    "SetAside",
    "Store",
    "StoreInfo",
    "VerificationReport",
]
