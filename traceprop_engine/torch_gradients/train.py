"""Training a module by a recipe, so that it can be repeated and carried on bit by bit."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from traceprop_engine.digests import identify, sha256_bytes
from traceprop_engine.errors import RecordedStepsError
from traceprop_engine.gradients import Loss
from traceprop_engine.torch_gradients.interrupted import RunningState, read_running, write_running
from traceprop_engine.torch_gradients.modules import (
    arrays_of,
    cuda_devices,
    load_state,
    state_of,
    trained_parameters,
    undisturbed,
)
from traceprop_engine.torch_gradients.scalars import only_output, rows_of_outputs
from traceprop_engine.torch_gradients.snapshots import Snapshots
from traceprop_engine.torch_gradients.tables import Table, read_table
from traceprop_engine.torch_gradients.training import TorchTraining
from traceprop_engine.training.recipe import ADAM_BETAS, ADAM_EPSILON, TrainingRecipe

StepDone = Callable[[int, int, float], None]
"""Called after each step with its number, the number of all steps, and the loss of its batch."""

N_SAVES = 20
"""How often a training is saved while it runs."""


def train_torch(  # noqa: PLR0913 - the first four, and one setting each
    module: nn.Module,
    features: NDArray[np.generic],
    labels: NDArray[np.generic],
    recipe: TrainingRecipe,
    *,
    name: str,
    index: pd.Index | None = None,
    directory: Path | None = None,
    progress: StepDone | None = None,
) -> TorchTraining:
    """Train a module in place by a recipe, and keep its parameters at the recipe's checkpoints.

    On a CPU with the same number of threads, the same module, rows and recipe give the same bits,
    also after an interruption. The module is trained in training mode, with dropout seeded by the
    recipe, and ends in the mode it was in. The random state outside is not touched, and no
    precision or gradient mode that holds outside changes a bit.

    Args:
        module: The module with its first parameters.
        features: ``[n, ...]``.
        labels: ``[n]``: positions of the classes, or values.
        recipe: How to train.
        name: What to call the training.
        index: Index of the training table, which carries its lineage.
        directory: Where to keep the state of the training while it runs; a call with the same
            recipe, rows and layers goes on from there, with the parameters that are there.
        progress: Called after each step.

    Raises:
        TracepropError: Rows, labels, recipe and module do not fit each other, the loss is not
            finite, or the directory holds another training.
    """
    with undisturbed(module):
        loop = _Loop(module, read_table(module, features, labels, recipe.loss), recipe)
        saved = _Saves(loop, directory, _identity(module, features, labels, recipe))
        module.train()
        _seed(module, recipe.seed)
        try:
            _run(loop, saved, progress)
        finally:
            module.zero_grad(set_to_none=True)
    kept = loop.snapshots
    return TorchTraining(
        module, kept.states(), kept.steps, features, labels, recipe.loss, name, index, recipe
    )


def mean_loss(outputs: Tensor, labels: Tensor, loss: Loss) -> Tensor:
    """Return the mean loss of a batch, as a recipe defines it.

    Args:
        outputs: ``[n, n_outputs]``.
        labels: Positions of classes as integers, or values, ``[n]``.
        loss: Which loss.
    """
    if loss == "squared":
        return ((only_output(outputs, labels) - labels) ** 2).mean() / 2
    if outputs.shape[1] == 1:
        return functional.binary_cross_entropy_with_logits(outputs[:, 0], labels.to(outputs.dtype))
    return functional.cross_entropy(outputs, labels)


class _Loop:
    """The steps of a training, and all that they change."""

    def __init__(self, module: nn.Module, table: Table, recipe: TrainingRecipe) -> None:
        self.module, self.recipe, self._table = module, recipe, table
        self._batches = recipe.batches(len(table))
        self.n_steps = len(self._batches)
        self._rates = recipe.learning_rates(self.n_steps).tolist()
        self.snapshots = Snapshots(recipe.checkpoint_fractions, self.n_steps)
        self._optimiser = _optimiser(list(trained_parameters(module).values()), recipe)

    def step(self, number: int) -> float:
        """Take a step, counted from 1, and return the loss of its batch before it."""
        rows = self._batches[number - 1]
        self._optimiser.param_groups[0]["lr"] = self._rates[number - 1]
        self._optimiser.zero_grad(set_to_none=True)
        features, labels = self._table.rows(rows)
        outputs = rows_of_outputs(self.module(features))
        loss = mean_loss(outputs, labels, self.recipe.loss)
        value = loss.detach().item()
        if not np.isfinite(value):
            raise RecordedStepsError(
                f"The loss of step {number} is {value}",
                "lower the learning rate, or look for missing features",
            )
        loss.backward()
        self._optimiser.step()
        self.snapshots.see(number, self.module)
        return value

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Return all that the steps change, by name."""
        found = {f"module/{name}": one for name, one in state_of(self.module).items()}
        found["random"] = torch.get_rng_state().numpy()
        for place, moments in self._optimiser.state_dict()["state"].items():
            known = {key: one for key, one in moments.items() if one is not None}
            for key, one in arrays_of(known, "The optimiser").items():
                found[f"optimiser/{place}/{key}"] = one
        for step, state in zip(self.snapshots.steps, self.snapshots.states(), strict=True):
            found |= {f"kept/{step}/{name}": one for name, one in state.items()}
        return found

    def restore(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        """Go back to a state that `state` returned."""
        load_state(self.module, _within(arrays, "module/"))
        torch.set_rng_state(torch.from_numpy(np.array(arrays["random"])))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, one in _within(arrays, "optimiser/").items():
            place, _, key = name.partition("/")
            moments.setdefault(int(place), {})[key] = torch.from_numpy(np.array(one))
        whole = self._optimiser.state_dict() | {"state": moments}
        self._optimiser.load_state_dict(whole)
        kept = _within(arrays, "kept/")
        for step in {name.partition("/")[0] for name in kept}:
            self.snapshots.keep(int(step), _within(kept, f"{step}/"))


class _Saves:
    """Where the state of a running training is kept, if anywhere."""

    def __init__(self, loop: _Loop, directory: Path | None, identity: str) -> None:
        self._loop, self._directory, self._identity = loop, directory, identity
        self._every = -(-loop.n_steps // N_SAVES)

    def resume(self) -> int:
        """Restore what was saved, or save the beginning; return how many steps are done."""
        if self._directory is None:
            return 0
        found = read_running(self._directory, self._identity)
        if found is None:
            self.see(0)
            return 0
        self._loop.restore(found.arrays)
        return found.step

    def see(self, step: int) -> None:
        """Save the state after a step, if it is time to."""
        due = step % self._every == 0 or step == self._loop.n_steps
        if self._directory is not None and due:
            state = RunningState(self._identity, step, self._loop.state())
            write_running(self._directory, state)


def _run(loop: _Loop, saves: _Saves, progress: StepDone | None) -> None:
    for number in range(saves.resume() + 1, loop.n_steps + 1):
        loss = loop.step(number)
        saves.see(number)
        if progress is not None:
            progress(number, loop.n_steps, loss)


def _optimiser(parameters: list[nn.Parameter], recipe: TrainingRecipe) -> torch.optim.Optimizer:
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimiser == "adam":
        return torch.optim.Adam(
            parameters, lr=rate, betas=ADAM_BETAS, eps=ADAM_EPSILON, weight_decay=decay
        )
    return torch.optim.SGD(parameters, lr=rate, momentum=recipe.momentum, weight_decay=decay)


def _identity(
    module: nn.Module,
    features: NDArray[np.generic],
    labels: NDArray[np.generic],
    recipe: TrainingRecipe,
) -> str:
    facts: dict[str, object] = {
        "recipe": asdict(recipe),
        "layers": [[name, type(layer).__name__] for name, layer in module.named_modules()],
        "module": {name: [str(one.dtype), *one.shape] for name, one in module.state_dict().items()},
        "trained": list(trained_parameters(module)),
    }
    for name, rows in (("features", features), ("labels", labels)):
        array = np.ascontiguousarray(rows)
        facts[name] = [str(array.dtype), *array.shape, sha256_bytes(array.tobytes())]
    return identify("training", facts)


def _seed(module: nn.Module, seed: int) -> None:
    torch.default_generator.manual_seed(seed)
    for device in cuda_devices(module):
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def _within(arrays: dict[str, NDArray[np.generic]], prefix: str) -> dict[str, NDArray[np.generic]]:
    return {
        name.removeprefix(prefix): one for name, one in arrays.items() if name.startswith(prefix)
    }
