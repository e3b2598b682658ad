"""Gradients of all rows of a table, block by block within a bound on memory."""

from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from traceprop_engine.errors import QueryShapeError, UndefinedRowGradientError
from traceprop_engine.gradients import LayerGradients, Loss, OutputTarget, RowGradients
from traceprop_engine.torch_gradients.hooks import Pass, factor_pass
from traceprop_engine.torch_gradients.layers import Factors
from traceprop_engine.torch_gradients.modules import trained_parameters, undisturbed
from traceprop_engine.torch_gradients.plan import CapturePlan, own_parameters, plan_capture
from traceprop_engine.torch_gradients.scalars import (
    Scalar,
    close,
    needs_labels,
    rows_of_outputs,
    scalar_of,
    slopes_and_curvatures,
    trained_scalar,
)
from traceprop_engine.torch_gradients.single_rows import row_by_row, vectorised
from traceprop_engine.torch_gradients.tables import (
    NUMPY_TYPES,
    Table,
    blocks_of,
    read_table,
    require_labels,
)

DEFAULT_MEMORY = 64 << 20
"""Bytes that capture may use while it runs, about, beside its result."""

LARGEST_BLOCK = 8192
"""Rows beyond which a larger block is no faster."""

MOST_APART = 0.1
"""Share of its length by which a row's factors may change with its batch."""

Progress = Callable[[int, int], None]
"""Called with the rows that are done and with all of them."""


def row_gradients(
    module: nn.Module,
    features: NDArray[np.generic],
    labels: NDArray[np.generic] | None = None,
    *,
    loss: Loss = "cross_entropy",
    target: OutputTarget | None = None,
    memory_limit: int = DEFAULT_MEMORY,
    progress: Progress | None = None,
) -> RowGradients:
    """Return the gradient of each row's scalar in the trained parameters of a module as it stands.

    The module is used in evaluation mode: batch normalisation with its running statistics, no
    dropout. It is left as it was: modes, gradients, hooks and random states.

    Args:
        module: From features ``[n, ...]`` to outputs ``[n]`` or ``[n, n_outputs]``. Parameters with
            ``requires_grad=False`` are left out.
        features: ``[n, ...]``.
        labels: ``[n]``: positions of the classes, or values.
        loss: What the module was trained on.
        target: The scalar; without one that of training rows, with slopes and curvatures.
        memory_limit: Bytes to use while it runs, beside the result.
        progress: Called after each block of rows.

    Raises:
        TracepropError: A row has no gradient of its own, or labels, features or target do not fit;
            the message says what and why.
    """
    with undisturbed(module):
        table = read_table(module, features, labels, loss)
        if target is None:
            require_labels(labels)
            scalar = trained_scalar(loss)
        else:
            scalar = asked_scalar(module, table, labels, target, loss)
        plan = plan_capture(module, table, scalar)
        asked = None if target is not None else loss
        return capture(module, plan, table, scalar, asked, (memory_limit, progress))


def asked_scalar(
    module: nn.Module, table: Table, labels: object, target: OutputTarget, loss: Loss
) -> Scalar:
    """Return the scalar of a target, once the labels that it needs are there.

    Raises:
        InfluenceTargetError: The target does not exist for this loss.
        QueryShapeError: It needs labels and there are none.
    """
    scalar = scalar_of(target, loss)
    with torch.no_grad():
        n_outputs = rows_of_outputs(module(table.rows(slice(1))[0])).shape[1]
    if needs_labels(target, n_outputs):
        require_labels(labels)
    return scalar


def capture(
    module: nn.Module,
    plan: CapturePlan,
    table: Table,
    scalar: Scalar,
    loss: Loss | None,
    within: tuple[int, Progress | None],
) -> RowGradients:
    """Return the gradients of all rows, captured as planned.

    Args:
        module: In evaluation mode.
        plan: How each parameter is captured.
        table: The rows.
        scalar: Of which scalar.
        loss: Of training rows, to give slopes and curvatures; ``None`` for queries.
        within: Bytes to use beside the result, and what to call after each block.

    Raises:
        QueryShapeError: There are no rows, or the scalar of one is not finite.
        UndefinedRowGradientError: Outputs of a row depend on the batch.
    """
    limit, progress = within
    n = len(table)
    if n == 0:
        raise QueryShapeError("rows", "at least one", "none")
    rows = max(1, min(limit // max(plan.bytes_per_row, 1), LARGEST_BLOCK))
    sheets: dict[str, Sheet] = {}
    values = next(iter(trained_parameters(module).values())).new_empty(n)
    for block, found, factors in _passes(module, plan, table, scalar, rows):
        values[block] = found
        sheets = sheets or {name: Sheet(one, n) for name, one in factors.items()}
        for name, one in factors.items():
            sheets[name].write(block, one)
        if progress is not None:
            progress(block.stop, n)
    _check_values(values)
    layers = tuple(sheets[layer.name].gradients(layer.name) for layer in plan.layers)
    empty = np.empty(0, dtype=values.cpu().numpy().dtype)
    bends = (empty, empty) if loss is None else slopes_and_curvatures(values, table.labels, loss)
    return RowGradients(layers, values.cpu().numpy(), *bends)


class Sheet:
    """The arrays of one layer for all rows, filled block by block.

    Args:
        first: Factors of any block, for their form.
        n: Rows in all.
    """

    def __init__(self, first: Factors, n: int) -> None:
        dtype = NUMPY_TYPES[first.deltas.dtype]
        self._ones = first.ones
        self._inputs: NDArray[np.floating] | None = None
        self._deltas = np.empty((n, *first.deltas.shape[1:]), dtype)
        if first.inputs is not None:
            width = first.inputs.shape[-1] + first.ones
            self._inputs = np.empty((n, *first.inputs.shape[1:-1], width), dtype)

    def write(self, block: slice, factors: Factors) -> None:
        """Put the factors of a block of rows in their place."""
        torch.from_numpy(self._deltas[block]).copy_(factors.deltas)
        if self._inputs is None or factors.inputs is None:
            return
        target = torch.from_numpy(self._inputs[block])
        target[..., : factors.inputs.shape[-1]].copy_(factors.inputs)
        if self._ones:
            target[..., -1] = 1

    def gradients(self, name: str) -> LayerGradients:
        """Return the filled arrays."""
        return LayerGradients(name, self._inputs, self._deltas)


def _passes(
    module: nn.Module, plan: CapturePlan, table: Table, scalar: Scalar, rows: int
) -> Iterator[tuple[slice, Tensor, dict[str, Factors]]]:
    """Return, for each block, the scalars and the factors of every layer of the plan."""
    watched = plan.names("factors", "products")
    layers = {name: frozenset(own_parameters(module.get_submodule(name))) for name in watched}
    small = frozenset(plan.names("products"))
    for block in blocks_of(len(table), rows):
        features, labels = table.rows(block)
        middle = slice(len(features) // 2, len(features) // 2 + 1)
        alone = factor_pass(module, layers, features[middle], labels[middle], scalar, small)
        found = factor_pass(module, layers, features, labels, scalar, small)
        _check_block(module, found, alone, middle, watched)
        factors = dict(found.factors)
        for way, how in (("vmap", vectorised), ("loop", row_by_row)):
            names = plan.names(way)
            gradients = how(module, names, features, labels, scalar) if names else {}
            factors |= {name: Factors(None, one.flatten(1)) for name, one in gradients.items()}
        yield block, found.values, factors


def _check_block(
    module: nn.Module, block: Pass, alone: Pass, row: slice, watched: Collection[str]
) -> None:
    """Refuse a block in which a row has other outputs or factors than alone in its batch."""
    planned = set(watched) == block.factors.keys() == alone.factors.keys()
    if not (planned and close(block.outputs[row], alone.outputs) and _alike(block, alone, row)):
        raise UndefinedRowGradientError(
            type(module).__name__,
            "what it does with a row depends on the batch that the row is in",
            "take out what decides or computes over the batch",
        )


def _alike(block: Pass, alone: Pass, row: slice) -> bool:
    """Say whether the factors of a row are about those that it has alone.

    In another batch a row's numbers are rounded otherwise, which may switch a unit that was about
    to switch; those of another row are far off. What is not finite is left to `_check_values`.
    """
    pairs = [(block.factors[name], one) for name, one in alone.factors.items()]
    deltas = [(found.deltas[row], wanted.deltas) for found, wanted in pairs]
    inputs = [
        (found.inputs[row], wanted.inputs)
        for found, wanted in pairs
        if found.inputs is not None and wanted.inputs is not None
    ]
    return _near(deltas) and _near(inputs)


def _near(pairs: Sequence[tuple[Tensor, Tensor]]) -> bool:
    if any(found.shape != wanted.shape for found, wanted in pairs):
        return False
    sizes = [wanted.norm().item() for _, wanted in pairs]
    noise = max(sizes, default=0.0) * 1e-3  # of a layer whose own numbers cancel
    return not any(
        (found - wanted).norm().item() > MOST_APART * size + noise
        for (found, wanted), size in zip(pairs, sizes, strict=True)
    )


def _check_values(values: Tensor) -> None:
    wrong = ~torch.isfinite(values)
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise QueryShapeError(
            "The scalar of each row", "finite", f"{values[row].item()} in row {row}"
        )
