"""Reading Parquet files: the bytes have a digest, a record has a number and no line."""

import datetime as dt
import decimal
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from traceprop_engine.digests import sha256_file
from traceprop_engine.errors import SourceOptionError, SourceParseError
from traceprop_engine.sources import (
    SourceVersion,
    iter_source,
    read_records,
    read_source,
    scan_source,
)


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "id": np.arange(1000),
            "x": rng.normal(size=1000),
            "city": pd.Categorical(rng.choice(["Graz", "Linz"], 1000)),
            "n": pd.array([1, None] * 500, dtype="Int64"),
        }
    )


def test_values_come_back_with_a_plain_index(tmp_path, frame):
    path = tmp_path / "a.parquet"
    frame.to_parquet(path)
    version, read = read_source(path)
    pd.testing.assert_frame_equal(read, frame)
    assert version == scan_source(path)
    assert (version.n_rows, version.columns) == (1000, ("id", "x", "city", "n"))
    assert (version.index, version.encoding, version.delimiter) == (None, None, None)
    assert version.sha256 == sha256_file(path)
    assert SourceVersion.from_dict(json.loads(json.dumps(version.to_dict())), None) == version


@pytest.mark.parametrize("index", ["name", None, "range"])
def test_an_index_that_pandas_stored_is_a_column_or_left_out(tmp_path, frame, index):
    path = tmp_path / "a.pq"
    labels = pd.RangeIndex(5, 2005, 2) if index == "range" else pd.Index(range(1000), name=index)
    stored = frame.set_axis(labels if index == "range" else labels[::-1])
    stored.to_parquet(path, index=None if index == "range" else True)
    version, read = read_source(path)
    assert read.index.equals(pd.RangeIndex(1000))
    assert tuple(read.columns) == version.columns
    pd.testing.assert_frame_equal(read[list(frame.columns)], frame)
    if index == "name":
        assert read["name"].tolist() == list(range(999, -1, -1))


def test_column_labels_are_text(tmp_path):
    path = tmp_path / "a.parquet"
    pd.DataFrame({0: [1], 1: [2]}).to_parquet(path)
    version, read = read_source(path)
    assert tuple(read.columns) == version.columns == ("0", "1")


def test_frames_of_an_iteration_are_the_table_in_parts(tmp_path, frame):
    path = tmp_path / "a.parquet"
    frame.to_parquet(path, row_group_size=300)
    version = scan_source(path)
    frames = list(iter_source(path, chunk_rows=70, version=version))
    assert max(len(part) for part in frames) <= 70
    joined = pd.concat(frames)
    assert joined.index.tolist() == list(range(1000))
    assert joined["x"].tolist() == frame["x"].tolist()


def test_records_are_rows_as_canonical_json(tmp_path, frame):
    path = tmp_path / "a.parquet"
    frame.to_parquet(path, row_group_size=300)
    version = scan_source(path)
    rows = [999, 0, 300, 299, 0]
    records = read_records(version, rows)
    assert [record.row for record in records] == rows
    assert {record.line_number for record in records} == {None}
    for record in records:
        values = frame.loc[record.row]
        n = None if pd.isna(values["n"]) else int(values["n"])
        expected = {"id": record.row, "x": float(values["x"]), "city": values["city"], "n": n}
        assert json.loads(record.text) == expected
        assert record.text.startswith('{"city":"')


def test_values_that_json_has_no_word_for_are_written_as_text(tmp_path):
    path = tmp_path / "a.parquet"
    row = {
        "day": dt.date(2024, 1, 2),
        "at": dt.datetime(2024, 1, 2, 3, 4, tzinfo=dt.UTC),
        "price": decimal.Decimal("1.10"),
        "raw": b"\xff\x00",
        "nan": float("nan"),
        "inf": float("-inf"),
        "took": dt.timedelta(hours=1),
        "many": [{"a": 1.5}],
    }
    pq.write_table(pa.Table.from_pylist([row]), path)
    (record,) = read_records(scan_source(path), [0])
    assert json.loads(record.text) == {
        "day": "2024-01-02",
        "at": "2024-01-02T03:04:00+00:00",
        "price": "1.10",
        "raw": "/wA=",
        "nan": "nan",
        "inf": "-inf",
        "took": "1:00:00",
        "many": [{"a": 1.5}],
    }


def test_columns_is_the_one_option(tmp_path, frame):
    path = tmp_path / "a.parquet"
    frame.to_parquet(path)
    version, read = read_source(path, read_options={"columns": ["x"]})
    assert list(read.columns) == ["x"]
    assert len(version.columns) == 4
    with pytest.raises(SourceParseError, match="there is no column 'y'"):
        read_source(path, read_options={"columns": ["y"]})
    with pytest.raises(SourceOptionError, match="'filters' might change which rows"):
        read_source(path, read_options={"filters": []})


def test_a_table_without_rows_is_a_version(tmp_path, frame):
    path = tmp_path / "a.parquet"
    frame.iloc[:0].to_parquet(path)
    version, read = read_source(path)
    assert (version.n_rows, read.shape) == (0, (0, 4))
