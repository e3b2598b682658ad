"""Universal functions of tracked arrays: element by element, along an axis, in place."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from traceprop_engine.arrays.combining import (
    Decision,
    Operand,
    combined,
    keeps_nothing,
    keeps_rows,
    lost,
    statistic,
    step_of,
    tracked_among,
)
from traceprop_engine.arrays.lines import as_positions, windowed
from traceprop_engine.arrays.memory import (
    WRITING,
    Array,
    Held,
    RowArray,
    fresh,
    held_of,
    plain_array,
    plain_value,
)
from traceprop_engine.arrays.writing import overwritten

_PRODUCTS = (np.matmul, np.vecdot, getattr(np, "matvec", None), getattr(np, "vecmat", None))

Decide = Callable[[tuple[int, ...]], Decision]
"""From the shape of a result to what is known of it."""


def call_ufunc(
    cls: type[Array],
    ufunc: np.ufunc,
    method: str,
    inputs: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Return what a method of a ufunc gives for inputs of which some may be tracked.

    It is what NumPy gives for the plain arrays, as tracked arrays.
    """
    if any(_belongs_to_others(each) for each in inputs):
        return NotImplemented
    outs = kwargs.get("out", ())
    plain = tuple(plain_value(each) for each in inputs)
    options = {key: plain_value(value) for key, value in kwargs.items() if key != "out"}
    operands = tracked_among([*inputs, kwargs.get("where")])
    name = _name(ufunc, method)
    if method == "at":
        with WRITING:
            return _at(name, ufunc, inputs, plain, operands)
    decide = _decider(name, ufunc, method, inputs, kwargs)
    if outs:
        with WRITING:
            options["out"] = tuple(_writable(each) for each in outs)
            result = getattr(ufunc, method)(*plain, **options)
            return _into(name, operands, result, outs, decide, is_whole="where" not in kwargs)
    result = getattr(ufunc, method)(*plain, **options)
    return results_of(cls, name, operands, result, decide)


def results_of(
    cls: type[Array], name: str, operands: Sequence[Held], result: Any, decide: Decide
) -> Any:
    """Return new arrays, one or several, as tracked ones."""
    if isinstance(result, tuple):
        # Named tuples, as of `np.linalg.svd`, stay what they are.
        items = [results_of(cls, name, operands, each, decide) for each in result]
        return result._make(items) if hasattr(result, "_make") else tuple(items)
    if not operands or keeps_nothing():
        return result
    if type(result) is not np.ndarray or result.ndim == 0:
        note_all(operands, name)
        return result
    decision = decide(result.shape)
    steps = step_of(name, operands, result.shape[0])
    return fresh(cls, result, decision.lines, decision.axis, steps)


def note_all(operands: Sequence[Held], name: str) -> None:
    """Write down that all rows took part in a value that carries no mark."""
    if not keeps_nothing():
        for each in operands:
            each.lines.note(name)


def aligned(held: Held, n_more: int) -> Operand:
    """Return an operand whose result has this many more axes, in front."""
    axis = held.axis
    return Operand(held.lines, None if axis is None else axis + n_more)


def unknown_shapes(values: Sequence[Any], operands: Sequence[Held]) -> list[tuple[int, ...]]:
    """Return the shapes of the arrays among the values that are not followed with the operands."""
    mine = {id(each.plain) for each in operands}
    return [
        each.shape
        for each in values
        if isinstance(each, np.ndarray)
        and each.ndim
        and not (isinstance(each, RowArray) and id(plain_array(each)) in mine)
    ]


def _name(ufunc: np.ufunc, method: str) -> str:
    return f"np.{ufunc.__name__}" if method == "__call__" else f"np.{ufunc.__name__}.{method}"


def _belongs_to_others(value: Any) -> bool:
    """Say whether a class of another library decides what a ufunc gives for its values."""
    theirs = getattr(type(value), "__array_ufunc__", None)
    return not (
        theirs is None or theirs is np.ndarray.__array_ufunc__ or isinstance(value, RowArray)
    )


def _writable(out: Any) -> Any:
    held = held_of(out)
    if held is not None:
        return held.writable()
    return plain_value(out)


def _decider(
    name: str,
    ufunc: np.ufunc,
    method: str,
    inputs: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> Decide:
    values = [*inputs, kwargs["where"]] if "where" in kwargs else list(inputs)
    operands = tracked_among(values)

    def decide(shape: tuple[int, ...]) -> Decision:
        if method in ("reduce", "accumulate", "reduceat"):
            if held_of(inputs[0]) is not operands[0]:
                return lost(name, [each.lines for each in operands], shape)
            return along_axis(name, operands, shape, method, kwargs)
        if method == "outer":
            return _outer(name, inputs, operands, shape)
        if ufunc.signature is None:
            lined_up = [aligned(each, len(shape) - each.plain.ndim) for each in operands]
            return combined(name, lined_up, shape, unknown_shapes(values, operands))
        if ufunc in _PRODUCTS and not kwargs.keys() & {"axes", "axis", "keepdims"}:
            return _product(name, ufunc, inputs, operands, shape)
        return lost(name, [each.lines for each in operands], shape)

    return decide


def along_axis(
    name: str,
    operands: Sequence[Held],
    shape: tuple[int, ...],
    method: str,
    kwargs: Mapping[str, Any],
) -> Decision:
    """Return what is known of a result that was computed along axes of the first operand."""
    first, *others = operands
    lines = [each.lines for each in operands]
    row = first.axis
    axis = kwargs.get("axis", 0)
    if not keeps_rows():
        return lost(name, lines, shape)
    if others:
        return statistic(name, lines) if method == "reduce" else lost(name, lines, shape)
    if row is None:
        return Decision(first.lines, None)
    spent = _axes(axis, first.plain.ndim)
    if row not in spent:
        kept = kwargs.get("keepdims", False) or method != "reduce"
        return Decision(first.lines, row if kept else row - sum(each < row for each in spent))
    if method == "accumulate":
        n = len(first.lines)
        upto = windowed(first.lines, as_positions(n) * 0, as_positions(n) + 1)
        return Decision(upto, row)
    return statistic(name, lines) if method == "reduce" else lost(name, lines, shape)


def _axes(axis: Any, ndim: int) -> list[int]:
    if axis is None:
        return list(range(ndim))
    several = axis if isinstance(axis, tuple) else (axis,)
    return [each.__index__() % ndim for each in several]


def _outer(
    name: str, inputs: Sequence[Any], operands: Sequence[Held], shape: tuple[int, ...]
) -> Decision:
    behind = np.ndim(inputs[1])
    mine = {id(held) for held in operands}
    lined_up = [
        aligned(held, 0) if at == 0 else aligned(held, len(shape) - behind)
        for at, value in enumerate(inputs)
        if (held := held_of(value)) is not None and id(held) in mine
    ]
    first = () if isinstance(inputs[0], RowArray) else np.shape(inputs[0])
    plain = [(*first, *[1] * behind)] if first else []
    return combined(name, lined_up, shape, plain)


def _product(
    name: str,
    ufunc: np.ufunc,
    inputs: Sequence[Any],
    operands: Sequence[Held],
    shape: tuple[int, ...],
) -> Decision:
    """Return what is known of a product of matrices or vectors.

    An axis that is summed over is spent. The others come to lie where the signature says; an axis
    in front of all of them is broadcast.
    """
    terms = _terms(ufunc, inputs)
    result = terms.pop()
    lined_up = []
    mine = {id(held) for held in operands}
    for value, term in zip(inputs, terms, strict=True):
        held = held_of(value)
        if held is not None and id(held) in mine:
            lined_up.append(_core_operand(held, term, result, len(shape)))
    plain = [
        each.shape
        for each, term in zip(inputs, terms, strict=True)
        if isinstance(each, np.ndarray)
        and held_of(each) is None
        and term[:1] == result[:1]
        and term
    ]
    return combined(name, lined_up, shape, plain)


def _core_operand(held: Held, term: str, result: str, ndim: int) -> Operand:
    axis = held.axis
    if axis is None:
        return Operand(held.lines, None)
    from_behind = held.plain.ndim - axis
    if from_behind > len(term):
        return Operand(held.lines, ndim - len(result) - (from_behind - len(term)))
    letter = term[-from_behind]
    if letter not in result:
        return Operand(held.lines, None, is_spent=True)
    return Operand(held.lines, ndim - len(result) + result.index(letter))


def _terms(ufunc: np.ufunc, inputs: Sequence[Any]) -> list[str]:
    """Return the axes of the operands and of the result that are not broadcast, as letters."""
    if ufunc is np.matmul:
        left = "nk" if np.ndim(inputs[0]) > 1 else "k"
        right = "km" if np.ndim(inputs[1]) > 1 else "k"
        return [left, right, (left + right).replace("k", "")]
    return {"vecdot": ["k", "k", ""], "matvec": ["nk", "k", "n"], "vecmat": ["k", "km", "m"]}[
        ufunc.__name__
    ]


def _into(
    name: str,
    operands: Sequence[Held],
    result: Any,
    outs: Sequence[Any],
    decide: Decide,
    *,
    is_whole: bool,
) -> Any:
    """Write down what the arrays hold that a result was written into, and return them."""
    results = result if isinstance(result, tuple) else (result,)
    given = [new if out is None else out for out, new in zip(outs, results, strict=True)]
    for out in given:
        held = held_of(out)
        if held is None:
            note_all(operands, name)
            continue
        decision = decide(held.plain.shape) if operands else None
        overwritten(name, held, operands, decision, is_whole=is_whole)
    return tuple(given) if isinstance(result, tuple) else given[0]


def _at(
    name: str,
    ufunc: np.ufunc,
    inputs: Sequence[Any],
    plain: Sequence[Any],
    operands: Sequence[Held],
) -> None:
    """Run ``ufunc.at``: what it writes to may come from all that it reads."""
    held = held_of(inputs[0])
    if held is None:
        ufunc.at(*plain)
        note_all(operands, name)
        return
    ufunc.at(held.writable(), *plain[1:])
    decision = Decision(held.lines, held.axis)
    if len(operands) > 1:  # the array itself, too, may be what is written to other rows of it
        decision = lost(name, [each.lines for each in operands], held.plain.shape)
    overwritten(name, held, operands, decision, is_whole=False)
