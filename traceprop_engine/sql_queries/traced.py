"""The parts of a query that carries row numbers in hidden columns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.sql_queries.movable import Movable
from traceprop_engine.sql_queries.syntax import Tree


@dataclass(frozen=True)
class Hidden:
    """A column that the user does not see: of which row of a source each row was made.

    Attributes:
        name: The column.
        source: The number of the source: an input, or the stored rows of a grouping.
        kind: What it holds: a row; the list of all rows of a group; or, of a group, the key and
            the count by which its rows are found.
    """

    name: str
    source: int
    kind: Literal["row", "rows", "key", "count"] = "row"


@dataclass(frozen=True)
class Keyed:
    """How the rows of groups are found by a key.

    Attributes:
        rows: A query of the key of each row, and of the hidden columns before the grouping.
        sources: The source of each of those columns.
        with_lists: The same grouping with lists of rows, should the key not tell groups apart.
        has_key: Whether there may be more groups than one.
        is_every_row: Whether every row of its one source is in the one group.
    """

    rows: Tree
    sources: tuple[int, ...]
    with_lists: "Traced"
    has_key: bool
    is_every_row: bool


@dataclass(frozen=True)
class Traced:
    """A query whose last columns are hidden ones.

    Attributes:
        node: The query.
        hidden: Its hidden columns, in order.
        reads: Names of the inputs that it reads, in whatever way.
        movable: Columns whose values move when a row goes that is not a parent of theirs.
        keyed: How the rows of its groups are found, if not by lists.
    """

    node: Tree
    hidden: tuple[Hidden, ...]
    reads: frozenset[str]
    movable: Movable = field(default_factory=dict)
    keyed: Keyed | None = None

    @property
    def is_grouped(self) -> bool:
        """Whether the hidden columns are of groups, not of single rows."""
        return any(each.kind != "row" for each in self.hidden)

    def hidden_names(self) -> list[str]:
        """Return the names of the hidden columns."""
        return [each.name for each in self.hidden]


@dataclass(frozen=True)
class From:
    """A FROM clause, or a part of one.

    Attributes:
        table: It, with hidden columns in it.
        plain: It as the user wrote it, to look names up in.
        hidden: The hidden columns that can be seen behind it.
        of_alias: The hidden columns of each table of it, by its lower-case name.
        reads: Names of the inputs that it reads.
        movable: For each table of it, the columns whose values move when another row goes.
    """

    table: Tree
    plain: Tree
    hidden: tuple[Hidden, ...] = ()
    of_alias: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reads: frozenset[str] = frozenset()
    movable: Mapping[str, Movable] = field(default_factory=dict)

    def hidden_names(self) -> list[str]:
        """Return the names of the hidden columns."""
        return [each.name for each in self.hidden]


@dataclass(frozen=True)
class Input:
    """A table that was passed.

    Attributes:
        name: What the user calls it.
        table: Its name on the connection with its row number as an additional column.
        columns: Its columns, without that one.
        n_rows: How many rows it has.
    """

    name: str
    table: str
    columns: tuple[str, ...]
    n_rows: int


@dataclass(frozen=True)
class Grouped:
    """The stored rows of a grouping: how they follow from rows of other sources.

    Attributes:
        n_rows: How many there are.
        parents: For each source that went in, its number and the map of rows to it.
    """

    n_rows: int
    parents: "Parents"


Parents = tuple[tuple[int, RowMap], ...]
"""For each source that rows come from, its number and the map of the rows to it."""
