"""Which arrays are used up by the operation that reads them, so that it may write over them.

NumPy reuses the memory of a temporary such as ``a * 2`` in ``a * 2 + 1``, for its own arrays only.
For tracked arrays that is decided here, from the bytecode of the running function: between the
instruction that made an array and the one that reads it, nothing but loads and operators stands,
and what is read is the very item of the stack that was made. Then nobody else can ever see it.
Where references can be counted, there must be no other one either.
"""

import dis
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any

SMALLEST = 1 << 18
"""Bytes of the smallest array that is worth it; NumPy takes the same."""

LEFT, RIGHT = 1, 0
"""How many items of the stack lie above an operand of a binary operation."""

Birth = tuple[CodeType, int, int]
"""The code and the instruction that made an array, and the identity of the running frame."""

_LOADS = [
    "LOAD_FAST",
    "LOAD_FAST_CHECK",
    "LOAD_FAST_BORROW",
    "LOAD_CONST",
    "LOAD_CONST_IMMORTAL",
    "LOAD_SMALL_INT",
    "LOAD_DEREF",
    "LOAD_NAME",
    "PUSH_NULL",
]
_PAIRS = ["LOAD_FAST_LOAD_FAST", "LOAD_FAST_BORROW_LOAD_FAST_BORROW"]
_UNARY = ["UNARY_NEGATIVE", "UNARY_INVERT", "UNARY_NOT"]
_BINARY = ["BINARY_OP", "BINARY_SUBSCR", "COMPARE_OP"]
_NOTHING = ["CACHE", "NOP", "EXTENDED_ARG", "PRECALL", "KW_NAMES"]
_NULL_IN_ATTRIBUTE = sys.version_info >= (3, 12)


def birth_in(frame: FrameType) -> Birth:
    """Return where an array came to be that is returned to a frame."""
    return frame.f_code, frame.f_lasti, id(frame)


def is_used_up(born: Birth, frame: FrameType, above: int) -> bool:
    """Say whether an operand of the running instruction of a frame is seen by nobody else.

    Args:
        born: Where the operand came to be.
        frame: What runs the operation.
        above: How many items of the stack lie above the operand.
    """
    code, made_at, of_frame = born
    if code is not frame.f_code or of_frame != id(frame):
        return False
    key = (id(code), made_at, frame.f_lasti, above)
    known = _KNOWN.get(key)
    if known is None or known[0] is not code:
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.clear()
        known = _KNOWN[key] = (code, _is_straight(code, made_at, frame.f_lasti, above))
    return known[1]


# Answers by the identity of a code, which is kept alive. A lost one is found out again, so threads
# need not wait for each other.
_KNOWN: dict[tuple[int, int, int, int], tuple[CodeType, bool]] = {}
_MOST_KNOWN = 4096


def _is_straight(code: CodeType, made_at: int, read_at: int, above: int) -> bool:
    """Say whether an item that one instruction pushed is what another one pops.

    Args:
        code: What both stand in.
        made_at: Offset of the first one.
        read_at: Offset of the second one.
        above: How many items the second one has above the one in question.
    """
    depth = 0
    for name, argument in _between(code, made_at, read_at):
        change = _stack_change(name, argument)
        if change is None or change[0] > depth:
            return False
        depth += change[1] - change[0]
    return read_at > made_at and depth == above


def _between(code: CodeType, made_at: int, read_at: int) -> Iterator[tuple[str, int]]:
    for instruction in dis.get_instructions(code):
        if instruction.is_jump_target and made_at < instruction.offset <= read_at:
            yield "jump target", 0
        if made_at < instruction.offset < read_at:
            yield instruction.opname, instruction.arg or 0


def _stack_change(name: str, argument: int) -> tuple[int, int] | None:
    """Return how many items an instruction pops and pushes; ``None`` for one not known."""
    if name in _LOADS:
        return 0, 1
    if name in _PAIRS:
        return 0, 2
    if name in _BINARY:
        return 2, 1
    if name in _UNARY:
        return 1, 1
    if name in _NOTHING:
        return 0, 0
    return _change_of_call(name, argument)


def _change_of_call(name: str, argument: int) -> tuple[int, int] | None:
    if name == "LOAD_GLOBAL":
        return 0, 1 + argument % 2
    if name == "LOAD_ATTR":
        return 1, 1 + (argument % 2 if _NULL_IN_ATTRIBUTE else 0)
    if name == "LOAD_METHOD":
        return 1, 2
    return (argument + 2, 1) if name == "CALL" else None


class _Probe:
    """Counts the references to itself where a tracked array would."""

    def __init__(self, found: list[int]) -> None:
        self.found = found

    def __add__(self, other: Any) -> "_Probe":
        self.found.append(sys.getrefcount(self))
        return _Probe(self.found)

    __radd__ = __add__


def _references(run: Callable[[list[int]], object]) -> int:
    found: list[int] = []
    run(found)
    return found[-1]


def _as_temporary(found: list[int]) -> object:
    return _Probe(found) + 1


def _as_named(found: list[int]) -> object:
    named = _Probe(found)
    return named + 1


REFERENCES = _references(_as_temporary)
"""References to an operand that nobody else has, counted inside a method of it."""

COUNTS_TELL = _references(_as_named) > REFERENCES
"""Whether the count tells a temporary from a variable; it does not where Python borrows."""
