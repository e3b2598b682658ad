"""Which rows each training step saw: a compact record of a training loop.

What can be asked depends on the granularity at which the steps were recorded:

- ``ROW``: everything: the rows of a step in order, the steps of a row, the rows of an epoch.
- ``BATCH`` and ``OP``: how many rows a step had, between which bounds they lie, and whether given
  rows are those of a step (by digest, order included). Not which rows they are.
- ``EPOCH``: which rows an epoch saw. Not in which step, nor how often.
- ``OFF``: nothing.
"""

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from traceprop_engine.arrays import array
from traceprop_engine.errors import StepGranularityError, UnknownRowsError
from traceprop_engine.lineage.captured import CapturedLineage
from traceprop_engine.lineage.carriers import Recorded, carried, node_of
from traceprop_engine.lineage.decode import Followed
from traceprop_engine.lineage.marks import Mark, Placed
from traceprop_engine.lineage.resolve import reached_inputs
from traceprop_engine.lineage.rows import narrowed, taken

RowNumbers = NDArray[np.integer[Any]]

Detail = Literal["ROW", "OP", "BATCH", "EPOCH", "OFF"]

_BY_BATCH = ("OP", "BATCH")
_DIGEST_SIZE = 16


@dataclass(frozen=True, eq=False)
class TrainingStep:
    """One step of a training loop.

    Attributes:
        epoch: Counted from 0.
        step: Counted from 0 over all epochs.
    """

    epoch: int
    step: int
    _rows: RowNumbers | None
    _placed: Placed

    @property
    def rows(self) -> RowNumbers:
        """The rows of the data set in the batch, in its order, with repeats; ``[n_batch]``.

        A `Subset` is looked through: they are rows of the whole data set.

        Raises:
            StepGranularityError: The granularity is ``OFF``.
        """
        if self._rows is None:
            raise StepGranularityError("the rows of a batch", "OFF", "any other one")
        return self._rows

    def sources(self) -> dict[str, RowNumbers]:
        """Return the rows of each input that the batch came from, ascending and distinct.

        Raises:
            StepGranularityError: The granularity is ``OFF``.
        """
        return source_rows(self._placed, self.rows)

    def track(self, batch: Any) -> Any:
        """Return a value whose row ``i`` is sample ``i`` of the batch as one that knows its rows.

        So a tensor or array of the batch goes on into further operations, or into another library.
        It is for looking at a batch: each has a set of rows of its own, and `jax.jit` compiles
        for each.

        Args:
            batch: A tensor, an array or a frame with one row for each sample.

        Raises:
            StepGranularityError: The granularity is ``OFF``.
            UnknownRowsError: It has another number of rows.
        """
        if len(batch) != len(self.rows):
            raise UnknownRowsError(
                f"The batch has {len(self.rows):,} samples, the value {len(batch):,} rows",
                "give a value with one row for each sample",
            )
        mark, every = self._placed
        placed = mark, taken(every, self.rows)
        if type(batch) is np.ndarray:
            return array(Recorded(batch, placed))
        return carried(batch, node_of(placed), mark.steps)


@dataclass(frozen=True, eq=False)
class TrainingSteps:
    """The steps of a training loop, as far as they were recorded.

    Attributes:
        granularity: What was recorded.
        epochs: The epoch of each step; ``[n_steps]``.
        offsets: Where the rows of each step begin; ``[n_steps + 1]``. At ``EPOCH``: of each epoch.
        rows: Rows of the data set, one step after the other, int32 where they fit; at ``EPOCH`` the
            distinct ones of one epoch after the other; else empty.
        bounds: At ``BATCH`` and ``OP``, the lowest and highest row of each step; ``[n_steps, 2]``.
        digests: At ``BATCH`` and ``OP``, a BLAKE2b digest of the rows of each step in their order.
        placed: Which rows those of the data set are.
    """

    granularity: Detail
    epochs: NDArray[np.int32]
    offsets: NDArray[np.int64]
    rows: RowNumbers
    bounds: RowNumbers
    digests: tuple[bytes, ...]
    placed: Placed = field(repr=False)

    def __len__(self) -> int:
        return len(self.epochs)

    @property
    def nbytes(self) -> int:
        """The memory that the record takes, in bytes."""
        arrays = (self.epochs, self.offsets, self.rows, self.bounds)
        return sum(each.nbytes for each in arrays) + _DIGEST_SIZE * len(self.digests)

    def rows_of(self, step: int) -> RowNumbers:
        """Return the rows of a step in the order of its batch, with repeats.

        Raises:
            StepGranularityError: They were not recorded by row.
            UnknownRowsError: There is no such step.
        """
        self._require("the rows of a step", "ROW")
        at = self._number(step)
        return self.rows[self.offsets[at] : self.offsets[at + 1]]

    def n_rows(self, step: int) -> int:
        """Return how many rows a step had.

        Raises:
            StepGranularityError: The steps were recorded by epoch, or not at all.
            UnknownRowsError: There is no such step.
        """
        self._require("how many rows a step had", "ROW", *_BY_BATCH)
        at = self._number(step)
        return int(self.offsets[at + 1] - self.offsets[at])

    def steps_of(self, row: int) -> NDArray[np.int64]:
        """Return the steps that saw a row, ascending.

        Raises:
            StepGranularityError: They were not recorded by row.
        """
        self._require("the steps of a row", "ROW")
        found = np.flatnonzero(self.rows == row)
        return np.unique(np.searchsorted(self.offsets, found, side="right") - 1)

    def may_have_seen(self, row: int) -> NDArray[np.int64]:
        """Return the steps that may have seen a row: all others have not.

        Exact at ``ROW``; by bounds at ``BATCH`` and ``OP``; the steps of whole epochs at ``EPOCH``.

        Raises:
            StepGranularityError: Nothing was recorded.
        """
        self._require("the steps of a row", "ROW", *_BY_BATCH, "EPOCH")
        if self.granularity == "ROW":
            return self.steps_of(row)
        if self.granularity == "EPOCH":
            epochs = [e for e in range(len(self.offsets) - 1) if row in self.rows_of_epoch(e)]
            return np.flatnonzero(np.isin(self.epochs, epochs))
        return np.flatnonzero((self.bounds[:, 0] <= row) & (row <= self.bounds[:, 1]))

    def rows_of_epoch(self, epoch: int) -> RowNumbers:
        """Return the rows that an epoch saw, ascending and distinct.

        Raises:
            StepGranularityError: They were recorded by batch, or not at all.
            UnknownRowsError: There is no such epoch.
        """
        self._require("the rows of an epoch", "ROW", "EPOCH")
        if epoch not in self.epochs:
            raise UnknownRowsError(f"No step of epoch {epoch} was recorded", "ask for another one")
        if self.granularity == "EPOCH":
            return self.rows[self.offsets[epoch] : self.offsets[epoch + 1]]
        steps = np.flatnonzero(self.epochs == epoch)
        return np.unique(self.rows[self.offsets[steps[0]] : self.offsets[steps[-1] + 1]])

    def are_rows_of(self, step: int, rows: ArrayLike) -> bool:
        """Say whether a step saw exactly these rows in this order.

        Raises:
            StepGranularityError: The steps were recorded by epoch, or not at all.
            UnknownRowsError: There is no such step.
        """
        self._require("whether a step saw given rows", "ROW", *_BY_BATCH)
        if self.granularity == "ROW":
            return np.array_equal(self.rows_of(step), np.asarray(rows))
        return self.digests[self._number(step)] == digest_of(np.asarray(rows))

    def sources(self, step: int) -> dict[str, RowNumbers]:
        """Return the rows of each input that a step's batch came from, ascending and distinct.

        Raises:
            StepGranularityError: They were not recorded by row.
            UnknownRowsError: There is no such step.
        """
        return source_rows(self.placed, self.rows_of(step))

    def lineage(self) -> CapturedLineage:
        """Return how all rows that were trained on, step after step, follow from the inputs.

        Raises:
            StepGranularityError: They were not recorded by row.
        """
        self._require("the lineage of the steps", "ROW")
        mark, every = self.placed
        rows = taken(every, self.rows)
        placed = Mark(mark.node, rows, mark.steps), rows
        return Followed.now(len(rows), placed, None, mark.node.notes).lineage()

    def _require(self, question: str, *enough: str) -> None:
        if self.granularity not in enough:
            raise StepGranularityError(question, self.granularity, enough[0])

    def _number(self, step: int) -> int:
        if not 0 <= step < len(self):
            raise UnknownRowsError(
                f"There is no step {step}", f"{len(self):,} steps were recorded, counted from 0"
            )
        return step


class StepRecorder:
    """Collects what a granularity keeps of each step."""

    def __init__(self, granularity: Detail, placed: Placed) -> None:
        """Begin with no steps."""
        self._granularity, self._placed = granularity, placed
        self._epochs: list[int] = []
        self._counts: list[int] = []
        self._rows: list[RowNumbers] = []
        self._bounds: list[tuple[int, int]] = []
        self._digests: list[bytes] = []
        self._masks: dict[int, NDArray[np.bool_]] = {}

    def __len__(self) -> int:
        return len(self._epochs)

    def add(self, epoch: int, rows: RowNumbers | None) -> TrainingStep:
        """Keep what the granularity asks for, and return the step."""
        step = TrainingStep(epoch, len(self._epochs), rows, self._placed)
        self._epochs.append(epoch)
        if rows is None:
            return step
        self._counts.append(len(rows))
        if self._granularity == "ROW":
            self._rows.append(rows)
        elif self._granularity == "EPOCH":
            n_rows = len(self._placed[1])
            self._masks.setdefault(epoch, np.zeros(n_rows, dtype=bool))[rows] = True
        else:
            self._bounds.append((int(rows.min()), int(rows.max())) if len(rows) else (0, -1))
            self._digests.append(digest_of(rows))
        return step

    def steps(self) -> TrainingSteps:
        """Return what was recorded until now."""
        pieces, counts = self._rows, self._counts
        if self._granularity == "EPOCH":
            n_epochs = max(self._masks, default=-1) + 1
            none = np.zeros(0, dtype=bool)
            pieces = [np.flatnonzero(self._masks.get(e, none)) for e in range(n_epochs)]
            counts = [len(each) for each in pieces]
        rows = np.concatenate([np.zeros(0, dtype=np.int32), *pieces])
        return TrainingSteps(
            granularity=self._granularity,
            epochs=_frozen(np.array(self._epochs, dtype=np.int32)),
            offsets=_frozen(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)),
            rows=_frozen(narrowed(rows)),
            bounds=_frozen(narrowed(np.array(self._bounds, dtype=np.int64).reshape(-1, 2))),
            digests=tuple(self._digests),
            placed=self._placed,
        )


def source_rows(placed: Placed, rows: RowNumbers) -> dict[str, RowNumbers]:
    """Return the rows of each input that some rows of a data set came from."""
    mark, every = placed
    reached = reached_inputs([(mark.node, taken(every, rows))])
    return {name: np.flatnonzero(mask) for name, mask in reached.items()}


def digest_of(rows: RowNumbers) -> bytes:
    """Return a digest of rows in their order, the same for every width of integer."""
    return blake2b(rows.astype("<i8").tobytes(), digest_size=_DIGEST_SIZE).digest()


def _frozen(array: Any) -> Any:
    array.flags.writeable = False
    return array
