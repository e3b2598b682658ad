"""Other programs that hold the index: nobody fails, and nobody waits longer than said."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from threading import Timer

import duckdb
import filelock
import pyarrow as pa
import pytest

from traceprop_engine.errors import StoreBusyError, StoreConflictError, StoreCorruptError
from traceprop_engine.store import Store

pytestmark = pytest.mark.stress

HOLD_WITH_DUCKDB = """
import sys, time, duckdb
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "reading")
print("held", flush=True)
time.sleep(600)
"""

HOLD_OUR_LOCK = """
import sys, time, filelock
lock = filelock.FileLock(sys.argv[1] + ".lock")
lock.acquire()
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def store(tmp_path):
    store = Store.create(tmp_path / "store")
    store.commit({"op": [op(0)]})
    return store


@contextmanager
def held(store, program, *arguments):
    path = str(store.directory / "traceprop.duckdb")
    command = [sys.executable, "-c", program, path, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            yield holder
        finally:
            holder.kill()


def op(ordinal, name="filter"):
    return {"dataset_version_id": "d", "ordinal": ordinal, "name": name}


def ordinals(store, **options):
    return store.query("select ordinal from op order by 1", **options)["ordinal"].to_pylist()


@pytest.mark.parametrize("how", ["writing", "reading"])
def test_a_person_with_a_duckdb_shell_makes_nobody_fail(store, how):
    with held(store, HOLD_WITH_DUCKDB, how):
        assert [store.commit({"op": [op(n)]}) for n in range(1, 4)] == [2, 3, 4]
        assert ordinals(store) == [0, 1, 2, 3]
        assert ordinals(Store.open(store.directory)) == [0, 1, 2, 3]
        store.commit({"op": [op(4)]})
        assert ordinals(store) == [0, 1, 2, 3, 4]
        assert store.info().n_commits == 5
    assert ordinals(store) == [0, 1, 2, 3, 4]
    assert store.verify().problems == ()


def test_a_commit_does_not_wait_for_the_holder(store):
    with held(store, HOLD_WITH_DUCKDB, "writing"):
        started = time.monotonic()
        for ordinal in range(1, 11):
            store.commit({"op": [op(ordinal)]})
        assert time.monotonic() - started < 5


def test_row_maps_and_gradients_are_answered_from_memory_too(store):
    block = store.put_table(pa.table({"in_row": [5, 3]}))
    row = {"dataset_version_id": "d", "ordinal": 0, "kind": "gather", "n_out": 2, "block": block}
    with held(store, HOLD_WITH_DUCKDB, "writing"):
        store.commit({"row_map": [row]})
        found = store.query("select in_row from row_map_row order by out_row")
        assert found["in_row"].to_pylist() == [5, 3]


def test_writing_into_the_memory_copy_is_refused(store):
    with held(store, HOLD_WITH_DUCKDB, "writing"):
        assert ordinals(store) == [0]
        with pytest.raises(Exception, match="read-only"):
            store.query("delete from op")
        assert ordinals(store) == [0]


def test_the_memory_copy_sets_contradictions_aside_like_the_file(store):
    with held(store, HOLD_WITH_DUCKDB, "writing"):
        number = store.commit({"op": [op(0, "other")]})
        in_memory = store.query("select commit_no, status, reason from bundle order by 1")
        assert in_memory["status"].to_pylist() == ["accepted", "set aside"]
    report = store.ingest(blocking=True)
    assert [set_aside.commit_no for set_aside in report.set_aside] == [number]
    in_file = store.query("select commit_no, status, reason from bundle order by 1")
    assert in_file.equals(in_memory)


def test_who_needs_the_file_itself_is_told_the_process_that_holds_it(store):
    with held(store, HOLD_WITH_DUCKDB, "writing") as holder:
        store.commit({"op": [op(1)]})
        assert store.ingest() is None
        for action in (
            lambda: store.ingest(blocking=True, wait_seconds=0.3),
            lambda: store.rebuild(wait_seconds=0.3),
        ):
            with pytest.raises(StoreBusyError, match=f"process {holder.pid} ") as caught:
                action()
            assert "\n" not in str(caught.value)
        (problem,) = store.verify(wait_seconds=0.3).problems
        assert str(holder.pid) in problem.message


def test_a_process_of_ours_that_hangs_with_the_lock_makes_nobody_fail(store):
    with held(store, HOLD_OUR_LOCK) as holder:
        assert store.commit({"op": [op(1)]}) == 2
        assert ordinals(store, wait_seconds=0.3) == [0, 1]
        with pytest.raises(StoreBusyError, match=f"process {holder.pid}"):
            store.ingest(blocking=True, wait_seconds=0.3)
    assert ordinals(store) == [0, 1]


def test_a_stopped_holder_is_outwaited(store):
    with held(store, HOLD_WITH_DUCKDB, "writing") as holder:
        holder.send_signal(signal.SIGSTOP)
        started = time.monotonic()
        assert ordinals(store) == [0]
        assert time.monotonic() - started < 10


def test_a_holder_that_lets_go_in_time_is_waited_for(store):
    with held(store, HOLD_WITH_DUCKDB, "writing") as holder:
        store.commit({"op": [op(1)]})
        letting_go = Timer(0.5, holder.kill)
        letting_go.start()
        report = store.ingest(blocking=True, wait_seconds=20)
        letting_go.join()
    assert report.commit_numbers == (2,)


def test_a_connection_in_the_same_process_makes_nobody_fail(store):
    path = str(store.directory / "traceprop.duckdb")
    with duckdb.connect(path, read_only=True):
        store.commit({"op": [op(1)]})
        assert ordinals(store) == [0, 1]
        with pytest.raises(StoreBusyError, match=f"this process, {os.getpid()}"):
            store.ingest(blocking=True, wait_seconds=0.2)
    assert ordinals(store) == [0, 1]


def test_a_damaged_commit_is_named_while_the_file_is_held(store):
    with held(store, HOLD_WITH_DUCKDB, "writing"):
        (store.directory / "log" / "000000000002.parquet").write_bytes(b"junk")
        with pytest.raises(StoreCorruptError, match="000000000002"):
            store.query("select 1")


def test_no_process_opens_the_index_without_the_lock(store, monkeypatch):
    """Every connection to the file is made while our lock is held."""
    connect, seen = duckdb.connect, []

    def spy(*arguments, **options):
        if arguments and arguments[0].endswith("traceprop.duckdb"):
            with pytest.raises(filelock.Timeout):
                filelock.FileLock(arguments[0] + ".lock").acquire(timeout=0)
            seen.append(arguments[0])
        return connect(*arguments, **options)

    monkeypatch.setattr(duckdb, "connect", spy)
    store.commit({"op": [op(1)]})
    store.query("select 1")
    store.info()
    with pytest.raises(StoreConflictError):
        store.commit({"op": [op(0, "other")]})
    store.verify()
    store.rebuild()
    store.ingest(blocking=True)
    assert len(seen) >= 7


@pytest.mark.parametrize("is_held", [False, True])
def test_threads_share_one_store_object(store, is_held):
    """Each thread sees its own commit at once, with the index in the file or in memory."""

    def work(thread):
        for n in range(5):
            store.commit({"op": [{"dataset_version_id": f"t{thread}", "ordinal": n}]})
            found = store.query(
                "select count(*) as n from op where dataset_version_id = ?", [f"t{thread}"]
            )
            assert found["n"].to_pylist() == [n + 1]

    with ExitStack() as stack:
        if is_held:
            stack.enter_context(held(store, HOLD_WITH_DUCKDB, "writing"))
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(work, range(6)))
    assert store.query("select count(*) as n from op")["n"].to_pylist() == [31]
    assert store.verify().problems == ()
