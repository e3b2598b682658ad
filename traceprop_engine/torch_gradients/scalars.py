"""One number of each row's outputs: what a row's loss is a function of, or what a query asks."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
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


def encode_labels(labels: ArrayLike | None, n: int, loss: Loss, outputs: Tensor) -> Tensor:
    """Return labels as the scalars read them, ``[n]``; zeros where there are none.

    Args:
        labels: Positions of the classes, or values.
        n: Rows.
        loss: Which of the two.
        outputs: Any outputs of the module, for their number, device and type.

    Raises:
        QueryShapeError: There is not one finite label for each row, or it is no class.
    """
    if labels is None:
        return torch.zeros(n, dtype=torch.int64, device=outputs.device)
    given = np.asarray(labels)
    if given.shape != (n,):
        raise QueryShapeError("labels", f"one for each of {n} rows", str(list(given.shape)))
    if given.dtype.kind not in "biuf":
        raise QueryShapeError("labels", "numbers (encode classes as 0, 1, ...)", str(given.dtype))
    if loss == "squared":
        _require(np.isfinite(given), "finite", given)
        return torch.as_tensor(np.array(given), dtype=outputs.dtype, device=outputs.device)
    classes = max(outputs.shape[1], 2)
    _require(np.isin(given, range(classes)), f"classes 0 to {classes - 1}", given)
    return torch.as_tensor(given.astype(np.int64), device=outputs.device)


def close(first: Tensor, second: Tensor) -> bool:
    """Say whether outputs are equal up to rounding: half of their digits."""
    tolerance = float(torch.finfo(first.dtype).eps) ** 0.5
    return torch.allclose(first, second, rtol=tolerance, atol=tolerance, equal_nan=True)


def _require(right: NDArray[np.bool_], wanted: str, labels: NDArray[np.generic]) -> None:
    if not right.all():
        row = int(np.flatnonzero(~right)[0])
        raise QueryShapeError("labels", wanted, f"{labels[row]!s} at row {row}")


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
