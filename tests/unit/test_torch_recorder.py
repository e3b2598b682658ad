"""Trainings of PyTorch modules: recorded, repeated, carried on, saved, and read back."""

import copy
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional

from traceprop_engine.errors import (
    ModuleOutputsError,
    ModuleShapeError,
    ModuleStateError,
    QueryShapeError,
    RecipeError,
    RecordedStepsError,
    TrainingFilesError,
    TrainingNotSavedError,
    UndefinedRowGradientError,
    UnknownClassError,
    UntrainableModuleError,
)
from traceprop_engine.gradients import RecordedTraining, RowGradients
from traceprop_engine.torch_gradients import (
    TorchTraining,
    TrainingCallback,
    row_gradients,
    train_torch,
    training_context,
)
from traceprop_engine.training import TrainingRecipe

N = 40
RECIPE = TrainingRecipe(batch_size=8, epochs=6, learning_rate=0.05, momentum=0.9, seed=4)


def net(seed=0, activation=nn.Tanh, width=6):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(4, width),
            nn.BatchNorm1d(width),
            activation(),
            nn.Dropout(0.3),
            nn.Linear(width, 3),
        ).double()


def rows():
    generator = np.random.default_rng(0)
    return generator.normal(size=(N, 4)), generator.integers(0, 3, N)


def trained(**options):
    x, y = rows()
    return train_torch(net(), x, y, RECIPE, name="a", **options)


def assert_same_states(found, wanted):
    assert found.steps == wanted.steps
    for ours, theirs in zip(found.states, wanted.states, strict=True):
        assert list(ours) == list(theirs)
        for name in ours:
            assert ours[name].dtype == theirs[name].dtype
            np.testing.assert_array_equal(ours[name], theirs[name])


def loop(model, optimizer, n_steps, *, after=lambda: None):
    """A loop as a user writes it."""
    x, y = (torch.tensor(one) for one in rows())
    for step in range(n_steps):
        batch = torch.arange(step * 8, step * 8 + 8) % N
        optimizer.zero_grad()
        functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
        after()


def by_hand(model, recipe, loss, n):
    """The recipe once more, in formulas instead of an optimiser of PyTorch."""
    x, y = rows()
    x, y = torch.tensor(x[:n]), torch.tensor(y[:n])
    rates = recipe.learning_rates(recipe.n_steps(n))
    parameters = list(model.parameters())
    first = [torch.zeros_like(p) for p in parameters]
    second = [torch.zeros_like(p) for p in parameters]
    for step, (batch, rate) in enumerate(zip(recipe.batches(n), rates, strict=True), start=1):
        gradients = torch.autograd.grad(loss(model(x[batch]), y[batch]), parameters)
        with torch.no_grad():
            for at, (p, g) in enumerate(zip(parameters, gradients, strict=True)):
                decayed = g + recipe.weight_decay * p
                if recipe.optimiser == "sgd":
                    first[at] = recipe.momentum * first[at] + decayed
                    p.sub_(rate * first[at])
                    continue
                first[at] = 0.9 * first[at] + 0.1 * decayed
                second[at] = 0.999 * second[at] + 0.001 * decayed**2
                mean, spread = first[at] / (1 - 0.9**step), second[at] / (1 - 0.999**step)
                p.sub_(rate * mean / (spread.sqrt() + 1e-8))
    return model


LOSSES = {
    "classes": (3, "cross_entropy", lambda z, y: -torch.log_softmax(z, 1)[range(8), y].mean()),
    "two classes": (
        1,
        "cross_entropy",
        lambda z, y: torch.log1p(torch.exp(-torch.where(y > 0, z[:, 0], -z[:, 0]))).mean(),
    ),
    "values": (1, "squared", lambda z, y: ((z[:, 0] - y) ** 2).mean() / 2),
}


@pytest.mark.parametrize("case", LOSSES)
@pytest.mark.parametrize(
    "options",
    [
        {"momentum": 0.9, "schedule": "cosine", "warm_up": 0.2},
        {"optimiser": "adam", "learning_rate": 0.01},
    ],
)
def test_a_training_takes_the_steps_of_its_recipe(case, options):
    n_outputs, loss, formula = LOSSES[case]
    recipe = TrainingRecipe(
        **{"learning_rate": 0.1, "batch_size": 8, "epochs": 4, "weight_decay": 0.01} | options,
        loss=loss,
    )
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, n_outputs)).double()
    wanted = by_hand(copy.deepcopy(model), recipe, formula, 37) if n_outputs > 1 else None
    x, y = rows()
    if n_outputs == 1:
        y = y % 2
        wanted = by_hand_binary(copy.deepcopy(model), recipe, formula, 37)
    training = train_torch(model, x[:37], y[:37], recipe, name="a")
    assert training.steps == (1, 2, 3, 6, 16)
    for name, parameter in wanted.named_parameters():
        np.testing.assert_allclose(training.states[-1][name], parameter.detach(), rtol=1e-9)


def by_hand_binary(model, recipe, formula, n):
    return by_hand(model, recipe, lambda z, y: formula(z, y % 2), n)


def test_the_parameters_at_the_end_are_kept_whatever_the_shares():
    model, (x, y) = net(), rows()
    training = train_torch(model, x, y, replace(RECIPE, checkpoint_fractions=(0.5,)), name="a")
    assert training.steps == (15, 30)
    wanted = model.eval()(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(training.outputs(x), wanted, rtol=1e-12)


def test_the_same_recipe_gives_the_same_bits_and_another_seed_gives_others():
    x, y = rows()
    assert_same_states(trained(), trained())
    other = train_torch(net(), x, y, TrainingRecipe(batch_size=8, epochs=6, seed=5), name="a")
    assert (other.states[0]["0.weight"] != trained().states[0]["0.weight"]).any()


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("stop", [1, 7, 30])
def test_an_interrupted_training_goes_on_to_the_same_bits(tmp_path, optimiser, stop):
    x, y = rows()
    recipe = TrainingRecipe(batch_size=8, epochs=6, learning_rate=0.05, optimiser=optimiser)

    def interrupt(step, n_steps, loss):
        assert n_steps == 30
        assert loss > 0
        if step == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_torch(net(), x, y, recipe, name="a", directory=tmp_path, progress=interrupt)
    seen = []
    resumed = train_torch(
        net(seed=9),
        x,
        y,
        recipe,
        name="a",
        directory=tmp_path,
        progress=lambda *at: seen.append(at),
    )
    saved = stop // 2 * 2  # 30 steps are saved every second step, the beginning too
    assert [step for step, *_ in seen] == list(range(saved + 1, 31))
    assert_same_states(resumed, train_torch(net(), x, y, recipe, name="a"))


def test_a_directory_of_another_training_is_refused(tmp_path):
    x, y = rows()
    trained(directory=tmp_path)
    for other in ({"epochs": 7}, {"seed": 5}):
        recipe = TrainingRecipe(**{"batch_size": 8} | other)
        with pytest.raises(TrainingFilesError, match="another recipe"):
            train_torch(net(), x, y, recipe, name="a", directory=tmp_path)
    with pytest.raises(TrainingFilesError, match="another recipe"):
        train_torch(net(), x + 1, y, RECIPE, name="a", directory=tmp_path)
    frozen = net()
    frozen[0].bias.requires_grad_(requires_grad=False)
    for module in (net(activation=nn.ReLU), frozen):
        with pytest.raises(TrainingFilesError, match="another module"):
            train_torch(module, x, y, RECIPE, name="a", directory=tmp_path)
    (tmp_path / "running.npz").write_bytes(b"PK")
    with pytest.raises(TrainingFilesError, match="damaged"):
        trained(directory=tmp_path)


def test_training_leaves_modes_gradients_and_random_state_alone():
    x, y = rows()
    model = net().eval()
    model[3].train()
    state = torch.get_rng_state()
    train_torch(model, x, y, RECIPE, name="a")
    assert [layer.training for layer in model] == [False, False, False, True, False]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "around",
    [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", dtype=torch.bfloat16)],
)
def test_what_holds_around_a_training_changes_no_bit(around):
    x, y = rows()
    wanted = train_torch(net().float(), x, y, RECIPE, name="a")
    model = net().float()
    with around():
        found = train_torch(model, x, y, RECIPE, name="a")
    assert_same_states(found, wanted)


def test_a_training_that_diverges_is_stopped():
    x, y = rows()
    recipe = TrainingRecipe(loss="squared", learning_rate=1e6, batch_size=8, epochs=50)
    with pytest.raises(RecordedStepsError, match="lower the learning rate"):
        train_torch(nn.Linear(4, 1), x, y, recipe, name="a")


def test_a_training_is_a_recorded_training():
    training: RecordedTraining = trained()
    x, y = rows()
    assert (training.name, training.n_train, training.loss) == ("a", N, "cross_entropy")
    assert training.n_parameters == 4 * 6 + 6 + 12 + 6 * 3 + 3
    assert training.steps == (2, 3, 6, 12, 30)
    for checkpoint in range(5):
        module = net(seed=7)
        module.load_state_dict(
            {name: torch.tensor(one) for name, one in training.states[checkpoint].items()}
        )
        wanted = row_gradients(module, x, y)
        found = training.train_gradients(checkpoint)
        assert isinstance(found, RowGradients)
        np.testing.assert_array_equal(found.dense(), wanted.dense())
        np.testing.assert_array_equal(found.slopes, wanted.slopes)
        some = training.train_gradients(checkpoint, rows=slice(7, 19))
        np.testing.assert_allclose(some.dense(), wanted.dense()[7:19], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(some.slopes, wanted.slopes[7:19])
        asked = training.query_gradients(checkpoint, x[:3], y[:3], "margin")
        np.testing.assert_allclose(asked.dense(), wanted.dense()[:3], rtol=1e-12, atol=1e-14)
        outputs = module.eval()(torch.tensor(x)).detach()
        np.testing.assert_array_equal(training.outputs(checkpoint=checkpoint), outputs)


def test_a_query_asks_about_the_margin_or_the_output_by_default():
    x, y = rows()
    training = trained()
    np.testing.assert_array_equal(
        training.query_gradients(0, x, y).values, training.train_gradients(0).values
    )
    recipe = TrainingRecipe(loss="squared", batch_size=8, epochs=2, learning_rate=0.01)
    values = train_torch(nn.Linear(4, 1).double(), x, y, recipe, name="v")
    np.testing.assert_allclose(values.query_gradients(-1, x).dense(), np.c_[x, np.ones(N)])


def test_the_training_does_not_change_with_the_module():
    x, y = rows()
    model = net()
    training = train_torch(model, x, y, RECIPE, name="a")
    before = training.train_gradients(-1).dense()
    with torch.no_grad():
        model[0].weight.zero_()
    model.requires_grad_(requires_grad=False)
    np.testing.assert_array_equal(training.train_gradients(-1).dense(), before)
    with pytest.raises(ValueError, match="read-only"):
        training.features[0, 0] = 1.0


def test_a_training_is_saved_and_loaded_bit_for_bit(tmp_path):
    x, y = rows()
    index = pd.MultiIndex.from_arrays(
        [np.arange(N), [f"row {n}" for n in range(N)]], names=["n", None]
    )
    model = net()
    model[4].bias.requires_grad_(requires_grad=False)
    training = train_torch(model, x.astype(np.float32), y, RECIPE, name="ä", index=index)
    training.save(tmp_path / "deep" / "saved")
    loaded = TorchTraining.load(tmp_path / "deep" / "saved", net(seed=1))
    assert_same_states(loaded, training)
    for field in ("features", "labels"):
        np.testing.assert_array_equal(getattr(loaded, field), getattr(training, field))
        assert getattr(loaded, field).dtype == getattr(training, field).dtype
    assert loaded.index.identical(index)
    assert (loaded.name, loaded.loss, loaded.recipe) == ("ä", "cross_entropy", RECIPE)
    assert loaded.n_parameters == training.n_parameters == model[0].weight.numel() + 6 + 12 + 18
    for checkpoint in range(5):
        ours, theirs = (one.train_gradients(checkpoint) for one in (loaded, training))
        np.testing.assert_array_equal(ours.dense(), theirs.dense())


def test_what_was_saved_is_refused_once_it_is_damaged(tmp_path):
    trained().save(tmp_path / "saved")
    files = sorted(path.name for path in (tmp_path / "saved").iterdir())
    assert files == [
        *[f"checkpoint-{at}.npz" for at in range(5)],
        "index.parquet",
        "rows.npz",
        "training.json",
    ]
    for file in files[:-1]:
        path = tmp_path / "saved" / file
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(TrainingFilesError, match=file):
            TorchTraining.load(tmp_path / "saved", net())
        path.write_bytes(whole)
    described = tmp_path / "saved" / "training.json"
    described.write_text(json.dumps(json.loads(described.read_text()) | {"format": "jax 1"}))
    with pytest.raises(TrainingFilesError, match="format 'jax 1'"):
        TorchTraining.load(tmp_path / "saved", net())
    described.write_text("{")
    with pytest.raises(TrainingFilesError, match="no JSON"):
        TorchTraining.load(tmp_path / "saved", net())
    with pytest.raises(TrainingFilesError, match=r"no training\.json"):
        TorchTraining.load(tmp_path / "elsewhere", net())


def test_a_directory_that_exists_is_not_overwritten(tmp_path):
    with pytest.raises(TrainingNotSavedError, match="exists already"):
        trained().save(tmp_path)


def test_an_index_without_a_form_in_parquet_is_refused_and_leaves_nothing(tmp_path):
    mixed = trained(index=pd.Index([1, "two"] * (N // 2), dtype=object))
    with pytest.raises(TrainingNotSavedError, match="index"):
        mixed.save(tmp_path / "saved")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("other", "wrong"),
    [
        (lambda: net(width=7), ModuleShapeError),
        (lambda: net().float(), ModuleShapeError),
        (lambda: net(activation=nn.ReLU), ModuleOutputsError),
        (lambda: nn.Linear(4, 3).double(), ModuleStateError),
    ],
)
def test_another_module_than_the_trained_one_is_refused(tmp_path, other, wrong):
    trained().save(tmp_path / "saved")
    with pytest.raises(wrong, match="built the same way"):
        TorchTraining.load(tmp_path / "saved", other())


@pytest.mark.parametrize("counts_itself", [True, False])
def test_a_loop_with_one_added_line_is_recorded_at_its_shares(counts_itself):
    x, y = rows()
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    seen = []
    given = optimizer if counts_itself else None
    run = training_context(model, x, y, optimizer=given, total_steps=40, name="mine")
    with run:
        loop(
            model,
            optimizer,
            40,
            after=lambda: (
                seen.append(copy.deepcopy(model.state_dict())),
                counts_itself or run.step(),
            ),
        )
    training = run.training()
    assert training.steps == (2, 4, 8, 16, 40)
    assert training.name == "mine"
    for step, state in zip(training.steps, training.states, strict=True):
        for name, tensor in seen[step - 1].items():
            np.testing.assert_array_equal(state[name], tensor)
    assert not optimizer._optimizer_step_post_hooks


def test_recording_changes_no_number_in_the_loop():
    x, y = rows()
    models = [net(), net()]
    with torch.random.fork_rng(devices=[]):
        for model, recorded in zip(models, (False, True), strict=True):
            optimizer = torch.optim.Adam(model.parameters())
            torch.manual_seed(0)
            model.train()
            if not recorded:
                loop(model, optimizer, 12)
                continue
            with training_context(model, x, y, optimizer=optimizer):
                loop(model, optimizer, 12)
    plain, watched = (model.state_dict() for model in models)
    assert all(torch.equal(plain[name], watched[name]) for name in plain)
    assert models[1].training


@pytest.mark.parametrize("n_steps", [1, 2, 9, 100, 997])
def test_without_the_number_of_steps_checkpoints_lie_near_their_shares(n_steps):
    x, y = rows()
    model = nn.Linear(4, 3).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    run = training_context(model, x, y, optimizer=optimizer)
    most = 0
    with run:
        for _ in range(n_steps):
            optimizer.step()
            most = max(most, len(run._snapshots.steps))
    steps = run.training().steps
    assert most <= 17
    assert steps[-1] == n_steps
    for wanted in RECIPE.checkpoint_steps(n_steps):
        assert min(max(step, wanted) / min(step, wanted) for step in steps) < 1.125


def test_a_loop_that_ends_early_still_keeps_its_last_parameters():
    x, y = rows()
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with training_context(model, x, y, optimizer=optimizer, total_steps=40) as run:
        loop(model, optimizer, 11)
    assert run.training().steps == (2, 4, 8, 11)
    last = run.training().states[-1]["0.weight"]
    np.testing.assert_array_equal(last, model[0].weight.detach())


def test_an_interrupted_loop_keeps_what_it_had_and_leaves_no_hook():
    x, y = rows()
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    run = training_context(model, x, y, optimizer=optimizer, total_steps=40)
    stops = iter([None] * 4)
    with pytest.raises(StopIteration), run:
        loop(model, optimizer, 9, after=lambda: next(stops))
    assert run.training().steps == (2, 4)
    assert not optimizer._optimizer_step_post_hooks


def test_tensors_are_taken_as_they_are_and_the_index_is_kept():
    x, y = (torch.tensor(one) for one in rows())
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    index = pd.Index([f"r{n}" for n in range(N)])
    with training_context(model, x, y, optimizer=optimizer, index=index) as run:
        loop(model, optimizer, 3)
    training = run.training()
    assert training.index is index
    np.testing.assert_array_equal(training.features, x)
    assert (trained().index == np.arange(N)).all()


def test_steps_that_are_counted_twice_or_never_are_refused():
    x, y = rows()
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    run = training_context(model, x, y)
    with pytest.raises(RecordedStepsError, match="inside the context"):
        run.step()
    with pytest.raises(RecordedStepsError, match="No step of the training was seen"), run:
        loop(model, optimizer, 2)
    with pytest.raises(RecordedStepsError, match="no recorded training yet"):
        run.training()
    with training_context(model, x, y, optimizer=optimizer) as counted:
        loop(model, optimizer, 1)
        with pytest.raises(RecordedStepsError, match="no recorded training yet"):
            counted.training()
        with pytest.raises(RecordedStepsError, match="leave out `step"):
            counted.step()
    with pytest.raises(RecordedStepsError, match="`total_steps` is 0"):
        training_context(model, x, y, total_steps=0)
    with pytest.raises(RecipeError, match="checkpoint_fractions"):
        training_context(model, x, y, checkpoint_fractions=(0.5, 0.1))


def test_what_could_not_be_attributed_is_refused_before_the_loop():
    x, y = rows()
    mixing = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, track_running_stats=False)).double()
    with pytest.raises(UndefinedRowGradientError, match="'1'"), training_context(mixing, x, y):
        pytest.fail("the loop ran")
    with pytest.raises(UnknownClassError, match="3"), training_context(net(), x, y + 1):
        pytest.fail("the loop ran")


class Trainer:
    """A trainer that calls its callbacks with what it has, as those of large libraries do."""

    def __init__(self, callback, n_steps):
        self.callback, self.n_steps = callback, n_steps

    def train(self, model, optimizer):
        state = SimpleNamespace(max_steps=self.n_steps, global_step=0)
        self.callback.on_train_begin(object(), state, "control", model=model)
        loop(
            model,
            optimizer,
            self.n_steps,
            after=lambda: self.callback.on_step_end(object(), state, "control", model=model),
        )
        self.callback.on_train_end(object(), state, "control", model=model)


def test_a_trainer_that_calls_back_is_recorded_at_its_shares():
    x, y = rows()
    model = net()
    recorder = training_context(model, x, y)
    trainer = Trainer(TrainingCallback(recorder), 20)
    trainer.train(model, torch.optim.SGD(model.parameters(), lr=0.05))
    assert recorder.training().steps == (1, 2, 4, 8, 20)
    assert recorder.n_steps == 20


def test_a_training_comes_from_saved_state_dicts_too():
    x, y = rows()
    training = trained()
    states = [{name: torch.tensor(one) for name, one in state.items()} for state in training.states]
    found = TorchTraining.from_checkpoints(
        states, module=net(seed=3), features=x, labels=y, steps=training.steps
    )
    assert_same_states(found, training)
    unnumbered = TorchTraining.from_checkpoints(states[:2], module=net(), features=x, labels=y)
    assert unnumbered.steps == (1, 2)
    np.testing.assert_array_equal(
        found.train_gradients(2).dense(), training.train_gradients(2).dense()
    )


@pytest.mark.parametrize(
    ("change", "wrong", "reason"),
    [
        ({"steps": (2, 2)}, RecordedStepsError, "ascending"),
        ({"steps": (2,)}, RecordedStepsError, "ascending"),
        ({"states": (), "steps": ()}, RecordedStepsError, "at least one"),
        ({"labels": np.zeros(3, int)}, QueryShapeError, "labels"),
        ({"labels": np.full(N, 3)}, UnknownClassError, "3 is not a class"),
        ({"index": pd.RangeIndex(3)}, QueryShapeError, "index"),
        ({"loss": "squared"}, QueryShapeError, "one number for each row"),
        ({"features": np.zeros((N, 4), complex)}, QueryShapeError, "numbers"),
    ],
)
def test_parts_that_do_not_fit_each_other_are_refused(change, wrong, reason):
    training = trained()
    parts = {
        "module": net(),
        "states": training.states[:2],
        "steps": (2, 3),
        "features": training.features,
        "labels": training.labels,
    }
    with pytest.raises(wrong, match=reason):
        TorchTraining(**parts | change)


def test_checkpoints_of_another_module_are_refused_with_the_names():
    x, y = rows()
    state = dict(net().state_dict())
    wrapped = {f"module.{name}": one for name, one in state.items()}
    with pytest.raises(ModuleStateError, match=r"lacks '0\.bias'.* has 'module\.0\.bias'"):
        TorchTraining.from_checkpoints([wrapped], module=net(), features=x, labels=y)
    with pytest.raises(UntrainableModuleError, match="'epoch', which is no tensor"):
        TorchTraining.from_checkpoints([state | {"epoch": 3}], module=net(), features=x, labels=y)


def test_no_rows_have_no_gradients():
    with pytest.raises(QueryShapeError, match="at least one"):
        trained().train_gradients(0, rows=slice(N, None))


def test_a_checkpoint_that_does_not_exist_is_refused():
    with pytest.raises(RecordedStepsError, match="no checkpoint 5"):
        trained().train_gradients(5)
