"""Laws of the CSV scanner, with Python's csv module as the oracle."""

import csv
import io
from itertools import pairwise
from typing import NamedTuple

from hypothesis import example, given
from hypothesis import strategies as st

from traceprop_engine.sources.csv_scanner import CsvScanner, count_line_breaks

TEXTS = st.text(alphabet='aé€", ;\t\n\r', max_size=60) | st.lists(
    st.sampled_from(['"', '""', "a", "é", ",", ";", " ", "\n", "\r\n", "\r", '\n"', '",', ',"']),
    max_size=40,
).map("".join)
DELIMITERS = st.sampled_from([",", ";", "\t", " "])
CHUNKS = st.integers(1, 17)


class Found(NamedTuple):
    line: int
    text: str
    fields: list[str]


def lines_of(text):
    return list(io.StringIO(text, newline=""))


def records_by_csv(text, delimiter):
    """Return the records as Python's csv module sees them, each with its line and exact text."""
    lines = lines_of(text)
    reader = csv.reader(iter(lines), delimiter=delimiter)
    found, before = [], 0
    for fields in reader:
        raw = "".join(lines[before : reader.line_num])
        raw = raw.removesuffix("\n").removesuffix("\r") if raw.endswith("\n") else raw
        found.append(Found(before + 1, raw.removesuffix("\r"), fields))
        before = reader.line_num
    return [record for record in found if record.text.strip(" \t".replace(delimiter, ""))]


def is_open(text, delimiter):
    """Return whether a quoted field is open at the end: then a further line is no record."""
    rows = list(csv.reader(lines_of(text + "\nx" + delimiter + "y"), delimiter=delimiter))
    return rows[-1] != ["x", "y"]


def scan(data, delimiter, size):
    scanner = CsvScanner(delimiter)
    blocks = [scanner.feed(data[at : at + size]) for at in range(0, len(data), size)]
    return scanner, [*blocks, scanner.finish()]


@given(TEXTS, DELIMITERS, CHUNKS)
@example('5" disk,"a""b" c"d,\n', ",", 1)
@example('x""y"\n"z\n', ",", 2)
@example(" \r\n\r  \r\n a\r\r\n", ",", 3)
@example('"\r\n",a\r\n', ",", 1)
@example("\t\t\n \t\n", "\t", 4)
@example("aa \n", ",", 2)
def test_the_scanner_finds_the_records_of_the_csv_module(text, delimiter, size):
    data = text.encode()
    scanner, blocks = scan(data, delimiter, size)
    expected = records_by_csv(text, delimiter)
    assert scanner.in_quotes == is_open(text, delimiter)
    if scanner.in_quotes:
        expected.pop()
    found = [
        (line, data[start:end].decode(), n_fields)
        for block in blocks
        for line, start, end, n_fields in zip(
            block.line_numbers, block.byte_starts, block.byte_ends, block.n_fields, strict=True
        )
    ]
    assert found == [(record.line, record.text, len(record.fields)) for record in expected]


@given(TEXTS, DELIMITERS, CHUNKS)
@example(" \r\n\r  \r\n a\r\r\n", ",", 3)
def test_the_plain_text_holds_the_same_records_and_no_blank_line(text, delimiter, size):
    scanner, blocks = scan(text.encode(), delimiter, size)
    plain = b"".join(block.plain_lines() for block in blocks).decode()
    if scanner.in_quotes:
        return
    rows = list(csv.reader(lines_of(plain), delimiter=delimiter))
    assert rows == [record.fields for record in records_by_csv(text, delimiter)]
    assert not plain or plain.endswith("\n")
    assert plain.count("\n") - sum(cell.count("\n") for row in rows for cell in row) == len(rows)


@given(TEXTS, DELIMITERS, CHUNKS)
@example(';;;;;\r";é""', ",", 11)
def test_an_open_quote_is_reported_on_the_line_where_it_stands(text, delimiter, size):
    scanner, _ = scan(text.encode(), delimiter, size)
    if not scanner.in_quotes:
        return
    quotes = [at for at, char in enumerate(text) if char == '"']
    opening = [
        at
        for at in quotes
        if not is_open(text[:at], delimiter)
        and is_open(text[: at + 1], delimiter)
        and (at == 0 or text[at - 1] in "\n\r" + delimiter)
    ]
    assert scanner.quote_line == 1 + count_line_breaks(text[: opening[-1]].encode())


@given(TEXTS)
def test_lines_are_counted_as_python_counts_them(text):
    assert count_line_breaks(text.encode()) == len(lines_of(text + "|")) - 1


@given(TEXTS, DELIMITERS, CHUNKS)
def test_chunks_do_not_matter(text, delimiter, size):
    whole = scan(text.encode(), delimiter, 1000)[1]
    parts = scan(text.encode(), delimiter, size)[1]
    for name in ("line_numbers", "byte_starts", "byte_ends", "n_fields"):
        in_whole = [int(value) for block in whole for value in getattr(block, name)]
        assert [int(value) for block in parts for value in getattr(block, name)] == in_whole
    starts = [int(start) for block in parts for start in block.byte_starts]
    assert all(first < second for first, second in pairwise(starts))
