"""Rules for functions that only move elements: where each one comes from is found by moving ids.

The function is called once more, on a tensor of row numbers of the same shape. Whatever it does to
the elements it does to the numbers, so that the rows of the result are read off. Where axis 0 alone
is concerned, a vector of numbers is enough; where it stays as it is, nothing is called.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from traceprop_engine.lineage.marks import Placed
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.lineage.rows import IntArray
from traceprop_engine.tensors.calls import (
    Call,
    Outcome,
    Rule,
    aligned,
    n_rows_of,
    tensors_in,
)
from traceprop_engine.tensors.contributions import (
    Contribution,
    How,
    of_one,
    single_row,
    stacked_rows,
)
from traceprop_engine.tensors.row_wise import axes_of

_MOST_PAIRS = 1 << 22
_MATRIX = 2


@dataclass(frozen=True)
class Moves:
    """What the arguments of a function are that moves elements.

    Attributes:
        index: Positions of arguments that say where elements go, and their names.
        values: Positions of numbers that take the place of elements, and their names.
        instead: What is called on row numbers, where the function itself is too strict.
    """

    index: tuple[int | str, ...] = ()
    values: tuple[int | str, ...] = ()
    instead: Callable[..., Any] | None = None


def moving(moves: Moves) -> Rule:
    """Return the rule of a function that moves elements anywhere."""

    def rule(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
        parts: list[list[Contribution]] = [[] for _ in results]
        for tensor, placed in moved_data(call, moves):
            found = moved_ids(call, moves, tensor)
            if found is None or [f.shape for f in found] != [r.shape for r in results]:
                return call.all_lost(results)
            for at, ids in enumerate(found):
                how = how_of(ids, n_rows_of(tensor))
                parts[at] += [] if how is None else of_one(placed, how)
        return [
            from_nothing(call, r) if not mine else call.made(mine, r)
            for mine, r in zip(parts, results, strict=True)
        ]

    return rule


def reshaping(moves: Moves) -> Rule:
    """Return the rule of a function that keeps the order of elements, row by row."""
    otherwise = moving(moves)

    def rule(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
        source, (result, *_) = call.args[0], results
        placed = call.placed(source)
        retyped = any(isinstance(each, torch.dtype) for each in (*call.args, *call.kwargs.values()))
        keeps = source.ndim and result.ndim and source.shape[0] == result.shape[0]
        if placed is not None and keeps and (not retyped or source.ndim > 1):
            return [call.made(of_one(placed), result)]
        return call.all_lost(results) if retyped else otherwise(call, results)

    return rule


def moving_along(
    position: int, moves: Moves, *names: str, default: Any = None, rest: bool = False
) -> Rule:
    """Return the rule of a function that moves elements along the axes of one argument.

    Args:
        position: Where the axes stand among the arguments.
        moves: What the other arguments are.
        names: Names of the axes beside ``dim``.
        default: The axes when none are given; ``None`` for the elements in one line.
        rest: All positional arguments from there on are axes.
    """
    otherwise = moving(moves)

    def rule(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
        source = call.first
        placed = call.placed(source)
        given = call.argument(position, "dim", *names, default=default)
        if rest and isinstance(given, int):
            given = call.args[position:]
        if placed is None or given is None or source.ndim == 0:
            return otherwise(call, results)
        axes = axes_of(given, source.ndim)
        if 0 not in axes:
            return [call.made(of_one(placed), result) for result in results]
        if axes != {0} or call.name in {"select", "unbind"}:
            return otherwise(call, results)
        return _along_rows(call, moves, source, placed, results)

    return rule


def _along_rows(
    call: Call, moves: Moves, source: torch.Tensor, placed: Placed, results: Sequence[torch.Tensor]
) -> list[Outcome]:
    ids = torch.arange(source.shape[0], device=source.device)
    found = tensors_in(_called(call, moves, {id(source): ids}))
    if [len(each) for each in found] != [len(each) for each in results]:
        return call.all_lost(results)
    return [
        call.made(of_one(placed, each.cpu().numpy()), result)
        for each, result in zip(found, results, strict=True)
    ]


def concatenated(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
    """Rows of tensors that are put together along an axis."""
    pieces = list(call.argument(0, "tensors"))
    axis = call.argument(1, "dim", "axis", default=0)
    (result,) = results
    return [_put_together(call, pieces, axis % max(result.ndim, 1), result)]


def piled(along: int) -> Rule:
    """Return the rule of `hstack` (``along=1``) or `vstack` (``along=0``)."""
    fewest = _MATRIX if along == 0 else 1

    def rule(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
        pieces, (result,) = list(call.argument(0, "tensors")), results
        if any(each.ndim < fewest for each in pieces):
            return moving(Moves())(call, results)
        return [_put_together(call, pieces, along if result.ndim > 1 else 0, result)]

    return rule


def _put_together(
    call: Call, pieces: Sequence[torch.Tensor], axis: int, result: torch.Tensor
) -> Outcome:
    if axis:
        found = [(each, call.placed(each)) for each in pieces]
        parts = [aligned(each, placed, result) for each, placed in found if placed is not None]
        return call.made(parts, result)
    # An empty vector may stand among tensors of any shape.
    filled = [each for each in pieces if each.shape[0]]
    if not any(call.placed(each) for each in filled):
        return call.lost(result, f"torch.{call.name} of no rows")
    return stacked_rows([(len(each), call.placed(each)) for each in filled], call.name)


def stacked_tensors(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
    """Rows of tensors that each become one row, or one column."""
    pieces = list(call.argument(0, "tensors"))
    (result,) = results
    if call.argument(1, "dim", default=0) % result.ndim:
        found = [(each, call.placed(each)) for each in pieces]
        return [call.made([aligned(t, p, t) for t, p in found if p is not None], result)]
    rows = [call.placed(each) for each in pieces]
    if all(placed is None or single_row(placed[1]) for placed in rows):
        first = [placed and (placed[0], placed[1][:1]) for placed in rows]
        return [stacked_rows([(1, placed) for placed in first], call.name)]
    return moving(Moves())(call, results)


def deciding(moves: Moves) -> Rule:
    """Return the rule of a function whose mask decides, element by element, what is taken."""
    otherwise = moving(moves)

    def rule(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
        mask, (result,) = call.argument(*mask_at), results
        placed = call.placed(mask)
        if placed is None:
            return otherwise(call, results)
        parts = [aligned(mask, placed, result)]
        for tensor, mine in moved_data(call, moves):
            found = moved_ids(call, moves, tensor)
            if found is None:
                return call.all_lost(results)
            how = how_of(found[0], n_rows_of(tensor))
            parts += [] if how is None else of_one(mine, how)
        return [call.made(parts, result)]

    at, name = moves.index
    mask_at = (int(at), str(name))
    return rule


def chosen_between(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
    """Rows of `where`: of what was picked, and of the condition."""
    if len(call.args) + len(call.kwargs) == 1:
        return positions_found(call, results)
    at = 1 if call.func is torch.Tensor.where else 0  # ``x.where(condition, other)``
    choice = Moves(index=(at, "condition"), values=(1, 2, "input", "other", "self"))
    return deciding(choice)(call, results)


def put_by_index(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
    """Rows of `index_put`; values that are added to one place cannot be told apart."""
    if call.argument(3, "accumulate", default=False):
        return call.all_lost(results, f"torch.{call.name}(accumulate=True)")
    return moving(Moves(index=(1, "indices")))(call, results)


def positions_found(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
    """Rows of `nonzero`: one for each position that was found."""
    source = call.args[0]
    placed = call.placed(source)
    if placed is None or source.ndim == 0:
        return call.all_lost(results)
    first = results[0][:, 0] if results[0].ndim == _MATRIX else results[0]
    return [call.made(of_one(placed, first.cpu().numpy()), each) for each in results]


def ordered(position: int, *, values: bool = True, default: Any = -1) -> Rule:
    """Return the rule of a function that sorts along an axis, and says where elements come from.

    Args:
        position: Where the axis stands among the arguments.
        values: The values come before the positions.
        default: The axis when none is given.
    """

    def rule(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
        source = call.first
        placed = call.placed(source)
        axis = call.argument(position, "dim", default=default)
        if placed is None or not isinstance(axis, int) or isinstance(axis, bool):
            return call.all_lost(results)
        if source.ndim == 0 or axis % source.ndim:
            return [call.made(of_one(placed), result) for result in results]
        how = how_of(results[-1 if values else 0] + 1, source.shape[0])
        if how is None:
            return call.all_lost(results)
        return [call.made(of_one(placed, how), result) for result in results]

    return rule


def added_by_index(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
    """Rows of `index_add`: of the tensor, and of every row that was added to it."""
    target, (result,) = call.args[0], results
    axis, index = call.argument(1, "dim"), call.argument(2, "index")
    source = call.argument(3, "source")
    parts = [] if call.placed(target) is None else of_one(call.rows[id(target)])
    placed = call.placed(source)
    if placed is not None and target.ndim and axis % target.ndim == 0:
        codes = index.reshape(-1).cpu().numpy()
        parts += of_one(placed, RowMap.groups(codes, n_rows_of(result)))
    elif placed is not None:
        parts += [aligned(source, placed, result)]
    return [call.made(parts, result)]


def from_nothing(call: Call, result: torch.Tensor) -> Outcome:
    """Return lost rows for a result into which no element of a tracked tensor came."""
    return call.lost(result, f"torch.{call.name}, which left no row of it")


def moved_data(call: Call, moves: Moves) -> list[tuple[torch.Tensor, Placed]]:
    """Return the tracked tensors whose elements are moved."""
    data = [each for at, each in enumerate(call.args) if at not in moves.index]
    data += [each for name, each in call.kwargs.items() if name not in moves.index]
    mine = {id(each) for each in tensors_in(data)}
    return [(tensor, placed) for tensor, placed in call.tracked() if id(tensor) in mine]


def moved_ids(call: Call, moves: Moves, source: torch.Tensor) -> list[torch.Tensor] | None:
    """Return where the rows of one operand went, counted from 1; 0 is what came from elsewhere."""
    n = n_rows_of(source)
    numbers = torch.arange(1, n + 1, device=source.device)
    shape = (n,) + (1,) * (source.ndim - 1) if source.ndim else ()
    ids = numbers.reshape(shape).expand(source.shape)
    if call.fills and source is call.args[0]:
        ids = ids.contiguous()
    try:
        return tensors_in(_called(call, moves, {id(source): ids}))
    except (RuntimeError, TypeError):
        return None  # it has no kernel for integers; the caller says that the rows are lost


def _called(call: Call, moves: Moves, given: dict[int, torch.Tensor]) -> Any:
    """Call the function again with row numbers for some tensors, and zeros for other elements."""

    def put(at: int | str, value: Any) -> Any:
        if at in moves.index:
            return value
        if at in moves.values and isinstance(value, (int, float, complex)):
            return 0
        return _put(value, given, contiguous=call.fills and at == 0)

    args = [put(at, value) for at, value in enumerate(call.args)]
    named = {name: put(name, value) for name, value in call.kwargs.items()}
    result = (moves.instead or call.func)(*args, **named)
    return args[0] if call.fills else result


def _put(value: Any, given: dict[int, torch.Tensor], *, contiguous: bool) -> Any:
    if isinstance(value, torch.Tensor):
        if id(value) in given:
            return given[id(value)]
        none = torch.zeros((), dtype=torch.int64, device=value.device).expand(value.shape)
        return none.contiguous() if contiguous else none
    if isinstance(value, (tuple, list)) and any(isinstance(e, torch.Tensor) for e in value):
        return type(value)(_put(each, given, contiguous=False) for each in value)
    return value


def how_of(ids: torch.Tensor, n_in: int) -> How | None:
    """Read off how rows follow; ``None`` if nothing came from there."""
    n_out = n_rows_of(ids)
    if ids.ndim and all(
        stride == 0 or size == 1
        for stride, size in zip(ids.stride()[1:], ids.shape[1:], strict=True)
    ):
        ids = ids[(slice(None), *[slice(0, 1)] * (ids.ndim - 1))]
    if ids.numel() == 0:
        return np.full(n_out, -1, dtype=np.int64) if n_out else np.zeros(0, dtype=np.int64)
    flat = ids.reshape(n_out, -1)
    highest = flat.max(dim=1).values
    if bool((flat == highest[:, None]).logical_or(flat == 0).all()):
        return _rows_or_none(highest.cpu().numpy() - 1, n_in)
    if flat.numel() > _MOST_PAIRS:
        return "statistic"
    out, column = flat.nonzero(as_tuple=True)
    found = flat[out, column].cpu().numpy() - 1
    return RowMap.from_pairs(out.cpu().numpy(), found, n_out, n_in)


def _rows_or_none(rows: IntArray, n_in: int) -> How | None:
    if (rows < 0).all():
        return None
    return "same" if len(rows) == n_in and (rows == np.arange(n_in)).all() else rows
