"""How a reverse pass through a training stays within a memory bound."""

from dataclasses import dataclass
from typing import Final

from traceprop_engine.errors import MetagradientMemoryError

MOST_AT_ONCE: Final = 128
"""Most queries in one reverse pass: with more, what they share of a step no longer matters."""


@dataclass(frozen=True)
class MemoryPlan:
    """Which states of a replayed training are kept, and how many queries go back at once.

    Attributes:
        n_steps: Steps of the training.
        stride: Every so many states one is kept; the others are computed again from it.
        state_bytes: Bytes of one state: parameters and running means.
        query_bytes: Bytes of one query on its way back: its slopes, and its scores.
        memory_bytes: The bound: half of it for states, the rest for queries.

    What a step itself needs comes on top, as in training.
    """

    n_steps: int
    stride: int
    state_bytes: int
    query_bytes: int
    memory_bytes: int

    @property
    def states_held(self) -> int:
        """States held at once: the kept ones, and those of one stride."""
        return _states_held(self.n_steps, self.stride)

    @property
    def queries_at_once(self) -> int:
        """Queries that go back through the training together."""
        left = self.memory_bytes - self.states_held * self.state_bytes
        return int(min(MOST_AT_ONCE, max(1, left // self.query_bytes)))

    def __str__(self) -> str:
        held = self.states_held * self.state_bytes / 1e6
        again = "" if self.stride == 1 else ", the others are computed again"
        return (
            f"one state in {self.stride} of {self.n_steps} is kept ({held:,.1f} MB){again}; "
            f"{self.queries_at_once} queries at once, {self.query_bytes / 1e6:,.2f} MB each"
        )


def plan_memory(n_steps: int, state_bytes: int, query_bytes: int, memory_bytes: int) -> MemoryPlan:
    """Return the plan with the fewest steps taken again whose states fit half the memory.

    Raises:
        MetagradientMemoryError: Not even the smallest plan fits: about ``2 sqrt(n_steps)`` states,
            and one query.
    """
    for stride in range(1, n_steps + 1):
        if 2 * _states_held(n_steps, stride) * state_bytes <= memory_bytes:
            break
    else:
        stride = min(range(1, n_steps + 1), key=lambda each: _states_held(n_steps, each))
    plan = MemoryPlan(n_steps, stride, state_bytes, query_bytes, memory_bytes)
    history = plan.states_held * state_bytes
    least = max(2 * history, history + query_bytes)
    if least > memory_bytes:
        raise MetagradientMemoryError(memory_bytes, least)
    return plan


def _states_held(n_steps: int, stride: int) -> int:
    return -(-n_steps // stride) + (stride - 1)
