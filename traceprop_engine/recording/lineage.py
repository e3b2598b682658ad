"""The lineage of a recorded version, as it was written with it."""

from typing import Any, cast

import numpy as np

from traceprop_engine.lineage.captured import CapturedLineage, ContextDependency, Fidelity
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.recording.row_maps import load_row_map
from traceprop_engine.recording.values import DatasetVersion, InputKind, InputRef
from traceprop_engine.store import Store


def load_lineage(
    store: Store, version: DatasetVersion
) -> tuple[CapturedLineage, dict[str, InputRef]]:
    """Return how the rows of a version follow from its inputs, and what these inputs were.

    The operations in between are not read. An input that only statistics took in has a context map
    of all the rows that they took in.
    """
    facts = store.query(
        "SELECT * FROM row_map WHERE dataset_version_id = ? ORDER BY ordinal", [version.id]
    ).to_pylist()
    inputs = {
        str(each["input_name"]): InputRef(
            cast("InputKind", each["input_kind"]), str(each["input_id"])
        )
        for each in facts
    }
    maps = {
        str(each["input_name"]): load_row_map(store, each)
        for each in facts
        if each["role"] == "direct"
    }
    contexts = tuple(_context(store, each) for each in facts if each["role"] == "context")
    for name in inputs:
        if name not in maps:
            maps[name] = _context_map(version.n_rows, [c for c in contexts if c.input == name])
    lineage = CapturedLineage(
        n_rows=version.n_rows,
        maps={name: maps[name] for name in inputs},
        contexts=contexts,
        fidelity=cast("Fidelity", version.fidelity),
        reason=version.reason,
    )
    return lineage, inputs


def _context(store: Store, facts: dict[str, Any]) -> ContextDependency:
    return ContextDependency(
        input=str(facts["input_name"]),
        statistic=str(facts["statistic"]),
        column=facts["column_name"],
        members=load_row_map(store, facts),
    )


def _context_map(n_rows: int, contexts: list[ContextDependency]) -> RowMap:
    members = np.concatenate([context.members.backward([0]) for context in contexts])
    return RowMap.context(n_rows, np.unique(members), contexts[0].members.n_in)
