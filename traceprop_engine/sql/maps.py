"""From hidden columns to row maps."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.sql.traced import Grouped, Hidden, Input

Rows = NDArray[np.int32]


def hidden_map(column: pa.ChunkedArray, hidden: Hidden, n_in: int) -> RowMap:
    """Return how the rows of a result follow from the rows of a source."""
    if hidden.is_list:
        return _grouped_rows(column, n_in)
    return RowMap.classify(_row_numbers(column), n_in)


def input_maps(
    found: Iterable[tuple[int, RowMap]],
    inputs: Sequence[Input],
    groups: Sequence[Grouped],
) -> dict[str, RowMap]:
    """Return how the rows of a result follow from the rows of the inputs.

    Args:
        found: Numbers of sources, and the map of the result to each.
        inputs: The sources that are inputs: the first numbers.
        groups: The sources that are stored groupings: the numbers behind them.
    """
    maps: dict[str, RowMap] = {}
    waiting = list(found)
    while waiting:
        source, row_map = waiting.pop()
        if source < len(inputs):
            name = inputs[source].name
            maps[name] = maps[name].union(row_map) if name in maps else row_map
        else:
            parents = groups[source - len(inputs)].parents
            waiting += [(parent, row_map.compose(inner)) for parent, inner in parents]
    return maps


def no_rows(n_rows: int, n_in: int) -> RowMap:
    """Return the map of a result that no row of an input went into."""
    return RowMap.groups(np.full(n_in, -1, dtype=np.int32), n_rows)


def _row_numbers(column: pa.ChunkedArray) -> Rows:
    if column.null_count:
        column = pc.fill_null(column, -1)
    return column.to_numpy()


def _grouped_rows(column: pa.ChunkedArray, n_in: int) -> RowMap:
    """Return the map of groups whose rows are listed; a row without a parent is not a row."""
    counts = (
        pc.fill_null(pc.call_function("list_value_length", [column]), 0).to_numpy().astype(np.int64)
    )
    pieces: list[Any] = [chunk.flatten() for chunk in column.chunks]
    members = _row_numbers(pa.chunked_array(pieces, type=pa.int32()))
    groups = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    return grouping(groups, members, len(counts), n_in)


def grouping(groups: Rows, members: Rows, n_groups: int, n_in: int) -> RowMap:
    """Return the map of groups from the group that each member went into; -1 is no member."""
    if len(members) and members.min() < 0:
        is_row = members >= 0
        groups, members = groups[is_row], members[is_row]
    codes = np.full(n_in, -1, dtype=np.int32)
    codes[members] = groups
    if np.count_nonzero(codes >= 0) == len(members):
        return RowMap.groups(codes, n_groups)
    return RowMap.from_pairs(groups, members, n_groups, n_in)
