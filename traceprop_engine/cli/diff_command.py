"""`traceprop diff`: which rows differ between two versions of a source."""

from pathlib import Path

import click

from traceprop_engine.cli.options import (
    answer,
    answer_json,
    json_option,
    number_option,
    open_store,
    page,
    progress,
    store_option,
)
from traceprop_engine.cli.render_diff import render_diff
from traceprop_engine.cli.source_choice import find_version
from traceprop_engine.cli.source_diff import SourceDiff, diff_of
from traceprop_engine.sources import SourceVersion


@click.command(short_help="Which rows differ between two versions of a source.")
@click.argument("source")
@click.argument("old", metavar="[V1]", default="previous")
@click.argument("new", metavar="[V2]", default="latest")
@click.option(
    "--key",
    multiple=True,
    metavar="COLUMN",
    help="A column that tells rows apart, so that an edited row is known as such; may be repeated.",
)
@number_option("--limit", "How many rows of each kind to show.", default=10, least=0)
@json_option(
    "source, old and new (source_version_id, uri, sha256, n_rows), key_columns, columns_gone, "
    "columns_new, counts (same, moved, edited, gone, new), gone, new_rows and edited (before, "
    "after), each row as source, uri, sha256, row, line_number, text, unavailable."
)
@store_option
def diff(
    directory: Path,
    source: str,
    old: str,
    new: str,
    key: tuple[str, ...],
    limit: int,
    *,
    as_json: bool,
) -> None:
    """Count the rows that are the same, moved, edited, gone and new, and show those that changed.

    SOURCE is the name of a source, its file, or the identifier of a version. V1 and V2 are the
    first digits of a version's SHA-256 or identifier, 'previous' or 'latest'; those two by default.

    Rows are matched by what stands in them, wherever they stand. Without --key, an edited row is
    one that is gone and one that is new.

    """
    store = open_store(directory)
    versions = [find_version(store, source, asked) for asked in (old, new)]
    progress("Comparing the fingerprints of the rows")
    found = diff_of(store, versions[0], versions[1], key, limit)
    if as_json:
        answer_json(_document(found))
    else:
        answer(render_diff(found, page()))


def _document(found: SourceDiff) -> dict[str, object]:
    return {
        "source": found.new.name,
        "old": _version(found.old),
        "new": _version(found.new),
        "key_columns": found.key_columns,
        "columns_gone": found.columns_gone,
        "columns_new": found.columns_new,
        "counts": found.counts,
        "gone": found.gone,
        "new_rows": found.added,
        "edited": [{"before": before, "after": after} for before, after in found.edited],
    }


def _version(version: SourceVersion) -> dict[str, object]:
    return {
        "source_version_id": version.source_version_id,
        "uri": version.uri,
        "sha256": version.sha256,
        "n_rows": version.n_rows,
    }
