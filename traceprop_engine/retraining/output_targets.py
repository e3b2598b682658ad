"""A query's target from the outputs of a model: the same numbers that scores are estimated for."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from traceprop_engine.attribution.targets import Target
from traceprop_engine.errors import RetrainingError
from traceprop_engine.training.recipe import NetLoss


def target_values(
    outputs: NDArray[np.floating], labels: NDArray[np.float64], loss: NetLoss, target: Target
) -> NDArray[np.float64]:
    """Return the target of each query in each model, ``[m, n_query]``.

    *margin*: log-odds of the query's class against all others. *loss*: ``log(1 + exp(-margin))``
    in nats, or half the squared error. *logit*: the output of the query's class, or the one output.
    *prediction*: the one output of a regression.

    Args:
        outputs: ``[m, n_query, n_outputs]``; one output of a classifier is the log-odds of class 1.
        labels: ``[n_query]``, a value or the position of the class.
        loss: What the models minimise.
        target: Which number.

    Raises:
        RetrainingError: There is no such target for this loss.
    """
    exact = np.asarray(outputs, dtype=np.float64)
    possible = ("margin", "loss", "logit") if loss == "cross_entropy" else ("prediction", "loss")
    if target not in possible:
        raise RetrainingError(
            f"Target {target!r}", f"a model of {loss} loss has none", f"ask for one of {possible}"
        )
    if loss == "squared":
        return exact[..., 0] if target == "prediction" else (exact[..., 0] - labels) ** 2 / 2
    if target == "logit":
        return _of_class(exact, labels)
    margin = _margins(exact, labels)
    return margin if target == "margin" else np.logaddexp(0.0, -margin)


def predicted_classes(outputs: NDArray[np.floating], loss: NetLoss) -> NDArray[np.int64]:
    """Return the position of the class with the largest output, ``[m, n_query]``.

    Raises:
        RetrainingError: The models predict values, not classes.
    """
    if loss == "squared":
        raise RetrainingError(
            "Classes", "a model of squared loss predicts values", "ask for targets instead"
        )
    if outputs.shape[-1] == 1:
        return (outputs[..., 0] > 0).astype(np.int64)
    return outputs.argmax(axis=-1)


def _of_class(outputs: NDArray[np.float64], labels: NDArray[np.float64]) -> NDArray[np.float64]:
    if outputs.shape[-1] == 1:
        return outputs[..., 0]
    return outputs[:, np.arange(len(labels)), labels.astype(np.intp)]


def _margins(outputs: NDArray[np.float64], labels: NDArray[np.float64]) -> NDArray[np.float64]:
    if outputs.shape[-1] == 1:
        return (2 * labels - 1) * outputs[..., 0]
    right = np.arange(outputs.shape[-1]) == labels[:, None]
    others = logsumexp(np.where(right, -np.inf, outputs), axis=-1)
    return _of_class(outputs, labels) - others
