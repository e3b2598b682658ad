"""Recording a training loop that a user wrote: one added line, or a callback."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from traceprop_engine.errors import RecordedStepsError
from traceprop_engine.gradients import Loss
from traceprop_engine.torch_gradients.modules import undisturbed
from traceprop_engine.torch_gradients.plan import plan_capture
from traceprop_engine.torch_gradients.scalars import trained_scalar
from traceprop_engine.torch_gradients.snapshots import Snapshots
from traceprop_engine.torch_gradients.tables import read_table
from traceprop_engine.torch_gradients.training import TorchTraining
from traceprop_engine.training.recipe import DEFAULT_CHECKPOINTS, TrainingRecipe


@dataclass(frozen=True, eq=False)
class _Recorded:
    """What a recorder was told; see `training_context`."""

    module: nn.Module
    features: NDArray[np.generic]
    labels: NDArray[np.generic]
    loss: Loss
    name: str
    index: pd.Index | None
    optimizer: Optimizer | None
    total_steps: int | None
    fractions: tuple[float, ...]

    def check(self) -> None:
        """Refuse what could not be attributed later, by the gradients of a few rows."""
        with undisturbed(self.module):
            table = read_table(self.module, self.features, self.labels, self.loss)
            scalar = trained_scalar(self.loss)
            plan_capture(self.module, table, scalar)


class TrainingRecorder:
    """Keeps the parameters of a module at some steps of the loop that trains it.

    Made by `training_context`. Recording changes no number in the loop, and leaves no hook behind.
    """

    def __init__(self, recorded: _Recorded) -> None:
        self._recorded = recorded
        self._snapshots = Snapshots(recorded.fractions, recorded.total_steps)
        self._hook: RemovableHandle | None = None
        self._n_steps = 0
        self._running = False

    @property
    def n_steps(self) -> int:
        """Optimiser steps that were seen."""
        return self._n_steps

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.finish()
        else:
            self._stop()

    def start(self, total_steps: int | None = None) -> None:
        """Begin to record; the gradients of a few rows are tried, so that a problem shows now.

        Args:
            total_steps: How many steps there will be, where that is known only now.

        Raises:
            TracepropError: The module or the rows cannot be recorded; the message says why.
        """
        self._stop()
        self._recorded.check()
        known = self._recorded.total_steps if total_steps is None else total_steps
        self._snapshots = Snapshots(self._recorded.fractions, known)
        self._n_steps, self._running = 0, True
        if self._recorded.optimizer is not None:
            self._hook = self._recorded.optimizer.register_step_post_hook(self._on_step)

    def step(self) -> None:
        """Say that the optimiser took a step; only where the optimiser was not given.

        Raises:
            RecordedStepsError: The optimiser was given and counts itself, or nothing is recorded.
        """
        if self._recorded.optimizer is not None:
            raise RecordedStepsError(
                "The recorder was given the optimizer and counts its steps",
                "leave out `step()`, or the optimizer",
            )
        self._count()

    def finish(self) -> None:
        """End the recording and keep the last parameters; a second call changes nothing.

        Raises:
            RecordedStepsError: No step was seen.
        """
        if not self._running:
            return
        self._stop()
        if self._n_steps == 0:
            raise RecordedStepsError(
                "No step of the training was seen",
                "pass the optimizer, or call `step()` after each of its steps",
            )
        self._snapshots.end(self._n_steps, self._recorded.module)

    def training(self) -> TorchTraining:
        """Return the recorded training; of an interrupted loop, what was kept until then.

        Raises:
            RecordedStepsError: The loop still runs, or nothing was kept.
        """
        if self._running or not self._snapshots.steps:
            raise RecordedStepsError(
                "There is no recorded training yet", "ask for it after the loop and its context"
            )
        told = self._recorded
        states, steps = self._snapshots.states(), self._snapshots.steps
        return TorchTraining(
            told.module, states, steps, told.features, told.labels, told.loss, told.name, told.index
        )

    def _on_step(self, *_: Any) -> None:
        self._count()

    def _count(self) -> None:
        if not self._running:
            raise RecordedStepsError(
                "A step was counted while nothing is recorded", "call `step()` inside the context"
            )
        self._n_steps += 1
        self._snapshots.see(self._n_steps, self._recorded.module)

    def _stop(self) -> None:
        self._running = False
        if self._hook is not None:
            self._hook.remove()
            self._hook = None


def training_context(  # noqa: PLR0913 - one setting each, all but the first three by name
    module: nn.Module,
    features: NDArray[np.generic] | Tensor,
    labels: NDArray[np.generic] | Tensor,
    *,
    optimizer: Optimizer | None = None,
    loss: Loss = "cross_entropy",
    name: str = "training",
    index: pd.Index | None = None,
    total_steps: int | None = None,
    checkpoint_fractions: Sequence[float] = DEFAULT_CHECKPOINTS,
) -> TrainingRecorder:
    """Return a context that records the training loop within it.

    ```python
    with tp.training_context(model, X, y, optimizer=optimizer) as run:
        ...  # the loop, as it is
    training = run.training()
    ```

    Args:
        module: What is trained.
        features: All training rows, ``[n, ...]``, as the module reads them.
        labels: ``[n]``: positions of their classes, or values.
        optimizer: Its steps are counted; without it, call ``run.step()`` after each of them.
        loss: What the loop minimises.
        name: What to call the training.
        index: Index of the training table, which carries its lineage.
        total_steps: How many steps there will be, for example ``epochs * len(loader)``. Without
            it the checkpoints lie within 12 % of their shares of the steps.
        checkpoint_fractions: Shares of the steps after which parameters are kept, ascending; the
            last parameters are kept in any case.

    Raises:
        RecipeError: The shares are not ascending in (0, 1].
        RecordedStepsError: `total_steps` is no number of steps.
    """
    fractions = TrainingRecipe(
        checkpoint_fractions=tuple(checkpoint_fractions)
    ).checkpoint_fractions
    if total_steps is not None and total_steps < 1:
        raise RecordedStepsError(
            f"`total_steps` is {total_steps}", "give the number of steps, or leave it out"
        )
    rows = _array(features), _array(labels)
    told = _Recorded(module, *rows, loss, name, index, optimizer, total_steps, fractions)
    return TrainingRecorder(told)


class TrainingCallback:
    """The recorder as a callback of a trainer that calls these methods while it runs.

    Trainers pass whatever they have; only a ``state.max_steps`` above 0 among it is read, as the
    number of steps to come. For a trainer that wants a class of its own, derive from both.

    Args:
        recorder: From `training_context`, without an optimizer.
    """

    def __init__(self, recorder: TrainingRecorder) -> None:
        self.recorder = recorder

    def on_train_begin(self, *given: Any, **named: Any) -> None:
        """Begin to record.

        Raises:
            TracepropError: The module or the rows cannot be recorded; the message says why.
        """
        said = [getattr(one, "max_steps", None) for one in (*given, *named.values())]
        known = [steps for steps in said if isinstance(steps, int) and steps > 0]
        self.recorder.start(known[0] if known else None)

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Count a step of the optimiser."""
        self.recorder.step()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Keep the last parameters."""
        self.recorder.finish()


def _array(rows: NDArray[np.generic] | Tensor) -> NDArray[np.generic]:
    return rows.detach().cpu().numpy() if isinstance(rows, Tensor) else np.asarray(rows)
