"""The canonical text of a value: equal values have equal texts, whatever file or type held them.

A CSV field has no type, so a text and the number that it writes have the same canonical text. The
rules, for one value alone and never for its column:

* An empty text, null, NaN and NaT are missing, and have no text.
* Numbers are written as Python writes them, a float as the shortest text that reads back as it,
  and without ``.0`` where it is whole; a text such as ``100.0`` likewise. Other texts stay as they
  are: ``007``, ``1.50`` and ``1e3`` are texts of their own.
* Truth values are ``True`` and ``False``. Times are in ISO 8601 with a blank before the time of
  day, no zeros at the end, midnight left out; those with a time zone are in UTC.
* Bytes are base64. Lists and objects are canonical JSON of canonical values, missing members of
  objects left out.
"""

import base64
import datetime as dt
import decimal
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from traceprop_engine.errors import UnknownValueKindError
from traceprop_engine.identity.arrow_texts import (
    any_ends_with,
    chosen,
    equals,
    is_any,
    joined,
    n_bytes,
    replaced_at,
    replaced_pattern,
)

Values: TypeAlias = (
    pa.Array | pa.ChunkedArray | pd.Series | npt.NDArray[np.generic] | Sequence[object]
)
"""The values of one column."""

_TEXT = pa.large_binary()
_WHOLE = r"^(-?(?:0|[1-9][0-9]*))\.0$"
_END_OF_TIME = r"\.0+$|(\.[0-9]*[1-9])0+$"
_END_OF_UTC = r"Z$"
_MIDNIGHT = r" 00:00:00$"
_WHOLE_PATTERN = re.compile(_WHOLE)
_END_OF_TIME_PATTERN = re.compile(_END_OF_TIME)
# Between these, Arrow and Python write floats alike; outside, one of them with an exponent.
_PLAIN_FROM, _PLAIN_TO = 1e-4, 1e9
_FIRST_WITH_EXPONENT = 1e16
_FAST_KINDS = ({str}, {bool}, {int, float})
# What `pyarrow.array` raises for a kind of column that it does not know, or numbers too large.
_NO_ARRAY = (pa.ArrowException, TypeError, ValueError, OverflowError)


def canonical_column(name: str, values: Values) -> pa.LargeBinaryArray:
    """Return the canonical text of each value as UTF-8; null where it is missing.

    Args:
        name: Name of the column, for errors.
        values: ``n`` values; of any Arrow type, or Python objects of any kinds.

    Raises:
        UnknownValueKindError: A value is of a kind that has no canonical text.

    Example:
        >>> canonical_column("x", [1, 2.0, "2.0", None, ""]).to_pylist()
        [b'1', b'2', b'2', None, None]
    """
    array = _as_arrow(values)
    if array is None:
        texts = _texts(name, values)
    elif (write := _writer(array.type)) is not None:
        texts = write(array)
    else:
        texts = _texts(name, array.to_pylist())
    return _without_empty(texts)


def cell_text(value: object) -> str | None:
    """Return the canonical text of one value, or nothing if it is missing.

    Raises:
        TypeError: It is of a kind that has no canonical text.

    Example:
        >>> cell_text(0.1), cell_text(100.0), cell_text("007"), cell_text(float("nan"))
        ('0.1', '100', '007', None)
    """
    plain = _plain(value)
    if plain is None or isinstance(plain, str):
        return plain or None
    if isinstance(plain, bool | int | float):
        return _number_text(plain)
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _as_arrow(values: Values) -> pa.Array | None:
    """Return values as one Arrow array, or nothing where that might not be what they are.

    Arrow finds one type for objects of several kinds, and writes each of them as that; what a value
    is must not depend on its neighbours.
    """
    if isinstance(values, pa.ChunkedArray):
        return values.combine_chunks()
    if isinstance(values, pa.Array):
        return values
    if not isinstance(values, pd.Series | np.ndarray) or values.dtype == object:
        kinds = set(map(type, values)) - {type(None)}
        if not any(kinds <= fast for fast in _FAST_KINDS):
            return None
    try:
        array = pa.array(values, from_pandas=True)
    except _NO_ARRAY:
        return None
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _texts(name: str, values: Iterable[object]) -> pa.LargeBinaryArray:
    return pa.array([_encoded(name, value) for value in values], _TEXT)


def _encoded(name: str, value: object) -> bytes | None:
    try:
        text = cell_text(value)
    except TypeError as error:
        raise UnknownValueKindError(name, type(value)) from error
    return None if text is None else text.encode("utf-8", "surrogatepass")


def _plain(value: object) -> object:  # noqa: C901, PLR0911 (one branch for each kind of value)
    """Return a value as what JSON can hold, numbers as they are, and nothing if it is missing."""
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    match value:
        case np.generic():
            return _plain(_python_scalar(value))
        case str():
            return _text_of_text(value)
        case bool() | int():
            return value
        case float():
            return _plain_float(value)
        case decimal.Decimal():
            return _decimal_text(value)
        case dt.datetime() | dt.date() | dt.time() | dt.timedelta():
            return _time_text(value)
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(bytes(value)).decode()
        case Mapping():
            members = ((str(key), _plain(item)) for key, item in value.items())
            return {key: item for key, item in members if item is not None}
        case list() | tuple() | np.ndarray():
            return [_plain(item) for item in value]
        case _:
            message = f"a {type(value).__name__} has no canonical text"
            raise TypeError(message)


def _python_scalar(value: np.generic) -> object:
    if isinstance(value, np.datetime64):
        return pd.Timestamp(value)
    if isinstance(value, np.timedelta64):
        return pd.Timedelta(value)
    scalar = value.item()
    return float(value) if isinstance(value, np.floating) else scalar


def _text_of_text(value: str) -> str:
    whole = _WHOLE_PATTERN.sub(r"\1", value) if value.endswith(".0") else value
    return "0" if whole == "-0" else whole


def _plain_float(value: float) -> float | int | str | None:
    if math.isnan(value):
        return None
    if math.isinf(value):
        return repr(value)
    return int(value) if value.is_integer() and abs(value) < _FIRST_WITH_EXPONENT else value


def _number_text(value: float) -> str:
    return repr(value)


def _decimal_text(value: decimal.Decimal) -> str | None:
    if value.is_nan():
        return None
    if value.is_infinite():
        return repr(float(value))
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _time_text(value: dt.date | dt.time | dt.timedelta) -> str:
    if isinstance(value, dt.timedelta):
        return str(pd.Timedelta(value))
    if isinstance(value, dt.time):
        return _END_OF_TIME_PATTERN.sub(r"\1", value.isoformat())
    if not isinstance(value, dt.datetime):
        return value.isoformat()
    zoned = value.tzinfo is not None
    local = value.astimezone(dt.UTC).replace(tzinfo=None) if zoned else value
    text = _END_OF_TIME_PATTERN.sub(r"\1", local.isoformat(sep=" "))
    return f"{text}+00:00" if zoned else text.removesuffix(" 00:00:00")


# --- whole columns ---------------------------------------------------------------------------


def _writer(kind: pa.DataType) -> Callable[[pa.Array], pa.Array] | None:
    """Return what writes a column of one Arrow type at once, if anything does."""
    if pa.types.is_dictionary(kind):
        inner = _writer(kind.value_type)
        return None if inner is None else lambda array: inner(array.dictionary_decode())
    for belongs, write in _WRITERS:
        if belongs(kind):
            return write
    return None


def _is_text(kind: pa.DataType) -> bool:
    return (
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _write_text(array: pa.Array) -> pa.Array:
    texts = array.cast(pa.large_string())
    if any_ends_with(texts, ".0"):
        texts = replaced_pattern(texts, _WHOLE, r"\1")
    minus_zero = equals(texts, "-0")
    return chosen(minus_zero, _text("0"), texts) if is_any(minus_zero) else texts


def _write_whole_number(array: pa.Array) -> pa.Array:
    return array.cast(pa.large_string())


def _write_truth(array: pa.Array) -> pa.Array:
    return chosen(array, _text("True"), _text("False"))


def _write_float(array: pa.Array) -> pa.Array:
    doubles = array.cast(pa.float64())
    texts = doubles.cast(pa.large_string())
    numbers: npt.NDArray[np.float64] = doubles.to_numpy(zero_copy_only=False)
    size = np.abs(numbers)
    odd = np.flatnonzero(~((size >= _PLAIN_FROM) & (size < _PLAIN_TO)))
    if not len(odd):
        return texts
    written = pa.array([cell_text(value) for value in numbers[odd].tolist()], pa.large_string())
    mask = np.zeros(len(numbers), dtype=bool)
    mask[odd] = True
    return replaced_at(texts, pa.array(mask), written)


def _write_timestamp(array: pa.Array) -> pa.Array:
    zoned = array.type.tz is not None
    if zoned:
        array = array.cast(pa.timestamp(array.type.unit, "UTC"))
    texts = replaced_pattern(array.cast(pa.large_string()), _END_OF_UTC, "")
    texts = replaced_pattern(texts, _END_OF_TIME, r"\1")
    if zoned:
        return joined(texts, _text("+00:00"), between=_text(""))
    return replaced_pattern(texts, _MIDNIGHT, "")


def _text(text: str) -> pa.Scalar:
    return pa.scalar(text, pa.large_string())


def _write_date(array: pa.Array) -> pa.Array:
    return array.cast(pa.date32()).cast(pa.large_string())


_WRITERS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], pa.Array]], ...] = (
    (_is_text, _write_text),
    (pa.types.is_integer, _write_whole_number),
    (pa.types.is_boolean, _write_truth),
    (pa.types.is_floating, _write_float),
    (pa.types.is_timestamp, _write_timestamp),
    (pa.types.is_date, _write_date),
)


def _without_empty(texts: pa.Array) -> pa.LargeBinaryArray:
    column = texts.cast(_TEXT)
    empty = equals(n_bytes(column), 0)
    return chosen(empty, pa.scalar(None, _TEXT), column) if is_any(empty) else column
