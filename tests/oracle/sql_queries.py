"""Queries made at random from every shape that can be followed, each with planted parents.

Every relation has the columns ``a`` and ``b``, and for each table a bit mask of the rows that it
was made of, which DuckDB itself carries along as an ordinary column: the parents, by another way.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

MASKS = {"t": "mt", "u": "mu", "v": "mv"}
_ALL = "a, b, mt, mu, mv"
_OF_BASE = {
    "t": "SELECT k AS a, x AS b, 1 << id AS mt, 0 AS mu, 0 AS mv FROM t",
    "u": "SELECT k AS a, y AS b, 0 AS mt, 1 << id AS mu, 0 AS mv FROM u",
    "v": "SELECT k AS a, z AS b, 0 AS mt, 0 AS mu, 1 << id AS mv FROM v",
}


def tables() -> dict[str, pd.DataFrame]:
    """Return three small tables with keys that repeat and values that are missing."""
    whole = pd.Int64Dtype()
    return {
        "t": pd.DataFrame(
            {
                "id": np.arange(5),
                "k": pd.array([1, 1, 2, None, 3], dtype=whole),
                "x": pd.array([5, 7, None, 8, 5], dtype=whole),
            }
        ),
        "u": pd.DataFrame(
            {
                "id": np.arange(4),
                "k": pd.array([2, 1, 2, None], dtype=whole),
                "y": pd.array([4, 7, 9, 6], dtype=whole),
            }
        ),
        "v": pd.DataFrame(
            {
                "id": np.arange(3),
                "k": pd.array([1, 3, 3], dtype=whole),
                "z": pd.array([7, None, 2], dtype=whole),
            }
        ),
    }


@dataclass(frozen=True)
class Relation:
    """A query.

    Attributes:
        sql: It, with the columns ``a, b, mt, mu, mv``.
        is_planted: Whether the masks are the parents; they would be in the way of DISTINCT.
    """

    sql: str
    is_planted: bool = True


def _masks(*sides: str, how: str = "{}") -> str:
    """Return the masks of a row that is made of rows of these relations."""
    return ", ".join(
        " | ".join(how.format(f"coalesce({side}.{mask}, 0)") for side in sides) + f" AS {mask}"
        for mask in MASKS.values()
    )


_GROUP_MASKS = ", ".join(f"coalesce(bit_or({mask}), 0) AS {mask}" for mask in MASKS.values())
_NO_MASKS = "0 AS mt, 0 AS mu, 0 AS mv"


class Grammar:
    """Makes queries from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 (reproducible, not secret)
        self._shapes: list[Callable[[int], Relation]] = [
            getattr(self, name) for name in dir(self) if name.startswith("shape_")
        ]

    def query(self) -> Relation:
        """Return a query of a few shapes inside each other."""
        found = self._relation(self._random.choice([1, 2, 2, 3]))
        if self._random.random() < 0.5:
            return Relation(f"SELECT * FROM ({found.sql}) AS q ORDER BY ALL", found.is_planted)
        return found

    def _relation(self, depth: int) -> Relation:
        if depth <= 0:
            return Relation(_OF_BASE[self._random.choice(list(_OF_BASE))])
        return self._random.choice(self._shapes)(depth - 1)

    def _one(self, depth: int, template: str, *, keeps: bool = True) -> Relation:
        inner = self._relation(depth)
        return Relation(template.replace("<R>", f"({inner.sql})"), keeps and inner.is_planted)

    def _two(self, depth: int, template: str, *, keeps: bool = True) -> Relation:
        left, right = self._relation(depth), self._relation(depth - 1)
        sql = template.replace("<L>", f"({left.sql})").replace("<R>", f"({right.sql})")
        return Relation(sql, keeps and left.is_planted and right.is_planted)

    def _looked_at(self, depth: int, template: str) -> Relation:
        left, right = self._relation(depth), self._relation(depth - 1)
        sql = template.replace("<L>", f"({left.sql})").replace("<R>", f"({right.sql})")
        return Relation(sql, left.is_planted)

    def shape_filter(self, depth: int) -> Relation:
        where = self._random.choice(
            ["r.a IS NOT NULL", "r.b > 4", "r.a IN (1, 3)", "r.a = 2 OR b < 8", "NOT (r.b <= 5)"]
        )
        return self._one(depth, f"SELECT * FROM <R> AS r WHERE {where}")

    def shape_project(self, depth: int) -> Relation:
        columns = self._random.choice(
            [
                "a + 1 AS a, coalesce(b, 0) AS b, mt, mu, mv",
                "* REPLACE (b * 2 AS b)",
                "* EXCLUDE (b, mt, mu, mv), b, mt, mu, mv",
                "COLUMNS(*)",
                "r.*",
                "COLUMNS('^[ab]$'), mt, mu, mv",
                "COLUMNS(lambda c: c IN ('a', 'b')), mt, mu, mv",
            ]
        )
        return self._one(depth, f"SELECT {columns} FROM <R> AS r")

    def shape_join(self, depth: int) -> Relation:
        kind = self._random.choice(["", "LEFT", "RIGHT", "FULL", "INNER"])
        on = self._random.choice(["l.a = r.a", "l.a = r.a AND r.b > 4", "l.b = r.b", "l.a < r.a"])
        columns = f"coalesce(l.a, r.a) AS a, r.b AS b, {_masks('l', 'r')}"
        return self._two(depth, f"SELECT {columns} FROM <L> AS l {kind} JOIN <R> AS r ON {on}")

    def shape_unmatched(self, depth: int) -> Relation:
        return self._two(
            depth, "SELECT l.* FROM <L> AS l LEFT JOIN <R> AS r ON l.a = r.a WHERE r.a IS NULL"
        )

    def shape_using(self, depth: int) -> Relation:
        kind = self._random.choice(["", "LEFT", "FULL"])
        columns = f"a, l.b AS b, {_masks('l', 'r')}"
        return self._two(depth, f"SELECT {columns} FROM <L> AS l {kind} JOIN <R> AS r USING (a)")

    def shape_natural(self, depth: int) -> Relation:
        kind = self._random.choice(["", "LEFT", "RIGHT"])
        right = "(SELECT a, mt AS nt, mu AS nu, mv AS nv FROM <R> AS i) AS r"
        masks = ", ".join(
            f"coalesce({m}, 0) | coalesce({n}, 0) AS {m}"
            for m, n in (("mt", "nt"), ("mu", "nu"), ("mv", "nv"))
        )
        return self._two(depth, f"SELECT a, b, {masks} FROM <L> AS l NATURAL {kind} JOIN {right}")

    def shape_cross(self, depth: int) -> Relation:
        comma = self._random.choice([",", "CROSS JOIN"])
        columns = f"l.a AS a, r.b AS b, {_masks('l', 'r')}"
        sql = f"SELECT {columns} FROM <L> AS l {comma} <R> AS r WHERE l.b IS NOT NULL"
        return self._two(min(depth, 1), sql)

    def shape_semi(self, depth: int) -> Relation:
        kind = self._random.choice(["SEMI", "ANTI"])
        return self._looked_at(depth, f"SELECT * FROM <L> AS l {kind} JOIN <R> AS r ON l.a = r.a")

    def shape_asof(self, depth: int) -> Relation:
        kind = self._random.choice(["", "LEFT"])
        sql = (
            f"SELECT l.a AS a, u.y AS b, l.mt AS mt, l.mu | coalesce(1 << u.id, 0) AS mu, "
            f"l.mv AS mv FROM <R> AS l ASOF {kind} JOIN u ON l.b >= u.y"
        )
        return self._one(depth, sql)

    def shape_lateral(self, depth: int) -> Relation:
        return self._one(
            depth,
            "SELECT r.a AS a, z.b AS b, mt, mu, mv FROM <R> AS r, LATERAL (SELECT r.b + 1 AS b) z",
        )

    def shape_lateral_table(self, depth: int) -> Relation:
        sql = (
            f"SELECT r.a AS a, z.b AS b, {_masks('r', 'z')} FROM <R> AS r, LATERAL "
            "(SELECT y AS b, 0 AS mt, 1 << id AS mu, 0 AS mv FROM u WHERE u.k = r.a) AS z"
        )
        return self._one(depth, sql)

    def shape_union_all(self, depth: int) -> Relation:
        how = self._random.choice(["UNION ALL", "UNION ALL BY NAME"])
        return self._two(depth, f"SELECT {_ALL} FROM <L> AS l {how} SELECT {_ALL} FROM <R> AS r")

    def shape_set(self, depth: int) -> Relation:
        how = self._random.choice(["UNION", "INTERSECT", "EXCEPT", "UNION BY NAME"])
        inner = f"SELECT a, b FROM <L> AS l {how} SELECT a, b FROM <R> AS r"
        return self._two(depth, f"SELECT a, b, {_NO_MASKS} FROM ({inner}) AS s", keeps=False)

    def shape_group(self, depth: int) -> Relation:
        by = self._random.choice(["a", "1", "ALL", "a + 0", "r.a"])
        key = "a + 0 AS a" if by == "a + 0" else "a"
        value = self._random.choice(["sum(b)::BIGINT", "max(b)", "count(DISTINCT b)"])
        having = self._random.choice(["", "", "", " HAVING count(*) > 1"])
        return self._one(
            depth,
            f"SELECT {key}, {value} AS b, {_GROUP_MASKS} FROM <R> AS r GROUP BY {by}{having}",
        )

    def shape_group_by_value(self, depth: int) -> Relation:
        return self._one(
            depth, f"SELECT count(*) AS a, b, {_GROUP_MASKS} FROM <R> AS r GROUP BY r.b"
        )

    def shape_rollup(self, depth: int) -> Relation:
        by = self._random.choice(["ROLLUP (a)", "CUBE (a, b)", "GROUPING SETS ((a), (b), (a))"])
        value = "count(*)" if by.startswith("ROLLUP") else "b"
        return self._one(
            depth, f"SELECT a, {value} AS b, {_GROUP_MASKS} FROM <R> AS r GROUP BY {by}"
        )

    def shape_total(self, depth: int) -> Relation:
        return self._one(depth, f"SELECT count(*) AS a, max(b) AS b, {_GROUP_MASKS} FROM <R> AS r")

    def shape_distinct(self, depth: int) -> Relation:
        inner = self._random.choice(
            [
                "SELECT DISTINCT a, b FROM <R> AS r",
                "SELECT DISTINCT a, b FROM <R> AS r ORDER BY a, b",
                "SELECT DISTINCT max(a) AS a, b FROM <R> AS r GROUP BY b",
                "SELECT DISTINCT a, count(*) OVER (PARTITION BY a) AS b FROM <R> AS r ORDER BY 1",
            ]
        )
        return self._one(depth, f"SELECT a, b, {_NO_MASKS} FROM ({inner}) AS d", keeps=False)

    def shape_distinct_on(self, depth: int) -> Relation:
        return self._one(depth, f"SELECT DISTINCT ON (a) * FROM <R> AS r ORDER BY {_ALL}")

    def shape_window(self, depth: int) -> Relation:
        value = self._random.choice(
            [f"rank() OVER (ORDER BY {_ALL})", "sum(b) OVER (PARTITION BY a)::BIGINT"]
        )
        return self._one(depth, f"SELECT a, {value} AS b, mt, mu, mv FROM <R> AS r")

    def shape_qualify(self, depth: int) -> Relation:
        number = f"row_number() OVER (PARTITION BY a ORDER BY {_ALL})"
        return self._one(depth, f"SELECT * FROM <R> AS r QUALIFY {number} = 1")

    def shape_limit(self, depth: int) -> Relation:
        limit = self._random.choice(["LIMIT 2", "LIMIT 2 OFFSET 1", "LIMIT 50%"])
        return self._one(depth, f"SELECT * FROM <R> AS r ORDER BY {_ALL} {limit}")

    def shape_cte(self, depth: int) -> Relation:
        columns = f"p.a AS a, q.b AS b, {_masks('p', 'q')}"
        sql = f"WITH c AS <R> SELECT {columns} FROM c AS p JOIN c AS q ON p.a = q.a"
        return self._one(min(depth, 1), sql)

    def shape_shadow(self, depth: int) -> Relation:
        sql = (
            "WITH t AS (SELECT * FROM t WHERE k IS NOT NULL), w(a, b) AS (SELECT k, x, id FROM t) "
            "SELECT a, b, 1 << id AS mt, 0 AS mu, 0 AS mv FROM w WHERE b IS NOT NULL"
        )
        return Relation(sql)

    def shape_in(self, depth: int) -> Relation:
        test = self._random.choice(
            [
                "l.a IN (SELECT a FROM <R> AS r)",
                "l.a NOT IN (SELECT r.a FROM <R> AS r WHERE r.a IS NOT NULL)",
                "EXISTS (SELECT 1 FROM <R> AS r WHERE r.a = l.a)",
                "NOT EXISTS (FROM <R> AS r WHERE r.a = l.a)",
                "l.b >= ALL (SELECT r.b FROM <R> AS r WHERE r.a = l.a)",
                "l.b > (SELECT min(b) FROM <R> AS r)",
            ]
        )
        return self._looked_at(depth, f"SELECT * FROM <L> AS l WHERE {test}")

    def shape_scalar(self, depth: int) -> Relation:
        value = self._random.choice(
            [
                "(SELECT max(r.b) FROM <R> AS r WHERE r.a = l.a)",
                "(SELECT count(*) FROM <R> AS r)",
                "l.b + (WITH c AS <R> SELECT min(c.b) FROM c)",
            ]
        )
        return self._looked_at(depth, f"SELECT a, {value} AS b, mt, mu, mv FROM <L> AS l")

    def shape_unnest(self, depth: int) -> Relation:
        sql = self._random.choice(
            [
                "SELECT a, unnest([b, a]) AS b, mt, mu, mv FROM <R> AS r",
                "SELECT r.a AS a, g.b AS b, mt, mu, mv FROM <R> AS r, unnest([r.b, 3]) AS g(b)",
            ]
        )
        return self._one(depth, sql)

    def shape_values(self, depth: int) -> Relation:
        sql = (
            "SELECT n.a AS a, r.b AS b, coalesce(mt, 0) AS mt, coalesce(mu, 0) AS mu, "
            "coalesce(mv, 0) AS mv FROM (VALUES (1), (2), (9)) AS n(a) LEFT JOIN <R> AS r USING (a)"
        )
        return self._one(depth, sql)
