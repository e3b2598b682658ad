"""A recorded training taken again, step by step, to the same bits."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import jax
import numpy as np

from traceprop_engine.errors import ReplayError
from traceprop_engine.jax_gradients import JaxTraining
from traceprop_engine.jax_gradients.row_wise import bytes_of, leaf_names
from traceprop_engine.jax_gradients.steps import (
    Params,
    Rows,
    Rule,
    Schedule,
    State,
    advance,
    schedule_of,
    start,
)


@dataclass(frozen=True)
class MagicProgress:
    """How far the work on a metagradient is.

    Attributes:
        phase: *replay* or *reverse*.
        done: Steps taken.
        total: Steps in all.
    """

    phase: str
    done: int
    total: int


Report = Callable[[MagicProgress], None]
"""Called with the progress now and then."""


@dataclass(frozen=True, eq=False)
class Replay:
    """A training with the states that a way back needs: those before every ``stride``-th step.

    Attributes:
        training: The recorded training.
        stride: Steps between kept states.
        states: The kept states, ``states[j]`` before step ``j * stride``; empty before `taken`.
    """

    training: JaxTraining
    stride: int
    states: tuple[State, ...] = ()

    @cached_property
    def rows(self) -> Rows:
        """The training rows on the device."""
        return self.training.rows

    @cached_property
    def schedule(self) -> Schedule:
        """What each step takes."""
        training = self.training
        return schedule_of(training.recipe, training.n_train, training.dtype)

    @cached_property
    def rule(self) -> Rule:
        """What a step does."""
        return Rule.of(self.training.recipe)

    @property
    def n_steps(self) -> int:
        """Steps of the training."""
        return len(self.schedule.rows)

    @property
    def first(self) -> State:
        """The state before the first step."""
        return start(self.training.initial, self.rule)

    @property
    def state_bytes(self) -> int:
        """Bytes of one state."""
        return bytes_of(self.first)

    def taken(self, report: Report | None = None) -> Self:
        """Return the replay with its states, once it has arrived where the recorded one did.

        Raises:
            ReplayError: Parameters differ in some bit at a checkpoint or at the end.
        """
        state, kept = self.first, list[State]()
        recorded = dict(zip(self.training.steps, self.training.checkpoints, strict=True))
        for step in range(1, self.n_steps + 1):
            if (step - 1) % self.stride == 0:
                kept.append(state)
            state = self.after(state)
            if step in recorded:
                self._compare(state.params, recorded[step], step)
                _tell(report, "replay", step, self.n_steps)
        self._compare(state.params, self.training.final, self.n_steps)
        _tell(report, "replay", self.n_steps, self.n_steps)
        return replace(self, states=tuple(kept))

    def after(self, state: State) -> State:
        """Return the state after one more step."""
        return advance(state, self.rows, self.schedule, apply=self.training.apply, rule=self.rule)

    def before_each_step(self, segment: int) -> list[State]:
        """Return the states before each step from a kept state to the next one."""
        states = [self.states[segment]]
        n_steps = min(self.stride, self.n_steps - segment * self.stride)
        while len(states) < n_steps:
            states.append(self.after(states[-1]))
        return states

    def _compare(self, params: Params, recorded: Params, step: int) -> None:
        pairs = zip(jax.tree.leaves(params), jax.tree.leaves(recorded), strict=True)
        for name, (ours, theirs) in zip(leaf_names(params), pairs, strict=True):
            if not same_bits(ours, theirs):
                raise ReplayError(self.training.name, step, f"parameter {name}")


def replay(training: JaxTraining, progress: Report | None = None) -> None:
    """Take a recorded training again and return once every parameter is the same to the last bit.

    Args:
        training: The recorded training.
        progress: Called at each checkpoint.

    Raises:
        ReplayError: It arrives elsewhere; the message names the step and the parameter.
    """
    Replay(training, stride=len(training.features) * training.recipe.epochs).taken(progress)


def same_bits(one: Any, other: Any) -> bool:
    """Return whether two arrays have the same type, shape and bits."""
    ours, theirs = np.asarray(one), np.asarray(other)
    same_form = ours.dtype == theirs.dtype and ours.shape == theirs.shape
    return same_form and ours.tobytes() == theirs.tobytes()


def _tell(report: Report | None, phase: str, done: int, total: int) -> None:
    if report is not None:
        report(MagicProgress(phase, done, total))
