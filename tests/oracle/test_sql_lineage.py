"""Row maps of random queries against brute force: delete a source row, run again, compare.

A second oracle stands in the queries themselves: bit masks of the rows that each row was made of.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from tests.oracle.sql_queries import MASKS, Grammar, tables
from traceprop_engine.lineage import CapturedLineage
from traceprop_engine.sql_queries import trace_query

pytestmark = pytest.mark.oracle
N_BATCHES, PER_BATCH = 18, 12


@pytest.fixture(scope="module")
def plain() -> Iterator[duckdb.DuckDBPyConnection]:
    """The tables, from each of which one row can be taken away."""
    with connected(tables()) as connection:
        yield connection


@contextmanager
def connected(frames: Mapping[str, pd.DataFrame]) -> Iterator[duckdb.DuckDBPyConnection]:
    """Lend a DuckDB with tables, from each of which one row can be taken away."""
    with duckdb.connect(config={"threads": 1}) as connection:
        for name, frame in frames.items():
            connection.register("frame", frame)
            connection.execute(f"CREATE TABLE {name}_all AS FROM frame")
            connection.execute(
                f"CREATE VIEW {name} AS FROM {name}_all "
                f"WHERE id IS DISTINCT FROM getvariable('{name}_gone')"
            )
        yield connection


def rows_of(table: pa.Table) -> list[tuple]:
    return list(zip(*[column.to_pylist() for column in table.columns], strict=True))


def rows_without(plain: duckdb.DuckDBPyConnection, sql: str, name: str, row: int) -> list[tuple]:
    plain.execute(f"SET VARIABLE {name}_gone = {row}")
    found = plain.sql(sql).fetchall()
    plain.execute(f"RESET VARIABLE {name}_gone")
    return found


def unexplained(
    plain: duckdb.DuckDBPyConnection, sql: str, rows: list[tuple], lineage: CapturedLineage
) -> list[str]:
    """Return what a deletion changes without the lineage saying that it may."""
    in_context = {each.input for each in lineage.contexts}
    problems = []
    for name, row_map in lineage.maps.items():
        for row in () if name in in_context else range(row_map.n_in):
            after = Counter(rows_without(plain, sql, name, row))
            gone, new = Counter(rows) - after, after - Counter(rows)
            reached = Counter(rows[at] for at in row_map.forward([row]))
            if gone - reached or new.total() > reached.total():
                problems.append(f"{name}[{row}]: {gone} -> {new}, said {reached}")
    return problems


def misplaced(table: pa.Table, lineage: CapturedLineage) -> list[str]:
    """Return where a map differs from the bit masks of the result."""
    in_context = {each.input for each in lineage.contexts}
    problems = []
    for name, mask in MASKS.items():
        row_map = lineage.maps[name]
        only_context = row_map.kind == "context" and name in in_context
        for at, bits in enumerate(table.column(mask).to_pylist()):
            planted = [row for row in range(row_map.n_in) if bits >> row & 1]
            found = [] if only_context else row_map.backward([at]).tolist()
            if planted != found:
                problems.append(f"{name}, output row {at}: {found}, planted {planted}")
    return problems


@pytest.mark.parametrize("batch", range(N_BATCHES))
def test_every_change_by_a_deletion_is_in_the_row_maps(
    plain: duckdb.DuckDBPyConnection, batch: int
) -> None:
    frames = tables()
    for seed in range(batch * PER_BATCH, (batch + 1) * PER_BATCH):
        made = Grammar(seed).query()
        traced = trace_query(made.sql, frames)
        expected = plain.sql(made.sql).to_arrow_table()
        assert traced.table.schema == expected.schema, made.sql
        if made.sql.endswith("ORDER BY ALL"):
            assert traced.table == expected, made.sql
        rows = rows_of(traced.table)
        assert Counter(rows) == Counter(rows_of(expected)), made.sql
        assert unexplained(plain, made.sql, rows, traced.lineage) == [], made.sql
        if made.is_planted:
            assert misplaced(traced.table, traced.lineage) == [], made.sql
