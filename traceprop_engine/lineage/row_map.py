"""Row maps: which rows of one input each row of one output came from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from traceprop_engine.errors import RowMapError
from traceprop_engine.lineage.row_map_algebra import boxes_of, composed, direct_of, stacked, united
from traceprop_engine.lineage.row_map_arrays import (
    IntArray,
    Rows,
    checked_count,
    checked_rows,
    row_set,
)
from traceprop_engine.lineage.row_map_checked import (
    context_of,
    function_of,
    gather_of,
    groups_of,
    many_of,
    pairs_of,
    range_of,
    select_of,
    window_of,
)
from traceprop_engine.lineage.row_map_compound import require_writable
from traceprop_engine.lineage.row_map_context import Context, Unknown, same_boxes
from traceprop_engine.lineage.row_map_kinds import Identity, Relation, RowMapKind
from traceprop_engine.lineage.row_map_parts import parts_of, relation_from_parts

__all__ = ["RowMap", "RowMapKind"]


@dataclass(frozen=True, eq=False, repr=False)
class RowMap:
    """Relates the rows of one output to the rows of one input.

    An operation with several inputs has one map for each. A map is immutable, its arrays are
    read-only, and it is exact: where an operation is not understood the map is ``unknown``, which
    has no rows to tell and ``is_known`` False.

    A ``context`` map relates rows through a statistic, and may relate others directly beside it.
    Composed with any known map it stays one: each output row that reaches the statistic, along
    whatever path, depends on every input row that went into it. A ``factored`` map is made by
    ``compose`` and ``union`` alone, where a map's pairs would be many times more than its rows.

    Laws: ``compose`` is associative, ``identity`` is neutral on both sides, and an output row is in
    ``forward([i])`` exactly when ``i`` is in its ``backward``. Two maps are equal (``==``) when
    they are the same object; `same_relation` compares what they say.

    Attributes:
        relation: The map as it is held; made by the constructors.

    Example:
        >>> kept = RowMap.select([0, 2, 5], n_in=6)
        >>> ordered = RowMap.gather([2, 0, 1], n_in=3)
        >>> ordered.compose(kept).backward([0])
        array([5])
        >>> ordered.compose(kept)
        RowMap(gather, n_out=3, n_in=6)
    """

    relation: Relation

    @property
    def kind(self) -> RowMapKind:
        """How the map is held."""
        return self.relation.kind

    @property
    def n_out(self) -> int:
        """Rows of the output."""
        return self.relation.n_out

    @property
    def n_in(self) -> int:
        """Rows of the input."""
        return self.relation.n_in

    @property
    def is_known(self) -> bool:
        """False when nothing is known about the rows."""
        return not isinstance(self.relation, Unknown)

    def __repr__(self) -> str:
        return f"RowMap({self.kind}, n_out={self.n_out}, n_in={self.n_in})"

    @classmethod
    def identity(cls, n: int) -> "RowMap":
        """Return the map of an output whose row ``i`` is input row ``i``."""
        n = checked_count(n, "n")
        return cls(Identity(n, n))

    @classmethod
    def range(cls, start: int, step: int, n_out: int, n_in: int) -> "RowMap":
        """Return the map of an output whose row ``i`` is input row ``start + step * i``.

        Raises:
            RowMapError: ``step`` is 0, or the range leaves the input.
        """
        return cls(range_of(start, step, n_out, n_in))

    @classmethod
    def select(cls, in_rows: ArrayLike, n_in: int) -> "RowMap":
        """Return the map of a filter: output row ``i`` is input row ``in_rows[i]``.

        Raises:
            RowMapError: A row is out of range, or not larger than the one before.
        """
        return cls(select_of(in_rows, n_in))

    @classmethod
    def gather(cls, in_rows: ArrayLike, n_in: int) -> "RowMap":
        """Return the map of a reordering: output row ``i`` is input row ``in_rows[i]``.

        Rows may repeat; -1 says that the output row has no parent.

        Raises:
            RowMapError: A row is out of range.
        """
        return cls(gather_of(in_rows, n_in))

    @classmethod
    def classify(cls, in_rows: ArrayLike, n_in: int) -> "RowMap":
        """Return the same relation as ``gather``, in the cheapest kind.

        Raises:
            RowMapError: A row is out of range.
        """
        return cls(function_of(in_rows, n_in))

    @classmethod
    def groups(cls, codes: ArrayLike, n_out: int) -> "RowMap":
        """Return the map of an aggregation: input row ``i`` went into output row ``codes[i]``.

        -1 says that the input row was dropped; the input has as many rows as there are codes.

        Raises:
            RowMapError: A code is out of range.
        """
        return cls(groups_of(codes, n_out))

    @classmethod
    def segments(cls, parts: Iterable[tuple[int, "RowMap"]]) -> "RowMap":
        """Return the map of a concatenation: the outputs of maps of one input, stacked.

        A part that is unknown makes the whole unknown.

        Args:
            parts: For each piece its number of rows and its map.

        Raises:
            RowMapError: There is no part, a map does not have the rows it is said to have, or the
                parts have different inputs.
        """
        pieces = list(parts)
        if not pieces:
            raise RowMapError("A concatenation of no parts has no input", "pass at least one part")
        n_in = pieces[0][1].n_in
        for at, (n_rows, part) in enumerate(pieces):
            if part.n_out != n_rows or part.n_in != n_in:
                raise RowMapError(
                    f"Part {at} is {part}, expected n_out={n_rows}, n_in={n_in}",
                    "stack maps of one input, each with its own number of rows",
                )
        return cls(stacked([part.relation for _, part in pieces], n_in))

    @classmethod
    def window(cls, lo: ArrayLike, hi: ArrayLike, n_in: int) -> "RowMap":
        """Return the map of a window: output row ``i`` came from input rows ``lo[i]`` to ``hi[i]``.

        ``hi`` is not included; what reaches over the ends of the input is cut off.

        Raises:
            RowMapError: The bounds differ in number, or one ends before it begins.
        """
        return cls(window_of(lo, hi, n_in))

    @classmethod
    def many(cls, offsets: ArrayLike, members: ArrayLike, n_in: int) -> "RowMap":
        """Return the map whose output row ``i`` came from ``members[offsets[i]:offsets[i + 1]]``.

        Raises:
            RowMapError: A member is out of range, or the offsets do not ascend from 0 to the
                number of members.
        """
        return cls(many_of(offsets, members, n_in))

    @classmethod
    def from_pairs(cls, out_rows: ArrayLike, in_rows: ArrayLike, n_out: int, n_in: int) -> "RowMap":
        """Return the map of these pairs, in any order and with repeats, in the cheapest kind.

        Raises:
            RowMapError: A row is out of range, or the two differ in number.
        """
        return cls(pairs_of(out_rows, in_rows, n_out, n_in))

    @classmethod
    def context(cls, n_out: int, members: ArrayLike, n_in: int) -> "RowMap":
        """Return the map of a statistic: every output row depends on all of ``members``.

        It is never written out as pairs.

        Raises:
            RowMapError: A member is out of range.
        """
        return cls(context_of(n_out, members, n_in))

    @classmethod
    def unknown(cls, n_out: int, n_in: int) -> "RowMap":
        """Return the map of which nothing is known.

        It has no rows to tell, ``is_known`` is False, and whatever it is composed with is unknown.
        """
        return cls(Unknown(checked_count(n_out, "n_out"), checked_count(n_in, "n_in")))

    def backward(self, rows: ArrayLike) -> Rows:
        """Return the input rows that the output ``rows`` came from, ascending and distinct.

        Rows that a statistic depends on are among them. Empty when the map is unknown.

        Raises:
            RowMapError: A row is out of range.
        """
        wanted = row_set(checked_rows(rows, self.n_out, "rows"), self.n_out)
        return self.relation.backward(wanted).astype(np.int64, copy=False)

    def forward(self, rows: ArrayLike) -> Rows:
        """Return the output rows that the input ``rows`` went into, ascending and distinct.

        Rows that depend on them through a statistic are among them. Empty when the map is unknown.

        Raises:
            RowMapError: A row is out of range.
        """
        wanted = row_set(checked_rows(rows, self.n_in, "rows"), self.n_in)
        return self.relation.forward(wanted).astype(np.int64, copy=False)

    def compose(self, inner: "RowMap") -> "RowMap":
        """Return the map from the input of ``inner`` to the output of this one.

        This map is C from B, ``inner`` is B from A, the result is C from A. It is a context map if
        either of the two is one, and unknown if either is unknown.

        Raises:
            RowMapError: The output of ``inner`` does not have the rows of this map's input.
        """
        if self.n_in != inner.n_out:
            raise RowMapError(
                f"{self} cannot follow {inner}", f"its n_in must be {inner.n_out}, the rows between"
            )
        return RowMap(composed(self.relation, inner.relation))

    def take(self, rows: ArrayLike) -> "RowMap":
        """Return the map of ``output[rows]``; rows may repeat, -1 gives a row without parent.

        Raises:
            RowMapError: A row is out of range.
        """
        return RowMap(composed(function_of(rows, self.n_out, "rows"), self.relation))

    def union(self, other: "RowMap") -> "RowMap":
        """Return the map of the rows that either map relates; unknown if either is unknown.

        Raises:
            RowMapError: The maps have different numbers of rows.
        """
        if (self.n_out, self.n_in) != (other.n_out, other.n_in):
            raise RowMapError(
                f"{self} and {other} relate different tables", "unite maps of the same two tables"
            )
        return RowMap(united(self.relation, other.relation))

    def covered(self) -> NDArray[np.bool_]:
        """Return ``[n_out]``: whether each output row has a known direct parent."""
        return self.relation.covered()

    def coverage(self) -> float:
        """Return the share of output rows with a known direct parent; 1.0 for no rows."""
        return float(self.covered().mean()) if self.n_out else 1.0

    def pairs(self) -> tuple[Rows, Rows]:
        """Return the related output and input rows, sorted; none when the map is unknown.

        Raises:
            RowMapError: The map is a context map, whose pairs are never written out, or a window or
                factored map of more pairs than fit in memory.
        """
        if isinstance(self.relation, Context):
            raise RowMapError(
                f"{self} goes through a statistic and is never written out as pairs",
                "ask backward(rows) or forward(rows)",
            )
        direct = direct_of(self.relation)
        if direct is None:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        require_writable(direct)
        return direct.pairs()

    def same_relation(self, other: "RowMap") -> bool:
        """Say whether two maps relate the same rows in the same way, however they are held.

        A dependency through a statistic is not the same as a direct one. It writes out the pairs.

        Raises:
            RowMapError: A map has more pairs than fit in memory.
        """
        if (self.n_out, self.n_in, self.is_known) != (other.n_out, other.n_in, other.is_known):
            return False
        mine, theirs = (RowMap(_direct(one.relation)).pairs() for one in (self, other))
        same_direct = all(map(np.array_equal, mine, theirs))
        return same_direct and same_boxes(boxes_of(self.relation), boxes_of(other.relation))

    def to_parts(self) -> tuple[RowMapKind, dict[str, int], dict[str, IntArray]]:
        """Return kind, numbers and columns of equal length, from which `from_parts` makes the map.

        The relation is the same, the kind may be another: segments, and whatever is factored but
        has few pairs, are written as the simple kind they flatten to. ``select`` and ``gather``
        have the column ``in_row``, ``groups`` ``out_row``, ``window`` ``lo`` and ``hi``, ``many``
        ``out_row`` and ``in_row``, ``range`` the numbers ``start`` and ``step``. ``context`` and
        ``factored`` are written as a tree, with the columns ``node``, ``first`` and ``second``.
        """
        return parts_of(self.relation)

    @classmethod
    def from_parts(
        cls,
        kind: RowMapKind,
        n_out: int,
        n_in: int,
        params: Mapping[str, int],
        columns: Mapping[str, IntArray],
    ) -> "RowMap":
        """Return the map that `to_parts` took apart.

        Raises:
            RowMapError: The parts do not make a map of that kind and size.
        """
        return cls(relation_from_parts(kind, n_out, n_in, params, columns))


def _direct(relation: Relation) -> Relation:
    """Return the relation of single rows; one that says nothing where there is none."""
    return direct_of(relation) or Unknown(relation.n_out, relation.n_in)
