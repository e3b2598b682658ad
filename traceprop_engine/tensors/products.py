"""Rules for products: the rows of the left factor stay, those of others are summed over."""

from collections.abc import Sequence
from typing import Any

import torch

from traceprop_engine.tensors.calls import Call, Outcome, Rule, aligned, to_all
from traceprop_engine.tensors.contributions import Contribution

_MATRIX = 2


def product(left_at: int, *, reflected: bool = False) -> Rule:
    """Return the rule of a matrix product whose left factor stands at a position.

    Args:
        left_at: The position; the right factor is the next argument.
        reflected: The two stand the other way round, as in ``__rmatmul__``.
    """

    def rule(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
        if len(call.args) < left_at + 2:
            return call.all_lost(results, f"torch.{call.name} with factors given by name")
        left, right = call.args[left_at : left_at + 2]
        if reflected:
            left, right = right, left
        factors = [(left, _keeps_left(left, right)), (right, _keeps_right(left, right))]
        added = [each for each, _ in call.tracked() if each is not left and each is not right]
        return [
            call.made(_kept_or_summed(call, factors, result) + _added(call, added, result), result)
            for result in results
        ]

    return rule


def linear(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
    """Rows of a linear layer: those of its input; weights are context."""
    return _first_keeps(call, results, min_axes=_MATRIX)


def outer(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
    """Rows of an outer product: those of the first vector."""
    return _first_keeps(call, results, min_axes=1)


def inner(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
    """Rows of an inner product over the last axes: those of the first factor."""
    return _first_keeps(call, results, min_axes=_MATRIX)


def einsum(call: Call, results: Sequence[torch.Tensor]) -> list[Outcome]:
    """Rows of a sum over named axes: of each operand that begins with the first axis kept."""
    equation, *operands = call.args
    if len(operands) == 1 and not isinstance(operands[0], torch.Tensor):
        operands = list(operands[0])
    if not isinstance(equation, str) or "." in equation or "->" not in equation:
        return call.all_lost(results, "torch.einsum without a full equation")
    left, kept = equation.replace(" ", "").split("->")
    (result,) = results
    factors = [
        # An axis of length one is broadcast.
        (operand, bool(kept) and axes[:1] == kept[0] and len(operand) == len(result))
        for operand, axes in zip(operands, left.split(","), strict=True)
    ]
    return [call.made(_kept_or_summed(call, factors, result), result)]


def _first_keeps(call: Call, results: Sequence[torch.Tensor], min_axes: int) -> list[Outcome]:
    factors = [
        (each, at == 0 and each.ndim >= min_axes)
        for at, each in enumerate([*call.args, *call.kwargs.values()])
        if isinstance(each, torch.Tensor)
    ]
    return [call.made(_kept_or_summed(call, factors, result), result) for result in results]


def _kept_or_summed(
    call: Call, factors: Sequence[tuple[Any, bool]], result: torch.Tensor
) -> list[Contribution]:
    """Return what factors give that either keep their rows or are summed over them."""
    found = [(call.placed(each), keeps) for each, keeps in factors]
    return [
        Contribution(placed) if keeps else to_all(placed, result)
        for placed, keeps in found
        if placed is not None
    ]


def _added(call: Call, added: Sequence[torch.Tensor], result: torch.Tensor) -> list[Contribution]:
    found = [(each, call.placed(each)) for each in added]
    return [aligned(each, placed, result) for each, placed in found if placed is not None]


def _keeps_left(left: torch.Tensor, right: torch.Tensor) -> bool:
    if left.ndim == 1 or right.ndim > left.ndim:
        return False
    return left.ndim == _MATRIX or right.ndim < left.ndim or right.shape[0] in (1, left.shape[0])


def _keeps_right(left: torch.Tensor, right: torch.Tensor) -> bool:
    if right.ndim <= _MATRIX or left.ndim > right.ndim:
        return False
    return left.ndim < right.ndim or left.shape[0] in (1, right.shape[0])
