"""Scalars of one row's outputs: what a loss is a function of, and what a query asks for."""

from typing import Any, Final, get_args

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from traceprop_engine.errors import InfluenceTargetError, QueryShapeError
from traceprop_engine.gradients import Loss, NamedTarget, OutputTarget
from traceprop_engine.gradients.labels import encode_labels

_NEED_LABELS: Final = {"cross_entropy": ("margin", "loss", "logit"), "squared": ("loss",)}


def margin(outputs: jax.Array, label: jax.Array) -> jax.Array:
    """Return the log-odds of one row's class against all others.

    Args:
        outputs: ``[n_outputs]``; a single output is the logit of class 1 of 0 and 1.
        label: Its class.
    """
    if outputs.shape[0] == 1:
        return jnp.where(label == 1, outputs[0], -outputs[0])
    right = jnp.arange(outputs.shape[0]) == label
    others = jax.nn.logsumexp(jnp.where(right, -jnp.inf, outputs))
    return jnp.where(right, outputs, 0).sum() - others


def row_loss(loss: Loss, outputs: jax.Array, label: jax.Array) -> jax.Array:
    """Return the loss of one row: cross-entropy in nats, or half the squared error."""
    if loss == "cross_entropy":
        return jax.nn.softplus(-margin(outputs, label))
    return (outputs[0] - label) ** 2 / 2


def row_scalar(loss: Loss, outputs: jax.Array, label: jax.Array) -> jax.Array:
    """Return what the loss of one row is a function of: the margin, or the output."""
    return margin(outputs, label) if loss == "cross_entropy" else outputs[0]


def query_scalar(
    loss: Loss, target: OutputTarget, outputs: jax.Array, label: jax.Array
) -> jax.Array:
    """Return the target of one query, from its outputs ``[n_outputs]`` and its label.

    Raises:
        QueryShapeError: A function of the outputs returns another thing than one number.
    """
    if callable(target):
        return _single(target(outputs))
    if target == "margin":
        return margin(outputs, label)
    if target == "loss":
        return row_loss(loss, outputs, label)
    if target == "logit" and outputs.shape[0] > 1:
        return outputs[label]
    return outputs[0]


def _single(value: Any) -> jax.Array:
    if jnp.size(value) != 1:
        raise QueryShapeError("What the target returns", "one number", str(list(jnp.shape(value))))
    return jnp.reshape(value, ())


def slopes_of(
    loss: Loss, values: NDArray[np.floating], labels: NDArray[np.generic]
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return first and second derivative of each row's loss in its scalar, ``[n]`` both."""
    if loss == "cross_entropy":
        wrong = expit(-values)
        return -wrong, wrong * expit(values)
    return values - labels.astype(values.dtype), np.ones_like(values)


def own_target(loss: Loss) -> NamedTarget:
    """Return the target of a loss where none is named."""
    return "margin" if loss == "cross_entropy" else "prediction"


def encode_query_labels(
    labels: Any, loss: Loss, target: OutputTarget, n_outputs: int, n: int
) -> NDArray[np.generic]:
    """Return labels of queries as the target reads them; zeros where it needs none.

    Raises:
        InfluenceTargetError: A net of this loss has no such target, or it needs labels.
        QueryShapeError: There is not one label for each query.
        UnknownClassError: A label is no class of the net.
    """
    if not callable(target):
        _check_target(loss, target)
        one_logit = target == "logit" and n_outputs == 1
        if target in _NEED_LABELS[loss] and not one_logit:
            if labels is None:
                reason = "depends on the label of the query"
                raise InfluenceTargetError(target, reason, "pass labels, one for each query")
            return encode_labels(labels, loss, n_outputs, n)
    return np.zeros(n, dtype=np.int32)


def _check_target(loss: Loss, target: str) -> None:
    possible = ("margin", "loss", "logit") if loss == "cross_entropy" else ("prediction", "loss")
    if target in possible:
        return
    known = target in get_args(NamedTarget)
    reason = f"does not exist for a net of {loss} loss" if known else "is not known"
    ways = ", ".join(possible)
    raise InfluenceTargetError(target, reason, f"ask for {ways}, or a function of the outputs")
