"""What is damaged or missing is found, named, and never taken for whole."""

import os
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from traceprop_engine.errors import (
    StoreConflictError,
    StoreCorruptError,
    StoreIndexError,
    StoreLogError,
    TracepropError,
)
from traceprop_engine.store import Store

COUNT = "select count(*) as n from op"


@pytest.fixture
def store(tmp_path):
    store = Store.create(tmp_path / "store")
    for ordinal in range(3):
        block = store.put_table(pa.table({"in_row": [ordinal]}))
        row_map = {"dataset_version_id": "d", "ordinal": ordinal, "kind": "select", "n_out": 1}
        store.commit(
            {
                "op": [{"dataset_version_id": "d", "ordinal": ordinal, "name": "filter"}],
                "row_map": [{**row_map, "block": block}],
            }
        )
    return store


@pytest.fixture
def bundle(store):
    """The file of the second commit."""
    return store.directory / "log" / "000000000002.parquet"


@pytest.fixture
def index(store):
    return store.directory / "traceprop.duckdb"


def problems(store):
    return [(problem.kind, problem.subject) for problem in store.verify().problems]


def all_rows(store):
    return {
        name: store.query(f'select * from "{name}" order by all').to_pylist()
        for name in store.query("show tables")["name"].to_pylist()
    }


def test_a_whole_store_has_no_problems(store):
    report = store.verify()
    assert report.problems == ()
    assert report.is_sound
    assert (report.n_commits, report.n_blocks) == (3, 3)


def test_any_flipped_bit_of_a_bundle_is_found_and_the_file_named(store, bundle):
    whole = bundle.read_bytes()
    for position in range(0, len(whole), 37):
        data = bytearray(whole)
        data[position] ^= 1 << position % 8
        bundle.write_bytes(data)
        (store.directory / "traceprop.duckdb").unlink(missing_ok=True)
        with pytest.raises(StoreCorruptError, match="000000000002"):
            store.query(COUNT)
    bundle.write_bytes(whole)
    assert store.query(COUNT)["n"].to_pylist() == [3]


def test_verify_names_a_damaged_bundle_that_the_index_has_already_taken_over(store, bundle):
    bundle.write_bytes(bundle.read_bytes()[:-1])
    assert problems(store)[0] == ("log", str(bundle))
    assert not store.verify().is_sound
    assert store.query(COUNT)["n"].to_pylist() == [3]


def test_a_truncated_or_foreign_bundle_is_named(store, bundle):
    whole = bundle.read_bytes()
    for data in (b"", whole[:100], b"PAR1" * 50):
        bundle.write_bytes(data)
        with pytest.raises(StoreCorruptError, match="000000000002"):
            store.rebuild()


def test_a_failed_rebuild_leaves_the_index_that_was_there(store, bundle, index):
    before = index.stat().st_ino
    bundle.write_bytes(b"")
    with pytest.raises(StoreCorruptError):
        store.rebuild()
    assert index.stat().st_ino == before
    assert store.query(COUNT)["n"].to_pylist() == [3]
    assert list((store.directory / "staging").iterdir()) == []


def test_a_pending_damaged_bundle_stops_readers_and_not_writers(store, caplog):
    (store.directory / "log" / "000000000004.parquet").write_bytes(b"junk")
    number = store.commit({"op": [{"dataset_version_id": "d", "ordinal": 9}]})
    assert number == 5
    assert "Commit 5 is recorded; the index is behind it" in caplog.text
    with pytest.raises(StoreCorruptError, match="000000000004"):
        store.query(COUNT)
    (store.directory / "log" / "000000000004.parquet").unlink()
    assert store.query(COUNT)["n"].to_pylist() == [4]


def test_a_gap_in_the_log_is_named(store, bundle):
    bundle.unlink()
    assert ("log", str(bundle)) in problems(store)


def test_a_cut_log_is_noticed_before_new_commits_hide_behind_known_numbers(store):
    last = store.directory / "log" / "000000000003.parquet"
    last.unlink()
    with pytest.raises(StoreLogError, match=r"000000000003.*store rebuild"):
        store.query(COUNT)
    other = Store.open(store.directory)
    assert other.commit({"op": [{"dataset_version_id": "d", "ordinal": 7}]}) == 3
    with pytest.raises(StoreLogError):
        other.query(COUNT)
    other.rebuild()
    assert other.query("select ordinal from op order by 1")["ordinal"].to_pylist() == [0, 1, 7]
    assert other.query("select in_row from row_map_row order by 1")["in_row"].to_pylist() == [0, 1]
    assert other.verify().problems == ()


def test_a_missing_block_that_is_referred_to_is_named(store):
    block = store.query("select block from row_map where ordinal = 1")["block"][0].as_py()
    (store.directory / "blocks" / block[:2] / f"{block}.parquet").unlink()
    assert ("block", block) in problems(store)
    assert not store.verify().is_sound


def test_a_missing_link_is_named_and_made_again_by_rebuild(store):
    links = sorted((store.directory / "views" / "in_row").glob("[0-9]*"))
    links[0].unlink()
    assert problems(store) == [("view", str(links[0]))]
    store.rebuild()
    assert problems(store) == []


@pytest.mark.parametrize(
    "statement",
    [
        "delete from op where ordinal = 1",
        "update op set name = 'forged' where ordinal = 1",
        "insert into op by name select 'x' as dataset_version_id, 5 as ordinal, 1 as commit_no",
    ],
)
def test_an_index_that_somebody_edited_is_noticed_and_rebuilt(store, index, statement):
    before = all_rows(store)
    connect_and(index, statement)
    assert {problem.subject for problem in store.verify().problems} == {"op"}
    store.rebuild()
    assert store.verify().problems == ()
    assert all_rows(store) == before


def test_rebuilding_gives_the_same_tables(store):
    with pytest.raises(StoreConflictError):
        store.commit({"op": [{"dataset_version_id": "d", "ordinal": 0, "name": "other"}]})
    before = all_rows(store)
    report = store.rebuild()
    assert report.commit_numbers == (1, 2, 3, 4)
    assert all_rows(store) == before


def test_a_deleted_index_is_made_again_without_being_asked(store, index):
    before = all_rows(store)
    index.unlink()
    assert all_rows(store) == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"this is not a database" * 1000,
        lambda data: data[:5000],
        lambda data: data[: len(data) // 2],
        lambda data: bytes(4096) + data[4096:],
    ],
    ids=["empty", "text", "header only", "half", "zeroed header"],
)
def test_an_unreadable_index_is_an_error_that_names_the_way_out(store, index, damage):
    before = all_rows(store)
    index.write_bytes(damage(index.read_bytes()))
    with pytest.raises(StoreIndexError, match="traceprop store rebuild") as caught:
        store.query(COUNT)
    assert "\n" not in str(caught.value)
    assert [kind for kind, _ in problems(store)] == ["index"]
    store.rebuild()
    assert all_rows(store) == before


def test_a_flipped_bit_of_the_index_is_an_error_or_does_not_matter(store, index):
    before, whole = all_rows(store), index.read_bytes()
    n_found = 0
    written = np.flatnonzero(np.frombuffer(whole, np.uint8))
    for position in np.random.default_rng(0).choice(written, 10):
        data = bytearray(whole)
        data[position] ^= 4
        index.write_bytes(data)
        try:
            assert all_rows(store) == before
        except StoreIndexError as error:
            assert "traceprop store rebuild" in str(error)  # noqa: PT017  (some do not matter)
            n_found += 1
    assert n_found > 0


def test_rebuilding_leaves_nothing_of_an_old_write_ahead_log(store, index):
    before = all_rows(store)
    index.with_name("traceprop.duckdb.wal").write_bytes(b"of another database" * 100)
    store.rebuild()
    assert all_rows(store) == before
    assert not index.with_name("traceprop.duckdb.wal").exists()


def test_damage_that_only_the_question_comes_across_names_the_way_out_too(store, index):
    random_text = np.random.default_rng(0).bytes(600_000).hex()
    store.commit({"audit_event": [{"event_id": "e", "payload": random_text}]})
    whole = index.read_bytes()
    for position in range(len(whole) - 1000, 0, -(1 << 18)):  # a byte of each block of the file
        data = bytearray(whole)
        data[position] ^= 1
        index.write_bytes(data)
        if answers(store, "select 1") and not answers(store, "select * from audit_event"):
            break
    else:
        pytest.fail("no damage was found by the question alone")
    with pytest.raises(StoreIndexError, match="traceprop store rebuild"):
        store.query("select * from audit_event")


def answers(store, sql):
    try:
        store.query(sql)
    except TracepropError:
        return False
    return True


def test_a_writer_is_not_stopped_by_a_damaged_index(store, index, caplog):
    index.write_bytes(b"junk")
    assert store.commit({"op": [{"dataset_version_id": "d", "ordinal": 9}]}) == 4
    assert "run `traceprop store rebuild`" in caplog.text
    store.rebuild()
    assert store.query(COUNT)["n"].to_pylist() == [4]


def test_verify_reports_what_was_set_aside_without_calling_it_damage(store):
    with pytest.raises(StoreConflictError):
        store.commit({"op": [{"dataset_version_id": "d", "ordinal": 0, "name": "other"}]})
    report = store.verify()
    assert [(p.kind, p.subject) for p in report.problems] == [("set aside", "commit 4")]
    assert report.is_sound


def test_gc_removes_only_what_is_old_and_not_referred_to(store):
    orphan = store.put_table(pa.table({"in_row": [77]}))
    (store.directory / "staging" / "crashed.tmp").write_bytes(b"half")
    assert store.gc(3600).blocks == ()
    report = store.gc(0)
    assert report.blocks == (orphan,)
    assert report.n_staged == 1
    assert report.n_bytes > 4
    assert store.verify().n_blocks == 3
    assert store.verify().problems == ()


def test_gc_spares_an_old_orphan_that_is_put_again(store):
    table = pa.table({"in_row": [77]})
    orphan = store.put_table(table)
    path = store.directory / "blocks" / orphan[:2] / f"{orphan}.parquet"
    os.utime(path, (time.time() - 9999,) * 2)
    store.put_table(table)
    assert store.gc(3600).blocks == ()
    assert store.get_table(orphan).equals(table)


def test_gc_spares_a_block_that_becomes_young_at_the_last_moment(store, monkeypatch):
    orphan = store.put_table(pa.table({"in_row": [77]}))
    path = store.directory / "blocks" / orphan[:2] / f"{orphan}.parquet"
    os.utime(path, (time.time() - 9999,) * 2)
    rename = Path.rename

    def rename_late(self, target):
        os.utime(self)  # a writer has just found it
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", rename_late)
    assert store.gc(3600).blocks == ()
    assert store.get_table(orphan)["in_row"].to_pylist() == [77]
    assert list((store.directory / "staging").iterdir()) == []


def test_gc_puts_back_what_a_killed_collection_had_taken_away(store):
    block = store.query("select block from row_map where ordinal = 1")["block"][0].as_py()
    path = store.directory / "blocks" / block[:2] / f"{block}.parquet"
    path.rename(store.directory / "staging" / f"{block}.removed")
    store.gc(0)
    assert store.verify().problems == ()


def test_gc_refuses_when_a_bundle_is_damaged(store, bundle):
    store.put_table(pa.table({"in_row": [77]}))
    bundle.write_bytes(b"junk")
    with pytest.raises(StoreCorruptError):
        store.gc(0)
    assert store.verify().n_blocks == 4


def connect_and(path, statement):
    import duckdb  # noqa: PLC0415  (only here: the store itself never opens the file like this)

    with duckdb.connect(str(path)) as connection:
        connection.execute(statement)
