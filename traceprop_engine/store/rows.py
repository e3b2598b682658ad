"""Rows that callers give, checked against the declared tables and turned into JSON values."""

import json
import reprlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from numbers import Integral, Real
from typing import SupportsFloat, SupportsInt, cast
from urllib.parse import quote

import numpy as np

from traceprop_engine.digests import canonical_json, sha256_bytes
from traceprop_engine.errors import StoreRowError
from traceprop_engine.store.schema import MAPS_PER_COMMIT, Column, Record, Row, Schema, Table

_BIGINT = range(-(2**63), 2**63)
_HEX = frozenset("0123456789abcdef")
_SHA256_DIGITS = 64
_LONGEST_NAME = 190  # of 255 bytes, less two numbers of 64 bits


def check_records(
    tables: Mapping[str, Iterable[Mapping[str, object]]], schema: Schema
) -> list[Record]:
    """Return the rows of ``tables`` as records of JSON values, in the order given.

    Raises:
        StoreRowError: A table or column is not declared, a value has not the column's type, a part
            of the primary key is missing, or two rows of one table share a primary key.
    """
    records = [
        (name, check_row(_declared(name, schema), row))
        for name, rows in tables.items()
        for row in rows
    ]
    _refuse_repeated_keys(records, schema)
    _refuse_too_many_maps(records)
    _refuse_long_names_of_runs(records)
    return records


def check_row(table: Table, row: Mapping[str, object]) -> Row:
    """Return ``row`` with a JSON value, or null, for every declared column of ``table``.

    Raises:
        StoreRowError: As `check_records`.
    """
    if unknown := sorted(set(row) - {column.name for column in table.columns}):
        raise StoreRowError(table.name, unknown[0], "no such column is declared")
    checked = {
        column.name: _json_value(
            table, column, row.get(column.name, table.defaults.get(column.name))
        )
        for column in table.columns
    }
    for name in table.primary_key:
        if checked[name] is None:
            raise StoreRowError(table.name, name, "it belongs to the primary key and is missing")
    return checked


def primary_key(table: Table, row: Mapping[str, object]) -> tuple[object, ...]:
    """Return what identifies ``row`` in ``table``."""
    return tuple(row[name] for name in table.primary_key)


def contradicted_columns(table: Table, row: Row, other: Row) -> list[str]:
    """Return the names of the columns in which two rows of one primary key disagree.

    Both rows are as `stored_row` returns them. Readings of a clock do not count.
    """
    return [
        column.name
        for column in table.columns
        if column.compared and row[column.name] != other[column.name]
    ]


def content_digest(records: Iterable[Record], schema: Schema) -> str:
    """Return a digest of what ``records`` say, readings of a clock apart."""
    compared = {
        name: [column.name for column in table.columns if column.compared]
        for name, table in schema.tables.items()
    }
    said = [[name, {c: row.get(c) for c in compared[name]}] for name, row in records]
    return sha256_bytes(canonical_json(said).encode())


def stored_row(table: Table, row: Mapping[str, object]) -> Row:
    """Return a checked row as the values that its columns hold in DuckDB."""
    return {column.name: _stored_value(column, row.get(column.name)) for column in table.columns}


def _stored_value(column: Column, value: object) -> object:
    if value is None:
        return None
    if column.type == "JSON":
        return canonical_json(value)
    if column.type == "TIMESTAMPTZ":
        return datetime.fromisoformat(str(value))
    return value


def _declared(name: str, schema: Schema) -> Table:
    if name not in schema.tables:
        raise StoreRowError(name, None, f"the tables are {', '.join(schema.tables)}")
    return schema.tables[name]


def _json_value(table: Table, column: Column, value: object) -> object:
    if value is None:
        return None
    try:
        return _CHECKS[column.type](value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise StoreRowError(table.name, column.name, str(error)) from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{_shown(value)} is not text")
    value.encode()  # a lone surrogate has no place in any file
    return value


def _bigint(value: object) -> int:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Integral):
        raise TypeError(f"{_shown(value)} is not a whole number")
    number = int(cast("SupportsInt", value))
    if number not in _BIGINT:
        raise ValueError(f"{number} does not fit 64 bits")
    return number


def _double(value: object) -> float:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise TypeError(f"{_shown(value)} is not a number")
    number = float(cast("SupportsFloat", value))
    if not np.isfinite(number):
        raise ValueError(f"{number} is not finite; leave it out and say why in a text column")
    return number


def _boolean(value: object) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{_shown(value)} is neither True nor False")
    return bool(value)


def _timestamp(value: object) -> str:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise TypeError(f"{_shown(value)} is not a time with a time zone")
    return value.astimezone(UTC).isoformat(timespec="microseconds")


def _json(value: object) -> object:
    text = canonical_json(value)
    text.encode()  # a lone surrogate has no place in any file
    return json.loads(text)


def _block(value: object) -> str:
    text = _text(value)
    if len(text) != _SHA256_DIGITS or not _HEX.issuperset(text):
        raise ValueError(f"{_shown(value)} is not the SHA-256 of a block")
    return text


def _shown(value: object) -> str:
    """Return what ``value`` looks like, short and on one line."""
    return " ".join(reprlib.repr(value).split())


_CHECKS = {
    "TEXT": _text,
    "BIGINT": _bigint,
    "DOUBLE": _double,
    "BOOLEAN": _boolean,
    "TIMESTAMPTZ": _timestamp,
    "JSON": _json,
    "BLOCK": _block,
}


def _refuse_repeated_keys(records: list[Record], schema: Schema) -> None:
    seen: set[tuple[object, ...]] = set()
    for name, row in records:
        key = primary_key(schema.tables[name], row)
        if (name, *key) in seen:
            raise StoreRowError(name, None, f"two rows of one commit have the primary key {key}")
        seen.add((name, *key))


def _refuse_long_names_of_runs(records: list[Record]) -> None:
    """A view finds a gradient by the name of a file, which must hold the name of its run."""
    for name, row in records:
        if (
            name == "gradient_block"
            and len(quote(str(row["training_run_id"]), safe="")) > _LONGEST_NAME
        ):
            reason = f"it takes more than {_LONGEST_NAME} bytes in the name of a file"
            raise StoreRowError(name, "training_run_id", reason)


def _refuse_too_many_maps(records: list[Record]) -> None:
    n_maps = sum(name == "row_map" for name, _ in records)
    if n_maps > MAPS_PER_COMMIT:
        raise StoreRowError("row_map", None, f"{n_maps} in one commit, {MAPS_PER_COMMIT} may be")
