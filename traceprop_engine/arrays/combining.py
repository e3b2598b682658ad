"""Which rows the values of a result are of that were computed from several arrays at once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from traceprop_engine.arrays.lines import (
    Lines,
    Steps,
    all_united,
    blank_lines,
    lost_lines,
    op_of,
    statistic_of,
)
from traceprop_engine.arrays.memory import Held, held_of
from traceprop_engine.lineage.granularity import Granularity, current_granularity
from traceprop_engine.lineage.marks import Step, distinct

_LOST_IN_OP = "a scope of another granularity than ROW"


@dataclass(frozen=True, eq=False, slots=True)
class Decision:
    """What is known of the values of a result.

    Attributes:
        lines: Which rows they are of.
        axis: The axis of the result that they lie on; ``None`` when there is one line for all.
    """

    lines: Lines
    axis: int | None


@dataclass(frozen=True, eq=False, slots=True)
class Operand:
    """A tracked array that an operation reads.

    Attributes:
        lines: Which rows it holds.
        axis: The axis of the *result* that they come to lie on; ``None`` when there is one line for
            all values, or when the operation does away with the axis.
        is_spent: Whether the operation does away with the axis.
    """

    lines: Lines
    axis: int | None
    is_spent: bool = False


def tracked_among(values: Iterable[Any]) -> list[Held]:
    """Return how the followed arrays lie in memory, those of the notes of the first one."""
    found = [held for value in values if (held := held_of(value)) is not None]
    return [held for held in found if held.notes is found[0].notes]


def keeps_rows() -> bool:
    """Say whether rows are recorded here."""
    return current_granularity() is Granularity.ROW


def keeps_nothing() -> bool:
    """Say whether nothing is recorded here."""
    return current_granularity() is Granularity.OFF


def keeps_operations() -> bool:
    """Say whether operations are recorded here, and no rows."""
    return current_granularity() not in (Granularity.ROW, Granularity.OFF)


def combined(
    name: str,
    operands: Sequence[Operand],
    shape: tuple[int, ...],
    unknown_shapes: Iterable[tuple[int, ...]] = (),
) -> Decision:
    """Return what is known of a result, each value of which was computed from one of each operand.

    Rows that lie on one axis of the result with it are its parents. All others reach every value:
    they are its context, which is noted.

    Args:
        name: Of the operation.
        operands: What it read, by the axes of the result.
        shape: Of the result.
        unknown_shapes: Shapes of the plain arrays that it read, as they were broadcast to it.
    """
    if not keeps_rows():
        return of_operations([each.lines for each in operands], shape)
    along = [each for each in operands if _lies_along(each, shape)]
    if along:
        axis = min(each.axis for each in along if each.axis is not None)
        direct = [each.lines for each in along if each.axis == axis]
        for each in operands:
            if each not in along or each.axis != axis:
                each.lines.note(name)
        return _claimed(name, Decision(all_united(direct), axis), shape, unknown_shapes)
    if any(each.is_spent for each in operands) or any(len(each.lines) != 1 for each in operands):
        for each in operands:
            each.lines.note(name)
        return Decision(statistic_of([each.lines for each in operands], 1), None)
    return Decision(all_united(each.lines for each in operands), None)


def lost(name: str, lines: Sequence[Lines], shape: tuple[int, ...]) -> Decision:
    """Return that nobody followed how a result comes from these lines."""
    if not keeps_rows():
        return of_operations(lines, shape)
    return Decision(lost_lines(lines, shape[0] if shape else 1, name), 0 if shape else None)


def blank(lines: Lines, n_rows: int, axis: int | None) -> Decision:
    """Return that a result comes from no row."""
    return Decision(blank_lines(lines, n_rows), axis)


def statistic(name: str, lines: Sequence[Lines]) -> Decision:
    """Return that all values of a result depend on all of these lines, and note it."""
    for each in lines:
        each.note(name)
    alone = lines[0].statistic() if len(lines) == 1 else statistic_of(lines, 1)
    return Decision(alone, None)


def step_of(name: str, operands: Sequence[Held], n_out: int) -> Steps:
    """Return the step of an operation, after those of what it read."""
    if len(operands) == 1:
        return operands[0].lines.step(name, n_out, operands[0].steps)
    before = distinct(step for each in operands for step in each.steps)
    first = operands[0].lines
    if all(each.lines is first for each in operands):
        return first.step(name, n_out, before)
    return (Step(op_of(name, [each.lines for each in operands], n_out), before),)


def _lies_along(operand: Operand, shape: tuple[int, ...]) -> bool:
    return operand.axis is not None and shape[operand.axis] == len(operand.lines)


def _claimed(
    name: str, decision: Decision, shape: tuple[int, ...], unknown: Iterable[tuple[int, ...]]
) -> Decision:
    """Say of a result that read a plain array row by row that somebody vouches for that array."""
    axis = decision.axis
    if axis is None or shape[axis] < 2:  # noqa: PLR2004  (a single row lies along nothing)
        return decision
    behind = len(shape) - axis
    if any(len(each) >= behind and each[-behind] == shape[axis] for each in unknown):
        claim = f"{name} read a plain array row by row, taken to hold no rows of an input"
        return Decision(decision.lines.claimed(claim), axis)
    return decision


def of_operations(lines: Sequence[Lines], shape: tuple[int, ...]) -> Decision:
    """Return the inputs and no rows."""
    n = shape[0] if shape else 1
    first = lines[0]
    axis = 0 if shape else None
    if len(first) == n and all(each is first for each in lines) and first.is_of_operations:
        return Decision(first, axis)
    found = lost_lines(lines, n, _LOST_IN_OP)
    found.is_of_operations = True
    return Decision(found, axis)
