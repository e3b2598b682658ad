"""What a check found, and how it is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from traceprop_engine.presentation import counted, plain_value, row_numbers

ChangeKind = Literal["value", "missing", "category", "deletion"]
"""How rows of an input are perturbed.

*value*: another value, near or far. *missing*: the value is taken out, where the dtype has a way to
say so. *category*: the value of another row. *deletion*: the rows are gone.
"""

GONE = "(no row)"
"""Stands for the value after, where the output row is not there any more."""

_SHOWN = 5


@dataclass(frozen=True)
class Perturbation:
    """What was done to an input.

    Attributes:
        input: Name of the input.
        rows: Its rows that were perturbed: one, unless it takes several together.
        kind: How.
        columns: Names of the columns that were changed; none for a deletion.
        before: Values of the first row in these columns.
        after: What they were changed to; empty for a deletion.
    """

    input: str
    rows: tuple[int, ...]
    kind: ChangeKind
    columns: tuple[str, ...]
    before: tuple[object, ...]
    after: tuple[object, ...]

    def __str__(self) -> str:
        what = f"{self.input} {_rows(self.rows)}"
        if self.kind == "deletion":
            return f"{what} deleted"
        changes = [
            f"{name}: {plain_value(old)} → {plain_value(new)}"
            for name, old, new in zip(self.columns, self.before, self.after, strict=True)
        ]
        more = f", and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
        return f"{what}, {', '.join(changes[:_SHOWN])}{more}"


@dataclass(frozen=True)
class Violation:
    """Output rows that changed although the lineage does not connect them with the perturbed row.

    Attributes:
        perturbation: What was done.
        output_rows: The rows of the output, as it was before, that changed or went away.
        column: A column of the first of them that changed; ``None`` if the row went away.
        before: Its value before.
        after: Its value after, or `GONE`.
        with_gaps: Whether gaps had been put into the inputs before, to see what fills them. Output
            rows are those of the function run on these inputs.
    """

    perturbation: Perturbation
    output_rows: tuple[int, ...]
    column: str | None
    before: object
    after: object
    with_gaps: bool = False

    @property
    def input(self) -> str:
        """Name of the input whose row was perturbed."""
        return self.perturbation.input

    def __str__(self) -> str:
        where = " (after gaps were put in)" if self.with_gaps else ""
        change = (
            "is gone"
            if self.column is None
            else f"{self.column}: {plain_value(self.before)} → {plain_value(self.after)}"
        )
        also = f", and {len(self.output_rows) - 1} more" if len(self.output_rows) > 1 else ""
        return (
            f"{self.perturbation}{where}: output row {self.output_rows[0]} {change}{also}, "
            "which the map does not connect with it"
        )


@dataclass(frozen=True)
class MissingContext:
    """A row that reaches most output rows, as a statistic does, where no context is claimed.

    Attributes:
        perturbation: What was done.
        n_rows: How many output rows changed that the map does not connect with the row.
        n_out: How many rows the output has.
    """

    perturbation: Perturbation
    n_rows: int
    n_out: int

    @property
    def input(self) -> str:
        """Name of the input that needs a context dependency."""
        return self.perturbation.input

    def __str__(self) -> str:
        what = ", ".join(self.perturbation.columns) or "the rows"
        return (
            f"{self.perturbation}: {self.n_rows} of {counted(self.n_out, 'output row')} changed; "
            f"claim a context dependency on {self.input} (a statistic of {what})"
        )


@dataclass(frozen=True)
class PresenceEffect:
    """Output rows that answer to the place or presence of a row alone, not to what it says.

    A row that a deduplication or a top-k lets in pushes out another; each second row is another one
    once a row is deleted. Row maps say what a row was made from, not what it competed with, so this
    is no violation.

    Attributes:
        perturbation: What was done.
        output_rows: The rows of the output that changed or went away.
    """

    perturbation: Perturbation
    output_rows: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.perturbation}: output {_rows(self.output_rows)}"


@dataclass(frozen=True)
class IdleEdge:
    """A claimed connection that nothing was seen to use: the map may be too large.

    Attributes:
        input: Name of the input.
        input_row: A row that was deleted, and changed in every column.
        output_rows: Rows that the map connects with it, none of which answered.
    """

    input: str
    input_row: int
    output_rows: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.input} row {self.input_row} never changed output {_rows(self.output_rows)}"


@dataclass(frozen=True)
class InputRuns:
    """How an input was perturbed.

    Attributes:
        n_rows: Its rows.
        runs: How often the function ran on it perturbed.
        refused: How often the function raised an error instead of a result.
        refusal: The first of these errors.
        in_context: Whether each of its rows is in a context, which explains any change.
        edges_tested: How many claimed connections of single rows were tried.
        context_is_idle: Whether a context is claimed that explained nothing: it may be needless.
    """

    n_rows: int
    runs: int
    refused: int
    refusal: str | None
    in_context: bool
    edges_tested: int
    context_is_idle: bool = False


@dataclass(frozen=True)
class LineageCheck:
    """Whether what a function does agrees with the lineage claimed for it.

    Perturbing can refute a lineage, never prove it: that nothing was found is evidence.

    Attributes:
        n_out: Rows of the output.
        inputs: How each input was perturbed, by its name.
        nondeterministic: Two runs on the same inputs gave different results; nothing was perturbed.
        unchecked: Why an input could not be checked, by its name.
        violations: What contradicts the row maps.
        contexts_missing: Where a context dependency must be claimed.
        presence_effects: What answers to the presence or place of rows alone; no contradiction.
        idle_edges: Connections that nothing used; a map that is too large shows here alone.
    """

    n_out: int
    inputs: Mapping[str, InputRuns]
    nondeterministic: bool = False
    unchecked: Mapping[str, str] | None = None
    violations: tuple[Violation, ...] = ()
    contexts_missing: tuple[MissingContext, ...] = ()
    presence_effects: tuple[PresenceEffect, ...] = ()
    idle_edges: tuple[IdleEdge, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every input could be checked and nothing was found against the lineage."""
        return self.could_be_checked and not self.is_refuted

    @property
    def is_refuted(self) -> bool:
        """Whether the lineage is wrong, or says too little."""
        return bool(self.violations or self.contexts_missing)

    @property
    def could_be_checked(self) -> bool:
        """Whether the function is deterministic, and every input could be checked."""
        return not self.nondeterministic and not self.unchecked

    @property
    def runs(self) -> int:
        """How often the function ran on perturbed inputs."""
        return sum(each.runs for each in self.inputs.values())

    def summary(self) -> str:
        """Return the findings as text, the most important ones first."""
        lines = [self.verdict]
        for title, findings in self._findings():
            lines += _listed(title, findings)
        return "\n".join([*lines, *self._remarks()])

    def __str__(self) -> str:
        return self.summary()

    @property
    def verdict(self) -> str:
        """What was found, in one sentence."""
        if self.nondeterministic:
            return (
                "The function gave different results for the same inputs, so nothing can be "
                "compared; give its random numbers a seed."
            )
        done = f"{counted(self.runs, 'perturbed run')} of {counted(len(self.inputs), 'input')}"
        if self.ok:
            return f"Nothing contradicts the lineage in {done}."
        if self.is_refuted:
            return f"The lineage does not agree with the function ({done})."
        return f"The lineage could not be checked as a whole ({done})."

    def _findings(self) -> list[tuple[str, Sequence[object]]]:
        unchecked = [f"{name}: {why}" for name, why in (self.unchecked or {}).items()]
        return [
            ("Violations", self.violations),
            ("Missing contexts", self.contexts_missing),
            ("Not checked", unchecked),
            ("Rows that compete or are counted (no violation)", self.presence_effects),
            ("Connections that nothing used (a map may be too large)", self.idle_edges),
        ]

    def _remarks(self) -> list[str]:
        remarks = []
        for name, each in self.inputs.items():
            if each.refused:
                remarks.append(
                    f"{name}: the function refused {each.refused} of {each.runs} runs, "
                    f"first with {each.refusal}"
                )
            if each.context_is_idle:
                remarks.append(f"{name}: the claimed context explained nothing that changed")
            elif each.in_context:
                remarks.append(
                    f"{name}: every row is in a context, which explains any change; a wrong row "
                    "map beside it would not be seen"
                )
        return remarks


def _listed(title: str, findings: Sequence[object]) -> list[str]:
    if not findings:
        return []
    shown = [f"  {finding}" for finding in findings[:_SHOWN]]
    more = [f"  … and {len(findings) - _SHOWN} more"] if len(findings) > _SHOWN else []
    return [f"{title}: {len(findings)}", *shown, *more]


def _rows(rows: Sequence[int]) -> str:
    return f"{'row' if len(rows) == 1 else 'rows'} {row_numbers(rows)}"
