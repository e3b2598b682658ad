"""Rules for functions that make row ``i`` of the result from row ``i`` of their operands."""

from collections.abc import Callable, Sequence
from operator import index as whole_number
from typing import Any

import numpy as np
import torch

from traceprop_engine.lineage.marks import Placed
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.tensors.calls import (
    Call,
    Outcome,
    Rule,
    aligned,
    n_rows_of,
    tensors_in,
    to_all,
)
from traceprop_engine.tensors.contributions import Contribution, single_row


def elementwise(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
    """Rows of a function that treats each element alone, its operands broadcast together."""
    tracked = call.tracked()
    return [
        call.made([aligned(tensor, placed, result) for tensor, placed in tracked], result)
        for result in results
    ]


def copied(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
    """Rows of a tensor that another one was copied into."""
    source = call.argument(1, "src", "other")
    placed = call.placed(source)
    if placed is None:
        return call.all_lost(results, f"torch.{call.name} of a tensor that is not tracked")
    return [call.made([aligned(source, placed, result)], result) for result in results]


def converted(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
    """Rows of the first operand, whatever type or device those after it ask for."""
    placed = call.placed(call.args[0])
    if placed is None:
        return [None for _ in results]
    return [call.made([Contribution(placed)], result) for result in results]


def pairwise(position: int, *, default: int) -> Rule:
    """Return the rule of a function that compares two operands along an axis."""

    def rule(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
        axis = call.argument(position, "dim", default=default)
        n_axes = max(tensor.ndim for tensor, _ in call.tracked())
        if 0 in axes_of(axis, n_axes):
            return over_everything(call, results)
        kept = [each.unsqueeze(axis) if each.ndim else each for each in results]
        return [
            call.made([aligned(tensor, placed, wide) for tensor, placed in call.tracked()], result)
            for wide, result in zip(kept, results, strict=True)
        ]

    return rule


def batched(min_axes: int, *, of: Sequence[int] = (0,)) -> Rule:
    """Return the rule of a function whose axis 0 is the batch from ``min_axes`` axes on.

    Args:
        min_axes: With fewer axes there is no batch axis, and the rows are lost.
        of: The positions of the operands with rows; all others, such as weights, are context.
    """

    def rule(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
        operands = [call.args[at] for at in of if at < len(call.args)]
        if any(each.ndim < min_axes for each in operands if call.placed(each) is not None):
            return call.all_lost(results, f"torch.{call.name} of a tensor without a batch axis")
        return [call.made(_with_context(call, of, result), result) for result in results]

    return rule


def first_axis(of: Sequence[int]) -> Rule:
    """Return the rule of a function that keeps axis 0, whatever axes come after it.

    Args:
        of: The positions of the operands with rows, which are not broadcast; all others, such as
            weights, are context.
    """

    def rule(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
        return [call.made(_with_context(call, of, r, _kept), r) for r in results]

    return rule


def embedding(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
    """Rows of a table looked up by index: those of the index."""
    index_at = 1 if call.func is torch.embedding else 0
    return first_axis((index_at,))(call, results)


def _kept(tensor: torch.Tensor, placed: Placed, result: torch.Tensor) -> Contribution:
    """Return what an operand gives whose axis 0 is that of the result."""
    keeps = tensor.ndim and result.ndim and len(tensor) == len(result)
    return Contribution(placed) if keeps else to_all(placed, result)


def _with_context(
    call: Call,
    of: Sequence[int],
    result: torch.Tensor,
    keep: Callable[[torch.Tensor, Placed, torch.Tensor], Contribution] = aligned,
) -> list[Contribution]:
    """Return what operands give by their places: a tensor may stand in two of them."""
    parts: list[Contribution] = []
    for at, value in enumerate([*call.args, *call.kwargs.values()]):
        for tensor in tensors_in(value):
            placed = call.placed(tensor)
            if placed is not None:
                by_row = at in of and at < len(call.args)
                parts.append(keep(tensor, placed, result) if by_row else to_all(placed, result))
    return parts


def batch_norm(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
    """Rows of a normalisation by statistics of the batch, when it is training."""
    training = call.argument(5, "training", default=False)
    placed, outcomes = call.placed(call.first), list[Outcome]()
    for result in results:
        parts = _with_context(call, (0,), result)
        if training and placed is not None:
            parts.append(Contribution(placed, "statistic"))
        outcomes.append(call.made(parts, result))
    return outcomes


def layer_norm(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
    """Rows of a normalisation over the last axes."""
    shape = call.argument(1, "normalized_shape")
    return batched(len(shape) + 1)(call, results)


def loss(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
    """Rows of a loss: one a row without a reduction, else a statistic over them."""
    if call.kwargs.get("reduction", "mean") == "none":
        return batched(1, of=(0, 1))(call, results)
    return over_everything(call, results)


def loss_of_classes(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
    """Rows of a loss that takes the scores of all classes of a row at once."""
    if call.kwargs.get("reduction", "mean") == "none":
        return first_axis((0, 1))(call, results)
    return over_everything(call, results)


def quantiles(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
    """Rows of quantiles; several of them come along an axis before that of the rows."""
    asked = call.argument(1, "q")
    if isinstance(asked, torch.Tensor) and asked.ndim:
        return over_everything(call, results)
    return along(2, "reduce")(call, results)


def over_everything(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
    """Rows of a result in which all rows of all operands meet."""
    return [
        call.made([to_all(placed, result) for _, placed in call.tracked()], result)
        for result in results
    ]


def along(position: int, what: str, *names: str, default: Any = None, rest: bool = False) -> Rule:
    """Return the rule of a function that works along axes given by an argument.

    Along any but axis 0 it is row-wise.

    Args:
        position: Where the axes stand among the arguments.
        what: Along axis 0 it does this: *reduce* to a statistic, *normalise* by one, *cumulate*.
        names: Names of the argument beside ``dim``.
        default: The axes when none are given; ``None`` for all of them.
        rest: All positional arguments from there on may be axes.
    """

    def rule(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
        source = call.first
        placed = call.placed(source)
        given = call.argument(position, "dim", *names, default=default)
        if rest and len(call.args) > position + 1:
            given = call.args[position:]
        if isinstance(given, torch.Tensor) and what == "reduce":
            return elementwise(call, results)  # `max` and `min` of two tensors
        if placed is None or not isinstance(source, torch.Tensor):
            return call.all_lost(results)
        axes = axes_of(given, source.ndim)
        return [call.made(_along(call, source, axes, what, r), r) for r in results]

    return rule


def axes_of(given: Any, n_axes: int) -> frozenset[int]:
    """Return the axes that an argument names, counted from the front; all for ``None``."""
    if isinstance(given, bool) or given is None:
        return frozenset(range(max(n_axes, 1)))
    try:
        axes = [whole_number(given)]  # a number of NumPy or torch too
    except TypeError:
        axes = [whole_number(each) for each in given] or list(range(max(n_axes, 1)))
    return frozenset(axis % max(n_axes, 1) for axis in axes)


def _along(
    call: Call, source: torch.Tensor, axes: frozenset[int], what: str, result: torch.Tensor
) -> list[Contribution]:
    parts: list[Contribution] = []
    for tensor, placed in call.tracked():
        if tensor is not source:
            parts.append(to_all(placed, result))
        elif source.ndim == 0 or 0 not in axes:
            parts.append(Contribution(placed))
        else:
            parts += _over_rows(placed, what, result)
    return parts


def _over_rows(placed: Placed, what: str, result: torch.Tensor) -> list[Contribution]:
    if what == "reduce" or single_row(placed[1]):
        return [to_all(placed, result)]
    if what == "normalise":
        return [Contribution(placed), Contribution(placed, "statistic")]
    n = n_rows_of(result)
    return [Contribution(placed, RowMap.window(np.zeros(n, np.int64), np.arange(1, n + 1), n))]
