"""Rows that the metadata of an asset declares, for a body that nobody can follow.

``metadata={"traceprop/row_wise": "docs"}`` says that row ``i`` of the result comes from row ``i``
of the input ``docs``; ``"traceprop/context": ["vocabulary"]`` that every row depends on all rows of
``vocabulary``.
"""

from collections.abc import Mapping
from typing import Any

from traceprop_engine.lineage import CaptureSession, RowMap
from traceprop_engine.lineage.carriers import plain_of
from traceprop_engine.lineage.declare import Declared, record

ROW_WISE_KEY = "traceprop/row_wise"
CONTEXT_KEY = "traceprop/context"


def with_declared_rows(value: Any, metadata: Mapping[str, Any], session: CaptureSession) -> Any:
    """Return a value with the rows that the metadata of its asset declares, if it does.

    Raises:
        DeclarationError: An input that is named is not one, or has another number of rows.
    """
    declared: dict[str, Declared] = dict.fromkeys(_names(metadata, ROW_WISE_KEY), "row_wise")
    n_rows = len(plain_of(value)) if metadata.keys() & {ROW_WISE_KEY, CONTEXT_KEY} else 0
    for name in _names(metadata, CONTEXT_KEY):
        node = session.notes.inputs.get(name)
        n_in = 0 if node is None else node.n_rows
        declared[name] = RowMap.context(n_rows, range(n_in), n_in)
    return record(value, declared, session=session) if declared else value


def _names(metadata: Mapping[str, Any], key: str) -> list[str]:
    """Return the inputs that an entry names: one, or several."""
    if key not in metadata:
        return []
    found = getattr(metadata[key], "value", metadata[key])
    return [found] if isinstance(found, str) else list(found)
