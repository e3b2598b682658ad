"""What a traced query promises: the plain result, one map a table, or a refusal that says why."""

import datetime as dt

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from traceprop_engine.errors import (
    SqlQueryError,
    SqlStatementError,
    SqlTableError,
    SqlTraceError,
    UnsupportedSqlError,
)
from traceprop_engine.sql_queries import trace_query
from traceprop_engine.sql_queries.lookup import _bits_for, group_codes
from traceprop_engine.sql_queries.syntax import Syntax


def frames():
    return {
        "t": pd.DataFrame(
            {
                "id": np.arange(6),
                "k": [1, 1, 2, None, 2, 3],
                "x": [5.0, 6.0, 7.0, 8.0, None, 5.0],
                "s": list("aabbcc"),
            }
        ),
        "u": pd.DataFrame({"uid": [0, 1, 2], "k": [1, 2, 2], "y": [10, 20, 30]}),
    }


def plain(query, tables=None):
    with duckdb.connect(config={"threads": 1}) as connection:
        for name, table in (tables or frames()).items():
            connection.register(name, table)
        return connection.sql(query).to_arrow_table()


def parents(query, name="t", tables=None):
    row_map = trace_query(query, tables or frames()).lineage.maps[name]
    return [row_map.backward([at]).tolist() for at in range(row_map.n_out)]


def contexts(query):
    lineage = trace_query(query, frames()).lineage
    return {(each.input, each.statistic) for each in lineage.contexts}


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM t",
        "FROM t",
        "SELECT id, id, x AS id FROM t ORDER BY 1",
        "SELECT * FROM t NATURAL JOIN u ORDER BY ALL",
        "SELECT t.*, u.* FROM t JOIN u ON t.k = u.k ORDER BY ALL",
        "SELECT COLUMNS(*) FROM t LIMIT 3",
        "SELECT COLUMNS('^[ix]') FROM t",
        "SELECT max(COLUMNS(*)) FROM t",
        "SELECT * EXCLUDE (x) REPLACE (k + 1 AS k) FROM t",
        "SELECT * RENAME (x AS z) FROM t",
        "SELECT sum(x), avg(x), NULL, [], {'a': NULL} FROM t",
        "SELECT k, list(s ORDER BY id) AS l, sum(id) AS n FROM t GROUP BY ALL ORDER BY ALL",
        "SELECT k, sum(x) FROM t GROUP BY 1 HAVING count(*) > 1 ORDER BY 2 DESC",
        "SELECT k + 1 AS k, count(*) FROM t GROUP BY k ORDER BY ALL",
        "SELECT x > 5 AS big, s, count(*) FROM t GROUP BY big, s ORDER BY ALL",
        "SELECT t.k AS k, t.s AS s, count(*) FROM t GROUP BY k, s ORDER BY ALL",
        "SELECT t.k AS patient, t.s AS site, count(*) FROM t GROUP BY ALL ORDER BY ALL",
        "SELECT DISTINCT s FROM t ORDER BY s",
        "SELECT DISTINCT t.s AS site, 1 + k AS next FROM t ORDER BY ALL",
        "SELECT DISTINCT 1 FROM t WHERE false",
        "SELECT DISTINCT count(*) AS n FROM t GROUP BY k ORDER BY 1",
        "SELECT k, s, grouping(k), count(*) FROM t GROUP BY ROLLUP (k, s) ORDER BY ALL",
        "SELECT k FROM t UNION SELECT y FROM u ORDER BY 1",
        "SELECT k FROM t EXCEPT SELECT k FROM u ORDER BY 1",
        "(SELECT id FROM t ORDER BY x DESC LIMIT 2) UNION ALL SELECT uid FROM u",
        "SELECT id, s FROM t UNION ALL BY NAME SELECT uid AS id, y FROM u",
        "WITH c(n) AS (SELECT count(*) FROM t) SELECT n, (SELECT max(y) FROM u) FROM c",
        "SELECT *, lag(x) OVER w FROM t WINDOW w AS (ORDER BY id)",
        "SELECT id FROM t ORDER BY id LIMIT 50%",
        "SELECT 1 AS one",
        "SELECT sum(n * 2) / 3 AS h FROM (SELECT k, sum(id) AS n FROM t GROUP BY k)",
        "SELECT DATE '2020-01-01' + INTERVAL 1 MONTH AS d, 0.1::DECIMAL(4, 2), 'it''s' FROM t",
        "SELECT CASE WHEN x > 6 THEN s ELSE upper(s) END || '!' AS c, x::INT // 2 FROM t",
        "SELECT list_transform([1, 2], lambda e: e + id) AS l, s[1], id BETWEEN 1 AND 3 FROM t",
        "SELECT DISTINCT ON (s) s, id FROM t ORDER BY s, id DESC",
        "SELECT x FROM t AS x",
        "SELECT #4, #1 FROM t",
        "SELECT id, y FROM t JOIN u USING (k) ORDER BY #2, #1",
    ],
)
def test_the_result_is_that_of_plain_duckdb(query):
    traced = trace_query(query, frames()).table
    assert traced.schema == plain(query).schema
    assert traced.to_pylist() == plain(query).to_pylist()
    assert traced.column_names == plain(query).column_names


@pytest.mark.parametrize(
    "query",
    [
        "SELECT DISTINCT s COLLATE NOCASE AS s FROM r",
        "SELECT DISTINCT * FROM (SELECT s COLLATE NOCASE AS s FROM r)",
        "SELECT s COLLATE NOCASE AS s FROM r UNION SELECT 'A'",
        "SELECT s COLLATE NOCASE AS s FROM r INTERSECT SELECT 'A'",
        "SELECT s COLLATE NOCASE AS s FROM r EXCEPT SELECT 'B'",
    ],
)
def test_texts_that_a_collation_makes_equal_are_one_row(query):
    tables = {"r": pd.DataFrame({"s": ["A", "a", "b"]})}
    found, expected = trace_query(query, tables).table, plain(query, tables)
    assert sorted(found.column(0).to_pylist()) == sorted(expected.column(0).to_pylist())
    assert [0, 1] in parents(query, "r", tables)


def test_types_of_arrow_tables_are_kept():
    table = pa.table(
        {
            "a": pa.array([1, 2, None], type=pa.int8()),
            "t": pa.array([dt.datetime(2020, 1, 1)] * 3, type=pa.timestamp("us", tz="UTC")),  # noqa: DTZ001 (Arrow adds the zone)
            "d": pa.array(["x", "y", "x"]).dictionary_encode(),
            "n": pa.array([{"p": [1]}, None, {"p": []}]),
        }
    )
    traced = trace_query("SELECT * FROM r WHERE a > 1", {"r": table})
    assert traced.table.schema == plain("SELECT * FROM r WHERE a > 1", {"r": table}).schema
    assert traced.lineage.maps["r"].backward([0]).tolist() == [1]


@pytest.mark.parametrize(
    ("query", "clause"),
    [
        ("SELECT * FROM read_csv('a.csv')", "the table function 'read_csv'"),
        ("SELECT * FROM t, glob('*')", "the table function 'glob'"),
        ("FROM t PIVOT (sum(x) FOR k IN (1, 2))", "PIVOT"),
        ("FROM t UNPIVOT (v FOR n IN (id, k))", "PIVOT"),
        ("DESCRIBE t", "DESCRIBE"),
        ("SUMMARIZE t", "SUMMARIZE"),
        (
            "WITH RECURSIVE r AS (SELECT 1 a UNION ALL SELECT a + 1 FROM r WHERE a < 3) FROM r",
            "a recursive WITH",
        ),
        ("SELECT k FROM t EXCEPT ALL SELECT k FROM u", "EXCEPT ALL"),
        ("SELECT k FROM t INTERSECT ALL SELECT k FROM u", "INTERSECT ALL"),
        ("SELECT t FROM t", "a whole row"),
        ("SELECT count(t) FROM t", "a whole row"),
        ("SELECT hash(a) FROM (SELECT k FROM t) AS a", "a whole row"),
        ("SELECT temp.t FROM t", "a whole row"),
        ("SELECT z.w FROM t, LATERAL (SELECT t AS w) AS z", "a whole row"),
        ("SELECT (SELECT max(t) FROM u) FROM t", "a whole row"),
        ("SELECT COLUMNS('.*') FROM t", "COLUMNS with a pattern"),
        ("SELECT #5 FROM t, u", "a column of a join by its place"),
        ("SELECT 1 FROM t, u GROUP BY #5", "a column of a join by its place"),
        ("SELECT id FROM t JOIN u ON #2 = #6", "a column of a join by its place"),
        ("SELECT * FROM t, LATERAL (SELECT count(*) FROM u WHERE u.k = t.k)", "in its place"),
        ("SELECT * FROM t AT (VERSION => 1)", "AT"),
        ("SELECT id FROM t WHERE current_query() LIKE '%a%'", "current_query(), the value of"),
        ("SELECT (SELECT any_value(main.stats(uid)) FROM u) FROM t", "stats(), the value of"),
        ("SELECT x.nextval() FROM (SELECT 'q' AS x FROM t)", "nextval(), the value of"),
        ("SELECT id AS __tp_row_1 FROM t", "names that begin with '__tp_'"),
        (
            "SELECT DISTINCT s, rank() OVER (ORDER BY x) AS r FROM t ORDER BY r + 1",
            "DISTINCT of aggregates, windows or unnest",
        ),
    ],
)
def test_what_cannot_be_followed_is_refused_by_name(query, clause):
    with pytest.raises(UnsupportedSqlError) as caught:
        trace_query(query, frames())
    message = str(caught.value)
    assert clause in message
    assert "\n" not in message
    assert ";" in message


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("INSERT INTO t VALUES (1)", "no SELECT"),
        ("CREATE TABLE q AS FROM t", "no SELECT"),
        ("PIVOT t ON k USING sum(x)", "no SELECT"),
        ("SELECT 1; SELECT 2", "2 statements"),
        ("", "0 statements"),
    ],
)
def test_a_text_that_is_not_one_select_is_refused(query, found):
    with pytest.raises(SqlStatementError, match=found):
        trace_query(query, frames())


@pytest.mark.parametrize("query", ["SELEC 1", "SELECT nope FROM t", "SELECT k FROM t GROUP BY x"])
def test_what_duckdb_refuses_is_said_in_one_line(query):
    with pytest.raises(SqlQueryError, match="DuckDB refuses the query") as caught:
        trace_query(query, frames())
    assert "\n" not in str(caught.value)


def test_a_query_that_fails_while_it_runs_is_an_error_of_ours():
    with pytest.raises(SqlQueryError, match="Conversion Error"):
        trace_query("SELECT s::INTEGER FROM t", frames())


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM missing",
        "SELECT * FROM t WHERE k IN (SELECT k FROM missing)",
        "SELECT * FROM 'file.csv'",
        "SELECT * FROM main.t",
        "SELECT * FROM duckdb_tables",
        "WITH c AS (SELECT * FROM c) SELECT * FROM c",
    ],
)
def test_a_table_that_was_not_passed_is_named(query):
    with pytest.raises(SqlTableError, match="not among the tables"):
        trace_query(query, frames())


@pytest.mark.parametrize(
    ("tables", "problem"),
    [
        ({"t": [1, 2]}, "is a list"),
        ({"t": pa.table({})}, "DuckDB cannot read the table 't'"),
        ({"": pd.DataFrame({"a": [1]})}, "cannot be called ''"),
        ({"__tp_x": pd.DataFrame({"a": [1]})}, "cannot be called"),
        ({"a": pd.DataFrame({"a": [1]}), "A": pd.DataFrame({"a": [1]})}, "one name in SQL"),
        ({"t": pd.DataFrame({"__tp_row_1": [1]})}, "has a column '__tp_row_1'"),
        ({"t": pd.DataFrame({"a": [1], "__tp_row": [2]})}, "has a column '__tp_row'"),
        ({"t": pd.DataFrame({"a": [1], "__TP_ROW": [2]})}, "has a column '__TP_ROW'"),
        ({"t": pa.table({"a": [1], "__tp_row": [2]})}, "has a column '__tp_row'"),
        ({"t": pd.DataFrame({("a", "b"): [1]})}, "columns of several levels"),
    ],
)
def test_a_table_that_cannot_be_an_input_is_named(tables, problem):
    with pytest.raises(SqlTableError, match=problem):
        trace_query("SELECT 1", tables)


def test_result_and_parents_come_from_one_run_of_a_query_that_never_gives_the_same_twice():
    many = {"r": pd.DataFrame({"id": np.arange(2000), "k": np.arange(2000) % 7})}
    for query in (
        "SELECT id FROM r WHERE random() < 0.5",
        "WITH c AS (SELECT id, random() AS z FROM r) SELECT a.id FROM c a JOIN c b USING (z)",
        "SELECT id FROM r USING SAMPLE 10%",
        "SELECT id FROM r TABLESAMPLE 50 PERCENT (bernoulli)",
        "SELECT id FROM (SELECT id, random() AS z FROM r) ORDER BY z LIMIT 100",
    ):
        traced = trace_query(query, many)
        ids = traced.table.column("id").to_pylist()
        found = traced.lineage.maps["r"].pairs()[1]
        assert sorted(found.tolist()) == sorted(ids), query
        in_order = [traced.lineage.maps["r"].backward([at]).tolist() for at in range(len(ids))]
        assert in_order == [[each] for each in ids], query


def test_groups_of_a_random_key_have_the_rows_that_went_in():
    many = {"r": pd.DataFrame({"id": np.arange(500)})}
    query = (
        "WITH c AS (SELECT id, floor(random() * 5) AS g FROM r) "
        "SELECT g, list(id ORDER BY id) AS l FROM c GROUP BY g"
    )
    traced = trace_query(query, many)
    found = [traced.lineage.maps["r"].backward([at]).tolist() for at in range(len(traced.table))]
    assert found == traced.table.column("l").to_pylist()
    inside = trace_query("SELECT list(id) AS l FROM r GROUP BY floor(random() * 5)", many)
    for at, members in enumerate(inside.table.column("l").to_pylist()):
        assert inside.lineage.maps["r"].backward([at]).tolist() == sorted(members)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT avg(x) FROM t", [[0, 1, 2, 3, 4, 5]]),
        ("SELECT avg(x) FROM t WHERE x > 6", [[2, 3]]),
        ("SELECT avg(x) FROM t WHERE false", [[]]),
        ("SELECT k, sum(x) FROM t GROUP BY k ORDER BY k", [[0, 1], [2, 4], [5], [3]]),
        ("SELECT s, k FROM t GROUP BY s, k ORDER BY s LIMIT 0", []),
        ("SELECT s FROM t GROUP BY s ORDER BY s LIMIT 1 OFFSET 1", [[2, 3]]),
        ("SELECT DISTINCT s FROM t ORDER BY s", [[0, 1], [2, 3], [4, 5]]),
        ("SELECT s FROM t UNION SELECT s FROM t ORDER BY s", [[0, 1], [2, 3], [4, 5]]),
        ("SELECT uid FROM u LEFT JOIN t ON t.k = u.k AND t.id < 2 ORDER BY ALL",
         [[0], [1], [], []]),
        ("SELECT a FROM t AS r(a, b) WHERE b = 2", [[2], [4]]),
        ("SELECT a.id FROM t a JOIN t b ON a.id = b.id + 1 ORDER BY ALL",
         [[0, 1], [1, 2], [2, 3], [3, 4], [4, 5]]),
        ("SELECT a.id FROM t a LEFT JOIN t b ON a.id = b.id + 5 ORDER BY ALL",
         [[0], [1], [2], [3], [4], [0, 5]]),
        ("SELECT id, sum(x) OVER (ORDER BY id) FROM t ORDER BY id DESC LIMIT 2", [[5], [4]]),
        ("SELECT uid FROM u", [[], [], []]),
    ],
)  # fmt: skip
def test_parents_are_the_rows_that_went_in(query, expected):
    assert parents(query) == expected


def test_an_aggregation_is_held_as_the_group_of_each_row():
    grouped = trace_query("SELECT s, max(x) FROM t GROUP BY s", frames()).lineage.maps["t"]
    assert grouped.kind == "groups"
    assert trace_query("SELECT max(x) FROM t", frames()).lineage.maps["t"].kind == "groups"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT * FROM t WHERE k IN (SELECT k FROM u)", {("u", "IN (SELECT ...)")}),
        ("SELECT * FROM t WHERE EXISTS (FROM u WHERE u.k = t.k)", {("u", "EXISTS (SELECT ...)")}),
        ("SELECT id, (SELECT max(y) FROM u) FROM t", {("u", "scalar subquery")}),
        ("SELECT * FROM t WHERE x > (SELECT avg(x) FROM t)", {("t", "scalar subquery")}),
        ("SELECT *, rank() OVER (ORDER BY x) FROM t", {("t", "window")}),
        ("SELECT * FROM t QUALIFY rank() OVER (ORDER BY x) = 1",
         {("t", "QUALIFY"), ("t", "window")}),
        ("SELECT k FROM t GROUP BY k HAVING count(*) > 1", {("t", "HAVING")}),
        ("SELECT * FROM t LIMIT 2", {("t", "LIMIT")}),
        ("SELECT DISTINCT ON (k) * FROM t ORDER BY k, id", {("t", "DISTINCT ON")}),
        ("SELECT * FROM t ANTI JOIN u USING (k)", {("u", "ANTI JOIN")}),
        ("SELECT k FROM t EXCEPT SELECT k FROM u", {("u", "EXCEPT")}),
        ("SELECT t.id FROM t LEFT JOIN u USING (k) WHERE y IS NULL",
         {("u", "WHERE by values of other rows")}),
        ("SELECT * FROM (SELECT k, sum(x) AS s FROM t GROUP BY k) WHERE s > 5",
         {("t", "WHERE by values of other rows")}),
        ("SELECT * FROM (SELECT k, sum(x) AS s FROM t GROUP BY k) WHERE k > 1", set()),
        ("SELECT * FROM u JOIN (SELECT k, avg(x) AS m FROM t GROUP BY k) AS g USING (k)", set()),
        ("SELECT n, count(*) FROM (SELECT k, count(*) AS n FROM t GROUP BY k) GROUP BY n",
         {("t", "GROUP BY values of other rows")}),
        ("SELECT * FROM (SELECT count(*) AS n FROM t GROUP BY k), (SELECT uid FROM u) WHERE n < 2",
         {("t", "WHERE by values of other rows")}),
        ("SELECT t.id FROM t LEFT JOIN (SELECT k, y AS z FROM u) AS u ON t.k = u.k WHERE z IS NULL",
         {("u", "WHERE by values of other rows")}),
        ("SELECT DISTINCT n FROM (SELECT k, count(*) AS n FROM t GROUP BY k)",
         {("t", "DISTINCT by values of other rows")}),
        ("SELECT DISTINCT k FROM (SELECT k, count(*) AS n FROM t GROUP BY k)", set()),
        ("SELECT count(*) FROM t GROUP BY k UNION BY NAME SELECT uid FROM u",
         {("t", "UNION BY NAME by values of other rows")}),
        ("SELECT k FROM t UNION SELECT uid FROM u", set()),
        ("SELECT * FROM t JOIN u USING (k) ORDER BY ALL", set()),
    ],
)  # fmt: skip
def test_what_the_whole_result_depends_on_is_a_context(query, expected):
    assert contexts(query) == expected


@pytest.mark.parametrize(
    ("query", "statistic"),
    [
        ("FROM g, LATERAL (SELECT uid FROM u AS g WHERE n < 2)", "WHERE by values of other rows"),
        ("FROM g, LATERAL (FROM range(10 - 4 * g.n))", "JOIN by values of other rows"),
        (
            "FROM g, LATERAL (FROM (VALUES (g.n))) AS v WHERE col0 < 2",
            "WHERE by values of other rows",
        ),
    ],
)
def test_a_count_that_decides_on_rows_inside_lateral_is_a_context(query, statistic):
    counts = "WITH g AS (SELECT count(*) AS n FROM t GROUP BY k) "
    assert contexts(counts + query) == {("t", statistic)}


def test_a_table_that_is_only_looked_at_has_a_context_map():
    lineage = trace_query("SELECT * FROM t WHERE k IN (SELECT k FROM u)", frames()).lineage
    assert lineage.maps["u"].kind == "context"
    assert lineage.maps["t"].kind == "select"
    assert lineage.fidelity == "exact"


def test_the_statements_that_ran_are_told_with_their_rows():
    query = (
        "SELECT * FROM (SELECT k, count(*) AS n FROM t GROUP BY k) JOIN u USING (k) WHERE y > 10"
    )
    ops = trace_query(query, frames()).lineage.ops
    assert [(op.n_rows_in, op.n_rows_out) for op in ops] == [((6,), 4), ((6, 3), 2)]
    assert ops[0].detail == "FROM t, GROUP BY"
    assert "WHERE" in ops[1].detail


def test_the_connection_of_the_user_is_left_as_it_is():
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT 42 AS answer")
        connection.execute("CREATE TABLE hidden AS SELECT 1 AS a")
        connection.create_function("twice", lambda x: x * 2, ["BIGINT"], "BIGINT")
        traced = trace_query(
            "SELECT twice(id) AS z FROM t WHERE id > 3", frames(), connection=connection
        )
        assert traced.table.column("z").to_pylist() == [8, 10]
        assert traced.lineage.maps["t"].pairs()[1].tolist() == [4, 5]
        assert connection.sql("FROM t").fetchall() == [(42,)]
        assert connection.sql("SELECT count(*) FROM duckdb_tables()").fetchall() == [(2,)]
        with pytest.raises(SqlTableError, match="hidden"):
            trace_query("SELECT * FROM hidden", frames(), connection=connection)


def test_a_macro_that_could_read_anything_is_refused():
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE secret AS SELECT 1 AS a")
        connection.execute("CREATE MACRO total() AS (SELECT sum(a) FROM secret)")
        with pytest.raises(UnsupportedSqlError, match="the macro 'total'"):
            trace_query("SELECT id, total() FROM t", frames(), connection=connection)


def test_several_threads_give_the_same_rows_with_their_own_parents():
    many = {"r": pd.DataFrame({"id": np.arange(300_000), "k": np.arange(300_000) * 7 % 1009})}
    with duckdb.connect(config={"threads": 4}) as connection:
        traced = trace_query(
            "SELECT k, bit_xor(id) AS x, count(*) AS n FROM r GROUP BY k",
            many,
            connection=connection,
        )
    keys = traced.table.column("k").to_numpy()
    codes = np.full(1009, -1)
    codes[keys] = np.arange(len(keys))
    expected = codes[many["r"]["k"].to_numpy()]
    out_rows, in_rows = traced.lineage.maps["r"].pairs()
    found = np.full(300_000, -1)
    found[in_rows] = out_rows
    assert np.array_equal(found, expected)


def test_groups_by_text_and_by_wide_numbers_are_found_by_their_hash():
    rng = np.random.default_rng(0)
    wide = rng.integers(-(2**62), 2**62, 3000)
    many = {
        "r": pd.DataFrame(
            {
                "id": np.arange(20_000),
                "w": rng.choice(wide, 20_000),
                "s": rng.choice(list("abc"), 20_000),
            }
        )
    }
    for keys in ("w", "s", "w, s", "w + 1", "s || 'x'"):
        query = f"SELECT list(id ORDER BY id) AS l FROM r WHERE id % 3 > 0 GROUP BY {keys}"
        traced = trace_query(query, many)
        row_map = traced.lineage.maps["r"]
        for at, members in enumerate(traced.table.column("l").to_pylist()):
            assert row_map.backward([at]).tolist() == members, keys


_CHANGED_LATER = {
    "SELECT k, count(*) AS n FROM t GROUP BY k ORDER BY k": [[0, 1], [2, 4], [3]],
    "SELECT s, count(*) AS n FROM t WHERE x >= 5 GROUP BY s ORDER BY s": [[0, 1], [2, 3]],
    "SELECT DISTINCT k, lower(s) AS s FROM t ORDER BY ALL": [[0, 1], [2], [4], [3]],
    "SELECT b FROM t q(a, b) WHERE q.a <> 1 GROUP BY q.b ORDER BY 1": [[0], [2, 4], [3]],
    "SELECT sum(x) FROM t WHERE k BETWEEN 2 AND 3": [[2, 3, 4]],
    "SELECT k + 1, sum(x) FROM t GROUP BY ALL ORDER BY 1": [[0, 1], [2, 4], [3]],
    "SELECT o, count(*) FROM t GROUP BY o ORDER BY o": [[0, 3], [1, 2, 4]],
    "SELECT day, count(*) FROM t GROUP BY day ORDER BY day": [[0, 1, 3], [2, 4]],
    "SELECT x > 6 FROM t WHERE x < year(now()) GROUP BY ALL ORDER BY 1": [[0, 1, 4], [2, 3]],
    "SELECT 1 FROM t JOIN t z USING (id) GROUP BY t.k ORDER BY t.k": [[0, 1], [2, 4], [3]],
    "SELECT n FROM (SELECT k, max(id) n FROM t GROUP BY k) ORDER BY n": [[0, 1], [3], [2, 4]],
}


@pytest.mark.parametrize("query", _CHANGED_LATER)
@pytest.mark.parametrize("kind", ["copied", "shared", "arrow"])
def test_the_lineage_is_that_of_the_rows_as_they_were_when_the_query_ran(query, kind):
    ids, keys, values = np.arange(5), np.array([1, 1, 2, 3, 2]), np.array([5.0, 6, 7, 8, 0])
    columns = {"id": ids, "k": keys, "x": values}
    frame = pd.DataFrame(columns, copy=kind == "copied")
    frame["s"] = list("aabbc")
    frame["o"] = pd.Series(list("xyyxy"), dtype=object)
    frame["day"] = pd.to_datetime(["2020-01-01", "2020-01-01", "2020-02-01"] * 2)[[0, 1, 2, 3, 5]]
    table = pa.Table.from_pandas(frame) if kind == "arrow" else frame
    traced = trace_query(query, {"t": table})
    for each in columns.values():
        each[:] = 1
    frame.loc[:, "s"] = "z"
    frame.loc[:, "k"] = 9
    frame.loc[:, "o"] = "z"
    frame.loc[:, "day"] = pd.Timestamp("2021-01-01")
    row_map = traced.lineage.maps["t"]
    assert [row_map.backward([at]).tolist() for at in range(row_map.n_out)] == _CHANGED_LATER[query]
    assert traced.lineage is traced.lineage


@pytest.mark.parametrize("clock", ["current_localtimestamp()", "current_localtime()"])
def test_a_second_look_that_reads_a_clock_does_not_wait(clock):
    days = pd.DataFrame({"day": pd.to_datetime(["2020-01-01", "2020-01-01", "2020-02-01"])})
    query = f"SELECT count(*) AS n FROM t GROUP BY day, {clock} ORDER BY n"
    row_map = trace_query(query, {"t": days}).lineage.maps["t"]
    assert [row_map.backward([at]).tolist() for at in (0, 1)] == [[2], [0, 1]]


def test_rows_that_cannot_be_found_again_are_no_silent_lineage(monkeypatch):
    traced = trace_query("SELECT s, count(*) FROM t GROUP BY s", frames())
    monkeypatch.setattr("traceprop_engine.sql_queries.deferred.group_codes", lambda *_: None)
    for _ in range(2):
        with pytest.raises(SqlTraceError, match="other rows"):
            traced.lineage  # noqa: B018 (asking for it is what fails)


@pytest.mark.parametrize("dropped", [4, 2**63 - 1, -(2**63)])
def test_missing_keys_are_no_group_that_was_dropped(dropped):
    keys = pa.array([None, 3, dropped, None, 3], type=pa.int64())
    query = "SELECT k, count(*) AS n FROM t GROUP BY k HAVING count(*) > 1 ORDER BY k"
    row_map = trace_query(query, {"t": pa.table({"k": keys})}).lineage.maps["t"]
    assert [row_map.backward([at]).tolist() for at in (0, 1)] == [[1, 4], [0, 3]]


def test_keys_that_do_not_tell_groups_apart_are_noticed():
    rows, groups = pa.chunked_array([[7, 7, 7, 9]]), pa.chunked_array([[7, 9]])
    assert group_codes(rows, groups, np.array([3, 1])).tolist() == [0, 0, 0, 1]
    assert group_codes(rows, groups, np.array([2, 1])) is None
    assert group_codes(rows, pa.chunked_array([[7, 7, 9]]), np.array([2, 1, 1])) is None


@pytest.mark.parametrize("n_groups", [1, 2, 7, 300, 20_000])
@pytest.mark.parametrize("others", [0, 50])
def test_wide_keys_are_looked_up_as_in_a_dictionary(n_groups, others):
    rng = np.random.default_rng(n_groups)
    known = np.unique(rng.integers(0, 2**64, n_groups + others, dtype=np.uint64))
    rng.shuffle(known)
    groups, rows = known[: len(known) - others], known[rng.integers(0, len(known), 3 * n_groups)]
    of_key = {key: at for at, key in enumerate(groups.tolist())}
    expected = np.array([of_key.get(key, -1) for key in rows.tolist()])
    counts = np.bincount(expected[expected >= 0], minlength=len(groups))
    found = group_codes(pa.chunked_array([rows]), pa.chunked_array([groups]), counts)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("n_groups", [1, 2, 5, 300, 2**20, 2**22 + 1, 2**24, 2**26])
def test_there_are_places_enough_for_any_number_of_groups(n_groups):
    # With fewer, eight rounds place not all: of fifty million groups on 2**24 places, none agreed.
    assert 1 << _bits_for(n_groups) >= 2 * n_groups


def test_two_groups_of_one_hash_are_noticed():
    wide = np.array([2**63, 5, 2**63], dtype=np.uint64)
    rows, groups = pa.chunked_array([wide]), pa.chunked_array([wide])
    assert group_codes(rows, groups, np.array([1, 1, 1])) is None


def test_a_row_is_of_no_group_whose_key_it_does_not_have():
    keys = np.random.default_rng(0).integers(0, 2**64, 100, dtype=np.uint64)
    groups = pa.chunked_array([keys[:1]])
    for other in keys[1:]:
        rows = pa.chunked_array([np.array([keys[0], other])])
        assert group_codes(rows, groups, np.array([2])) is None


def test_spellings_that_a_collation_makes_equal_are_one_group_whatever_their_hashes():
    # With other hashes each, of which two pairs have one place in a table for two groups.
    spelled = pd.DataFrame({"s": ["abe", "ABE", "aae", "AAE"]})
    query = "SELECT s FROM (SELECT s COLLATE NOCASE AS s FROM t) GROUP BY s ORDER BY s"
    row_map = trace_query(query, {"t": spelled}).lineage.maps["t"]
    assert [row_map.backward([at]).tolist() for at in (0, 1)] == [[2, 3], [0, 1]]


def test_missing_keys_are_a_group_of_their_own():
    rows = pa.chunked_array([[5, None, 5, None]], type=pa.int64())
    groups = pa.chunked_array([[None, 5]], type=pa.int64())
    assert group_codes(rows, groups, np.array([2, 2])).tolist() == [1, 0, 1, 0]
    assert group_codes(rows, groups.slice(1), np.array([2])).tolist() == [0, -1, 0, -1]


def test_a_query_that_is_printed_as_another_one_does_not_run(monkeypatch):
    with duckdb.connect() as connection:
        syntax = Syntax(connection)
        node = syntax.parse("SELECT 1 AS a")
        node["select_list"][0]["alias"] = ""
        node["select_list"][0]["unheard_of"] = "x"
        with pytest.raises(SqlTraceError, match="prints another query"):
            syntax.text(node)


def test_no_rows_and_no_tables_are_fine():
    empty = frames() | {"t": frames()["t"].head(0)}
    assert trace_query("SELECT count(*) FROM t", empty).lineage.maps["t"].n_in == 0
    assert trace_query("SELECT k, sum(x) FROM t GROUP BY k", empty).table.num_rows == 0
    assert trace_query("SELECT * FROM t JOIN u USING (k)", empty).lineage.maps["u"].n_out == 0
    assert trace_query("VALUES (1), (2)", {}).lineage.maps == {}
