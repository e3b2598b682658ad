"""The facts that every dataset version has: itself, its operations, columns and row maps."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import pandas as pd
import pyarrow as pa

from traceprop_engine.digests import identify
from traceprop_engine.lineage.captured import CapturedLineage, Op
from traceprop_engine.recording.row_maps import row_map_facts
from traceprop_engine.recording.values import InputRef, Materialization
from traceprop_engine.store import Store

Facts = dict[str, list[dict[str, object]]]
"""Rows to record, by the name of their table."""


def column_lineage(
    columns: Iterable[str], lineage: CapturedLineage, inputs: Mapping[str, InputRef]
) -> list[tuple[str, str, str]]:
    """Return which columns have the name of a column of an input that rows came from.

    Only names are compared: a column that was renamed or derived is not followed.

    Returns:
        Column, input and the input's column.
    """
    names = list(columns)
    return [
        (column, name, column)
        for name, row_map in lineage.maps.items()
        if row_map.is_known
        for column in names
        if column in inputs[name].columns
    ]


def frame_facts(
    store: Store, made: Materialization, frame: pd.DataFrame | pa.Table, lineage: CapturedLineage
) -> tuple[str, Facts]:
    """Return the facts of a dataset version whose rows are a table, which is put into a block.

    Returns:
        The identifier of the version, and the facts by table.
    """
    table = pa.Table.from_pandas(frame) if isinstance(frame, pd.DataFrame) else frame
    block = store.put_table(table)
    columns = [{"name": str(f.name), "type": str(f.type)} for f in table.schema]
    version_id, facts = dataset_facts(store, made, block, columns, lineage)
    names = frame.columns if isinstance(frame, pd.DataFrame) else table.column_names
    facts["column_lineage"] = _column_facts(version_id, map(str, names), lineage, made)
    return version_id, facts


def dataset_facts(
    store: Store,
    made: Materialization,
    content_block: str | None,
    columns: Sequence[Mapping[str, str]],
    lineage: CapturedLineage,
) -> tuple[str, Facts]:
    """Return the facts of a dataset version: itself, its operations and its row maps.

    Args:
        store: Where row maps are put.
        made: Who writes it, and from what.
        content_block: What was written.
        columns: Name and type of each column.
        lineage: Where its rows came from.

    Returns:
        The identifier of the version, and the facts by table.
    """
    identity = {
        "dataset": made.dataset,
        "partition_key": made.partition_key,
        "run_id": made.run_id,
        "content": content_block,
        "inputs": sorted((name, ref.id) for name, ref in made.inputs.items()),
    }
    version_id = identify("dv", identity)
    facts: Facts = {
        "dataset_version": [
            {
                "dataset_version_id": version_id,
                "dataset": made.dataset,
                "partition_key": made.partition_key,
                "run_id": made.run_id,
                "code_version": made.code_version,
                "n_rows": lineage.n_rows,
                "columns": list(columns),
                "content_block": content_block,
                "fidelity": lineage.fidelity,
                "coverage": lineage.coverage(),
                "reason": lineage.reason,
                "created_at": now(),
            }
        ],
        "op": [_op_facts(version_id, n, op) for n, op in enumerate(lineage.ops)],
        "row_map": row_map_facts(store, version_id, lineage, made.inputs),
    }
    return version_id, facts


def _op_facts(version_id: str, ordinal: int, op: Op) -> dict[str, object]:
    return {
        "dataset_version_id": version_id,
        "ordinal": ordinal,
        "name": op.name,
        "detail": op.detail,
        "inputs": list(op.inputs),
        "n_rows_in": list(op.n_rows_in),
        "n_rows_out": op.n_rows_out,
    }


def _column_facts(
    version_id: str, names: Iterable[str], lineage: CapturedLineage, made: Materialization
) -> list[dict[str, object]]:
    return [
        {
            "dataset_version_id": version_id,
            "column_name": column,
            "input_name": name,
            "input_column": input_column,
        }
        for column, name, input_column in column_lineage(names, lineage, made.inputs)
    ]


def direct_input(lineage: CapturedLineage, inputs: Mapping[str, InputRef]) -> str | None:
    """Return the identifier of the first input that rows came from directly, if there is one."""
    known = [name for name, row_map in lineage.maps.items() if row_map.covered().any()]
    return inputs[known[0]].id if known else None


def now() -> str:
    """Return the reading of the clock, as it is recorded."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
