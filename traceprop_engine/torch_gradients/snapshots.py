"""Which states of a running training are kept, when its length is known and when it is not."""

from collections.abc import Sequence
from math import ceil

from torch import nn

from traceprop_engine.torch_gradients.modules import State, state_of
from traceprop_engine.training.recipe import steps_at

GROWTH = 1.25
"""Ratio of the steps that are kept while the length is unknown: a share is met within 12 %."""


class Snapshots:
    """The states that are kept of a training, as copies in main memory.

    With the number of steps known, those at the wanted shares of it are kept. Without, states are
    kept at steps that grow by a quarter each time, only as far back as the smallest share still
    reaches (for the default shares some fifteen), and the nearest are chosen at the end.

    Args:
        fractions: Shares of the steps, ascending in (0, 1]; the last state is kept in any case.
        n_steps: How many steps there will be, if that is known.
    """

    def __init__(self, fractions: Sequence[float], n_steps: int | None) -> None:
        self._fractions = fractions
        self._planned = None if n_steps is None else steps_at(fractions, n_steps)
        self._kept: dict[int, State] = {}
        self._next = 1

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps that are kept by now."""
        return tuple(sorted(self._kept))

    def see(self, step: int, module: nn.Module) -> None:
        """Keep the state after a step, if it is one of those to keep."""
        if self._planned is not None:
            if step in self._planned:
                self._kept[step] = state_of(module)
        elif step >= self._next:
            self._kept[step] = state_of(module)
            self._next = max(step + 1, ceil(step * GROWTH))
            oldest = self._fractions[0] * step / GROWTH
            self._kept = {one: state for one, state in self._kept.items() if one >= oldest}

    def keep(self, step: int, state: State) -> None:
        """Keep a state that was kept before, when a training goes on."""
        self._kept[step] = state

    def end(self, step: int, module: nn.Module) -> None:
        """Keep the state after the last step, and of the others those nearest to the shares."""
        self._kept[step] = state_of(module)
        if self._planned is None:
            wanted = steps_at(self._fractions, step)
            nearest = {min(self._kept, key=lambda one: _distance(one, at)) for at in wanted}
            self._kept = {one: self._kept[one] for one in nearest}

    def states(self) -> tuple[State, ...]:
        """Return what is kept, earliest first."""
        return tuple(self._kept[step] for step in self.steps)


def _distance(first: int, second: int) -> float:
    """Return by what factor two steps differ."""
    return max(first, second) / min(first, second)
