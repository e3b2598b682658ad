"""New arrays from old ones by moving values: in memory of their own, or in that of the old ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from traceprop_engine.arrays.cells import NONE, Numbers, Origin, decision_of, pure_axis
from traceprop_engine.arrays.combining import (
    Decision,
    keeps_nothing,
    keeps_rows,
    of_operations,
    step_of,
)
from traceprop_engine.arrays.lines import Lines, blank_lines
from traceprop_engine.arrays.memory import Array, Held, Plain, fresh, view_of
from traceprop_engine.lineage.marks import Mark, write_note

_FROZEN = ("diagonal", "diag", "broadcast_to", "broadcast_arrays")
"""What NumPy gives a view of that nobody may write to."""


def moved_result(
    cls: type[Array],
    name: str,
    result: Any,
    numbers: Any,
    origins: Sequence[tuple[Held, Origin]],
    *,
    has_unknown: bool = False,
) -> Any:
    """Return what an operation gave that only moved values.

    Args:
        cls: The class of tracked arrays.
        name: Of the operation.
        result: What it gave for the values: an array, or several.
        numbers: What it gave for the numbers of the values.
        origins: What the numbers stand for.
        has_unknown: Whether it moved values of a plain array, too.
    """
    if isinstance(result, (tuple, list)):
        pairs = zip(result, numbers, strict=True)
        items = [
            moved_result(cls, name, each, of_each, origins, has_unknown=has_unknown)
            for each, of_each in pairs
        ]
        return type(result)(items)
    if not isinstance(result, np.ndarray):
        _note_scalar(name, numbers, origins)
        return result
    shared = sharing(result, [held for held, _ in origins])
    if shared is None and (result.ndim == 0 or (numbers.size and (numbers == NONE).all())):
        _note_scalar(name, numbers, origins)
        return result
    known = [origin for _, origin in origins]
    if shared is not None:
        origin = next(origin for held, origin in origins if held is shared)
        return _view(cls, name, result, numbers, shared, origin)
    decision = decision_of(numbers, known) if numbers.size else _empty(known, result)
    if has_unknown and _is_mixed(numbers, decision.axis):
        claim = f"{name} put a plain array beside rows, taken to hold no rows of an input"
        decision = Decision(decision.lines.claimed(claim), decision.axis)
    steps = step_of(name, [held for held, _ in origins], result.shape[0])
    return fresh(cls, result, decision.lines, decision.axis, steps)


def unfollowed_result(
    cls: type[Array], name: str, result: Any, operands: Sequence[Held], lines: Lines | None = None
) -> Any:
    """Return what an operation gave that nobody followed, its rows visibly lost.

    Args:
        cls: The class of tracked arrays.
        name: Of the operation.
        result: What it gave: an array, several, or any other value.
        operands: What it read.
        lines: Of the positions along axis 0, if they are known all the same.
    """
    if isinstance(result, (tuple, list)) and any(isinstance(r, np.ndarray) for r in result):
        items = [unfollowed_result(cls, name, each, operands, lines) for each in result]
        return result._make(items) if hasattr(result, "_make") else type(result)(items)
    shared = sharing(result, operands)
    if type(result) is not np.ndarray or (result.ndim == 0 and shared is None):
        if not keeps_nothing():
            for each in operands:
                each.lines.note(name)
        return result
    n = result.shape[0] if result.ndim else 1
    if lines is None:
        lines = of_operations([each.lines for each in operands], result.shape).lines
    if shared is not None:
        held = Held(result, shared.book, 0 if result.ndim else None, range(0), mixed=lines)
        held.is_locked = shared.is_locked
        return view_of(cls, held)
    if keeps_nothing():
        return result
    return fresh(cls, result, lines, 0, step_of(name, operands, n))


def note_one(held: Held, name: str, number: int) -> None:
    """Write down that values of one line left."""
    if held.mixed is not None:
        held.lines.note_at(name, number)
        return
    book = held.book
    row = book.row(held.span[number])
    if row >= 0:
        mark = Mark(book.last_lines.node, None)
        one = np.array([row])
        write_note(mark, name, None, one, ("row", row), one)


def sharing(result: Any, operands: Sequence[Held]) -> Held | None:
    """Return the operand whose memory a result lies in, if there is one."""
    if not isinstance(result, np.ndarray):
        return None
    owner: Any = result
    # Between an array of `numpy.lib.stride_tricks` and the memory stands an object of its own.
    while getattr(owner, "base", None) is not None:
        owner = owner.base
    return next((held for held in operands if held.book.owner is owner), None)


def span_of(numbers: Numbers, held: Held) -> range | None:
    """Return the positions of memory with these numbers, if they are evenly apart."""
    span = held.span
    if len(numbers) == 1:
        return range(span[numbers[0]], span[numbers[0]] + 1)
    step = int(numbers[1] - numbers[0])
    if step == 0 or not (np.diff(numbers) == step).all():
        return None
    first = int(numbers[0])
    return range(span[first], span[first] + step * span.step * len(numbers), step * span.step)


def _view(
    cls: type[Array], name: str, result: Plain, numbers: Numbers, held: Held, origin: Origin
) -> Any:
    pure = pure_axis(numbers)
    span = None
    if pure is not None and held.mixed is None and (pure[1] >= origin.first).all():
        span = span_of(pure[1] - origin.first, held)
    if span is not None and pure is not None:
        view = Held(result, held.book, pure[0], span)
    elif not numbers.size:
        n = result.shape[0] if result.ndim else 1
        view = Held(result, held.book, 0, range(0), mixed=blank_lines(origin.lines, n))
    else:
        mixed = decision_of(numbers, [origin])
        view = Held(result, held.book, mixed.axis, range(0), mixed=mixed.lines)
    view.is_frozen = held.is_frozen or name.rpartition(".")[2] in _FROZEN
    view.is_locked = held.is_locked or view.is_frozen
    view.made_by = step_of(name, [held], result.shape[0] if result.ndim else 1)
    return view_of(cls, view)


def _empty(known: Sequence[Origin], result: Plain) -> Decision:
    return Decision(blank_lines(known[0].lines, result.shape[0]), 0)


def _is_mixed(numbers: Numbers, axis: int | None) -> bool:
    """Say whether values of no row lie beside values of rows."""
    if axis is None:
        return False
    ahead = np.moveaxis(numbers, axis, 0).reshape(numbers.shape[axis], -1)
    return bool(((ahead.min(axis=1) == NONE) & (ahead.max(axis=1) != NONE)).any())


def _note_scalar(name: str, numbers: Any, origins: Sequence[tuple[Held, Origin]]) -> None:
    """Write down that single values left."""
    if keeps_nothing():
        return
    found = np.unique(np.asarray(numbers))
    for held, origin in origins:
        mine = found[origin.chosen(found)] - origin.first
        if len(mine) == 1 and keeps_rows():
            note_one(held, name, int(mine[0]))
        elif len(mine):
            held.lines.note(name)
