"""Gradients of rows one at a time: by definition, and vectorised over rows by `torch.func`."""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from traceprop_engine.errors import UndefinedRowGradientError
from traceprop_engine.torch_gradients.scalars import Scalar, rows_of_outputs

Gradients = dict[str, Tensor]
"""From the name of a parameter to its gradient in each row, ``[n, *shape]``."""


def row_by_row(
    module: nn.Module, names: Sequence[str], features: Tensor, labels: Tensor, scalar: Scalar
) -> Gradients:
    """Return the gradients by one backward pass for each row, alone in its batch.

    This is what a per-sample gradient means; everything else is compared with it.

    Args:
        module: In evaluation mode.
        names: The parameters.
        features: ``[n, ...]``.
        labels: As the scalar reads them, ``[n]``.
        scalar: Of which scalar.

    Raises:
        UndefinedRowGradientError: PyTorch cannot differentiate the module.
    """
    parameters = [module.get_parameter(name) for name in names]
    found: list[list[Tensor]] = []
    for row in range(len(features)):
        outputs = rows_of_outputs(module(features[row : row + 1]))
        value = scalar(outputs, labels[row : row + 1]).sum()
        found.append(_gradient(type(module).__name__, value, parameters))
    return {
        name: torch.stack([gradients[at] for gradients in found]) for at, name in enumerate(names)
    }


def vectorised(
    module: nn.Module, names: Sequence[str], features: Tensor, labels: Tensor, scalar: Scalar
) -> Gradients:
    """Return the same as `row_by_row`, all rows at once.

    Raises:
        RuntimeError: `torch.func` cannot vectorise the module, for example because the values of a
            row decide which operations it takes.
    """
    chosen = {name: module.get_parameter(name).detach() for name in names}

    def value(parameters: dict[str, Tensor], row: Tensor, label: Tensor) -> Tensor:
        outputs = rows_of_outputs(functional_call(module, parameters, (row[None],)))
        return scalar(outputs, label[None]).sum()

    with warnings.catch_warnings(), torch.no_grad():  # of the rest; `grad` sees its own
        # An operation without a rule of its own is taken row by row: slower, and no less right.
        warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
        return vmap(grad(value), in_dims=(None, 0, 0))(chosen, features, labels)


def _gradient(kind: str, value: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    if not value.requires_grad:
        return [torch.zeros_like(parameter) for parameter in parameters]
    try:
        found = torch.autograd.grad(value, parameters, allow_unused=True)
    except RuntimeError as problem:
        reason = f"PyTorch cannot differentiate it ({str(problem).partition('. ')[0]})"
        way_out = "make the operation that is named there differentiable"
        raise UndefinedRowGradientError(kind, reason, way_out) from problem
    return [
        torch.zeros_like(parameter) if one is None else one.to_dense()
        for parameter, one in zip(parameters, found, strict=True)
    ]
