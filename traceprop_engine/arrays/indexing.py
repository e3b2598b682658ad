"""Reading and writing by index."""

from typing import Any

import numpy as np

from traceprop_engine.arrays.cells import Origin
from traceprop_engine.arrays.combining import keeps_rows, step_of
from traceprop_engine.arrays.memory import (
    WRITING,
    Array,
    Held,
    RowArray,
    fresh,
    held_of,
    plain_array,
    plain_value,
    view_of,
)
from traceprop_engine.arrays.views import moved_result, note_one, unfollowed_result
from traceprop_engine.arrays.writing import (
    origin_of_one,
    overwritten,
    written,
    written_numbers,
    written_one,
)

_READ = "ndarray.__getitem__"
_WRITE = "ndarray.__setitem__"


def read_item(array: Array, held: Held, key: Any) -> Any:
    """Return what an index picks, see NumPy's indexing."""
    key = _plain_key(held, key, _READ)
    if type(key) is np.ndarray and key.dtype == bool and _is_row_mask(held, key):
        picked = np.flatnonzero(key)
        lines = held.lines.at(picked)
        result = held.plain.take(picked, axis=0)
        return fresh(type(array), result, lines, 0, step_of(_READ, [held], len(lines)))
    result = held.plain[key]
    if not isinstance(result, np.ndarray):
        return _scalar(held, key, result)
    cls = type(array)
    if not keeps_rows():
        return unfollowed_result(cls, _READ, result, [held])
    if held.mixed is None and held.axis == 0:
        quick = _quick(cls, held, key, result)
        if quick is not None:
            return quick
    if not _is_field(key):
        numbers = held.cells()[key]
    else:
        numbers = held.cells()
        if numbers.shape != result.shape:
            inner = (..., *[None] * (result.ndim - numbers.ndim))
            numbers = np.broadcast_to(numbers[inner], result.shape)
    return moved_result(cls, _READ, result, numbers, [(held, Origin(held.lines, 0))])


def write_item(held: Held, key: Any, value: Any) -> None:
    """Write a value where an index points, see NumPy's indexing."""
    key = _plain_key(held, key, _WRITE)

    def write(target: Any, new: Any) -> None:
        target[key] = new

    with WRITING:
        position = _whole_row(held, key)
        origin = None if position is None else origin_of_one(held, value)
        if _is_field(key):
            _write_field(held, key, value)
        elif position is not None and origin is not None:
            held.writable()[key] = plain_value(value)
            written_one(_WRITE, held, position, origin, value)
        else:
            written(_WRITE, held, write, [value])


def _write_field(held: Held, key: Any, value: Any) -> None:
    """Write a field of records: the others keep what they hold."""
    held.writable()[key] = plain_value(value)
    source = held_of(value)
    if source is None or source.notes is not held.notes:
        has_unknown = np.ndim(plain_value(value)) > 0
        written_numbers(_WRITE, held, held.cells(), [], [], has_unknown=has_unknown)
        return
    if not keeps_rows():
        overwritten(_WRITE, held, [source], None, is_whole=False)
        return
    first = len(held.lines)
    new = np.empty(held.plain[key].shape, dtype=np.int64)
    new[...] = source.cells(first)
    # A field may have axes of its own: all that lies along them is written to one record.
    into = np.moveaxis(new.reshape(*held.plain.shape, -1), -1, 0)
    numbers = np.concatenate([held.cells()[None], into])
    written_numbers(_WRITE, held, numbers, [Origin(source.lines, first)], [source])


def _plain_key(held: Held, key: Any, name: str) -> Any:
    """Return an index of plain arrays; those of other rows decided what was picked."""
    if type(key) is tuple:
        return tuple(_plain_part(held, each, name, at) for at, each in enumerate(key))
    return _plain_part(held, key, name, 0)


def _plain_part(held: Held, part: Any, name: str, at: int) -> Any:
    if not isinstance(part, RowArray):
        return part
    control = held_of(part)
    if control is not None and not (at == 0 and _is_own_mask(held, control)):
        control.lines.note(name)
    return plain_array(part)


def _is_own_mask(held: Held, control: Held) -> bool:
    """Say whether a mask at the front of an index decides of each row by that row alone."""
    is_mask = control.plain.dtype == bool
    return is_mask and control.lines is held.lines and control.axis == held.axis


def _is_row_mask(held: Held, key: Any) -> bool:
    """Say whether a mask picks whole rows of an array; taking their numbers gives the same."""
    plain = held.plain
    return (
        keeps_rows()
        and held.mixed is None
        and held.axis == 0
        and key.shape == plain.shape[:1]
        and plain.flags.c_contiguous
    )


def _scalar(held: Held, key: Any, result: Any) -> Any:
    """Note the row of a single value."""
    if keeps_rows():
        numbers = held.cells() if _is_field(key) else held.cells()[key]
        note_one(held, _READ, int(np.asarray(numbers).flat[0]))
    else:
        unfollowed_result(RowArray, _READ, result, [held])
    return result


def _is_field(key: Any) -> bool:
    return isinstance(key, str) or (
        isinstance(key, list) and bool(key) and all(isinstance(each, str) for each in key)
    )


def _whole_row(held: Held, key: Any) -> int | None:
    """Return the position of memory that an index of one whole row points at."""
    if held.mixed is not None or held.plain.nbytes != len(held.span) * held.book.row_bytes:
        return None
    if held.axis is None:
        return held.span[0] if key is Ellipsis or (type(key) is tuple and not key) else None
    first, *others = key if type(key) is tuple else (key,)
    if held.axis != 0 or not all(each is Ellipsis or _is_everything(each) for each in others):
        return None
    if not isinstance(first, (int, np.integer)) or isinstance(first, bool):
        return None
    return held.span[int(first)] if -len(held.span) <= first < len(held.span) else None


def _is_everything(part: Any) -> bool:
    return type(part) is slice and part == slice(None)


def _quick(cls: type[Array], held: Held, key: Any, result: Any) -> Any:
    """Return what one of the common indexes picks; ``None`` for the others."""
    first, *others = (key or (None,)) if type(key) is tuple else (key,)
    if not all(part is Ellipsis or type(part) in (slice, int) for part in others):
        return None
    if type(first) is slice:
        return _shared(cls, held, 0, held.span[first], result)
    if type(first) is int:
        at = held.span[first]
        return _shared(cls, held, None, range(at, at + 1), result)
    if not isinstance(first, (np.ndarray, list)) or np.ndim(first) != 1 or not result.size:
        return None
    rows = np.asarray(first)
    positions = np.flatnonzero(rows) if rows.dtype == bool else rows
    if positions.dtype.kind not in "iu":
        return None
    if len(positions) and positions.min() < 0:
        positions = np.where(positions < 0, positions + len(held.span), positions)
    lines = held.lines.at(positions)
    return fresh(cls, result, lines, 0, step_of(_READ, [held], len(lines)))


def _shared(cls: type[Array], held: Held, axis: int | None, span: range, result: Any) -> Any:
    view = Held(result, held.book, axis, span)
    view.is_locked = held.is_locked
    view.made_by = held.made_by or ()
    return view_of(cls, view)
