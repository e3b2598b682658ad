"""Text for a terminal: it fits, it is one line, and nothing in it acts on the terminal."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traceprop_engine.cli.text import bar, display_width, flowed, padded, shorten, table, wrapped
from traceprop_engine.presentation import (
    counted,
    logistic,
    plain_value,
    row_numbers,
    signed,
    signed_column,
    visible,
)

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(ANY_TEXT)
def test_visible_text_is_one_line_without_any_character_that_acts(text):
    assert visible(text).isprintable()


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=60))
def test_visible_leaves_printable_text_as_it_is(text):
    assert visible(text) == "".join(c if c.isprintable() else visible(c) for c in text)


def test_visible_shows_what_would_act():
    assert visible("a\r\nb\tc\x1b[2J\x7f") == "a⏎b␉c␛[2J␡"
    assert visible("\u202edrow") == "\\u202edrow"
    assert visible("a\u00a0b") == "a b"


@given(ANY_TEXT.map(visible), st.integers(1, 40))
def test_a_shortened_text_fits_and_begins_as_the_text_does(text, width):
    short = shorten(text, width)
    assert display_width(short) <= width
    assert short == text or (short.endswith("…") and text.startswith(short[:-1]))
    assert (short == text) == (display_width(text) <= width)


def test_wide_characters_count_twice():
    assert display_width("東京") == 4
    assert shorten("東京都", 5) == "東京…"
    assert padded("東", 4) == "東  "
    assert padded("a", 3, "right") == "  a"


@given(st.lists(st.text("abc ", min_size=1, max_size=12), max_size=12), st.integers(12, 40))
def test_flowed_items_all_stand_there_in_order_and_fit(items, width):
    lines = flowed(items, width, indent=2, gap=" | ")
    assert all(display_width(line) <= width for line in lines)
    if all(len(item) <= width - 2 for item in items):
        assert " | ".join(line[2:] for line in lines) == " | ".join(items)


def test_wrapped_text_breaks_between_words():
    assert wrapped("one two three", width=9) == ["  one two", "  three"]


def test_a_table_gives_its_last_column_what_is_left():
    lines = table(["n", "text"], [["1", "short"], ["20", "x" * 50]], width=20, aligns=["right"])
    assert lines == ["   n  text", "   1  short", "  20  " + "x" * 13 + "…"]


@given(st.floats(-5, 5), st.integers(1, 30))
def test_a_bar_is_as_long_as_its_share(value, cells):
    drawn = bar(value, 5.0, cells)
    eighths = 8 * drawn.count("█") + sum(" ▏▎▍▌▋▊▉".index(c) for c in drawn if c != "█")
    assert abs(eighths - abs(value) / 5 * cells * 8) <= 0.5


def test_a_bar_against_nothing_is_empty():
    assert bar(0.0, 0.0) == ""
    assert bar(1.0, math.nan) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.01234, "+0.0123"),
        (-2.0, "-2.00"),
        (0.0, "0"),
        (1234.5, "+1.23e+03"),
        (123.4, "+123"),
        (-0.00001234, "-1.23e-05"),
        (math.inf, "+inf"),
    ],
)
def test_an_influence_keeps_its_sign_and_three_digits(value, text):
    assert signed(value) == text


@given(st.lists(st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-4), min_size=1))
def test_a_column_of_influences_can_be_read_back(values):
    shown = signed_column(values)
    largest = max(map(abs, values))
    for value, text in zip(values, shown, strict=True):
        read = float(text.replace(",", ""))
        assert read == pytest.approx(value, rel=0.06, abs=largest * 1e-9)
        assert value == 0 or text[0] == ("+" if value > 0 else "-")


def test_values_are_shown_short():
    shown = [plain_value(v) for v in (None, math.nan, 0.123456789, 3, True, "a\nb")]
    assert shown == ["\u2013", "\u2013", "0.123457", "3", "True", "a⏎b"]


@given(st.sets(st.integers(0, 60)))
def test_row_numbers_name_exactly_the_rows(rows):
    text = row_numbers(sorted(rows), limit=1000)
    named = set()
    for part in filter(None, text.split(", ")):
        low, _, high = part.partition("-")
        named |= set(range(int(low), int(high or low) + 1))
    assert named == rows


def test_many_row_numbers_are_counted():
    assert row_numbers(range(0, 2000, 2), limit=2) == "0, 2, … (1,000 rows)"


def test_numbers_come_with_their_noun():
    assert counted(1, "row") == "1 row"
    assert counted(1200, "match", "matches") == "1,200 matches"


@given(st.floats(-700, 700))
def test_a_probability_follows_from_the_log_odds(logit):
    probability = logistic(logit)
    assert 0 <= probability <= 1
    if abs(logit) < 30:
        assert math.log(probability / (1 - probability)) == pytest.approx(logit, abs=1e-2)
