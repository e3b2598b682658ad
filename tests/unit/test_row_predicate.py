"""Choosing rows by a condition: what it finds, and what it must not be able to do."""

import duckdb
import numpy as np
import pandas as pd
import pytest

from traceprop_engine.errors import RowPredicateError
from traceprop_engine.row_predicate import rows_where

TABLE = pd.DataFrame(
    {
        "id": [1, 7, 7, 9],
        "name": ["Ann", "it's", None, "Bo"],
        "A b": [1.5, np.nan, 3.5, 4.5],
        "when": pd.to_datetime(["2024-01-01", "2024-06-01", "2025-01-01", None]),
    },
    index=[10, 10, 3, 4],
)


@pytest.mark.parametrize(
    ("predicate", "rows"),
    [
        ("id = 7", [1, 2]),
        ("id == 7 and name is null", [2]),
        ("ID = 7", [1, 2]),
        ("name = 'it''s'", [1]),
        ('"A b" > 2', [2, 3]),
        ('"A b" < 2 or id = 9', [0, 3]),
        ("\"when\" >= date '2024-06-01'", [1, 2]),
        ("id in (1, 9)", [0, 3]),
        ("name <> 'Ann'", [1, 3]),
        ("id = 100", []),
        ("id = 7 -- the patient", [1, 2]),
        ("true", [0, 1, 2, 3]),
    ],
)
def test_a_condition_finds_its_rows_in_order(predicate, rows):
    found = rows_where(TABLE, predicate)
    assert found.tolist() == rows
    assert found.dtype == np.int64


def test_a_large_table_keeps_its_row_numbers():
    values = np.random.default_rng(0).integers(0, 50, size=300_000)
    found = rows_where(pd.DataFrame({"id": values}), "id = 7")
    assert np.array_equal(found, np.flatnonzero(values == 7))


def test_named_levels_of_the_index_are_columns():
    indexed = TABLE.set_index(["id", "name"])
    assert rows_where(indexed, "id = 7 and name is null").tolist() == [2]


def test_a_table_without_rows_has_none():
    assert rows_where(TABLE.iloc[:0], "id = 7").tolist() == []


def test_a_column_called_row_is_the_tables_own():
    assert rows_where(pd.DataFrame({"row": [5, 6], "row_": [1, 2]}), "row = 6").tolist() == [1]


@pytest.mark.parametrize(
    ("predicate", "words"),
    [
        ("idd = 7", "no column 'idd'; did you mean 'id'"),
        ('name = "Ann"', "Text stands in single quotes"),
        ("id", "type BIGINT and not a yes or no"),
        ("COLUMNS(*) is null", "gives several values"),
        ("", "cannot be used"),
        ("id = 'x'", "Could not convert string 'x'"),
        ("id = ?", "Values were not provided"),
        ("max(id) = 7", "aggregates"),
        ("row_number() over () = 1", "window functions"),
        ("id = 7, true", "single expression"),
        ("id = 7; select 1", "more than one statement"),
        ("id = 7) or (true", "syntax error"),
        ("id = 7 limit 1", "modifier"),
        ("select 1", "syntax error"),
    ],
)
def test_what_is_no_condition_is_refused_in_one_line(predicate, words):
    with pytest.raises(RowPredicateError) as caught:
        rows_where(TABLE, predicate)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_condition_reaches_no_file(tmp_path):
    file = tmp_path / "secret.csv"
    file.write_text("a\n1\n")
    # The control: without the seal the same expression would read the file.
    expression = f"exists (from read_csv('{file}'))"
    assert duckdb.sql(f"select {expression}").fetchall() == [(True,)]
    for predicate in (expression, f"exists (from '{file}')", "exists (from glob('/*'))"):
        with pytest.raises(RowPredicateError, match="disabled by configuration"):
            rows_where(TABLE, predicate)


@pytest.mark.parametrize("variable", ["frame", "numbered", "relation"])
def test_a_condition_reaches_no_variable_of_the_program(variable):
    with pytest.raises(RowPredicateError, match=f"{variable} does not exist"):
        rows_where(TABLE, f"exists (from {variable})")


def test_columns_that_differ_in_case_only_are_not_guessed():
    with pytest.raises(RowPredicateError, match="'id', 'ID' differ in case"):
        rows_where(pd.DataFrame({"id": [1], "ID": [2]}), "id = 1")


def test_values_of_mixed_kinds_are_refused_in_one_line():
    mixed = pd.DataFrame({"id": [1, "x", 2.5]}, dtype=object)
    with pytest.raises(RowPredicateError, match="mixed kinds") as caught:
        rows_where(mixed, "id = 1")
    assert "\n" not in str(caught.value)
