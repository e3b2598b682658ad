"""What is known to break, looked for in this place: versions, the store, who holds its index."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from traceprop_engine.errors import StoreBusyError, StoreNotFoundError, TracepropError
from traceprop_engine.store import Store

_PACKAGES = ("traceprop-dagster", "dagster", "duckdb", "pandas", "numpy", "pyarrow", "scipy")
_RACY_DUCKDB = ("2.0.0", "2.0.1")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: *note* is worth knowing; *problem* will stop somebody.
        subject: What was looked at.
        text: What was found, in one line.
    """

    level: Literal["ok", "note", "problem"]
    subject: str
    text: str


def examine(directory: Path, *, must_exist: bool) -> list[Finding]:
    """Return what was found, versions first.

    Args:
        directory: Of the store.
        must_exist: Whether a missing store is a problem, and not merely not there yet.
    """
    python = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    findings = [Finding("ok", "python", python), *map(_package, _PACKAGES)]
    findings += _duckdb_remarks()
    return findings + _store(directory, must_exist=must_exist)


def _package(name: str) -> Finding:
    try:
        return Finding("ok", name, version(name))
    except PackageNotFoundError:
        return Finding("note", name, "not installed as a package")


def _duckdb_remarks() -> list[Finding]:
    installed = version("duckdb")
    if installed not in _RACY_DUCKDB:
        return []
    text = (
        f"DuckDB {installed} can lose a commit when two processes open one file at the same "
        "moment. Stores are opened under a lock of their own and lose nothing; a shell of DuckDB "
        "that opens traceprop.duckdb while a pipeline runs may damage the index, which `traceprop "
        "store rebuild` mends."
    )
    return [Finding("note", "duckdb", text)]


def _store(directory: Path, *, must_exist: bool) -> list[Finding]:
    try:
        store = Store.open(directory)
        holder = _holder(store)
        info = store.info()
    except StoreNotFoundError as error:
        return [Finding("problem" if must_exist else "note", "store", str(error))]
    except TracepropError as error:
        return [Finding("problem", "store", str(error))]
    counts = (
        f"{info.directory}: schema version {info.schema_version}, {info.n_commits:,} commits, "
        f"{info.n_blocks:,} blocks"
    )
    found = [Finding("ok", "store", counts), holder]
    if info.n_set_aside:
        text = f"{info.n_set_aside} contradict earlier ones; see `traceprop store verify`"
        found.append(Finding("problem", "set aside", text))
    if not os.access(directory, os.W_OK):
        found.append(Finding("problem", "store", f"{directory} cannot be written to"))
    return found


def _holder(store: Store) -> Finding:
    try:
        store.ingest(blocking=True, wait_seconds=0.0)
    except StoreBusyError as error:
        text = f"held by {error.holder}; answers come from the log meanwhile, and writers go on"
        return Finding("note", "index", text)
    return Finding("ok", "index", "free, and up to date with the log")
