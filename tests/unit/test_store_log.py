"""The log: numbers without gaps, files never replaced, everything on the disk before the answer."""

import os
from pathlib import Path

import pyarrow as pa
import pytest

from traceprop_engine.durable_files import publish, staged_file
from traceprop_engine.store import Store
from traceprop_engine.store.bundle import encode_bundle
from traceprop_engine.store.log import CommitLog


@pytest.fixture
def log(tmp_path):
    for name in ("log", "staging"):
        (tmp_path / name).mkdir()
    return CommitLog(tmp_path / "log", tmp_path / "staging")


def bundle(name):
    return encode_bundle([("op", {"name": name})], None, 1)


def test_commits_come_back_under_their_numbers(log):
    numbers = [log.append(bundle(name)) for name in ("a", "b", "c")]
    assert log.numbers() == numbers == [1, 2, 3]
    assert [log.read(number).records[0][1]["name"] for number in numbers] == ["a", "b", "c"]


def test_a_number_that_another_process_takes_is_not_taken_again(log, tmp_path):
    other = CommitLog(tmp_path / "log", tmp_path / "staging")
    assert [writer.append(bundle("x")) for writer in (log, other, other, log)] == [1, 2, 3, 4]


def test_a_commit_never_replaces_a_file(log):
    log.append(bundle("first"))
    before = log.path(1).read_bytes()
    log._known_last = lambda: 0  # as if the listing had missed it
    assert log.append(bundle("second")) == 2
    assert log.path(1).read_bytes() == before


def test_a_listing_that_misses_a_name_is_made_complete(log, monkeypatch):
    for name in ("a", "b", "c"):
        log.append(bundle(name))
    monkeypatch.setattr(os, "listdir", lambda path: [log.path(3).name])
    assert log.numbers() == [1, 2, 3]


def test_other_files_in_the_log_are_no_commits(log, tmp_path):
    log.append(bundle("a"))
    for name in ("README", "1.parquet", "000000000007.parquet.tmp", ".000000000007.parquet"):
        (tmp_path / "log" / name).write_text("x")
    assert log.numbers() == [1]
    assert log.append(bundle("b")) == 2


def test_numbering_starts_anew_when_the_log_was_made_anew(log, tmp_path):
    log.append(bundle("a"))
    log.path(1).unlink()
    assert log.append(bundle("b")) == 1


def test_everything_is_on_the_disk_before_a_commit_is_acknowledged(tmp_path, monkeypatch):
    """The order of flushes and names, as the operating system sees them."""
    store = Store.create(tmp_path / "store")
    events = []
    fsync, link = os.fsync, os.link

    def spy_on_fsync(descriptor):
        events.append(("fsync", str(Path(f"/proc/self/fd/{descriptor}").readlink())))
        fsync(descriptor)

    def spy_on_link(source, target):
        events.append(("link", str(target)))
        link(source, target)

    monkeypatch.setattr(os, "fsync", spy_on_fsync)
    monkeypatch.setattr(os, "link", spy_on_link)
    block = store.put_table(pa.table({"in_row": [1]}))
    rows = [{"dataset_version_id": "d", "content_block": block}]
    store.commit({"dataset_version": rows}, ingest=False)
    root = str(store.directory)
    seen = [(what, path.removeprefix(root + "/")) for what, path in events]
    tidy = [(what, "staged" if path.startswith("staging/") else path) for what, path in seen]
    assert tidy == [
        ("fsync", "staged"),
        ("link", f"blocks/{block[:2]}/{block}.parquet"),
        ("fsync", f"blocks/{block[:2]}"),
        ("fsync", "blocks"),
        ("fsync", "staged"),
        ("link", "log/000000000001.parquet"),
        ("fsync", "log"),
    ]


def test_a_staged_file_is_gone_at_the_end_whatever_happens(tmp_path):
    with staged_file(tmp_path, b"data") as staged:
        assert staged.read_bytes() == b"data"
    with pytest.raises(FileNotFoundError), staged_file(tmp_path, b"data") as staged:
        publish(staged, tmp_path / "nowhere" / "name")
    assert list(tmp_path.iterdir()) == []


def test_only_one_file_gets_a_name(tmp_path):
    target = tmp_path / "target"
    with staged_file(tmp_path, b"first") as first, staged_file(tmp_path, b"second") as second:
        assert publish(first, target)
        assert not publish(second, target)
    assert target.read_bytes() == b"first"
