"""One pass over a block of rows that leaves the factors of every layer's gradient.

The rows of a block do not depend on each other, so one backward pass from the sum of their scalars
gives the derivative of each row's own scalar in the outputs of each layer. The gradients of the
weights themselves, the larger part of a backward pass, are not computed.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from traceprop_engine.torch_gradients.layers import Factors, joined, rule_of
from traceprop_engine.torch_gradients.scalars import Scalar, rows_of_outputs


@dataclass(frozen=True, eq=False)
class LayerUse:
    """One call of a layer.

    Attributes:
        value: The layer's input.
        version: How often the input had been changed in place by then.
        edge: Where the derivative in the layer's output arrives.
        shape: The shape of the output.
        like: An empty tensor of the type and at the place of the output.
    """

    value: Tensor
    version: int
    edge: GradientEdge
    shape: torch.Size
    like: Tensor

    @property
    def changed(self) -> bool:
        """Whether the input has been changed in place since."""
        return self.value._version != self.version  # noqa: SLF001 - as PyTorch documents it


@dataclass(frozen=True, eq=False)
class Pass:
    """What one pass over a block found.

    Attributes:
        outputs: ``[n, n_outputs]``, detached.
        values: Each row's scalar, ``[n]``, detached.
        factors: Of each layer, by its name; layers that could not be factored are left out.
    """

    outputs: Tensor
    values: Tensor
    factors: dict[str, Factors]


def factor_pass(
    module: nn.Module,
    layers: Mapping[str, frozenset[str]],
    features: Tensor,
    labels: Tensor,
    scalar: Scalar,
    multiplied: Collection[str] = (),
) -> Pass:
    """Return the scalars of a block of rows and the factors of their gradients.

    Args:
        module: In evaluation mode.
        layers: Names of the layers to capture and, for each, its own trained parameters.
        features: ``[n, ...]``.
        labels: As the scalar reads them, ``[n]``.
        scalar: Which scalar.
        multiplied: Names of the layers whose factors to multiply at once.
    """
    raw, uses = watched_forward(module, tuple(layers), features)
    outputs = rows_of_outputs(raw)
    values = scalar(outputs, labels)
    calls = [use for name in uses for use in uses[name]]
    deltas = iter(_deltas(values, calls))
    factors: dict[str, Factors] = {}
    with torch.no_grad():
        for name, mine in uses.items():
            layer, own = module.get_submodule(name), layers[name]
            found = [_factors(layer, use, next(deltas), own, len(features)) for use in mine]
            whole = [one for one in found if one is not None]
            if whole and len(whole) == len(found):
                both = joined(whole)
                factors[name] = both.flat() if name in multiplied else both
    return Pass(outputs.detach(), values.detach(), factors)


def watched_forward(
    module: nn.Module, names: Sequence[str], features: Tensor
) -> tuple[object, dict[str, list[LayerUse]]]:
    """Return the module's output and each call of the named layers, in the order of the names.

    No hook is left behind, whatever happens.
    """
    uses: dict[str, list[LayerUse]] = {name: [] for name in names}
    handles = [
        module.get_submodule(name).register_forward_hook(_keep(uses[name]), with_kwargs=True)
        for name in names
    ]
    try:
        output = module(features)
    finally:
        for handle in handles:
            handle.remove()
    return output, uses


def _keep(uses: list[LayerUse]) -> Callable[[nn.Module, Any, Any, Any], None]:
    def hook(_layer: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        value = args[0] if len(args) == 1 and not kwargs else kwargs.get("input")
        plain = isinstance(value, Tensor) and isinstance(output, Tensor) and output.requires_grad
        if plain and len(args) + len(kwargs) == 1:
            seen, edge = value.detach(), get_gradient_edge(output)
            like = output.detach().new_empty(0)
            uses.append(LayerUse(seen, seen._version, edge, output.shape, like))  # noqa: SLF001 - as PyTorch documents it

    return hook


def _deltas(values: Tensor, uses: Sequence[LayerUse]) -> list[Tensor]:
    """Return the derivative of each row's scalar in each output; zero where it plays no part."""
    if not uses or not values.requires_grad:
        return [use.like.new_zeros(use.shape) for use in uses]
    found = torch.autograd.grad(values.sum(), [use.edge for use in uses], allow_unused=True)
    return [
        use.like.new_zeros(use.shape) if delta is None else delta
        for use, delta in zip(uses, found, strict=True)
    ]


def _factors(
    layer: nn.Module, use: LayerUse, delta: Tensor, trained: frozenset[str], n: int
) -> Factors | None:
    rule = rule_of(layer, trained)
    by_rows = len(use.value) == n and len(delta) == n
    if rule is None or use.changed or not by_rows:
        return None
    return rule(layer, use.value, delta, trained)
