"""Functions that look at values to move or join them, each in its own way."""

from collections.abc import Callable
from typing import Any

import numpy as np

from traceprop_engine.arrays.calls import Call, plain_values
from traceprop_engine.arrays.cells import Origin, lines_of_pairs
from traceprop_engine.arrays.combining import Decision, Operand, combined, step_of
from traceprop_engine.arrays.lines import as_positions, windowed
from traceprop_engine.arrays.memory import Held, fresh, held_of
from traceprop_engine.arrays.moving import lost_result, moved, moved_as
from traceprop_engine.arrays.products import product, terms_of_einsum
from traceprop_engine.arrays.ufuncs import results_of
from traceprop_engine.arrays.views import moved_result, sharing

_MOVING_PADS = ("constant", "edge", "reflect", "symmetric", "wrap")
_MATRIX = 2
_ENDS = 3


def sorted_rows(call: Call, result: Any) -> Any:
    """Follow `sort` and `partition`: the order is found again, and must give the same values."""
    held = call.main_held
    if held is None or len(call.operands) > 1:
        return lost_result(call, result)
    numbers = sorted_numbers(call, held)
    if numbers is None:
        return lost_result(call, result)
    return moved_result(call.cls, call.name, result, numbers, [(held, Origin(held.lines, 0))])


def sorted_numbers(call: Call, held: Held) -> Any:
    """Return the numbers of the sorted values; ``None`` if their order cannot be found."""
    given = call.arguments
    find = np.argpartition if "kth" in given else np.argsort
    axis = given["axis"]
    values, numbers = held.plain, held.cells()
    if axis is None:
        values, numbers, axis = values.ravel(), numbers.ravel(), 0
    options = {
        key: given[key] for key in ("kth", "kind", "order", "stable") if given.get(key) is not None
    }
    order = find(values, axis=axis, **options)
    ordered = np.take_along_axis(values, order, axis)
    wanted = call.run() if call.name.startswith("np.") else _sorted_copy(call, held)
    if not _same(ordered, wanted):
        return None
    return np.take_along_axis(numbers, order, axis)


def _sorted_copy(call: Call, held: Held) -> Any:
    copy = held.plain.copy()
    call.function(copy, *plain_values(call.args[1:]), **plain_values(call.kwargs))
    return copy


def _same(one: Any, other: Any) -> bool:
    has_nan = one.dtype.kind in "fcmM"
    return np.array_equal(one, other, equal_nan=has_nan)


def reordered(call: Call, result: Any) -> Any:
    """Follow `ravel`, `flatten` and `reshape`: orders A and K are those of the values' memory."""
    held, order = call.main_held, str(call.arguments["order"]).upper()
    if held is None or order not in ("A", "K"):
        return moved(call, result)
    plain = held.plain
    if order == "A":
        numbered = call.moved_numbers(order="F" if plain.flags.fnc else "C")
        return moved_as(call, result, numbered, numbered.result)
    if 0 in plain.strides:
        return lost_result(call, result)  # where repeated values come, no other memory tells
    numbers = np.empty_like(plain, dtype=np.int64)
    numbers[...] = held.cells()
    origins = [(held, Origin(held.lines, 0))]
    return moved_result(call.cls, call.name, result, numbers.ravel("K"), origins)


def accumulated(call: Call, result: Any) -> Any:
    """Follow running sums and products: each row comes from those up to it."""
    held = call.main_held
    axis = call.arguments["axis"]
    if held is None or len(call.operands) > 1 or call.arguments.get("include_initial"):
        return lost_result(call, result)
    if axis is None and held.plain.ndim == 1:
        axis = 0
    if axis is None:
        return lost_result(call, result)

    def decide(_shape: tuple[int, ...]) -> Decision:
        if held.axis is None or held.axis != axis % held.plain.ndim:
            return Decision(held.lines, held.axis)
        n = len(held.lines)
        upto = windowed(held.lines, as_positions(n) * 0, as_positions(n) + 1)
        return Decision(upto, held.axis)

    return results_of(call.cls, call.name, call.operands, result, decide)


def differences(call: Call, result: Any) -> Any:
    """Follow `diff`: each row comes from those up to ``n`` below it."""
    held, given = call.main_held, call.arguments
    has_ends = any(each in call.kwargs for each in ("prepend", "append")) or len(call.args) > _ENDS
    if held is None or len(call.operands) > 1 or has_ends or result is held.plain:
        return moved_or_lost(call, result)
    row = held.axis

    def decide(shape: tuple[int, ...]) -> Decision:
        if row is None or row != given["axis"] % held.plain.ndim:
            return Decision(held.lines, row)
        first = as_positions(shape[row])
        return Decision(windowed(held.lines, first, first + given["n"] + 1), row)

    return results_of(call.cls, call.name, call.operands, result, decide)


def moved_or_lost(call: Call, result: Any) -> Any:
    """Return an argument as it is if that is what a function gave; else a result that is lost."""
    held = call.main_held
    if held is not None and result is held.plain:
        origin = (held, Origin(held.lines, 0))
        return moved_result(call.cls, call.name, result, held.cells(), [origin])
    return lost_result(call, result)


def found(call: Call, result: Any) -> Any:
    """Follow `nonzero` and its like: each place that was found is of the row it was found in."""
    held = call.main_held
    if held is None or held.plain.ndim == 0:
        return lost_result(call, result)
    numbers = held.cells()[np.nonzero(held.plain)]
    origins = [(held, Origin(held.lines, 0))]
    if isinstance(result, tuple):
        return moved_result(call.cls, call.name, result, tuple(numbers for _ in result), origins)
    shaped = numbers.reshape(-1, *[1] * (result.ndim - 1))
    return moved_result(call.cls, call.name, result, np.broadcast_to(shaped, result.shape), origins)


def distinct_values(call: Call, result: Any) -> Any:
    """Follow `unique`: a value comes from all rows that it stands in."""
    held, given = call.main_held, call.arguments
    if held is None or not isinstance(result, np.ndarray) or held.axis is None:
        return lost_result(call, result)
    axis = given["axis"]
    if axis is not None and axis % held.plain.ndim != held.axis:
        return lost_result(call, result)
    options = {"equal_nan": given["equal_nan"], "axis": axis}
    _, codes = np.unique(held.plain, return_inverse=True, **options)
    numbers = held.cells().reshape(-1) if axis is None else np.arange(len(held.lines))
    out_axis = 0 if axis is None else held.axis
    n = result.shape[out_axis]
    lines = lines_of_pairs(codes.reshape(-1), numbers, n, [Origin(held.lines, 0)])
    return fresh(call.cls, result, lines, out_axis, step_of(call.name, [held], result.shape[0]))


def chosen(call: Call, result: Any) -> Any:
    """Follow `where` and `select`: each value comes from where it was picked, and the condition."""
    if call.name == "np.where" and call.arguments.get("x") is None:
        return _found_where(call, result)
    first = call.args[0] if call.args else None
    conditions = list(first) if isinstance(first, (list, tuple)) else [first]
    deciding = [h for each in conditions if (h := held_of(each)) in call.operands and h is not None]
    numbered = call.moved_numbers()
    if not numbered.origins:
        decision = combined(call.name, [_lined_up(h, result) for h in deciding], result.shape)
        return results_of(call.cls, call.name, call.operands, result, lambda _: decision)
    picked = moved_as(call, result, numbered, numbered.result)
    held = held_of(picked)
    if held is not None and any(each.lines is not held.lines for each in deciding):
        mine = Operand(held.lines, held.axis)
        lined_up = [mine, *(_lined_up(each, result) for each in deciding)]
        decision = combined(call.name, lined_up, result.shape)
        steps = step_of(call.name, call.operands, result.shape[0])
        return fresh(call.cls, held.plain.copy(), decision.lines, decision.axis, steps)
    return picked


def _lined_up(held: Held, result: Any) -> Operand:
    axis = held.axis
    return Operand(held.lines, None if axis is None else axis + result.ndim - held.plain.ndim)


def _found_where(call: Call, result: Any) -> Any:
    held = held_of(call.arguments["condition"])
    if held is None or held.plain.ndim == 0:
        return lost_result(call, result)
    numbers = held.cells()[np.nonzero(held.plain)]
    of_each = tuple(numbers for _ in result)
    return moved_result(call.cls, call.name, result, of_each, [(held, Origin(held.lines, 0))])


def picked_among(call: Call, result: Any) -> Any:
    """Follow `choose`: each value comes from where it was picked, and from what picked it."""
    if not call.entry.data or held_of(call.args[0] if call.args else None) is not None:
        return lost_result(call, result)
    return moved(call, result)


def padded(call: Call, result: Any) -> Any:
    """Follow `pad` in the modes that repeat values, or put a constant around them."""
    mode = call.arguments["mode"]
    if mode not in _MOVING_PADS or call.main_held is None or len(call.operands) > 1:
        return lost_result(call, result)
    if mode == "constant":
        more: dict[str, Any] = {}
    else:
        more = call.arguments.get("kwargs", {})
        if more.get("reflect_type", "even") != "even":
            return lost_result(call, result)
    numbered = call.moved_numbers(kwargs=more)
    return moved_as(call, result, numbered, numbered.result)


def dot(call: Call, result: Any) -> Any:
    """Follow products of vectors and matrices."""
    one, other = (call.arguments[name] for name in call.entry.data)
    left, right = np.ndim(plain_values(one)), np.ndim(plain_values(other))
    if not (1 <= left <= _MATRIX and 1 <= right <= _MATRIX):
        return lost_result(call, result)
    short = call.name.rpartition(".")[2]
    terms = _terms(short, left, right)
    if terms is None:
        return lost_result(call, result)
    return product(call, result, [one, other], terms)


def _terms(short: str, left: int, right: int) -> list[str] | None:
    """Return the axes of two operands and of their product as letters."""
    if short == "outer":
        return ["n", "m", "nm"] if left == right == 1 else None
    first = "nk" if left == _MATRIX else "k"
    if short == "vecdot":
        return [first, "nk" if right == _MATRIX else "k", "n" * (max(left, right) - 1)]
    second = "k" if right == 1 else "mk" if short == "inner" else "km"
    return [first, second, (first + second).replace("k", "")]


def einsum(call: Call, result: Any) -> Any:
    """Follow `einsum` where a text without an ellipsis says it, and no operand repeats an axis."""
    subscripts, *operands = call.args
    terms = terms_of_einsum(subscripts, len(operands)) if isinstance(subscripts, str) else None
    if terms is None:
        return lost_result(call, result)
    if sharing(result, call.operands) is not None:
        return _turned(call, result, operands[0], terms)
    return product(call, result, operands, terms)


def _turned(call: Call, result: Any, operand: Any, terms: list[str]) -> Any:
    """Return the view that `einsum` gives of its one operand when it only exchanges axes."""
    held = held_of(operand)
    if held is None:
        return lost_result(call, result)
    numbers = held.cells().transpose([terms[0].index(letter) for letter in terms[1]])
    return moved_result(call.cls, call.name, result, numbers, [(held, Origin(held.lines, 0))])


SPECIAL: dict[str, Callable[[Call, Any], Any]] = {
    "sort": sorted_rows,
    "partition": sorted_rows,
    "flatten": reordered,
    "ravel": reordered,
    "reshape": reordered,
    "cumsum": accumulated,
    "cumprod": accumulated,
    "nancumsum": accumulated,
    "nancumprod": accumulated,
    "cumulative_sum": accumulated,
    "cumulative_prod": accumulated,
    "diff": differences,
    "nonzero": found,
    "flatnonzero": found,
    "argwhere": found,
    "unique": distinct_values,
    "where": chosen,
    "select": chosen,
    "choose": picked_among,
    "pad": padded,
    "dot": dot,
    "inner": dot,
    "outer": dot,
    "matmul": dot,
    "vecdot": dot,
    "einsum": einsum,
}
"""By the name of the function, without its namespace."""
