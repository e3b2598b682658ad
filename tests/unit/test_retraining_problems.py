"""Which nets share results that are kept, and which rows, labels and trainings are refused."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

from traceprop_engine.errors import RetrainingError, RetrainingFileError
from traceprop_engine.retraining import RetrainedTargets
from traceprop_engine.retraining.kept import KeptOutputs
from traceprop_engine.retraining.nets import NetProblem
from traceprop_engine.retraining.vmapped_jax import VmappedJax
from traceprop_engine.retraining.vmapped_torch import VmappedTorch
from traceprop_engine.training.recipe import TrainingRecipe

RECIPE = TrainingRecipe(learning_rate=0.1, batch_size=5, epochs=2)
RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(20, 3)).astype(np.float32)
LABELS = (ROWS[:, 0] > 0).astype(int)
EVERY = np.ones((1, 20), dtype=bool)


def _problem(features=ROWS, labels=LABELS, query_labels=LABELS[:2], recipe=RECIPE):
    return NetProblem(features, labels, ROWS[:2], query_labels, recipe)


def _start(seed, n_outputs=2):
    drawn = np.random.default_rng(seed).normal(size=(3, n_outputs))
    return jnp.asarray(drawn, jnp.float32)


def _jax(middle=0.0, start=_start, problem=None, directory=None):
    centre = np.full(3, middle, np.float32)
    return VmappedJax(
        lambda weights, rows: (rows - centre) @ weights,
        start,
        problem or _problem(),
        directory=directory,
    )


class _Bent(nn.Module):
    """A net whose activation is in no layer."""

    def __init__(self, bend=torch.tanh, n_outputs=2):
        super().__init__()
        self.inner, self.outer = nn.Linear(3, 4), nn.Linear(4, n_outputs)
        self._bend = bend

    def forward(self, rows):
        return self.outer(self._bend(self.inner(rows)))


def test_a_jax_net_of_another_constant_or_start_shares_nothing_that_is_kept(tmp_path):
    kept = _jax(directory=tmp_path).retrain(EVERY, seeds=np.array([1]))
    again = _jax(directory=tmp_path).retrain(EVERY, seeds=np.array([1]))
    assert again.cpu_seconds == 0
    moved = _jax(middle=5.0, directory=tmp_path).retrain(EVERY, seeds=np.array([1]))
    assert np.abs(moved.outputs - kept.outputs).max() > 0.1
    same_start = _jax(start=lambda _seed: _start(0), directory=tmp_path)
    alike = same_start.retrain(EVERY, seeds=np.array([1]))
    assert np.abs(alike.outputs - kept.outputs).max() > 0.01


def test_a_torch_net_of_another_forward_or_start_shares_nothing_that_is_kept():
    identities = {
        VmappedTorch(build, _problem()).identity()
        for build in (_Bent, lambda: _Bent(torch.relu), lambda: _Bent(n_outputs=3), _started_alike)
    }
    assert len(identities) == 4
    assert VmappedTorch(_Bent, _problem()).identity() in identities


def _started_alike():
    torch.manual_seed(0)
    return _Bent()


@pytest.mark.parametrize("kind", ["jax", "torch"])
def test_rows_changed_in_place_change_nothing(kind):
    features = ROWS.copy()
    problem = _problem(features)
    retrainer = _jax(problem=problem) if kind == "jax" else VmappedTorch(_Bent, problem)
    identity = retrainer.identity()
    before = retrainer.retrain(EVERY, seeds=np.array([1])).outputs
    features *= -1
    assert retrainer.identity() == identity
    np.testing.assert_array_equal(retrainer.retrain(EVERY, seeds=np.array([1])).outputs, before)
    other = _problem(features)
    changed = _jax(problem=other) if kind == "jax" else VmappedTorch(_Bent, other)
    assert changed.identity() != identity


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (2 * LABELS - 1, "the label -1.*not the position of a class"),
        (LABELS + 0.5, r"the label [01]\.5"),
        (np.where(LABELS, "yes", "no"), "labels of <U3.*not a finite number"),
        (np.where(LABELS, np.nan, 0.0), "not a finite number"),
        (LABELS[:5], "each row needs one label"),
    ],
)
def test_labels_that_are_no_classes_are_refused(labels, message):
    with pytest.raises(RetrainingError, match=message):
        _problem(labels=labels)


def test_a_label_beyond_the_outputs_of_the_net_is_refused_before_any_training():
    beyond = _problem(query_labels=np.array([0, 3]))
    for build in (lambda: _jax(problem=beyond), lambda: VmappedTorch(_Bent, beyond)):
        with pytest.raises(RetrainingError, match=r"A net of 2 classes.*the label 3"):
            build()
    squared = _problem(recipe=TrainingRecipe(loss="squared", learning_rate=0.1, batch_size=5))
    with pytest.raises(RetrainingError, match="A net of 2 outputs"):
        VmappedTorch(_Bent, squared)


def test_a_training_that_diverges_is_refused_and_not_kept(tmp_path):
    recipe = TrainingRecipe(loss="squared", learning_rate=1e8, batch_size=5, epochs=20)
    problem = _problem(recipe=recipe)
    retrainer = VmappedTorch(lambda: nn.Linear(3, 1), problem, directory=tmp_path)
    with pytest.raises(RetrainingError, match=r"20 rows with seed 7.*diverged.*learning rate"):
        retrainer.retrain(EVERY, seeds=np.array([7]))
    assert not list(tmp_path.glob("*/*.npz"))
    lost = np.full((1, 2, 1), np.nan)
    with pytest.raises(RetrainingError, match="diverged"):
        RetrainedTargets(EVERY, np.array([3]), lost, np.ones(2), "squared", "prediction", 0.0)


def test_a_file_that_is_damaged_anywhere_is_named_or_reads_the_same(tmp_path):
    outputs = np.random.default_rng(0).normal(size=(2, 5, 3))
    KeptOutputs.open(tmp_path, "nets").add(["first", "second"], outputs)
    (path,) = tmp_path.glob("nets/*.npz")
    whole = path.read_bytes()
    refused = 0
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            held = KeptOutputs.open(tmp_path, "nets").outputs
        except RetrainingFileError:
            refused += 1
        else:
            np.testing.assert_array_equal(held["second"], outputs[1])
    assert refused > len(whole) / 4
