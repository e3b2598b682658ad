"""From a perturbation that the lineage does not explain to the row and column that do it."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.fuzz.changes import Change, change_of_values, deletion
from traceprop_engine.fuzz.probe import Outcome, Prober, Sign
from traceprop_engine.fuzz.report import (
    GONE,
    ChangeKind,
    MissingContext,
    PresenceEffect,
    Violation,
)

ENOUGH = 5
"""So many findings of one sort for one input are enough to tell."""

_BROAD_SHARE = 0.5
_FEWEST_BROAD_ROWS = 4
_VALUE_KINDS: tuple[ChangeKind, ...] = ("missing", "value", "category")

Bools = NDArray[np.bool_]


@dataclass
class Findings:
    """What was found about one input on one ground."""

    violations: list[Violation] = field(default_factory=list)
    contexts: list[MissingContext] = field(default_factory=list)
    presence: list[PresenceEffect] = field(default_factory=list)

    @property
    def are_enough(self) -> bool:
        """Whether looking on would only find more of the same."""
        return max(len(self.violations), len(self.contexts)) >= ENOUGH


@dataclass
class Search:
    """Judges perturbations of one input.

    Attributes:
        prober: Runs them.
        rng: Makes the perturbations that tell place from value.
        findings: What was found so far.
    """

    prober: Prober
    rng: np.random.Generator
    findings: Findings = field(default_factory=Findings)

    def judge(self, change: Change, outcome: Outcome) -> None:
        """Look for the culprit of what the lineage does not explain, if there is such a thing."""
        signs: tuple[Sign, ...] = ("changed", "lost")
        for sign in signs:
            if not outcome.unexplained(sign).any():
                continue
            is_surely_wrong = sign == "changed" and not change.is_deletion
            if not is_surely_wrong and len(self.findings.presence) >= ENOUGH:
                continue
            culprit, found = self._narrowed(change, outcome, sign)
            rows = found.unexplained(sign)
            if not is_surely_wrong:
                answers = rows & self._other_sort(culprit)
                if not answers.any():
                    self._add_presence(culprit, rows)
                    continue
                rows = answers
            self._add(culprit, found, rows)
            return

    def _narrowed(self, change: Change, outcome: Outcome, sign: Sign) -> tuple[Change, Outcome]:
        """Return the change of as few rows and columns as still have an unexplained effect."""
        is_halved = True
        while is_halved:
            is_halved = False
            for half in _halves(change):
                found = self.prober.probe(half)
                if found is not None and found.unexplained(sign).any():
                    change, outcome, is_halved = half, found, True
                    break
        return change, outcome

    def _other_sort(self, change: Change) -> Bools:
        """Return which rows answer to the other sort of perturbation of the same input rows.

        That is a deletion for a change of values, and a change of values for a deletion. A row that
        answers to both depends on what the perturbed row says; one that answers to either alone may
        depend on how many rows there are, or be pushed out by a row that others compete with.
        """
        ground = self.prober.ground
        affected = np.zeros(ground.n_out, dtype=bool)
        for control in self._controls(change):
            probed = self.prober.probe_some(control)
            if probed is not None:
                affected |= probed[1].affected
        return affected

    def _controls(self, change: Change) -> Iterator[Change]:
        if not change.is_deletion:
            yield deletion(change.input, change.rows)
            return
        frame = self.prober.ground.frames[change.input]
        columns = self.rng.permutation(frame.shape[1]).tolist()
        for kind in _VALUE_KINDS:
            made = change_of_values(change.input, frame, kind, change.rows, columns, self.rng)
            if made is not None:
                yield made

    def _add(self, change: Change, outcome: Outcome, rows: Bools) -> None:
        ground = self.prober.ground
        told = change.told(ground.frames)
        others = int(np.count_nonzero(~outcome.explained))
        n_rows = int(rows.sum())
        if n_rows >= max(_FEWEST_BROAD_ROWS, _BROAD_SHARE * others):
            self.findings.contexts.append(MissingContext(told, n_rows, ground.n_out))
            return
        output_rows = tuple(map(int, np.flatnonzero(rows)))
        column, before, after = self._first_cell(outcome, output_rows[0])
        self.findings.violations.append(
            Violation(told, output_rows, column, before, after, ground.with_gaps)
        )

    def _first_cell(self, outcome: Outcome, row: int) -> tuple[str | None, object, object]:
        """Return the first column of a row that changed, with its values."""
        before, after = self.prober.ground.result, outcome.result
        row_after = int(outcome.alignment.row_after[row])
        if row_after < 0 or not outcome.alignment.is_sure:
            return None, None, GONE
        for label, differs in before.differences(after, row, row_after).items():
            if differs:
                values = (each.cells.columns[label] for each in (before, after))
                old, new = (each[at] for each, at in zip(values, (row, row_after), strict=True))
                return str(label[0]), old, new
        return None, None, GONE

    def _add_presence(self, change: Change, rows: Bools) -> None:
        told = change.told(self.prober.ground.frames)
        output_rows = tuple(map(int, np.flatnonzero(rows)))
        self.findings.presence.append(PresenceEffect(told, output_rows))


def _halves(change: Change) -> list[Change]:
    """Return both halves of a change by its rows; if it is of one row, by its columns."""
    n_rows, n_columns = len(change.rows), len(change.columns)
    if n_rows > 1:
        every = np.arange(n_rows)
        return [change.of_rows(half) for half in (every[: n_rows // 2], every[n_rows // 2 :])]
    if n_columns > 1:
        cut = n_columns // 2
        return [change.of_columns(half) for half in (range(cut), range(cut, n_columns))]
    return []
