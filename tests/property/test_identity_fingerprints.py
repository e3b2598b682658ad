"""Fingerprints: a row's own values alone decide, and equal values agree whatever holds them."""

import csv
import datetime as dt
import decimal
import io
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traceprop_engine.errors import RaggedRowError, UnterminatedQuoteError
from traceprop_engine.identity import row_fingerprints
from traceprop_engine.identity.canonical import canonical_column, cell_text
from traceprop_engine.identity.fingerprints import occurrences
from traceprop_engine.sources import iter_record_values, scan_source

SECRET = b"a secret of the tests, 32 bytes!"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    [
        "",
        "1",
        "1.0",
        "-1.0",
        "007.0",
        "-0",
        "-0.0",
        "1.50",
        "nan",
        "\x1f",
        "\x1e1",
        "a\x1fb\x1e0",
        "True",
    ]
)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats()
CELLS = st.none() | st.booleans() | NUMBERS | TEXTS | st.lists(st.integers() | TEXTS, max_size=2)
ROWS = st.lists(st.fixed_dictionaries({"a": CELLS, "b": CELLS, "c": TEXTS}), max_size=6)


def columns_of(rows):
    return {name: [row[name] for row in rows] for name in ("a", "b", "c")}


def said(row):
    """Return what a row says, in a form that shares nothing with the encoding under test."""
    texts = {name: cell_text(value) for name, value in row.items()}
    return json.dumps({name: text for name, text in texts.items() if text is not None})


@given(ROWS)
def test_rows_share_a_fingerprint_exactly_when_they_say_the_same(rows):
    found = row_fingerprints(columns_of(rows), SECRET).rows
    for i, row in enumerate(rows):
        for j, other in enumerate(rows):
            assert (found[i] == found[j]) == (said(row) == said(other))


@given(ROWS)
def test_a_fingerprint_depends_on_its_row_alone(rows):
    together = row_fingerprints(columns_of(rows), SECRET).rows.tolist()
    alone = [int(row_fingerprints(columns_of([row]), SECRET).rows[0]) for row in rows]
    chunks = row_fingerprints((columns_of([row]) for row in rows), SECRET).rows.tolist()
    assert together == alone == chunks


@given(ROWS, st.permutations(["a", "b", "c"]))
def test_the_order_of_the_columns_and_empty_new_ones_do_not_matter(rows, order):
    columns = columns_of(rows)
    other = {name: columns[name] for name in order} | {"new": [None] * len(rows)}
    found = [row_fingerprints(each, SECRET).rows.tolist() for each in (columns, other)]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "kind",
    [
        pa.float64(),
        pa.float32(),
        pa.int64(),
        pa.large_string(),
        pa.string(),
        pa.bool_(),
        pa.uint64(),
    ],
    ids=str,
)
@given(data=st.data())
def test_a_column_at_once_and_value_by_value_have_the_same_texts(kind, data):
    values = {
        "double": st.floats(),
        "float": st.floats(width=32),
        "int64": st.integers(-(2**63), 2**63 - 1),
        "uint64": st.integers(0, 2**64 - 1),
        "bool": st.booleans(),
    }.get(str(kind), TEXTS)
    array = pa.array(data.draw(st.lists(st.none() | values, max_size=8)), kind)
    expected = [cell_text(value) for value in array.to_pylist()]
    assert [t and t.decode() for t in canonical_column("x", array).to_pylist()] == expected
    coded = array.dictionary_encode()
    assert canonical_column("x", coded).equals(canonical_column("x", array))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
@given(data=st.data())
def test_times_have_one_text_whatever_their_unit_and_zone(unit, zone, data):
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    moments = st.integers(-(10**9), 2 * 10**9) | st.integers(0, 20_000).map(
        lambda day: 86_400 * day
    )
    counts = [
        seconds * per_second + data.draw(st.integers(0, per_second - 1))
        for seconds in data.draw(st.lists(moments, max_size=4))
    ]
    array = pa.array(counts, pa.int64()).cast(pa.timestamp(unit, zone))
    expected = [
        cell_text(pd.Timestamp(n, unit=unit, tz=None if zone is None else "UTC")) for n in counts
    ]
    assert [t.decode() for t in canonical_column("x", array).to_pylist()] == expected
    assert [cell_text(value) for value in array.to_pylist()] == expected


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([None, np.nan, pd.NA, pd.NaT, "", np.float64("nan"), decimal.Decimal("NaN")], None),
        ([100, 100.0, np.int8(100), "100", "100.0", decimal.Decimal("100.00")], "100"),
        ([0, -0.0, "0", "-0", "-0.0", 0.0], "0"),
        ([0.1, "0.1", decimal.Decimal("0.10"), np.float64(0.1)], "0.1"),
        ([1e-07, "1e-07", np.float64(1e-7)], "1e-07"),
        ([True, np.True_, "True"], "True"),
        ([dt.date(2024, 5, 1), pd.Timestamp("2024-05-01").to_pydatetime(),
          np.datetime64("2024-05-01"), "2024-05-01"],
         "2024-05-01"),
        ([pd.Timestamp("2024-05-01 12:30"), "2024-05-01 12:30:00"], "2024-05-01 12:30:00"),
        ([pd.Timestamp("2024-05-01 14:30", tz="Europe/Berlin")], "2024-05-01 12:30:00+00:00"),
        ([pd.Timedelta("1h"), dt.timedelta(hours=1), np.timedelta64(1, "h")], "0 days 01:00:00"),
        ([b"\x00\xff", bytearray(b"\x00\xff")], "AP8="),
        ([{"b": 1.0, "a": None, "c": [1, 2.5]}, {"c": (1.0, 2.5), "b": 1}], '{"b":1,"c":[1,2.5]}'),
        ([float("inf"), "inf"], "inf"),
    ],
)  # fmt: skip
def test_equal_values_have_this_text(values, text):
    assert {cell_text(value) for value in values} == {text}
    found = canonical_column("x", values).to_pylist()
    assert found == [None if text is None else text.encode()] * len(values)


def test_texts_that_only_look_alike_stay_apart():
    values = ["7", "07", "7.00", "7.", "+7", " 7", "7e0", "1.50", "1.5", "true", "True", "07.0"]
    assert len({cell_text(value) for value in values}) == len(values)


@given(st.lists(st.integers(0, 3), max_size=12))
def test_occurrences_count_equal_rows_before(values):
    expected = [values[:i].count(value) for i, value in enumerate(values)]
    assert occurrences(np.array(values, dtype=np.uint64)).tolist() == expected


FIELDS = st.text(st.sampled_from('ab",;\n\r é'), max_size=5) | st.sampled_from(['""', '"', "x"])


@given(st.lists(st.tuples(FIELDS, FIELDS), min_size=1, max_size=6), st.booleans())
def test_the_values_of_csv_records_are_those_of_the_csv_module(tmp_path_factory, rows, lf):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    written = io.StringIO()
    quoting = csv.QUOTE_ALL if lf else csv.QUOTE_MINIMAL  # a CR alone is quoted beside CRLF only
    writer = csv.writer(written, lineterminator="\n" if lf else "\r\n", quoting=quoting)
    writer.writerows([("one", "two"), *rows])
    path.write_bytes(written.getvalue().encode())
    chunks = list(iter_record_values(scan_source(path)))
    assert [
        pair
        for c in chunks
        for pair in zip(c["one"].to_pylist(), c["two"].to_pylist(), strict=True)
    ] == rows


@given(st.lists(st.text(st.sampled_from('a",\n\r '), max_size=7), min_size=1, max_size=5))
def test_the_values_of_ill_written_csv_are_those_of_the_csv_module_too(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    body = "\n".join(lines)
    path.write_bytes(f"one,two\n{body}\n".encode())
    try:
        version = scan_source(path)
    except (RaggedRowError, UnterminatedQuoteError):
        return
    text = path.read_bytes().decode()
    records = [
        text[s:e] for s, e in zip(version.index.byte_starts, version.index.byte_ends, strict=True)
    ]
    expected = [tuple(next(csv.reader(io.StringIO(record, newline="")))) for record in records]
    found = [
        pair
        for c in iter_record_values(version)
        for pair in zip(c["one"].to_pylist(), c["two"].to_pylist(), strict=True)
    ]
    assert found == expected


def test_the_same_values_in_csv_json_lines_and_parquet_have_the_same_fingerprints(tmp_path):
    rng = np.random.default_rng(0)
    n = 500
    frame = pd.DataFrame(
        {
            "id": np.arange(n),
            "size": rng.normal(size=n) * 10.0 ** rng.integers(-9, 9, n),
            "count": pd.array([None if i % 7 == 0 else i * i for i in range(n)], dtype="Int64"),
            "whole": np.arange(n) * 1.0,
            "name": [["Ada", "Zürich, 東京", 'a "quoted"\nline', ""][i % 4] for i in range(n)],
            "flag": rng.random(n) < 0.5,
            "day": (pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(n), unit="D")),
        }
    )
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet", index=False)
    with (tmp_path / "a.jsonl").open("w") as file:
        for row in frame.assign(day=frame["day"].dt.strftime("%Y-%m-%d")).to_dict("records"):
            kept = {key: None if value is pd.NA else value for key, value in row.items()}
            file.write(json.dumps(kept) + "\n")
    prints = {
        format_: row_fingerprints(
            iter_record_values(scan_source(tmp_path / f"a.{format_}")), SECRET
        ).rows.tolist()
        for format_ in ("csv", "parquet", "jsonl")
    }
    prints["frame"] = row_fingerprints(frame, SECRET).rows.tolist()
    assert prints["csv"] == prints["jsonl"] == prints["parquet"] == prints["frame"]
    assert len(set(prints["csv"])) == n
    assert pq.read_metadata(tmp_path / "a.parquet").num_rows == n
