"""Throughput of per-sample gradients of a PyTorch net, in rows per CPU second of one thread.

`python -m benchmarks.per_sample_gradients` prints one JSON line for each net and way. All ways run
in turn, again and again; the figures are medians of process CPU time, and of the ratios to the
plain epoch of the same turn.

*plain*: forward and backward of the mean loss in batches, as an epoch does, without the optimiser;
the faster of batches of 256 and of 1,024 rows. *factors*: `TorchTraining.train_gradients`, all rows
captured into arrays, the copy of the module included; it runs after a plain epoch, so its arrays
are memory that the system hands out anew. *capture*: the same without the copy; it follows
*factors* and fills memory that was freed just before, as every checkpoint but the first does.
*vmap*: `torch.func.vmap(grad)` in batches of 256. *opacus*: its `GradSampleModule` in batches of
256, where it is installed. The last two make the gradients and keep none of them. Factors, vmap and
opacus are first compared with a loop over rows.
"""

import argparse
import gc
import importlib
import json
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from traceprop_engine.torch_gradients import TorchTraining
from traceprop_engine.torch_gradients.capture import capture
from traceprop_engine.torch_gradients.modules import state_of, undisturbed
from traceprop_engine.torch_gradients.plan import plan_capture
from traceprop_engine.torch_gradients.scalars import margin
from traceprop_engine.torch_gradients.tables import read_table

Way = Callable[[], Any]

NETS = {
    "64-64-10": ((64, 64, 10), 20_000, 2_000),
    "784-128-64-10": ((784, 128, 64, 10), 8_000, 512),
    "784-256-10": ((784, 256, 10), 8_000, 256),
}
"""Widths, rows, and rows of the ways that make whole gradients."""


def make_net(widths: tuple[int, ...]) -> nn.Sequential:
    """Return a net of linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def plain(net: nn.Module, x: Tensor, y: Tensor, batch: int) -> None:
    """Do the forward and backward passes of an epoch."""
    for rows in torch.arange(len(x)).split(batch):
        net.zero_grad()
        functional.cross_entropy(net(x[rows]), y[rows]).backward()


def by_vmap(net: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Return the gradients of the loss of each row of the last batch, by `torch.func`."""
    parameters = {name: one.detach() for name, one in net.named_parameters()}

    def loss(chosen: dict[str, Tensor], row: Tensor, label: Tensor) -> Tensor:
        return functional.cross_entropy(functional_call(net, chosen, (row[None],)), label[None])

    each = vmap(grad(loss), in_dims=(None, 0, 0))
    for rows in torch.arange(len(x)).split(256):
        found = each(parameters, x[rows], y[rows])
    return found


def by_opacus(wrapped: Any, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Return the gradients of the loss of each row of the last batch, by the hooks of opacus."""
    for rows in torch.arange(len(x)).split(256):
        wrapped.zero_grad()
        functional.cross_entropy(wrapped(x[rows]), y[rows], reduction="sum").backward()
    return {
        name.removeprefix("_module."): one.grad_sample for name, one in wrapped.named_parameters()
    }


def looped(net: nn.Module, x: Tensor, y: Tensor) -> np.ndarray:
    """Return the gradients of the loss of each row by its own backward pass."""
    found = []
    for row in range(len(x)):
        loss = functional.cross_entropy(net(x[row : row + 1]), y[row : row + 1])
        gradients = torch.autograd.grad(loss, list(net.parameters()))
        found.append(in_one(gradients))
    return np.stack(found)


def in_one(gradients: Any) -> np.ndarray:
    """Return gradients in the order of the factors: inputs by outputs, then the bias."""
    return torch.cat([one.T.reshape(-1) if one.dim() > 1 else one for one in gradients]).numpy()


def check(name: str, found: np.ndarray, wanted: np.ndarray) -> None:
    """Refuse to measure a way that gives other gradients."""
    error = np.abs(found - wanted).max() / np.abs(wanted).max()
    if not error < 1e-5:  # noqa: PLR2004 - single precision
        raise SystemExit(f"{name}: the gradients differ from the loop by {error:.1e}")


def ways_of(widths: tuple[int, ...], n_rows: int, n_whole: int) -> dict[str, tuple[Way, int]]:
    """Return each way to run, checked, and its number of rows."""
    torch.manual_seed(0)
    net = make_net(widths)
    x, y = torch.randn(n_rows, widths[0]), torch.randint(0, widths[-1], (n_rows,))
    wanted = looped(net, x[:5], y[:5])
    training = TorchTraining(net, (state_of(net),), (1,), x.numpy(), y.numpy())
    few = training.train_gradients(0).take(slice(0, 5))
    check("factors", few.slopes[:, None] * few.dense(), wanted)
    found = by_vmap(net, x[:5], y[:5])
    check(
        "vmap", np.stack([in_one([one[row] for one in found.values()]) for row in range(5)]), wanted
    )
    with undisturbed(net):
        table = read_table(net, x.numpy(), y.numpy(), "cross_entropy")
        plan = plan_capture(net, table, margin)
    few_x, few_y = x[:n_whole], y[:n_whole]
    ways: dict[str, tuple[Way, int]] = {
        "plain 256": (lambda: plain(net, x, y, 256), n_rows),
        "plain 1024": (lambda: plain(net, x, y, 1024), n_rows),
        "factors": (lambda: training.train_gradients(0), n_rows),
        "capture": (
            lambda: capture(net, plan, table, margin, "cross_entropy", (1 << 28, None)),
            n_rows,
        ),
        "vmap": (lambda: by_vmap(net, few_x, few_y), n_whole),
    }
    if find_spec("opacus") is not None:
        hooked = make_net(widths)
        hooked.load_state_dict(net.state_dict())
        wrapped = importlib.import_module("opacus").GradSampleModule(hooked, loss_reduction="sum")
        found = by_opacus(wrapped, x[:5], y[:5])
        rows = [in_one([one[row] for one in found.values()]) for row in range(5)]
        check("opacus", np.stack(rows), wanted)
        ways["opacus"] = (lambda: by_opacus(wrapped, few_x, few_y), n_whole)
    return ways


def measure(ways: dict[str, tuple[Way, int]], n_runs: int) -> dict[str, list[float]]:
    """Return rows per CPU second of each way in each turn."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(n_runs + 1):
        for name, (run, n_rows) in ways.items():
            gc.collect()
            start = time.process_time()
            run()
            if turn:  # the first one warms up
                rates[name].append(n_rows / (time.process_time() - start))
    return rates


def main() -> None:
    """Print one line for each net and way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    n_runs = parser.parse_args().runs
    torch.set_num_threads(1)
    for name, (widths, n_rows, n_whole) in NETS.items():
        rates = measure(ways_of(widths, n_rows, n_whole), n_runs)
        epochs = [max(pair) for pair in zip(rates["plain 256"], rates["plain 1024"], strict=True)]
        for way, mine in rates.items():
            ratios = [one / other for one, other in zip(mine, epochs, strict=True)]
            line = {
                "net": name,
                "way": way,
                "runs": n_runs,
                "rows_per_second": round(statistics.median(mine)),
                "of_plain": round(statistics.median(ratios), 3),
            }
            print(json.dumps(line))


if __name__ == "__main__":
    main()
