"""The cells of two results, compared with a tolerance: running sums leave traces of rounding."""

import sys
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_RELATIVE_TO_SPREAD = 1e-9
_RELATIVE_TO_SIZE = 1e-12
_FINGERPRINT_STEPS = 1e6
"""Steps in the spread of a column; values that differ by less look alike to a fingerprint."""

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]
Label = tuple[Hashable, int]


@dataclass(frozen=True, eq=False)
class Scale:
    """How large the numbers of a column are; 0 for other columns."""

    lowest: float = 0.0
    spread: float = 0.0
    size: float = 0.0

    @property
    def tolerance(self) -> float:
        """Differences up to this are rounding."""
        return _RELATIVE_TO_SPREAD * self.spread + _RELATIVE_TO_SIZE * self.size


@dataclass(frozen=True, eq=False)
class Cells:
    """The columns of a result, and the levels of its index that have a name.

    Attributes:
        columns: Values of each column, by its label and how often that stood before: whole numbers,
            floating-point numbers, or any objects.
        n_rows: How many rows.
    """

    columns: dict[Label, NDArray[Any]]
    n_rows: int

    @classmethod
    def of(cls, frame: pd.DataFrame) -> "Cells":
        """Return the cells of a frame."""
        named = [level for level in range(frame.index.nlevels) if frame.index.names[level]]
        pieces = [
            *((frame.index.names[at], frame.index.get_level_values(at).array) for at in named),
            *((label, frame.iloc[:, at].array) for at, label in enumerate(frame.columns)),
        ]
        columns: dict[Label, NDArray[Any]] = {}
        seen: dict[Hashable, int] = {}
        for label, values in pieces:
            seen[label] = seen.get(label, -1) + 1
            columns[label, seen[label]] = _plain(values)
        return cls(columns, len(frame))

    def scales(self) -> dict[Label, Scale]:
        """Return how large the numbers of each column are."""
        return {label: _scale(values) for label, values in self.columns.items()}


def differences(
    before: Cells, after: Cells, rows: tuple[Ints, Ints], scales: Mapping[Label, Scale]
) -> dict[Label, Bools]:
    """Return for each column that both have where its values differ.

    Args:
        before: One result.
        after: Another.
        rows: Rows of the one, and the row of the other that each is compared with.
        scales: Of the columns of ``before``.
    """
    return {
        label: _differ(values[rows[0]], after.columns[label][rows[1]], scales[label].tolerance)
        for label, values in before.columns.items()
        if label in after.columns
    }


def fingerprints(cells: Cells, labels: list[Label], scales: Mapping[Label, Scale]) -> Hashes:
    """Return a number for each row, alike for rows whose cells are alike."""
    total = np.zeros(cells.n_rows, dtype=np.uint64)
    for label in labels:
        total = total * np.uint64(0x9E3779B97F4A7C15) + _hashed(cells.columns[label], scales[label])
    return total


def same(one: Cells, other: Cells) -> bool:
    """Say whether two results have the same columns, rows and cells, in the same order."""
    if one.n_rows != other.n_rows or list(one.columns) != list(other.columns):
        return False
    every = np.arange(one.n_rows)
    found = differences(one, other, (every, every), one.scales())
    return not any(each.any() for each in found.values())


def text_of(value: Any) -> str:
    """Return a text that stands for a value, all of it; of an array's numbers seven digits.

    NumPy itself leaves out the middle of a long array, such as an embedding.
    """
    if not isinstance(value, np.ndarray) or value.dtype == object:
        with np.printoptions(threshold=sys.maxsize):
            return repr(value.item() if isinstance(value, np.generic) else value)
    if value.dtype.kind == "f":
        with np.errstate(over="ignore"):
            value = value.astype("float32") + np.float32(0)  # there are two zeros
    return f"{value.dtype}{value.shape}{value.tobytes().hex()}"


def _plain(values: Any) -> NDArray[Any]:
    dtype = values.dtype
    if pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_complex_dtype(dtype):
        has_gaps = bool(np.asarray(pd.isna(values)).any())
        if pd.api.types.is_float_dtype(dtype) or has_gaps:
            return values.astype("Float64").to_numpy(dtype="float64", na_value=np.nan)
        return np.asarray(values).astype("uint64" if _is_large(dtype) else "int64")
    if isinstance(dtype, pd.SparseDtype):
        values = np.asarray(values)
    return np.asarray(values, dtype=object)


def _is_large(dtype: Any) -> bool:
    return str(dtype).lower() == "uint64"


def _scale(values: NDArray[Any]) -> Scale:
    if values.dtype == object:
        return Scale()
    known = values.astype("float64")
    known = known[np.isfinite(known)]
    if not len(known):
        return Scale()
    low, high = float(known.min()), float(known.max())
    return Scale(low, high - low, max(abs(low), abs(high)))


def _differ(old: NDArray[Any], new: NDArray[Any], tolerance: float) -> Bools:
    if object in (old.dtype, new.dtype):
        return _differ_as_objects(old.astype(object), new.astype(object))
    if old.dtype.kind != "f" and new.dtype.kind != "f":
        return old != new
    one, other = old.astype("float64"), new.astype("float64")
    with np.errstate(invalid="ignore"):
        apart = np.abs(one - other) > tolerance
    odd = ~(np.isfinite(one) & np.isfinite(other))
    alike = (one == other) | (np.isnan(one) & np.isnan(other))
    return np.where(odd, ~alike, apart)


def _differ_as_objects(old: NDArray[Any], new: NDArray[Any]) -> Bools:
    both = np.concatenate([old, new])
    try:
        codes, _ = pd.factorize(both)
    except TypeError:  # values without a hash, such as lists
        codes, _ = pd.factorize(np.array([text_of(each) for each in both], dtype=object))
    return codes[: len(old)] != codes[len(old) :]


def _hashed(values: NDArray[Any], scale: Scale) -> Hashes:
    if values.dtype == object:
        gaps = pd.isna(values)
        texts = np.array(
            [_short_text(each, gap=gap) for each, gap in zip(values, gaps, strict=True)],
            dtype=object,
        )
        return pd.util.hash_array(texts, categorize=False)
    numbers = values.astype("float64")
    step = scale.spread / _FINGERPRINT_STEPS
    if values.dtype.kind == "f" and step > 0:
        # The half step keeps round values, which are frequent, away from where steps end.
        numbers = np.floor((numbers - scale.lowest) / step + 1 / 3)
    return pd.util.hash_array(numbers + 0.0)


def _short_text(value: Any, *, gap: bool) -> str:
    if gap:
        return ""
    return value if isinstance(value, str) else text_of(value)
