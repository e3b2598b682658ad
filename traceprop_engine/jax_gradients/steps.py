"""One optimiser step as a pure function, compiled once: what is recorded, replayed and derived.

Every step of a training, and of each replay of it, runs the same compiled program, whatever number
of steps is taken at once. A loop compiled as a whole may round differently for another length.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from traceprop_engine.gradients import Loss
from traceprop_engine.jax_gradients.scalars import row_loss
from traceprop_engine.training.recipe import ADAM_BETAS, ADAM_EPSILON, Optimiser, TrainingRecipe

Params = Any
"""Parameters of a net: arrays in any nesting that JAX knows (a pytree)."""

Apply = Callable[[Params, Any], Any]
"""A net: parameters and rows ``[n, ...]`` to outputs ``[n]`` or ``[n, n_outputs]``."""


@dataclass(frozen=True)
class Rule:
    """What of a recipe makes a step; the rest of it is in the `Schedule`."""

    loss: Loss
    optimiser: Optimiser
    momentum: float
    weight_decay: float
    batch_size: int

    @classmethod
    def of(cls, recipe: TrainingRecipe) -> "Rule":
        """Return the rule of a recipe."""
        return cls(
            recipe.loss,
            recipe.optimiser,
            recipe.momentum,
            recipe.weight_decay,
            recipe.batch_size,
        )


class Rows(NamedTuple):
    """The training rows: features ``[n, ...]``, labels ``[n]``, weights of their losses ``[n]``."""

    features: Any
    labels: Any
    weights: Any


class Schedule(NamedTuple):
    """Rows of each step, ``[n_steps, batch_size]``, and its three factors, ``[n_steps, 3]``.

    The factors are the learning rate, and for Adam what the running means are divided by.
    """

    rows: Any
    factors: Any


class State(NamedTuple):
    """All that a step starts from: parameters, running means, and the number of steps taken."""

    params: Params
    moments: tuple[Params, ...]
    step: Any


def schedule_of(recipe: TrainingRecipe, n: int, dtype: Any) -> Schedule:
    """Return the schedule of a recipe for ``n`` rows, with factors rounded once to ``dtype``.

    Raises:
        RecipeError: There are fewer rows than one batch takes.
    """
    rows = recipe.batches(n)
    after = np.arange(1, len(rows) + 1)
    corrections = [1 - beta**after for beta in ADAM_BETAS]
    factors = np.stack([recipe.learning_rates(len(rows)), *corrections], axis=1)
    return Schedule(jnp.asarray(rows.astype(np.int32)), jnp.asarray(factors, dtype))


def start(params: Params, rule: Rule) -> State:
    """Return the state before the first step."""
    zeros = zeros_like(params)
    step = jnp.asarray(np.int32(0))
    return State(params, (zeros,) * (1 if rule.optimiser == "sgd" else 2), step)


def zeros_like(params: Params) -> Params:
    """Return zeros in the form of parameters, without compiling anything."""

    def zeros(leaf: jax.Array) -> jax.Array:
        return jnp.asarray(np.zeros(leaf.shape, leaf.dtype))

    return jax.tree.map(zeros, params)


def outputs_of(apply: Apply, params: Params, features: Any) -> jax.Array:
    """Return the outputs of rows ``[n, ...]``, ``[n, n_outputs]``."""
    outputs = apply(params, features)
    return outputs[:, None] if outputs.ndim == 1 else outputs


jitted_outputs = partial(jax.jit, static_argnames="apply")(outputs_of)
"""The same, compiled once for each net and number of rows."""


def row_losses(apply: Apply, loss: Loss, params: Params, features: Any, labels: Any) -> jax.Array:
    """Return the loss of each row, ``[n]``."""
    return jax.vmap(partial(row_loss, loss))(outputs_of(apply, params, features), labels)


def update(
    rule: Rule, params: Params, moments: tuple[Params, ...], gradient: Params, factors: Any
) -> tuple[Params, tuple[Params, ...]]:
    """Return parameters and running means after a step along the gradient of the mean loss."""

    def decayed(g: jax.Array, p: jax.Array) -> jax.Array:
        return g + rule.weight_decay * p

    slopes = jax.tree.map(decayed, gradient, params)
    work = _move_by_sgd if rule.optimiser == "sgd" else _move_by_adam
    return work(rule, params, moments, slopes, factors)


def _move_by_sgd(
    rule: Rule, params: Params, moments: tuple[Params, ...], slopes: Params, factors: Any
) -> tuple[Params, tuple[Params, ...]]:
    def faster(v: jax.Array, g: jax.Array) -> jax.Array:
        return rule.momentum * v + g

    def moved(p: jax.Array, v: jax.Array) -> jax.Array:
        return p - factors[0] * v

    velocity = jax.tree.map(faster, moments[0], slopes)
    return jax.tree.map(moved, params, velocity), (velocity,)


def _move_by_adam(
    _: Rule, params: Params, moments: tuple[Params, ...], slopes: Params, factors: Any
) -> tuple[Params, tuple[Params, ...]]:
    rate, first, second = factors
    low, high = ADAM_BETAS

    def mean(m: jax.Array, g: jax.Array) -> jax.Array:
        return low * m + (1 - low) * g

    def mean_square(s: jax.Array, g: jax.Array) -> jax.Array:
        return high * s + (1 - high) * g * g

    def moved(p: jax.Array, m: jax.Array, s: jax.Array) -> jax.Array:
        return p - rate * (m / first) / (_root(s / second) + ADAM_EPSILON)

    means = jax.tree.map(mean, moments[0], slopes)
    squares = jax.tree.map(mean_square, moments[1], slopes)
    return jax.tree.map(moved, params, means, squares), (means, squares)


def weighted_gradient(
    apply: Apply, rule: Rule, params: Params, batch: Rows
) -> tuple[Params, jax.Array]:
    """Return the gradient of a batch's loss ``sum_i w_i loss_i / batch_size``, and each loss.

    The denominator does not depend on the weights, so that a row of weight 0 is a row left out.
    """

    def losses(params: Params) -> jax.Array:
        return row_losses(apply, rule.loss, params, batch.features, batch.labels)

    each, back = jax.vjp(losses, params)
    return back(batch.weights / rule.batch_size)[0], each


def batch_at(rows: Rows, schedule: Schedule, step: Any) -> Rows:
    """Return the rows of a step."""
    chosen = schedule.rows[step]
    return Rows(rows.features[chosen], rows.labels[chosen], rows.weights[chosen])


@partial(jax.jit, static_argnames=("apply", "rule"))
def advance(state: State, rows: Rows, schedule: Schedule, *, apply: Apply, rule: Rule) -> State:
    """Return the state after one more step."""
    batch = batch_at(rows, schedule, state.step)
    gradient, _ = weighted_gradient(apply, rule, state.params, batch)
    factors = schedule.factors[state.step]
    params, moments = update(rule, state.params, state.moments, gradient, factors)
    return State(params, moments, state.step + 1)


@partial(jax.jit, static_argnames=("apply", "loss"))
def mean_loss(params: Params, rows: Rows, *, apply: Apply, loss: Loss) -> jax.Array:
    """Return the weighted mean loss of all rows."""
    losses = row_losses(apply, loss, params, rows.features, rows.labels)
    return losses @ rows.weights / len(rows.weights)


def flat(params: Params) -> NDArray[np.floating]:
    """Return parameters as one vector, leaf after leaf."""
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)])


def _root(square: jax.Array) -> jax.Array:
    """Return the square root, with slope 0 at 0, where a parameter has never had a gradient."""
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)
