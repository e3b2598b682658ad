"""`gc`: removes what no commit refers to once it is old enough that no commit will."""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from traceprop_engine.durable_files import publish
from traceprop_engine.store.blocks import BlockStore
from traceprop_engine.store.log import CommitLog
from traceprop_engine.store.schema import Schema
from traceprop_engine.store.verification import references

_HIDDEN = ".removed"


@dataclass(frozen=True)
class CollectionReport:
    """What `Store.gc` removed.

    Attributes:
        blocks: The SHA-256 of the blocks.
        n_staged: Files that crashed writers had left behind.
        n_bytes: Bytes of all of them.
    """

    blocks: tuple[str, ...]
    n_staged: int
    n_bytes: int


def collect(
    log: CommitLog, blocks: BlockStore, staging: Path, schema: Schema, older_than_seconds: float
) -> CollectionReport:
    """Remove unreferenced blocks and staged files that are older than ``older_than_seconds``.

    Raises:
        StoreCorruptError: A commit is damaged, so that nobody knows what it refers to; nothing
            was removed.
        OSError: The directories are not writable.
    """
    born_before = time.time() - older_than_seconds
    for hidden in staging.glob(f"*{_HIDDEN}"):  # an earlier collection was killed
        with suppress(FileNotFoundError):  # or is at it
            _put_back(hidden, blocks)
    referred = {
        block for number in log.numbers() for _, block in references(log.read(number), schema)
    }
    unreferred = [block for block in blocks.names() if block not in referred]
    removed = {
        block: n_bytes
        for block in unreferred
        if (n_bytes := _remove_block(blocks, block, staging, born_before)) is not None
    }
    staged = list(_remove_staged(staging, born_before))
    return CollectionReport(tuple(removed), len(staged), sum(removed.values()) + sum(staged))


def _remove_block(blocks: BlockStore, block: str, staging: Path, born_before: float) -> int | None:
    """Remove ``block`` if it is old, and return its size.

    A writer may find the block and make it young again at any moment. So it is first taken out of
    the writer's sight, and put back if it has become young until then.
    """
    path, hidden = blocks.path(block), staging / f"{block}{_HIDDEN}"
    try:
        if path.stat().st_mtime >= born_before:
            return None
        path.rename(hidden)
        status = hidden.stat()
        if status.st_mtime >= born_before:
            _put_back(hidden, blocks)
            return None
        hidden.unlink()
    except FileNotFoundError:  # another collection has it in hand
        return None
    return status.st_size


def _put_back(hidden: Path, blocks: BlockStore) -> None:
    publish(hidden, blocks.path(hidden.name.removesuffix(_HIDDEN)))
    hidden.unlink()


def _remove_staged(staging: Path, born_before: float) -> Iterator[int]:
    for path in staging.iterdir():
        try:
            status = path.stat()
            if status.st_mtime < born_before:
                path.unlink()
                yield status.st_size
        except FileNotFoundError:  # its writer is done with it
            continue
