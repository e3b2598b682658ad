"""From hidden columns to row maps."""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.lineage.row_map_cheapest import many
from traceprop_engine.sql_queries.lookup import Codes, grouping, rows_of
from traceprop_engine.sql_queries.traced import Grouped, Input, Parents


def row_maps(columns: Sequence[tuple[int, pa.ChunkedArray]], n_ins: Mapping[int, int]) -> Parents:
    """Return how the rows of a result follow from single rows of sources.

    Args:
        columns: The number of a source, and which of its rows each row was made of.
        n_ins: How many rows each source has.
    """
    of_source: dict[int, list[Codes]] = {}
    for source, column in columns:
        of_source.setdefault(source, []).append(rows_of(column))
    return tuple((source, _united(vectors, n_ins[source])) for source, vectors in of_source.items())


def _united(vectors: list[Codes], n_in: int) -> RowMap:
    """Return the map of rows that were made of one row of each vector."""
    one, *others = vectors
    if len(others) == 1:
        return _pair_map(one, others[0], n_in)
    maps = [RowMap.classify(each, n_in) for each in vectors]
    return reduce(RowMap.union, maps)


def _pair_map(one: Codes, other: Codes, n_in: int) -> RowMap:
    """Return the map of rows made of two rows of one source, as of a table joined to itself."""
    pairs = np.empty((len(one), 2), dtype=np.int32)
    np.minimum(one, other, out=pairs[:, 0])
    np.maximum(one, other, out=pairs[:, 1])
    # The smaller one is -1 where there is one parent or none, the larger one where there is none.
    is_parent = pairs >= 0
    np.logical_and(is_parent[:, 0], pairs[:, 0] != pairs[:, 1], out=is_parent[:, 0])
    if not is_parent[:, 0].any():
        return RowMap.classify(pairs[:, 1], n_in)
    offsets = np.zeros(len(one) + 1, dtype=np.int64)
    flags = is_parent.view(np.uint8)
    np.cumsum(flags[:, 0] + flags[:, 1], dtype=np.int64, out=offsets[1:])
    return RowMap(many(offsets, pairs[is_parent], len(one), n_in))


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


def list_map(column: pa.ChunkedArray, n_in: int) -> RowMap:
    """Return the map of groups whose rows are listed; a row without a parent is not a row."""
    counts = (
        pc.fill_null(pc.call_function("list_value_length", [column]), 0).to_numpy().astype(np.int64)
    )
    pieces: list[Any] = [chunk.flatten() for chunk in column.chunks]
    members = rows_of(pa.chunked_array(pieces, type=pa.int32()))
    groups = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    return grouping(groups, members, len(counts), n_in)
