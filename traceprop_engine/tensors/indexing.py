"""Rules for ``x[index]`` and ``x[index] = value``."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from traceprop_engine.tensors.calls import Call, Outcome, n_rows_of, tensors_in
from traceprop_engine.tensors.contributions import How, of_one
from traceprop_engine.tensors.moving import (
    Moves,
    from_nothing,
    how_of,
    moved_data,
    moved_ids,
    moving,
)


def item(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
    """Rows of ``x[index]``."""
    (result,), (source, index) = results, call.args
    placed = call.placed(source)
    if placed is None:
        return [from_nothing(call, result)]
    first = index[0] if isinstance(index, tuple) and index else index
    rest = index[1:] if isinstance(index, tuple) else ()
    plain = all(isinstance(each, (int, slice, type(Ellipsis))) for each in rest)
    how = _picked(first, source) if plain and source.ndim else None
    if how is None:
        return moving(Moves(index=(1,)))(call, results)
    if isinstance(how, int):
        how = np.full(n_rows_of(result), how)
    return [call.made(of_one(placed, how), result)]


def _picked(first: Any, source: torch.Tensor) -> How | int | range | None:
    """Return which rows an index of axis 0 picks, if it is one of the plain kinds."""
    n = source.shape[0]
    if isinstance(first, int) and not isinstance(first, bool):
        return first % n
    if isinstance(first, slice):
        return range(n)[first]
    if isinstance(first, (list, np.ndarray)):
        first = torch.as_tensor(first)
    if not isinstance(first, torch.Tensor) or first.ndim != 1 or first.dtype == torch.uint8:
        return None
    if first.dtype == torch.bool:
        return first.nonzero()[:, 0].cpu().numpy()
    chosen = first.cpu().numpy()
    return np.where(chosen < 0, chosen + n, chosen) if (chosen < 0).any() else chosen


def item_put(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
    """Rows of a tensor after ``x[index] = value``: the old ones where it was not written to.

    A mask that is tracked counts as a parent of the rows of ``x`` it runs along.
    """
    moves = Moves(index=(1,), values=(2,))
    index = call.args[1]
    masks = [each for each in tensors_in(index) if each.dtype == torch.bool and each.ndim]
    if not any(call.placed(each) for each in masks):
        return moving(moves)(call, results)
    (result,) = results
    if len(masks) > 1 or masks[0] is not index or len(masks[0]) != n_rows_of(result):
        return call.all_lost(results, "x[mask] = value with a tracked mask among other indices")
    parts = of_one(call.rows[id(index)])
    for tensor, placed in moved_data(call, moves):
        found = moved_ids(call, moves, tensor)
        how = None if found is None else how_of(found[0], n_rows_of(tensor))
        parts += [] if how is None else of_one(placed, how)
    return [call.made(parts, result)]
