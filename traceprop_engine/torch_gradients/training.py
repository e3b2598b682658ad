"""A recorded training of a PyTorch module: its checkpoints and the rows it was trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from traceprop_engine.errors import ModuleShapeError, QueryShapeError, RecordedStepsError
from traceprop_engine.gradients import Loss, OutputTarget, RowGradients
from traceprop_engine.gradients.stored_net import StoredNet
from traceprop_engine.gradients.training_files import check_outputs
from traceprop_engine.torch_gradients.capture import (
    DEFAULT_MEMORY,
    Progress,
    asked_scalar,
    capture,
)
from traceprop_engine.torch_gradients.files import SavedTraining, read_training, write_training
from traceprop_engine.torch_gradients.modules import (
    State,
    arrays_of,
    check_state,
    load_state,
    private_copy,
    trained_parameters,
    undisturbed,
)
from traceprop_engine.torch_gradients.plan import CapturePlan, plan_capture
from traceprop_engine.torch_gradients.scalars import rows_of_outputs, trained_scalar
from traceprop_engine.torch_gradients.tables import (
    Table,
    blocks_of,
    check_rows,
    checked_features,
    feature_tensor,
    read_table,
    require_labels,
)
from traceprop_engine.training.recipe import TrainingRecipe

_OUTPUT_ROWS = 1024
_COMPARED_ROWS = 16


@dataclass(frozen=True, eq=False)
class TorchTraining:
    """A training of a module whose parameters were kept at some of its steps.

    The module is copied, so what becomes of it later changes nothing; arrays are read-only views.
    Gradients are those of the module in evaluation mode: batch normalisation with the running
    statistics of the checkpoint, no dropout.

    Attributes:
        module: The architecture, from features ``[n, ...]`` to outputs ``[n]`` or ``[n,
            n_outputs]``; parameters with ``requires_grad=False`` were not trained.
        states: Parameters and buffers at each checkpoint, by their names in the module.
        steps: Optimiser steps after which each was kept, ascending.
        features: The training rows, ``[n_train, ...]``.
        labels: Positions of their classes, or values, ``[n_train]``.
        loss: Cross-entropy of the outputs as logits (one output: the log-odds of class 1), or half
            the squared error of the one output.
        name: What the user calls this training.
        index: Index of the training table, which carries its lineage; numbers by default.
        recipe: How it was trained, where that is known.
        memory_limit: Bytes that the capture of gradients may use, beside its result.

    Raises:
        TracepropError: A checkpoint does not belong to the module, or rows and labels do not fit
            it, or each other; the message says which.
    """

    module: nn.Module
    states: tuple[State, ...]
    steps: tuple[int, ...]
    features: NDArray[np.generic]
    labels: NDArray[np.generic]
    loss: Loss = "cross_entropy"
    name: str = "training"
    index: pd.Index | None = None
    recipe: TrainingRecipe | None = None
    memory_limit: int = DEFAULT_MEMORY
    _plans: dict[int, CapturePlan] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "module", private_copy(self.module))
        for name in ("features", "labels"):
            object.__setattr__(self, name, _read_only(getattr(self, name)))
        if self.index is None:
            object.__setattr__(self, "index", pd.RangeIndex(len(self.features)))
        self._check_steps()
        for step, state in zip(self.steps, self.states, strict=True):
            check_state(self.module, state, f"The checkpoint of step {step}")
        self._check_rows()

    @classmethod
    def from_checkpoints(
        cls,
        checkpoints: Sequence[Mapping[str, object]],
        *,
        module: nn.Module,
        features: NDArray[np.generic],
        labels: NDArray[np.generic],
        steps: Sequence[int] | None = None,
        loss: Loss = "cross_entropy",
    ) -> "TorchTraining":
        """Return a training from state dicts that were saved while it ran.

        Args:
            checkpoints: ``module.state_dict()`` at several steps, earliest first, as tensors or
                NumPy arrays.
            module: The module; its own parameters do not matter.
            features: The training rows, ``[n_train, ...]``.
            labels: Their labels, ``[n_train]``.
            steps: After which step each was saved; 1, 2, ... where that is not known.
            loss: What was minimised.

        Raises:
            TracepropError: A checkpoint does not belong to the module, or rows do not fit it.
        """
        states = tuple(arrays_of(state, type(module).__name__) for state in checkpoints)
        known = range(1, len(states) + 1) if steps is None else steps
        return cls(module, states, tuple(known), features, labels, loss)

    @classmethod
    def from_stored(cls, net: StoredNet, module: nn.Module) -> "TorchTraining":
        """Return a training that a store holds, given the code of its module.

        Args:
            net: What the store holds.
            module: Built as it was for the training; its own parameters do not matter.

        Raises:
            TracepropError: The net is not of this module, by names and shapes.
        """
        states = tuple(net.parameters(checkpoint) for checkpoint in range(len(net.steps)))
        training = cls(
            module,
            tuple(arrays_of(state, type(module).__name__) for state in states),
            net.steps,
            net.features,
            net.trained_labels,
            net.loss,
            net.name,
            recipe=net.recipe,
        )
        if training.n_parameters != net.n_parameters:
            ours, theirs = f"{training.n_parameters} trained", f"{net.n_parameters} trained"
            raise ModuleShapeError(f"The stored net {net.name!r}", "all parameters", ours, theirs)
        return training

    @property
    def n_train(self) -> int:
        """Rows that it was trained on."""
        return len(self.features)

    @cached_property
    def n_parameters(self) -> int:
        """Numbers that were trained."""
        return sum(one.numel() for one in trained_parameters(self.module).values())

    @cached_property
    def n_outputs(self) -> int:
        """Outputs of the module for one row."""
        return self.outputs(self.features[:1]).shape[1]

    def at(self, checkpoint: int) -> nn.Module:
        """Return a new module with the parameters of a checkpoint, in evaluation mode.

        Args:
            checkpoint: Position in `steps`; -1 is the last.

        Raises:
            RecordedStepsError: There is no such checkpoint.
        """
        if not -len(self.steps) <= checkpoint < len(self.steps):
            raise RecordedStepsError(
                f"Training {self.name!r} has no checkpoint {checkpoint}",
                f"it has {len(self.steps)}, numbered from 0",
            )
        module = private_copy(self.module).eval()
        load_state(module, self.states[checkpoint])
        return module

    def parameters(self, checkpoint: int) -> State:
        """Return parameters and buffers at a checkpoint, by their names in the module."""
        return self.states[checkpoint]

    def train_gradients(
        self,
        checkpoint: int,
        *,
        rows: slice = slice(None),
        progress: Progress | None = None,
    ) -> RowGradients:
        """Return the gradients of the training rows, with slopes and curvatures.

        Args:
            checkpoint: Position in `steps`.
            rows: A run of them; all by default.
            progress: Called after each block with the rows that are done and with all of them.

        Raises:
            TracepropError: A row has no gradient of its own; the message says why.
        """
        module = self.at(checkpoint)
        with undisturbed(module):
            plan = self._planned(module, checkpoint)
            table = self._table(module).part(rows)
            scalar = trained_scalar(self.loss)
            return capture(module, plan, table, scalar, self.loss, (self.memory_limit, progress))

    def query_gradients(
        self,
        checkpoint: int,
        features: NDArray[np.generic],
        labels: NDArray[np.generic] | None = None,
        target: OutputTarget | None = None,
    ) -> RowGradients:
        """Return the gradients of the target of each query, without slopes and curvatures.

        Args:
            checkpoint: Position in `steps`.
            features: The queries, ``[n_query, ...]``, in the form of the training rows.
            labels: Their labels, for the targets that need them.
            target: Which scalar of the outputs; the margin, or the output where values were
                trained.

        Raises:
            TracepropError: The queries or the target do not fit the training.
        """
        module = self.at(checkpoint)
        asked = target if target is not None else self.default_target
        with undisturbed(module):
            plan = self._planned(module, checkpoint)
            table = read_table(module, features, labels, self.loss)
            scalar = asked_scalar(module, table, labels, asked, self.loss)
            return capture(module, plan, table, scalar, None, (self.memory_limit, None))

    @property
    def default_target(self) -> OutputTarget:
        """What a query asks about unless it says otherwise."""
        return "margin" if self.loss == "cross_entropy" else "prediction"

    def capture_plan(self, checkpoint: int = -1) -> CapturePlan:
        """Return how the gradient of each parameter is captured at a checkpoint.

        Raises:
            TracepropError: A row has no gradient of its own; the message says why.
        """
        module = self.at(checkpoint)
        with undisturbed(module):
            return self._planned(module, checkpoint)

    def outputs(
        self, features: NDArray[np.generic] | None = None, checkpoint: int = -1
    ) -> NDArray[np.floating]:
        """Return the outputs of rows at a checkpoint, ``[n, n_outputs]``.

        Args:
            features: ``[n, ...]``; the training rows by default.
            checkpoint: Position in `steps`.

        Raises:
            QueryShapeError: Features or outputs are of another form.
        """
        module = self.at(checkpoint)
        like = next(iter(trained_parameters(module).values()))
        rows = self.features if features is None else checked_features(features)
        with undisturbed(module), torch.no_grad():
            blocks = [
                rows_of_outputs(module(feature_tensor(rows[block], like)))
                for block in blocks_of(len(rows), _OUTPUT_ROWS)
            ]
            return torch.cat(blocks).cpu().numpy()

    def save(self, directory: Path) -> None:
        """Write the training into a new directory: arrays, a table of the index, and JSON.

        Nothing in it is pickled. The module's code is not written; `load` is given it again.

        Raises:
            TrainingNotSavedError: The directory exists, or the index cannot be written.
        """
        write_training(Path(directory), self._saved(), self.outputs(self.features[:_COMPARED_ROWS]))

    @classmethod
    def load(cls, directory: Path, module: nn.Module) -> "TorchTraining":
        """Read a training that was saved, bit for bit.

        Args:
            directory: Where it was saved.
            module: Built the same way as the one that was trained; its parameters do not matter.

        Raises:
            TrainingFilesError: A file is missing or damaged.
            TracepropError: The module is another one, by its parameters or by its outputs.
        """
        saved, outputs = read_training(Path(directory))
        module = private_copy(module)
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(name in saved.trained)
        training = cls(
            module,
            saved.states,
            saved.steps,
            saved.features,
            saved.labels,
            saved.loss,
            saved.name,
            saved.index,
            saved.recipe,
            saved.memory_limit,
        )
        check_outputs(training.name, training.outputs(saved.features[:_COMPARED_ROWS]), outputs)
        return training

    def _table(self, module: nn.Module) -> Table:
        return read_table(module, self.features, self.labels, self.loss)

    def _planned(self, module: nn.Module, checkpoint: int) -> CapturePlan:
        """Return the plan of a checkpoint; it is the same for training rows and all queries."""
        position = checkpoint % len(self.steps)
        if position not in self._plans:
            scalar = trained_scalar(self.loss)
            self._plans[position] = plan_capture(module, self._table(module), scalar)
        return self._plans[position]

    def _saved(self) -> SavedTraining:
        return SavedTraining(
            self.states,
            self.steps,
            self.features,
            self.labels,
            self.loss,
            self.name,
            pd.RangeIndex(self.n_train) if self.index is None else self.index,
            self.recipe,
            self.memory_limit,
            tuple(trained_parameters(self.module)),
        )

    def _check_steps(self) -> None:
        steps = self.steps
        if not steps or len(steps) != len(self.states) or list(steps) != sorted(set(steps)):
            raise RecordedStepsError(
                f"Training {self.name!r} has {len(self.states)} checkpoints of steps {steps}",
                "give at least one, each of its own step, in ascending order",
            )

    def _check_rows(self) -> None:
        require_labels(self.labels)
        n = len(self.features)
        labelled = 0 if self.index is None else len(self.index)
        if labelled != n:
            raise QueryShapeError("index", f"of {n} rows, as the features", f"{labelled}")
        check_rows(self.at(-1), self.features, self.labels, self.loss)


def _read_only(array: NDArray[np.generic]) -> NDArray[np.generic]:
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view
