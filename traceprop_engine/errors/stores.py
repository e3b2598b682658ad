"""Errors of stores."""

from pathlib import Path

from traceprop_engine.errors.base import TracepropError


class StoreNotFoundError(TracepropError):
    """There is no store in the directory."""

    def __init__(self, directory: Path) -> None:
        super().__init__(
            f"No store in {directory}: name the directory of one with --store or TRACEPROP_STORE, "
            "or create one by running a pipeline that records into it."
        )
        self.directory = directory


class StoreExistsError(TracepropError):
    """A store was to be created where something else is."""

    def __init__(self, directory: Path, reason: str) -> None:
        super().__init__(f"Cannot create a store in {directory}: {reason}.")
        self.directory = directory


class StoreSchemaError(TracepropError):
    """The store was written by a newer release, or by one whose layout has no migration."""

    def __init__(self, where: Path, found: int, known: int) -> None:
        way_out = "upgrade traceprop-dagster" if found > known else "a migration step is missing"
        super().__init__(
            f"{where} has schema version {found}, this release knows version {known}: {way_out}."
        )
        self.found = found
        self.known = known


class StoreCorruptError(TracepropError):
    """A file of the log or a block is not what was written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} is damaged ({reason}): restore this file from a backup; "
            "`traceprop store verify` lists everything that is damaged."
        )
        self.path = path


class StoreIndexError(TracepropError):
    """The DuckDB index cannot be read, or does not belong to the log."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"The index {path} cannot be used ({reason}): the log holds everything, "
            "run `traceprop store rebuild`."
        )
        self.path = path


class StoreBusyError(TracepropError):
    """Another process held the index for longer than the caller would wait."""

    def __init__(self, path: Path, holder: str, waited_seconds: float) -> None:
        super().__init__(
            f"{path} is held by {holder} (waited {waited_seconds:.1f} s): "
            "close it there, or try again later."
        )
        self.path = path
        self.holder = holder


class StoreConflictError(TracepropError):
    """A commit says something else under a key that an earlier commit used: it is set aside."""

    def __init__(self, commit_no: int, reason: str) -> None:
        super().__init__(
            f"Commit {commit_no} contradicts what is recorded and is set aside ({reason}): record "
            "it under another identifier; `traceprop store verify` lists what was set aside."
        )
        self.commit_no = commit_no


class StoreRowError(TracepropError):
    """A row does not fit its declared table."""

    def __init__(self, table: str, column: str | None, reason: str) -> None:
        place = table if column is None else f"{table}.{column}"
        super().__init__(f"Cannot record a row of {place}: {reason}.")
        self.table = table
        self.column = column


class StoreWriteError(TracepropError):
    """The file system refused a write; nothing half-written is left."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"Cannot write {path} ({reason}): free space or fix the permissions, then try again; "
            "what was recorded before is safe."
        )
        self.path = path


class StoreQueryError(TracepropError):
    """DuckDB refused a query."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The query failed: {reason} (`SHOW TABLES` lists the tables, `DESCRIBE t` a table)."
        )


class BlockNotFoundError(TracepropError):
    """A block is referred to that is not in the store."""

    def __init__(self, block: str, directory: Path) -> None:
        super().__init__(
            f"Block {block} is not in {directory}: put it before you refer to it, or restore it "
            "from a backup."
        )
        self.block = block


class StoreLogError(TracepropError):
    """A commit that the index knows is missing in the log, or is another one there."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} is missing or another commit, although the index knows it: restore the log "
            "from a backup, or accept the loss with `traceprop store rebuild`."
        )
        self.path = path
