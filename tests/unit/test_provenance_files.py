"""Files and frames as tracked arrays: the values of the file, its rows, and its very lines."""

import gzip

import numpy as np
import pandas as pd
import pytest

from traceprop_engine.errors import (
    CaptureError,
    HeaderlessFileError,
    NotNumericError,
    SourceIdTakenError,
    SourceNotFoundError,
    SourceOptionError,
    SourceParseError,
    UnknownColumnError,
)
from traceprop_engine.lineage import CaptureSession, reset_graph
from traceprop_engine.provenance_views import (
    from_csv,
    from_pandas,
    from_parquet,
    load_source,
    provenance,
)

LINES = ["id,age,dose", "7,61,1.5", "9,,2.5", "8,44,-3"]


@pytest.fixture(autouse=True)
def fresh_graph():
    reset_graph()


@pytest.fixture
def visits(tmp_path):
    path = tmp_path / "visits.csv"
    path.write_text("\n".join(LINES) + "\n")
    return path


def plain(array):
    return array.__traceprop_plain__()


def test_a_csv_file_becomes_its_numbers_and_a_missing_value_nan(visits):
    array = from_csv(visits)
    assert plain(array).dtype == np.float64
    wanted = [[7, 61, 1.5], [9, np.nan, 2.5], [8, 44, -3]]
    np.testing.assert_array_equal(plain(array), wanted)
    assert provenance(array).sources() == ["visits"]


def test_columns_come_in_the_order_that_was_asked_for(visits):
    array = from_csv(visits, columns=["dose", "id"], dtype=np.float32)
    assert plain(array).dtype == np.float32
    assert plain(array).tolist() == [[1.5, 7], [2.5, 9], [-3, 8]]


def test_each_row_is_traced_to_its_line(visits):
    array = from_csv(visits, source_id="clinic")[::-1]
    view = provenance(array)
    for row, line in enumerate([3, 2, 1]):
        (source,) = view.trace(row).sources
        assert source.uri == str(visits)
        assert [(r.line_number, r.text) for r in source.records] == [(line + 1, LINES[line])]
        assert f"visits.csv:{line + 1}  {LINES[line]}" in str(view.trace(row))


def test_a_file_that_changed_since_is_said_instead_of_a_wrong_line(visits):
    view = provenance(from_csv(visits))
    visits.write_text(visits.read_text().replace("61", "16"))
    (source,) = view.trace(0).sources
    assert source.records == ()
    assert "other bytes now" in source.unavailable
    assert "not readable" in str(view.trace(0))


def test_arrays_of_one_file_are_one_input(visits):
    one, other = from_csv(visits, columns=["age"]), from_csv(visits, columns=["dose"])
    assert provenance(one + other).ancestors() == provenance(one * 2).ancestors()


def test_another_version_under_the_same_name_is_refused(visits, tmp_path):
    from_csv(visits)
    visits.write_text("\n".join([*LINES[:3], "8,45,-3"]))
    with pytest.raises(SourceIdTakenError, match=r"'visits'.*another source_id"):
        from_csv(visits)
    from_csv(visits, source_id="visits of today")
    reset_graph()
    from_csv(visits)


def test_text_is_refused_with_its_column_and_the_ways_out(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text("id,name,when,dose\n1,ann,2020-01-01,2\n2,bob,2020-01-02,3\n")
    refusal = r"people\.csv: what is no number in 'name', 'when'; .*columns=.*load_source"
    with pytest.raises(NotNumericError, match=refusal) as refused:
        from_csv(path)
    assert refused.value.columns == ("name", "when")
    assert plain(from_csv(path, columns=["id", "dose"])).tolist() == [[1, 2], [2, 3]]
    with CaptureSession() as session:
        frame = load_source(session, path)
        kept = frame[frame["name"] == "bob"]
        doses = from_pandas(kept, columns=["dose"])
        assert "people.csv:3  2,bob,2020-01-02,3" in str(provenance(doses).trace(0))


def test_columns_that_there_are_not_are_refused(visits, tmp_path):
    with pytest.raises(UnknownColumnError, match="'doses'"):
        from_csv(visits, columns=["id", "doses"])
    path = tmp_path / "t.parquet"
    pd.DataFrame({"a": [1]}).to_parquet(path)
    with pytest.raises(SourceParseError, match="no column 'b'"):
        from_parquet(path, columns=["b"])
    with pytest.raises(SourceNotFoundError):
        from_csv(tmp_path / "nothing.csv")


def test_a_file_without_a_header_is_refused_and_numbered_columns_are_not(tmp_path):
    path = tmp_path / "matrix.csv"
    path.write_text("1.5,2\n3,4\n")
    with pytest.raises(HeaderlessFileError, match=r"'1\.5', '2'"):
        from_csv(path)
    pd.DataFrame([[1.5, 2], [3, 4]]).to_csv(path, index=False)
    assert plain(from_csv(path)).tolist() == [[1.5, 2], [3, 4]]


def test_numbers_that_the_array_cannot_hold_are_refused(tmp_path):
    path = tmp_path / "ids.csv"
    path.write_text(f"id,share\n{2**53 + 1},0.5\n{2**53 + 2},0.25\n")
    with pytest.raises(NotNumericError, match=r"'id'.*int64"):
        from_csv(path)
    assert plain(from_csv(path, columns=["id"], dtype="int64"))[0, 0] == 2**53 + 1
    with pytest.raises(NotNumericError, match=r"int64 cannot hold in 'share'"):
        from_csv(path, dtype="int64")
    with pytest.raises(NotNumericError, match=r"int32 cannot hold in 'id'"):
        from_csv(path, columns=["id"], dtype="int32")
    path.write_text("n\n1\n\n3\n".replace("\n\n", '\n""\n'))
    with pytest.raises(NotNumericError, match="cannot hold in 'n'"):
        from_csv(path, dtype=int)


@pytest.mark.parametrize(
    ("column", "dtype"),
    [
        ([1e300, 1.0], "float32"),
        ([70_000], "float16"),
        ([2, 0], bool),
        ([1.0, np.nan], bool),
        (pd.array([1, None], dtype="Int64"), bool),
        ([1, 2], str),
        ([1, 2], "M8[D]"),
    ],
)
def test_a_type_that_would_change_the_values_is_refused(column, dtype):
    with pytest.raises(NotNumericError, match="cannot hold in 'n'; leave dtype out"):
        from_pandas(pd.DataFrame({"n": column}), dtype=dtype)


@pytest.mark.parametrize(
    ("column", "dtype"),
    [
        ([np.inf, np.nan, 3.5], "float32"),
        ([1, 0], bool),
        ([True, False], "float32"),
        (pd.array([True, False], dtype="boolean"), "float32"),
        (pd.array([True, None], dtype="boolean"), "float32"),
        (pd.array([1, None], dtype="Int64"), "float32"),
        ([1, 2], complex),
    ],
)
def test_a_type_that_holds_the_values_is_taken(column, dtype):
    wanted = pd.Series(column).astype(dtype if dtype is bool else "float64")
    found = plain(from_pandas(pd.DataFrame({"n": column}), dtype=dtype))[:, 0]
    np.testing.assert_array_equal(found, wanted.to_numpy())


def test_columns_are_a_list_of_names_that_there_are(visits):
    for columns in ("id", []):
        with pytest.raises(SourceOptionError, match="pass a list of names"):
            from_csv(visits, columns=columns)
        with pytest.raises(SourceOptionError, match="The frame: columns is"):
            from_pandas(pd.DataFrame({"i": [1], "d": [2]}), columns=columns)
    with pytest.raises(UnknownColumnError, match="'doses'"):
        from_csv(visits, columns=["doses"])
    with pytest.raises(UnknownColumnError, match="'0'"):
        from_pandas(pd.DataFrame({"a": [1]}), columns=[0])


def test_a_type_in_the_place_of_the_name_is_refused(visits):
    """There it was the second argument."""
    with pytest.raises(SourceOptionError, match=r"source_id is <class 'float'>.*dtype="):
        from_csv(visits, float)


def test_truth_values_are_numbers(tmp_path):
    path = tmp_path / "flags.csv"
    path.write_text("ill,n\nTrue,1\nFalse,2\n")
    assert plain(from_csv(path)).tolist() == [[1, 1], [0, 2]]


def test_files_without_records_and_files_in_gzip(tmp_path):
    path = tmp_path / "none.csv"
    path.write_text("a,b\n")
    assert plain(from_csv(path)).shape == (0, 2)
    packed = tmp_path / "v.csv.gz"
    packed.write_bytes(gzip.compress(b"a;b\n1;2\n3;4\n"))
    array = from_csv(packed, delimiter=";")
    assert "v.csv.gz:3  3;4" in str(provenance(array).trace(1))


def test_parquet_rows_are_shown_as_json(tmp_path):
    path = tmp_path / "labs.parquet"
    pd.DataFrame({"a": [1, 2], "b": [None, 4.5], "c": ["x", "y"]}).to_parquet(path)
    array = from_parquet(path, source_id="lab values", columns=["b", "a"])
    np.testing.assert_array_equal(plain(array), [[np.nan, 1], [4.5, 2]])
    view = provenance(array[1:])
    assert view.rows(0)["lab values"].tolist() == [1]
    assert 'labs.parquet#1  {"a":2,"b":4.5,"c":"y"}' in str(view.trace(0))
    with pytest.raises(NotNumericError, match="'c'"):
        from_parquet(path)


def test_frames_become_inputs_or_go_on_from_their_rows():
    frame = pd.DataFrame({"a": [1, 2, 3], "b": pd.array([1, None, 3], dtype="Int64")})
    array = from_pandas(frame, source_id="frame of mine")
    np.testing.assert_array_equal(plain(array), [[1, 1], [2, np.nan], [3, 3]])
    assert provenance(array).sources() == ["frame of mine"]
    assert plain(from_pandas(frame["a"])).tolist() == [1, 2, 3]
    frame.loc[0, "a"] = 100
    assert plain(array)[0, 0] == 1
    with CaptureSession() as session:
        loaded = session.load(frame, "f").sort_values("a")
        followed = from_pandas(loaded, columns=["a"])
        assert [provenance(followed).rows(i)["f"].tolist() for i in range(3)] == [[1], [2], [0]]
        assert [op.name for op in provenance(followed).ops()] == ["DataFrame.sort_values"]
        assert provenance(followed[1:] * 2).rows(0)["f"].tolist() == [2]
        assert provenance(from_pandas(loaded["a"])[::-1]).rows(0)["f"].tolist() == [0]
        with pytest.raises(CaptureError, match="leave source_id"):
            from_pandas(loaded, source_id="other")


def test_arrays_can_belong_to_a_session(visits):
    with CaptureSession() as session:
        array = from_csv(visits, session=session)
        assert provenance(array[[2, 0]]).rows(0)["visits"].tolist() == [2]
        assert session.lineage(array[1:]).maps["visits"].backward([0]).tolist() == [1]
