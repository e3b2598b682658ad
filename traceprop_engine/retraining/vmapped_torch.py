"""Many small PyTorch nets trained at once: `torch.func` over stacked parameters."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.func import functional_call, stack_module_state

from traceprop_engine.digests import digest_arrays, identify
from traceprop_engine.errors import RetrainingError
from traceprop_engine.retraining.nets import DEFAULT_MEMORY, NetProblem, NetRetrainer
from traceprop_engine.retraining.torch_steps import StackedOptimiser, batch_losses

_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass(frozen=True, eq=False)
class VmappedTorch(NetRetrainer):
    """Retrainer of a PyTorch net, a group of models at a time, in training mode.

    Every model takes the steps of the recipe; several models in one group get what each would get
    alone, up to rounding. Batch normalisation keeps running statistics for each model, and queries
    are answered in evaluation mode.

    Attributes:
        build: Returns a new net; called under the random seed of each model.
        problem: Rows, queries and recipe.
        name: Name of the model; results kept in `directory` are told apart by it too.
        directory: Where results are kept, so that a second run goes on. They are told apart by the
            layers of the net, its start and what it answers then: give a net whose code changed
            only in training another `name`.
        memory: Bytes that one group of models may take, estimated.

    Raises:
        RetrainingError: The net draws random numbers in training, mixes rows of weight zero into
            others by batch normalisation, or a label is none of its classes.
    """

    build: Callable[[], nn.Module]
    problem: NetProblem
    name: str = "net"
    directory: Path | None = None
    memory: int = DEFAULT_MEMORY

    def __post_init__(self) -> None:
        self._check_net()
        self.problem.check_outputs(self._answers(self.start(0)).shape)

    def identity(self) -> str:
        """Return a digest of the net's layers, two starts, rows, queries and recipe.

        What the net answers at its start stands for the code of its ``forward``, to two digits, so
        that rounding does not matter.
        """
        nets = [self.start(seed) for seed in (0, 1)]
        held = [tensor for net in nets for tensor in net.state_dict().values()]
        held.append(self._answers(nets[0]).bfloat16().float())
        facts = {
            **self.problem.facts(),
            "name": self.name,
            "net": repr(nets[0]),
            "start": digest_arrays(tensor.numpy() for tensor in held),
        }
        return identify("torch", facts)

    def start(self, seed: int) -> nn.Module:
        """Return the net that a seed starts from; PyTorch's random state is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.build().train()

    def group_size(self, n_rows: int) -> int:
        """Return how many models of ``n_rows`` rows fit into the memory that is given."""
        return self.problem.fitting(self._bytes_of_model, n_rows, self.memory)

    def train_group(
        self, masks: NDArray[np.bool_], seeds: NDArray[np.int64]
    ) -> NDArray[np.floating]:
        """Return the outputs of models with equally many rows, ``[m, n_query, n_outputs]``."""
        stack = _Stack.of([self.start(int(seed)) for seed in seeds])
        order = torch.from_numpy(self.problem.rows_of_steps(masks, seeds).astype(np.int64))
        rates = self.problem.recipe.learning_rates(order.shape[1])
        optimiser = StackedOptimiser(self.problem.recipe, list(stack.params.values()))
        kept = torch.from_numpy(masks)
        for step, rate in enumerate(rates):
            chosen = order[:, step]
            weights = kept.gather(1, chosen).to(self._features.dtype)
            outputs = stack.outputs(self._features[chosen], shared=False)
            losses = batch_losses(outputs, self._labels[chosen], self.loss)
            total = (weights * losses).sum() / chosen.shape[1]
            optimiser.step(torch.autograd.grad(total, list(stack.params.values())), float(rate))
        stack.net.eval()
        with torch.no_grad():
            return stack.outputs(self._queries, shared=True).numpy()

    @torch.no_grad()
    def _answers(self, net: nn.Module) -> torch.Tensor:
        """Return what a net answers to two queries."""
        answers: torch.Tensor = net.eval()(self._queries[:2])
        return answers

    def _check_net(self) -> None:
        """Refuse a net whose retraining would not be what it says."""
        layers = list(self.start(0).modules())
        if any(isinstance(layer, _DROPOUTS) and layer.p > 0 for layer in layers):
            raise RetrainingError(
                f"Net {self.name!r}",
                "its dropout draws numbers that the recipe does not fix",
                "build it without dropout",
            )
        normed = any(isinstance(layer, _BATCH_NORMS) for layer in layers)
        if normed and self.problem.policy == "zero_weight":
            raise RetrainingError(
                f"Net {self.name!r}",
                "batch normalisation lets rows of weight zero act on the others",
                "choose the policy 'subset'",
            )

    @cached_property
    def _features(self) -> torch.Tensor:
        return torch.from_numpy(np.array(self.problem.features))

    @cached_property
    def _queries(self) -> torch.Tensor:
        return torch.from_numpy(np.array(self.problem.query_features))

    @cached_property
    def _labels(self) -> torch.Tensor:
        whole = self.loss == "cross_entropy"
        labels = torch.from_numpy(np.array(self.problem.labels))
        return labels.to(torch.int64 if whole else self._features.dtype)

    @cached_property
    def _bytes_of_model(self) -> int:
        """Parameters with gradient, means and start, and the outputs of every layer three times."""
        net = self.start(0)
        of_params = sum(p.numel() * p.element_size() for p in net.parameters())
        batch = self._features[: self.problem.recipe.batch_size]
        with _output_bytes(net) as counted, torch.no_grad():
            net(batch)
        return 5 * of_params + 3 * sum(counted) + batch.nbytes


@dataclass(frozen=True, eq=False)
class _Stack:
    """Nets of one kind as one: parameters and buffers with the models as first axis."""

    net: nn.Module
    params: dict[str, torch.Tensor]
    buffers: dict[str, torch.Tensor]

    @classmethod
    def of(cls, nets: list[nn.Module]) -> "_Stack":
        params, buffers = stack_module_state(nets)
        return cls(copy.deepcopy(nets[0]), params, buffers)

    def outputs(self, rows: torch.Tensor, *, shared: bool) -> torch.Tensor:
        """Return outputs ``[m, n, n_outputs]``; rows are ``[m, n, ...]``, or shared by all."""

        def forward(params: Any, buffers: Any, one: torch.Tensor) -> torch.Tensor:
            outputs: torch.Tensor = functional_call(self.net, (params, buffers), (one,))
            return outputs[:, None] if outputs.ndim == 1 else outputs

        together = torch.vmap(forward, in_dims=(0, 0, None if shared else 0), randomness="error")
        answer: torch.Tensor = together(self.params, self.buffers, rows)
        return answer


@contextmanager
def _output_bytes(net: nn.Module) -> Iterator[list[int]]:
    """Yield a list that the size of every layer's output is added to while the net runs."""
    sizes: list[int] = []

    def note(_layer: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, torch.Tensor):
            sizes.append(output.nbytes)

    hooks = [layer.register_forward_hook(note) for layer in net.modules()]
    try:
        yield sizes
    finally:
        for hook in hooks:
            hook.remove()
