"""Rows that the metadata of an asset declares, for a body that nobody can follow.

``metadata={"traceprop/row_wise": "docs"}`` says that row ``i`` of the result comes from row ``i``
of the input ``docs``; ``"traceprop/context": ["vocabulary"]`` that every row depends on all rows of
``vocabulary``. An input may be both.
"""

from collections.abc import Mapping
from typing import Any

from traceprop_engine.errors import DeclarationError
from traceprop_engine.lineage import CaptureSession, RowMap
from traceprop_engine.lineage.carriers import plain_of
from traceprop_engine.lineage.declare import Declared, record

ROW_WISE_KEY = "traceprop/row_wise"
CONTEXT_KEY = "traceprop/context"


def with_declared_rows(value: Any, metadata: Mapping[str, Any], session: CaptureSession) -> Any:
    """Return a value with the rows that the metadata of its asset declares, if it does.

    Raises:
        DeclarationError: An input that is named is not one, or has another number of rows; or the
            value has no rows.
    """
    declared: list[tuple[str, Declared]] = [
        (name, "row_wise") for name in _names(metadata, ROW_WISE_KEY)
    ]
    in_context = _names(metadata, CONTEXT_KEY)
    if not declared and not in_context:
        return value
    plain = plain_of(value)
    if getattr(plain, "ndim", 1) == 0:
        way_out = "return something with rows, or declare none"
        raise DeclarationError("Rows are declared of a value that has none", way_out)
    for name in in_context:
        node = session.notes.inputs.get(name)
        n_in = 0 if node is None else node.n_rows
        declared.append((name, RowMap.context(len(plain), range(n_in), n_in)))
    return record(value, declared, session=session)


def _names(metadata: Mapping[str, Any], key: str) -> list[str]:
    """Return the inputs that an entry names: one, or several."""
    if key not in metadata:
        return []
    found = getattr(metadata[key], "value", metadata[key])
    names = [found] if isinstance(found, str) else found
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        way_out = "give the name of an input, or a list of names"
        raise DeclarationError(f"The metadata {key!r} names no input: {found!r}", way_out)
    return list(names)
