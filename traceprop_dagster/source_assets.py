"""Source files as observable assets: their data version is the SHA-256 of their bytes."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from traceprop_dagster.errors import UnknownSourceError
from traceprop_dagster.io_manager import SOURCE_IDENTITY_KEY, SOURCE_OPTIONS_KEY, SOURCE_PATH_KEY
from traceprop_dagster.metadata import source_metadata
from traceprop_engine.sources import scan_source


def source_file_assets(
    files: Mapping[str, str | Path],
    *,
    group_name: str = "sources",
    io_manager_key: str = "io_manager",
    options: Mapping[str, Any] | None = None,
    fingerprint: bool | None = None,
    key_columns: Mapping[str, Sequence[str]] | None = None,
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
        fingerprint: Whether to record the fingerprint of each row when an asset reads a file, so
            that ``traceprop diff`` can match its rows with those of other versions; see
            `traceprop_engine.recording.record_source`.
        key_columns: By the name of an asset, the columns that tell its rows apart.

    Raises:
        UnknownSourceError: Key columns are given for an asset that is none of ``files``.
    """
    keys = dict(key_columns or {})
    if unknown := sorted(set(keys) - set(files)):
        raise UnknownSourceError(unknown[0], list(files))
    return [
        _source_asset(
            name,
            Path(path).expanduser().absolute(),
            group_name,
            io_manager_key,
            {
                SOURCE_OPTIONS_KEY: dict(options or {}),
                SOURCE_IDENTITY_KEY: _given(
                    fingerprint=fingerprint,
                    key_columns=list(keys[name]) if name in keys else None,
                ),
            },
        )
        for name, path in files.items()
    ]


def _given(**settings: Any) -> dict[str, Any]:
    """Return the settings that somebody gave; a page shows no others."""
    return {name: value for name, value in settings.items() if value is not None}


def _source_asset(
    name: str,
    path: Path,
    group_name: str,
    io_manager_key: str,
    settings: Mapping[str, dict[str, Any]],
) -> dg.SourceAsset:
    read_options = settings[SOURCE_OPTIONS_KEY]

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
                **{key: dg.MetadataValue.json(value) for key, value in settings.items() if value},
            },
        )(observe)
