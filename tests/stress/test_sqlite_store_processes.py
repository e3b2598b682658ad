"""Several processes, one SQLite file: nobody replaces another, and kills leave no part."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from traceprop_engine.lineage import Op
from traceprop_engine.lineage.carriers import carried
from traceprop_engine.lineage.graph import default_graph, reset_graph, root_rows
from traceprop_engine.lineage.marks import Step, derived
from traceprop_engine.stores.sqlite_store import SQLiteStore

pytestmark = pytest.mark.stress

PROCESSES, SAVES = 4, 8


def picked(worker, save, n=400):
    """Return a value of a worker's own rows: all processes use the same names."""
    node = root_rows(default_graph(), n, "HOSPITAL").node
    rows = np.random.default_rng([worker, save]).permutation(n)[: 50 + save]
    step = Step(Op(f"op of {worker}", "", ("HOSPITAL",), (n,), len(rows)), ())
    return carried(object(), derived(default_graph(), len(rows), [(node, rows)]), (step,)), rows


def work(path, worker):
    """Save values of one worker under names of its own and under a name of all."""
    reset_graph()
    store = SQLiteStore(path, timeout_s=60)
    for save in range(SAVES):
        value, _ = picked(worker, save)
        store.save(value, f"{worker}/{save}")
        store.save(value, "the same name for all")
        store.load(f"{worker}/{save}")


def fork(path):
    """Save from two children that took over one store and one graph."""
    store = SQLiteStore(path, timeout_s=60)
    picked(0, 0)
    children = []
    for worker in (1, 2):
        child = os.fork()
        if not child:
            store.save(picked(worker, 0)[0], str(worker))
            os._exit(0)
        children.append(child)
    sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(each, 0)[1]) for each in children))


def save_on(path, worker):
    """Save until killed, and print the number of each save that is done."""
    store = SQLiteStore(path, timeout_s=60)
    for save in range(10_000):
        store.save(picked(worker, save % 300)[0], f"{worker}/{save}")
        print(save, flush=True)  # noqa: T201 (the acknowledgement)


START = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='worker')"


def started(*arguments, **options):
    """Start one of the functions above in a process of its own."""
    command = [sys.executable, "-c", START, __file__, *map(str, arguments)]
    return subprocess.Popen(command, text=True, **options)


def test_nobody_replaces_or_loses_what_another_process_saves(tmp_path):
    path = tmp_path / "lineage.db"
    workers = [started("work", path, number) for number in range(PROCESSES)]
    assert [each.wait(timeout=120) for each in workers] == [0] * PROCESSES
    store = SQLiteStore(path)
    for worker in range(PROCESSES):
        for save in range(SAVES):
            view = store.load(f"{worker}/{save}")
            _, rows = picked(worker, save)
            assert [view.rows(i)["HOSPITAL"].tolist() for i in range(len(rows))] == [
                [row] for row in rows
            ]
            assert [op.name for op in view.ops()] == [f"op of {worker}"]
    assert len(store.saves("the same name for all")) == PROCESSES * SAVES
    roots = [node for node in store.all_nodes() if node.source == "HOSPITAL"]
    assert len(roots) == PROCESSES, "inputs of one name in several processes are several"


def test_children_that_fork_with_a_store_and_a_graph_keep_apart(tmp_path):
    path = tmp_path / "lineage.db"
    assert started("fork", path).wait(timeout=60) == 0
    store = SQLiteStore(path)
    assert store.names() == ["1", "2"]
    for worker in (1, 2):
        _, rows = picked(worker, 0)
        assert store.load(str(worker)).rows(7)["HOSPITAL"].tolist() == [rows[7]]


def test_a_kill_loses_nothing_that_was_acknowledged_and_leaves_no_part(tmp_path):
    path = tmp_path / "lineage.db"
    rng = np.random.default_rng(2)
    for worker in range(4):
        process = started("save_on", path, worker, stdout=subprocess.PIPE)
        acknowledged = [int(process.stdout.readline()) for _ in range(3)]
        time.sleep(float(rng.random()) / 20)
        os.kill(process.pid, signal.SIGKILL)
        rest, _ = process.communicate(timeout=30)
        acknowledged += [int(line) for line in rest.split()]
        store = SQLiteStore(path)
        names = [name for name in store.names() if name.startswith(f"{worker}/")]
        assert len(acknowledged) <= len(names) <= len(acknowledged) + 1
        for save in range(len(names)):
            _, rows = picked(worker, save % 300)
            view = store.load(f"{worker}/{save}")
            assert view.rows(3)["HOSPITAL"].tolist() == [rows[3]]
            assert view.n_rows == len(rows)


if __name__ == "worker":
    what, target, *number = sys.argv[2:]
    {"work": work, "fork": fork, "save_on": save_on}[what](target, *map(int, number))
