"""Source files as observable assets: their data version is the SHA-256 of their bytes."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from traceprop_dagster.io_manager import SOURCE_OPTIONS_KEY, SOURCE_PATH_KEY
from traceprop_dagster.metadata import source_metadata
from traceprop_engine.sources import scan_source


def source_file_assets(
    files: Mapping[str, str | Path],
    *,
    group_name: str = "sources",
    io_manager_key: str = "io_manager",
    options: Mapping[str, Any] | None = None,
) -> list[dg.SourceAsset]:
    """Return one observable asset for each source file.

    Observing one reads the file, checks that it is well formed, and reports the SHA-256 of its
    bytes as the data version, so that Dagster shows what is out of date. An asset that takes one as
    an input gets its rows as a data frame, and each row can be traced to its line.

    Args:
        files: Path of each file by the name of its asset.
        group_name: The group they are shown in.
        io_manager_key: The key of a `TracepropIOManager`.
        options: How to read them, such as ``{"encoding": "latin-1"}``; see
            `traceprop_engine.sources.read_source`.
    """
    return [
        _source_asset(name, Path(path).expanduser().absolute(), group_name, io_manager_key, options)
        for name, path in files.items()
    ]


def _source_asset(
    name: str,
    path: Path,
    group_name: str,
    io_manager_key: str,
    options: Mapping[str, Any] | None,
) -> dg.SourceAsset:
    read_options = dict(options or {})

    def observe() -> dg.ObserveResult:
        version = scan_source(path, name=name, **read_options)
        return dg.ObserveResult(
            data_version=dg.DataVersion(version.sha256), metadata=source_metadata(version)
        )

    with warnings.catch_warnings():
        # Dagster calls the decorator beta at each use, once in every process of a run.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.observable_source_asset(
            name=name,
            group_name=group_name,
            io_manager_key=io_manager_key,
            description=f"Source file {path.name}",
            metadata={
                SOURCE_PATH_KEY: dg.MetadataValue.path(path),
                SOURCE_OPTIONS_KEY: dg.MetadataValue.json(read_options),
            },
        )(observe)
