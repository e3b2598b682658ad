"""Records by number, and the values that describe a version."""

import gzip

import numpy as np
import pyarrow as pa
import pytest

from traceprop_engine.errors import SourceRecordError, SourceRowError
from traceprop_engine.sources import (
    RecordIndex,
    SourceRecord,
    SourceVersion,
    read_records,
    scan_source,
)

LINES = ["id,text", *(f'{i},"{"x" * (i % 50)}"' for i in range(50_000))]


@pytest.fixture(params=["plain", "gzip"])
def version(request, tmp_path):
    data = "\n".join(LINES).encode()
    path = tmp_path / ("a.csv" if request.param == "plain" else "a.csv.gz")
    path.write_bytes(data if request.param == "plain" else gzip.compress(data))
    return scan_source(path)


def test_records_come_in_the_order_asked_for_and_may_repeat(version):
    rows = [49_999, 0, 7, 7, 31_000, 0]
    found = read_records(version, np.array(rows))
    assert [record.row for record in found] == rows
    assert [record.text for record in found] == [LINES[row + 1] for row in rows]
    assert [record.line_number for record in found] == [row + 2 for row in rows]
    assert read_records(version, []) == []


def test_all_records_are_the_lines_of_the_file(version):
    assert [r.text for r in read_records(version, range(version.n_rows))] == LINES[1:]


@pytest.mark.parametrize("row", [-1, 50_000, 1.0, "1", None])
def test_a_record_that_is_not_there_is_named(version, row):
    with pytest.raises(SourceRowError, match=f"no record {row!r}; the version has 50000 records"):
        read_records(version, [0, row])


def test_an_index_of_another_file_is_noticed(version):
    wrong = RecordIndex([2], [10**9], [10**9 + 5])
    facts = version.to_dict() | {"n_rows": 1}
    with pytest.raises(SourceRecordError, match="past the end of the file; scan the source"):
        read_records(SourceVersion.from_dict(facts, wrong), [0])


def test_the_arrays_of_an_index_cannot_be_changed(version):
    for array in (version.index.line_numbers, version.index.byte_starts, version.index.byte_ends):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    lines = np.array([1])
    index = RecordIndex(lines, np.array([0]), np.array([4]))
    lines[0] = 9
    assert index.line_numbers.tolist() == [1]


def test_an_index_that_cannot_be_is_refused():
    with pytest.raises(SourceRecordError, match="differ in length"):
        RecordIndex([1], [0, 5], [4, 9])
    for lines, starts, ends in (
        ([1, 2], [0, 3], [4, 9]),
        ([2, 1], [0, 5], [4, 9]),
        ([0, 1], [0, 5], [4, 9]),
        ([1, 2], [-1, 5], [4, 9]),
        ([1, 2], [0, 9], [4, 5]),
    ):
        with pytest.raises(SourceRecordError, match="not in the order of the file"):
            RecordIndex(lines, starts, ends)


def test_a_table_that_is_no_index_is_refused(version):
    table = version.index.to_table()
    assert table.schema.types == [pa.int64()] * 3
    for wrong in (table.drop_columns("line_number"), table.cast(pa.schema(
        [(name, pa.int32()) for name in table.column_names]
    ))):  # fmt: skip
        with pytest.raises(SourceRecordError, match="its record index has the columns"):
            RecordIndex.from_table(wrong)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": None}, "the fact 'sha256' is None"),
        ({"n_rows": "5"}, "the fact 'n_rows' is '5'"),
        ({"columns": '["id"]'}, "the fact 'columns' is"),
        ({"format": "xls"}, "the fact 'format' is 'xls'"),
        ({"n_rows": 3}, "it has 3 rows, its index 50000"),
        ({"format": "parquet"}, "a Parquet file has none"),
    ],
)
def test_facts_that_are_no_version_are_refused(version, change, message):
    with pytest.raises(SourceRecordError, match=message):
        SourceVersion.from_dict(version.to_dict() | change, version.index)


def test_a_missing_fact_is_named(version):
    facts = version.to_dict()
    del facts["uri"]
    with pytest.raises(SourceRecordError, match="the fact 'uri' is missing; scan the source"):
        SourceVersion.from_dict(facts, version.index)


def test_the_identifier_is_of_the_bytes_the_place_and_the_name(version, tmp_path):
    again = scan_source(version.uri)
    assert again.source_version_id == version.source_version_id
    assert version.source_version_id.startswith("sv_")
    assert scan_source(version.uri, name="b").source_version_id != version.source_version_id


def test_a_record_is_a_plain_value(version):
    assert read_records(version, [1]) == [SourceRecord(1, 3, 13, 18, '1,"x"')]
