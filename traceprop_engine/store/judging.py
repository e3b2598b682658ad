"""What becomes of a commit when the index takes it over: accepted, repeated, or set aside."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from traceprop_engine.store.bundle import Bundle
from traceprop_engine.store.rows import contradicted_columns, primary_key
from traceprop_engine.store.schema import COMMIT_NO, Column, Record, Row, Schema, Table

BUNDLE_TABLE = Table(
    "bundle",
    (
        Column("sha256", "TEXT"),
        Column("key", "TEXT"),
        Column("content", "TEXT"),
        Column("schema_version", "BIGINT"),
        Column("n_rows", "BIGINT"),
        Column("status", "TEXT"),
        Column("reason", "TEXT"),
    ),
    primary_key=(),
)
"""What became of each commit; ``status`` is ``accepted``, ``repeated`` or ``set aside``."""


@dataclass(frozen=True)
class SetAside:
    """A commit whose rows are in no table because they contradict an earlier commit."""

    commit_no: int
    reason: str


@dataclass(frozen=True)
class Candidate:
    """A pending commit.

    Attributes:
        number: Of the commit.
        bundle: As it stands in the log.
        rows: Its rows of every table as they would be stored.
        content: Digest of what it says, if it has a key.
    """

    number: int
    bundle: Bundle
    rows: tuple[Record, ...]
    content: str | None

    def rows_of(self, table: Table) -> Iterator[Row]:
        """Yield the rows of ``table``."""
        return (row for name, row in self.rows if name == table.name)


class Judge:
    """Decides, in the order of commits, what becomes of each candidate of a batch.

    A commit is taken over as a whole or set aside as a whole: half of what a run recorded would
    be a fact that nobody stated.

    Attributes:
        accepted: Rows to insert, by the name of their table.
        notes: Rows to insert into ``bundle``.
        set_aside: The commits that were set aside.
    """

    def __init__(
        self,
        schema: Schema,
        recorded: Mapping[tuple[object, ...], Row],
        contents: Mapping[str, tuple[int, str]],
    ) -> None:
        """Start from what the index holds.

        Args:
            schema: The declared tables.
            recorded: Rows that share a primary key with a candidate, by table name and key.
            contents: Number and content of the commits that share a key with a candidate.
        """
        self._schema = schema
        self._recorded = dict(recorded)
        self._contents = dict(contents)
        self.accepted: dict[str, list[Row]] = {name: [] for name in schema.tables}
        self.notes: list[Row] = []
        self.set_aside: list[SetAside] = []

    def judge(self, candidate: Candidate) -> None:
        """Accept the rows of ``candidate`` that are new, or set all of them aside."""
        key = candidate.bundle.key
        earlier = self._contents.get(key) if key is not None else None
        if earlier is not None and earlier[1] == candidate.content:
            self._note(candidate, "repeated")
        elif earlier is not None:
            self._put_aside(candidate, f"key {key!r} stands for the other commit {earlier[0]}")
        elif reason := self._contradiction(candidate):
            self._put_aside(candidate, reason)
        else:
            self._accept(candidate)

    def _contradiction(self, candidate: Candidate) -> str | None:
        for name, row in candidate.rows:
            table = self._schema.tables[name]
            key = primary_key(table, row)
            recorded = self._recorded.get((name, *key))
            if recorded is not None and (columns := contradicted_columns(table, recorded, row)):
                return f"row {key} of {name} is recorded with another {', '.join(columns)}"
        return None

    def _accept(self, candidate: Candidate) -> None:
        for name, row in candidate.rows:
            key = (name, *primary_key(self._schema.tables[name], row))
            if key not in self._recorded:
                self._recorded[key] = row
                self.accepted[name].append(row)
        if candidate.bundle.key is not None and candidate.content is not None:
            self._contents[candidate.bundle.key] = (candidate.number, candidate.content)
        self._note(candidate, "accepted")

    def _put_aside(self, candidate: Candidate, reason: str) -> None:
        self.set_aside.append(SetAside(candidate.number, reason))
        self._note(candidate, "set aside", reason)

    def _note(self, candidate: Candidate, status: str, reason: str | None = None) -> None:
        self.notes.append(
            {
                COMMIT_NO: candidate.number,
                "sha256": candidate.bundle.sha256,
                "key": candidate.bundle.key,
                "content": candidate.content,
                "schema_version": candidate.bundle.schema_version,
                "n_rows": len(candidate.rows),
                "status": status,
                "reason": reason,
            }
        )
