"""The way back through a training: from slopes in the final parameters to slopes in the weights."""

from functools import partial
from typing import Any, Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from traceprop_engine.jax_gradients import JaxTraining
from traceprop_engine.jax_gradients.steps import (
    Apply,
    Params,
    Rows,
    Rule,
    Schedule,
    State,
    batch_at,
    update,
    weighted_gradient,
    zeros_like,
)
from traceprop_engine.metagradients.plan import MemoryPlan, plan_memory
from traceprop_engine.metagradients.replay import MagicProgress, Replay, Report

_REPORTS: Final = 20


class Slopes(NamedTuple):
    """Derivatives of each functional in a state: every leaf ``[n, ...]``."""

    params: Params
    moments: tuple[Params, ...]


@partial(jax.jit, static_argnames=("apply", "rule"), donate_argnames=("slopes",))
def pull_back(
    before: State, slopes: Slopes, rows: Rows, schedule: Schedule, *, apply: Apply, rule: Rule
) -> tuple[Slopes, jax.Array]:
    """Return the slopes before a step, and those in the weights of its rows.

    The step is ``update(params, moments, g)`` with the gradient ``g`` of the batch's loss. Its
    Hessian is symmetric, so that the derivative of ``g`` in a direction ``u`` is both what goes
    back to the parameters, and with it comes ``d loss_i / du``, which is what goes to row ``i``.

    Args:
        before: The state before the step.
        slopes: Derivatives in the state after it, of ``n`` functionals.
        rows: The training rows.
        schedule: What each step takes.
        apply: The net.
        rule: What a step does.

    Returns:
        Slopes of the same form, and ``[n, batch_size]``.
    """
    batch, factors = batch_at(rows, schedule, before.step), schedule.factors[before.step]

    def gradient(params: Params) -> tuple[Params, jax.Array]:
        return weighted_gradient(apply, rule, params, batch)

    def step(params: Params, moments: tuple[Params, ...], slope: Params) -> Any:
        return update(rule, params, moments, slope, factors)

    (mean, _), along = jax.linearize(gradient, before.params)
    _, back = jax.vjp(step, before.params, before.moments, mean)

    def one(slope: Slopes) -> tuple[Slopes, jax.Array]:
        params, moments, direction = back((slope.params, slope.moments))
        turned, losses = along(direction)
        return Slopes(jax.tree.map(jnp.add, params, turned), moments), losses / rule.batch_size

    return jax.lax.map(one, slopes)  # together they would need transposes, which cost more


def slopes_in_weights(
    replay: Replay, final: Params, report: Report | None = None, *, done: int = 0, total: int = 0
) -> NDArray[np.float64]:
    """Return the derivative of each functional in the weight of each training row.

    Args:
        replay: The training, with its states.
        final: Derivatives in the final parameters, every leaf ``[n_functionals, ...]``.
        report: Called now and then.
        done: Steps already reported of `total`.
        total: Steps to report in all; those of this pass where nothing is said.

    Returns:
        ``[n_functionals, n_train]``.
    """
    n_functionals = len(jax.tree.leaves(final)[0])
    summed = np.zeros((n_functionals, replay.training.n_train))
    batches = np.asarray(replay.schedule.rows)
    slopes = _start(replay, final)
    every = max(1, replay.n_steps // _REPORTS)
    for segment in reversed(range(len(replay.states))):
        states = replay.before_each_step(segment)
        while states:
            at = segment * replay.stride + len(states) - 1
            slopes, each = pull_back(
                states.pop(),
                slopes,
                replay.rows,
                replay.schedule,
                apply=replay.training.apply,
                rule=replay.rule,
            )
            summed[:, batches[at]] += np.asarray(each)
            if report is not None and at % every == 0:
                report(
                    MagicProgress("reverse", done + replay.n_steps - at, total or replay.n_steps)
                )
    return summed


def plan_of(training: JaxTraining, memory_bytes: int) -> MemoryPlan:
    """Return the plan of the way back through a training.

    A query needs its slopes before and after a step, and its scores.

    Raises:
        MetagradientMemoryError: Not even the smallest plan fits the memory.
    """
    bare = Replay(training, 1)
    query_bytes = 2 * bare.state_bytes + 8 * training.n_train
    return plan_memory(bare.n_steps, bare.state_bytes, query_bytes, memory_bytes)


def _start(replay: Replay, final: Params) -> Slopes:
    n_moments = len(replay.first.moments)
    return Slopes(
        jax.tree.map(jnp.asarray, final),
        tuple(zeros_like(final) for _ in range(n_moments)),
    )
