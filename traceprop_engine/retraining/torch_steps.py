"""Loss and optimiser steps of stacked PyTorch nets, as the recipe words them."""

import torch
from torch.nn import functional

from traceprop_engine.training.recipe import ADAM_BETAS, ADAM_EPSILON, NetLoss, TrainingRecipe


def batch_losses(outputs: torch.Tensor, labels: torch.Tensor, loss: NetLoss) -> torch.Tensor:
    """Return the loss of each row of each model, ``[m, n]``.

    Args:
        outputs: ``[m, n, n_outputs]``; one output of a classifier is the log-odds of class 1.
        labels: ``[m, n]``.
        loss: What is minimised.
    """
    if loss == "squared":
        return (outputs[..., 0] - labels) ** 2 / 2
    if outputs.shape[-1] == 1:
        return functional.softplus((1 - 2 * labels) * outputs[..., 0])
    flat = functional.cross_entropy(outputs.flatten(0, 1), labels.flatten(), reduction="none")
    return flat.view(labels.shape)


class StackedOptimiser:
    """SGD or Adam on stacked parameters, elementwise as `torch.optim` does it for one net.

    Args:
        recipe: How a gradient becomes a step.
        params: Changed in place by each step.
    """

    def __init__(self, recipe: TrainingRecipe, params: list[torch.Tensor]) -> None:
        self._recipe = recipe
        self._params = params
        self._means = [torch.zeros_like(param) for param in params]
        self._squares = [torch.zeros_like(p) for p in params if recipe.optimiser == "adam"]
        self._steps = 0

    @torch.no_grad()
    def step(self, gradients: tuple[torch.Tensor, ...], rate: float) -> None:
        """Move the parameters along the gradients of the mean loss."""
        self._steps += 1
        decay = self._recipe.weight_decay
        slopes = [g.add(p, alpha=decay) for g, p in zip(gradients, self._params, strict=True)]
        if self._recipe.optimiser == "sgd":
            torch._foreach_mul_(self._means, self._recipe.momentum)
            torch._foreach_add_(self._means, slopes)
            torch._foreach_add_(self._params, self._means, alpha=-rate)
        else:
            self._adam(slopes, rate)

    def _adam(self, slopes: list[torch.Tensor], rate: float) -> None:
        low, high = ADAM_BETAS
        first, second = 1 - low**self._steps, 1 - high**self._steps
        for param, mean, square, slope in zip(
            self._params, self._means, self._squares, slopes, strict=True
        ):
            mean.lerp_(slope, 1 - low)
            square.mul_(high).addcmul_(slope, slope, value=1 - high)
            root = (square / second).sqrt_().add_(ADAM_EPSILON)
            param.addcdiv_(mean, root, value=-rate / first)
