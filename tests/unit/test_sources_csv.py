"""Reading CSV files: what is a record, what the frame holds, what the options may do."""

import gzip

import pandas as pd
import pytest

from traceprop_engine.errors import SourceOptionError, SourceParseError
from traceprop_engine.sources import iter_source, read_records, read_source, scan_source

PATIENTS = "id,name,weight,seen\n1,Ann,61.5,2024-01-02\n2,,NA,\n3,José,70,2024-03-01\n"


def written(tmp_path, text, name="patients.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


def test_values_are_what_pandas_reads(tmp_path):
    path = written(tmp_path, PATIENTS)
    version, frame = read_source(path)
    pd.testing.assert_frame_equal(frame, pd.read_csv(path))
    assert version.columns == ("id", "name", "weight", "seen")
    assert (version.name, version.format, version.compression) == ("patients", "csv", None)
    assert version.n_bytes == path.stat().st_size
    assert version.uri == str(path)


def test_scanning_gives_the_version_that_reading_gives(tmp_path):
    path = written(tmp_path, PATIENTS)
    assert scan_source(path) == read_source(path)[0]
    assert scan_source(path, name="people").name == "people"


def test_a_record_is_shown_as_it_stands_in_the_file(tmp_path):
    path = written(tmp_path, 'id,note\n1,"two\nlines"\n\n2,plain\n')
    version, frame = read_source(path)
    records = read_records(version, [1, 0])
    assert [record.text for record in records] == ["2,plain", '1,"two\nlines"']
    assert [record.line_number for record in records] == [5, 2]
    assert frame["note"].tolist() == ["two\nlines", "plain"]
    data = path.read_bytes()
    assert data[records[0].byte_start : records[0].byte_end] == b"2,plain"


def test_gzip_is_known_by_its_bytes_and_read_as_the_same_records(tmp_path):
    plain = written(tmp_path, PATIENTS)
    zipped = tmp_path / "patients.csv.gz"
    zipped.write_bytes(
        gzip.compress(PATIENTS[:20].encode()) + gzip.compress(PATIENTS[20:].encode())
    )
    unnamed = tmp_path / "again.csv"
    unnamed.write_bytes(zipped.read_bytes())
    version, frame = read_source(zipped)
    assert (version.name, version.compression) == ("patients", "gzip")
    assert scan_source(unnamed).compression == "gzip"
    pd.testing.assert_frame_equal(frame, read_source(plain)[1])
    assert read_records(version, [2, 0]) == read_records(scan_source(plain), [2, 0])
    assert version.sha256 != scan_source(plain).sha256


def test_a_header_without_records_is_a_table_without_rows(tmp_path):
    path = written(tmp_path, "a,b\n")
    version, frame = read_source(path)
    assert (version.n_rows, version.index.n_rows, frame.shape) == (0, 0, (0, 2))
    assert list(frame.index) == []
    assert isinstance(frame.index, pd.RangeIndex)
    assert [list(part.columns) for part in iter_source(path, chunk_rows=5)] == [["a", "b"]]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
def test_every_line_break_of_the_last_line_is_none_of_its_text(tmp_path, ending, last):
    text = ending.join(["a,b", "1,2", "3,4"]) + (ending if last else "")
    version, frame = read_source(written(tmp_path, text))
    assert frame.to_numpy().tolist() == [[1, 2], [3, 4]]
    assert [record.text for record in read_records(version, [0, 1])] == ["1,2", "3,4"]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    path = written(tmp_path, "\ufeffid,b\n1,2\n")
    version, frame = read_source(path)
    assert version.columns == tuple(frame.columns) == ("id", "b")
    assert read_records(version, [0])[0].byte_start == 8
    assert scan_source(path, encoding="UTF-8-SIG") == version


def test_other_encodings_and_delimiters_are_read_when_named(tmp_path):
    path = written(tmp_path, "id;name\n1;Jürgen\n", encoding="cp1252")
    version, frame = read_source(path, encoding="cp1252", delimiter=";")
    assert frame.loc[0, "name"] == "Jürgen"
    (record,) = read_records(version, [0])
    assert record.text == "1;Jürgen"
    assert record.byte_end - record.byte_start == len("1;Jürgen")
    assert version.source_version_id != scan_source(path, encoding="latin-1").source_version_id


def test_blanks_before_a_record_survive_the_buffers_of_pandas(tmp_path):
    """pandas 3.1 loses them at the end of a buffer of 256 KiB when it skips blank lines."""
    n_head = 262_144 - 2
    filler = "x" * 97 + ",1\n"
    head = "a,b\n" + filler * ((n_head - 200) // 100)
    head += "y" * (n_head - len(head) - 3) + ",1\n"
    path = written(tmp_path, head + "  lead,2\n")
    assert pd.read_csv(path)["a"].iloc[-1] == "lead"
    assert read_source(path)[1]["a"].iloc[-1] == "  lead"


def test_lines_of_blanks_are_no_records_but_quoted_blanks_are(tmp_path):
    version, frame = read_source(written(tmp_path, 'a\n \t\nx\n\n""\n" "\n'))
    assert frame["a"].fillna("missing").tolist() == ["x", "missing", " "]
    assert version.index.line_numbers.tolist() == [3, 5, 6]


def test_a_column_keeps_one_type_in_a_long_file(tmp_path):
    path = written(tmp_path, "a\n" + "1\n" * 600_000 + "x\n")
    frame = read_source(path)[1]
    assert set(map(type, frame["a"])) == {str}


def test_read_options_change_values_and_columns(tmp_path):
    path = written(tmp_path, PATIENTS)
    options = {"dtype": {"id": str}, "usecols": ["id", "seen"], "parse_dates": ["seen"]}
    version, frame = read_source(path, read_options=options)
    pd.testing.assert_frame_equal(frame, pd.read_csv(path, **options))
    assert version == scan_source(path)


@pytest.mark.parametrize(
    "option",
    ["nrows", "skiprows", "index_col", "chunksize", "header", "skipfooter", "comment", "names",
     "on_bad_lines", "skip_blank_lines", "quotechar", "sep", "iterator", "encoding", "engine"],
)  # fmt: skip
def test_an_option_that_could_change_the_rows_is_refused(tmp_path, option):
    path = written(tmp_path, PATIENTS)
    with pytest.raises(
        SourceOptionError, match=f"'{option}' might change which rows.*takes .*dtype"
    ):
        read_source(path, read_options={option: 1})
    with pytest.raises(SourceOptionError, match=option):
        iter_source(path, chunk_rows=1, read_options={option: 1})


def test_values_that_do_not_fit_the_options_are_a_parse_error(tmp_path):
    path = written(tmp_path, PATIENTS)
    for options in ({"dtype": {"name": float}}, {"usecols": ["nobody"]}):
        with pytest.raises(SourceParseError, match=r"patients\.csv.*read_options"):
            read_source(path, read_options=options)
        with pytest.raises(SourceParseError, match=r"patients\.csv.*read_options"):
            list(iter_source(path, chunk_rows=2, read_options=options))


def test_a_frame_with_other_rows_than_the_index_is_refused(tmp_path, monkeypatch):
    path = written(tmp_path, PATIENTS)
    read_csv = pd.read_csv
    monkeypatch.setattr(pd, "read_csv", lambda *args, **kw: read_csv(*args, **kw).iloc[:-1])
    with pytest.raises(SourceParseError, match="3 records gave 2 rows"):
        read_source(path)


def test_progress_ends_with_the_size_of_the_file(tmp_path):
    text = "a,b\n" + "1,2\n" * 600_000
    plain = written(tmp_path, text)
    zipped = tmp_path / "z.csv.gz"
    zipped.write_bytes(gzip.compress(text.encode()))
    for path in (plain, zipped):
        calls = []
        scan_source(path, progress=lambda done, total, calls=calls: calls.append((done, total)))
        assert len(calls) >= 3
        assert calls == sorted(calls)
        assert calls[-1] == (path.stat().st_size, path.stat().st_size)


def test_an_iteration_counts_records_on_and_stays_in_the_version(tmp_path):
    path = written(tmp_path, PATIENTS)
    version = scan_source(path)
    frames = list(iter_source(path, chunk_rows=2, version=version))
    assert [list(frame.index) for frame in frames] == [[0, 1], [2]]
    assert pd.concat(frames)["id"].tolist() == [1, 2, 3]
    with pytest.raises(SourceOptionError, match="chunk_rows is 0; pass 1 or more"):
        iter_source(path, chunk_rows=0)


def test_an_iteration_that_is_left_early_raises_nothing(tmp_path):
    path = written(tmp_path, PATIENTS)
    frames = iter_source(path, chunk_rows=1)
    assert next(frames)["id"].tolist() == [1]
    path.write_text("changed")
    frames.close()


def test_a_symbolic_link_names_the_file_it_points_to(tmp_path):
    path = written(tmp_path, PATIENTS)
    link = tmp_path / "latest.csv"
    link.symlink_to(path)
    assert scan_source(link, name="p").uri == str(path)
