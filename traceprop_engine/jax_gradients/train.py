"""Train a net in JAX and record the training."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traceprop_engine.errors import JaxTrainingError, QueryShapeError
from traceprop_engine.gradients.labels import encode_labels
from traceprop_engine.jax_gradients.features import checked_features
from traceprop_engine.jax_gradients.jax_training import MEMORY_BYTES, JaxTraining
from traceprop_engine.jax_gradients.row_wise import leaf_names
from traceprop_engine.jax_gradients.steps import (
    Apply,
    Params,
    Rows,
    Rule,
    State,
    advance,
    mean_loss,
    outputs_of,
    schedule_of,
    start,
)
from traceprop_engine.training.recipe import TrainingRecipe

_N_REPORTS: Final = 20
_N_PROBED: Final = 4
_MATRIX: Final = 2


@dataclass(frozen=True)
class JaxProgress:
    """How far a training is.

    Attributes:
        step: Steps taken.
        n_steps: Steps in all.
        loss: Weighted mean loss of all training rows now.
    """

    step: int
    n_steps: int
    loss: float


def train_jax(  # noqa: PLR0913 - what is trained, how, and what it is called
    apply: Apply,
    params: Params,
    X: Any,  # noqa: N803 - the name of a feature matrix everywhere
    y: Any,
    recipe: TrainingRecipe,
    *,
    name: str,
    index: pd.Index | None = None,
    progress: Callable[[JaxProgress], None] | None = None,
    weights: Any = None,
    memory_bytes: int = MEMORY_BYTES,
) -> JaxTraining:
    """Train a net by a recipe, deterministically: the same call gives the same bits.

    A step minimises ``sum_i weights_i loss_i / batch_size`` over its batch, so that a row of
    weight 0 is a row left out.

    Args:
        apply: The net: ``apply(params, x)`` are the outputs ``[n]`` or ``[n, n_outputs]`` of rows
            ``[n, ...]``, each row by itself; an `Mlp` has its gradients factored.
        params: Parameters to start from, all float32 or all float64.
        X: Training rows, ``[n, ...]``; numbers are taken in the type of the parameters, whole
            numbers as they are.
        y: Labels ``[n]``: classes from 0 for cross-entropy (0 and 1 for a net with one output),
            values for squared loss.
        recipe: How to train.
        name: What to call the training.
        index: Index of the training table; that of ``X`` where it is a frame.
        progress: Called about twenty times.
        weights: Factor of each row's loss, at least 0, ``[n]``; 1 where nothing is said.
        memory_bytes: Bound of the working memory of per-sample gradients later.

    Raises:
        JaxTrainingError: The net, its parameters or weights cannot be worked with, or the training
            diverged.
        QueryShapeError: Rows or labels do not fit each other, or are not finite numbers.
        UnknownClassError: A label is no class of the net.
        RecipeError: There are fewer rows than one batch takes.
    """
    if index is None and isinstance(X, pd.DataFrame):
        index = X.index
    params, dtype = _parameters(params)
    features = checked_features("X", X, dtype)
    n_outputs = _check_net(apply, params, features, recipe)
    labels = encode_labels(y, recipe.loss, n_outputs, len(features))
    if index is not None and len(index) != len(features):
        raise QueryShapeError("index", f"one for each of {len(features)} rows", str(len(index)))
    training = JaxTraining(
        name,
        apply,
        recipe,
        initial=params,
        checkpoints=(),
        steps=recipe.checkpoint_steps(recipe.n_steps(len(features))),
        features=features,
        labels=labels,
        weights=_weights(weights, len(features), dtype),
        index=index,
        memory_bytes=memory_bytes,
    )
    return _trained(training, progress)


def final_parameters(training: JaxTraining, weights: NDArray[np.floating]) -> Params:
    """Return the parameters that the same training ends at with other weights of its rows."""
    rows = training.rows._replace(weights=jnp.asarray(weights, training.dtype))
    schedule = schedule_of(training.recipe, training.n_train, training.dtype)
    rule = Rule.of(training.recipe)
    state = start(training.initial, rule)
    for _ in range(len(schedule.rows)):
        state = advance(state, rows, schedule, apply=training.apply, rule=rule)
    return state.params


def _trained(training: JaxTraining, progress: Callable[[JaxProgress], None] | None) -> JaxTraining:
    rows, rule = training.rows, Rule.of(training.recipe)
    schedule = schedule_of(training.recipe, training.n_train, training.dtype)
    n_steps = len(schedule.rows)
    every = max(1, n_steps // _N_REPORTS)
    state = start(training.initial, rule)
    checkpoints: list[Params] = []
    for step in range(1, n_steps + 1):
        state = advance(state, rows, schedule, apply=training.apply, rule=rule)
        if step in training.steps:
            checkpoints.append(state.params)
        if progress is not None and (step % every == 0 or step == n_steps):
            progress(JaxProgress(step, n_steps, _loss(training, state, rows)))
    _check_finite(training, state)
    return replace(training, checkpoints=tuple(checkpoints))


def _loss(training: JaxTraining, state: State, rows: Rows) -> float:
    return float(mean_loss(state.params, rows, apply=training.apply, loss=training.loss))


def _check_finite(training: JaxTraining, state: State) -> None:
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params)):
        culprit = f"Training {training.name!r}"
        raise JaxTrainingError(culprit, "ended at no finite numbers", "lower learning_rate")


def _parameters(params: Params) -> tuple[Params, np.dtype]:
    names = leaf_names(params)
    if not names:
        raise JaxTrainingError("The net", "has no parameters", "pass an array or a nest of arrays")
    taken = jax.tree.map(jnp.asarray, params)
    types = [leaf.dtype for leaf in jax.tree.leaves(taken)]
    for name, dtype in zip(names, types, strict=True):
        if dtype != types[0] or dtype not in (np.float32, np.float64):
            reason = f"is {dtype}, and {names[0]} is {types[0]}"
            raise JaxTrainingError(f"Parameter {name}", reason, "make all float32 or all float64")
    return taken, types[0]


def _weights(given: Any, n: int, dtype: np.dtype) -> NDArray[np.floating]:
    weights = np.ones(n, dtype) if given is None else np.asarray(given, dtype)
    if weights.shape != (n,):
        raise QueryShapeError("weights", f"one for each of {n} rows", str(list(weights.shape)))
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise QueryShapeError("weights", "finite and at least 0", "another number")
    return weights


def _check_net(
    apply: Apply, params: Params, features: NDArray[np.generic], recipe: TrainingRecipe
) -> int:
    """Return the number of outputs once the net is known to work row by row."""
    shape = _shape_of_outputs(apply, params, features)
    if len(shape) not in (1, _MATRIX) or shape[0] != len(features):
        raise JaxTrainingError(
            "The net",
            f"gives outputs {list(shape)} for rows {list(features.shape)}",
            "let it return [n] or [n, n_outputs]; one for a single row goes as "
            "jax.vmap(apply, in_axes=(None, 0))",
        )
    n_outputs = 1 if len(shape) == 1 else shape[1]
    if recipe.loss == "squared" and n_outputs != 1:
        way_out = "train one net for each, or use cross_entropy"
        raise JaxTrainingError("Squared loss", f"of {n_outputs} outputs is no one scalar", way_out)
    _check_rows_apart(apply, params, features[:_N_PROBED])
    return n_outputs


def _shape_of_outputs(
    apply: Apply, params: Params, features: NDArray[np.generic]
) -> tuple[int, ...]:
    """Return the shape of the outputs of all rows, without any work."""
    try:
        return jax.eval_shape(apply, params, features).shape
    except (TypeError, ValueError) as problem:  # what JAX raises of shapes that do not fit
        reason = f"cannot read rows {list(features.shape)} ({str(problem).partition(chr(10))[0]})"
        way_out = "give rows and parameters of the widths that it was built for"
        raise JaxTrainingError("The net", reason, way_out) from problem


def _check_rows_apart(apply: Apply, params: Params, features: NDArray[np.generic]) -> None:
    both = _together_and_alone(params, features, apply=apply)
    together: NDArray[np.floating] = np.asarray(both[0])
    alone: NDArray[np.floating] = np.asarray(both[1])
    bound = np.sqrt(np.finfo(together.dtype).eps) * (1 + np.abs(together).max())
    if not np.abs(together - alone).max() <= bound:
        raise JaxTrainingError(
            "The net",
            "gives a row other outputs among other rows, so a row has no gradient of its own",
            "use statistics that do not depend on the batch",
        )


@partial(jax.jit, static_argnames="apply")
def _together_and_alone(
    params: Params, features: NDArray[np.generic], *, apply: Apply
) -> tuple[jax.Array, jax.Array]:
    """Return the outputs of rows as one batch, and each row by itself."""

    def alone(row: jax.Array) -> jax.Array:
        return outputs_of(apply, params, row[None])[0]

    return outputs_of(apply, params, features), jax.lax.map(alone, features)
