"""A store against the obvious model of one: a dictionary of rows that only grows."""

import shutil
from pathlib import Path
from tempfile import mkdtemp

import hypothesis.strategies as st
import pyarrow as pa
from filelock import FileLock
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from traceprop_engine.errors import StoreConflictError
from traceprop_engine.store import Store

KEYS = st.one_of(st.none(), st.sampled_from(["k0", "k1", "k2"]))
ROWS = st.dictionaries(
    st.tuples(st.sampled_from(["a", "b'; --", ""]), st.integers(0, 2)),
    st.sampled_from(["x", "y", None, "é\u0000"]),
    min_size=1,
    max_size=3,
)
EVENTS = st.dictionaries(st.sampled_from(["e0", "e1", "é"]), st.integers(0, 1), max_size=2)


class StoreMachine(RuleBasedStateMachine):
    """Two objects on one store, an index that is busy now and then, and the model beside them."""

    blocks = Bundle("blocks")

    def __init__(self):
        super().__init__()
        self.folder = Path(mkdtemp())
        self.stores = [Store.create(self.folder / "store") for _ in range(2)]
        self.rows = {}
        self.contents = {}
        self.statuses = []
        self.alive = {}
        self.referred = set()

    def teardown(self):
        shutil.rmtree(self.folder)

    @rule(
        which=st.integers(0, 1), ops=ROWS, events=EVENTS, key=KEYS, minute=st.integers(0, 59),
        is_busy=st.booleans(),
    )  # fmt: skip
    def commit(self, which, ops, events, key, minute, is_busy):
        tables = {
            "op": [
                {"dataset_version_id": name, "ordinal": ordinal, "detail": detail}
                for (name, ordinal), detail in ops.items()
            ],
            "audit_event": [
                {
                    "event_id": name,
                    "payload": {"n": n},
                    "created_at": f"2026-01-01T00:{minute:02}:00+00:00",
                }
                for name, n in events.items()
            ],
        }
        expected = self.expected_status(ops, events, key)
        self.statuses.append(expected)
        try:
            number = self.commit_beside(tables, which, key, is_busy=is_busy)
        except StoreConflictError as error:
            assert expected == "set aside"
            number = error.commit_no
        else:
            assert is_busy or expected != "set aside"
        assert number == len(self.statuses)

    def commit_beside(self, tables, which, key, *, is_busy):
        if not is_busy:
            return self.stores[which].commit(tables, key=key)
        with FileLock(self.folder / "store" / "traceprop.duckdb.lock"):
            return self.stores[which].commit(tables, key=key)

    def expected_status(self, ops, events, key):
        said = ({("op", *k): v for k, v in ops.items()}) | {
            ("event", k): v for k, v in events.items()
        }
        if key in self.contents:
            # Of one content are two commits with the same rows in the same order.
            return "repeated" if self.contents[key] == list(said.items()) else "set aside"
        if any(self.rows.get(k, v) != v for k, v in said.items()):
            return "set aside"
        self.rows |= said
        if key is not None:
            self.contents[key] = list(said.items())
        return "accepted"

    @rule(target=blocks, number=st.integers(0, 5), which=st.integers(0, 1))
    def put(self, number, which):
        block = self.stores[which].put_table(pa.table({"in_row": [number]}))
        self.alive[block] = number
        return block

    @rule(block=consumes(blocks))
    def refer(self, block):
        if block in self.alive:
            row = {"dataset_version_id": block, "ordinal": 9, "kind": "select", "block": block}
            self.stores[0].commit({"row_map": [row]})
            self.statuses.append("accepted")
            self.referred.add(block)

    @rule()
    def collect(self):
        removed = set(self.stores[0].gc(-1).blocks)
        assert removed == self.alive.keys() - self.referred
        self.alive = {block: self.alive[block] for block in self.referred}

    @rule()
    def rebuild(self):
        self.stores[1].rebuild()

    @rule()
    def lose_the_index(self):
        for name in ("traceprop.duckdb", "traceprop.duckdb.wal"):
            (self.folder / "store" / name).unlink(missing_ok=True)

    @rule()
    def move(self):
        target = self.folder / f"moved-{len(list(self.folder.iterdir()))}-{len(self.statuses)}"
        shutil.move(self.folder / "store", target)
        shutil.move(target, self.folder / "store")

    @rule()
    def verify(self):
        problems = self.stores[1].verify().problems
        aside = [n for n, status in enumerate(self.statuses, 1) if status == "set aside"]
        assert [problem.subject for problem in problems] == [f"commit {n}" for n in aside]

    @rule(which=st.integers(0, 1))
    def ask(self, which):
        store = self.stores[which]
        found = {
            ("op", row["dataset_version_id"], row["ordinal"]): row["detail"]
            for row in store.query("select * from op").to_pylist()
        } | {
            ("event", row["event_id"]): int(row["payload"].removeprefix('{"n":').removesuffix("}"))
            for row in store.query("select * from audit_event").to_pylist()
        }
        assert found == self.rows
        statuses = store.query("select status from bundle order by commit_no")
        assert statuses["status"].to_pylist() == self.statuses
        maps = store.query("select count(*) as n from row_map_row")["n"].to_pylist()
        assert maps == [len(self.referred)]

    @invariant()
    def blocks_are_there(self):
        for block, number in self.alive.items():
            assert self.stores[1].get_table(block)["in_row"].to_pylist() == [number]

    @invariant()
    def the_log_has_every_commit_and_nothing_is_staged(self):
        names = sorted(path.name for path in (self.folder / "store" / "log").iterdir())
        assert names == [f"{n:012d}.parquet" for n in range(1, len(self.statuses) + 1)]
        assert list((self.folder / "store" / "staging").iterdir()) == []


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=12, stateful_step_count=15, deadline=None)
