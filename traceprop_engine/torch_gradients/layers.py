"""How the gradient of each kind of layer follows from its input and the derivative of its output.

A rule takes a layer's input and the *deltas*, the derivative of each row's scalar in the layer's
output, and returns factors whose product is the gradient of each row. Only layers of exactly these
types have one; any other, a subclass too, may compute something else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True, eq=False)
class Factors:
    """The gradients of one layer's parameters for a block of rows.

    Attributes:
        inputs: ``[n, d_in]`` or ``[n, t, d_in]``; ``None`` where `deltas` is the gradient itself.
        deltas: ``[n, d_out]`` or ``[n, t, d_out]``; or the gradients, ``[n, n_parameters]``.
        ones: Whether a constant 1 belongs behind the inputs, for a bias.
    """

    inputs: Tensor | None
    deltas: Tensor
    ones: bool = False

    @property
    def n_factored(self) -> int:
        """Numbers that the factors of one row take."""
        per_row = self.deltas[0].numel()
        if self.inputs is None:
            return per_row
        return per_row + self.inputs[0].numel() + self.ones * prod(self.inputs.shape[1:-1])

    @property
    def n_flat(self) -> int:
        """Numbers that the gradient of one row takes."""
        if self.inputs is None:
            return self.deltas.shape[1]
        return (self.inputs.shape[-1] + self.ones) * self.deltas.shape[-1]

    def flat(self) -> "Factors":
        """Return the products themselves, ``[n, n_parameters]``, in the order of `flat_layout`."""
        if self.inputs is None:
            return self
        n = len(self.deltas)
        inputs, deltas = _three_axes(self.inputs), _three_axes(self.deltas)
        gradient = torch.bmm(inputs.transpose(1, 2), deltas)
        if self.ones:
            gradient = torch.cat([gradient, deltas.sum(1, keepdim=True)], dim=1)
        return Factors(None, gradient.reshape(n, -1))


Rule = Callable[[Any, Tensor, Tensor, frozenset[str]], Factors | None]
"""From layer, input, deltas and names of the trained parameters; ``None`` where it cannot."""


def rule_of(layer: nn.Module, trained: frozenset[str]) -> Rule | None:
    """Return the rule of a layer, or ``None`` where its gradient has to be found otherwise.

    Args:
        layer: The layer.
        trained: Its own parameters that were trained, by their names in it.
    """
    if not trained <= {"weight", "bias"}:
        return None
    rules: Mapping[type[nn.Module], Rule] = {
        nn.Linear: _linear,
        nn.Conv1d: _convolution,
        nn.Conv2d: _convolution,
        nn.Embedding: _embedding,
        nn.EmbeddingBag: _embedding_bag,
        nn.LayerNorm: _layer_norm,
        nn.GroupNorm: _group_norm,
        **dict.fromkeys(_BATCH_NORMS, _batch_norm),
    }
    return rules.get(type(layer))


def joined(uses: Sequence[Factors]) -> Factors:
    """Return the gradient of a layer that was used several times: the sum over its uses."""
    first = uses[0]
    if len(uses) == 1:
        return first
    if first.inputs is None:
        return Factors(None, torch.stack([use.deltas for use in uses]).sum(0))
    inputs = [_three_axes(use.inputs) for use in uses if use.inputs is not None]
    deltas = [_three_axes(use.deltas) for use in uses]
    return Factors(torch.cat(inputs, 1), torch.cat(deltas, 1), ones=first.ones)


def flat_layout(layer: nn.Module, gradients: Mapping[str, Tensor]) -> Tensor:
    """Return gradients of a layer's parameters as one vector, in the order of its factors.

    Args:
        layer: The layer.
        gradients: ``weight``, ``bias`` or both, in the shapes of the parameters.
    """
    parts = dict(gradients)
    if type(layer) in (nn.Linear, nn.Conv1d, nn.Conv2d) and "weight" in parts:
        parts["weight"] = parts["weight"].flatten(1).T
    return torch.cat([parts[name].reshape(-1) for name in ("weight", "bias") if name in parts])


def _linear(layer: nn.Linear, value: Tensor, deltas: Tensor, trained: frozenset[str]) -> Factors:  # noqa: ARG001 - a Rule
    return _product(_positions(value), _positions(deltas), trained)


def _convolution(
    layer: nn.Conv1d | nn.Conv2d, value: Tensor, deltas: Tensor, trained: frozenset[str]
) -> Factors | None:
    kernel = layer.kernel_size
    if layer.groups != 1 or layer.padding_mode != "zeros" or value.dim() != len(kernel) + 2:
        return None
    padded = functional.pad(value, _padding(layer))
    if len(kernel) == 1:  # an image of height 1
        padded = padded.unsqueeze(2)
    wide = [(1, *sizes)[-2:] for sizes in (kernel, layer.dilation, layer.stride)]
    patches = functional.unfold(padded, wide[0], dilation=wide[1], stride=wide[2])
    return _product(patches.transpose(1, 2), deltas.flatten(2).transpose(1, 2), trained)


def _embedding(
    layer: nn.Embedding, value: Tensor, deltas: Tensor, trained: frozenset[str]
) -> Factors:
    chosen = _one_hot(value, layer, deltas.dtype)
    return _product(_positions(chosen), _positions(deltas), trained)


def _embedding_bag(
    layer: nn.EmbeddingBag, value: Tensor, deltas: Tensor, trained: frozenset[str]
) -> Factors | None:
    if layer.mode not in ("sum", "mean") or value.dim() != 2:  # noqa: PLR2004 - rows of bags
        return None
    counts = _one_hot(value, layer, deltas.dtype).sum(1)
    if layer.mode == "mean":
        counts = counts / counts.sum(1, keepdim=True).clamp(min=1)
    return _product(counts, deltas, trained)


def _layer_norm(
    layer: nn.LayerNorm, value: Tensor, deltas: Tensor, trained: frozenset[str]
) -> Factors:
    normal = functional.layer_norm(value, layer.normalized_shape, eps=layer.eps)
    shape = (len(value), -1, prod(layer.normalized_shape))
    return _affine(normal.reshape(shape), deltas.reshape(shape), trained)


def _group_norm(
    layer: nn.GroupNorm, value: Tensor, deltas: Tensor, trained: frozenset[str]
) -> Factors:
    normal = functional.group_norm(value, layer.num_groups, eps=layer.eps)
    return _affine(_channels_last(normal), _channels_last(deltas), trained)


def _batch_norm(
    layer: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d,
    value: Tensor,
    deltas: Tensor,
    trained: frozenset[str],
) -> Factors:
    normal = functional.batch_norm(value, layer.running_mean, layer.running_var, eps=layer.eps)
    return _affine(_channels_last(normal), _channels_last(deltas), trained)


def _product(inputs: Tensor, deltas: Tensor, trained: frozenset[str]) -> Factors:
    if "weight" in trained:
        return Factors(inputs, deltas, ones="bias" in trained)
    return Factors(None, _three_axes(deltas).sum(1))


def _affine(normal: Tensor, deltas: Tensor, trained: frozenset[str]) -> Factors:
    """Return the gradients of a weight and a bias from ``[n, t, d]`` before and behind them."""
    parts = {"weight": normal * deltas, "bias": deltas}
    return Factors(
        None, torch.cat([part.sum(1) for name, part in parts.items() if name in trained], 1)
    )


def _one_hot(tokens: Tensor, layer: nn.Embedding | nn.EmbeddingBag, dtype: torch.dtype) -> Tensor:
    chosen = functional.one_hot(tokens.long(), layer.num_embeddings).to(dtype)
    if layer.padding_idx is not None:
        chosen[..., layer.padding_idx] = 0
    return chosen


def _padding(layer: nn.Conv1d | nn.Conv2d) -> list[int]:
    """Return the padding of each side, last axis first; "same" puts an odd one at the end."""
    if layer.padding == "valid":
        return [0, 0] * len(layer.kernel_size)
    sides: list[int] = []
    for axis in reversed(range(len(layer.kernel_size))):
        if layer.padding == "same":
            total = layer.dilation[axis] * (layer.kernel_size[axis] - 1)
            sides += [total // 2, total - total // 2]
        else:
            sides += [int(layer.padding[axis])] * 2
    return sides


def _positions(value: Tensor) -> Tensor:
    """Return ``[n, d]`` as it is, and any further axes before the last as one."""
    return value if value.dim() <= 2 else value.flatten(1, -2)  # noqa: PLR2004 - rows and features


def _three_axes(value: Tensor) -> Tensor:
    return value if value.dim() == 3 else value.unsqueeze(1)  # noqa: PLR2004 - with positions


def _channels_last(value: Tensor) -> Tensor:
    return value.reshape(*value.shape[:2], -1).transpose(1, 2)
