"""How a net is trained, written down so that every framework takes the same steps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.errors import RecipeError

NetLoss = Literal["cross_entropy", "squared"]
"""Mean cross-entropy of the outputs as logits, or half the mean squared error of the output."""

Optimiser = Literal["sgd", "adam"]
"""Stochastic gradient descent with heavy-ball momentum, or Adam (Kingma & Ba 2015, Algorithm 1)."""

Schedule = Literal["constant", "cosine"]
"""The learning rate after the warm-up: as it is, or half a cosine down to nothing."""

ADAM_BETAS = (0.9, 0.999)
"""Decay of Adam's two running means."""

ADAM_EPSILON = 1e-8
"""What Adam adds to the root of its second running mean."""

DEFAULT_CHECKPOINTS = (0.05, 0.1, 0.2, 0.4, 1.0)
"""Shares of the steps after which the parameters are kept."""


@dataclass(frozen=True)
class TrainingRecipe:
    """A deterministic training of a net by mini-batches.

    Each step takes the mean loss of its batch; `weight_decay` times the parameters is added to its
    gradient (an L2 penalty, for Adam too: not the decoupled decay of AdamW). SGD with momentum
    keeps ``velocity = momentum * velocity + gradient`` and moves by
    ``-learning_rate * velocity``.

    Attributes:
        loss: What is minimised.
        optimiser: How a gradient becomes a step.
        learning_rate: Largest length factor of a step, above 0.
        momentum: Share of the velocity that stays, in [0, 1); 0 for Adam.
        weight_decay: Strength of the L2 penalty, at least 0.
        batch_size: Rows in each step.
        epochs: Passes over the rows.
        schedule: How the learning rate falls.
        warm_up: Share of the steps over which the learning rate first rises linearly, in [0, 1).
        seed: Decides the order of the rows; at least 0.
        checkpoint_fractions: Shares of the steps after which parameters are kept, ascending in
            (0, 1]; the last parameters are kept in any case.

    Raises:
        RecipeError: A setting is out of its range; the message names it.
    """

    loss: NetLoss = "cross_entropy"
    optimiser: Optimiser = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch_size: int = 64
    epochs: int = 10
    schedule: Schedule = "constant"
    warm_up: float = 0.0
    seed: int = 0
    checkpoint_fractions: tuple[float, ...] = DEFAULT_CHECKPOINTS

    def __post_init__(self) -> None:
        object.__setattr__(self, "checkpoint_fractions", tuple(self.checkpoint_fractions))
        self._check_names()
        self._check_rates()
        self._check_counts()
        self._check_fractions()

    def n_steps(self, n: int) -> int:
        """Return how many steps the recipe takes on ``n`` rows.

        Raises:
            RecipeError: There are fewer rows than one batch takes.
        """
        if n < self.batch_size:
            raise RecipeError("batch_size", self.batch_size, f"at most the {n} training rows")
        return self.epochs * (n // self.batch_size)

    def batches(self, n: int) -> NDArray[np.int64]:
        """Return the rows of each step, ``[n_steps, batch_size]``, equal on every machine.

        Each epoch takes the rows in the order of fresh 64-bit keys, read raw from a seeded PCG64
        (whose stream NumPy guarantees; that of its permutations it does not). The rows left over
        for a last, partial batch sit that epoch out.

        Args:
            n: Training rows.

        Raises:
            RecipeError: There are fewer rows than one batch takes.
        """
        rows = np.empty((self.n_steps(n), self.batch_size), dtype=np.int64)
        stream = np.random.PCG64(self.seed)
        for epoch in rows.reshape(self.epochs, -1):
            order = np.argsort(stream.random_raw(n), kind="stable")
            epoch[:] = order[: len(epoch)]
        return rows

    def learning_rates(self, n_steps: int) -> NDArray[np.float64]:
        """Return the learning rate of each step, ``[n_steps]``."""
        step = np.arange(n_steps)
        rising = math.floor(self.warm_up * n_steps)
        share = (step - rising) / max(n_steps - rising, 1)
        falling = (1 + np.cos(np.pi * share)) / 2 if self.schedule == "cosine" else 1.0
        rise = (step + 1) / max(rising, 1)
        return self.learning_rate * np.where(step < rising, rise, falling)

    def checkpoint_steps(self, n_steps: int) -> tuple[int, ...]:
        """Return after which steps parameters are kept, ascending; the first step is step 1.

        The last step is always one of them. Of a short training two fractions may mean the same
        step, which is kept once.
        """
        return steps_at(self.checkpoint_fractions, n_steps)

    def _check_names(self) -> None:
        names = {
            "loss": ("cross_entropy", "squared"),
            "optimiser": ("sgd", "adam"),
            "schedule": ("constant", "cosine"),
        }
        for field, known in names.items():
            value = getattr(self, field)
            if value not in known:
                raise RecipeError(field, value, f"one of {', '.join(known)}")

    def _check_rates(self) -> None:
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise RecipeError("learning_rate", self.learning_rate, "finite and above 0")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise RecipeError("weight_decay", self.weight_decay, "finite and at least 0")
        for field in ("momentum", "warm_up"):
            if not 0 <= getattr(self, field) < 1:
                raise RecipeError(field, getattr(self, field), "at least 0 and below 1")
        if self.optimiser == "adam" and self.momentum:
            raise RecipeError("momentum", self.momentum, "0 for Adam, which has its own")

    def _check_counts(self) -> None:
        for field, least in (("batch_size", 1), ("epochs", 1), ("seed", 0)):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise RecipeError(field, value, f"a whole number of at least {least}")

    def _check_fractions(self) -> None:
        shares = self.checkpoint_fractions
        ascending = all(low < high for low, high in pairwise(shares))
        if not shares or not ascending or not (shares[0] > 0 and shares[-1] <= 1):
            raise RecipeError("checkpoint_fractions", shares, "ascending shares in (0, 1]")


def steps_at(fractions: Sequence[float], n_steps: int) -> tuple[int, ...]:
    """Return the steps nearest to shares of all steps, and the last: ascending, none before 1."""
    nearest = (math.floor(share * n_steps + 0.5) for share in fractions)
    return tuple(sorted({max(step, 1) for step in nearest} | {n_steps}))
