"""Stacked retraining against one net at a time, trained by PyTorch's own optimisers."""

from dataclasses import replace

import jax
import numpy as np
import pytest
import torch
from torch import nn

from traceprop_engine.errors import RetrainingError
from traceprop_engine.jax_gradients.mlp import Mlp
from traceprop_engine.retraining.nets import NetProblem
from traceprop_engine.retraining.vmapped_jax import VmappedJax
from traceprop_engine.retraining.vmapped_torch import VmappedTorch
from traceprop_engine.training.recipe import TrainingRecipe

pytestmark = pytest.mark.oracle

SGD = TrainingRecipe(
    learning_rate=0.1,
    momentum=0.9,
    weight_decay=1e-2,
    batch_size=8,
    epochs=3,
    schedule="cosine",
    warm_up=0.2,
)
ADAM = TrainingRecipe(optimiser="adam", learning_rate=1e-2, batch_size=8, epochs=3)
N_TRAIN, N_QUERY = 40, 6


def _problem(recipe, *, n_outputs=3, policy="subset", shape=(5,), target=None):
    random = np.random.default_rng(0)
    features = random.normal(size=(N_TRAIN + N_QUERY, *shape)).astype(np.float32)
    if recipe.loss == "squared":
        labels = random.normal(size=len(features)).astype(np.float32)
    else:
        labels = random.integers(max(2, n_outputs), size=len(features))
    train, query = features[:N_TRAIN], features[N_TRAIN:]
    return NetProblem(train, labels[:N_TRAIN], query, labels[N_TRAIN:], recipe, target, policy)


def _masks(n_models, n_rows=24):
    random = np.random.default_rng(1)
    masks = np.zeros((n_models, N_TRAIN), dtype=bool)
    for mask in masks:
        mask[random.permutation(N_TRAIN)[:n_rows]] = True
    return masks


def _build(n_outputs):
    return lambda: nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, n_outputs))


def _one_by_one(net, problem, mask, seed):
    """Train one net as users do: a loop, `torch.optim`, a mean loss; return its query outputs."""
    recipe = problem.recipe
    settings = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay}
    if recipe.optimiser == "sgd":
        optimiser = torch.optim.SGD(net.parameters(), momentum=recipe.momentum, **settings)
    else:
        optimiser = torch.optim.Adam(net.parameters(), **settings)
    rows = np.flatnonzero(mask) if problem.policy == "subset" else np.arange(N_TRAIN)
    batches = rows[replace(recipe, seed=int(seed)).batches(len(rows))]
    rates = recipe.learning_rates(len(batches))
    features = torch.tensor(problem.features)
    labels = torch.tensor(problem.labels)
    net.train()
    for batch, rate in zip(batches, rates, strict=True):
        outputs, wanted = net(features[batch]), labels[batch]
        if recipe.loss == "squared":
            losses = (outputs[:, 0] - wanted) ** 2 / 2
        elif outputs.shape[1] == 1:
            losses = nn.functional.binary_cross_entropy_with_logits(
                outputs[:, 0], wanted.float(), reduction="none"
            )
        else:
            losses = nn.functional.cross_entropy(outputs, wanted, reduction="none")
        loss = (losses * torch.from_numpy(mask[batch])).sum() / len(batch)
        optimiser.zero_grad()
        loss.backward()
        for group in optimiser.param_groups:
            group["lr"] = float(rate)
        optimiser.step()
    net.eval()
    with torch.no_grad():
        return net(torch.tensor(problem.query_features)).numpy()


@pytest.mark.parametrize(
    ("recipe", "n_outputs", "policy"),
    [
        (SGD, 3, "subset"),
        (SGD, 3, "zero_weight"),
        (ADAM, 1, "subset"),
        (replace(SGD, loss="squared", learning_rate=0.02), 1, "subset"),
    ],
)
def test_stacked_torch_nets_end_where_each_alone_would(recipe, n_outputs, policy):
    problem = _problem(recipe, n_outputs=n_outputs, policy=policy)
    retrainer = VmappedTorch(_build(n_outputs), problem)
    masks, seeds = _masks(4), np.array([3, 3, 5, 9])
    stacked = retrainer.retrain(masks, seeds=seeds)
    for model, (mask, seed) in enumerate(zip(masks, seeds, strict=True)):
        alone = _one_by_one(retrainer.start(int(seed)), problem, mask, seed)
        np.testing.assert_allclose(stacked.outputs[model], alone, atol=1e-5)


@pytest.mark.parametrize(
    ("recipe", "n_outputs", "policy"),
    [(SGD, 3, "zero_weight"), (ADAM, 1, "subset")],
)
def test_stacked_jax_nets_end_where_torch_takes_each_alone(recipe, n_outputs, policy):
    problem = _problem(recipe, n_outputs=n_outputs, policy=policy)
    mlp = Mlp((5, 7, n_outputs), "tanh")
    masks, seeds = _masks(4), np.array([3, 3, 5, 9])
    stacked = VmappedJax(mlp, mlp.init, problem).retrain(masks, seeds=seeds)
    for model, (mask, seed) in enumerate(zip(masks, seeds, strict=True)):
        net = _build(n_outputs)()
        _copy(mlp.init(int(seed)), net)
        alone = _one_by_one(net, problem, mask, seed)
        np.testing.assert_allclose(stacked.outputs[model], alone, atol=1e-5)


def _copy(layers, net):
    linears = [layer for layer in net if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        for linear, (weights, bias) in zip(linears, jax.tree.map(np.array, layers), strict=True):
            linear.weight.copy_(torch.from_numpy(weights.T.copy()))
            linear.bias.copy_(torch.from_numpy(bias))


def test_batch_normalisation_keeps_the_statistics_of_each_model():
    def build():
        return nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(),
            nn.Linear(48, 2),
        )  # fmt: skip

    problem = _problem(replace(SGD, epochs=2), n_outputs=2, shape=(1, 4, 4))
    retrainer = VmappedTorch(build, problem)
    masks, seeds = _masks(3), np.array([1, 2, 3])
    stacked = retrainer.retrain(masks, seeds=seeds)
    for model, (mask, seed) in enumerate(zip(masks, seeds, strict=True)):
        alone = _one_by_one(retrainer.start(int(seed)), problem, mask, seed)
        np.testing.assert_allclose(stacked.outputs[model], alone, atol=1e-5)


def test_a_model_does_not_depend_on_the_group_it_is_trained_in():
    problem = _problem(SGD)
    mlp = Mlp((5, 7, 3), "tanh")
    masks, seeds = _masks(5), np.arange(5)
    for roomy, tight in (
        (VmappedTorch(_build(3), problem), VmappedTorch(_build(3), problem, memory=1)),
        (VmappedJax(mlp, mlp.init, problem), VmappedJax(mlp, mlp.init, problem, memory=1)),
    ):
        assert roomy.group_size(24) > 5 > tight.group_size(24) == 1
        together = roomy.retrain(masks, seeds=seeds).outputs
        np.testing.assert_allclose(tight.retrain(masks, seeds=seeds).outputs, together, atol=1e-5)


def test_under_zero_weight_models_of_one_seed_differ_only_by_their_rows():
    problem = _problem(SGD, policy="zero_weight")
    retrainer = VmappedTorch(_build(3), problem)
    every = np.ones((2, N_TRAIN), dtype=bool)
    first, second = retrainer.retrain(every, seeds=np.array([4, 4])).outputs
    np.testing.assert_array_equal(first, second)
    fewer = every.copy()
    fewer[1, 0] = False
    full, without = retrainer.retrain(fewer, seeds=np.array([4, 4])).outputs
    assert 0 < np.abs(full - without).max() < 0.5


def test_nets_whose_retraining_would_not_be_what_it_says_are_refused():
    with pytest.raises(RetrainingError, match="dropout draws numbers"):
        VmappedTorch(lambda: nn.Sequential(nn.Linear(5, 3), nn.Dropout(0.1)), _problem(SGD))
    with pytest.raises(RetrainingError, match="batch normalisation"):
        VmappedTorch(
            lambda: nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3)),
            _problem(SGD, policy="zero_weight"),
        )
    with pytest.raises(RetrainingError, match="'prediction' cannot"):
        _problem(SGD, target="prediction")
