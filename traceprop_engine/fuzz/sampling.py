"""Fewer rows of large inputs, chosen so that what is joined still finds its partner."""

from collections import Counter
from collections.abc import Hashable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Frames = Mapping[str, pd.DataFrame]
Ints = NDArray[np.int64]


def sample_inputs(
    inputs: Frames, max_rows: int, rng: np.random.Generator
) -> dict[str, pd.DataFrame]:
    """Return the inputs, those of more than ``max_rows`` rows reduced to so many at most.

    Large inputs that share a column by name keep rows with the same values in it, as a join on it
    would need. Small inputs stay whole, and rows stay in their order.

    Args:
        inputs: Frames by name.
        max_rows: Most rows of one frame.
        rng: Chooses.
    """
    large = {name: frame for name, frame in inputs.items() if len(frame) > max_rows}
    key = _shared_column(large)
    kept = None if key is None else _kept_values(large, key, max_rows, rng)
    sampled = dict(inputs)
    for name, frame in large.items():
        rows = np.arange(len(frame))
        if kept is not None and key in frame.columns:
            rows = np.flatnonzero(frame[key].isin(kept))
        if len(rows) > max_rows or not len(rows):
            pool = rows if len(rows) else np.arange(len(frame))
            rows = np.sort(rng.choice(pool, min(max_rows, len(pool)), replace=False))
        taken = frame.take(rows)
        is_plain = isinstance(frame.index, pd.RangeIndex)
        sampled[name] = taken.reset_index(drop=True) if is_plain else taken
    return sampled


def _shared_column(large: Frames) -> Hashable | None:
    """Return the column that most of the inputs have; of several the one with most values."""
    counts = Counter(
        label
        for frame in large.values()
        for label in dict.fromkeys(frame.columns)
        if isinstance(frame.columns.get_loc(label), int)
    )
    shared = [label for label, n in counts.items() if n > 1]
    if not shared:
        return None
    return max(shared, key=lambda label: (counts[label], _n_common(large, label)))


def _n_common(large: Frames, label: Hashable) -> int:
    """Return how many values of a column all the inputs with that column have in common."""
    values = [
        set(frame[label].dropna().map(_hashable)) for frame in large.values() if label in frame
    ]
    return len(set.intersection(*values))


def _hashable(value: object) -> Hashable:
    return value if isinstance(value, Hashable) else repr(value)


def _kept_values(
    large: Frames, key: Hashable, max_rows: int, rng: np.random.Generator
) -> list[object]:
    """Return values of the shared column, as many as leave no input too many rows."""
    frames = [frame for frame in large.values() if key in frame.columns]
    counts = pd.concat([frame[key].value_counts() for frame in frames], axis=1).fillna(0)
    counts = counts.iloc[rng.permutation(len(counts))]
    # Values that every input has come first.
    counts = counts.iloc[np.argsort(-(counts > 0).sum(axis=1).to_numpy(), kind="stable")]
    fits = (counts.cumsum() <= max_rows).all(axis=1).to_numpy()
    return counts.index[fits].tolist()
