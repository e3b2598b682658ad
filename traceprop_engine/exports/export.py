"""One call from a store to a file."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from traceprop_engine.exports.destination import refuse_taken, write_file
from traceprop_engine.exports.openlineage_events import NAMESPACE, run_events
from traceprop_engine.exports.otlp import otlp_requests
from traceprop_engine.exports.parquet_tables import MANIFEST, write_parquet
from traceprop_engine.exports.prov_document import prov_document
from traceprop_engine.exports.recorded import RecordedLineage, read_lineage
from traceprop_engine.store import Store

ExportFormat = Literal["parquet", "otel", "openlineage", "prov"]


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes:
        out: The file or directory.
        dataset: The dataset it was asked for; ``None`` for the whole store.
    """

    format: ExportFormat
    out: Path
    dataset: str | None
    n_dataset_versions: int
    n_sources: int
    n_ops: int
    n_row_maps: int
    n_bytes: int


def export_lineage(  # noqa: PLR0913 (each says what else leaves the store, or where to)
    store: Store,
    out: Path | str,
    *,
    format: ExportFormat,  # noqa: A002 (the word that every reader uses)
    dataset: str | None = None,
    with_details: bool = False,
    with_fitted: bool = False,
    force: bool = False,
    namespace: str = NAMESPACE,
) -> Export:
    """Write the lineage of a store in a format that other programs read.

    No value of any row leaves the store unless it is asked for. Names do: of datasets, partitions,
    columns, files and runs; and the SHA-256 of source files, by which whoever has the file knows it
    again.

    Args:
        store: Where to read.
        out: The file to write, or the directory if the format is ``"parquet"``.
        format: ``"parquet"``, ``"otel"`` (OTLP/JSON lines), ``"openlineage"`` (JSON lines) or
            ``"prov"`` (W3C PROV-JSON).
        dataset: Only this dataset and all that it was made from: its name, for all of its versions,
            or the identifier of one version.
        with_details: Whether to write the arguments of operations, which may hold values.
        with_fitted: Whether to write what estimators were fitted to, which is made of the values of
            rows; Parquet and PROV have a place for it.
        force: Whether to replace an earlier export at ``out``.
        namespace: The OpenLineage namespace of datasets and jobs.

    Raises:
        DatasetNotFoundError: The store has no such dataset.
        EmptyExportError: The store has no dataset version.
        ExportExistsError: ``out`` is taken; nothing was written.
        ExportTimeError: The format needs a time that was not recorded; nothing was written.
        ExportWriteError: The file system refused; nothing was written.
    """
    path = Path(out)
    refuse_taken(path, force=force, manifest=MANIFEST if format == "parquet" else None)
    lineage = read_lineage(store, dataset, with_details=with_details, with_fitted=with_fitted)
    if format == "parquet":
        n_bytes = write_parquet(store, lineage, path, force=force)
    else:
        lines = map(_json, _documents(lineage, format, namespace))
        n_bytes = write_file(path, lines, force=force)
    return Export(
        format=format,
        out=path,
        dataset=dataset,
        n_dataset_versions=len(lineage.versions),
        n_sources=len(lineage.sources),
        n_ops=sum(len(version.ops) for version in lineage.versions),
        n_row_maps=sum(len(version.maps) for version in lineage.versions),
        n_bytes=n_bytes,
    )


def _documents(
    lineage: RecordedLineage, format_: ExportFormat, namespace: str
) -> Iterable[Mapping[str, object]]:
    writers: dict[str, Callable[[], Iterable[Mapping[str, object]]]] = {
        "otel": lambda: otlp_requests(lineage),
        "openlineage": lambda: run_events(lineage, namespace),
        "prov": lambda: iter([prov_document(lineage)]),
    }
    return writers[format_]()


def _json(document: Mapping[str, object]) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
