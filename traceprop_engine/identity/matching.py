"""Which rows of a new version are rows of the old one: the same, moved, edited, or new."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from traceprop_engine.errors import KeyColumnsError, RepeatedKeyError, UnlikeFingerprintsError
from traceprop_engine.identity.fingerprints import Fingerprints, Hashes, first_repeat
from traceprop_engine.lineage.row_map import RowMap

Rows = npt.NDArray[np.int64]

_NONE = -1


@dataclass(frozen=True)
class MatchCounts:
    """How many rows there are of each kind.

    All but ``new`` add up to the rows of the old version, all but ``gone`` to those of the new one.

    Attributes:
        same: Equal rows, in the order they had.
        moved: Equal rows at another place among the others: the fewest that explain the new order.
        edited: Rows with the same key and other values.
        gone: Rows of the old version alone.
        new: Rows of the new version alone.
    """

    same: int
    moved: int
    edited: int
    gone: int
    new: int


@dataclass(frozen=True, eq=False)
class VersionMatch:
    """How the rows of a new version follow from the rows of an old one.

    Attributes:
        n_old: Rows of the old version.
        n_new: Rows of the new version.
        old_of_new: For each row of the new version the row of the old one that it is, -1 for none;
            ``int64``, no old row twice.
        is_edited: For each row of the new version, whether it is that row with other values.
    """

    n_old: int
    n_new: int
    old_of_new: Rows
    is_edited: npt.NDArray[np.bool_]

    @property
    def gone(self) -> Rows:
        """Rows of the old version that are no row of the new one, ascending."""
        is_gone = np.ones(self.n_old, dtype=bool)
        is_gone[self.old_of_new[self.old_of_new != _NONE]] = False
        return np.flatnonzero(is_gone)

    @property
    def new(self) -> Rows:
        """Rows of the new version that are no row of the old one, ascending."""
        return np.flatnonzero(self.old_of_new == _NONE)

    @property
    def edited(self) -> Rows:
        """Rows of the new version that were edited, ascending."""
        return np.flatnonzero(self.is_edited)

    @cached_property
    def moved(self) -> Rows:
        """Rows of the new version that are equal to a row of the old one and out of its order."""
        equal = np.flatnonzero((self.old_of_new != _NONE) & ~self.is_edited)
        return equal[_out_of_order(self.old_of_new[equal])]

    @property
    def counts(self) -> MatchCounts:
        """How many rows there are of each kind."""
        n_new, n_edited, n_moved = len(self.new), len(self.edited), len(self.moved)
        return MatchCounts(
            same=self.n_new - n_new - n_edited - n_moved,
            moved=n_moved,
            edited=n_edited,
            gone=len(self.gone),
            new=n_new,
        )

    @property
    def row_map(self) -> RowMap:
        """The rows of the new version from those of the old one, edited rows among them."""
        return RowMap.classify(self.old_of_new, self.n_old)


def match_versions(
    old: Fingerprints, new: Fingerprints, *, key_columns: Sequence[str] = ()
) -> VersionMatch:
    """Return which rows of ``new`` are rows of ``old``.

    Equal rows are paired first, the first of them with the first, and so on: which of several equal
    rows is which nobody can tell. With key columns, the rows that are left over are paired by
    their key; without, an edited row is one that is gone and one that is new.

    The pairs are exact but for the chance that two different rows share a fingerprint, see
    `traceprop_engine.identity.fingerprints.MOST_ROWS`.

    Args:
        old: Fingerprints of the rows of one version.
        new: Those of another version, made with the same secret.
        key_columns: The key columns that both were made with.

    Raises:
        UnlikeFingerprintsError: They were made with different secrets.
        KeyColumnsError: One of them was not made with these key columns.
        RepeatedKeyError: Two rows of one version have the same key.

    Example:
        >>> import pandas as pd
        >>> from traceprop_engine.identity.fingerprints import row_fingerprints
        >>> secret = b"a secret of the project"
        >>> old = row_fingerprints(pd.DataFrame({"id": [1, 2, 3]}), secret)
        >>> new = row_fingerprints(pd.DataFrame({"id": [9, 3, 1]}), secret)
        >>> match_versions(old, new).old_of_new.tolist()
        [-1, 2, 0]
    """
    if old.secret_id != new.secret_id:
        way_out = "restore the secret of the store, or make both anew with one secret"
        raise UnlikeFingerprintsError("they were made with different secrets", way_out)
    old_of_new = _matched(old.rows, new.rows, new.occurrences)
    is_edited = np.zeros(new.n_rows, dtype=bool)
    if key_columns:
        old_keys, new_keys = (
            _keys_of(side, what, key_columns)
            for side, what in ((old, "the old version"), (new, "the new version"))
        )
        left = np.flatnonzero(old_of_new == _NONE)
        unmatched = VersionMatch(old.n_rows, new.n_rows, old_of_new, is_edited)
        gone = unmatched.gone
        found = _matched(old_keys[gone], new_keys[left])
        edited = left[found != _NONE]
        old_of_new[edited] = gone[found[found != _NONE]]
        is_edited[edited] = True
    for array in (old_of_new, is_edited):
        array.flags.writeable = False
    return VersionMatch(old.n_rows, new.n_rows, old_of_new, is_edited)


def _keys_of(side: Fingerprints, what: str, key_columns: Sequence[str]) -> Hashes:
    if side.keys is None or side.key_columns != tuple(sorted(set(key_columns))):
        raise KeyColumnsError(list(key_columns), list(side.key_columns))
    if (pair := first_repeat(side.keys)) is not None:
        raise RepeatedKeyError(what, side.key_columns, pair)
    return side.keys


def _matched(
    old: Hashes, new: Hashes, new_occurrences: npt.NDArray[np.int32] | None = None
) -> Rows:
    """Return for each new hash the old place with an equal hash and occurrence, or -1.

    Without occurrences the hashes of each side are distinct.
    """
    order = np.argsort(old, kind="stable")  # equal hashes stay in the order of their occurrences
    sorted_old = old[order]
    places = np.searchsorted(sorted_old, new)
    if new_occurrences is not None:
        places = places + new_occurrences
    inside = np.flatnonzero(places < len(old))
    equal = inside[sorted_old[places[inside]] == new[inside]]
    found = np.full(len(new), _NONE, dtype=np.int64)
    found[equal] = order[places[equal]]
    return found


def _out_of_order(values: Rows) -> Rows:
    """Return the places that are not in one longest increasing run of distinct ``values``."""
    if not len(values) or (np.diff(values) > 0).all():
        return np.empty(0, dtype=np.int64)
    # Patience sorting (Fredman 1975): the least last value of an increasing run of each length.
    lasts: list[int] = []
    at: list[int] = []
    before: list[int] = []
    for place, value in enumerate(values.tolist()):
        length = bisect_left(lasts, value)
        before.append(at[length - 1] if length else _NONE)
        if length == len(lasts):
            lasts.append(value)
            at.append(place)
        else:
            lasts[length] = value
            at[length] = place
    is_out = np.ones(len(values), dtype=bool)
    place = at[-1]
    while place != _NONE:
        is_out[place] = False
        place = before[place]
    return np.flatnonzero(is_out)
