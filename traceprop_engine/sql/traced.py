"""The parts of a query that carries row numbers in hidden columns."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.sql.movable import Movable
from traceprop_engine.sql.syntax import Tree


@dataclass(frozen=True)
class Hidden:
    """A column that the user does not see: of which row of a source each row was made.

    Attributes:
        name: The column.
        source: The number of the source: an input, or the stored rows of a grouping.
        is_list: Whether it holds all rows of a group instead of one.
    """

    name: str
    source: int
    is_list: bool = False


@dataclass(frozen=True)
class Traced:
    """A query whose last columns are hidden ones.

    Attributes:
        node: The query.
        hidden: Its hidden columns, in order.
        reads: Names of the inputs that it reads, in whatever way.
        movable: Columns whose values move when a row goes that is not a parent of theirs.
    """

    node: Tree
    hidden: tuple[Hidden, ...]
    reads: frozenset[str]
    movable: Movable = field(default_factory=dict)

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
    parents: tuple[tuple[int, RowMap], ...]
