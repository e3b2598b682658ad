"""A training loop whose steps know their rows."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from traceprop_engine.errors import UnknownRowsError
from traceprop_engine.lineage.granularity import (
    Granularity,
    current_granularity,
    granularity_named,
)
from traceprop_engine.lineage.graph import default_graph
from traceprop_engine.lineage.pandas_capture import CaptureSession
from traceprop_engine.lineage.rows import narrowed
from traceprop_engine.tensors.datasets import (
    Sample,
    TrackedStream,
    base_rows,
    indexed,
    looked_through,
)
from traceprop_engine.tensors.training_steps import (
    Detail,
    RowNumbers,
    StepRecorder,
    TrainingStep,
    TrainingSteps,
)

_NO_ROWS = "let it yield row numbers, or follow the data set in a loop of your own"


def follow(
    loader: DataLoader[Any],
    source_id: str | None = None,
    *,
    session: CaptureSession | None = None,
    granularity: Granularity | Detail | None = None,
) -> "FollowedLoader":
    """Return a loader that says with each batch which rows are in it.

    The batches are those of ``loader``: same values, order and random numbers, whatever its
    sampler, collate function and workers. The index of each sample travels with it, so that nothing
    is guessed.

    Args:
        loader: A loader over any map-style data set, where item ``i`` is row ``i``; over an
            iterable one, it must be wrapped by `track_dataset`.
        source_id: Names the data set as an input, if its rows are not known yet; ``"dataset"``
            without one.
        session: What a new input belongs to; the graph of the process without one.
        granularity: What is kept of each step; see `TrainingSteps`. It never changes the batches.
            Without it, the setting where `follow` is called.

    Raises:
        GranularityError: There is no such granularity.
        UnknownRowsError: The data set does not say which rows it gives.

    Example:
        >>> data = torch.utils.data.TensorDataset(torch.arange(6.0))
        >>> loader = torch.utils.data.DataLoader(data, batch_size=4, sampler=[3, 1, 5, 0, 2, 4])
        >>> batches = follow(loader, "doses of six days")
        >>> for step, (x,) in batches:
        ...     step.rows.tolist(), x.tolist()
        ([3, 1, 5, 0], [3.0, 1.0, 5.0, 0.0])
        ([2, 4], [2.0, 4.0])
        >>> batches.steps.steps_of(4)
        array([1])
    """
    if not isinstance(loader, DataLoader):
        raise UnknownRowsError(
            f"A {type(loader).__name__} does not say which rows its batches hold",
            "follow a `torch.utils.data.DataLoader`",
        )
    level = current_granularity() if granularity is None else granularity_named(granularity)
    return FollowedLoader(loader, source_id or "dataset", session, level.value)


class FollowedLoader:
    """Yields ``(step, batch)``; each pass over it is one epoch. Made by `follow`."""

    def __init__(
        self,
        loader: DataLoader[Any],
        name: str,
        session: CaptureSession | None,
        granularity: Detail,
    ) -> None:
        """Prepare a copy of the loader whose batches bring their rows along."""
        notes = default_graph() if session is None else session.notes
        dataset: Any = loader.dataset
        base, self._positions = looked_through(dataset)
        placed = base_rows(base, notes, name)
        self._n_rows = len(placed[1])
        self._is_stream = isinstance(dataset, TrackedStream)
        self._n_items = self._n_rows if self._is_stream else len(dataset)
        self._off = granularity == "OFF"
        self._loader = loader if self._off else _with_rows(loader)
        self._recorder = StepRecorder(granularity, placed)
        self._epoch = 0

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[tuple[TrainingStep, Any]]:
        epoch, self._epoch = self._epoch, self._epoch + 1
        for given in self._loader:
            index, batch = (None, given) if self._off else given
            rows = None if index is None else self._rows(index)
            yield self._recorder.add(epoch, rows), batch

    @property
    def steps(self) -> TrainingSteps:
        """The steps until now, in all epochs."""
        return self._recorder.steps()

    def _rows(self, index: Any) -> RowNumbers:
        positions = _checked(index, self._n_items, negative=not self._is_stream)
        rows = positions if self._positions is None else self._positions[positions]
        rows = narrowed(rows)
        rows.flags.writeable = False
        return rows


class _WithRows:
    """A collate function beside which the indices of the samples are collected."""

    def __init__(self, collate: Callable[[Any], Any]) -> None:
        self.collate = collate

    def __call__(self, samples: Any) -> tuple[Any, Any]:
        if isinstance(samples, Sample):
            return _sent(samples.index), self.collate(samples.value)
        index = [each.index for each in samples]
        return _sent(index), self.collate([each.value for each in samples])


def _sent(index: Any) -> Any:
    """Return indices as NumPy, which a worker sends in the message itself."""
    if isinstance(index, torch.Tensor):
        return index.cpu().numpy()
    whole = isinstance(index, list) and all(isinstance(each, int) for each in index)
    return np.array(index, dtype=np.int64) if whole else index


def _with_rows(loader: DataLoader[Any]) -> DataLoader[Any]:
    """Return the same loader, with its samplers and generator, over items that say their index."""
    twin = copy.copy(loader)
    # A loader refuses to change these once it is made; the copy was never iterated.
    vars(twin).update(
        dataset=indexed(loader.dataset),
        collate_fn=_WithRows(loader.collate_fn),
        _iterator=None,
    )
    return twin


def _checked(index: Any, n_items: int, *, negative: bool) -> RowNumbers:
    """Return the items that an index names.

    Raises:
        UnknownRowsError: It names none, or one that does not exist.
    """
    if isinstance(index, slice):
        return np.arange(n_items)[index]
    items = np.asarray(
        [each.item() if isinstance(each, torch.Tensor) else each for each in index]
        if isinstance(index, list)
        else index
    ).reshape(-1)
    if items.dtype == np.bool_ and len(items) == n_items:
        return np.flatnonzero(items)
    if items.size and items.dtype.kind not in "iu":
        raise UnknownRowsError(
            f"The sampler yields {items[0].item()!r}, which is no row number", _NO_ROWS
        )
    items = items.astype(np.int64)
    wrapped = np.where(items < 0, items + n_items, items) if negative else items
    wrong = items[(wrapped < 0) | (wrapped >= n_items)]
    if wrong.size:
        raise UnknownRowsError(
            f"Row {wrong[0]} was yielded, but there are {n_items:,} rows", "number them from 0"
        )
    return wrapped
