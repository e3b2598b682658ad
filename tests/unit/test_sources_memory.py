"""Reading a source in a stream: memory does not grow with the file."""

import gzip
import subprocess
import sys
import time
import tracemalloc

import pytest

from traceprop_engine.errors import UnterminatedQuoteError
from traceprop_engine.sources import read_records, scan_source

MIB = 1 << 20
MEASURE = """
import resource, sys
from traceprop_engine.sources import iter_source, scan_source

def used():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

def take(path):
    if sys.argv[1] == "scan":
        return scan_source(path).index.n_rows
    return sum(len(frame) for frame in iter_source(path, chunk_rows=20_000))

take(sys.argv[2])
before = used()
print(take(sys.argv[3]), used() - before)
"""


def write_rows(path, n_bytes):
    block = "".join(f'{i},"{"text " * 80}",{"x" * 90}\n' for i in range(2000)).encode()
    n_blocks = n_bytes // len(block)
    with path.open("wb") as file:
        file.write(b"id,text,more\n")
        for _ in range(n_blocks):
            file.write(block)
    return 2000 * n_blocks


def peak_while(act):
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_quote_that_is_never_closed_does_not_fill_the_memory(tmp_path):
    path = tmp_path / "open.csv"
    path.write_bytes(b'a,b\n"1,2\n' + b"3,4\n" * (10 * MIB))

    def scan():
        with pytest.raises(UnterminatedQuoteError, match="line 2"):
            scan_source(path)

    assert peak_while(scan) < 32 * MIB


def test_a_record_late_in_a_gzip_file_is_found_without_holding_the_rest(tmp_path):
    path = tmp_path / "late.csv.gz"
    lines = [b"%d,%s\n" % (i, b"x" * 2000) for i in range(20_000)]
    path.write_bytes(gzip.compress(b"a,b\n" + b"".join(lines), compresslevel=1))
    version = scan_source(path)
    texts = []
    peak = peak_while(lambda: texts.extend(read_records(version, [19_999, 3])))
    assert [text.text.encode() + b"\n" for text in texts] == [lines[19_999], lines[3]]
    assert peak < 16 * MIB


@pytest.mark.slow
def test_scanning_200_mb_takes_a_few_chunks_of_memory_beside_the_index(tmp_path):
    path = tmp_path / "large.csv"
    n_rows = write_rows(path, 200_000_000)
    versions = []
    peak = peak_while(lambda: versions.append(scan_source(path)))
    assert versions[0].n_rows == n_rows
    n_index_bytes = 24 * n_rows
    assert peak - 2 * n_index_bytes < 24 * MIB  # its parts and the whole stand side by side


@pytest.mark.slow
@pytest.mark.parametrize("how", ["scan", "iterate"])
def test_the_process_does_not_grow_with_the_file(tmp_path, how):
    small, large = tmp_path / "small.csv", tmp_path / "large.csv"
    write_rows(small, 30_000_000)
    n_rows = write_rows(large, 200_000_000)
    command = [sys.executable, "-c", MEASURE, how, str(small), str(large)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert int(printed[0]) == n_rows
    assert int(printed[1]) < 48 * MIB + 2 * 24 * n_rows


@pytest.mark.slow
def test_a_plain_csv_file_is_scanned_at_50_mb_a_cpu_second_or_more(tmp_path):
    path = tmp_path / "plain.csv"
    path.write_text("id,x,city\n" + "".join(f"{i},{i / 7:.5f},Wien\n" for i in range(4_000_000)))
    began = time.process_time()
    scan_source(path)
    assert path.stat().st_size / (time.process_time() - began) > 50_000_000
