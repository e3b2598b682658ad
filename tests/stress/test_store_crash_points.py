"""A writer killed at each system call that changes the disk leaves all of its commit or nothing."""

import itertools
import os
import shutil
import subprocess
import sys

import pyarrow as pa
import pytest

from traceprop_engine.store import Store

pytestmark = [
    pytest.mark.stress,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]

WRITER = """
import sys
import pyarrow as pa
from traceprop_engine.store import Store
store = Store.create(sys.argv[1])
block = store.put_table(pa.table({"in_row": [1, 2, 3]}))
rows = [
    {"dataset_version_id": "new", "ordinal": n, "kind": "gather", "n_out": 3, "block": block}
    for n in range(3)
]
store.commit({"row_map": rows, "audit_event": [{"event_id": "new"}]})
print("acknowledged", flush=True)
"""

CHANGES = (
    *("link", "linkat", "rename", "renameat", "renameat2", "unlink", "unlinkat", "symlink"),
    *("symlinkat", "mkdir", "mkdirat", "fsync", "fdatasync", "ftruncate", "utimensat", "pwrite64"),
)


def killed_at(directory, call, number):
    """Run the writer and kill it at its system call ``call`` number ``number``.

    Returns:
        What it said, and its exit status.
    """
    command = [
        *("strace", "-qq", "-f", "-o", os.devnull, "-e", f"trace={call}"),
        *("-e", f"inject={call}:signal=KILL:when={number}"),
        *(sys.executable, "-c", WRITER, str(directory)),
    ]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return done.stdout, done.returncode


def check(directory, said):
    store = Store.create(directory)
    events = store.query("select event_id from audit_event where event_id = 'new'").num_rows
    maps = store.query("select count(*) as n from row_map_row join row_map using (map_id)")
    assert (events, maps["n"][0].as_py()) in {(0, 0), (1, 9)}
    if said:
        assert events == 1
    assert store.verify().problems == ()
    store.commit({"audit_event": [{"event_id": "after"}]})
    store.gc(0)
    assert list((directory / "staging").iterdir()) == []
    assert store.query("select * from audit_event where event_id = 'after'").num_rows == 1
    assert store.verify().problems == ()


def kill_everywhere(tmp_path, template, calls, first=1, step=1):
    """Kill at every ``step``-th of ``calls`` until the writer survives; return how many died."""
    n_killed = 0
    for call in calls:
        for number in itertools.count(first, step):
            directory = tmp_path / f"{call}-{number}"
            if template is not None:
                shutil.copytree(template, directory, symlinks=True)
            said, status = killed_at(directory, call, number)
            check(directory, said)
            if status == 0:
                assert said == "acknowledged\n"
                break
            n_killed += 1
    return n_killed


@pytest.fixture
def used_store(tmp_path):
    """A store with an index, a commit, and a block that the writer will find there."""
    store = Store.create(tmp_path / "template")
    store.put_table(pa.table({"in_row": [1, 2, 3]}))
    store.commit({"audit_event": [{"event_id": "old"}]})
    return store.directory


def test_a_writer_killed_at_some_changes_of_the_disk_leaves_all_or_nothing(tmp_path, used_store):
    calls = ["link", "fsync", "pwrite64"]
    assert kill_everywhere(tmp_path, used_store, calls, first=1, step=7) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("is_new", [False, True])
def test_a_writer_killed_at_any_change_of_the_disk_leaves_all_or_nothing(
    tmp_path, used_store, is_new
):
    template = None if is_new else used_store
    assert kill_everywhere(tmp_path, template, CHANGES) > 25
