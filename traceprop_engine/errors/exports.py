"""Errors of exports."""

from pathlib import Path

from traceprop_engine.errors.base import TracepropError


class EmptyExportError(TracepropError):
    """A store has no dataset version, so that there is no lineage to export."""

    def __init__(self, directory: Path) -> None:
        super().__init__(
            f"The store {directory} has no dataset version: there is nothing to export until a "
            "pipeline has run with it."
        )


class ExportExistsError(TracepropError):
    """An export would take the place of something."""

    def __init__(self, path: Path, way_out: str) -> None:
        super().__init__(f"{path} exists: {way_out}.")
        self.path = path


class ExportWriteError(TracepropError):
    """The file system refused an export; nothing half-written is left."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"Cannot write {path} ({reason}): free space, or choose another path.")
        self.path = path


class ExportTimeError(TracepropError):
    """A format needs a time that was not recorded."""

    def __init__(self, dataset: str, version_id: str) -> None:
        super().__init__(
            f"Version {version_id} of {dataset!r} was recorded without a time, which this format "
            "must have: export it as parquet or prov, or leave it out with --dataset."
        )


class ExportRefusedError(TracepropError):
    """Whoever was given an export did not take it."""

    def __init__(self, exporter: str, n_sent: int) -> None:
        super().__init__(
            f"{exporter} reported a failure after {n_sent} spans: see its log, then send again; "
            "spans that arrive twice have the same identifiers."
        )
