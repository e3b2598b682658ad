"""Which row of one result is which row of another, when rows of the inputs changed or went away.

Rows are known by the input rows that they came from, as each run recorded them, and not by their
place. A row that the perturbed rows also went into is known by the others that it came from: a
group that lost a member is the same group. Rows that came from the same input rows are told apart
by what they hold, and else by their order.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traceprop_engine.fuzz.cells import Cells, Label, Scale, differences, fingerprints
from traceprop_engine.identity.fingerprints import occurrences
from traceprop_engine.lineage.captured import CapturedLineage
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.lineage.row_map_algebra import direct_of

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Keys = NDArray[np.uint64]
Origins = Mapping[str, Ints]
"""For each input the row that each of its rows was before rows were deleted."""


@dataclass(frozen=True, eq=False)
class Roots:
    """The pairs of a result's rows and input rows, and a random number for each input row.

    Attributes:
        n_rows: Rows of the result.
        pairs: For each input whose rows are known, output rows and input rows as they were.
        weights: Random numbers; the sum over a row's parents stands for the set of them.
        is_complete: Whether the rows of every input are known.
    """

    n_rows: int
    pairs: Mapping[str, tuple[Ints, Ints]]
    weights: Mapping[str, Keys]
    is_complete: bool

    @classmethod
    def of(cls, lineage: CapturedLineage, weights: Mapping[str, Keys], origins: Origins) -> "Roots":
        """Return the roots of a result whose inputs have the rows ``origins``."""
        pairs = {}
        for name, row_map in lineage.maps.items():
            if row_map.is_known and name in weights:
                direct = direct_of(row_map.relation)
                out_rows, in_rows = RowMap(direct).pairs() if direct else (_NONE, _NONE)
                pairs[name] = (out_rows, origins[name][in_rows])
        return cls(lineage.n_rows, pairs, weights, len(pairs) == len(weights))

    def keys(self, input_name: str | None = None, without: Ints | None = None) -> Keys:
        """Return a number for each row that stands for the rows it came from.

        Args:
            input_name: An input of which some rows shall not count.
            without: These rows.
        """
        keys = np.zeros(self.n_rows, dtype=np.uint64)
        for name, (out_rows, in_rows) in self.pairs.items():
            weights = self.weights[name]
            if name == input_name and without is not None:
                weights = weights.copy()
                weights[without] = 0
            np.add.at(keys, out_rows, weights[in_rows])
        return keys


_NONE = np.empty(0, dtype=np.int64)


def random_weights(n_rows: Mapping[str, int], rng: np.random.Generator) -> dict[str, Keys]:
    """Return a random number for each row of each input."""
    limit = np.iinfo(np.uint64).max
    return {
        name: rng.integers(1, limit, n, dtype=np.uint64, endpoint=True)
        for name, n in n_rows.items()
    }


@dataclass(frozen=True, eq=False)
class Alignment:
    """What became of each row of one result in another.

    Attributes:
        row_after: ``[n_before]``: the row that it is in the other, -1 if it is gone.
        changed: ``[n_before]``: whether it is there with other values.
        is_sure: Whether rows were known by all inputs they came from; else a changed row may be
            another one.
    """

    row_after: Ints
    changed: Bools
    is_sure: bool

    @property
    def gone(self) -> Bools:
        """``[n_before]``: whether it is not there any more."""
        return self.row_after < 0

    def places_of(self, rows_after: Bools) -> Bools:
        """Return ``[n_before]``: whether a row is one of those marked in the other result."""
        marked = np.append(rows_after, [False])
        return marked[self.row_after]


@dataclass(frozen=True, eq=False)
class Result:
    """A result that others are compared with: its cells, and the rows they came from."""

    cells: Cells
    roots: Roots
    scales: Mapping[Label, Scale]

    @classmethod
    def of(cls, frame: pd.DataFrame, roots: Roots) -> "Result":
        """Return a result as it is compared."""
        cells = Cells.of(frame)
        return cls(cells, roots, cells.scales())

    def differences(self, other: "Result", row: int, other_row: int) -> dict[Label, bool]:
        """Return for each column that both have whether a row differs from one of the other."""
        rows = (np.array([row]), np.array([other_row]))
        found = differences(self.cells, other.cells, rows, self.scales)
        return {label: bool(each[0]) for label, each in found.items()}


def aligned(
    before: Result,
    after: Result,
    input_name: str | None = None,
    perturbed: Ints | None = None,
) -> Alignment:
    """Return what became of the rows of ``before`` in ``after``.

    Args:
        before: The result without the perturbation.
        after: The result with it.
        input_name: The input of which rows were perturbed.
        perturbed: These rows.
    """
    scales = before.scales
    labels = [label for label in before.cells.columns if label in after.cells.columns]
    prints = [fingerprints(each.cells, labels, scales) for each in (before, after)]
    row_after = np.full(before.cells.n_rows, -1, dtype=np.int64)
    for without in (None,) if perturbed is None else (None, perturbed):
        keys = [each.roots.keys(input_name, without) for each in (before, after)]
        alike = [_mixed(key, mark) for key, mark in zip(keys, prints, strict=True)]
        for one, other in (alike, keys):
            _pair(row_after, one, other)
    # Where a window moved on, no row is made from the same rows; one that holds the same is there.
    _pair(row_after, *prints)
    known = np.flatnonzero(row_after >= 0)
    changed = np.zeros(len(row_after), dtype=bool)
    for found in differences(before.cells, after.cells, (known, row_after[known]), scales).values():
        changed[known] |= found
    return Alignment(row_after, changed, before.roots.is_complete and after.roots.is_complete)


def _mixed(keys: Keys, prints: Keys) -> Keys:
    return keys * np.uint64(0xBF58476D1CE4E5B9) + prints


def _pair(row_after: Ints, before: Keys, after: Keys) -> None:
    """Pair the rows that are not paired yet and have the same key, in their order."""
    free_before = np.flatnonzero(row_after < 0)
    if not len(free_before):
        return
    taken = np.zeros(len(after), dtype=bool)
    taken[row_after[row_after >= 0]] = True
    free_after = np.flatnonzero(~taken)
    one, other = _numbered(before[free_before]), _numbered(after[free_after])
    where = pd.Index(other).get_indexer(pd.Index(one))
    found = where >= 0
    row_after[free_before[found]] = free_after[where[found]]


def _numbered(keys: Keys) -> Keys:
    """Return keys of which none is there twice: those that repeat are counted through."""
    return keys + occurrences(keys).astype(np.uint64) * np.uint64(0x94D049BB133111EB)
