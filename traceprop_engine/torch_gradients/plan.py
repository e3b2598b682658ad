"""How the gradient of each parameter is captured, decided on a few rows and checked there.

A few rows are run alone, one backward pass each: the definition. Each faster way has to agree with
it, or the next slower one is taken: hooks, then `torch.func`, then the definition itself. So a
layer that is used in some unusual manner costs time, never a wrong number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from traceprop_engine.errors import UndefinedRowGradientError
from traceprop_engine.torch_gradients.hooks import factor_pass
from traceprop_engine.torch_gradients.layers import Factors, flat_layout, rule_of
from traceprop_engine.torch_gradients.modules import trained_parameters
from traceprop_engine.torch_gradients.scalars import Scalar, close, rows_of_outputs
from traceprop_engine.torch_gradients.single_rows import Gradients, row_by_row, vectorised
from traceprop_engine.torch_gradients.tables import Table

N_PROBED = 3
"""Rows on which every way of capture is checked."""

Way = Literal["factors", "products", "vmap", "loop"]
"""Hooks with factors kept; hooks with the factors multiplied; `torch.func`; one row at a time."""


@dataclass(frozen=True)
class LayerPlan:
    """How one layer, or one parameter that hooks cannot factor, is captured.

    Attributes:
        name: Name of the layer, or of the parameter.
        way: How.
        parameters: What it covers, by the names of the module.
    """

    name: str
    way: Way
    parameters: tuple[str, ...]


@dataclass(frozen=True)
class CapturePlan:
    """How every trained parameter of a module is captured, each exactly once.

    Attributes:
        layers: In the order of the module's parameters.
        bytes_per_row: What capture needs for a row while it runs.
    """

    layers: tuple[LayerPlan, ...]
    bytes_per_row: int

    def names(self, *ways: Way) -> tuple[str, ...]:
        """Return the layers and parameters that are captured in one of these ways."""
        return tuple(layer.name for layer in self.layers if layer.way in ways)


@dataclass(frozen=True, eq=False)
class _Probe:
    """A few rows, and the gradients of their scalars by definition."""

    module: nn.Module
    features: Tensor
    labels: Tensor
    scalar: Scalar
    truth: Gradients

    @property
    def tolerance(self) -> float:
        return float(torch.finfo(next(iter(self.truth.values())).dtype).eps) ** 0.5

    @cached_property
    def reversed(self) -> "_Probe":
        """The same rows, last first: a layer that sees its rows sorted has two of them swapped."""
        truth = {name: one.flip(0) for name, one in self.truth.items()}
        return _Probe(self.module, self.features.flip(0), self.labels.flip(0), self.scalar, truth)

    def agrees(self, found: Tensor, parameters: Mapping[str, Tensor]) -> bool:
        """Say whether gradients of some parameters, ``[n, ...]``, are those of the definition."""
        wanted = torch.cat([one.reshape(-1) for one in parameters.values()])
        largest = max(float(one.abs().max()) for one in self.truth.values())
        scale = max(float(wanted.abs().max()), 0.01 * largest)
        return bool((found.reshape(-1) - wanted).abs().max() <= self.tolerance * scale)


def plan_capture(module: nn.Module, table: Table, scalar: Scalar) -> CapturePlan:
    """Return how the gradients of a module are captured.

    Args:
        module: In evaluation mode.
        table: All rows; a few of them are run.
        scalar: Of which scalar.

    Raises:
        UndefinedRowGradientError: Outputs of a row depend on other rows or on chance, or its
            gradient is not finite.
        UntrainableModuleError: The module has nothing to train.
    """
    names = list(trained_parameters(module))
    rows = np.unique(np.linspace(0, len(table) - 1, N_PROBED).astype(int))
    few, known = table.rows(rows)
    _check_outputs(module, few)
    probe = _Probe(module, few, known, scalar, row_by_row(module, names, few, known, scalar))
    _check_finite(probe, rows)
    factored, saved = _factored_layers(probe)
    covered = {name for layer, _ in factored for name in layer.parameters}
    rest = _remaining(probe, [name for name in names if name not in covered])
    needed = _numbers_per_row(saved, factored, rest, probe)
    layers = sorted([layer for layer, _ in factored] + rest, key=lambda one: _place(one, names))
    itemsize = next(iter(probe.truth.values())).element_size()
    return CapturePlan(tuple(layers), needed * itemsize)


def own_parameters(layer: nn.Module) -> dict[str, nn.Parameter]:
    """Return the trained parameters that a layer holds itself, not through layers within it."""
    own = layer.named_parameters(recurse=False)
    return {name: parameter for name, parameter in own if parameter.requires_grad}


def unshared_layers(module: nn.Module) -> dict[str, frozenset[str]]:
    """Return the layers that have a rule and share no parameter with another layer.

    Returns:
        From the name of the layer to its own trained parameters, by their names in it.
    """
    held = [id(one) for layer in module.modules() for one in own_parameters(layer).values()]
    shared = {one for one in held if held.count(one) > 1} if len(held) > len(set(held)) else set()
    found: dict[str, frozenset[str]] = {}
    for name, layer in module.named_modules():
        own = own_parameters(layer)
        tied = any(id(parameter) in shared for parameter in own.values())
        if own and not tied and rule_of(layer, frozenset(own)) is not None:
            found[name] = frozenset(own)
    return found


def full_name(layer: str, parameter: str) -> str:
    """Return the name that a parameter of a layer has in the module."""
    return f"{layer}.{parameter}" if layer else parameter


def _factored_layers(probe: _Probe) -> tuple[list[tuple[LayerPlan, Factors]], float]:
    """Return the layers whose factors agree with the definition, and numbers saved for a row."""
    layers = unshared_layers(probe.module)
    saved = _SavedNumbers(probe)
    with torch.autograd.graph.saved_tensors_hooks(saved.count, lambda tensor: tensor):
        found = _factors(probe, layers)
    back = _factors(probe.reversed, layers)
    agreeing = [
        (_layer_plan(name, layers[name], found[name]), found[name])
        for name in found.keys() & back.keys()
        if _agrees(probe, name, layers[name], found[name])
        and _agrees(probe.reversed, name, layers[name], back[name])
    ]
    return agreeing, saved.total / len(probe.features)


def _factors(probe: _Probe, layers: Mapping[str, frozenset[str]]) -> dict[str, Factors]:
    return factor_pass(probe.module, layers, probe.features, probe.labels, probe.scalar).factors


def _layer_plan(name: str, own: frozenset[str], factors: Factors) -> LayerPlan:
    """Keep factors unless, over many positions, their product is the smaller thing."""
    positions = factors.inputs is not None and factors.inputs.dim() == 3  # noqa: PLR2004 - [n, t, d]
    small = factors.inputs is None or (positions and factors.n_flat <= factors.n_factored)
    parameters = tuple(full_name(name, one) for one in ("weight", "bias") if one in own)
    return LayerPlan(name, "products" if small else "factors", parameters)


def _numbers_per_row(
    saved: float,
    factored: Sequence[tuple[LayerPlan, Factors]],
    rest: Sequence[LayerPlan],
    probe: _Probe,
) -> int:
    """Return about how many numbers capture holds at once for a row.

    What a pass saves is there twice, as values and as derivatives; a layer that is multiplied has
    its factors twice, one layer after another; `torch.func` saves what a pass saves once more.
    """
    kept = [factors.n_factored for layer, factors in factored if layer.way == "factors"]
    made = [factors.n_flat for layer, factors in factored if layer.way == "products"]
    passing = [2 * factors.n_factored for layer, factors in factored if layer.way == "products"]
    whole = sum(probe.truth[name][0].numel() for layer in rest for name in layer.parameters)
    passes = 4 if rest else 2
    return int(passes * saved) + sum(kept) + sum(made) + max(passing, default=0) + 3 * whole


def _agrees(probe: _Probe, name: str, own: frozenset[str], factors: Factors) -> bool:
    layer = probe.module.get_submodule(name)
    truth = {one: probe.truth[full_name(name, one)] for one in own}
    rows = [
        flat_layout(layer, {one: gradients[row] for one, gradients in truth.items()})
        for row in range(len(probe.features))
    ]
    return probe.agrees(factors.flat().deltas, {name: torch.stack(rows)})


def _remaining(probe: _Probe, names: Sequence[str]) -> list[LayerPlan]:
    if not names:
        return []
    way: Way = "vmap" if _can_vectorise(probe, names) else "loop"
    return [LayerPlan(name, way, (name,)) for name in names]


def _can_vectorise(probe: _Probe, names: Sequence[str]) -> bool:
    try:
        found = vectorised(probe.module, names, probe.features, probe.labels, probe.scalar)
    except RuntimeError:  # what torch.func says of a module it cannot follow; the loop can
        return False
    return all(probe.agrees(found[name], {name: probe.truth[name]}) for name in names)


def _check_outputs(module: nn.Module, features: Tensor) -> None:
    """Refuse outputs that depend on chance or on the other rows of the batch."""
    together, kind = rows_of_outputs(module(features)), type(module).__name__
    if not together.requires_grad:
        raise UndefinedRowGradientError(
            kind,
            "no trained parameter reaches its outputs, or they are detached on the way",
            "look for `detach()` and `no_grad()` in its forward",
        )
    with torch.no_grad():
        again = rows_of_outputs(module(features))
        alone = torch.cat([rows_of_outputs(module(row[None])) for row in features])
    if not close(together, again):
        raise UndefinedRowGradientError(
            kind,
            "in evaluation mode its outputs still depend on chance",
            "switch the noise off when `self.training` is false",
        )
    if together.shape != alone.shape or not close(together, alone):
        raise UndefinedRowGradientError(
            kind,
            "a row alone has other outputs than the same row in a batch, so rows are mixed",
            "take the layer out that computes over the batch",
        )


def _check_finite(probe: _Probe, rows: Sequence[int] | np.ndarray) -> None:
    for name, gradients in probe.truth.items():
        for row, gradient in zip(rows, gradients, strict=True):
            if not torch.isfinite(gradient).all():
                raise UndefinedRowGradientError(
                    type(probe.module).__name__,
                    f"that of {name!r} in row {row} is not finite",
                    "look for missing or infinite features, or parameters that diverged",
                )


def _place(layer: LayerPlan, names: Sequence[str]) -> int:
    return names.index(layer.parameters[0])


class _SavedNumbers:
    """Counts what autograd keeps for the backward pass, parameters and features aside."""

    def __init__(self, probe: _Probe) -> None:
        apart = [*probe.module.parameters(), *probe.module.buffers(), probe.features]
        self._seen = {tensor.untyped_storage().data_ptr() for tensor in apart}
        self.total = 0

    def count(self, tensor: Tensor) -> Tensor:
        """Count a tensor once, and keep it as it is."""
        storage = tensor.untyped_storage().data_ptr()
        if storage not in self._seen:
            self._seen.add(storage)
            self.total += tensor.numel()
        return tensor
