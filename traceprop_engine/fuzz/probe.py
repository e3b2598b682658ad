"""Run a function on one perturbation and see which rows changed that its lineage does not name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traceprop_engine.fuzz.alignment import Alignment, Keys, Result, Roots, aligned
from traceprop_engine.fuzz.changes import Change
from traceprop_engine.fuzz.claims import Claim
from traceprop_engine.fuzz.running import Refusal, Run, Runner

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Sign = Literal["changed", "lost"]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a perturbation did to the rows of the result.

    Attributes:
        alignment: What became of each row.
        explained: ``[n_out]``: whether the lineage connects it with the perturbed rows, before or
            after the perturbation.
        result: The result with the perturbation.
    """

    alignment: Alignment
    explained: Bools
    result: Result

    @property
    def affected(self) -> Bools:
        """``[n_out]``: whether a row changed or is gone."""
        return self.alignment.changed | self.alignment.gone

    def unexplained(self, sign: Sign) -> Bools:
        """Return ``[n_out]``: rows that the lineage does not connect with the perturbed rows.

        Those that *changed* are there with other values, for sure; those *lost* are gone, or there
        is none that is surely the same.
        """
        is_sure = self.alignment.is_sure
        changed = self.alignment.changed if is_sure else np.zeros_like(self.explained)
        which = changed if sign == "changed" else self.affected & ~changed
        return which & ~self.explained


@dataclass(frozen=True, eq=False)
class Ground:
    """The unperturbed inputs, their result, and what is claimed about it.

    Attributes:
        frames: The inputs.
        run: The result.
        claim: What is held against the function.
        claims_anew: Whether the lineage of a perturbed run is a claim too; else it only serves to
            follow rows, and says which connections are new.
        weights: Random numbers for the rows of the inputs.
        result: The result as others are compared with it.
        with_gaps: Whether gaps were put into the inputs.
    """

    frames: Mapping[str, pd.DataFrame]
    run: Run
    claim: Claim
    claims_anew: bool
    weights: Mapping[str, Keys]
    result: Result
    with_gaps: bool = False

    @property
    def n_out(self) -> int:
        """Rows of the result."""
        return len(self.run.frame)

    def origins(self, change: Change | None = None) -> dict[str, Ints]:
        """Return for each input which rows it has after a change, as they were numbered before."""
        rows = {name: np.arange(len(frame)) for name, frame in self.frames.items()}
        if change is not None:
            rows[change.input] = change.kept_rows(len(self.frames[change.input]))
        return rows


@dataclass
class Prober:
    """Runs perturbations on one ground, and counts how often.

    Attributes:
        runner: Runs the function.
        ground: What is perturbed.
        runs: How often the function ran.
        refused: How often it raised an error.
        refusal: The first of these.
        tried_context: Whether rows of a claimed context were perturbed.
        used_context: Whether a row changed that only the context connects with them.
    """

    runner: Runner
    ground: Ground
    tried_context: bool = False
    used_context: bool = False
    runs: int = 0
    refused: int = 0
    refusal: Refusal | None = None

    def probe(self, change: Change) -> Outcome | None:
        """Return what a change does; ``None`` if the function refuses it."""
        self.runs += 1
        run = self.runner.run(change.applied(self.ground.frames))
        if isinstance(run, Refusal):
            self.refused += 1
            self.refusal = self.refusal or run
            return None
        roots = Roots.of(run.lineage, self.ground.weights, self.ground.origins(change))
        result = Result.of(run.frame, roots)
        alignment = aligned(self.ground.result, result, change.input, change.rows)
        outcome = Outcome(alignment, self._explained(change, run, alignment), result)
        self.used_context |= self._needs_context(change, run, outcome)
        return outcome

    def probe_some(self, change: Change) -> tuple[Change, Outcome] | None:
        """Probe a change; as long as the function refuses it, only the first half of its columns.

        The columns are in random order, so each gets its turn.
        """
        outcome = self.probe(change)
        while outcome is None and len(change.columns) > 1:
            change = change.of_columns(range(len(change.columns) // 2))
            outcome = self.probe(change)
        return None if outcome is None else (change, outcome)

    def _explained(self, change: Change, run: Run, alignment: Alignment) -> Bools:
        claim, name = self.ground.claim, change.input
        explained = claim.reach(name, change.rows)
        if change.is_deletion:
            return explained
        after = Claim.of(run.lineage)
        if self.ground.claims_anew:
            return explained | alignment.places_of(after.reach(name, change.rows))
        # What the claim should have named already is no new connection.
        followed = Claim.of(self.ground.run.lineage).moved(alignment, len(run.frame))
        return explained | alignment.places_of(after.newly_reached(followed, name, change.rows))

    def _needs_context(self, change: Change, run: Run, outcome: Outcome) -> bool:
        claim, name = self.ground.claim, change.input
        if self.used_context or not claim.is_in_context(name, change.rows):
            return False
        self.tried_context = True
        direct = claim.at_places(claim.connected(name, change.rows))
        if not change.is_deletion:
            after = Claim.of(run.lineage)
            rows_after = after.at_places(after.connected(name, change.rows))
            direct |= outcome.alignment.places_of(rows_after)
        return bool((outcome.affected & ~direct & ~claim.exempt).any())
