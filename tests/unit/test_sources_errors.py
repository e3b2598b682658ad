"""Bad source files: one line that names the culprit and the way out."""

import gzip
import os

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from traceprop_engine.errors import (
    CorruptSourceError,
    EmptySourceError,
    JsonLineError,
    NotTextError,
    RaggedRowError,
    SourceColumnsError,
    SourceError,
    SourceNotFoundError,
    SourceOptionError,
    SourceUnreadableError,
    UnterminatedQuoteError,
)
from traceprop_engine.sources import iter_source, read_source, scan_source

READERS = [
    scan_source,
    read_source,
    lambda path, **options: list(iter_source(path, chunk_rows=2, **options)),
]
CASES = {
    "empty.csv": (b"", EmptySourceError, "the file is empty"),
    "mark.csv": (b"\xef\xbb\xbf", EmptySourceError, "a header line with the column names"),
    "blank.csv": (b"\n \r\n\t\n", EmptySourceError, "a header line with the column names"),
    "long.csv": (
        b"a,b\n1,2\n\n1,2,3\n",
        RaggedRowError,
        r"line 4: the record has 3 fields where the header has 2; quote fields",
    ),
    "short.csv": (b'a,b\n"x\ny",2\n7\n', RaggedRowError, r"line 4: the record has 1 field"),
    "trailing.csv": (b"a,b\n1,2,\n3,4,\n", RaggedRowError, "line 2: the record has 3 fields"),
    "open.csv": (b'a,b\n1,2\n3,"4\n5,6\n', UnterminatedQuoteError, "line 3: the quoted field"),
    "late.csv": (b'a,b\n"1\n2","3\n5,6\n', UnterminatedQuoteError, "line 3: the quoted field"),
    "head.csv": (b'a,"b\n1,2\n', UnterminatedQuoteError, "line 1: the quoted field"),
    "twice.csv": (b"a,b,a,c,b\n", SourceColumnsError, "more than one column is called 'a', 'b'"),
    "noname.csv": (b",a\n0,1\n", SourceColumnsError, "column 1 of 2 has no name .*index=False"),
    "latin.csv": (
        "a,b\n1,2\n3,é\n".encode("latin-1"),
        NotTextError,
        r"line 3: byte 0xe9 is not utf-8 at byte offset 10; .*encoding='latin-1'",
    ),
    "cut.csv": ("a\n1é".encode()[:-1], NotTextError, "line 2: byte 0xc3 is not utf-8 .* offset 3"),
    "nul.csv": (b"a,b\n1,\0\n", NotTextError, "line 2: a NUL byte at byte offset 6"),
    "utf16.csv": ("a,b\n".encode("utf-16"), NotTextError, "line 1: .*looks like UTF-16"),
    "plain.csv.gz": (b"a,b\n1,2\n", CorruptSourceError, "no sound gzip file .*begin like one"),
    "cut.csv.gz": (gzip.compress(b"a,b\n1,2\n")[:-9], CorruptSourceError, "gzip file .*ended"),
    "crc.csv.gz": (
        gzip.compress(b"a,b\n1,2\n")[:-8] + b"\0" * 8,
        CorruptSourceError,
        "gzip file .*CRC",
    ),
    "tail.csv.gz": (
        gzip.compress(b"a,b\n1,2\n") + b"garbage",
        CorruptSourceError,
        "gzip file .*[nN]ot a gzipped file",
    ),
    "empty.csv.gz": (gzip.compress(b""), EmptySourceError, "a header line"),
    "text.parquet": (b"a,b\n1,2\n", CorruptSourceError, "no sound Parquet file"),
    "empty.parquet": (b"", EmptySourceError, "the file is empty"),
    "bad.jsonl": (
        b'{"a": 1}\n\n{"a": }\n',
        JsonLineError,
        r"line 3: no JSON \(Expecting value.*; write one JSON object on each line",
    ),
    "list.jsonl": (b'{"a": 1}\r\n[1, 2]\n', JsonLineError, r"line 2: no JSON object, but \[1, 2\]"),
    "two.jsonl": (b'{"a": 1}, {"a": 2}\n', JsonLineError, "line 1: no JSON .*Extra data"),
    "split.jsonl": (b'{"a": 1,\n"b": 2}\n', JsonLineError, "line 1: no JSON"),
    "twice.jsonl": (b'{"a": 1}\n{"b": 1, "b": 2}\n', JsonLineError, "line 2: .*'b' stands twice"),
    "deep.jsonl": (b"[" * 100_000 + b"\n", JsonLineError, "line 1: no JSON"),
    "digits.jsonl": (b'{"a": ' + b"1" * 5000 + b"}\n", JsonLineError, "line 1: no JSON"),
    "noname.jsonl": (b'{"": 1}\n', SourceColumnsError, "column 1 of 1 has no name"),
    "blank.jsonl": (b"\n  \r\n", EmptySourceError, "at least one line with a JSON object"),
    "latin.jsonl": (
        '{"a": 1}\n{"a": "é"}\n'.encode("latin-1"),
        NotTextError,
        "line 2: byte 0xe9 is not utf-8 at byte offset 16",
    ),
    "what.txt": (b"a,b\n", SourceOptionError, r"ending '\.txt'.*format= 'csv', 'parquet', 'jsonl'"),
    "noending": (b"a,b\n", SourceOptionError, "ending '' does not say the format"),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("reader", READERS, ids=["scan", "read", "iter"])
def test_a_bad_file_is_named_with_the_place_and_the_way_out(tmp_path, name, reader):
    data, kind, message = CASES[name]
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(kind, match=message) as caught:
        reader(path)
    assert type(caught.value) is kind
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("reader", READERS, ids=["scan", "read", "iter"])
def test_a_path_without_a_readable_file_is_refused(tmp_path, reader):
    with pytest.raises(SourceNotFoundError, match=r"nowhere\.csv: there is no such file; check"):
        reader(tmp_path / "nowhere.csv")
    with pytest.raises(SourceUnreadableError, match=r"it is a directory.*name one file in it"):
        reader(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(SourceUnreadableError, match=r"Not a directory.*permissions"):
        reader(tmp_path / "file" / "a.csv")
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    with pytest.raises(SourceUnreadableError, match=r"loop\.csv"):
        reader(tmp_path / "loop.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(SourceUnreadableError, match="it is no regular file"):
        reader(tmp_path / "pipe.csv")
    with pytest.raises(SourceUnreadableError, match="null byte"):
        reader("a\0.csv")


def test_a_file_without_permission_is_unreadable(tmp_path):
    path = tmp_path / "secret.csv"
    path.write_text("a\n1\n")
    path.chmod(0)
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)
    try:
        with pytest.raises(SourceUnreadableError, match=r"secret\.csv.*Permission denied"):
            scan_source(path)
    finally:
        os.seteuid(user)


@pytest.mark.parametrize(
    "encoding",
    ["utf-16", "utf-16-le", "utf-32", "utf-7", "shift_jis", "gb18030", "cp037", "hz",
     "raw_unicode_escape", "punycode", "idna", "undefined", "base64", "rot13"],
)  # fmt: skip
def test_an_encoding_whose_bytes_mean_nothing_alone_is_refused(tmp_path, encoding):
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n")
    with pytest.raises(SourceOptionError, match=f"'{encoding}'.*; convert the file to UTF-8 first"):
        scan_source(path, encoding=encoding)


@pytest.mark.parametrize("encoding", ["UTF8", "utf-8-sig", "ascii", "latin-1", "cp1252", "koi8-r"])
def test_an_encoding_with_a_character_for_each_byte_is_taken(tmp_path, encoding):
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n")
    assert scan_source(path, encoding=encoding).n_rows == 1


def test_an_unknown_encoding_format_or_delimiter_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n")
    with pytest.raises(SourceOptionError, match="knows no encoding 'utf-99'; name another"):
        scan_source(path, encoding="utf-99")
    with pytest.raises(SourceOptionError, match=r"there is no format 'xls'; .*'csv', 'parquet'"):
        scan_source(path, format="xls")
    for delimiter in ("", ",,", "§", '"', "\n", "\r", "\0"):
        with pytest.raises(SourceOptionError, match="pass one ASCII character"):
            scan_source(path, delimiter=delimiter)


def test_a_format_can_be_named_where_the_name_says_none(tmp_path):
    path = tmp_path / "table.txt"
    path.write_text("a|b\n1|2\n")
    version, frame = read_source(path, format="csv", delimiter="|")
    assert (version.name, version.delimiter, frame.loc[0, "b"]) == ("table", "|", 2)


def test_damaged_parquet_pages_are_reported(tmp_path):
    path = tmp_path / "a.parquet"
    frame = pd.DataFrame({"a": range(5000), "b": [f"text {i}" for i in range(5000)]})
    frame.to_parquet(path, compression="snappy", write_page_checksum=True)
    data = bytearray(path.read_bytes())
    data[40:4000] = bytes(3960)
    path.write_bytes(data)
    with pytest.raises(CorruptSourceError, match="no sound Parquet file"):
        read_source(path)
    with pytest.raises(CorruptSourceError, match="no sound Parquet file"):
        list(iter_source(path, chunk_rows=100))


def test_parquet_columns_need_names_of_their_own(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), path)
    with pytest.raises(SourceColumnsError, match="more than one column is called 'a'"):
        scan_source(path)


def test_a_header_without_an_end_does_not_fill_the_memory(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"x" * (65 << 20))
    with pytest.raises(SourceError, match="the header is longer than 64 MiB"):
        scan_source(path)
