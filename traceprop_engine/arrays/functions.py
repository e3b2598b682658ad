"""Functions of NumPy on tracked arrays, each by what the table says of it."""

from collections.abc import Callable
from typing import Any

import numpy as np

from traceprop_engine.arrays.calls import (
    Call,
    has_signature,
    leaves,
    plain_values,
    signature_of,
)
from traceprop_engine.arrays.cells import Origin
from traceprop_engine.arrays.classification import Entry, Kind, entries
from traceprop_engine.arrays.combining import (
    Decision,
    Operand,
    combined,
    keeps_rows,
    lost,
    statistic,
)
from traceprop_engine.arrays.lines import blank_lines
from traceprop_engine.arrays.memory import WRITING, Array, Held, fresh, held_of
from traceprop_engine.arrays.moving import moved, quickly_moved
from traceprop_engine.arrays.special import SPECIAL
from traceprop_engine.arrays.ufuncs import aligned, note_all, results_of, unknown_shapes
from traceprop_engine.arrays.views import moved_result, sharing, unfollowed_result
from traceprop_engine.arrays.writing import overwritten, written

_TARGETS = {
    "copyto": ("dst", "src"),
    "place": ("arr", "vals"),
    "put": ("a", "v"),
    "put_along_axis": ("arr", "values"),
    "putmask": ("a", "values"),
    "fill_diagonal": ("a", "val"),
}
"""What is written to, and what is written."""

_NAMESPACES = {
    "np": np,
    "np.linalg": np.linalg,
    "np.fft": np.fft,
    "np.strings": np.strings,
    "np.char": np.char,
}


def _by_function() -> dict[Any, Entry]:
    found: dict[Any, Entry] = {}
    for entry in entries():
        namespace, _, name = entry.name.rpartition(".")
        function = getattr(_NAMESPACES.get(namespace), name, None)
        if function is not None:
            found.setdefault(function, entry)
    return found


_ENTRIES = _by_function()
_METHODS = {entry.name: entry for entry in entries() if entry.name.startswith("ndarray.")}


def call_function(
    cls: type[Array], function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Return what a function of NumPy gives for arguments of which some are tracked arrays."""
    entry = _ENTRIES.get(function)
    if entry is None:
        module = getattr(function, "__module__", None) or "numpy"
        name = getattr(function, "__name__", repr(function))
        entry = Entry(f"{module.replace('numpy', 'np', 1)}.{name}", Kind.UNKNOWN)
    return run_call(Call(entry, function, args, dict(kwargs), cls))


def call_method(cls: type[Array], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return what a method of NumPy's arrays gives for a tracked one."""
    entry = _METHODS[f"ndarray.{name}"]
    return run_call(Call(entry, getattr(np.ndarray, name), args, dict(kwargs), cls))


def run_call(call: Call) -> Any:
    """Run a function, and say of its result which rows it holds."""
    kind = call.entry.kind
    if kind is Kind.REDUCING and call.name.rpartition(".")[2] in _PLAINLY_REDUCED:
        result = _reduced_simply(call)
        if result is not NotImplemented:
            return result
    if kind is Kind.FACT or not call.operands:
        return call.run()
    if kind is Kind.WRITING:
        return _write(call)
    if call.name == "np.nan_to_num" and not call.arguments["copy"]:
        return _filled(call)
    if call.kwargs.get("out") is not None:
        return _into(call)
    return _followed(call, call.run())


def _reduced_simply(call: Call) -> Any:
    """Return a statistic of one array along one axis or all; ``NotImplemented`` for other calls."""
    args, kwargs = call.args, call.kwargs
    held = held_of(args[0]) if args else None
    if held is None or len(args) > 2 or kwargs.keys() - {"axis"} or not keeps_rows():  # noqa: PLR2004  (array and axis)
        return NotImplemented
    axis = args[1] if len(args) > 1 else kwargs.get("axis")
    if not (axis is None or type(axis) is int) or held.mixed is not None:
        return NotImplemented
    result = call.function(held.plain, *args[1:], **kwargs)
    lines = held.lines
    if type(result) is not np.ndarray:
        lines.note(call.name)
        return result
    row, at = held.axis, (axis or 0) % held.plain.ndim
    steps = lines.step(call.name, result.shape[0] if result.ndim else 1, held.steps)
    if row == at:
        lines.note(call.name)
        return fresh(call.cls, result, lines.statistic(), None, steps)
    return fresh(call.cls, result, lines, row if row is None or row < at else row - 1, steps)


def _followed(call: Call, result: Any) -> Any:
    """Return the result of a call as tracked arrays."""
    short = call.name.rpartition(".")[2]
    if not keeps_rows():
        return unfollowed_result(call.cls, call.name, result, call.operands)
    if call.entry.kind in _OF_UNKNOWN_ROWS or not has_signature(call.function):
        return _lost(call, result)
    if short in SPECIAL and call.entry.kind in _MOVING:
        return SPECIAL[short](call, result)
    return _BY_KIND[call.entry.kind](call, result)


def _lost(call: Call, result: Any) -> Any:
    if call.entry.kind is Kind.LEAVING:
        note_all(call.operands, call.name)
        return result
    lines = [held.lines for held in call.operands]

    def decide(shape: tuple[int, ...]) -> Decision:
        return lost(call.name, lines, shape)

    return _decided(call, result, decide)


def _decided(call: Call, result: Any, decide: Callable[[tuple[int, ...]], Decision]) -> Any:
    """Return new arrays of which is known what ``decide`` says; views of old ones are lost."""
    if isinstance(result, list):
        return [_decided(call, each, decide) for each in result]
    if isinstance(result, tuple):
        items = [_decided(call, each, decide) for each in result]
        return result._make(items) if hasattr(result, "_make") else tuple(items)
    shared = sharing(result, call.operands)
    if shared is not None:
        return _shared(call, result, shared)
    if isinstance(result, np.ndarray) and any(
        result is each or np.may_share_memory(result, each)
        for each in leaves([*call.args, *call.kwargs.values()])
        if type(each) is np.ndarray
    ):
        return result
    return results_of(call.cls, call.name, call.operands, result, decide)


def _shared(call: Call, result: Any, shared: Held) -> Any:
    if result.shape == shared.plain.shape and call.entry.kind is Kind.ROW_WISE:
        origin = (shared, Origin(shared.lines, 0))
        return moved_result(call.cls, call.name, result, shared.cells(), [origin])
    lines = lost(call.name, [shared.lines], result.shape).lines
    return unfollowed_result(call.cls, call.name, result, call.operands, lines)


def _row_wise(call: Call, result: Any) -> Any:
    values = leaves([*call.args, *call.kwargs.values()])

    def decide(shape: tuple[int, ...]) -> Decision:
        lined_up = [aligned(each, len(shape) - each.plain.ndim) for each in call.operands]
        return combined(call.name, lined_up, shape, unknown_shapes(values, call.operands))

    return _decided(call, result, decide)


def _of_first(call: Call, result: Any) -> Any:
    held = call.main_held

    def decide(shape: tuple[int, ...]) -> Decision:
        lines = [each.lines for each in call.operands]
        if held is None:
            return statistic(call.name, lines)
        axis = held.axis
        if axis is not None and (len(shape) <= axis or shape[axis] != len(held.lines)):
            return lost(call.name, lines, shape)
        others = [Operand(each.lines, None, is_spent=True) for each in call.beside(held)]
        return combined(call.name, [Operand(held.lines, axis), *others], shape)

    return _decided(call, result, decide)


def _reducing(call: Call, result: Any) -> Any:
    held = call.main_held

    def decide(shape: tuple[int, ...]) -> Decision:
        lines = [each.lines for each in call.operands]
        if held is None:
            return statistic(call.name, lines)
        if held.axis is None and len(call.operands) == 1:
            return Decision(held.lines, None)
        axis = kept_axis(held, call.arguments, shape)
        if axis is None:
            return statistic(call.name, lines)
        others = [Operand(each.lines, None, is_spent=True) for each in call.beside(held)]
        return combined(call.name, [Operand(held.lines, axis), *others], shape)

    return _decided(call, result, decide)


def kept_axis(held: Held, arguments: dict[str, Any], shape: tuple[int, ...]) -> int | None:
    """Return where the rows of an argument lie in what was computed along its axes.

    ``None`` when they are on one of those axes.
    """
    row, ndim = held.axis, held.plain.ndim
    given = arguments.get("axes", arguments.get("axis"))
    if given is None:
        spent = _trailing(arguments, ndim) if "axes" in arguments else list(range(ndim))
    else:
        several = given if isinstance(given, (tuple, list)) else (given,)
        spent = [int(each) % ndim for each in several]
    if row is None or row in spent:
        return None
    before = sum(each < row for each in spent)
    in_front = np.ndim(arguments.get("q", 0))  # of a quantile
    if len(shape) == ndim + in_front:
        axis = row + in_front
    elif "func1d" in arguments:
        axis = row + before * (len(shape) - ndim)
    else:
        axis = row - before + in_front
    return axis if 0 <= axis < len(shape) and shape[axis] == len(held.lines) else None


def _trailing(arguments: dict[str, Any], ndim: int) -> list[int]:
    """Return the axes of a transform that names none: as many as its shape has, the last ones."""
    shape = arguments.get("s")
    return list(range(ndim))[-len(shape) :] if shape is not None else list(range(ndim))


def _of_all(call: Call, result: Any) -> Any:
    lines = [each.lines for each in call.operands]
    return _decided(call, result, lambda _shape: statistic(call.name, lines))


def _matrices(call: Call, result: Any) -> Any:
    held = call.main_held
    lines = [each.lines for each in call.operands]

    def decide(shape: tuple[int, ...]) -> Decision:
        axis = None if held is None else held.axis
        if held is None or len(call.operands) > 1:
            return lost(call.name, lines, shape)
        if axis is None:
            return Decision(held.lines, None)
        is_stack = axis < held.plain.ndim - 2 and len(shape) > axis
        return Decision(held.lines, axis) if is_stack else statistic(call.name, lines)

    return _decided(call, result, decide)


def _moved(call: Call, result: Any) -> Any:
    quick = quickly_moved(call, result)
    return moved(call, result) if quick is None else quick


def _blank(call: Call, result: Any) -> Any:
    held = call.operands[0]
    if held_of(call.arguments.get("fill_value")) is not None:
        return _lost(call, result)
    row = held.axis
    axis = row if row is None or result.shape[row : row + 1] == (len(held.lines),) else 0

    def decide(shape: tuple[int, ...]) -> Decision:
        n = 1 if axis is None or not shape else shape[axis]
        return Decision(blank_lines(held.lines, n), axis if shape else None)

    return (
        results_of(call.cls, call.name, [held], result, decide)
        if result.ndim
        else _blank_scalar(call, result, held)
    )


def _blank_scalar(call: Call, result: Any, held: Held) -> Any:
    return fresh(call.cls, result, blank_lines(held.lines, 1), None, held.steps)


def _write(call: Call) -> Any:
    names = _TARGETS[call.name.rpartition(".")[2]]
    target, value = (call.arguments[name] for name in names)
    held = held_of(target)
    if held is None:
        note_all(call.operands, call.name)
        return call.run()
    controls = {key: each for key, each in call.arguments.items() if key not in (*names, "casting")}
    call.note_others(names)
    casting = {"casting": call.arguments["casting"]} if "casting" in call.arguments else {}

    def write(into: Any, new: Any) -> Any:
        options = casting if into.dtype == held.plain.dtype else {}
        given = {names[0]: into, names[1]: new} | plain_values(controls) | options
        return _positional(call, given)

    return written(call.name, held, write, [value])


def _filled(call: Call) -> Any:
    """Run `nan_to_num` in place."""
    target = call.arguments["x"]
    new = call.function(**(call.arguments | {"copy": True}))
    if not isinstance(target, np.ndarray):
        return new
    target[...] = new
    return target


def _positional(call: Call, given: dict[str, Any]) -> Any:
    bound = signature_of(call.function).bind_partial()
    bound.arguments |= {
        name: given[name] for name in signature_of(call.function).parameters if name in given
    }
    return call.function(*bound.args, **bound.kwargs)


def _into(call: Call) -> Any:
    """Run a function that writes its result into an array that it was given."""
    out = call.kwargs["out"]
    held = held_of(out)
    rest = {key: value for key, value in call.kwargs.items() if key != "out"}
    inner = Call(call.entry, call.function, call.args, rest, call.cls)
    if held is None:
        note_all(inner.operands, call.name)
        return call.run()
    with WRITING:
        inner.run(out=held.writable())
        if not inner.operands:
            overwritten(call.name, held, [held], None, is_whole=True)
            return out
        copy = held.plain.copy()
        result = held_of(_followed(inner, copy)) if copy.ndim else None
        decision = None if result is None else Decision(result.lines, result.axis)
        overwritten(call.name, held, inner.operands, decision, is_whole=True)
    return out


_PLAINLY_REDUCED = frozenset(
    [
        "all",
        "amax",
        "amin",
        "any",
        "argmax",
        "argmin",
        "max",
        "mean",
        "min",
        "nanmax",
        "nanmean",
        "nanmin",
        "nanstd",
        "nansum",
        "nanvar",
        "prod",
        "ptp",
        "std",
        "sum",
        "var",
    ]
)
"""Functions whose second parameter is the axis."""

_OF_UNKNOWN_ROWS = (Kind.UNKNOWN, Kind.LEAVING, Kind.UNSEEN)

_MOVING = (Kind.SELECTING, Kind.PERMUTING, Kind.COMBINING)

_BY_KIND: dict[Kind, Callable[[Call, Any], Any]] = {
    Kind.ROW_WISE: _row_wise,
    Kind.OF_FIRST: _of_first,
    Kind.SELECTING: _moved,
    Kind.PERMUTING: _moved,
    Kind.COMBINING: _moved,
    Kind.REDUCING: _reducing,
    Kind.OF_ALL: _of_all,
    Kind.MATRICES: _matrices,
    Kind.BLANK: _blank,
}
