"""What capture hands over: how the rows of one result follow from the rows of its inputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from traceprop_engine.lineage.row_map import RowMap

Fidelity = Literal["exact", "claimed", "unknown"]
"""How far a row map can be trusted.

*exact*: followed through every operation. *claimed*: declared by the user, not contradicted by the
data. *unknown*: an operation was not understood, so nothing is said about the rows.
"""


@dataclass(frozen=True)
class Op:
    """One recorded operation.

    Attributes:
        name: The operation as its library calls it, such as ``"DataFrame.merge"``.
        detail: What a reader needs to recognise the call, such as ``"on=['id'], how='left'"``.
        inputs: Names of the inputs whose rows went into it, in order.
        n_rows_in: Rows that went in, one number per input frame of the operation.
        n_rows_out: Rows that came out.
    """

    name: str
    detail: str
    inputs: tuple[str, ...]
    n_rows_in: tuple[int, ...]
    n_rows_out: int


@dataclass(frozen=True)
class ContextDependency:
    """A dependency of the whole result on rows of an input through a statistic.

    Attributes:
        input: Name of the input.
        statistic: What was computed, such as ``"Series.mean"``.
        column: The column it was computed of, if it was one.
        members: The input rows that took part, as a map of one output row.
        detail: What was fitted, as JSON: an estimator with its parameters and fitted attributes.
    """

    input: str
    statistic: str
    column: str | None
    members: RowMap
    detail: str | None = None


@dataclass(frozen=True)
class CapturedLineage:
    """How the rows of one result follow from the rows of its inputs.

    Attributes:
        n_rows: Rows of the result.
        maps: One map for each input that was loaded, by its name; ``unknown`` where the path was
            lost.
        contexts: Dependencies through statistics, apart from the row maps.
        ops: The operations between inputs and result, in the order they ran.
        fidelity: The weakest fidelity of the maps.
        reason: Why a map is unknown or merely claimed; ``None`` when all are exact.
    """

    n_rows: int
    maps: Mapping[str, RowMap]
    contexts: tuple[ContextDependency, ...] = ()
    ops: tuple[Op, ...] = ()
    fidelity: Fidelity = "exact"
    reason: str | None = None

    def coverage(self) -> float:
        """Return the share of rows with a known parent in some input; 1.0 for no rows."""
        if not self.n_rows:
            return 1.0
        covered = np.zeros(self.n_rows, dtype=bool)
        for row_map in self.maps.values():
            covered |= row_map.covered()
        return float(covered.mean())
