"""The nets of the attribution benchmarks: architecture, recipe, data, and retraining plan."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

from torch import nn

from benchmarks.net_data import Table, digits, fashion_pair, mnist_4_against_9, mnist_5k
from traceprop_engine.retraining.nets import NetProblem
from traceprop_engine.retraining.vmapped_torch import VmappedTorch
from traceprop_engine.training.recipe import TrainingRecipe


@dataclass(frozen=True)
class Setting:
    """One net on one table, and the models that its attributions are judged on."""

    name: str
    build: Callable[[], nn.Module]
    load: Callable[[Path | None], Table]
    recipe: TrainingRecipe
    n_subsets: int
    seeds_per_subset: int
    keep: float

    def retrainer(self, table: Table, directory: Path) -> VmappedTorch:
        """Return the retrainer whose results are kept in a directory."""
        problem = NetProblem(
            table.features, table.labels, table.query_features, table.query_labels, self.recipe
        )
        return VmappedTorch(self.build, problem, name=self.name, directory=directory)


def mlp(*sizes: int) -> nn.Module:
    """Return a multilayer perceptron with ReLU between its layers."""
    layers: list[nn.Module] = []
    for d_in, d_out in pairwise(sizes):
        layers += [nn.Linear(d_in, d_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def cnn(*, normed: bool) -> nn.Module:
    """Return three convolutions and a linear layer for 28 x 28 pictures of two classes."""
    layers: list[nn.Module] = []
    for d_in, d_out in ((1, 8), (8, 16), (16, 16)):
        layers.append(nn.Conv2d(d_in, d_out, 3, padding=1, bias=not normed))
        layers += [nn.BatchNorm2d(d_out)] if normed else []
        layers += [nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(144, 2))


def _sgd(rate: float, decay: float, batch: int, epochs: int, warm_up: float) -> TrainingRecipe:
    return TrainingRecipe(
        learning_rate=rate,
        momentum=0.9,
        weight_decay=decay,
        batch_size=batch,
        epochs=epochs,
        schedule="cosine",
        warm_up=warm_up,
    )


_ADAM = TrainingRecipe(optimiser="adam", learning_rate=1e-3, batch_size=128, epochs=20)
_OF_CNN = _sgd(0.03, 1e-3, 50, 15, 0.1)

SETTINGS = {
    setting.name: setting
    for setting in (
        Setting(
            "digits",
            partial(mlp, 64, 64, 10),
            lambda _folder: digits(),
            _sgd(0.1, 5e-4, 60, 30, 0.05),
            200,
            5,
            0.5,
        ),
        Setting(
            "mnist-5k",
            partial(mlp, 784, 128, 64, 10),
            lambda _folder: mnist_5k(),
            _sgd(0.05, 1e-4, 50, 15, 0.05),
            100,
            4,
            0.5,
        ),
        Setting("mnist-4v9", partial(mlp, 784, 256, 1), mnist_4_against_9, _ADAM, 100, 2, 0.7),
        Setting(
            "cnn", partial(cnn, normed=False), lambda _folder: fashion_pair(), _OF_CNN, 80, 2, 0.5
        ),
        Setting(
            "cnn-bn", partial(cnn, normed=True), lambda _folder: fashion_pair(), _OF_CNN, 80, 2, 0.5
        ),
    )
}
