"""Rows as a module reads them, a few at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from traceprop_engine.errors import QueryShapeError
from traceprop_engine.gradients import Loss
from traceprop_engine.gradients.labels import encode_labels
from traceprop_engine.torch_gradients.modules import (
    refuse_undefined,
    trained_parameters,
    undisturbed,
)
from traceprop_engine.torch_gradients.scalars import (
    rows_of_outputs,
    trained_scalar,
)

NUMPY_TYPES: Final = {torch.float32: np.float32, torch.float64: np.float64}
"""The precisions that are captured."""


@dataclass(frozen=True, eq=False)
class Table:
    """Rows and their labels.

    Attributes:
        features: ``[n, ...]``, as they were given.
        labels: As the scalars read them, ``[n]``; zeros where there are none.
        like: A parameter of the module, for its type and device.
    """

    features: NDArray[np.generic]
    labels: Tensor
    like: Tensor

    def __len__(self) -> int:
        return len(self.features)

    def part(self, rows: slice) -> "Table":
        """Return a run of the rows as a table."""
        return Table(self.features[rows], self.labels[rows], self.like)

    def rows(self, chosen: slice | NDArray[np.integer]) -> tuple[Tensor, Tensor]:
        """Return the features of some rows, copied, and their labels."""
        known = chosen if isinstance(chosen, slice) else torch.from_numpy(chosen)
        return feature_tensor(self.features[chosen], self.like), self.labels[known]


def read_table(
    module: nn.Module,
    features: NDArray[np.generic],
    labels: NDArray[np.generic] | None,
    loss: Loss,
) -> Table:
    """Return rows as a module reads them.

    Raises:
        UndefinedRowGradientError: A layer mixes rows.
        QueryShapeError: There are no rows, or the module cannot read them, or labels do not fit.
        UnknownClassError: A label is no class of the module.
    """
    refuse_undefined(module)
    array = checked_features(features)
    like = next(iter(trained_parameters(module).values()))
    outputs = _first_outputs(module, feature_tensor(array[:1], like))
    return Table(array, _encoded(labels, len(array), loss, outputs), like.detach())


def checked_features(features: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return features as an array.

    Raises:
        QueryShapeError: There are no rows, or they are no numbers.
    """
    array = np.asarray(features)
    if array.dtype.kind not in "biuf":
        raise QueryShapeError("features", "an array of numbers", str(array.dtype))
    if array.ndim == 0 or len(array) == 0:
        raise QueryShapeError("features", "[n, ...] with at least one row", str(list(array.shape)))
    return array


def feature_tensor(rows: NDArray[np.generic], like: Tensor) -> Tensor:
    """Return a copy of rows: numbers in the type of the parameters, integers as they are.

    Args:
        rows: Numbers.
        like: A parameter, for its type and device.
    """
    kinds: dict[str, Any] = {"f": NUMPY_TYPES[like.dtype], "b": np.bool_}
    converted = rows.astype(kinds.get(rows.dtype.kind, np.int64))
    return torch.from_numpy(converted).to(like.device)


def require_labels(labels: object) -> None:
    """Refuse to go on without labels.

    Raises:
        QueryShapeError: There are none.
    """
    if labels is None:
        raise QueryShapeError("labels", "given, as this scalar reads them", "None")


def check_rows(
    module: nn.Module,
    features: NDArray[np.generic],
    labels: NDArray[np.generic],
    loss: Loss,
) -> None:
    """Refuse training rows that do not fit a module, by the output of the first one.

    Raises:
        TracepropError: The module cannot be recorded, or features or labels do not fit it.
    """
    with undisturbed(module), torch.no_grad():
        table = read_table(module, features, labels, loss)
        rows, known = table.rows(slice(1))
        trained_scalar(loss)(rows_of_outputs(module(rows)), known)


def blocks_of(n: int, rows: int) -> Iterator[slice]:
    """Return consecutive blocks of at most ``rows`` rows."""
    return (slice(start, min(start + rows, n)) for start in range(0, n, rows))


def _encoded(labels: NDArray[np.generic] | None, n: int, loss: Loss, outputs: Tensor) -> Tensor:
    """Return labels as the scalars read them, ``[n]``; zeros where there are none."""
    if labels is None:
        return torch.zeros(n, dtype=torch.int64, device=outputs.device)
    encoded = torch.from_numpy(encode_labels(labels, loss, outputs.shape[1], n))
    return encoded.to(outputs.device, outputs.dtype if loss == "squared" else torch.int64)


def _first_outputs(module: nn.Module, row: Tensor) -> Tensor:
    try:
        with torch.no_grad():
            outputs = rows_of_outputs(module(row))
    except RuntimeError as problem:  # what PyTorch raises of shapes and types that do not fit
        got = f"{row.dtype} {list(row.shape)} ({str(problem).partition(chr(10))[0]})"
        raise QueryShapeError("features", "what the module reads", got) from problem
    if outputs.dtype not in NUMPY_TYPES:
        wanted = "in single or double precision"
        raise QueryShapeError("The module's output", wanted, str(outputs.dtype))
    return outputs
