"""Ways to perturb the rows of an input, made once and applied as often as needed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traceprop_engine.fuzz.cells import text_of
from traceprop_engine.fuzz.report import ChangeKind, Perturbation

Frames = Mapping[str, pd.DataFrame]
Ints = NDArray[np.int64]

_NEAREST, _FARTHEST = -2.0, 1.0
_MOST_DAYS = 400
_MARK = "~"


@dataclass(frozen=True, eq=False)
class Change:
    """A perturbation of rows of one input.

    Attributes:
        input: Name of the input.
        kind: How.
        rows: Its rows, ascending.
        columns: Positions of the columns that change; none for a deletion.
        values: For each of these columns the new values of the rows.
    """

    input: str
    kind: ChangeKind
    rows: Ints
    columns: tuple[int, ...] = ()
    values: tuple[Any, ...] = ()

    @property
    def is_deletion(self) -> bool:
        """Whether the rows are gone."""
        return self.kind == "deletion"

    def of_rows(self, which: Ints) -> "Change":
        """Return the same change of fewer rows: those at the positions ``which``."""
        values = tuple(each[which] for each in self.values)
        return replace(self, rows=self.rows[which], values=values)

    def of_columns(self, which: Sequence[int]) -> "Change":
        """Return the same change of fewer columns: those at the positions ``which``."""
        columns = tuple(self.columns[at] for at in which)
        return replace(self, columns=columns, values=tuple(self.values[at] for at in which))

    def applied(self, frames: Frames) -> dict[str, pd.DataFrame]:
        """Return the inputs as they are after the change; ``frames`` stay as they are."""
        changed = dict(frames)
        changed[self.input] = (self._without_rows if self.is_deletion else self._with_values)(
            frames[self.input]
        )
        return changed

    def kept_rows(self, n_rows: int) -> Ints:
        """Return which rows of the input, of ``n_rows``, are still there."""
        rows = np.arange(n_rows)
        return np.delete(rows, self.rows) if self.is_deletion else rows

    def told(self, frames: Frames) -> Perturbation:
        """Return what a reader needs to know of it."""
        frame = frames[self.input]
        row = int(self.rows[0])
        return Perturbation(
            input=self.input,
            rows=tuple(map(int, self.rows)),
            kind=self.kind,
            columns=tuple(str(frame.columns[at]) for at in self.columns),
            before=tuple(frame.iat[row, at] for at in self.columns),  # noqa: PD009 (by position)
            after=tuple(each[0] for each in self.values),
        )

    def _without_rows(self, frame: pd.DataFrame) -> pd.DataFrame:
        kept = frame.take(self.kept_rows(len(frame)))
        # A file without the line is numbered through again.
        return kept.reset_index(drop=True) if isinstance(frame.index, pd.RangeIndex) else kept

    def _with_values(self, frame: pd.DataFrame) -> pd.DataFrame:
        changed = frame.copy(deep=False)
        for at, values in zip(self.columns, self.values, strict=True):
            array = column_values(frame, at).copy()
            array[self.rows] = values
            dtype = frame.iloc[:, at].dtype
            sparse = isinstance(dtype, pd.SparseDtype)
            changed.isetitem(at, pd.array(array, dtype=dtype) if sparse else array)
        return changed


def deletion(name: str, rows: Ints) -> Change:
    """Return the change that takes rows out of an input."""
    return Change(name, "deletion", np.sort(rows))


def change_of_values(
    name: str,
    frame: pd.DataFrame,
    kind: ChangeKind,
    rows: Ints,
    columns: Sequence[int],
    rng: np.random.Generator,
) -> Change | None:
    """Return a change of these rows in those of ``columns`` that can be changed in this way.

    A column keeps its dtype: numbers without a missing value stay whole, categories stay among
    those declared. ``None`` if no column can be changed.
    """
    rows = np.sort(rows)
    found: dict[int, Any] = {}
    for at in columns:
        values = _MAKERS[kind](column_values(frame, at), rows, rng)
        if values is not None:
            found[at] = values
    return Change(name, kind, rows, tuple(found), tuple(found.values())) if found else None


def with_gaps(
    frame: pd.DataFrame, columns: Sequence[int], share: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Return a frame with a ``share`` of the values of these columns taken out, one at least."""
    n_gaps = max(1, round(len(frame) * share))
    for at in columns:
        rows = np.sort(rng.choice(len(frame), n_gaps, replace=False))
        change = change_of_values("", frame, "missing", rows, [at], rng)
        if change is not None:
            frame = change.applied({"": frame})[""]
    return frame


def column_values(frame: pd.DataFrame, at: int) -> Any:
    """Return the values of a column by its position, as an array of the column's own dtype.

    Of a sparse column they are dense, as its own array takes no new values.
    """
    column = frame.iloc[:, at]
    is_dense = isinstance(column.dtype, np.dtype | pd.SparseDtype)
    return column.to_numpy() if is_dense else column.array


def can_have_gaps(values: Any) -> bool:
    """Say whether a column can hold a missing value without another dtype."""
    dtype = values.dtype
    if isinstance(dtype, pd.IntervalDtype):
        dtype = dtype.subtype
    return not isinstance(dtype, np.dtype) or dtype.kind in "fcmMO"


def _missing(values: Any, rows: Ints, rng: np.random.Generator) -> Any:
    del rng
    if not can_have_gaps(values) or bool(np.asarray(pd.isna(values[rows])).all()):
        return None
    changed = values[rows].copy()
    if not isinstance(values, np.ndarray):
        changed[:] = pd.NA
    elif values.dtype == object:
        changed[:] = None
    else:
        changed[:] = np.array("NaT" if values.dtype.kind in "mM" else "nan", dtype=values.dtype)
    return changed


def _category(values: Any, rows: Ints, rng: np.random.Generator) -> Any:
    """Return for each row the value of another row that differs, if there is one."""
    giver = rng.permutation(len(values))
    codes = _codes(values)
    taken = np.empty(len(rows), dtype=np.int64)
    for i, row in enumerate(rows):
        others = giver[codes[giver] != codes[row]]
        taken[i] = others[i % len(others)] if len(others) else row
    return None if (codes[taken] == codes[rows]).all() else values[taken]


def _codes(values: Any) -> Ints:
    try:
        return pd.factorize(values)[0]
    except (TypeError, NotImplementedError):  # values without a hash; lists of Arrow
        return pd.factorize(np.array([text_of(each) for each in values], dtype=object))[0]


def _value(values: Any, rows: Ints, rng: np.random.Generator) -> Any:
    """Return new values of the same dtype; missing ones are filled with those of other rows."""
    known = np.flatnonzero(~np.asarray(pd.isna(values)))
    if not len(known):
        return None
    gaps = np.asarray(pd.isna(values[rows]))
    start = np.where(gaps, rng.choice(known, len(rows)), rows)
    maker = _maker_of(values, known)
    return _category(values, rows, rng) if maker is None else maker(values, start, rng)


def _maker_of(values: Any, known: Ints) -> Callable[[Any, Ints, np.random.Generator], Any] | None:
    dtype, is_ = values.dtype, pd.api.types
    if is_.is_bool_dtype(dtype):
        return lambda values, rows, _: ~values[rows]
    if isinstance(dtype, pd.CategoricalDtype):
        return None
    if is_.is_integer_dtype(dtype):
        return _whole_numbers
    if is_.is_float_dtype(dtype):
        return _numbers
    if is_.is_datetime64_any_dtype(dtype) or is_.is_timedelta64_dtype(dtype):
        return _times
    are_texts = all(isinstance(each, str) for each in values[known])
    return _texts if are_texts else None


def _numbers(values: Any, rows: Ints, rng: np.random.Generator) -> Any:
    numbers = values.astype("float64")
    all_known = np.asarray(numbers[np.asarray(~pd.isna(numbers))], dtype=float)
    finite = all_known[np.isfinite(all_known)]
    start = np.asarray(numbers[rows], dtype=float)
    start = np.where(np.isinf(start), 0.0, start)  # what is added to infinity changes nothing
    with np.errstate(over="ignore"):  # beyond the largest number, infinity is another value too
        spread = float(np.std(finite)) if len(finite) else 0.0
        size = (spread or 1.0) * 10.0 ** rng.uniform(_NEAREST, _FARTHEST, len(rows))
        moved = start + size * rng.choice([-1.0, 1.0], len(rows))
        return pd.array(moved, dtype=values.dtype)


def _whole_numbers(values: Any, rows: Ints, rng: np.random.Generator) -> Any:
    """Return numbers in and just outside the range of the column, each another than before."""
    known = [int(each) for each in values[np.asarray(~pd.isna(values))]]
    limits = np.iinfo(getattr(values.dtype, "numpy_dtype", values.dtype))
    low = max(min(known) - 1, int(limits.min))
    width = min(max(known) + 1, int(limits.max)) - low
    steps = rng.integers(0, width, len(rows), dtype=np.uint64)  # ids may span all of 64 bits
    moved = [
        low + (int(values[row]) - low + int(step) + 1) % (width + 1)
        for row, step in zip(rows, steps, strict=True)
    ]
    return pd.array(moved, dtype=values.dtype)


def _times(values: Any, rows: Ints, rng: np.random.Generator) -> Any:
    days = rng.integers(1, _MOST_DAYS, len(rows)) * rng.choice([-1, 1], len(rows))
    try:
        moved = pd.Series(values[rows]) + pd.Series(pd.to_timedelta(days, unit="D"))
    except (OverflowError, ValueError):  # at the end of the times that the dtype has
        return _category(values, rows, rng)
    return moved.astype(values.dtype).array


def _texts(values: Any, rows: Ints, rng: np.random.Generator) -> Any:
    del rng
    return pd.array([f"{each}{_MARK}" for each in values[rows]], dtype=values.dtype)


_MAKERS: Mapping[ChangeKind, Callable[[Any, Ints, np.random.Generator], Any]] = {
    "value": _value,
    "missing": _missing,
    "category": _category,
}
