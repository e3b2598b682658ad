# ruff: noqa: PD011, PD013 (these are tensors, not frames)
"""Rows through PyTorch, against brute force: change a row of the input, see which rows change."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

from traceprop_engine.errors import CaptureError  # noqa: E402 (after the skip)
from traceprop_engine.lineage import CaptureSession  # noqa: E402
from traceprop_engine.lineage.granularity import granularity  # noqa: E402
from traceprop_engine.tensors import TrackedTensor, from_torch  # noqa: E402

pytestmark = pytest.mark.oracle

N, D = 6, 4
INDEX = torch.tensor([4, 1, 1, 5])
ROW_MASK = torch.tensor([True, False, True, True, False, False])
MASK = torch.arange(N * D).reshape(N, D) % 3 == 0
PICKS = torch.arange(N * D).reshape(N, D) * 5 % N
WEIGHT = torch.linspace(-1, 2, 3 * D, dtype=torch.float64).reshape(3, D)
OTHER = torch.linspace(2, 5, N * D, dtype=torch.float64).reshape(N, D)


@pytest.fixture
def session():
    with CaptureSession() as opened:
        yield opened


def values():
    """Positive, all different, and far enough apart that a small change reorders nothing."""
    order = torch.randperm(N * D, generator=torch.Generator().manual_seed(3))
    return (order.to(torch.float64) + 1).reshape(N, D)


def as_rows(result):
    """Return a result with its rows along axis 0, one row for a single number."""
    return result.reshape(1) if result.ndim == 0 else result


def changed_pairs(function, given):
    """Return which rows of the result change with which row of the input."""
    plain = as_rows(function(given.clone()))
    pairs = set()
    for row in range(len(given)):
        other = given.clone()
        other[row] += torch.linspace(0.01, 0.02, other[row].numel(), dtype=other.dtype).reshape(
            other[row].shape
        )
        now = as_rows(function(other))
        assert now.shape == plain.shape
        differs = (now != plain).reshape(len(plain), -1).any(dim=1)
        pairs |= {(int(out), row) for out in differs.nonzero()[:, 0]}
    return pairs


def said_pairs(lineage, name="data"):
    """Return the direct pairs of a lineage, and those that a statistic allows."""
    row_map = lineage.maps[name]
    every = range(lineage.n_rows)
    members = {
        int(row)
        for each in lineage.contexts
        if each.input == name
        for row in each.members.backward([0])
    }
    through = {(out, row) for out in every for row in members}
    if row_map.kind == "context":
        return set(), through
    return {(out, int(row)) for out in every for row in row_map.backward([out])}, through


DIRECT = {
    "add": lambda x: x + 1,
    "reflected": lambda x: 2 ** (1 - x / 9),
    "chain": lambda x: ((x * 2 + 1).sigmoid() - 0.5).abs().sqrt(),
    "with a plain tensor": lambda x: torch.maximum(x, OTHER) * OTHER + x,
    "one column": lambda x: x[:, 0] + x[:, 1:].sum(1),
    "slice": lambda x: x[1:5:2],
    "index": lambda x: x[INDEX],
    "negative index": lambda x: x[torch.tensor([-1, 0, -2])],
    "list and column": lambda x: x[[3, 0], 1:],
    "mask": lambda x: x[ROW_MASK],
    "own mask": lambda x: x[x[:, 0] > 8],
    "elements": lambda x: x[MASK],
    "one row": lambda x: x[2],
    "one number": lambda x: x[2, 1],
    "new axis": lambda x: x[:, None] * 2,
    "two indices": lambda x: x[INDEX, torch.tensor([0, 1, 2, 3])],
    "ellipsis": lambda x: x[..., 1],
    "index_select": lambda x: torch.index_select(x, 0, INDEX),
    "index_select along 1": lambda x: x.index_select(1, torch.tensor([2, 0])),
    "gather": lambda x: x.gather(0, PICKS),
    "gather along 1": lambda x: x.gather(1, PICKS % D),
    "take": lambda x: x.take(torch.tensor([0, 9, 23])),
    "take_along_dim": lambda x: torch.take_along_dim(x, PICKS, dim=0),
    "masked_select": lambda x: x.masked_select(MASK),
    "masked_fill": lambda x: x.masked_fill(MASK, 0.0),
    "narrow": lambda x: x.narrow(0, 2, 3),
    "select": lambda x: x.select(0, 3),
    "cat": lambda x: torch.cat([x, x[:2], OTHER, x[4:]]),
    "cat by column": lambda x: torch.cat([x, x * 2, OTHER], dim=1),
    "stack of rows": lambda x: torch.stack([x[4], x[0], x[2]]),
    "stack along 1": lambda x: torch.stack([x, x], dim=1),
    "stack of tensors": lambda x: torch.stack([x[:2], x[2:4]]),
    "hstack": lambda x: torch.hstack([x, OTHER]),
    "hstack of vectors": lambda x: torch.hstack([x[:, 0], x[:3, 1]]),
    "vstack": lambda x: torch.vstack([x[3:], x[:3]]),
    "vstack of vectors": lambda x: torch.vstack([x[3], x[1]]),
    "column_stack": lambda x: torch.column_stack([x[:, 0], x[:, 2]]),
    "where": lambda x: torch.where(MASK, x, x.flip(0)),
    "where of rows": lambda x: torch.where(ROW_MASK[:, None], x, x.roll(1, 0)),
    "sort": lambda x: x[:, 1].sort().values,
    "sort by column": lambda x: x.sort(dim=0).values,
    "sort along 1": lambda x: x.sort(dim=1).values,
    "argsort and index": lambda x: x[x[:, 0].argsort(descending=True)],
    "topk": lambda x: x[:, 0].topk(3).values,
    "topk along 1": lambda x: x.topk(2).values,
    "flip": lambda x: x.flip(0),
    "flip both": lambda x: x.flip(0, 1),
    "flip along 1": lambda x: x.flip(1),
    "roll": lambda x: x.roll(2, 0),
    "roll in one line": lambda x: x.roll(1),
    "repeat": lambda x: x.repeat(2, 1),
    "tile": lambda x: x.tile(3, 1),
    "repeat_interleave": lambda x: x.repeat_interleave(2, dim=0),
    "repeats": lambda x: x.repeat_interleave(torch.tensor([0, 1, 2, 0, 1, 3]), dim=0),
    "chunk": lambda x: x.chunk(3)[1],
    "split": lambda x: x.split([1, 2, 3])[2],
    "split along 1": lambda x: x.split(2, dim=1)[1],
    "tensor_split": lambda x: x.tensor_split((2, 3))[1],
    "unbind": lambda x: x.unbind()[4],
    "iterate": lambda x: list(x)[5] * 2,
    "reshape": lambda x: x.reshape(N, 2, 2),
    "view": lambda x: x.view(N, 2, 2) + 1,
    "in one line": lambda x: x.reshape(-1),
    "two rows a row": lambda x: x.reshape(N // 2, -1),
    "rows cut apart": lambda x: x.view(8, 3),
    "flatten": lambda x: x.reshape(N, 2, 2).flatten(1),
    "squeeze": lambda x: x.unsqueeze(1).squeeze(1),
    "unsqueeze": lambda x: x.unsqueeze(0),
    "transpose": lambda x: x.T,
    "permute": lambda x: x.reshape(N, 2, 2).permute(0, 2, 1),
    "expand": lambda x: x[:, :1].expand(N, 3),
    "pad": lambda x: F.pad(x, (1, 0, 2, 1)),
    "triu": lambda x: x.triu(),
    "diagonal": lambda x: x.diagonal(),
    "cumsum": lambda x: x.cumsum(0),
    "cumsum along 1": lambda x: x.cumsum(1),
    "sum along 1": lambda x: x.sum(1),
    "mean of the last axes": lambda x: x.reshape(N, 2, 2).mean((1, 2)),
    "max along 1": lambda x: x.max(dim=1).values,
    "softmax": lambda x: (x / 9).softmax(1),
    "norm of rows": lambda x: x / x.norm(dim=1, keepdim=True),
    "normalize": lambda x: F.normalize(x, dim=-1),
    "layer_norm": lambda x: F.layer_norm(x, (D,)),
    "matmul": lambda x: x @ WEIGHT.T,
    "vector": lambda x: torch.mv(x, WEIGHT[0]),
    "linear": lambda x: F.linear(x, WEIGHT, WEIGHT[:, 0]),
    "bmm": lambda x: torch.bmm(x.reshape(N, 2, 2), OTHER.reshape(N, 2, 2)),
    "einsum": lambda x: torch.einsum("ij,kj->ik", x, WEIGHT),
    "outer": lambda x: torch.outer(x[:, 0], WEIGHT[0]),
    "cosine": lambda x: F.cosine_similarity(x, OTHER),
    "convolution": lambda x: F.conv1d(x.reshape(N, 1, D), WEIGHT[:, :2].reshape(3, 1, 2)),
    "pooling": lambda x: F.max_pool1d(x.reshape(N, 1, D), 2),
    "loss of each": lambda x: F.mse_loss(x, OTHER, reduction="none"),
    "index_add": lambda x: x.index_add(0, torch.tensor([5, 0]), x[1:3]),
    "index_copy": lambda x: x.index_copy(0, torch.tensor([5, 0]), x[1:3] * 2),
    "index_put": lambda x: x.index_put((torch.tensor([1, 2]),), x[3:5]),
    "index_fill": lambda x: x.index_fill(0, torch.tensor([1, 2]), -1.0),
    "select_scatter": lambda x: x.select_scatter(x[0] * 3, 0, 4),
    "to": lambda x: x.to(torch.float32).double(),
    "detach": lambda x: x.detach().clone().contiguous().cpu(),
    "scaled_dot_product": lambda x: F.scaled_dot_product_attention(
        x.reshape(N, 2, 2), OTHER.reshape(N, 2, 2), OTHER.reshape(N, 2, 2)
    ),
    "eval batch norm": lambda x: F.batch_norm(x, OTHER[0], OTHER[1]),
    "rms_norm": lambda x: F.rms_norm(x, (D,)),
    "quantile along 1": lambda x: x.quantile(0.5, dim=1),
    "cross entropy of each": lambda x: F.cross_entropy(x / 9, PICKS[:, 0] % D, reduction="none"),
    "where of itself": lambda x: x.where(x > 9, OTHER),
    "where of its method": lambda x: x.where(MASK, x.flip(0)),
    "einsum of one row": lambda x: torch.einsum("ij,ij->ij", x[:1], OTHER),
    "roll by numbers in tensors": lambda x: x.roll(torch.tensor(2), torch.tensor([0])),
    "flip by a number in a tensor": lambda x: x.flip(torch.tensor([0])),
    "narrow from a number in a tensor": lambda x: x.narrow(0, torch.tensor(2), 3),
    "sum along a number of NumPy": lambda x: x.sum(np.int64(1)),
    "sort by another name of the axis": lambda x: x.sort(axis=0).values,
    "topk by another name of the axis": lambda x: x.topk(2, axis=0).values,
    "chunk by another name of the axis": lambda x: x.chunk(2, axis=1)[0],
}


@pytest.mark.parametrize("name", DIRECT)
def test_a_function_relates_exactly_the_rows_that_depend_on_each_other(name, session):
    function = DIRECT[name]
    result = function(from_torch(values(), "data", session=session))
    assert isinstance(result, TrackedTensor)
    assert torch.equal(result.__traceprop_plain__(), function(values()))
    lineage = session.lineage(as_rows(result))
    direct, through = said_pairs(lineage)
    assert lineage.fidelity == "exact"
    assert direct == changed_pairs(function, values())
    assert not through


STATISTICS = {
    "mean": lambda x: x.mean(0),
    "sum": lambda x: x.sum(),
    "centred": lambda x: x - x.mean(0),
    "standardised": lambda x: (x - x.mean(0)) / x.std(0),
    "by a number": lambda x: x / x.max(),
    "softmax of rows": lambda x: (x / 9).softmax(0),
    "batch norm": lambda x: F.batch_norm(x, None, None, training=True),
    "Gram matrix": lambda x: x.T @ x,
    "own product": lambda x: x @ x.T,
    "left vector": lambda x: WEIGHT[:2].T.sum(1) @ x.T + x.sum(1),
    "plain on the left": lambda x: OTHER.T @ x,
    "loss": lambda x: F.mse_loss(x, OTHER),
    "quantile": lambda x: x * x.quantile(0.5, dim=0) + 0 * x.sum(),
    "counted along two axes": lambda x: x.reshape(2, N // 2, D).count_nonzero(1, 0) + x.sum(),
    "several quantiles": lambda x: x.quantile(OTHER[0] / 9, dim=1),
    "distances to all": lambda x: torch.cdist(x, x),
    "weights of its own": lambda x: F.linear(x, x),
    "squared by einsum": lambda x: torch.einsum("ij,kj->ik", x, x),
    "distances": lambda x: torch.cdist(x, x.flip(0)),
    "variance of part": lambda x: x * x[:3].var(0),
    "one row to all": lambda x: x - x[3],
}


@pytest.mark.parametrize("name", STATISTICS)
def test_what_depends_through_a_statistic_is_context_and_nothing_is_left_out(name, session):
    function = STATISTICS[name]
    result = function(from_torch(values(), "data", session=session))
    assert torch.equal(result.__traceprop_plain__(), function(values()))
    lineage = session.lineage(as_rows(result))
    direct, through = said_pairs(lineage)
    changed = changed_pairs(function, values())
    assert lineage.fidelity == "exact"
    assert changed <= direct | through
    assert {row for _, row in changed} == {row for _, row in direct | through}
    if name in {"centred", "standardised", "by a number", "batch norm"}:
        assert direct == {(row, row) for row in range(N)}


UNKNOWN = {
    "fft": torch.fft.fft,
    "svd": lambda x: torch.linalg.svd(x).U,
    "tensordot": lambda x: torch.tensordot(x, OTHER, dims=([0], [0])),
    "unique": lambda x: torch.unique(x[:, 0]),
    "as_strided": lambda x: x.as_strided((3, 2), (1, 6)),
    "lstm": lambda x: torch.nn.LSTM(D, 2, dtype=torch.float64)(x)[0],
    "view of bytes": lambda x: x[:, 0].contiguous().view(torch.int32),
    "scatter": lambda x: x.scatter(0, PICKS, OTHER),
    "renorm": lambda x: x.renorm(2, 0, 1.0),
    "rms_norm over all axes": lambda x: F.rms_norm(x, (N, D)),
    "values added to one place": lambda x: torch.zeros(N, D, dtype=torch.float64).index_put(
        (torch.tensor([0, 0]),), x[:2], accumulate=True
    ),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_function_that_is_not_known_loses_the_rows_visibly(name, session):
    result = UNKNOWN[name](from_torch(values(), "data", session=session))
    lineage = session.lineage(result)
    assert lineage.fidelity == "unknown"
    assert "torch." in lineage.reason
    assert not lineage.maps["data"].is_known


IN_PLACE = {
    "multiply": lambda x: x.mul_(2).add_(1),
    "operators": lambda x: torch.Tensor.__itruediv__(torch.Tensor.__iadd__(x, 1), 3),
    "plain tensor": lambda x: x.add_(OTHER),
    "rows of its own": lambda x: x.add_(x.flip(0)),
    "copy": lambda x: x.copy_(x.flip(0).clone()),
    "index_copy": lambda x: x.index_copy_(0, torch.tensor([0, 2]), x[[4, 5]]),
    "masked_fill": lambda x: x.masked_fill_(ROW_MASK[:, None], 0.0),
    "relu": lambda x: F.relu(x - 8, inplace=True),
    "index_add": lambda x: x.index_add_(0, torch.tensor([5, 0]), x[[1, 2]]),
    "addmm": lambda x: x.addmm_(x.clone(), OTHER[:D]),
    "out": lambda x: torch.mul(x.flip(0).clone(), 2, out=x),
    "sorted into": lambda x: torch.sort(x.clone(), dim=0, out=(x, torch.empty(N, D).long()))[0],
}


def put_row(x):
    x[2] = x[4]
    return x


def put_slice(x):
    x[1:4] = x[[0, 0, 5]] * 2
    return x


def put_number(x):
    x[ROW_MASK] = 0.0
    return x


def put_elements(x):
    x[MASK] = -1.0
    return x


def put_column(x):
    x[:, 1] = x[:, 0].flip(0)
    return x


IN_PLACE |= {
    "put row": put_row,
    "put slice": put_slice,
    "put number": put_number,
    "put elements": put_elements,
    "put column": put_column,
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_writing_into_a_tensor_gives_it_exactly_its_new_rows(name, session):
    function = IN_PLACE[name]
    tracked = from_torch(values(), "data", session=session)
    result = function(tracked * 1)
    assert torch.equal(result.__traceprop_plain__(), function(values()))
    lineage = session.lineage(result)
    direct, through = said_pairs(lineage)
    assert lineage.fidelity == "exact"
    assert direct | through == changed_pairs(function, values())


LOSSES_IN_PLACE = {
    "zero": lambda x: x.zero_(),
    "normal": lambda x: x.normal_(),
    "fill": lambda x: x.fill_(1.0),
    "plain copy": lambda x: x.copy_(OTHER),
    "set": lambda x: x.set_(OTHER.clone()),
    "transpose": lambda x: x.t_(),
    "resize": lambda x: x.resize_(3, 2),
    "scatter": lambda x: x.scatter_(0, PICKS, OTHER),
    "its own index": lambda x: x.masked_fill_(x.view(torch.bool)[:, :D], 0),
}


@pytest.mark.parametrize("name", LOSSES_IN_PLACE)
def test_writing_what_nobody_can_follow_loses_the_rows_visibly(name, session):
    tracked = from_torch(values(), "data", session=session) * 1
    result = LOSSES_IN_PLACE[name](tracked)
    assert session.lineage(result).fidelity == "unknown"


def test_other_tensors_of_a_memory_that_changed_are_lost_and_not_wrong(session):
    plain = values()
    x = from_torch(plain, "data", session=session)
    view, turned = x[1:4], x.T
    x[0] = x[5]
    assert session.lineage(x).maps["data"].backward([0]).tolist() == [5]
    assert session.lineage(view).fidelity == "unknown"
    assert session.lineage(turned).fidelity == "unknown"
    y = from_torch(values(), "data", session=session)
    y[1:4].copy_(y[:3].clone())
    assert "change in place" in session.lineage(y * 2).reason


def test_a_change_of_every_element_by_itself_keeps_the_rows_of_all_views(session):
    x = from_torch(values(), "data", session=session)
    view = x[1:4]
    x.mul_(2)
    view.add_(1)
    for each, rows in ((x, [1]), (view, [2])):
        assert session.lineage(each).maps["data"].backward([1]).tolist() == rows


def test_a_row_wise_change_with_a_view_of_other_rows_loses_the_rest(session):
    line = from_torch(values().reshape(-1), "data", session=session)
    table = line.view(N, D)
    table.sub_(table.mean(1, keepdim=True))
    assert session.lineage(line).fidelity == "unknown"
    assert session.lineage(table).maps["data"].backward([1]).tolist() == [4, 5, 6, 7]


def test_a_change_through_the_plain_tensor_is_seen(session):
    plain = values()
    x = from_torch(plain, "data", session=session)
    plain.copy_(plain.flip(0).clone())
    lineage = session.lineage(x)
    assert lineage.fidelity == "unknown"
    assert "another tensor of the same memory" in lineage.reason


@pytest.mark.parametrize("hand_out", [lambda x: x.numpy(), np.asarray, lambda x: x.data])
def test_rows_are_only_claimed_once_the_memory_was_handed_out(hand_out, session):
    x = from_torch(values(), "data", session=session)
    hand_out(x)[:] = 0
    assert session.lineage(x).fidelity == "claimed"
    assert session.lineage(x[1:3] * 2).fidelity == "claimed"
    assert "handed out" in session.lineage(x[1:3]).reason


def test_inference_mode_follows_rows_and_loses_views_that_were_written(session):
    x = from_torch(values(), "data", session=session)
    with torch.inference_mode():
        doubled = x * 2
        view = doubled[1:3]
        assert session.lineage(view).maps["data"].backward([0]).tolist() == [1]
        doubled[:] = doubled.flip(0).clone()
        assert session.lineage(doubled).maps["data"].backward([0]).tolist() == [N - 1]
        assert session.lineage(view).fidelity == "unknown"


def test_a_number_that_left_a_tensor_is_context_of_all_that_follows(session):
    x = from_torch(values(), "data", session=session)
    result = x[:2] - x[2:].mean().item()
    members = [each.members.backward([0]).tolist() for each in session.lineage(result).contexts]
    assert members == [[2, 3, 4, 5]]


def added_to(plain, x):
    plain += x
    return plain


@pytest.mark.parametrize(
    "write",
    [
        lambda plain, x: plain.copy_(x),
        added_to,
        lambda plain, x: plain.index_put_((torch.tensor([0, 1]),), x[:2]),
        lambda plain, x: torch.mul(x, 1, out=plain),
        lambda plain, x: plain.__setitem__(slice(None), x),
    ],
)
def test_values_that_were_written_into_a_plain_tensor_are_context_of_all_that_follows(
    write, session
):
    x = from_torch(values(), "data", session=session)
    plain = torch.zeros(N, D, dtype=torch.float64)
    write(plain, x.flip(0))
    lineage = session.lineage(x + plain)
    assert {int(row) for c in lineage.contexts for row in c.members.backward([0])} >= {N - 1, N - 2}


def test_numbers_that_leave_in_a_loop_do_not_pile_up(session):
    x = from_torch(values(), "data", session=session)
    for step in range(500):
        x[step % 3].sum().item()
    assert len(session.notes.found) < 100
    (context,) = session.lineage(x).contexts
    assert context.members.backward([0]).tolist() == [0, 1, 2]


def test_a_module_runs_and_learns_as_without_tracking(session):
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(D, 5), torch.nn.BatchNorm1d(5), torch.nn.ReLU(), torch.nn.Dropout(0.0),
        torch.nn.Linear(5, 1),
    ).double()  # fmt: skip
    twin = copy.deepcopy(model)
    x = from_torch(values(), "data", session=session)
    prediction = model(x)
    lineage = session.lineage(prediction)
    assert said_pairs(lineage)[0] == {(row, row) for row in range(N)}
    assert {each.input for each in lineage.contexts} == {"data"}  # of the batch norm
    prediction.square().mean().backward()
    twin(values()).square().mean().backward()
    for mine, other in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(mine.grad, other.grad)
        assert type(mine.grad) is torch.Tensor


def test_gradients_reach_the_tensor_that_was_tracked(session):
    weight = values().requires_grad_()
    x = from_torch(weight, "data", session=session)
    (x[1:3] ** 2).sum().backward()
    assert torch.equal(weight.grad[1:3], 2 * values()[1:3])
    assert not weight.grad[3:].any()


def test_the_transforms_of_torch_func_give_plain_tensors(session):
    x = from_torch(values(), "data", session=session)
    mapped = torch.func.vmap(lambda row: (row * 2).sum())(x)
    slope = torch.func.grad(lambda each: (each**2).sum())(x)
    for result, expected in ((mapped, values().sum(1) * 2), (slope, 2 * values())):
        assert type(result) is torch.Tensor
        assert torch.equal(result, expected)


def test_a_compiled_function_gives_the_values_as_a_plain_tensor(session):
    function = torch.compile(lambda x: (x * 2 + 1)[1:3], backend="eager")
    for x in (values(), values().flip(0)):
        result = function(from_torch(x.clone(), "data", session=session))
        assert type(result) is torch.Tensor
        assert torch.equal(result, (x * 2 + 1)[1:3])


def test_two_inputs_keep_their_rows_apart(session):
    x = from_torch(values(), "data", session=session)
    y = from_torch(torch.ones(3, D, dtype=torch.float64), "other", session=session)
    both = torch.cat([x[[5, 1]] + y[:2], y])
    lineage = session.lineage(both)
    assert [lineage.maps["data"].backward([row]).tolist() for row in range(5)] == [
        [5], [1], [], [], [],
    ]  # fmt: skip
    assert [lineage.maps["other"].backward([row]).tolist() for row in range(5)] == [
        [0], [1], [0], [1], [2],
    ]  # fmt: skip


@pytest.mark.parametrize(
    "look_up",
    [
        lambda index: F.embedding(index, OTHER),
        lambda index: torch.embedding(OTHER, index),
        F.one_hot,
        lambda index: F.nll_loss(-OTHER, index % D, reduction="none"),
    ],
)
def test_what_is_looked_up_by_a_tracked_index_has_the_rows_of_the_index(look_up, session):
    result = look_up(from_torch(PICKS[:, 1], "index", session=session))
    lineage = session.lineage(result)
    assert lineage.fidelity == "exact"
    assert not lineage.contexts
    assert lineage.maps["index"].kind == "identity"


def test_tensors_of_two_sessions_do_not_meet(session):
    mine = from_torch(values(), "data", session=session)
    with CaptureSession() as another:
        yours = from_torch(values(), "data", session=another)
        with pytest.raises(CaptureError, match="different sessions"):
            mine + yours


def test_a_tensor_goes_on_as_a_plain_one_when_its_session_is_closed():
    with CaptureSession() as closed:
        x = from_torch(values(), "data", session=closed)
    assert torch.equal(torch.as_tensor(x * 2), values() * 2)
    assert x.__traceprop_placed__() is None


def test_what_has_no_rows_of_memory_is_refused_or_plain(session):
    x = from_torch(values(), "data", session=session)
    assert type(x.to_sparse()) is torch.Tensor
    for given in (values().to_sparse(), torch.tensor(1.0)):
        with pytest.raises(CaptureError, match=r"not followed|no rows"):
            from_torch(given, "more", session=session)


def test_a_marked_frame_hands_its_rows_over(session):
    frame = session.load(pd.DataFrame({"a": [3.0, 1.0, 2.0], "b": [0.0, 1.0, 2.0]}), "visits")
    x = from_torch(frame.sort_values("a"))
    lineage = session.lineage(x[1:] * 2)
    assert lineage.maps["visits"].pairs()[1].tolist() == [2, 0]
    assert lineage.contexts == ()


def test_a_deep_copy_keeps_its_rows_and_a_pickle_is_plain(session):
    x = from_torch(values(), "data", session=session)[2:]
    again = copy.deepcopy(x)
    assert session.lineage(again).maps["data"].backward([0]).tolist() == [2]
    again[0] = 0
    assert torch.equal(torch.as_tensor(x), values()[2:])
    loaded = pickle.loads(pickle.dumps(x))  # noqa: S301 (our own bytes)
    assert type(loaded) is torch.Tensor
    assert torch.equal(loaded, values()[2:])


def test_facts_and_fresh_tensors_are_those_of_torch(session):
    x = from_torch(values(), "data", session=session)
    assert (x.shape, x.ndim, len(x), x.dtype) == ((N, D), 2, N, torch.float64)
    assert type(torch.zeros_like(x)) is torch.Tensor
    assert x.grad is None
    assert "TrackedTensor" in repr(x)
    assert not session.notes.found


def test_a_coarser_granularity_keeps_operations_or_nothing_and_never_changes_a_value(session):
    x = from_torch(values(), "data", session=session)
    with granularity("OP"):
        coarse = x.flip(0) * 2
    with granularity("OFF"):
        plain = x.flip(0) * 2
        x.add_(1)
    lineage = session.lineage(coarse)
    assert lineage.fidelity == "unknown"
    assert "granularity OP" in lineage.reason
    assert [op.name for op in lineage.ops] == ["torch.flip", "torch.mul"]
    assert type(plain) is torch.Tensor
    assert torch.equal(plain, torch.as_tensor(coarse))
    assert session.lineage(x).fidelity == "unknown"  # what was written meanwhile was not seen


def test_operations_are_listed_once_in_a_loop(session):
    x = from_torch(values(), "data", session=session)
    for _ in range(50):
        x.mul_(0.9)
    assert [op.name for op in session.lineage(x[2:].exp()).ops] == [
        "torch.mul", "torch.getitem", "torch.exp",
    ]  # fmt: skip


STEPS = [
    lambda x, g: x[torch.randperm(len(x), generator=g)],
    lambda x, g: x[torch.rand(len(x), generator=g) < 0.7],
    lambda x, g: x * 2 + 1,
    lambda x, g: torch.cat([x, x[: len(x) // 2]]),
    lambda x, g: x.flip(0),
    lambda x, g: x.roll(3, 0),
    lambda x, g: x[x[:, 1].argsort()],
    lambda x, g: x.repeat_interleave(2, dim=0)[: max(len(x), 1)],
    lambda x, g: torch.where(x > x.roll(1, 0), x, x.roll(1, 0)),
    lambda x, g: x.chunk(2)[0],
    lambda x, g: x.clone().index_copy_(0, torch.arange(min(2, len(x))), x[-2:][: min(2, len(x))]),
    lambda x, g: x.reshape(len(x), 2, -1).flatten(1),
]


@pytest.mark.parametrize("seed", range(40))
def test_random_chains_lead_to_the_planted_keys(seed, session):
    """The value of each element names its row: after any chain of moves, so must the map."""
    generator = torch.Generator().manual_seed(seed)
    n = 30
    keys = torch.arange(n, dtype=torch.float64)[:, None] * 1000 + torch.arange(4) * 2
    x = from_torch(keys.clone(), "data", session=session)
    scale, shift = 1.0, 0.0
    for _ in range(6):
        choice = int(torch.randint(len(STEPS), (1,), generator=generator))
        x = STEPS[choice](x, generator)
        if choice == 2:
            scale, shift = scale * 2, shift * 2 + 1
        if len(x) < 4:
            break
    found = ((x.__traceprop_plain__() - shift) / scale // 1000).long()
    lineage = session.lineage(x)
    said = [set(lineage.maps["data"].backward([row]).tolist()) for row in range(len(x))]
    planted = [set(row.tolist()) for row in found]
    assert lineage.fidelity == "exact"
    for claim, truth in zip(said, planted, strict=True):
        assert truth <= claim
        assert len(claim) <= 8
    if not any(op.name == "torch.where" for op in lineage.ops):
        assert said == planted


# --- detached in place -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "detach", [torch.Tensor.detach_, torch.detach_, lambda x: torch.detach_(input=x)]
)
def test_a_tensor_without_gradients_is_detached_as_it_is(session, detach):
    x = from_torch(values(), "data", session=session)[INDEX]
    assert detach(x) is x
    assert said_pairs(session.lineage(x))[0] == {(0, 4), (1, 1), (2, 1), (3, 5)}


@pytest.mark.parametrize("level", ["ROW", "OFF"])
def test_detaching_in_place_cuts_the_graph_and_keeps_the_rows(session, level):
    weight = torch.ones(D, dtype=torch.float64, requires_grad=True)
    x = from_torch(values(), "data", session=session)[INDEX] * weight
    with granularity(level):
        assert x.detach_() is x
    assert (x.requires_grad, x.grad_fn, x.is_leaf) == (False, None, True)
    assert torch.equal(x.as_subclass(torch.Tensor), values()[INDEX])
    (x * weight).sum().backward()
    assert torch.equal(weight.grad, values()[INDEX].sum(0))  # not through the first product
    assert said_pairs(session.lineage(x + 0))[0] == {(0, 4), (1, 1), (2, 1), (3, 5)}


def test_what_autograd_still_needs_is_not_detached_in_place(session):
    weight = torch.full((D,), 3.0, dtype=torch.float64, requires_grad=True)
    x = from_torch(values(), "data", session=session) * weight
    total = x.square().sum()
    with pytest.raises(RuntimeError, match=r"Use detach\(\) instead"):
        x.detach_()
    assert x.requires_grad
    total.backward()
    assert torch.allclose(weight.grad, (2 * 3.0 * values().square()).sum(0))
    assert x.detach_() is x  # the graph is gone
    assert session.lineage(x).fidelity == "exact"


def test_writes_through_memory_of_a_detached_tensor_are_still_seen(session):
    weight = torch.ones(D, dtype=torch.float64, requires_grad=True)
    x = from_torch(values(), "data", session=session) * weight
    x.detach_()
    x.as_subclass(torch.Tensor)[0] = 5.0
    assert session.lineage(x).fidelity == "unknown"


def test_values_copied_into_a_plain_tensor_are_noted(session):
    x = from_torch(values(), "data", session=session)
    plain = torch.zeros(N, D, dtype=torch.float64)
    plain.copy_(x)
    (context,) = session.lineage(x[:1] + plain[:1]).contexts
    assert (context.statistic, context.members.backward([0]).tolist()) == (
        "torch.copy",
        list(range(N)),
    )
