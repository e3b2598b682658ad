"""The tables of a store, declared as data, and how rows of older releases become rows of today."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast, get_args

ColumnType = Literal["TEXT", "BIGINT", "DOUBLE", "BOOLEAN", "TIMESTAMPTZ", "JSON", "BLOCK"]
"""What a column holds.

*JSON* is any JSON value, kept as canonical JSON text. *BLOCK* is the SHA-256 of a block. A
*TIMESTAMPTZ* is a reading of a clock: it is kept, but says nothing about whether two rows agree.
"""

COMMIT_NO = "commit_no"
"""The column that every table has: the number of the commit that a row came with."""

MAPS_PER_COMMIT = 65_536
"""``map_id`` is the commit's number times this, plus the row map's position in its commit."""


@dataclass(frozen=True)
class Column:
    """One declared column."""

    name: str
    type: ColumnType

    @property
    def sql_type(self) -> str:
        """The type of the column in DuckDB."""
        return "TEXT" if self.type in {"JSON", "BLOCK"} else self.type

    @property
    def compared(self) -> bool:
        """Whether two rows that differ here contradict each other."""
        return self.type != "TIMESTAMPTZ"


@dataclass(frozen=True)
class Table:
    """One declared table.

    Attributes:
        name: Its name in SQL.
        columns: What a caller gives, in order.
        primary_key: Names of the columns that identify a row; they are never null.
        derived: Columns that ingest computes, before the ``commit_no`` that every table has.
        defaults: Values of columns that a caller may leave out; otherwise null.
    """

    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    derived: tuple[Column, ...] = ()
    defaults: Mapping[str, object] = field(default_factory=dict)

    @property
    def stored_columns(self) -> tuple[Column, ...]:
        """Every column of the table in DuckDB, in order."""
        return (*self.columns, *self.derived, Column(COMMIT_NO, "BIGINT"))

    @property
    def block_columns(self) -> tuple[str, ...]:
        """Names of the columns that refer to blocks."""
        return tuple(column.name for column in self.columns if column.type == "BLOCK")


Row = dict[str, object]
"""One row of a declared table: a JSON value by the name of each column."""

Record = tuple[str, Row]
"""A row and the name of its table."""


@dataclass(frozen=True)
class Schema:
    """The declared tables of one version.

    Attributes:
        version: Counts up by one with every change of a table.
        tables: The tables by name.
        migrations: The step at position ``i`` turns the records of one bundle of version
            ``i + 1`` into records of version ``i + 2``. The log is never rewritten: records pass
            through the steps whenever they are read, and the index is built anew.
    """

    version: int
    tables: Mapping[str, Table]
    migrations: tuple[Callable[[Sequence[Record]], Sequence[Record]], ...] = ()

    def upgrade(self, records: Sequence[Record], version: int) -> Sequence[Record]:
        """Return ``records`` of the older ``version`` as records of this one."""
        for step in self.migrations[version - 1 : self.version - 1]:
            records = step(records)
        return records


def declare(
    name: str,
    columns: str,
    *,
    key: str,
    derived: str = "",
    defaults: Mapping[str, object] | None = None,
) -> Table:
    """Return a table from its columns as text, ``"id TEXT, n_rows BIGINT"``.

    Raises:
        ValueError: A type is none of `ColumnType`, or the key names no column.

    Example:
        >>> declare("op", "id TEXT, detail JSON", key="id").columns[1].sql_type
        'TEXT'
    """
    table = Table(name, _columns(columns), tuple(key.split()), _columns(derived), defaults or {})
    if unknown := set(table.primary_key) - {column.name for column in table.columns}:
        message = f"The key of {name} names no column: {sorted(unknown)}"
        raise ValueError(message)
    return table


def _columns(text: str) -> tuple[Column, ...]:
    return tuple(_column(part) for part in text.split(",") if part.strip())


def _column(text: str) -> Column:
    name, type_ = text.split()
    if type_ not in get_args(ColumnType):
        message = f"{type_} is no type of a column"
        raise ValueError(message)
    return Column(name, cast("ColumnType", type_))


SCHEMA_VERSION = 3
"""The version of the tables below; a store of a newer version is refused."""

TABLES = (
    declare(
        "source_version",
        "source_version_id TEXT, name TEXT, uri TEXT, format TEXT, compression TEXT, encoding TEXT,"
        " delimiter TEXT, sha256 TEXT, n_bytes BIGINT, n_rows BIGINT, columns JSON,"
        " index_block BLOCK, seen_at TIMESTAMPTZ",
        key="source_version_id",
    ),
    declare(
        "source_fingerprint",
        "fingerprint_id TEXT, source_version_id TEXT, algorithm TEXT, secret_id TEXT,"
        " columns JSON, key_columns JSON, block BLOCK, created_at TIMESTAMPTZ",
        key="fingerprint_id",
    ),
    declare(
        "dataset_version",
        "dataset_version_id TEXT, dataset TEXT, partition_key TEXT, run_id TEXT, code_version TEXT,"
        " n_rows BIGINT, columns JSON, content_block BLOCK, fidelity TEXT, coverage DOUBLE,"
        " reason TEXT, created_at TIMESTAMPTZ",
        key="dataset_version_id",
        defaults={"partition_key": ""},
    ),
    declare(
        "op",
        "dataset_version_id TEXT, ordinal BIGINT, name TEXT, detail TEXT, inputs JSON,"
        " n_rows_in JSON, n_rows_out BIGINT",
        key="dataset_version_id ordinal",
    ),
    declare(
        "row_map",
        "dataset_version_id TEXT, ordinal BIGINT, input_name TEXT, input_kind TEXT, input_id TEXT,"
        " role TEXT, kind TEXT, n_out BIGINT, n_in BIGINT, params JSON, block BLOCK,"
        " statistic TEXT, column_name TEXT, fidelity TEXT, fitted JSON",
        key="dataset_version_id ordinal",
        derived="map_id BIGINT",
    ),
    declare(
        "column_lineage",
        "dataset_version_id TEXT, column_name TEXT, input_name TEXT, input_column TEXT",
        key="dataset_version_id column_name input_name input_column",
    ),
    declare(
        "training_run",
        "training_run_id TEXT, dataset_version_id TEXT, training_input_id TEXT, name TEXT,"
        " family TEXT, label TEXT, classes JSON, feature_names JSON, l2 DOUBLE,"
        " fit_intercept BOOLEAN, n_rows BIGINT, n_parameters BIGINT, parameters_block BLOCK,"
        " features_block BLOCK, labels_block BLOCK, gradient_norm DOUBLE, n_iterations BIGINT,"
        " converged BOOLEAN, metrics JSON, loss_curve JSON, net JSON, created_at TIMESTAMPTZ",
        key="training_run_id",
    ),
    declare(
        "net_checkpoint",
        "training_run_id TEXT, checkpoint BIGINT, step BIGINT, parameters_block BLOCK",
        key="training_run_id checkpoint",
    ),
    declare(
        "net_gradient",
        "owner_id TEXT, checkpoint BIGINT, layer BIGINT, name TEXT, inputs_block BLOCK,"
        " inputs_shape JSON, deltas_block BLOCK, deltas_shape JSON",
        key="owner_id checkpoint layer",
    ),
    declare(
        "net_scalar",
        "owner_id TEXT, checkpoint BIGINT, target TEXT, block BLOCK",
        key="owner_id checkpoint",
    ),
    declare(
        "attribution_quality",
        "quality_id TEXT, training_run_id TEXT, method TEXT, measure TEXT, target TEXT,"
        " value DOUBLE, low DOUBLE, high DOUBLE, ceiling DOUBLE, detail JSON,"
        " created_at TIMESTAMPTZ",
        key="quality_id",
    ),
    declare(
        "gradient_block",
        "training_run_id TEXT, checkpoint BIGINT, row_lo BIGINT, row_hi BIGINT, dim BIGINT,"
        " dtype TEXT, loss TEXT, projection TEXT, block BLOCK",
        key="training_run_id checkpoint row_lo",
    ),
    declare(
        "prediction_set",
        "dataset_version_id TEXT, training_run_id TEXT, features_block BLOCK, labels_block BLOCK,"
        " created_at TIMESTAMPTZ",
        key="dataset_version_id",
    ),
    declare(
        "query",
        "query_id TEXT, dataset_version_id TEXT, row BIGINT, training_run_id TEXT, target TEXT,"
        " created_at TIMESTAMPTZ",
        key="query_id",
    ),
    declare(
        "attribution",
        "query_id TEXT, method TEXT, rank BIGINT, training_row BIGINT, score DOUBLE, unit TEXT",
        key="query_id method rank",
    ),
    declare(
        "counterfactual",
        "counterfactual_id TEXT, query_id TEXT, training_rows JSON, predicted_change DOUBLE,"
        " refitted_change DOUBLE, unit TEXT, gradient_norm DOUBLE, n_steps BIGINT,"
        " created_at TIMESTAMPTZ",
        key="counterfactual_id",
    ),
    declare(
        "check_result",
        "check_id TEXT, dataset_version_id TEXT, name TEXT, passed BOOLEAN, severity TEXT,"
        " metadata JSON, created_at TIMESTAMPTZ",
        key="check_id",
    ),
    declare(
        "audit_event",
        "event_id TEXT, action TEXT, actor TEXT, payload JSON, created_at TIMESTAMPTZ",
        key="event_id",
    ),
)


def _since_fingerprints(records: Sequence[Record]) -> Sequence[Record]:
    """Version 2 has the table ``source_fingerprint``; no older row changes."""
    return records


def _since_fitted_statistics(records: Sequence[Record]) -> Sequence[Record]:
    """Version 3 has ``fitted`` in ``row_map``, ``net`` in ``training_run``, and tables of nets.

    Both columns are null in older rows: nobody wrote down the one, and there was none of the other.
    """
    return records


MIGRATIONS = (_since_fingerprints, _since_fitted_statistics)
"""What turns the rows of each version into rows of the next; see `Schema`."""

SCHEMA = Schema(SCHEMA_VERSION, {table.name: table for table in TABLES}, MIGRATIONS)
"""The tables of this release."""
