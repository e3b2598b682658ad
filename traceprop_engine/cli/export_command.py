"""`traceprop export`: the lineage of a store, for other programs."""

from pathlib import Path
from typing import get_args

import click

from traceprop_engine.cli.options import (
    answer,
    answer_json,
    json_option,
    open_store,
    progress,
    store_option,
)
from traceprop_engine.cli.render_store import size
from traceprop_engine.exports import Export, ExportFormat, export_lineage
from traceprop_engine.presentation import counted


@click.command(short_help="Lineage as Parquet, OpenTelemetry, OpenLineage or PROV.")
@click.option(
    "--format",
    "format_",
    required=True,
    type=click.Choice(get_args(ExportFormat)),
    help="parquet: a directory of tables, with every pair of rows. otel: spans, OTLP/JSON lines. "
    "openlineage: run events, JSON lines. prov: a W3C PROV-JSON document.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="The file to write; for parquet the directory.",
)
@click.option(
    "--dataset",
    metavar="NAME",
    help="Only this dataset (or one of its versions, by identifier) and all it was made from.",
)
@click.option(
    "--details",
    is_flag=True,
    help="Write the arguments of operations too. They stand in the code and may hold values.",
)
@click.option(
    "--fitted",
    is_flag=True,
    help="Write what estimators were fitted to, into parquet and prov. It is made of the values of "
    "rows, and may be personal data.",
)
@click.option(
    "--namespace",
    default="traceprop",
    show_default=True,
    help="Where OpenLineage looks for datasets and jobs.",
)
@click.option("--force", is_flag=True, help="Replace an earlier export.")
@json_option("format, out, dataset, n_dataset_versions, n_sources, n_ops, n_row_maps, n_bytes.")
@store_option
def export(  # noqa: PLR0913 (one argument for each option)
    directory: Path,
    format_: ExportFormat,
    out: Path,
    dataset: str | None,
    namespace: str,
    *,
    details: bool,
    fitted: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Write the lineage that a store holds in a format that other programs read.

    The values of rows are not written unless you ask for them. Names are: of datasets,
    partitions, columns, files and runs; and the SHA-256 of source files.

    """
    store = open_store(directory)
    progress(f"Reading the lineage of {dataset or 'everything'}, and writing {out}")
    written = export_lineage(
        store,
        out.expanduser(),
        format=format_,
        dataset=dataset,
        with_details=details,
        with_fitted=fitted,
        force=force,
        namespace=namespace,
    )
    if as_json:
        answer_json(vars(written))
    else:
        answer(_sentence(written))


def _sentence(written: Export) -> str:
    what = ", ".join(
        [
            counted(written.n_dataset_versions, "dataset version"),
            counted(written.n_sources, "source version"),
            counted(written.n_ops, "operation"),
            counted(written.n_row_maps, "row map"),
        ]
    )
    return f"Wrote {written.out} ({size(written.n_bytes)}): {what}"
