"""Many processes at one store, some of them killed: nothing acknowledged is lost, nothing is half.

A worker writes a line to its own file after each commit that was acknowledged; that is what must be
found again, whatever happened to the worker afterwards.
"""

import random
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from traceprop_engine.store import Store

pytestmark = pytest.mark.stress

ROWS = 5

WRITER = """
import sys, random
import numpy as np
from traceprop_engine.store import Store
directory, worker, first, n, acknowledged = sys.argv[1:]
store = Store.open(directory)
with open(acknowledged, "a") as done:
    for number in range(int(first), int(first) + int(n)):
        name = f"w{worker}-{number}"
        block = store.put_array(np.full((3, 2), float(number) + int(worker) * 1e6))
        store.commit(
            {
                "dataset_version": [{"dataset_version_id": name, "content_block": block}],
                "op": [
                    {"dataset_version_id": name, "ordinal": k, "name": worker} for k in range(ROWS)
                ],
            },
            key=name,
        )
        done.write(name + chr(10))
        done.flush()
"""

INGESTER = """
import sys
from traceprop_engine.store import Store
store = Store.open(sys.argv[1])
while True:
    store.ingest(blocking=True)
"""

READER = """
import sys, time
from traceprop_engine.store import Store
store = Store.open(sys.argv[1])
seen = 0
while seen < int(sys.argv[2]):
    rows = store.query("select count(*) as n from op").to_pylist()
    assert rows[0]["n"] >= seen and rows[0]["n"] % ROWS == 0, (rows, seen)
    seen = rows[0]["n"]
"""


def start(program, *arguments):
    code = textwrap.dedent(program).replace("ROWS", str(ROWS))
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)])


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


def run_writers(tmp_path, n_workers, n_commits):
    store = Store.create(tmp_path / "store")
    reader = start(READER, store.directory, n_workers * n_commits * ROWS)
    try:
        with writers_at_work(store, tmp_path, n_workers, n_commits):
            assert reader.wait(timeout=300) == 0
    finally:
        reader.kill()
        reader.wait()
    assert len(acknowledged(tmp_path)) == n_workers * n_commits


def test_eight_processes_with_twenty_writes_each_lose_nothing_while_one_reads(tmp_path):
    run_writers(tmp_path, n_workers=8, n_commits=20)


@pytest.mark.slow
def test_sixty_four_processes_with_ten_writes_each_lose_nothing_while_one_reads(tmp_path):
    run_writers(tmp_path, n_workers=64, n_commits=10)


class Herd:
    """Processes that are killed at random moments and started again where they had come to."""

    def __init__(self, store: Store, folder: Path, n_writers: int) -> None:
        self.store = store
        self.folder = folder
        self.processes = {
            name: self.started(name) for name in (*map(str, range(n_writers)), "ingester")
        }

    def started(self, name):
        if name == "ingester":
            return start(INGESTER, self.store.directory)
        file = self.folder / f"ack{name}"
        lines = file.read_text().splitlines() if file.exists() else []
        # Its last commit may be recorded without its having been told: it tries that one again.
        first = int(lines[-1].split("-")[1]) + 1 if lines else 0
        return start(WRITER, self.store.directory, name, first, 10_000, file)

    def kill_one(self, rng):
        name = rng.choice(sorted(self.processes))
        process = self.processes[name]
        assert process.poll() is None, f"{name} ended by itself"
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.processes[name] = self.started(name)

    def kill_all(self):
        for process in self.processes.values():
            process.kill()
            process.wait()


def kill_at_random(tmp_path, n_kills, seed):
    store = Store.create(tmp_path / "store")
    herd = Herd(store, tmp_path, n_writers=3)
    rng = random.Random(seed)  # noqa: S311  (moments of kills)
    try:
        wait_until(lambda: len(acknowledged(tmp_path)) > 10)
        for _ in range(n_kills):
            time.sleep(rng.uniform(0.2, 0.7))
            herd.kill_one(rng)
    finally:
        herd.kill_all()
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


def test_thirty_two_kills_lose_no_acknowledged_write_and_leave_nothing_partial(tmp_path):
    kill_at_random(tmp_path, n_kills=32, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_a_hundred_kills_lose_no_acknowledged_write_and_leave_nothing_partial(tmp_path, seed):
    kill_at_random(tmp_path, n_kills=100, seed=seed)


@contextmanager
def writers_at_work(store, folder, n_writers, n_commits):
    """Run writers for as long as the block repeats what it yields."""
    writers = [
        start(WRITER, store.directory, worker, 0, n_commits, folder / f"ack{worker}")
        for worker in range(n_writers)
    ]
    try:
        yield lambda: any(writer.poll() is None for writer in writers)
        assert [writer.wait(timeout=60) for writer in writers] == [0] * n_writers
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    names = acknowledged(folder)
    assert check_that_nothing_is_lost_or_half(store, names) == n_writers * n_commits


def test_rebuilds_beside_writers_lose_nothing(tmp_path):
    store = Store.create(tmp_path / "store")
    with writers_at_work(store, tmp_path, n_writers=3, n_commits=15) as are_at_work:
        while are_at_work():
            store.rebuild()


def test_collections_beside_writers_take_no_block_that_is_being_committed(tmp_path):
    store = Store.create(tmp_path / "store")
    with writers_at_work(store, tmp_path, n_writers=3, n_commits=15) as are_at_work:
        while are_at_work():
            store.gc(30)
            store.info()


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
