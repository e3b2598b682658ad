"""Operators of tracked arrays: as fast as NumPy's own, whose temporaries they use up alike."""

import operator
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np

from traceprop_engine.arrays.combining import keeps_operations, keeps_rows
from traceprop_engine.arrays.lines import Lines, Steps
from traceprop_engine.arrays.memory import Array, Held, Plain, RowArray, fresh, fresh_owner
from traceprop_engine.arrays.temporaries import (
    COUNTS_TELL,
    LEFT,
    REFERENCES,
    RIGHT,
    SMALLEST,
    birth_in,
    is_used_up,
)
from traceprop_engine.lineage.marks import distinct

_NUMBERS = (float, int, np.float64, np.float32, np.int64, bool)
_ARITHMETIC = "fc"
_LOGIC = "biu"

OPERATORS = {
    "add": (np.add, operator.add, _ARITHMETIC),
    "sub": (np.subtract, operator.sub, _ARITHMETIC),
    "mul": (np.multiply, operator.mul, _ARITHMETIC),
    "truediv": (np.true_divide, operator.truediv, _ARITHMETIC),
    "and": (np.bitwise_and, operator.and_, _LOGIC),
    "or": (np.bitwise_or, operator.or_, _LOGIC),
    "xor": (np.bitwise_xor, operator.xor, _LOGIC),
}
"""For each: the ufunc, the operator on plain arrays, and the kinds of values it may overwrite."""


def operator_of(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the methods of an operator, with the array on the left, and on the right."""
    ufunc, plainly, kinds = OPERATORS[name]
    called = f"np.{ufunc.__name__}"
    left, right = getattr(np.ndarray, f"__{name}__"), getattr(np.ndarray, f"__r{name}__")

    def forward(self: Any, other: Any) -> Any:
        held = self.traceprop_held
        lines = None if held is None else lines_of_result(held, type(self), other)
        if lines is None:
            return left(self, other)
        theirs = other.traceprop_held if type(other) is type(self) else None
        second = other if theirs is None else theirs.plain
        plain = held.plain
        if plain.nbytes < SMALLEST:
            return result_with(type(self), called, plainly(plain, second), held, theirs, lines)
        frame = sys._getframe(1)  # noqa: SLF001  (what runs the operator)
        pair = (plain, second)
        if (
            held.born is not None
            and sys.getrefcount(self) == REFERENCES
            and _is_free(held, second, kinds, frame, LEFT)
        ):
            steps = steps_with(called, held, theirs, lines)
            return _written_over(self, held, lines, steps, (ufunc, pair, frame))
        if (
            theirs is not None
            and theirs.born is not None
            and sys.getrefcount(other) == REFERENCES
            and _is_free(theirs, plain, kinds, frame, RIGHT)
        ):
            steps = steps_with(called, held, theirs, lines)
            return _written_over(other, theirs, lines, steps, (ufunc, pair, frame))
        result = result_with(type(self), called, plainly(plain, second), held, theirs, lines)
        return _born(result, frame)

    def backward(self: Any, other: Any) -> Any:
        held = self.traceprop_held
        lines = None if held is None else lines_of_result(held, type(self), other)
        if lines is None or isinstance(other, RowArray):
            return right(self, other)
        plain = held.plain
        if plain.nbytes < SMALLEST:
            return result_with(type(self), called, plainly(other, plain), held, None, lines)
        frame = sys._getframe(1)  # noqa: SLF001  (what runs the operator)
        if (
            held.born is not None
            and sys.getrefcount(self) == REFERENCES
            and _is_free(held, other, kinds, frame, RIGHT)
        ):
            steps = steps_with(called, held, None, lines)
            return _written_over(self, held, lines, steps, (ufunc, (other, plain), frame))
        result = result_with(type(self), called, plainly(other, plain), held, None, lines)
        return _born(result, frame)

    forward.__name__, backward.__name__ = f"__{name}__", f"__r{name}__"
    return forward, backward


def called_simply(cls: type[Array], ufunc: np.ufunc, inputs: tuple[Any, ...]) -> Any:
    """Return what a ufunc gives for one array, or two that lie alike, element by element.

    ``NotImplemented`` for all other calls.
    """
    if ufunc.nout > 1 or ufunc.signature is not None or type(inputs[0]) is not cls:
        return NotImplemented
    first = inputs[0].traceprop_held
    other = inputs[1] if len(inputs) > 1 else 0
    lines = None if first is None else lines_of_result(first, cls, other)
    if first is None or lines is None or len(inputs) > 2:  # noqa: PLR2004  (one or two)
        return NotImplemented
    theirs = other.traceprop_held if type(other) is cls else None
    more = [other if theirs is None else theirs.plain] if len(inputs) > 1 else []
    return result_with(cls, f"np.{ufunc.__name__}", ufunc(first.plain, *more), first, theirs, lines)


def born_here(result: Any, frame: FrameType) -> Any:
    """Return a result of a function; the next operator may use it up if it can be proved."""
    if COUNTS_TELL and isinstance(result, RowArray):
        return _born(result, frame)
    return result


def lines_of_result(held: Held, cls: type[Any], other: Any) -> Lines | None:
    """Return the lines of a result of an array and a number, or an array that lies alike.

    ``None`` when more has to be found out.
    """
    lines = held.book.lines
    if held.span is not lines.every:
        lines = held.lines
    is_recorded = keeps_rows() or (lines.is_of_operations and keeps_operations())
    if held.mixed is not None or not is_recorded or not lines.notes.is_open:
        return None
    if type(other) in _NUMBERS:
        return lines
    theirs = other.traceprop_held if type(other) is cls else None
    if theirs is None or theirs.axis != held.axis or theirs.plain.shape != held.plain.shape:
        return None
    others = theirs.lines
    if others is lines:
        return lines
    is_alike = theirs.mixed is None and others.notes is lines.notes
    return lines.united(others) if is_alike else None


def _is_free(held: Held, other: Any, kinds: str, frame: FrameType, above: int) -> bool:
    """Say whether the memory of an operand may hold the result."""
    plain = held.plain
    return (
        plain is held.book.owner
        and plain.dtype.kind in kinds
        and _fits(plain, other)
        and is_used_up(held.born, frame, above)
    )


def _fits(plain: Plain, other: Any) -> bool:
    """Say whether an operation of an array and another operand has the type of the array."""
    if isinstance(other, np.ndarray):
        return other.dtype == plain.dtype
    if plain.dtype.kind in "fc":
        return type(other) in (float, int, bool) or other.dtype == plain.dtype
    return plain.dtype.kind == "b" and type(other) is bool


def _written_over(
    array: Any, held: Held, lines: Lines, steps: Any, work: tuple[np.ufunc, Any, FrameType]
) -> Any:
    """Write a result over an operand that nobody else can see, and return that."""
    ufunc, pair, frame = work
    owner = held.book.owner
    owner.setflags(write=True)
    ufunc(*pair, out=owner)
    owner.setflags(write=False)
    held.book.replace(lines, steps)
    held.span = lines.every
    held.born = birth_in(frame)
    return array


def result_with(
    cls: type[Array], name: str, result: Any, held: Held, other: Held | None, lines: Lines
) -> Any:
    """Return a new array that holds these lines; a value that is none is noted."""
    if type(result) is not np.ndarray:
        lines.note(name)
        return result
    steps = steps_with(name, held, other, lines)
    if result.base is not None:
        return fresh(cls, result, lines, held.axis, steps)
    return fresh_owner(cls, result, lines, held.axis, steps)


def steps_with(name: str, held: Held, other: Held | None, lines: Lines) -> Steps:
    """Return the step of an operation on one array, or on two."""
    before = held.steps
    n = len(lines.rows)
    if other is None:
        return lines.step(name, n, before)
    if other.steps is not before:
        before = distinct([*before, *other.steps])
    return lines.step(name, n, before, 2)


def _born(array: Any, frame: FrameType) -> Any:
    held = array.traceprop_held if isinstance(array, RowArray) else None
    if held is not None and held.plain.nbytes >= SMALLEST:
        held.born = birth_in(frame)
    return array
