"""Which rows the items of a data set are, and data sets that say so."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import (
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
)

from traceprop_engine.errors import UnknownRowsError
from traceprop_engine.lineage.carriers import placed_of
from traceprop_engine.lineage.graph import default_graph, root_rows
from traceprop_engine.lineage.marks import Mark, Notes, Placed
from traceprop_engine.lineage.pandas_capture import CaptureSession
from traceprop_engine.lineage.rows import IntArray, Rows, taken
from traceprop_engine.tensors.contributions import Contribution, stacked_rows, together
from traceprop_engine.tensors.tracked_tensor import TrackedTensor, as_plain_tensor

_YIELDED = "yield pairs `(row, sample)` and wrap it in `track_dataset(..., n_rows=...)`"


class TrackedDataset(Dataset[Any]):
    """A data set with an item for each of some known rows; else what it wraps."""

    def __init__(self, dataset: Any, placed: Placed) -> None:
        """Hold a data set and its rows; `track_dataset` makes one."""
        self.dataset = dataset
        self.placed = placed

    def __len__(self) -> int:
        return len(self.placed[1])

    def __getitem__(self, index: Any) -> Any:
        return self.dataset[index]


class TrackedStream(IterableDataset[Any]):
    """An iterable data set that knows the row of each sample, which it gives without it."""

    def __init__(self, dataset: Any, placed: Placed) -> None:
        """Hold a data set that yields ``(row, sample)``; `track_dataset` makes one."""
        self.dataset = dataset
        self.placed = placed

    def __iter__(self) -> Iterator[Any]:
        return (sample for _, sample in self.dataset)


def track_dataset(
    *data: Any,
    rows: Any = None,
    source_id: str | None = None,
    n_rows: int | None = None,
    session: CaptureSession | None = None,
) -> TrackedDataset | TrackedStream:
    """Return a data set whose items are known rows.

    Args:
        data: One data set, or tensors, arrays and pandas objects of equal length, tracked or not,
            whose rows become its items.
        rows: A tracked value or marked pandas object: item ``i`` is its row ``i``. Without it, the
            rows of the tracked ones in ``data``.
        source_id: Names a new input where nothing is tracked; ``"dataset"`` without one.
        n_rows: For an `IterableDataset` that yields ``(row, sample)``: the rows of the input.
        session: What a new input belongs to; the graph of the process without one.

    Raises:
        UnknownRowsError: The lengths do not fit, or an iterable data set does not say its rows.
    """
    if not data:
        raise UnknownRowsError("There is no data to track", "give a data set or tensors")
    notes = default_graph() if session is None else session.notes
    name = source_id or "dataset"
    if isinstance(data[0], IterableDataset):
        return _stream(data[0], rows, n_rows, notes, name)
    dataset: Any = data[0] if isinstance(data[0], Dataset) else _tensor_dataset(data)
    placed = placed_of(rows) if rows is not None else _known_rows(data, dataset)
    if rows is not None and placed is None:
        raise UnknownRowsError(
            f"The rows of the {type(rows).__name__} given as `rows` are not known",
            "give a value that is tracked",
        )
    if placed is None:
        placed = base_rows(dataset, notes, name)
    if len(placed[1]) != len(dataset):
        raise UnknownRowsError(
            f"The data set has {len(dataset):,} items for {len(placed[1]):,} rows",
            "give one row for each item",
        )
    return TrackedDataset(without_marks(dataset), placed)


def base_rows(dataset: Any, notes: Notes, name: str) -> Placed:
    """Return which rows the items of a data set are.

    One that nobody knows is an input itself: item ``i`` is its row ``i``. The parts of a
    `ConcatDataset` are inputs of their own, ``name[0]``, ``name[1]`` and so on.

    Raises:
        UnknownRowsError: It is iterable and does not say its rows, or has no length.
    """
    if isinstance(dataset, (TrackedDataset, TrackedStream)):
        return dataset.placed
    if isinstance(dataset, IterableDataset):
        raise UnknownRowsError(
            f"A {type(dataset).__name__} does not say which rows it yields", _YIELDED
        )
    known = _known_rows([dataset], dataset)
    if known is not None:
        return known
    if _is_plain(dataset, Subset):
        placed = base_rows(dataset.dataset, notes, name)
        return _picked(placed, subset_rows(dataset, len(placed[1])))
    if _is_plain(dataset, ConcatDataset):
        parts = [base_rows(d, notes, f"{name}[{i}]") for i, d in enumerate(dataset.datasets)]
        return stacked_rows([(len(placed[1]), placed) for placed in parts], "ConcatDataset")
    if not hasattr(dataset, "__len__"):
        raise UnknownRowsError(
            f"A {type(dataset).__name__} has no length", "give it a method `__len__`"
        )
    return root_rows(notes, len(dataset), name), range(len(dataset))


def looked_through(dataset: Any) -> tuple[Any, IntArray | None]:
    """Return the data set below any `Subset`, and the row of it that each item is."""
    positions: Rows | None = None
    while _is_plain(dataset, Subset):
        below = subset_rows(dataset, len(dataset.dataset))
        positions = below if positions is None else taken(below, np.asarray(positions))
        dataset = dataset.dataset
    return dataset, None if positions is None else np.asarray(positions)


def subset_rows(subset: Any, n_rows: int) -> IntArray:
    """Return the row of the data set below that each item of a `Subset` is."""
    rows = np.asarray(subset.indices, dtype=np.int64).reshape(-1)
    return np.where(rows < 0, rows + n_rows, rows)


def without_marks(dataset: Any) -> Any:
    """Return a data set that gives plain tensors: following each item would take longer."""
    if isinstance(dataset, (TrackedDataset, TrackedStream)):
        return without_marks(dataset.dataset)
    if isinstance(dataset, TensorDataset):
        if any(isinstance(each, TrackedTensor) for each in dataset.tensors):
            return _with(dataset, tensors=tuple(map(as_plain_tensor, dataset.tensors)))
    elif _is_plain(dataset, Subset):
        return _with(dataset, dataset=without_marks(dataset.dataset))
    elif _is_plain(dataset, ConcatDataset):
        return _with(dataset, datasets=[without_marks(each) for each in dataset.datasets])
    return dataset


class Sample(NamedTuple):
    """An item of a data set on its way through a loader, with where it came from."""

    index: Any
    value: Any


class Indexed(Dataset[Sample]):
    """A data set whose items say their index; else it is the one that it wraps."""

    def __init__(self, dataset: Any) -> None:
        """Wrap a data set."""
        self.__dict__["_wrapped"] = dataset

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_wrapped" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.__dict__["_wrapped"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__dict__["_wrapped"], name, value)

    def __len__(self) -> int:
        return len(self.__dict__["_wrapped"])

    def __getitem__(self, index: Any) -> Sample:
        return Sample(index, self.__dict__["_wrapped"][index])

    def __getitems__(self, indices: Any) -> Sample:
        """Return the items of a batch as a loader would fetch them, and where they come from."""
        wrapped = self.__dict__["_wrapped"]
        indices = list(indices)
        fetch = getattr(wrapped, "__getitems__", None)
        return Sample(indices, fetch(indices) if fetch else [wrapped[each] for each in indices])


class IndexedStream(IterableDataset[Sample]):
    """An iterable data set whose samples say their row."""

    def __init__(self, dataset: Any) -> None:
        """Wrap a data set that yields ``(row, sample)``."""
        self.dataset = dataset

    def __iter__(self) -> Iterator[Sample]:
        return (Sample(row, value) for row, value in self.dataset)


def indexed(dataset: Any) -> Indexed | IndexedStream:
    """Return a data set whose items say where they come from."""
    if isinstance(dataset, TrackedStream):
        return IndexedStream(dataset.dataset)
    return Indexed(without_marks(dataset))


def _stream(dataset: Any, rows: Any, n_rows: int | None, notes: Notes, name: str) -> TrackedStream:
    placed = placed_of(rows)
    if placed is None:
        if n_rows is None:
            kind = type(dataset).__name__
            raise UnknownRowsError(f"A {kind} does not say which rows it yields", _YIELDED)
        placed = root_rows(notes, n_rows, name), range(n_rows)
    return TrackedStream(dataset, placed)


def _known_rows(data: Sequence[Any], dataset: Any) -> Placed | None:
    """Return the rows of tracked values that make up a data set; ``None`` if none is."""
    if isinstance(dataset, (TrackedDataset, TrackedStream)):
        return dataset.placed
    parts: Sequence[Any] = data
    if isinstance(data[0], TensorDataset):
        parts = data[0].tensors
    elif isinstance(data[0], StackDataset):
        stacked = data[0].datasets
        parts = list(stacked.values() if isinstance(stacked, dict) else stacked)
    placed = [_rows_of_part(each) for each in parts]
    found = [Contribution(each) for each in placed if each is not None]
    return together(found, len(dataset), "dataset")


def _rows_of_part(part: Any) -> Placed | None:
    if isinstance(part, Dataset):
        return part.placed if isinstance(part, TrackedDataset) else None
    return placed_of(part)


def _tensor_dataset(data: Sequence[Any]) -> TensorDataset:
    tensors: list[torch.Tensor] = [as_plain_tensor(each) for each in data]
    if len({len(each) for each in tensors}) > 1:
        raise UnknownRowsError(
            f"The tensors have {', '.join(f'{len(each):,}' for each in tensors)} rows",
            "give tensors of one length",
        )
    return TensorDataset(*tensors)


def _picked(placed: Placed, positions: IntArray) -> Placed:
    mark, rows = placed
    picked = taken(rows, positions)
    return Mark(mark.node, picked, mark.steps), picked


def _is_plain(dataset: Any, kind: type) -> bool:
    """Say whether a data set finds its items in the way of a class of torch."""
    return isinstance(dataset, kind) and all(
        getattr(type(dataset), name, None) is getattr(kind, name, None)
        for name in ("__getitem__", "__getitems__")
    )


def _with(dataset: Any, /, **attributes: Any) -> Any:
    changed = copy.copy(dataset)
    vars(changed).update(attributes)
    return changed
