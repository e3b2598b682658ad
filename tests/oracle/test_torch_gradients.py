"""Captured gradients against one backward pass for each row, written out once more here."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from traceprop_engine.errors import (
    InfluenceTargetError,
    QueryShapeError,
    UndefinedRowGradientError,
    UnknownClassError,
    UntrainableModuleError,
)
from traceprop_engine.torch_gradients import row_gradients
from traceprop_engine.torch_gradients.modules import undisturbed
from traceprop_engine.torch_gradients.plan import plan_capture
from traceprop_engine.torch_gradients.scalars import margin
from traceprop_engine.torch_gradients.tables import read_table

pytestmark = pytest.mark.oracle

N = 9


class Residual(nn.Module):
    """One layer used three times, around which the input is added."""

    def __init__(self):
        super().__init__()
        self.first, self.shared, self.last = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        x = self.first(x)
        for _ in range(3):
            x = x + functional.gelu(self.shared(x))
        return self.last(x)


class Block(nn.Module):
    """A transformer block over a sequence of vectors, and the mean of its positions."""

    def __init__(self, width=6):
        super().__init__()
        self.before, self.behind = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries, self.keys, self.values = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width, bias=False)
        self.wide, self.narrow = nn.Linear(width, 10), nn.Linear(10, width)
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        y = self.before(x)
        y = functional.scaled_dot_product_attention(self.queries(y), self.keys(y), self.values(y))
        x = x + self.out(y)
        x = x + self.narrow(functional.gelu(self.wide(self.behind(x))))
        return self.head(x.mean(1))


class Sentence(nn.Module):
    """An embedding of tokens, a layer over each position, and the last one."""

    def __init__(self):
        super().__init__()
        self.embedding, self.inner = nn.Embedding(11, 4, padding_idx=0), nn.Linear(4, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, tokens):
        return self.head(torch.tanh(self.inner(self.embedding(tokens))).amax(1))


class Attention(nn.Module):
    """Attention whose projections no hook sees, with parameters that stand in no layer."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.token = nn.Parameter(torch.randn(1, 1, 6))
        self.position = nn.Embedding(4, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = x + self.position(torch.arange(3)) + self.token
        return self.head(self.attention(x, x, x, need_weights=False)[0][:, 0])


class Tied(nn.Module):
    """The embedding of the tokens is also the weight of the last layer."""

    def __init__(self):
        super().__init__()
        self.embedding, self.inner = nn.Embedding(11, 4), nn.Linear(4, 4)
        self.head = nn.Linear(4, 11)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        return self.head(torch.tanh(self.inner(self.embedding(tokens).mean(1))))


class UsedTwoWays(nn.Module):
    """A layer that is called, and whose weight is also used behind its back."""

    def __init__(self):
        super().__init__()
        self.inner, self.head = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.inner(x)) @ self.inner.weight)


class Branch(nn.Module):
    """The values of a row decide which layer it goes through."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(5, 3), nn.Linear(5, 3)

    def forward(self, x):
        return torch.cat([(self.left if row.sum() > 0 else self.right)(row[None]) for row in x])


class Doubled(nn.Linear):
    """A subclass that computes something else than its base."""

    def forward(self, x):
        return super().forward(2 * x)


class InPlace(nn.Module):
    """Changes the outputs of its layers in place."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        x = functional.relu_(self.first(x))
        return self.head(self.second(x).mul_(2.0).tanh_())


class Overwrites(nn.Module):
    """Changes in place what the backward pass needs."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(5, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.first(x)).mul_(2.0))


def batch_norm_net():
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding="same", bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(4 * 25, 6),
        nn.BatchNorm1d(6),
        nn.ReLU(),
        nn.Linear(6, 1),
    )
    for layer in net:
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2.0)
            nn.init.normal_(layer.weight)
    return net


def image_net():
    return nn.Sequential(
        nn.Conv2d(2, 4, (2, 3), stride=(1, 2), padding=1, dilation=(2, 1)),
        nn.GroupNorm(2, 4),
        nn.Tanh(),
        nn.Conv2d(4, 4, 2, groups=2),
        nn.Conv2d(4, 3, 2, padding=1, padding_mode="circular"),
        nn.Flatten(),
        nn.LazyLinear(3),
    )


def signal_net():
    return nn.Sequential(
        nn.Conv1d(2, 30, 4, stride=2, padding=1), nn.Tanh(), nn.Flatten(), nn.LazyLinear(3)
    )


def vectors(*shape):
    return np.random.default_rng(0).normal(size=(N, *shape))


def tokens(*shape):
    return np.random.default_rng(0).integers(0, 11, size=(N, *shape))


FAMILIES = {
    "logistic": (lambda: nn.Linear(5, 1), vectors(5)),
    "softmax": (lambda: nn.Linear(5, 3, bias=False), vectors(5)),
    "mlp": (lambda: nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3)), vectors(5)),
    "cnn": (image_net, vectors(2, 5, 5)),
    "cnn over a signal": (signal_net, vectors(2, 9)),
    "cnn with batch norm": (batch_norm_net, vectors(2, 5, 5)),
    "bag": (lambda: nn.Sequential(nn.EmbeddingBag(11, 4), nn.Linear(4, 3)), tokens(6)),
    "bag of sums": (
        lambda: nn.Sequential(nn.EmbeddingBag(11, 4, mode="sum", padding_idx=3), nn.Linear(4, 3)),
        tokens(6),
    ),
    "bag of maxima": (
        lambda: nn.Sequential(nn.EmbeddingBag(11, 4, mode="max"), nn.Linear(4, 3)),
        tokens(6),
    ),
    "sequence": (Sentence, tokens(6)),
    "transformer": (Block, vectors(4, 6)),
    "residual": (Residual, vectors(5)),
    "attention": (Attention, vectors(3, 6)),
    "tied": (Tied, tokens(6)),
    "weight used two ways": (UsedTwoWays, vectors(5)),
    "branch": (Branch, vectors(5)),
    "subclass": (lambda: nn.Sequential(Doubled(5, 4), nn.Linear(4, 3)), vectors(5)),
    "in place": (InPlace, vectors(5)),
    "recurrent": (
        lambda: nn.Sequential(nn.LSTM(4, 5, batch_first=True), LastState(), nn.Linear(5, 3)),
        vectors(3, 4),
    ),
    "weight norm": (
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 3))),
        vectors(5),
    ),
}

WAYS = {
    "logistic": {"": "factors"},
    "mlp": {"0": "factors", "2": "factors"},
    "cnn": {"0": "products", "1": "products", "3.weight": "vmap", "6": "factors"},
    "cnn with batch norm": {"0": "products", "1": "products", "4": "factors", "5": "products"},
    "cnn over a signal": {"0": "factors"},
    "bag": {"0": "factors"},
    "bag of maxima": {"1": "factors"},
    "residual": {"first": "factors", "shared": "factors", "last": "factors"},
    "transformer": {"before": "products", "queries": "products", "head": "factors"},
    "attention": {
        "attention.in_proj_weight": "vmap",
        "attention.out_proj.weight": "vmap",
        "token": "vmap",
        "position.weight": "vmap",
        "head": "factors",
    },
    "tied": {"embedding.weight": "vmap", "inner": "factors", "head.bias": "vmap"},
    "weight used two ways": {"inner.weight": "vmap", "head": "factors"},
    "branch": {"left.weight": "loop", "right.bias": "loop"},
    "subclass": {"0.weight": "vmap", "1": "factors"},
    "in place": {"first": "factors", "second": "factors", "head": "factors"},
}


class LastState(nn.Module):
    def forward(self, states):
        return states[0][:, -1]


def build(family, dtype=torch.float64):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        make, features = FAMILIES[family]
        module = make()
        if dtype == torch.float64:
            module = module.double()
        rows = torch.tensor(features)
        if features.dtype.kind == "f":
            rows = rows.to(dtype)
        module.eval()
        outputs = module(rows)
    labels = np.random.default_rng(1).integers(0, max(outputs.shape[1], 2), N)
    return module, features, labels


def margin_of(outputs, label):
    """The log-odds of one row's class, by the definition of a probability."""
    if len(outputs) == 1:
        return outputs[0] if label == 1 else -outputs[0]
    p = torch.softmax(outputs, 0)[label]
    return torch.log(p) - torch.log(1 - p)


def backward_loop(module, features, labels, scalar, dtype=torch.float64):
    """Each row alone through a copy of the module, in evaluation mode; {parameter: [n, ...]}."""
    module = copy.deepcopy(module).eval()
    rows = torch.tensor(features)
    rows = rows.to(dtype) if features.dtype.kind == "f" else rows
    values, gradients = [], []
    for row, label in zip(rows, labels, strict=True):
        module.zero_grad()
        value = scalar(module(row[None])[0], label)
        value.backward()
        values.append(value.item())
        gradients.append(
            {
                name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
                for name, p in module.named_parameters()
                if p.requires_grad
            }
        )
    return np.array(values), gradients


def as_rows(gradients, plan, module):
    """The looped gradients in the order in which the captured ones stand."""
    found = []
    for one in gradients:
        parts = []
        for layer in plan.layers:
            for name in layer.parameters:
                gradient = one[name]
                owner = type(module.get_submodule(layer.name)) if is_layer(layer) else None
                if owner in (nn.Linear, nn.Conv1d, nn.Conv2d) and name.endswith("weight"):
                    gradient = gradient.reshape(len(gradient), -1).T
                parts.append(gradient.reshape(-1))
        found.append(torch.cat(parts))
    return torch.stack(found).numpy()


def is_layer(layer):
    return layer.way in ("factors", "products")


def plan_of(module, features, labels):
    with undisturbed(module):
        table = read_table(module, features, labels, "cross_entropy")
        return plan_capture(module, table, margin)


def error(found, wanted):
    return np.abs(found - wanted).max() / np.abs(wanted).max()


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_of_a_family_are_those_of_a_loop_in_double_precision(family):
    module, features, labels = build(family)
    found = row_gradients(module, features, labels)
    values, gradients = backward_loop(module, features, labels, margin_of)
    wanted = as_rows(gradients, plan_of(module, features, labels), module)
    assert found.n_parameters == sum(p.numel() for p in module.parameters())
    assert error(found.dense(), wanted) < 1e-10
    assert error(found.values, values) < 1e-10


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_of_a_family_are_those_of_a_loop_in_single_precision(family):
    module, features, labels = build(family, torch.float32)
    found = row_gradients(module, features, labels)
    plan = plan_of(module, features, labels)
    _, gradients = backward_loop(module, features, labels, margin_of, torch.float32)
    assert found.dense().dtype == np.float32
    assert error(found.dense(), as_rows(gradients, plan, module)) < 1e-5


@pytest.mark.parametrize("family", WAYS)
def test_each_layer_is_captured_in_the_cheapest_way_that_is_right(family):
    module, features, labels = build(family)
    ways = {layer.name: layer.way for layer in plan_of(module, features, labels).layers}
    assert ways == ways | WAYS[family]


@pytest.mark.parametrize("family", ["mlp", "logistic"])
def test_slopes_and_curvatures_are_the_derivatives_of_the_loss(family):
    module, features, labels = build(family)
    found = row_gradients(module, features, labels)
    values = torch.tensor(found.values, requires_grad=True)
    losses = -torch.log(torch.sigmoid(values))
    (slopes,) = torch.autograd.grad(losses.sum(), values, create_graph=True)
    (curvatures,) = torch.autograd.grad(slopes.sum(), values)
    np.testing.assert_allclose(found.slopes, slopes.detach(), rtol=1e-10)
    np.testing.assert_allclose(found.curvatures, curvatures, rtol=1e-10)


def test_slope_times_gradient_is_the_gradient_of_cross_entropy():
    module, features, labels = build("mlp")
    found = row_gradients(module, features, labels)
    loss = functional.cross_entropy(
        module(torch.tensor(features)), torch.tensor(labels), reduction="sum"
    )
    gradients = torch.autograd.grad(loss, list(module.parameters()))
    sums = found.weighted_sum(found.slopes)
    wanted = as_rows(
        [dict(zip(["0.weight", "0.bias", "2.weight", "2.bias"], gradients, strict=True))],
        plan_of(module, features, labels),
        module,
    )
    assert error(sums, wanted[0]) < 1e-12


def test_squared_training_gives_the_output_its_residual_and_curvature_one():
    module, features, _ = build("logistic")
    labels = np.random.default_rng(2).normal(size=N)
    found = row_gradients(module, features, labels, loss="squared")
    outputs = module(torch.tensor(features)).detach().numpy()[:, 0]
    np.testing.assert_allclose(found.values, outputs)
    np.testing.assert_allclose(found.slopes, outputs - labels)
    assert (found.curvatures == 1).all()
    np.testing.assert_allclose(found.dense(), np.c_[features, np.ones(N)])


@pytest.mark.parametrize(
    ("target", "scalar"),
    [
        ("margin", margin_of),
        ("loss", lambda z, y: functional.cross_entropy(z, torch.tensor(y))),
        ("logit", lambda z, y: z[y]),
        (lambda z: z[0] - z[2] ** 2, lambda z, _: z[0] - z[2] ** 2),
    ],
)
def test_queries_are_differentiated_in_the_target_that_is_asked(target, scalar):
    module, features, labels = build("cnn")
    found = row_gradients(module, features, labels, target=target)
    values, gradients = backward_loop(module, features, labels, scalar)
    plan = plan_of(module, features, labels)
    assert error(found.dense(), as_rows(gradients, plan, module)) < 1e-10
    assert error(found.values, values) < 1e-10
    assert found.slopes.shape == found.curvatures.shape == (0,)


@pytest.mark.parametrize("target", ["prediction", "logit", lambda z: z])
def test_a_net_of_one_output_needs_no_labels_for_its_output(target):
    module, features, _ = build("logistic")
    found = row_gradients(module, features, target=target)
    np.testing.assert_allclose(found.dense(), np.c_[features, np.ones(N)])


@pytest.mark.parametrize("family", ["cnn", "residual", "tied", "branch"])
def test_the_bound_on_memory_decides_the_blocks_and_nothing_else(family):
    module, features, labels = build(family)
    calls = []
    whole = row_gradients(module, features, labels)
    small = row_gradients(
        module, features, labels, memory_limit=1, progress=lambda *at: calls.append(at)
    )
    assert calls == [(row + 1, N) for row in range(N)]
    assert error(small.dense(), whole.dense()) < 1e-13


def test_frozen_parameters_are_left_out_one_by_one():
    module, features, labels = build("mlp")
    module[0].weight.requires_grad_(requires_grad=False)
    module[2].bias.requires_grad_(requires_grad=False)
    found = row_gradients(module, features, labels)
    _, gradients = backward_loop(module, features, labels, margin_of)
    assert set(gradients[0]) == {"0.bias", "2.weight"}
    assert [layer.name for layer in found.layers] == ["0", "2"]
    assert found.n_parameters == 7 + 21
    wanted = as_rows(gradients, plan_of(module, features, labels), module)
    assert error(found.dense(), wanted) < 1e-12


def test_an_unused_layer_has_zero_gradients():
    module, features, labels = build("mlp")
    module.register_module("3", nn.Identity())
    module[3].extra = nn.Linear(2, 2).double()
    found = row_gradients(module, features, labels)
    plan = plan_of(module, features, labels)
    assert [layer.name for layer in plan.layers] == ["0", "2", "3.extra.weight", "3.extra.bias"]
    assert (found.layers[2].deltas == 0).all()
    assert found.n_parameters == 5 * 7 + 7 + 7 * 3 + 3 + 6


def test_a_module_that_overwrites_what_autograd_needs_is_refused():
    _, features, labels = build("mlp")
    with pytest.raises(UndefinedRowGradientError, match="modified by an inplace operation"):
        row_gradients(Overwrites().double(), features, labels)


class MeanOfBatch(nn.Module):
    def forward(self, x):
        return x - x.mean(0)


class Detached(nn.Module):
    def forward(self, x):
        return x.detach()


class Wraps(nn.Module):
    def forward(self, x):
        return {"y": x}


class Halved(nn.Module):
    def forward(self, x):
        return x.bfloat16()


class LargeBatches(nn.Module):
    """Computes something else for larger batches than those that are tried at first."""

    def forward(self, x):
        return 2 * x if len(x) > 4 else x


class SkipsInLargeBatches(nn.Module):
    """Leaves out a layer, without another output, in larger batches than those tried at first."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x):
        return x + 0 * self.layer(x) if len(x) <= 4 else x


class Reorders(nn.Module):
    """Gives a layer its rows in another order, so that outputs are right and factors are not."""

    def __init__(self, order):
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.order = order

    def forward(self, x):
        order = self.order(x)
        return self.layer(x[order])[order.argsort()]


def turned_if_many(x):
    return torch.arange(len(x)).roll(int(len(x) > 4))


def test_a_layer_that_sees_its_rows_sorted_has_the_gradients_of_each():
    _, features, labels = build("mlp")
    rows = features[features[:, 0].argsort()][[0, 8, 2, 6, 4, 1, 3, 5, 7], :3]
    module = Reorders(lambda x: x[:, 0].argsort()).double()  # rows 0, 4 and 8 stay in order
    found = row_gradients(module, rows, labels)
    plain = row_gradients(module.layer, rows, labels)
    np.testing.assert_allclose(found.squared_norms(), plain.squared_norms(), rtol=1e-9)


class Noise(nn.Module):
    def forward(self, x):
        return x + torch.randn_like(x)


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ([nn.Linear(5, 3), MeanOfBatch()], "rows are mixed"),
        ([nn.Linear(5, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 3)], "'1'"),
        ([nn.Linear(5, 3), Noise()], "depend on chance"),
        ([nn.Linear(5, 3), Detached()], "no trained parameter reaches"),
        ([nn.Linear(5, 3), LargeBatches()], "depends on the batch"),
        ([nn.Linear(5, 3), SkipsInLargeBatches()], "depends on the batch"),
        ([nn.Linear(5, 3), Reorders(turned_if_many)], "depends on the batch"),
    ],
)
def test_a_module_that_mixes_rows_or_draws_lots_is_refused(layers, reason):
    _, features, labels = build("mlp")
    with pytest.raises(UndefinedRowGradientError, match=reason):
        row_gradients(nn.Sequential(*layers).double(), features, labels)


@pytest.mark.parametrize("options", [{"max_norm": 1.0}, {"scale_grad_by_freq": True}])
def test_an_embedding_that_looks_at_its_batch_is_refused(options):
    net = nn.Sequential(nn.Embedding(11, 4, **options), nn.Flatten(), nn.Linear(8, 3))
    with pytest.raises(UndefinedRowGradientError, match=next(iter(options))):
        row_gradients(net, tokens(2), np.zeros(N, int))


def test_a_sparse_embedding_is_captured_like_a_dense_one():
    module, features, labels = build("sequence")
    sparse = copy.deepcopy(module)
    sparse.embedding.sparse = True
    found, wanted = (row_gradients(one, features, labels) for one in (sparse, module))
    np.testing.assert_array_equal(found.dense(), wanted.dense())


def test_a_feature_that_is_missing_is_named_by_its_row():
    module, features, labels = build("mlp")
    broken = features.copy()
    broken[5, 0] = np.nan
    with pytest.raises(QueryShapeError, match="in row 5"):
        row_gradients(module, broken, labels)
    broken[0, 0] = np.nan
    with pytest.raises(UndefinedRowGradientError, match=r"'0\.weight' in row 0 is not finite"):
        row_gradients(module, broken, labels)


def test_the_module_is_left_as_it_was():
    module, features, labels = build("cnn with batch norm")
    module.train()
    module[1].eval()
    module[4].weight.grad = torch.ones_like(module[4].weight)
    module[0].weight.requires_grad_(requires_grad=False)
    before = copy.deepcopy(module.state_dict())
    modes = [layer.training for layer in module.modules()]
    state = torch.get_rng_state()
    row_gradients(module, features, labels)
    assert [layer.training for layer in module.modules()] == modes
    assert all(torch.equal(module.state_dict()[name], before[name]) for name in before)
    assert torch.equal(torch.get_rng_state(), state)
    assert (module[4].weight.grad == 1).all()
    assert module[7].weight.grad is None
    assert not module[0].weight.requires_grad
    assert not any(layer._forward_hooks for layer in module.modules())


@pytest.mark.parametrize(
    "around",
    [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", dtype=torch.bfloat16)],
)
def test_what_holds_around_the_call_changes_no_gradient(around):
    module, features, labels = build("mlp", torch.float32)
    wanted = row_gradients(module, features, labels).dense()
    with around():
        found = row_gradients(module, features, labels).dense()
    assert np.abs(wanted).max() > 0
    np.testing.assert_array_equal(found, wanted)


class Fails(nn.Module):
    def forward(self, x):
        if len(x) > 1:
            raise ValueError("not today")
        return x


def test_no_hook_stays_behind_when_the_module_fails():
    _, features, labels = build("mlp")
    module = nn.Sequential(nn.Linear(5, 3), Fails()).double().train()
    with pytest.raises(ValueError, match="not today"):
        row_gradients(module, features, labels)
    assert module.training
    assert not any(layer._forward_hooks for layer in module.modules())


@pytest.mark.parametrize(
    ("options", "wrong", "reason"),
    [
        ({"target": "prediction"}, QueryShapeError, "one number for each row"),
        ({"target": "hinge"}, InfluenceTargetError, "use margin, loss, logit, prediction"),
        ({"target": "margin", "loss": "squared"}, InfluenceTargetError, "for squared"),
        ({"target": "logit", "labels": None}, QueryShapeError, "labels"),
        ({"labels": None}, QueryShapeError, "labels"),
        ({"labels": np.full(N, 3)}, UnknownClassError, "3 is not a class"),
        ({"labels": np.full(N, 0.5)}, UnknownClassError, "0.5 is not a class"),
        ({"labels": np.zeros(N - 1)}, QueryShapeError, r"\[8\]"),
        ({"labels": [np.nan] * N, "loss": "squared"}, QueryShapeError, "finite, got nan at row 0"),
        ({"labels": np.array(["a"] * N)}, QueryShapeError, "encode classes"),
        ({"features": np.array([["a"] * 5] * N)}, QueryShapeError, "numbers"),
        ({"features": np.empty((0, 5))}, QueryShapeError, "at least one row"),
        ({"features": np.zeros((N, 5), int)}, QueryShapeError, "what the module reads"),
        ({"features": np.zeros((N, 4))}, QueryShapeError, r"float64 \[1, 4\]"),
        (
            {"module": nn.Sequential(nn.Linear(5, 3), Halved()).double()},
            QueryShapeError,
            "bfloat16",
        ),
        ({"module": nn.Sequential(nn.Linear(5, 3), Wraps()).double()}, QueryShapeError, "got dict"),
        ({"module": nn.Unflatten(1, (1, 5))}, UntrainableModuleError, "no parameter"),
        ({"target": lambda z: z}, QueryShapeError, "one number"),
        ({"target": lambda _: 1.0}, QueryShapeError, "got float"),
    ],
)
def test_a_question_that_does_not_fit_is_refused_by_name(options, wrong, reason):
    module, features, labels = build("mlp")
    given = {"module": module, "features": features, "labels": labels} | options
    with pytest.raises(wrong, match=reason):
        row_gradients(**given)


def test_a_module_without_anything_to_train_is_refused():
    module, features, labels = build("mlp")
    module.requires_grad_(requires_grad=False)
    with pytest.raises(UntrainableModuleError, match="requires_grad=True"):
        row_gradients(module, features, labels)
    with pytest.raises(UntrainableModuleError, match="bfloat16"):
        row_gradients(nn.Linear(5, 3, dtype=torch.bfloat16), features, labels)
