"""Functions that only move values: where each went is what they do to the numbers of the values."""

from collections.abc import Callable
from typing import Any

import numpy as np

from traceprop_engine.arrays.calls import Call, Numbered, leaves
from traceprop_engine.arrays.cells import NONE, Origin, lines_of_pairs
from traceprop_engine.arrays.combining import Operand, combined, step_of
from traceprop_engine.arrays.lines import lost_lines
from traceprop_engine.arrays.memory import fresh, held_of, plain_value
from traceprop_engine.arrays.views import moved_result, unfollowed_result

_BESIDE = ("hstack", "column_stack", "concatenate", "concat", "dstack", "stack")


def moved(call: Call, result: Any) -> Any:
    """Return the result of a function that only moved values, as tracked arrays."""
    numbered = call.moved_numbers()
    call.note_others()
    return moved_as(call, result, numbered, numbered.result)


def moved_as(call: Call, result: Any, numbered: Numbered, numbers: Any) -> Any:
    """Return a result whose values have these numbers, as tracked arrays.

    What does not fit the result, or comes from no tracked array, is visibly lost.
    """
    if not numbered.origins or not _fits(result, numbers):
        return lost_result(call, result)
    return moved_result(
        call.cls,
        call.name,
        result,
        numbers,
        numbered.origins,
        has_unknown=numbered.has_unknown,
    )


def lost_result(call: Call, result: Any) -> Any:
    """Return the result of a function that nobody followed."""
    if isinstance(result, (list, tuple)):
        items = [lost_result(call, each) for each in result]
        return result._make(items) if hasattr(result, "_make") else type(result)(items)
    lines = [held.lines for held in call.operands]
    n = result.shape[0] if isinstance(result, np.ndarray) and result.ndim else 1
    return unfollowed_result(
        call.cls, call.name, result, call.operands, lost_lines(lines, n, call.name)
    )


def quickly_moved(call: Call, result: Any) -> Any:
    """Return the result of a common way to pick or join whole rows; ``None`` for the others.

    It is what `moved` gives, without a number for every single value.
    """
    short = call.name.rpartition(".")[2]
    if type(result) is not np.ndarray or not result.ndim or not result.size:
        return None
    if short in _BESIDE and result.ndim > 1:
        beside = _beside(call, result)
        if beside is not None:
            return beside
    return _along_rows(call, short, result) if short in _ROWS else None


def _beside(call: Call, result: Any) -> Any:
    """Return arrays of the same rows put beside each other."""
    values = leaves([call.main])
    if call.name == "np.stack" and call.arguments["axis"] in (0, -result.ndim):
        return None
    if call.name in ("np.concatenate", "np.concat") and call.arguments["axis"] in (None, 0):
        return None
    if call.name in ("np.hstack", "np.dstack") and any(np.ndim(each) < 2 for each in values):  # noqa: PLR2004  (a vector is a row to them)
        return None
    n = result.shape[0]
    mine = [held for each in values if (held := held_of(each)) in call.operands and held]
    if not mine or any(held.axis != 0 or len(held.lines) != n for held in mine):
        return None
    if n < 2 or any(np.ndim(each) == 0 or len(each) != n for each in values):  # noqa: PLR2004
        return None
    unknown = [result.shape for each in values if held_of(each) not in mine]
    decision = combined(call.name, [Operand(h.lines, 0) for h in mine], result.shape, unknown)
    steps = step_of(call.name, mine, n)
    return fresh(call.cls, result, decision.lines, decision.axis, steps)


def _along_rows(call: Call, short: str, result: Any) -> Any:
    """Return whole rows picked, or put below each other: the rows alone are moved."""
    values = leaves([call.main])
    mine = [held for each in values if (held := held_of(each)) in call.operands and held]
    widths = {np.shape(plain_value(each))[1:] for each in values}
    if not mine or len(widths) > 1 or any(held.axis != 0 for held in mine):
        return None
    ndim = len(next(iter(widths))) + 1
    if any(np.ndim(plain_value(each)) == 0 for each in values) or not _is_by_row(call, short, ndim):
        return None
    origins: list[Origin] = []
    numbers: list[Any] = []
    first = 0
    for each in values:
        held = held_of(each)
        if held in mine and held is not None:
            origins.append(Origin(held.lines, first))
            numbers.append(np.arange(first, first + len(held.lines)))
            first += len(held.lines)
        else:
            numbers.append(np.full(len(each), NONE))
    rows = _ROWS[short](numbers, call.arguments)
    call.note_others()
    n = result.shape[0]
    if rows.shape != (n,):
        return lost_result(call, result)
    lines = lines_of_pairs(np.arange(n), rows, n, origins)
    return fresh(call.cls, result, lines, 0, step_of(call.name, mine, n))


def _is_by_row(call: Call, short: str, ndim: int) -> bool:
    if short == "vstack":
        return ndim > 1
    if short == "take" and np.ndim(plain_value(call.arguments["indices"])) != 1:
        return False
    axis = call.arguments["axis"]
    return axis in (0, -ndim) or (axis is None and ndim == 1 and short != "concat")


def _stacked(numbers: list[Any], _arguments: dict[str, Any]) -> Any:
    return np.concatenate(numbers)


def _taken(numbers: list[Any], arguments: dict[str, Any]) -> Any:
    return np.take(numbers[0], plain_value(arguments["indices"]), mode=arguments["mode"])


_ROWS: dict[str, Callable[[list[Any], dict[str, Any]], Any]] = {
    "concatenate": _stacked,
    "concat": _stacked,
    "vstack": _stacked,
    "take": _taken,
    "compress": lambda rows, given: np.compress(plain_value(given["condition"]), rows[0]),
    "delete": lambda rows, given: np.delete(rows[0], plain_value(given["obj"])),
    "repeat": lambda rows, given: np.repeat(rows[0], plain_value(given["repeats"])),
}


def _fits(result: Any, numbers: Any) -> bool:
    """Say whether numbers have the shape of a result."""
    if isinstance(result, (list, tuple)):
        return (
            isinstance(numbers, (list, tuple))
            and len(result) == len(numbers)
            and all(map(_fits, result, numbers))
        )
    return np.shape(result) == np.shape(numbers)
