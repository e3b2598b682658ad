"""`traceprop affected`: all that rows of a source reached."""

from collections.abc import Sequence
from pathlib import Path

import click

from traceprop_engine.answers import Reach, ReachedVersion, reach_of
from traceprop_engine.cli.options import (
    answer,
    answer_json,
    json_option,
    open_store,
    page,
    progress,
    store_option,
)
from traceprop_engine.cli.render_walks import render_reach
from traceprop_engine.cli.source_choice import (
    ChosenSource,
    find_source,
    row_of_line,
    rows_matching,
)
from traceprop_engine.sources import SourceVersion


@click.command(short_help="What a source row reached.")
@click.argument("source")
@click.option("--line", type=click.IntRange(min=1), help="A line of the file, from 1.")
@click.option("--row", type=click.IntRange(min=0), help="Or the number of a record, from 0.")
@click.option("--where", metavar="CONDITION", help="Or a condition, such as 'id = 7'.")
@click.option(
    "--version",
    "digest",
    metavar="SHA256",
    help="First digits of the file's SHA-256; by default the version that was used last.",
)
@click.option("--all-lines", is_flag=True, help="Show every one of the chosen lines.")
@json_option(
    "source, source_version_id, uri, sha256, other_versions, lines (source, uri, sha256, row, "
    "line_number, text, unavailable), datasets (the newest version of each) and older_datasets "
    "(dataset, partition_key, dataset_version_id, rows, n_rows, current, training_run_id), "
    "training_runs (training_run_id, name), statistics, unknown."
)
@store_option
def affected(  # noqa: PLR0913 (one argument for each option)
    directory: Path,
    source: str,
    line: int | None,
    row: int | None,
    where: str | None,
    digest: str | None,
    *,
    all_lines: bool,
    as_json: bool,
) -> None:
    """Show every dataset row, training run and model that rows of a source reached.

    SOURCE is the name of a source, its file, or the identifier of a version. What only a statistic
    connects is listed apart.

    """
    if sum(choice is not None for choice in (line, row, where)) != 1:
        raise click.UsageError("Choose rows, with one of --line, --row and --where.")
    store = open_store(directory)
    chosen = find_source(store, source, digest)
    rows = _rows(chosen.version, line, row, where)
    progress("Following the rows")
    reach = reach_of(store, chosen.version, rows)
    if as_json:
        answer_json(_document(chosen, reach))
    else:
        answer(render_reach(chosen.version, len(chosen.others), reach, page(), all_lines=all_lines))


def _rows(
    version: SourceVersion, line: int | None, row: int | None, where: str | None
) -> Sequence[int]:
    if line is not None:
        return [row_of_line(version, line)]
    if row is not None:
        return [row]
    progress(f"Reading {version.uri}")
    return rows_matching(version, where or "")


def _document(chosen: ChosenSource, reach: Reach) -> dict[str, object]:
    version = chosen.version
    runs = [v.training_run for v in (*reach.newest, *reach.older) if v.training_run is not None]
    return {
        "source": version.name,
        "source_version_id": version.source_version_id,
        "uri": version.uri,
        "sha256": version.sha256,
        "lines": reach.lines,
        "other_versions": chosen.others,
        "datasets": [_version(reached) for reached in reach.newest],
        "older_datasets": [_version(reached) for reached in reach.older],
        "training_runs": [{"training_run_id": run_id, "name": name} for run_id, name in runs],
        "statistics": reach.statistics,
        "unknown": reach.unknown,
    }


def _version(reached: ReachedVersion) -> dict[str, object]:
    return {
        "dataset": reached.dataset,
        "partition_key": reached.partition_key,
        "dataset_version_id": reached.dataset_version_id,
        "rows": reached.rows,
        "n_rows": reached.n_rows,
        "current": reached.current,
        "training_run_id": None if reached.training_run is None else reached.training_run[0],
    }
