"""A file that changes is noticed: while it is read, and before its records are shown."""

import gzip
import os
import threading
import time

import pandas as pd
import pytest

from traceprop_engine.errors import SourceChangedError
from traceprop_engine.sources import iter_source, read_records, read_source, records, scan_source
from traceprop_engine.sources.source_file import open_source

TEXT = "a,b\n" + "".join(f"{i},{i}\n" for i in range(400_000))
READERS = {
    "scan": scan_source,
    "read": read_source,
    "iter": lambda path, **options: list(iter_source(path, chunk_rows=50_000, **options)),
}


def append(path):
    with path.open("a") as file:
        file.write("1,2\n")


def replace(path):
    other = path.with_suffix(".other")
    other.write_bytes(path.read_bytes())
    other.replace(path)


def rewrite_in_place_with_the_old_time(path):
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(-2, os.SEEK_END)
        file.write(b"7")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def remove(path):
    path.unlink()


def replace_the_folder(path):
    folder = path.parent
    moved = folder.rename(folder.with_name(folder.name + "_old"))
    folder.mkdir()
    path.write_bytes((moved / path.name).read_bytes())


CHANGES = [
    append,
    replace,
    rewrite_in_place_with_the_old_time,
    truncate,
    remove,
    replace_the_folder,
]


def made(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    if kind == "csv":
        path.write_text(TEXT)
    elif kind == "csv.gz":
        path.write_bytes(gzip.compress(TEXT.encode(), compresslevel=1))
    elif kind == "jsonl":
        path.write_text("".join(f'{{"a": {i}}}\n' for i in range(120_000)))
    else:
        pd.DataFrame({"a": range(300_000)}).to_parquet(path)
    time.sleep(0.02)  # the clock of the file system must go on
    return path


def at_first_call(change, path):
    calls = []

    def progress(done, total):
        if not calls:
            change(path)
        calls.append(done)

    return progress


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["csv", "csv.gz", "jsonl", "parquet"])
@pytest.mark.parametrize("reader", READERS)
def test_a_change_during_the_pass_is_an_error(tmp_path, reader, kind, change):
    path = made(tmp_path, kind)
    with pytest.raises(SourceChangedError, match=r"while it was read; read it again"):
        READERS[reader](path, progress=at_first_call(change, path))


def test_a_file_that_a_thread_writes_to_is_an_error(tmp_path):
    path = made(tmp_path, "csv")
    started, stop = threading.Event(), threading.Event()

    def write():
        while not stop.is_set():
            append(path)
            started.set()

    writer = threading.Thread(target=write)
    writer.start()
    started.wait()
    try:
        with pytest.raises(SourceChangedError):
            read_source(path)
    finally:
        stop.set()
        writer.join()


def test_a_record_that_is_half_written_is_blamed_on_the_change(tmp_path):
    """Read alone it would be a ragged row, and a reader would look for it in vain."""
    path = made(tmp_path, "csv")

    def write_half_a_record(path):
        with path.open("a") as file:
            file.write("1,2,3")

    with pytest.raises(SourceChangedError, match="the file changed while it was read") as caught:
        scan_source(path, progress=at_first_call(write_half_a_record, path))
    assert "has 3 fields" in str(caught.value.__cause__)


def test_a_digest_is_of_all_bytes_or_refused(tmp_path):
    path = made(tmp_path, "csv")
    n_bytes = path.stat().st_size
    with open_source(path, chunk_bytes=1000) as file:
        next(file.raw_chunks())
        with pytest.raises(SourceChangedError, match=f"1000 bytes were read of {n_bytes}"):
            file.sha256()


def test_an_iteration_over_another_version_ends_with_an_error(tmp_path):
    path = made(tmp_path, "csv")
    version = scan_source(path)
    append(path)
    frames = iter_source(path, chunk_rows=100_000, version=version)
    with pytest.raises(SourceChangedError, match="not the version that was asked for; scan it"):
        list(frames)


def test_records_of_a_changed_or_removed_file_are_not_shown(tmp_path):
    path = made(tmp_path, "csv")
    version = scan_source(path)
    assert read_records(version, [3])[0].text == "3,3"
    rewrite_in_place_with_the_old_time(path)
    with pytest.raises(
        SourceChangedError, match=r"has other bytes now; put the version's file back"
    ):
        read_records(version, [3])
    path.unlink()
    with pytest.raises(SourceChangedError, match="no longer there; put the version's file back"):
        read_records(version, [3])


def test_records_are_shown_again_when_the_bytes_are_back(tmp_path):
    path = made(tmp_path, "csv")
    version = scan_source(path)
    append(path)
    os.truncate(path, version.n_bytes)
    assert read_records(version, [399_999])[0].text == "399999,399999"


def test_a_digest_is_remembered_only_of_a_file_that_rests(tmp_path, monkeypatch):
    path = made(tmp_path, "csv")
    version = scan_source(path)
    hashed = []
    digest_of = records.sha256_file
    monkeypatch.setattr(records, "sha256_file", lambda path: hashed.append(path) or digest_of(path))
    for row in (1, 2):
        read_records(version, [row])
    assert len(hashed) == 2
    monkeypatch.setattr(records, "_SETTLED_NS", 0)
    for row in (1, 2, 3):
        read_records(version, [row])
    assert len(hashed) == 3
    append(path)
    time.sleep(0.02)
    with pytest.raises(SourceChangedError):
        read_records(version, [1])
    assert len(hashed) == 4
