"""Traces back to source rows, and all that source rows reached, as text for a terminal."""

from collections.abc import Sequence

from traceprop_engine.answers import Origin, Reach, ReachedVersion
from traceprop_engine.cli.render import (
    LINES_OF_A_FILE,
    render_lines,
    render_statistics,
    render_steps,
    render_unknown,
)
from traceprop_engine.cli.text import Page, shorten, table, wrapped
from traceprop_engine.presentation import counted, row_numbers
from traceprop_engine.recording import DatasetVersion
from traceprop_engine.sources import SourceVersion


def render_origin(
    version: DatasetVersion,
    rows: Sequence[int],
    origin: Origin,
    page: Page,
    *,
    all_lines: bool = False,
) -> str:
    """Return where rows of a dataset came from as text."""
    title = f"{_rows(rows)} of {version.dataset}"
    facts = (
        f"version {version.id}, {counted(version.n_rows, 'row')}, "
        f"{version.coverage:.1%} of them traced, {version.fidelity}"
    )
    lines = [page.heading(title), page.faint(shorten(f"  {facts}", page.width)), ""]
    lines.append(page.heading(f"Made from {counted(len(origin.lines), 'source line')}"))
    lines += render_lines(origin.lines, page, limit=None if all_lines else LINES_OF_A_FILE)
    lines += ["", page.heading("By way of"), *render_steps(origin.steps, page, indent=2)]
    if origin.statistics:
        lines += ["", *render_statistics(origin.statistics, page)]
    return "\n".join([*lines, *render_unknown(origin.unknown, page)])


def render_reach(
    source: SourceVersion, n_others: int, reach: Reach, page: Page, *, all_lines: bool = False
) -> str:
    """Return all that rows of a source reached as text."""
    lines = [page.heading(f"What {counted(len(reach.lines), 'row')} of {source.name} reached")]
    lines += render_lines(reach.lines, page, limit=None if all_lines else LINES_OF_A_FILE)
    if n_others:
        other = counted(n_others, "other version")
        hint = wrapped(f"{other} of this source recorded; choose with --version", page.width)
        lines += [page.faint(line) for line in hint]
    lines += ["", *_reached(reach, page)]
    if reach.statistics:
        title = "Beside these rows, statistics that they went into"
        lines += ["", *render_statistics(reach.statistics, page, title)]
    return "\n".join([*lines, *render_unknown(reach.unknown, page)])


def _rows(rows: Sequence[int]) -> str:
    return f"{'Row' if len(rows) == 1 else 'Rows'} {row_numbers(rows)}"


def _reached(reach: Reach, page: Page) -> list[str]:
    if not reach.newest:
        nothing = "No dataset row was made from them" if not reach.unknown else "No row is known"
        return [page.heading(nothing)]
    header = ["dataset", "rows", "of", "which", "version"]
    cells = [_cells(version) for version in reach.newest]
    lines = table(header, cells, width=page.width, aligns=["left", "right", "right"])
    runs = [version.training_run for version in reach.newest if version.training_run is not None]
    shown = [page.heading("Rows of datasets"), page.faint(lines[0]), *lines[1:]]
    if reach.older:
        older = f"and {counted(len(reach.older), 'older version')} of these datasets"
        shown.append(page.faint(f"  {older} (all of them with --json)"))
    if runs:
        shown += ["", page.heading("Models trained with it"), *_runs(runs, page)]
    return shown


def _cells(version: ReachedVersion) -> list[str]:
    name = version.dataset
    if version.partition_key:
        name = f"{name} [{version.partition_key}]"
    stale = "" if version.current else ", replaced by a newer one since"
    return [
        name,
        f"{len(version.rows):,}",
        f"{version.n_rows:,}",
        row_numbers([int(row) for row in version.rows], limit=4),
        f"{version.dataset_version_id}{stale}",
    ]


def _runs(runs: Sequence[tuple[str, str]], page: Page) -> list[str]:
    return [shorten(f"  {name}  {run_id}", page.width) for run_id, name in runs]
