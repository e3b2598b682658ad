"""A file system that refuses: an error that says so, and nothing half-written."""

import os
import subprocess
import sys
import uuid
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pytest

from traceprop_engine.errors import StoreWriteError
from traceprop_engine.store import Store

pytestmark = pytest.mark.stress


def op(ordinal, detail="x"):
    return {"dataset_version_id": "d", "ordinal": ordinal, "name": "filter", "detail": detail}


def big_text():
    return "".join(uuid.uuid4().hex for _ in range(2000))  # does not compress


def everything(store):
    """Return the files of log, blocks, and staging."""
    return {
        path.relative_to(store.directory).as_posix()
        for name in ("log", "blocks", "staging")
        for path in (store.directory / name).rglob("*")
        if path.is_file()
    }


LIMITED = """
import resource, sys, uuid
import numpy as np
from traceprop_engine.errors import StoreWriteError
from traceprop_engine.store import Store
store = Store.open(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
for write in (
    lambda: store.put_array(np.random.default_rng(0).normal(size=(5000, 3))),
    lambda: store.commit(
        {"audit_event": [{"event_id": "e", "payload": [uuid.uuid4().hex for _ in range(5000)]}]}
    ),
    lambda: store.rebuild(),
):
    try:
        write()
    except StoreWriteError as error:
        print(error)
print(store.commit({"op": [{"dataset_version_id": "d", "ordinal": 1}]}))
print(store.query("select count(*) as n from op")["n"].to_pylist())
"""


def test_files_that_may_not_grow_leave_nothing_half_written(tmp_path):
    store = Store.create(tmp_path / "store")
    store.commit({"op": [op(0)]})
    before = everything(store)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(store.directory)],
        capture_output=True,
        text=True,
        check=True,
    )
    *errors, number, counted = done.stdout.splitlines()
    assert len(errors) == 3
    assert all("File too large" in line and "try again" in line for line in errors)
    assert (number, counted) == ("2", "[2]")
    assert everything(store) - before == {"log/000000000002.parquet"}
    assert store.query("select count(*) as n from op")["n"].to_pylist() == [2]
    assert store.verify().problems == ()


@contextmanager
def mounted(*steps, at):
    """Mount in ``steps`` for a while; skips where that is not allowed."""
    is_mounted = False
    try:
        for step in steps:
            done = subprocess.run(["mount", *step, str(at)], capture_output=True, check=False)  # noqa: S607
            if done.returncode:
                pytest.skip("mounting is not allowed here")
            is_mounted = True
        yield
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(at)], check=True)  # noqa: S607


def commit_until_refused(store):
    """Return how many commits the store took beside the one it has."""
    n_commits = 0
    try:
        while n_commits < 1000:
            store.commit({"op": [op(n_commits + 1, big_text())]})
            n_commits += 1
    except StoreWriteError as error:
        assert "No space left" in str(error)  # noqa: PT017  (it comes at some time)
    return n_commits


def fill(path):
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_full_disk_loses_nothing_and_goes_on_when_there_is_room_again(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted(["-t", "tmpfs", "-o", "size=40m", "tmpfs"], at=disk):
        fill_and_make_room(disk)


def fill_and_make_room(disk):
    store = Store.create(disk / "store")
    store.commit({"op": [op(0)]})
    (disk / "ballast").write_bytes(bytes(32_000_000))
    n_commits = 1 + commit_until_refused(store)
    assert n_commits > 10
    with pytest.raises(OSError, match="No space left"):
        fill(disk / "filler")
    before = everything(store)
    for write in (
        lambda: store.put_array(np.random.default_rng(0).normal(size=(5000, 30))),
        lambda: store.put_table(pa.table({"x": [big_text()]})),
        lambda: store.commit({"op": [op(n_commits, big_text())]}),
        store.rebuild,
    ):
        with pytest.raises(StoreWriteError, match="No space left"):
            write()
    assert everything(store) == before
    assert store.query("select count(*) as n from op")["n"].to_pylist() == [n_commits]
    for name in ("filler", "ballast"):
        (disk / name).unlink()
    store.rebuild()
    assert store.verify().problems == ()
    assert store.query("select count(*) as n from op")["n"].to_pylist() == [n_commits]


@contextmanager
def read_only(directory):
    if os.geteuid() == 0:  # root writes where nobody may, but not where nothing can be written
        with mounted(["--bind", str(directory)], ["-o", "remount,bind,ro"], at=directory):
            yield
        return
    paths = [directory, *(path for path in directory.rglob("*") if not path.is_symlink())]
    modes = {path: path.stat().st_mode for path in paths}
    for path in paths:
        path.chmod(modes[path] & ~0o222)
    yield
    for path in paths:
        path.chmod(modes[path])


def test_a_store_that_may_only_be_read_answers_and_refuses_writes(tmp_path):
    store = Store.create(tmp_path / "store")
    block = store.put_table(pa.table({"in_row": [4, 2]}))
    row = {"dataset_version_id": "d", "ordinal": 0, "kind": "gather", "n_out": 2, "block": block}
    store.commit({"op": [op(0)], "row_map": [row]})
    with read_only(store.directory):
        reader = Store.open(store.directory)
        assert reader.query("select name from op")["name"].to_pylist() == ["filter"]
        assert reader.query("select in_row from row_map_row")["in_row"].to_pylist() == [4, 2]
        assert reader.get_table(block)["in_row"].to_pylist() == [4, 2]
        for write in (
            lambda: reader.commit({"op": [op(1)]}),
            lambda: reader.put_table(pa.table({"x": [1]})),
            reader.rebuild,
            lambda: reader.ingest(blocking=True),
        ):
            with pytest.raises(StoreWriteError, match=r"Read-only|Permission denied"):
                write()
        (problem,) = reader.verify().problems
        assert problem.kind == "index"
    assert store.commit({"op": [op(1)]}) == 2
    assert store.verify().problems == ()
