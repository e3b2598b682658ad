"""What a lineage says that a row of an input can reach."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traceprop_engine.errors import LineageFuzzError
from traceprop_engine.fuzz.alignment import Alignment
from traceprop_engine.lineage.captured import CapturedLineage
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.lineage.row_map_algebra import direct_of

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Claim:
    """What a lineage says about the rows of a result.

    Attributes:
        lineage: What is claimed, or was recorded.
        place: For each of its rows the row of the result that it is about, -1 for none.
        exempt: Rows of the result that nothing is said about.
    """

    lineage: CapturedLineage
    place: Ints
    exempt: Bools

    @classmethod
    def of(cls, lineage: CapturedLineage) -> "Claim":
        """Return what a lineage says about its own result."""
        n = lineage.n_rows
        return cls(lineage, np.arange(n), np.zeros(n, dtype=bool))

    def moved(self, alignment: Alignment, n_rows: int) -> "Claim":
        """Return what it says about another result, of ``n_rows``, as far as rows are the same."""
        exempt = np.ones(n_rows, dtype=bool)
        exempt[alignment.row_after[~alignment.gone]] = False
        return Claim(self.lineage, alignment.row_after, exempt)

    def reach(self, name: str, rows: Ints) -> Bools:
        """Return which rows of the result the rows of an input may have changed."""
        if self.is_in_context(name, rows):
            return np.ones(len(self.exempt), dtype=bool)
        return self.exempt | self.at_places(self.lineage.maps[name].forward(rows))

    def newly_reached(self, before: "Claim", name: str, rows: Ints) -> Bools:
        """Return which rows of the result the rows of an input reach in a way new to ``before``.

        Both are about results whose rows are numbered alike.
        """
        if self.is_in_context(name, rows) and not before.is_in_context(name, rows):
            return np.ones(len(self.exempt), dtype=bool)
        one, other = (each.at_places(each.connected(name, rows)) for each in (self, before))
        return one & ~other

    def at_places(self, rows: Ints) -> Bools:
        """Return which rows of the result are these rows of the lineage's result."""
        marked = np.zeros(len(self.exempt), dtype=bool)
        places = self.place[rows]
        marked[places[places >= 0]] = True
        return marked

    def is_in_context(self, name: str, rows: Ints) -> bool:
        """Say whether a statistic took in one of these rows of an input."""
        return bool(self.context_rows(name)[rows].any())

    def context_rows(self, name: str) -> Bools:
        """Return ``[n_in]``: which rows of an input a statistic took in."""
        marked = np.zeros(self.lineage.maps[name].n_in, dtype=bool)
        for context in self.lineage.contexts:
            if context.input == name:
                marked[context.members.backward(np.arange(context.members.n_out))] = True
        return marked

    def connected(self, name: str, rows: Ints) -> Ints:
        """Return the rows of the lineage's result that these went into, statistics apart."""
        direct = direct_of(self.lineage.maps[name].relation)
        return RowMap(direct).forward(rows) if direct else np.empty(0, dtype=np.int64)


def require_fit(
    lineage: CapturedLineage, inputs: Mapping[str, pd.DataFrame], output: pd.DataFrame
) -> None:
    """Refuse a lineage that is about other frames.

    Raises:
        LineageFuzzError: An input is missing, or numbers of rows differ.
    """
    if lineage.n_rows != len(output):
        raise LineageFuzzError(
            f"The lineage is about {lineage.n_rows} rows, but the function returned {len(output)}",
            "claim the lineage for these inputs, or pass a function that captures it",
        )
    for name, frame in inputs.items():
        if name not in lineage.maps:
            raise LineageFuzzError(
                f"The lineage has no map for the input {name!r}, only for {list(lineage.maps)}",
                "claim a map for each input; `RowMap.unknown` where nothing is known",
            )
        row_map = lineage.maps[name]
        if (row_map.n_in, row_map.n_out) != (len(frame), len(output)):
            raise LineageFuzzError(
                f"The map of input {name!r} is {row_map}, but the frames have {len(frame)} and "
                f"{len(output)} rows",
                "claim the lineage for these inputs, or pass a function that captures it",
            )
