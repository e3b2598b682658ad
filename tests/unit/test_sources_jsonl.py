"""Reading JSON Lines files."""

import pandas as pd
import pytest

from traceprop_engine.errors import SourceOptionError, SourceParseError
from traceprop_engine.sources import iter_source, read_records, read_source, scan_source

TEXT = (
    '{"id": "007", "x": 0.1, "seen": "2024-01-02"}\n'
    "\n"
    '  {"id": "008", "tags": ["a", "b"], "x": 5e-324}\r\n'
    '{"id": null, "x": 9007199254740993, "note": "é\\u2028"}'
)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "visits.jsonl"
    path.write_bytes(TEXT.encode())
    return path


def test_values_keep_the_type_they_have_in_json(path):
    version, frame = read_source(path)
    assert version.columns == tuple(frame.columns) == ("id", "x", "seen", "tags", "note")
    assert frame["id"].tolist()[:2] == ["007", "008"]
    assert frame["x"].tolist()[:2] == [0.1, 5e-324]
    assert frame["seen"].tolist()[0] == "2024-01-02"
    assert frame["tags"].tolist()[1] == ["a", "b"]
    assert frame["note"].tolist()[2] == "é\u2028"
    assert frame.isna().sum().tolist() == [1, 0, 2, 2, 2]
    assert frame.index.equals(pd.RangeIndex(3))


def test_large_integers_are_exact_where_no_value_is_missing(tmp_path):
    path = tmp_path / "a.ndjson"
    path.write_text('{"n": 9007199254740993}\n{"n": 1}\n')
    assert read_source(path)[1]["n"].tolist() == [9007199254740993, 1]


def test_a_record_is_the_text_of_its_line(path):
    version = scan_source(path)
    records = read_records(version, [2, 1])
    assert [record.line_number for record in records] == [4, 3]
    assert [record.text for record in records] == [TEXT.split("\n")[3], TEXT.split("\n")[2][:-1]]
    assert (version.delimiter, version.encoding, version.format) == (None, "utf-8", "jsonl")


def test_frames_of_an_iteration_have_the_columns_seen_so_far(tmp_path):
    path = tmp_path / "a.jsonl"
    head = '{"a": 1}\n' * 200_000
    path.write_text(head + '{"b": 2}\n')
    frames = list(iter_source(path, chunk_rows=100_000))
    assert list(frames[0].columns) == ["a"]
    assert list(frames[-1].columns) == ["a", "b"]
    assert sum(len(frame) for frame in frames) == 200_001
    assert frames[-1].index[-1] == 200_000


def test_objects_without_keys_are_rows_without_values(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("{}\n{}\n")
    version, frame = read_source(path)
    assert (version.n_rows, version.columns, frame.shape) == (2, (), (2, 0))


def test_dtype_is_the_one_option(path):
    frame = read_source(path, read_options={"dtype": {"x": "str"}})[1]
    assert frame["x"].tolist()[0] == "0.1"
    with pytest.raises(SourceOptionError, match=r"'lines' might change .*JSON Lines takes dtype"):
        read_source(path, read_options={"lines": False})
    for wrong in ({"nobody": "str"}, {"note": "int64"}):
        with pytest.raises(SourceParseError, match=r"visits\.jsonl: its values cannot be read"):
            read_source(path, read_options={"dtype": wrong})


def test_half_a_surrogate_pair_is_a_parse_error(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": "\\ud800"}\n')
    with pytest.raises(SourceParseError, match="surrogates not allowed"):
        read_source(path)
