"""Laws of reading: row i of the frame is record i of the index, whatever the text looks like."""

import csv
import gzip
import hashlib
import io
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from traceprop_engine.errors import NotTextError
from traceprop_engine.sources import RecordIndex, SourceVersion, read_records
from traceprop_engine.sources.csv_source import iter_csv, read_csv, scan_csv
from traceprop_engine.sources.jsonl_source import iter_jsonl, read_jsonl, scan_jsonl
from traceprop_engine.sources.source_file import open_source
from traceprop_engine.sources.spec import resolve_spec

AS_TEXT = {"dtype": str, "keep_default_na": False}
CELLS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
TRICKY_CELLS = st.sampled_from(
    ["", " ", '"', "\n", "\r\n", "\r", ",", "NA", "007", " a", "é\n€", "\t"]
)
LINE_BREAKS = st.sampled_from(["\n", "\r\n", "\r"])
BLANK_LINES = st.sampled_from(["", "", "", "\n", "\r\n", " \n", "  \r\n", "\n\n"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | CELLS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(CELLS, inner, max_size=2),
    max_leaves=3,
)


@st.composite
def tables(draw):
    n_columns = draw(st.integers(1, 4))
    row = st.lists(CELLS | TRICKY_CELLS, min_size=n_columns, max_size=n_columns)
    return draw(st.lists(row, max_size=6)), n_columns


@st.composite
def csv_texts(draw):
    """Return cells, a CSV text of them, its delimiter and the line on which each record begins."""
    rows, n_columns = draw(tables())
    delimiter = draw(st.sampled_from([",", ";", "\t", "|"]))
    text, lines = draw(BLANK_LINES), []
    for row in [[f"c{i}" for i in range(n_columns)], *rows]:
        lines.append(len(io.StringIO(text + "x", newline="").readlines()))
        quoted = draw(st.booleans())
        text += delimiter.join(written(cell, delimiter, quoted, n_columns) for cell in row)
        text += draw(LINE_BREAKS)
        if not text.endswith("\r"):
            text += draw(BLANK_LINES)
    bare = text.removesuffix("\n") if draw(st.booleans()) else text
    return rows, bare, delimiter, lines[1:]


def written(cell, delimiter, quoted, n_columns):
    special = any(char in cell for char in '"\r\n' + delimiter)
    blank = n_columns == 1 and not cell.strip(" \t")
    return '"' + cell.replace('"', '""') + '"' if quoted or special or blank else cell


def write(folder, name, data, zipped):
    path = folder / (name + ".gz" if zipped else name)
    path.write_bytes(gzip.compress(data) if zipped else data)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sources")


@given(csv_texts(), st.booleans(), st.booleans(), st.integers(1, 17))
@example(([["\r"]], 'c0\r"\r"\r', ",", [2]), False, True, 1)
def test_each_record_of_a_csv_file_is_the_row_of_the_frame(folder, made, zipped, marked, size):
    rows, text, delimiter, lines = made
    data = (b"\xef\xbb\xbf" if marked else b"") + text.encode()
    path = write(folder, "table.csv", data, zipped)
    spec = resolve_spec(path, None, None, "utf-8", delimiter)
    with open_source(path, chunk_bytes=size) as file:
        version, frame = read_csv(file, spec, AS_TEXT)
    assert version.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert frame.to_numpy().tolist() == rows
    assert list(frame.index) == list(range(len(rows)))
    records = read_records(version, range(len(rows)))
    assert [record.line_number for record in records] == lines
    for record, row in zip(records, rows, strict=True):
        assert data[record.byte_start : record.byte_end].decode() == record.text
        (parsed,) = csv.reader(io.StringIO(record.text, newline=""), delimiter=delimiter)
        assert parsed == row
    with open_source(path, chunk_bytes=size + 1) as file:
        scanned = scan_csv(file, spec)
    assert scanned == version
    assert scanned.index.to_table().equals(version.index.to_table())


@given(csv_texts(), st.integers(1, 17), st.integers(1, 4))
def test_the_frames_of_an_iteration_are_the_frame_in_parts(folder, made, size, chunk_rows):
    rows, text, delimiter, _ = made
    path = write(folder, "parts.csv", text.encode(), zipped=False)
    spec = resolve_spec(path, None, None, "utf-8", delimiter)
    with open_source(path, chunk_bytes=size) as file:
        frames = list(iter_csv(file, spec, AS_TEXT, chunk_rows))
    assert [row for frame in frames for row in frame.to_numpy().tolist()] == rows
    assert [label for frame in frames for label in frame.index] == list(range(len(rows)))
    assert all(len(frame) == chunk_rows for frame in frames[:-1])


@st.composite
def jsonl_texts(draw):
    """Return objects, a JSON Lines text of them, and the line of each."""
    keys = st.sampled_from(["a", "b", "é\n", "x y"])
    records = draw(st.lists(st.dictionaries(keys, VALUES, max_size=3), min_size=1, max_size=5))
    text, lines = draw(BLANK_LINES), []
    for record in records:
        lines.append(text.count("\n") + 1)
        indent = draw(st.sampled_from(["", " ", "\t"]))
        text += indent + json.dumps(record, ensure_ascii=draw(st.booleans()))
        text += draw(st.sampled_from(["\n", "\r\n"])) + draw(BLANK_LINES)
    return records, text.removesuffix("\n") if draw(st.booleans()) else text, lines


@given(jsonl_texts(), st.booleans(), st.integers(1, 17), st.integers(1, 3))
def test_each_record_of_a_json_lines_file_is_its_object(folder, made, zipped, size, chunk_rows):
    records, text, lines = made
    path = write(folder, "objects.jsonl", text.encode(), zipped)
    spec = resolve_spec(path, None, None, "utf-8", ",")
    with open_source(path, chunk_bytes=size) as file:
        version, frame = read_jsonl(file, spec, {})
    found = read_records(version, range(len(records)))
    assert [json.loads(record.text) for record in found] == records
    assert [record.line_number for record in found] == lines
    assert [text.encode()[r.byte_start : r.byte_end].decode() for r in found] == [
        line for line in text.replace("\r\n", "\n").split("\n") if line.strip()
    ]
    assert version.columns == tuple(dict.fromkeys(key for record in records for key in record))
    assert frame.shape == (len(records), len(version.columns))
    for name in version.columns:
        missing = [record.get(name) is None for record in records]
        assert frame[name].isna().tolist() == missing
    with open_source(path, chunk_bytes=size) as file:
        assert scan_jsonl(file, spec).index.to_table().equals(version.index.to_table())
    with open_source(path, chunk_bytes=size) as file:
        labels = [row for part in iter_jsonl(file, spec, {}, chunk_rows) for row in part.index]
    assert labels == list(range(len(records)))


@given(st.text("aé€𝄞\n\r", max_size=30), st.integers(1, 9), st.sampled_from(["ff", "e2", "00"]))
def test_the_first_byte_that_is_no_text_is_named(folder, text, size, bad):
    before = "x\n" + text + "|"
    data = before.encode() + bytes.fromhex(bad) + b"zz\n"
    path = write(folder, "bad.csv", data, zipped=False)
    spec = resolve_spec(path, None, None, "utf-8", ",")
    with pytest.raises(NotTextError) as caught, open_source(path, chunk_bytes=size) as file:
        scan_csv(file, spec)
    assert caught.value.offset == len(before.encode())
    assert caught.value.line == len(io.StringIO(before, newline="").readlines())


INDEXES = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 9), st.integers(1, 4)), max_size=8)


@given(INDEXES)
def test_an_index_survives_its_table_and_a_version_its_dictionary(steps):
    lines, starts, ends, line, at = [], [], [], 0, 0
    for n_lines, n_bytes, gap in steps:
        line, at = line + n_lines, at + gap
        lines.append(line)
        starts.append(at)
        at += n_bytes
        ends.append(at)
    index = RecordIndex(lines, starts, ends)
    again = RecordIndex.from_table(index.to_table())
    assert (again.line_numbers.tolist(), again.byte_starts.tolist()) == (lines, starts)
    assert again.byte_ends.tolist() == ends
    version = SourceVersion(
        "é", "/data/é.csv", "csv", None, "utf-8", ",", "0" * 64, at, len(lines), ("a", "b"), index
    )
    facts = json.loads(json.dumps(version.to_dict()))
    assert SourceVersion.from_dict(facts | {"seen_at": "now"}, again) == version
    assert SourceVersion.from_dict(facts, again).source_version_id == version.source_version_id
