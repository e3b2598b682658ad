"""Row maps: which rows of one input each row of one output came from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from traceprop_engine.errors import RowMapError
from traceprop_engine.lineage.row_map_algebra import (
    boxes_of,
    classified,
    composed,
    direct_of,
    from_any_pairs,
    ranged,
    stacked,
    united,
)
from traceprop_engine.lineage.row_map_arrays import (
    IntArray,
    Rows,
    checked_count,
    checked_integers,
    checked_rows,
    distinct_pairs,
    frozen,
    is_increasing,
    offsets_of,
    owned,
    row_set,
)
from traceprop_engine.lineage.row_map_context import Box, Context, RowSet, Unknown, same_boxes
from traceprop_engine.lineage.row_map_kinds import (
    Gather,
    Groups,
    Identity,
    Many,
    Relation,
    RowMapKind,
    Select,
    Window,
)
from traceprop_engine.lineage.row_map_parts import context_from_parts, parts_of

__all__ = ["RowMap", "RowMapKind"]


@dataclass(frozen=True, eq=False, repr=False)
class RowMap:
    """Relates the rows of one output to the rows of one input.

    An operation with several inputs has one map for each. A map is immutable, its arrays are
    read-only, and it is exact: where an operation is not understood the map is ``unknown``, which
    has no rows to tell and ``is_known`` False.

    Laws: ``compose`` is associative, ``identity`` is neutral on both sides, and an output row is in
    ``forward([i])`` exactly when ``i`` is in its ``backward``.

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
        n_out, n_in = checked_count(n_out, "n_out"), checked_count(n_in, "n_in")
        start, step = int(start), int(step)
        if step == 0:
            raise RowMapError("step is 0", "use RowMap.gather for rows that repeat")
        last = start + step * (n_out - 1)
        for name, row in (("start", start), ("the last row", last)):
            if n_out and not 0 <= row < n_in:
                raise RowMapError(f"{name} of the range is {row}", f"the input has {n_in} rows")
        return cls(ranged(start if n_out else 0, step, n_out, n_in))

    @classmethod
    def select(cls, in_rows: ArrayLike, n_in: int) -> "RowMap":
        """Return the map of a filter: output row ``i`` is input row ``in_rows[i]``.

        Raises:
            RowMapError: A row is out of range, or not larger than the one before.
        """
        n_in = checked_count(n_in, "n_in")
        rows = checked_rows(in_rows, n_in, "in_rows")
        if not is_increasing(rows):
            at = int(np.flatnonzero(rows[1:] <= rows[:-1])[0]) + 1
            raise RowMapError(
                f"in_rows[{at}] is {rows[at]} after {rows[at - 1]}, but a selection ascends",
                "use RowMap.gather for rows in any order",
            )
        return cls(Select(frozen(rows, n_in), len(rows), n_in))

    @classmethod
    def gather(cls, in_rows: ArrayLike, n_in: int) -> "RowMap":
        """Return the map of a reordering: output row ``i`` is input row ``in_rows[i]``.

        Rows may repeat; -1 says that the output row has no parent.

        Raises:
            RowMapError: A row is out of range.
        """
        n_in = checked_count(n_in, "n_in")
        rows = checked_rows(in_rows, n_in, "in_rows", none=True)
        return cls(Gather(frozen(rows, n_in), len(rows), n_in))

    @classmethod
    def classify(cls, in_rows: ArrayLike, n_in: int) -> "RowMap":
        """Return the same relation as ``gather``, in the cheapest kind.

        Raises:
            RowMapError: A row is out of range.
        """
        n_in = checked_count(n_in, "n_in")
        rows = checked_rows(in_rows, n_in, "in_rows", none=True)
        return cls(classified(frozen(rows, n_in), n_in))

    @classmethod
    def groups(cls, codes: ArrayLike, n_out: int) -> "RowMap":
        """Return the map of an aggregation: input row ``i`` went into output row ``codes[i]``.

        -1 says that the input row was dropped; the input has as many rows as there are codes.

        Raises:
            RowMapError: A code is out of range.
        """
        n_out = checked_count(n_out, "n_out")
        rows = checked_rows(codes, n_out, "codes", none=True)
        return cls(Groups(frozen(rows, n_out), n_out, len(rows)))

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
        n_in = checked_count(n_in, "n_in")
        starts, ends = checked_integers(lo, "lo"), checked_integers(hi, "hi")
        if len(starts) != len(ends):
            raise RowMapError(
                f"lo has {len(starts)} rows and hi has {len(ends)}", "pass one of each per row"
            )
        if (ends < starts).any():
            at = int(np.flatnonzero(ends < starts)[0])
            raise RowMapError(
                f"Window {at} goes from {starts[at]} to {ends[at]}", "a window ends at or after lo"
            )
        clipped = [np.clip(end, 0, n_in).astype(np.int64) for end in (starts, ends)]
        empty = clipped[0] == clipped[1]
        low, high = (owned(np.where(empty, 0, end), n_in) for end in clipped)
        return cls(Window(low, high, len(low), n_in))

    @classmethod
    def many(cls, offsets: ArrayLike, members: ArrayLike, n_in: int) -> "RowMap":
        """Return the map whose output row ``i`` came from ``members[offsets[i]:offsets[i + 1]]``.

        Raises:
            RowMapError: A member is out of range, or the offsets do not ascend from 0 to the
                number of members.
        """
        n_in = checked_count(n_in, "n_in")
        found = checked_rows(members, n_in, "members")
        bounds = _checked_offsets(checked_integers(offsets, "offsets"), len(found))
        n_out = len(bounds) - 1
        out_rows = np.repeat(np.arange(n_out, dtype=np.int64), np.diff(bounds))
        out_rows, in_rows = distinct_pairs(out_rows, found, n_in)
        counts = np.bincount(out_rows, minlength=n_out)
        return cls(Many(offsets_of(counts), frozen(in_rows, n_in), n_out, n_in))

    @classmethod
    def from_pairs(cls, out_rows: ArrayLike, in_rows: ArrayLike, n_out: int, n_in: int) -> "RowMap":
        """Return the map of these pairs, in any order and with repeats, in the cheapest kind.

        Raises:
            RowMapError: A row is out of range, or the two differ in number.
        """
        n_out, n_in = checked_count(n_out, "n_out"), checked_count(n_in, "n_in")
        outs = checked_rows(out_rows, n_out, "out_rows")
        ins = checked_rows(in_rows, n_in, "in_rows")
        if len(outs) != len(ins):
            raise RowMapError(
                f"out_rows has {len(outs)} rows and in_rows has {len(ins)}", "pass pairs"
            )
        return cls(from_any_pairs(outs, ins, n_out, n_in))

    @classmethod
    def context(cls, n_out: int, members: ArrayLike, n_in: int) -> "RowMap":
        """Return the map of a statistic: every output row depends on all of ``members``.

        It is never written out as pairs.

        Raises:
            RowMapError: A member is out of range.
        """
        n_out, n_in = checked_count(n_out, "n_out"), checked_count(n_in, "n_in")
        rows = checked_rows(members, n_in, "members")
        box = Box(RowSet.every(n_out), RowSet.of(rows, n_in))
        return cls(Context(None, (box,), n_out, n_in))

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
        return RowMap.classify(rows, self.n_out).compose(self)

    def union(self, other: "RowMap") -> "RowMap":
        """Return the map of the rows that either map relates; unknown if either is unknown.

        Raises:
            RowMapError: The maps have different numbers of rows.
        """
        if (self.n_out, self.n_in) != (other.n_out, other.n_in):
            raise RowMapError(f"{self} and {other} relate different tables", "unite maps of one op")
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
            RowMapError: The map is a context map, whose pairs are never written out.
        """
        return self.relation.pairs()

    def same_relation(self, other: "RowMap") -> bool:
        """Say whether two maps relate the same rows in the same way, however they are held.

        A dependency through a statistic is not the same as a direct one.
        """
        if (self.n_out, self.n_in, self.is_known) != (other.n_out, other.n_in, other.is_known):
            return False
        mine, theirs = (_direct_pairs(one.relation) for one in (self, other))
        same_direct = all(map(np.array_equal, mine, theirs))
        return same_direct and same_boxes(boxes_of(self.relation), boxes_of(other.relation))

    def to_parts(self) -> tuple[RowMapKind, dict[str, int], dict[str, IntArray]]:
        """Return kind, numbers and columns of equal length, from which `from_parts` makes the map.

        Segments come back as the simple kind they flatten to, with the same relation.
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
        made = _from_parts(kind, n_out, n_in, params, columns)
        if (made.n_out, made.n_in) != (n_out, n_in):
            raise RowMapError(
                f"The parts make {made}, not n_out={n_out}, n_in={n_in}", "write the map again"
            )
        return made


def _checked_offsets(offsets: IntArray, n_members: int) -> IntArray:
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != n_members:
        raise RowMapError(
            f"The offsets do not go from 0 to the number of members, {n_members}",
            "pass n_out + 1 offsets",
        )
    if (np.diff(offsets) < 0).any():
        at = int(np.flatnonzero(np.diff(offsets) < 0)[0]) + 1
        raise RowMapError(
            f"offsets[{at}] is {offsets[at]} after {offsets[at - 1]}", "offsets never fall"
        )
    return offsets


def _direct_pairs(relation: Relation) -> tuple[Rows, Rows]:
    direct = direct_of(relation)
    empty = np.empty(0, dtype=np.int64)
    return (empty, empty) if direct is None else direct.pairs()


def _from_parts(
    kind: RowMapKind,
    n_out: int,
    n_in: int,
    params: Mapping[str, int],
    columns: Mapping[str, IntArray],
) -> RowMap:
    try:
        match kind:
            case "identity":
                return RowMap.identity(n_out)
            case "range":
                return RowMap.range(params["start"], params["step"], n_out, n_in)
            case "select":
                return RowMap.select(columns["in_row"], n_in)
            case "gather":
                return RowMap.gather(columns["in_row"], n_in)
            case "groups":
                return RowMap.groups(columns["out_row"], n_out)
            case "window":
                return RowMap.window(columns["lo"], columns["hi"], n_in)
            case "many":
                return _many_from_pairs(columns["out_row"], columns["in_row"], n_out, n_in)
            case "context":
                return RowMap(context_from_parts(n_out, n_in, params, columns))
            case "unknown":
                return RowMap.unknown(n_out, n_in)
    except KeyError as missing:
        raise RowMapError(f"The {kind} map has no {missing}", "write the map again") from missing
    raise RowMapError(f"A map of kind {kind!r} cannot be read", "write the map again")


def _many_from_pairs(out_rows: IntArray, in_rows: IntArray, n_out: int, n_in: int) -> RowMap:
    rows = checked_rows(out_rows, n_out, "out_row")
    counts = np.bincount(rows, minlength=n_out)
    order = np.argsort(rows, kind="stable")
    return RowMap.many(offsets_of(counts), np.asarray(in_rows)[order], n_in)
