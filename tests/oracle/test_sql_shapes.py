"""Row maps of hand-written queries at the edges of SQL, against deletion and planted lists."""

from collections import Counter
from collections.abc import Iterator

import duckdb
import numpy as np
import pandas as pd
import pytest

from tests.oracle.test_sql_lineage import connected, rows_of, unexplained
from traceprop_engine.sql_queries import trace_query

pytestmark = pytest.mark.oracle
WHOLE = pd.Int64Dtype()

DELETED = [
    "SELECT t.id, u.id FROM t JOIN u ON t.k IS NOT DISTINCT FROM u.k",
    "SELECT k, count(*) FROM t FULL JOIN u USING (k) GROUP BY k",
    "SELECT * FROM t NATURAL FULL JOIN (SELECT k, y FROM u) u",
    "SELECT t.id, a.id, b.id FROM t LEFT JOIN u a ON t.k = a.k FULL JOIN u b ON b.id = a.id",
    "SELECT t.id, u.id FROM t LEFT JOIN (u JOIN w ON u.id = w.id) ON t.k = u.k",
    "SELECT t.id, y FROM t ASOF LEFT JOIN u USING (k, day)",
    "SELECT t.id, u.id FROM t ASOF JOIN u ON t.day < u.day",
    "SELECT t.k, count(u.y) FROM t ASOF JOIN u ON t.day >= u.day GROUP BY t.k",
    "SELECT t.k, count(*) FROM t POSITIONAL JOIN u GROUP BY t.k",
    "SELECT k, id FROM t SEMI JOIN (SELECT k FROM u GROUP BY k HAVING count(*) > 1) q USING (k)",
    "SELECT id FROM t ANTI JOIN (SELECT k FROM u WHERE y > (SELECT avg(y) FROM u)) q USING (k)",
    "SELECT t.id, z.y FROM t, LATERAL (SELECT y FROM u WHERE u.k = t.k ORDER BY y LIMIT 1) z",
    "SELECT t.id, c FROM t, LATERAL (SELECT row_number() OVER () c FROM u WHERE u.k = t.k) z",
    "SELECT t.id, c FROM t, LATERAL (VALUES (t.k), (t.x)) v(c) WHERE c IS NOT NULL",
    "SELECT id, row_number() OVER (ORDER BY id) AS n FROM t QUALIFY n <= 2",
    "SELECT count(*) FROM t QUALIFY row_number() OVER () = 1",
    "SELECT p.id, u.id FROM (SELECT id, lag(k) OVER (ORDER BY id) q FROM t) p JOIN u ON q = u.k",
    "SELECT p, count(*) FROM (SELECT lag(x) OVER (ORDER BY id) AS p FROM t) GROUP BY p",
    "SELECT k, s, sum(x)::INT, grouping_id(k, s) FROM t GROUP BY CUBE (k, s)",
    "SELECT k, s, count(*) FROM t GROUP BY k, ROLLUP (s)",
    "SELECT k, max(x) FROM t GROUP BY ROLLUP (k) HAVING grouping(k) = 1",
    "SELECT k, count(*) FILTER (s = 'a'), string_agg(s, ',' ORDER BY id DESC) FROM t GROUP BY k",
    "SELECT k, first(s ORDER BY id DESC) AS f FROM t GROUP BY ALL HAVING f IS NOT NULL",
    "SELECT DISTINCT ON (k) k, s FROM t ORDER BY k, x",
    "SELECT k, max(x) FROM (SELECT DISTINCT ON (k) k, x FROM t ORDER BY k, x) GROUP BY k",
    "SELECT DISTINCT k, count(*) OVER (PARTITION BY k) AS n FROM t QUALIFY n > 1",
    "SELECT (SELECT count(*) FROM u WHERE u.k = t.k) AS c, count(*) FROM t GROUP BY c",
    "SELECT k IN (SELECT k FROM u) AS i, count(*) FROM t GROUP BY ALL",
    "SELECT id FROM t WHERE k NOT IN (SELECT k FROM u)",
    "SELECT id FROM t WHERE (k, x) IN (SELECT k, y FROM u) OR x = ANY (SELECT y FROM u)",
    "SELECT k, sum(x)::INT FROM t GROUP BY k HAVING sum(x) > (SELECT avg(y) FROM u)",
    "SELECT sum(x) FILTER (k IN (SELECT k FROM u))::INT FROM t",
    "SELECT id FROM t ORDER BY (SELECT max(y) FROM u WHERE u.k = t.k), id LIMIT 3",
    "SELECT id FROM t ORDER BY x LIMIT (SELECT count(*) FROM u) OFFSET 1",
    "SELECT * FROM unnest((SELECT list(id ORDER BY id) FROM t)) AS q(e)",
    "SELECT i FROM (SELECT unnest(list(id ORDER BY id)) AS i FROM t GROUP BY k) WHERE i > 2",
    "SELECT DISTINCT unnest(l) FROM w",
    "SELECT w.id, e FROM w LEFT JOIN LATERAL (SELECT unnest(w.l)) AS q(e) ON true",
    "SELECT st.a AS k, count(*) FROM w GROUP BY k",
    "SELECT k FROM t UNION SELECT k FROM u EXCEPT SELECT 2",
    "SELECT k FROM t EXCEPT (SELECT k FROM u EXCEPT SELECT 1)",
    "(SELECT id FROM t ORDER BY id LIMIT 2) UNION (SELECT id FROM u ORDER BY id DESC LIMIT 2)",
    "SELECT k, 1 AS z FROM t UNION BY NAME SELECT k, y FROM u",
    "WITH a AS MATERIALIZED (SELECT k, count(*) n FROM t GROUP BY k) FROM a JOIN a b USING (k)",
    "WITH q AS (SELECT k FROM u) SELECT * FROM (WITH q AS (SELECT k FROM t) FROM q) z, q",
    "SELECT greatest(*COLUMNS(['id', 'k'])) AS g FROM t WHERE COLUMNS(['k', 'x']) > 1",
]

LISTED = [
    "CASE WHEN id % 2 = 0 THEN 0.0::DOUBLE ELSE -0.0::DOUBLE END",
    "CASE WHEN id < 2 THEN 'nan'::DOUBLE WHEN id < 4 THEN -'nan'::DOUBLE END",
    "CASE WHEN id % 2 = 0 THEN INTERVAL 1 MONTH ELSE INTERVAL 30 DAYS END",
    "CASE k WHEN 1 THEN 9223372036854775807 WHEN 2 THEN -9223372036854775808 END",
    "CASE k WHEN 1 THEN 18446744073709551615 WHEN 2 THEN 0 END::UBIGINT",
    "CASE k WHEN 1 THEN 127 WHEN 2 THEN -128 END::TINYINT",
    "k::HUGEINT",
    "(x % 3)::DECIMAL(5, 2)",
    "x % 3 = 0",
    "day::DATE",
    "s COLLATE NOCASE",
    "[s, s]",
    "{'a': s, 'b': k}",
    "s, k",
    "hash(k)",
    "x > (SELECT avg(y) FROM u)",
    "day < now() AND s < 'b'",
]


def frames() -> dict[str, pd.DataFrame]:
    """Return tables with missing keys, lists, structs and days."""
    days = pd.to_datetime([f"2020-01-0{at}" for at in (1, 3, 2, 6, 5, 4, 3)])
    return {
        "t": pd.DataFrame(
            {
                "id": np.arange(7),
                "k": pd.array([1, 1, 2, None, 3, 2, None], dtype=WHOLE),
                "x": pd.array([5, 7, None, 8, 5, 1, 2], dtype=WHOLE),
                "s": ["a", "b", "a", "B", None, "c", "a"],
                "day": days.where(np.arange(7) != 3),
            }
        ),
        "u": pd.DataFrame(
            {
                "id": np.arange(5),
                "k": pd.array([2, 1, 2, None, 4], dtype=WHOLE),
                "y": pd.array([4, 7, 9, 6, 7], dtype=WHOLE),
                "day": days[:5],
            }
        ),
        "w": pd.DataFrame(
            {
                "id": np.arange(4),
                "l": [[1, 2], [], None, [2, None]],
                "st": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}, None, {"a": 1, "b": "x"}],
            }
        ),
    }


@pytest.fixture(scope="module")
def plain() -> Iterator[duckdb.DuckDBPyConnection]:
    """The tables, from each of which one row can be taken away."""
    with connected(frames()) as connection:
        yield connection


@pytest.mark.parametrize("query", DELETED)
def test_a_clause_at_the_edge_is_followed(plain: duckdb.DuckDBPyConnection, query: str) -> None:
    traced = trace_query(query, frames())
    rows = rows_of(traced.table)
    assert Counter(rows) == Counter(rows_of(plain.sql(query).to_arrow_table()))
    assert unexplained(plain, query, rows, traced.lineage) == []


@pytest.mark.parametrize("key", LISTED)
@pytest.mark.parametrize("source", ["t", "(FROM t WHERE id <> 2) t", "t TABLESAMPLE 100 PERCENT"])
def test_groups_have_the_rows_that_they_list(key: str, source: str) -> None:
    traced = trace_query(f"SELECT list(id) AS l FROM {source} GROUP BY {key}", frames())
    row_map = traced.lineage.maps["t"]
    listed = [sorted(members) for members in traced.table.column("l").to_pylist()]
    assert len(listed) > 0
    assert [row_map.backward([at]).tolist() for at in range(row_map.n_out)] == listed
