"""Hold captured row maps against the values: columns that passed through must agree with them.

Capture follows whole rows. What it cannot see is a column whose values were moved under a fixed
index, such as ``df["x"] = df["x"].to_numpy()[::-1]``. The values can: in an output row that came
from input row 7, a column of the same name and dtype holds the value of row 7, unless it was
computed anew. A column that disagrees is told apart as follows.

*Recomputed*, no contradiction: values that the input does not have (scaled, rounded, lower-cased,
hashed); values that are a function of the old value (a flag inverted, categories or repeated
identifiers encoded anew, also as a bijection); a number or a date that changed by the same amount
in every row, or was taken from the same amount; numbers counted up along the rows; a value copied
from a row that kept it (the largest of a group); gaps that were filled, values that were blanked.

*Moved*, a contradiction: at least nine in ten of the changed values are each the value of exactly
one other input row, which did not keep it, and stand in no more rows than that row can have been
moved to; or the changed values are, up to one in a hundred, the same as before in another order,
with eight or more different ones.

The price: identifiers, each in one row, that are replaced by one another look moved, whatever the
reason; give the new column another name. A column of few different values that was permuted (a
binary flag) passes, because an honest change looks the same.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from traceprop_engine.errors import CaptureError, LineageContradictionError
from traceprop_engine.lineage.captured import CapturedLineage
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.lineage.row_map_kinds import Function

FULL_ROWS = 100_000
"""Up to so many output rows, every row is compared."""

SAMPLE_ROWS = 65_536
"""Of more output rows, so many are compared: evenly spaced, the same in every run."""

_MOVED_SHARE = 0.9
_REORDERED_SHARE = 0.99
_DIFFERENT_VALUES = 8
_ROWS_THAT_REPEAT = 4
_FEW_VALUES = 1_000

Ints = NDArray[np.int64]


def check_witness(
    lineage: CapturedLineage, inputs: Mapping[str, pd.DataFrame], output: pd.DataFrame
) -> CapturedLineage:
    """Compare a result with its inputs along the maps that give each row at most one parent.

    Args:
        lineage: What was captured for ``output``.
        inputs: The frames as they were loaded, by name; those that are missing are not compared.
        output: The result.

    Returns:
        ``lineage``, which the values do not contradict.

    Raises:
        LineageContradictionError: The values of a column were moved to other rows.
        CaptureError: A map was made for other frames than these.
    """
    for name, row_map in lineage.maps.items():
        frame = inputs.get(name)
        if frame is None or not isinstance(row_map.relation, Function):
            continue
        _require_sizes(name, row_map, frame, output)
        rows = _compared_rows(row_map.relation.parents())
        for column in _shared_columns(frame, output):
            _check_column(name, column, frame[column], output[column], rows)
    return lineage


def _require_sizes(name: str, row_map: RowMap, frame: pd.DataFrame, output: pd.DataFrame) -> None:
    if (row_map.n_in, row_map.n_out) != (len(frame), len(output)):
        raise CaptureError(
            f"The map of input {name!r} is {row_map}, but the frames have {len(frame)} and "
            f"{len(output)} rows",
            "pass the frames that the lineage was captured from",
        )


def _compared_rows(parents: NDArray[Any]) -> tuple[Ints, Ints]:
    """Return output rows that have a parent, a sample of them if they are many, and the parents."""
    has_parent = parents >= 0
    out_rows = np.arange(len(parents)) if has_parent.all() else np.flatnonzero(has_parent)
    if len(out_rows) > FULL_ROWS:
        at = np.linspace(0, len(out_rows) - 1, SAMPLE_ROWS).astype(np.int64)
        out_rows = out_rows[at]
    return out_rows, parents[out_rows].astype(np.int64)


def _shared_columns(frame: pd.DataFrame, output: pd.DataFrame) -> list[Any]:
    """Return the columns that both frames have once, with the same dtype."""
    before, after = _dtypes(frame), _dtypes(output)
    return [column for column in before if column in after and before[column] == after[column]]


def _dtypes(frame: pd.DataFrame) -> dict[Any, Any]:
    """Return the dtypes of the columns that a frame has once."""
    once = ~frame.columns.duplicated(keep=False)
    return dict(zip(frame.columns[once], frame.dtypes.array[once], strict=True))


def _check_column(
    name: str, column: Any, before: pd.Series, after: pd.Series, rows: tuple[Ints, Ints]
) -> None:
    out_rows, parents = rows
    old = before.take(parents).array
    new = after.take(out_rows).array
    changed = _changed(old, new)
    if not changed.any():
        return
    codes = _codes(before, old, new, changed)
    if codes is None:
        return
    found = _moved_to(codes, changed, old, new, parents)
    if found is not None:
        at, source = found
        raise LineageContradictionError(
            str(column), name, int(out_rows[at]), int(parents[at]), source
        )


def _changed(old: Any, new: Any) -> NDArray[np.bool_]:
    """Return where a value was replaced by another; a gap that was filled or made is none."""
    with np.errstate(invalid="ignore"):
        same = np.asarray(pd.array(old == new, dtype="boolean").fillna(value=False), dtype=bool)
    return ~same & ~np.asarray(pd.isna(old)) & ~np.asarray(pd.isna(new))


def _codes(
    before: pd.Series, old: Any, new: Any, changed: NDArray[np.bool_]
) -> tuple[Ints, Ints, Ints] | None:
    """Return all three columns as codes of the same values.

    ``None`` for values without a hash, and for a long column whose new values are plainly new.
    """
    pieces = [before, pd.Series(old), pd.Series(new)]
    try:
        if len(before) > FULL_ROWS:
            few = pieces[2][changed].head(_FEW_VALUES)
            if few.isin(before[before.isin(few)]).mean() < _MOVED_SHARE / 2:
                return None
        codes, _ = pd.factorize(pd.concat(pieces, ignore_index=True))
    except TypeError:
        return None
    all_old, some_old, some_new = np.split(codes, np.cumsum([len(each) for each in pieces])[:2])
    return all_old, some_old, some_new


def _moved_to(
    codes: tuple[Ints, Ints, Ints],
    changed: NDArray[np.bool_],
    old: Any,
    new: Any,
    parents: Ints,
) -> tuple[int, int] | None:
    """Return a compared row and the input row whose value it got, if the column was moved."""
    every, before, after = codes
    n_values = int(max(every.max(), after.max())) + 1
    known = np.flatnonzero(every >= 0)
    source = np.full(n_values, -1, dtype=np.int64)
    source[every[known]] = known
    if _is_function(before, after, parents, n_values) or _is_computed(old, new, source[after]):
        return None
    rows = np.flatnonzero(changed)
    # A row that kept its value gave it to nobody.
    givers = source.copy()
    givers[before[(before == after) & (before >= 0)]] = -1
    is_moved = len(rows) > 1 and (
        _moved_share(every[known], after[rows], givers, parents, rows) >= _MOVED_SHARE
        or _is_reordered(before[rows], after[rows], n_values)
    )
    if not is_moved:
        return None
    first = rows[np.flatnonzero(source[after[rows]] >= 0)[0]]
    return int(first), int(source[after[first]])


def _moved_share(every: Ints, changed: Ints, source: Ints, parents: Ints, rows: Ints) -> float:
    """Return which share of the changed values can have come from one other input row each.

    A value that several input rows hold now can have come to as many of them as its own row has
    copies in the output, to one at least.
    """
    counts = np.bincount(every, minlength=len(source))
    elsewhere = (counts[changed] == 1) & (source[changed] >= 0) & (source[changed] != parents[rows])
    values, holders = changed[elsewhere], parents[rows][elsewhere]
    pairs = np.unique(np.stack([values, holders]), axis=1)
    n_holders = np.bincount(pairs[0], minlength=len(source))[values]
    copies = np.bincount(parents, minlength=int(source.max(initial=0)) + 1)[source[values]]
    can_have_come = np.minimum(1.0, np.maximum(copies, 1) / n_holders)
    return float(can_have_come.sum() / len(changed))


def _is_function(before: Ints, after: Ints, parents: Ints, n_values: int) -> bool:
    """Say whether equal old values gave equal new ones, as old values in several rows show."""
    known = before >= 0
    before, after = before[known], after[known]
    image = np.full(n_values, -2, dtype=np.int64)
    image[before] = after
    _, once = np.unique(parents[known], return_index=True)
    counts = np.bincount(before[once], minlength=n_values)
    repeats = counts[counts > 1].sum()
    return bool(repeats >= _ROWS_THAT_REPEAT and (image[before] == after).all())


def _is_computed(old: Any, new: Any, source: Ints) -> bool:
    """Say whether numbers or dates follow from the old ones, or from the position of the row.

    Each of these may also be what moving gives: of old values that ascend evenly. Then a moved
    column is told by having no new value.
    """
    dtype = old.dtype
    is_number = pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype)
    both = ~np.asarray(pd.isna(old)) & ~np.asarray(pd.isna(new))
    before, after = old[both], new[both]
    if is_number and _are_same(after - before):
        return True
    if pd.api.types.is_datetime64_any_dtype(dtype) and _are_same(after - before):
        return True
    if not is_number or len(after) < _DIFFERENT_VALUES:
        return False
    counted_up = _are_same(after[1:] - after[:-1]) and bool((source < 0).any())
    return counted_up or (_are_same(after + before) and not _are_same(before[1:] - before[:-1]))


def _are_same(values: Any) -> bool:
    return len(values) > 0 and bool(np.asarray(values == values[0]).all())


def _is_reordered(before: Ints, after: Ints, n_values: int) -> bool:
    """Say whether the changed values are the old ones in another order."""
    old, new = (np.bincount(each, minlength=n_values) for each in (before, after))
    kept = int(np.minimum(old, new).sum())
    enough = np.count_nonzero(old) >= _DIFFERENT_VALUES
    return bool(enough and kept >= _REORDERED_SHARE * len(before))
