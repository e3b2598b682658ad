"""Recorded trainings small enough to check by hand: a net of two layers, and drawn gradients."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logsumexp, softmax

from traceprop_engine.gradients import LayerGradients, RowGradients
from traceprop_engine.training.recipe import TrainingRecipe


@dataclass(frozen=True)
class TinyNet:
    """A tanh net of two layers with hand-written gradients, float64.

    ``parameters`` holds for each checkpoint the matrices ``[d_in + 1, width]`` and
    ``[width + 1, n_outputs]``, biases last.
    """

    features: np.ndarray
    labels: np.ndarray
    parameters: tuple
    steps: tuple
    loss: str = "cross_entropy"
    recipe: TrainingRecipe | None = None
    name: str = "tiny"

    @property
    def n_train(self):
        return len(self.features)

    @property
    def n_parameters(self):
        return sum(matrix.size for matrix in self.parameters[0])

    @property
    def n_outputs(self):
        return self.parameters[0][1].shape[1]

    def outputs(self, checkpoint, features):
        first, second = self.parameters[checkpoint]
        hidden = np.tanh(features @ first[:-1] + first[-1])
        return hidden, hidden @ second[:-1] + second[-1]

    def value(self, checkpoint, features, labels, target):
        """Return the target of each row and its derivative in the outputs."""
        outputs = self.outputs(checkpoint, features)[1]
        return scalar(outputs, labels, target, self.loss)

    def query_gradients(self, checkpoint, features, labels, target):
        values, slopes = self.value(checkpoint, features, labels, target)
        empty = np.empty(0)
        return RowGradients(self._layers(checkpoint, features, slopes), values, empty, empty)

    def train_gradients(self, checkpoint):
        target = "margin" if self.loss == "cross_entropy" else "prediction"
        rows = self.query_gradients(checkpoint, self.features, self.labels, target)
        if self.loss == "squared":
            ones = np.ones(self.n_train)
            return RowGradients(rows.layers, rows.values, rows.values - self.labels, ones)
        wrong = expit(-rows.values)
        return RowGradients(rows.layers, rows.values, -wrong, wrong * (1 - wrong))

    def _layers(self, checkpoint, features, slopes):
        hidden, _ = self.outputs(checkpoint, features)
        deltas = (slopes @ self.parameters[checkpoint][1][:-1].T) * (1 - hidden**2)
        return (
            LayerGradients("first", with_one(features), deltas),
            LayerGradients("second", with_one(hidden), slopes),
        )


def scalar(outputs, labels, target, loss):
    """Return a target of outputs, and its derivative in them."""
    if callable(target):
        return target(outputs)
    if loss == "squared":
        off = outputs[:, 0] - (0 if labels is None else labels)
        return (off**2 / 2, off[:, None]) if target == "loss" else (outputs[:, 0], outputs * 0 + 1)
    return (_of_one if outputs.shape[1] == 1 else _of_classes)(outputs, labels, target)


def _of_one(outputs, labels, target):
    sign = np.ones(len(outputs)) if target == "logit" else np.where(labels == 1, 1.0, -1.0)
    margin = sign * outputs[:, 0]
    if target == "loss":
        return np.logaddexp(0, -margin), (-sign * expit(-margin))[:, None]
    return margin, sign[:, None]


def _of_classes(outputs, labels, target):
    right = np.eye(outputs.shape[1])[labels]
    if target == "margin":
        others = np.where(right > 0, -np.inf, outputs)
        return outputs[right > 0] - logsumexp(others, axis=1), right - softmax(others, axis=1)
    if target == "loss":
        return logsumexp(outputs, axis=1) - outputs[right > 0], softmax(outputs, axis=1) - right
    return outputs[right > 0], right


def with_one(features):
    """Return features with a constant 1 last."""
    return np.hstack([features, np.ones((len(features), 1))])


def tiny_net(n_train=24, n_outputs=3, loss="cross_entropy", seed=0, width=4, n_checkpoints=2):
    """Return a net at random parameters: what holds of a curvature holds there too."""
    random = np.random.default_rng(seed)
    shapes = (4, width), (width + 1, n_outputs)
    parameters = tuple(
        tuple(random.normal(size=shape) for shape in shapes) for _ in range(n_checkpoints)
    )
    labels = random.normal(size=n_train)
    if loss == "cross_entropy":
        labels = random.integers(0, max(n_outputs, 2), n_train)
    steps = tuple(range(10, 10 * n_checkpoints + 1, 10))
    return TinyNet(random.normal(size=(n_train, 3)), labels, parameters, steps, loss)


def tiny_queries(net, n_query=5, seed=1):
    """Return features and labels of queries of a tiny net."""
    random = np.random.default_rng(seed)
    n_outputs = net.parameters[0][1].shape[1]
    labels = random.normal(size=n_query)
    if net.loss == "cross_entropy":
        labels = random.integers(0, max(n_outputs, 2), n_query)
    return random.normal(size=(n_query, 3)), labels


@dataclass(frozen=True)
class DrawnTraining:
    """A training whose gradients are given: any layers, any zeros. Queries are row numbers."""

    train: tuple
    queries: tuple
    loss: str = "cross_entropy"
    name: str = "drawn"
    n_outputs: int = 2

    @property
    def n_train(self):
        return self.train[0].n_rows

    @property
    def n_parameters(self):
        return self.train[0].n_parameters

    @property
    def steps(self):
        return tuple(range(1, len(self.train) + 1))

    def train_gradients(self, checkpoint):
        return self.train[checkpoint]

    def query_gradients(self, checkpoint, features, labels, target):
        return self.queries[checkpoint].take(features)


def drawn_training(n_train=20, n_query=4, seed=0, n_checkpoints=2, dtype=np.float64):
    """Return a training with a plain layer, one with positions and one without factors."""
    random = np.random.default_rng(seed)

    def rows(n):
        def draw(*shape):
            return random.normal(size=shape).astype(dtype)

        layers = (
            LayerGradients("plain", draw(n, 3), draw(n, 2)),
            LayerGradients("positions", draw(n, 3, 2), draw(n, 3, 4)),
            LayerGradients("flat", None, draw(n, 5)),
        )
        shares = random.uniform(0.05, 0.95, n).astype(dtype)
        return RowGradients(layers, draw(n), shares - 1, shares * (1 - shares))

    return DrawnTraining(
        tuple(rows(n_train) for _ in range(n_checkpoints)),
        tuple(rows(n_query) for _ in range(n_checkpoints)),
    )


def dense_rows(gradients):
    """Return the gradient of every row, written out with loops, ``[n, n_parameters]``."""
    dense = []
    for row in range(len(gradients.values)):
        parts = []
        for layer in gradients.layers:
            if layer.inputs is None:
                parts.append(layer.deltas[row])
                continue
            inputs = np.atleast_2d(layer.inputs[row])
            deltas = np.atleast_2d(layer.deltas[row])
            parts.append(sum(np.outer(a, d) for a, d in zip(inputs, deltas, strict=True)).ravel())
        dense.append(np.concatenate(parts))
    return np.array(dense)
