"""What it costs to know the rows of every training step, and of every tensor operation.

`python -m benchmarks.tensors` prints one JSON line for each case. Plain and tracked runs alternate;
the figure is process CPU time, as ratios of the minima and of the medians.

*epoch*: an epoch of a small network over 100,000 rows in batches of 256 from a shuffling loader,
with and without `follow`; its batches and its losses are compared first. *elements*: chains of
elementwise operations on 1,000,000 elements. *rows*: what a pipeline does to a table of 100,000
rows: masks, permutations, concatenation, standardisation. *batches*: slices of a few rows, whose
cost is that of the calls alone.
"""

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

from traceprop_engine.lineage import CaptureSession
from traceprop_engine.tensors import follow, from_torch

Run = Callable[[], Any]


def make_loader(n_rows: int, n_features: int = 20) -> DataLoader[Any]:
    """Return a shuffling loader over a regression problem."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n_rows, n_features, generator=generator)
    y = x.sum(1, keepdim=True) + torch.randn(n_rows, 1, generator=generator)
    return DataLoader(TensorDataset(x, y), batch_size=256, shuffle=True)


def train(batches: Any, n_features: int = 20) -> list[float]:
    """Train a small network for one epoch, and return its losses."""
    torch.manual_seed(1)
    model = torch.nn.Sequential(
        torch.nn.Linear(n_features, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    losses: list[float] = []
    for x, y in batches:
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def epochs(n_rows: int, session: CaptureSession) -> tuple[Run, Run]:
    """Return an epoch without and with the rows of its steps."""
    loader = make_loader(n_rows)

    def followed() -> list[float]:
        batches = follow(loader, "epoch", session=session)
        losses = train(batch for _, batch in batches)
        if len(batches.steps.rows) != n_rows:
            raise SystemExit("not every row was seen")
        return losses

    return lambda: train(loader), followed


def on_tensor(
    tensor: torch.Tensor, function: Callable[[Any], Any], session: CaptureSession
) -> tuple[Run, Run]:
    """Return a function of a tensor and of the same one tracked."""
    name = f"input {len(session.notes.inputs)}"

    def tracked() -> torch.Tensor:
        return function(from_torch(tensor, name, session=session)).as_subclass(torch.Tensor)

    return lambda: function(tensor), tracked


def prepare(x: Any) -> Any:
    """Do what a pipeline does to a table before training."""
    x = torch.cat([x[x[:, 0] > -1], x[:1000]])
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(2))]
    x = (x - x.mean(0)) / x.std(0)
    return torch.hstack([x, x.square()])[x[:, 1].argsort()]


def slices(x: Any) -> Any:
    """Take two hundred small batches."""
    return torch.stack([x[at : at + 32].sum() for at in range(0, 6400, 32)])


CASES: dict[str, Callable[[CaptureSession], tuple[Run, Run]]] = {
    "epoch of 100,000 rows": lambda session: epochs(100_000, session),
    "elements: x * 2 + 1": lambda session: on_tensor(
        torch.randn(1_000_000), lambda x: x * 2 + 1, session
    ),
    "elements: six steps": lambda session: on_tensor(
        torch.randn(1_000_000), lambda x: ((x * 2 + 1).exp().log1p() - 0.5).tanh(), session
    ),
    "rows: prepare 100,000 by 20": lambda session: on_tensor(
        torch.randn(100_000, 20), prepare, session
    ),
    "batches: 200 slices": lambda session: on_tensor(torch.randn(6400, 20), slices, session),
}


def measure(plain: Run, tracked: Run, n_runs: int) -> dict[str, float]:
    """Return CPU seconds of alternating runs, and their ratios."""
    seconds: tuple[list[float], list[float]] = [], []
    for _ in range(n_runs):
        for into, run in zip(seconds, (plain, tracked), strict=True):
            gc.collect()
            start = time.process_time()
            run()
            into.append(time.process_time() - start)
    low, middle = [[f(each) for each in seconds] for f in (min, statistics.median)]
    return {
        "plain_ms": round(low[0] * 1e3, 2),
        "tracked_ms": round(low[1] * 1e3, 2),
        "ratio_of_minima": round(low[1] / low[0], 3),
        "ratio_of_medians": round(middle[1] / middle[0], 3),
    }


def same(one: Any, other: Any) -> bool:
    """Say whether two results are equal, bit by bit."""
    return torch.equal(torch.as_tensor(one), torch.as_tensor(other))


def main() -> None:
    """Print one line for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    n_runs = parser.parse_args().runs
    torch.set_num_threads(1)
    with CaptureSession() as session:
        for name, make in CASES.items():
            plain, tracked = make(session)
            if not same(plain(), tracked()):
                raise SystemExit(f"{name}: tracking changed the result")
            print(json.dumps({"case": name, "runs": n_runs, **measure(plain, tracked, n_runs)}))


if __name__ == "__main__":
    main()
