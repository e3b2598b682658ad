"""What memory holds after a write: the same write is done to numbers of the values."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from traceprop_engine.arrays.cells import NONE, Numbers, Origin, lines_of_pairs
from traceprop_engine.arrays.combining import (
    Decision,
    keeps_rows,
    of_operations,
    step_of,
)
from traceprop_engine.arrays.lines import Lines, lost_lines
from traceprop_engine.arrays.memory import WRITING, Held, held_of, plain_value
from traceprop_engine.lineage.marks import Node, distinct
from traceprop_engine.lineage.rows import is_counting

Write = Callable[..., object]
"""Writes into its first argument; the others are what is written, one array for each."""


def overwritten(
    name: str,
    held: Held,
    operands: Sequence[Held],
    decision: Decision | None,
    *,
    is_whole: bool,
) -> None:
    """Write down that a result was written over all values of an array, or over some.

    Args:
        name: Of the operation.
        held: How the array lies in memory.
        operands: What the operation read.
        decision: What is known of the result, ``None`` when it is of no rows.
        is_whole: Whether every value was written.
    """
    book = held.book
    if decision is not None and decision.lines.notes is not book.lines.notes:
        decision = None
    if not keeps_rows():
        _lose(name, held, [each.lines for each in operands if each.notes is held.notes])
        return
    if is_whole and decision is not None and _is_all_of(held) and decision.axis == held.axis:
        if decision.lines is not book.lines:
            book.replace(decision.lines, step_of(name, operands, len(decision.lines)))
        return
    numbers = held.cells() if not is_whole else np.full(held.plain.shape, NONE, dtype=np.int64)
    if decision is None:
        written_numbers(name, held, numbers, [], [])
        return
    first = len(held.lines)
    other = _numbers_of(decision, held.plain.shape, first)
    origins = [Origin(decision.lines, first)]
    if is_whole:
        written_numbers(name, held, other, origins, operands)
    else:
        written_numbers(name, held, np.stack([numbers, other]), origins, operands)


def written(name: str, held: Held, write: Write, values: Sequence[Any]) -> Any:
    """Write values into an array, and write down what its memory holds then.

    Args:
        name: Of the operation.
        held: How the array lies in memory.
        write: Does it to an array, and to its numbers.
        values: What is written.

    Returns:
        What ``write`` gives.
    """
    with WRITING:
        return _written(name, held, write, values)


def _written(name: str, held: Held, write: Write, values: Sequence[Any]) -> Any:
    plain = [plain_value(each) for each in values]
    result = write(held.writable(), *plain)
    sources = [held_of(each) for each in values]
    mine = [s if s is not None and s.notes is held.notes else None for s in sources]
    known = [each for each in mine if each is not None]
    if not keeps_rows():
        _lose(name, held, [each.lines for each in known])
        return result
    if held.plain.dtype.hasobject:
        lose_all(name, held, known)
        return result
    numbers = np.array(held.cells())
    origins: list[Origin] = []
    first = len(held.lines)
    shadows: list[Any] = []
    for value, source in zip(plain, mine, strict=True):
        if source is None:
            shadows.append(np.full(np.shape(value), NONE, dtype=np.int64))
        else:
            shadows.append(source.cells(first))
            origins.append(Origin(source.lines, first))
            first += len(source.lines)
    write(numbers, *shadows)
    unknown = any(s is None and np.size(v) > 1 for v, s in zip(plain, mine, strict=True))
    written_numbers(name, held, numbers, origins, known, has_unknown=unknown)
    return result


def written_numbers(
    name: str,
    held: Held,
    numbers: Numbers,
    others: Sequence[Origin],
    operands: Sequence[Held],
    *,
    has_unknown: bool = False,
) -> None:
    """Write down what the values of an array are of by now.

    Args:
        name: Of the operation.
        held: How the array lies in memory.
        numbers: Of each value: of its own lines, or of others; maybe several, on a first axis.
        others: What was written.
        operands: What it was written from.
        has_unknown: Whether a plain array was written.
    """
    book = held.book
    if held.mixed is not None:
        lose_all(name, held, operands)
        return
    old = book.lines
    positions = np.array(held.span)[held.cells()]
    own = numbers < len(held.lines)
    # The numbers of others stay; its own become those of the memory, behind those of the others.
    behind = max([len(held.lines), *[each.first + len(each.lines) for each in others]])
    span = np.array(held.span)
    moved = np.where(own & (numbers >= 0), span[numbers * own] + behind, numbers)
    places = np.broadcast_to(positions, numbers.shape).reshape(-1)
    kept = _kept_positions(held, len(old))
    lines = lines_of_pairs(
        np.concatenate([places, kept]),
        np.concatenate([moved.reshape(-1), kept + behind]),
        len(old),
        [Origin(old, behind), *others],
    )
    if has_unknown:
        lines = lines.claimed(f"{name} wrote a plain array, taken to hold no rows of an input")
    steps = step_of(name, [held, *operands], len(old))
    book.replace(lines, steps)


def origin_of_one(held: Held, value: Any) -> tuple[Node, int] | None:
    """Return the one row that a value is of which is written to an array, if it is of one.

    A plain scalar is of no row.
    """
    if not keeps_rows():
        return None
    source = held_of(value)
    if source is None or source.notes is not held.notes:
        plain = plain_value(value)
        return None if np.ndim(plain) else (held.book.last_lines.node, NONE)
    if source.axis is not None or source.mixed is not None:
        return None
    book = source.book
    node, row = book.last_lines.node, book.row(source.span[0])
    if row == NONE and not node.lost:
        return held.book.last_lines.node, NONE
    if node is held.book.last_lines.node or len(held.book.last_lines) == 1:
        return node, row
    return None


def written_one(name: str, held: Held, position: int, origin: tuple[Node, int], value: Any) -> None:
    """Write down that a position of memory is of one row now."""
    book = held.book
    node, row = origin
    source = held_of(value)
    steps = book.steps
    if source is not None and source.book is not book and source.notes is held.notes:
        steps = distinct([*steps, *source.steps])
    if not steps or steps[0].op.name != name:
        steps = book.last_lines.step(name, len(book.last_lines), steps)
    book.steps = steps
    if node is book.last_lines.node:
        book.set_row(position, row)
    else:
        book.replace(Lines(node, np.array([row])), steps)


def _kept_positions(held: Held, n: int) -> Numbers:
    """Return the positions of memory of which this array holds no value, or not all."""
    if held.plain.nbytes < len(held.span) * held.book.row_bytes:
        return np.arange(n)
    outside = np.ones(n, dtype=bool)
    outside[np.array(held.span, dtype=np.int64)] = False
    return np.flatnonzero(outside)


def _is_all_of(held: Held) -> bool:
    """Say whether an array is all of its memory, in order."""
    n = len(held.book.lines)
    return (
        held.mixed is None
        and is_counting(held.span, n)
        and held.plain.nbytes == n * held.book.row_bytes
    )


def _numbers_of(decision: Decision, shape: tuple[int, ...], first: int) -> Numbers:
    if decision.axis is None:
        return np.full(shape, first)
    numbers = np.arange(first, first + shape[decision.axis])
    return np.broadcast_to(
        numbers.reshape([-1 if at == decision.axis else 1 for at in range(len(shape))]), shape
    )


def _lose(name: str, held: Held, others: Sequence[Lines]) -> None:
    """Write down a write where no rows are recorded."""
    book = held.book
    old = book.lines
    if not old.is_of_operations or any(each is not old for each in others):
        lines = of_operations([old, *others], (len(old),)).lines
        book.replace(lines, old.step(name, len(old), book.steps))


def lose_all(name: str, held: Held, operands: Sequence[Held]) -> None:
    """Write down that nobody followed what a memory holds now."""
    book = held.book
    steps = step_of(name, [held, *operands], len(book.lines))
    lines = lost_lines(
        [book.lines, held.lines, *[each.lines for each in operands]], len(book.lines), name
    )
    book.replace(lines, steps)
