"""`info`: how much a store holds."""

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from traceprop_engine.store.index import quoted
from traceprop_engine.store.schema import Schema


@dataclass(frozen=True)
class StoreInfo:
    """What `Store.info` tells.

    Attributes:
        directory: Of the store.
        schema_version: Of the tables.
        n_commits: Commits in the log.
        n_set_aside: Commits whose rows contradict earlier ones and are in no table.
        n_rows: Rows of each table.
        n_blocks: Blocks, referred to or not.
        n_bytes: Bytes of log, blocks, and index.
    """

    directory: Path
    schema_version: int
    n_commits: int
    n_set_aside: int
    n_rows: Mapping[str, int]
    n_blocks: int
    n_bytes: int

    @classmethod
    def from_counts(
        cls, directory: Path, schema: Schema, counts: Mapping[str, int], n_blocks: int
    ) -> Self:
        """Return what the answer ``counts`` to `count_statement` and the files tell."""
        return cls(
            directory=directory,
            schema_version=schema.version,
            n_commits=counts["bundle"],
            n_set_aside=counts["set aside"],
            n_rows={name: counts[name] for name in schema.tables},
            n_blocks=n_blocks,
            n_bytes=_n_bytes(directory),
        )


def count_statement(schema: Schema) -> str:
    """Return the query that counts the rows of every table, and the commits set aside."""
    names = [*schema.tables, "bundle"]
    counts = [f"(select count(*) from {quoted(name)}) as {quoted(name)}" for name in names]
    counts.append("(select count(*) from bundle where status = 'set aside') as \"set aside\"")
    return f"select {', '.join(counts)}"


def _n_bytes(directory: Path) -> int:
    n_bytes = 0
    for path in directory.rglob("*"):
        try:
            status = path.lstat()
        except FileNotFoundError:  # its writer is done with it
            continue
        n_bytes += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return n_bytes
