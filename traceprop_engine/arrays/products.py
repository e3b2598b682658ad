"""Products: which axes stay, and which are summed over, said in letters."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from traceprop_engine.arrays.calls import Call
from traceprop_engine.arrays.combining import Decision, Operand, combined
from traceprop_engine.arrays.memory import Held, held_of
from traceprop_engine.arrays.ufuncs import results_of


def product(call: Call, result: Any, operands: Sequence[Any], terms: Sequence[str]) -> Any:
    """Return a product as a tracked array.

    Args:
        call: What computed it.
        result: The product.
        operands: Its factors.
        terms: The axes of each factor, then those of the result, a letter for each.
    """
    *of_operands, of_result = terms

    def decide(shape: tuple[int, ...]) -> Decision:
        lined_up = [
            _operand(held, term, of_result)
            for value, term in zip(operands, of_operands, strict=True)
            if (held := held_of(value)) is not None and held in call.operands
        ]
        plain = [
            _shape_in(value, term, of_result, len(shape))
            for value, term in zip(operands, of_operands, strict=True)
            if held_of(value) not in call.operands
        ]
        return combined(call.name, lined_up, shape, plain)

    return results_of(call.cls, call.name, call.operands, result, decide)


def terms_of_einsum(subscripts: str, n_operands: int) -> list[str] | None:
    """Return the letters of ``subscripts``, the result's last; ``None`` for what has no meaning."""
    text = subscripts.replace(" ", "")
    if "..." in text:
        return None
    inputs, arrow, output = text.partition("->")
    terms = inputs.split(",")
    if any(len(set(term)) < len(term) for term in terms) or len(terms) != n_operands:
        return None
    if not arrow:
        every = "".join(terms)
        output = "".join(sorted(letter for letter in set(every) if every.count(letter) == 1))
    return [*terms, output]


def _operand(held: Held, term: str, result: str) -> Operand:
    axis = held.axis
    if axis is None:
        return Operand(held.lines, None)
    letter = term[axis]
    if letter not in result:
        return Operand(held.lines, None, is_spent=True)
    return Operand(held.lines, result.index(letter))


def _shape_in(value: Any, term: str, result: str, ndim: int) -> tuple[int, ...]:
    """Return the shape of a factor by the axes of the result, one where it has none."""
    shape = np.shape(value)
    return tuple(shape[term.index(letter)] if letter in term else 1 for letter in result[:ndim])
