"""Many processes at one store, some of them killed: nothing acknowledged is lost, nothing is half.

A worker writes a line to its own file after each commit that was acknowledged; that is what must be
found again, whatever happened to the worker afterwards.
"""

import random
import signal
import time
from contextlib import contextmanager

import numpy as np
import pytest

from traceprop_engine.store import Store

pytestmark = pytest.mark.stress

ROWS = 5

WRITER = """
import numpy as np
from traceprop_engine.store import Store
directory, worker, first, n, rows, acknowledged = arguments
store = Store.open(directory)
with open(acknowledged, "a") as done:
    for number in range(first, first + n):
        name = f"w{worker}-{number}"
        block = store.put_array(np.full((3, 2), float(number) + worker * 1e6))
        store.commit(
            {
                "dataset_version": [{"dataset_version_id": name, "content_block": block}],
                "op": [
                    {"dataset_version_id": name, "ordinal": k, "name": f"w{worker}"}
                    for k in range(rows)
                ],
            },
            key=name,
        )
        done.write(name + chr(10))
        done.flush()
"""

INGESTER = """
from traceprop_engine.store import Store
store = Store.open(arguments[0])
while True:
    store.ingest(blocking=True)
"""

READER = """
from traceprop_engine.store import Store
directory, expected, rows = arguments
store = Store.open(directory)
seen = 0
while seen < expected:
    (n,) = store.query("select count(*) as n from op")["n"].to_pylist()
    assert n >= seen and n % rows == 0, (n, seen)
    seen = n
"""


def acknowledged(folder):
    return {line for file in folder.glob("ack*") for line in file.read_text().splitlines() if line}


def check_that_nothing_is_lost_or_half(store, names):
    """Compare the index with what was acknowledged, and the whole store with itself."""
    found = store.query(
        "select dataset_version_id as name, content_block, "
        "(select count(*) from op where op.dataset_version_id = v.dataset_version_id) as n_ops "
        "from dataset_version as v"
    ).to_pylist()
    assert names <= {row["name"] for row in found}
    assert {row["n_ops"] for row in found} <= {ROWS}
    for row in found:
        worker, number = row["name"].removeprefix("w").split("-")
        values = store.get_array(row["content_block"])
        assert np.array_equal(values, np.full((3, 2), float(number) + int(worker) * 1e6))
    report = store.verify()
    assert report.problems == ()
    names_of_log = sorted(path.name for path in (store.directory / "log").iterdir())
    assert names_of_log == [f"{n:012d}.parquet" for n in range(1, len(names_of_log) + 1)]
    return len(found)


@contextmanager
def writers_at_work(start_worker, store, folder, n_writers, n_commits):
    """Run writers for as long as the block repeats what it yields, and check what they wrote."""
    writers = [
        start_worker(WRITER, store.directory, worker, 0, n_commits, ROWS, folder / f"ack{worker}")
        for worker in range(n_writers)
    ]
    yield lambda: any(writer.is_alive() for writer in writers)
    for writer in writers:
        writer.join(timeout=120)
    assert [writer.exitcode for writer in writers] == [0] * n_writers
    names = acknowledged(folder)
    assert len(names) == n_writers * n_commits
    assert check_that_nothing_is_lost_or_half(store, names) == n_writers * n_commits


def run_writers(start_worker, tmp_path, n_writers, n_commits):
    store = Store.create(tmp_path / "store")
    reader = start_worker(READER, store.directory, n_writers * n_commits * ROWS, ROWS)
    with writers_at_work(start_worker, store, tmp_path, n_writers, n_commits):
        pass  # they and the reader have one another for company
    reader.join(timeout=60)
    assert reader.exitcode == 0


def test_eight_processes_with_twenty_writes_each_lose_nothing_while_one_reads(
    start_worker, tmp_path
):
    run_writers(start_worker, tmp_path, n_writers=8, n_commits=20)


@pytest.mark.slow
def test_sixty_four_processes_with_ten_writes_each_lose_nothing_while_one_reads(
    start_worker, tmp_path
):
    run_writers(start_worker, tmp_path, n_writers=64, n_commits=10)


class Herd:
    """Processes that are killed at random moments and started again where they had come to."""

    def __init__(self, start_worker, store, folder, n_writers):
        self.start_worker = start_worker
        self.store = store
        self.folder = folder
        self.processes = {name: self.started(name) for name in (*range(n_writers), "ingester")}

    def started(self, name):
        if name == "ingester":
            return self.start_worker(INGESTER, self.store.directory)
        file = self.folder / f"ack{name}"
        lines = file.read_text().splitlines() if file.exists() else []
        # Its last commit may be recorded without its having been told: it tries that one again.
        first = int(lines[-1].split("-")[1]) + 1 if lines else 0
        return self.start_worker(WRITER, self.store.directory, name, first, 10_000, ROWS, file)

    def kill(self, name):
        process = self.processes[name]
        assert process.is_alive(), f"{name} ended by itself"
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL


def kill_at_random(start_worker, tmp_path, n_kills, seed):
    store = Store.create(tmp_path / "store")
    herd = Herd(start_worker, store, tmp_path, n_writers=3)
    rng = random.Random(seed)  # noqa: S311  (moments of kills)
    for _ in range(n_kills):
        time.sleep(rng.uniform(0.05, 0.4))
        name = rng.choice(list(herd.processes))
        herd.kill(name)
        herd.processes[name] = herd.started(name)
    for name in herd.processes:
        herd.kill(name)
    names = acknowledged(tmp_path)
    assert len(names) > n_kills
    check_that_nothing_is_lost_or_half(store, names)
    before = {name: store.query(f"select * from {name} order by all") for name in ("op", "bundle")}
    store.rebuild()
    for name, rows in before.items():
        assert store.query(f"select * from {name} order by all").equals(rows)
    store.gc(0)
    assert list((store.directory / "staging").iterdir()) == []
    check_that_nothing_is_lost_or_half(store, names)


def test_forty_kills_lose_no_acknowledged_write_and_leave_nothing_partial(start_worker, tmp_path):
    kill_at_random(start_worker, tmp_path, n_kills=36, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_three_hundred_kills_lose_no_acknowledged_write_and_leave_nothing_partial(
    start_worker, tmp_path, seed
):
    kill_at_random(start_worker, tmp_path, n_kills=296, seed=seed)


def test_rebuilds_beside_writers_lose_nothing(start_worker, tmp_path):
    store = Store.create(tmp_path / "store")
    with writers_at_work(start_worker, store, tmp_path, n_writers=3, n_commits=30) as are_at_work:
        while are_at_work():
            store.rebuild()


def test_collections_beside_writers_take_no_block_that_is_being_committed(start_worker, tmp_path):
    store = Store.create(tmp_path / "store")
    with writers_at_work(start_worker, store, tmp_path, n_writers=3, n_commits=30) as are_at_work:
        while are_at_work():
            store.gc(30)
            store.info()
