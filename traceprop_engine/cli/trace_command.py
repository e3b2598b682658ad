"""`traceprop trace`: the source rows that rows of a dataset were made from."""

from pathlib import Path

import click

from traceprop_engine.answers import origin_of, table_of
from traceprop_engine.cli.options import (
    answer,
    answer_json,
    json_option,
    open_store,
    page,
    store_option,
)
from traceprop_engine.cli.render_walks import render_origin
from traceprop_engine.errors import NoMatchingRowError
from traceprop_engine.recording import DatasetVersion, find_dataset_version
from traceprop_engine.row_predicate import rows_where
from traceprop_engine.store import Store


@click.command(short_help="Which source lines a row was made from.")
@click.argument("dataset")
@click.argument("row", required=False, type=click.IntRange(min=0))
@click.option("--where", metavar="CONDITION", help="Instead of ROW, such as 'id = 7'.")
@click.option("--all-lines", is_flag=True, help="Show every source line.")
@json_option(
    "dataset, dataset_version_id, rows, lines (source, uri, sha256, row, line_number, text, "
    "unavailable), steps (dataset, dataset_version_id, n_rows, operations), statistics, unknown."
)
@store_option
def trace(
    directory: Path,
    dataset: str,
    row: int | None,
    where: str | None,
    *,
    all_lines: bool,
    as_json: bool,
) -> None:
    """Show the source lines that a row of a dataset was made from, and the way from there.

    DATASET is a name, which stands for the newest version, or the identifier of a version. ROW
    counts from 0. With --where, all rows that match are traced together.

    """
    if (row is None) == (where is None):
        raise click.UsageError("Choose rows, with ROW or with --where.")
    store = open_store(directory)
    version = find_dataset_version(store, dataset)
    rows = [row] if row is not None else _matching(store, version, where or "")
    origin = origin_of(store, version.id, rows)
    if as_json:
        answer_json(
            {
                "dataset": version.dataset,
                "dataset_version_id": version.id,
                "rows": rows,
                "lines": origin.lines,
                "steps": origin.steps,
                "statistics": origin.statistics,
                "unknown": origin.unknown,
            }
        )
        return
    answer(render_origin(version, rows, origin, page(), all_lines=all_lines))


def _matching(store: Store, version: DatasetVersion, predicate: str) -> list[int]:
    rows = rows_where(table_of(store, version), predicate)
    if not len(rows):
        raise NoMatchingRowError(f"'{version.dataset}'", predicate)
    return [int(row) for row in rows]
