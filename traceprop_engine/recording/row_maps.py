"""Row maps as rows of the catalogue and blocks of a store, and back."""

import json
from collections.abc import Mapping
from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traceprop_engine.errors import StoreRowError
from traceprop_engine.lineage.captured import CapturedLineage, ContextDependency
from traceprop_engine.lineage.row_map import RowMap, RowMapKind
from traceprop_engine.recording.values import InputRef
from traceprop_engine.store import Encoding, Store

_MEMBERS, _BITS = "members", "bits"
_WORD = np.dtype("<i8")
_MANY_ROWS, _SAMPLED, _FAR = 10_000, 1_000, 1_000


def row_map_facts(
    store: Store, version_id: str, lineage: CapturedLineage, inputs: Mapping[str, InputRef]
) -> list[dict[str, object]]:
    """Write the row maps of a lineage as blocks, and return the rows of table ``row_map``.

    Raises:
        StoreRowError: What a dependency says was fitted is not JSON.
    """
    # A map that is a context says again what the dependencies say one by one.
    entries: list[tuple[str, RowMap, ContextDependency | None]] = [
        (name, row_map, None) for name, row_map in lineage.maps.items() if row_map.kind != "context"
    ]
    entries += [(context.input, context.members, context) for context in lineage.contexts]
    written: dict[int, dict[str, object]] = {}  # several statistics of the same rows share a map
    for _, row_map, context in entries:
        if id(row_map) not in written:
            written[id(row_map)] = _map_parts(store, row_map, of_statistic=context is not None)
    known = "claimed" if lineage.fidelity == "claimed" else "exact"
    return [
        {
            "dataset_version_id": version_id,
            "ordinal": ordinal,
            "input_name": name,
            "input_kind": inputs[name].kind,
            "input_id": inputs[name].id,
            "role": "direct" if context is None else "context",
            "statistic": None if context is None else context.statistic,
            "column_name": None if context is None else context.column,
            "fidelity": known if row_map.is_known else "unknown",
            "fitted": None if context is None else _fitted(context),
            **written[id(row_map)],
        }
        for ordinal, (name, row_map, context) in enumerate(entries)
    ]


def load_row_map(store: Store, facts: Mapping[str, object]) -> RowMap:
    """Return the row map that a row of the catalogue's table ``row_map`` describes."""
    block = cast("str | None", facts["block"])
    columns: dict[str, npt.NDArray[np.integer]] = {}
    if block is not None:
        table = store.get_table(block)
        columns = {name: table.column(name).to_numpy() for name in table.column_names}
    if facts["kind"] == _MEMBERS:
        return RowMap.groups(_flags(columns[_BITS], cast("int", facts["n_in"])) - 1, 1)
    return RowMap.from_parts(
        cast("RowMapKind", facts["kind"]),
        cast("int", facts["n_out"]),
        cast("int", facts["n_in"]),
        json.loads(cast("str", facts["params"])),
        columns,
    )


def _fitted(context: ContextDependency) -> object:
    """Return what was fitted as a value of JSON; ``None`` if the dependency says nothing of it."""
    if context.detail is None:
        return None
    try:
        return json.loads(context.detail)
    except ValueError as error:
        reason = f"the detail of {context.statistic!r} is not JSON ({error})"
        raise StoreRowError("row_map", "fitted", reason) from error


def _map_parts(store: Store, row_map: RowMap, *, of_statistic: bool) -> dict[str, object]:
    kind, params, columns = row_map.to_parts()
    if of_statistic and kind == "groups":
        # The members of a statistic: one bit for each row of the input is the least to write.
        kind, columns = _MEMBERS, {_BITS: _words(columns["out_row"] == 0)}
    return {
        "kind": kind,
        "n_out": row_map.n_out,
        "n_in": row_map.n_in,
        "params": params,
        "block": store.put_table(pa.table(columns), _encoding(columns)) if columns else None,
    }


def _words(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return flags as the bits of whole numbers, the first flag in the lowest bit."""
    packed = np.packbits(flags, bitorder="little")
    words = np.zeros(-(-len(packed) // _WORD.itemsize), dtype=_WORD)
    words.view(np.uint8)[: len(packed)] = packed
    return words.astype(np.int64, copy=False)


def _flags(words: npt.NDArray[np.integer], n: int) -> npt.NDArray[np.int8]:
    """Return the first ``n`` flags of `_words`, each 0 or 1."""
    packed = words.astype(_WORD).view(np.uint8)
    return np.unpackbits(packed, count=n, bitorder="little").astype(np.int8)


def _encoding(columns: Mapping[str, npt.NDArray[np.integer]]) -> Encoding:
    """Return what suits the columns of a map: rows in no order have no small differences."""
    if _BITS in columns:
        return "bytes"
    rows = columns.get("in_row")
    if rows is None or len(rows) < _MANY_ROWS:
        return "delta"
    at = np.linspace(0, len(rows) - 2, _SAMPLED).astype(np.intp)
    one, next_one = rows[at].astype(np.int64), rows[at + 1].astype(np.int64)
    are_rows = (one >= 0) & (next_one >= 0)
    is_near = np.abs(next_one - one) < _FAR
    return "delta" if (are_rows & is_near).mean() > 1 / 2 else "bytes"
