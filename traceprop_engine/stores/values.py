"""What a store of lineage hands out beside views."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StoredNode:
    """A set of rows.

    Attributes:
        id: Of this store; what ``ancestors()`` of a loaded view holds.
        n_rows: How many rows it has.
        source: Name of the source, if it is the rows of one.
        sha256: Of the file that the source was read from, if it was.
        is_statistic: Whether its rows only depend on others through a statistic.
    """

    id: int
    n_rows: int
    source: str | None
    sha256: str | None
    is_statistic: bool


@dataclass(frozen=True)
class StoredEdge:
    """Rows of one set that came from another.

    Attributes:
        id: Of this store.
        parent: The set of rows that they came from.
        child: The set of rows that they are in.
        first_row: The first row of the child that the edge is about.
        n_rows: How many rows it is about.
        kind: Of the row map, see `RowMap`.
        n_bytes: What the row map takes in the file.
    """

    id: int
    parent: int
    child: int
    first_row: int
    n_rows: int
    kind: str
    n_bytes: int


@dataclass(frozen=True)
class SavedLineage:
    """A value that was saved.

    Attributes:
        number: Grows with every save; `SQLiteStore.load` takes it.
        name: The name it was saved under.
        saved_at: When, in UTC, as ISO 8601.
        n_rows: Rows of the value.
    """

    number: int
    name: str
    saved_at: str
    n_rows: int
