"""One number of each row's outputs: what a row's loss is a function of, or what a query asks."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import softplus

from traceprop_engine.errors import InfluenceTargetError, QueryShapeError
from traceprop_engine.gradients import Loss, OutputTarget

Scalar = Callable[[Tensor, Tensor], Tensor]
"""From outputs ``[n, n_outputs]`` and labels ``[n]`` to a number for each row, ``[n]``."""


def rows_of_outputs(outputs: object) -> Tensor:
    """Return what a module returned as ``[n, n_outputs]``.

    Args:
        outputs: A tensor ``[n]`` or ``[n, n_outputs]``, or an object that holds it as ``logits``.

    Raises:
        QueryShapeError: It is neither.
    """
    found = outputs if isinstance(outputs, Tensor) else getattr(outputs, "logits", outputs)
    if not isinstance(found, Tensor):
        raise QueryShapeError("The module's output", "one tensor", type(outputs).__name__)
    if found.dim() not in (1, 2):
        raise QueryShapeError(
            "The module's output", "[n] or [n, n_outputs]", str(list(found.shape))
        )
    return found[:, None] if found.dim() == 1 else found


def scalar_of(target: OutputTarget, loss: Loss) -> Scalar:
    """Return the function that a target stands for.

    Raises:
        InfluenceTargetError: The target does not exist, or not for this loss.
    """
    if callable(target):
        return _custom(target)
    if loss == "squared":
        named: dict[str, Scalar] = {"prediction": only_output, "loss": _half_square}
    else:
        named = {
            "margin": margin,
            "loss": _cross_entropy,
            "logit": _logit,
            "prediction": only_output,
        }
    if target not in named:
        known = ", ".join(named)
        raise InfluenceTargetError(
            str(target), f"does not exist for {loss} training", f"use {known} or a function"
        )
    return named[target]


def needs_labels(target: OutputTarget, n_outputs: int) -> bool:
    """Say whether a target reads the labels of the queries."""
    return target in ("margin", "loss") or (target == "logit" and n_outputs > 1)


def trained_scalar(loss: Loss) -> Scalar:
    """Return what each row's loss is a function of: its margin, or its output."""
    return margin if loss == "cross_entropy" else only_output


def margin(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the log-odds of each row's class against all others, ``z_y - logsumexp(others)``."""
    if outputs.shape[1] == 1:
        return torch.where(labels > 0, outputs[:, 0], -outputs[:, 0])
    own = torch.arange(outputs.shape[1], device=outputs.device) == labels[:, None]
    others = outputs.masked_fill(own, -torch.inf)
    largest = others.detach().amax(1, keepdim=True)
    # A logsumexp whose backward pass takes no second exponential.
    return _logit(outputs, labels) - largest[:, 0] - (others - largest).exp().sum(1).log()


def only_output(outputs: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG001 - a Scalar
    """Return the one output of each row.

    Raises:
        QueryShapeError: There are several.
    """
    if outputs.shape[1] != 1:
        wanted = "one number for each row (for one of several ask `logit`, `margin` or a function)"
        raise QueryShapeError("The module's output", wanted, f"{outputs.shape[1]}")
    return outputs[:, 0]


def slopes_and_curvatures(
    values: Tensor, labels: Tensor, loss: Loss
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return the first and second derivative of each row's loss in its scalar, both ``[n]``."""
    if loss == "squared":
        return (values - labels).cpu().numpy(), torch.ones_like(values).cpu().numpy()
    doubt = torch.sigmoid(-values)  # 1 - p, without losing the digits of a p close to 1
    return (-doubt).cpu().numpy(), (doubt * torch.sigmoid(values)).cpu().numpy()


def close(first: Tensor, second: Tensor) -> bool:
    """Say whether outputs are equal up to rounding: half of their digits."""
    tolerance = float(torch.finfo(first.dtype).eps) ** 0.5
    return torch.allclose(first, second, rtol=tolerance, atol=tolerance, equal_nan=True)


def _logit(outputs: Tensor, labels: Tensor) -> Tensor:
    if outputs.shape[1] == 1:
        return outputs[:, 0]
    return outputs.gather(1, labels[:, None])[:, 0]


def _cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    return softplus(-margin(outputs, labels))


def _half_square(outputs: Tensor, labels: Tensor) -> Tensor:
    return (only_output(outputs, labels) - labels) ** 2 / 2


def _custom(target: Callable[[Tensor], Tensor]) -> Scalar:
    def scalar(outputs: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG001 - a Scalar
        values = [_single(target(row)) for row in outputs]
        return torch.stack(values) if values else outputs.new_zeros(0)

    return scalar


def _single(value: object) -> Tensor:
    if not isinstance(value, Tensor) or value.numel() != 1:
        got = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise QueryShapeError("What the target returns", "a tensor of one number", str(got))
    return value.reshape(())
