"""Row maps whose vectors are held compressed, and unpacked for as long as they are asked."""

from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.lineage.row_map_arrays import IntArray
from traceprop_engine.lineage.row_map_kinds import Gather, Groups, Select
from traceprop_engine.provenance_views.packing import Packed, pack

MANY_ROWS = 4096
"""Vectors of fewer numbers are left alone."""


class PackedSelect(Select):
    """A `Select` whose rows are held compressed."""

    packed: Packed

    def __init__(self, n_out: int, n_in: int, packed: Packed) -> None:
        _set(self, n_out, n_in, packed)

    @property
    def in_rows(self) -> IntArray:  # pyrefly: ignore[bad-override] (read-only, as it is frozen)
        """The input row of each output row."""
        return self.packed.unpacked()


class PackedGather(Gather):
    """A `Gather` whose rows are held compressed."""

    packed: Packed

    def __init__(self, n_out: int, n_in: int, packed: Packed) -> None:
        _set(self, n_out, n_in, packed)

    @property
    def in_rows(self) -> IntArray:  # pyrefly: ignore[bad-override]
        """The input row of each output row, -1 for none."""
        return self.packed.unpacked()


class PackedGroups(Groups):
    """A `Groups` whose codes are held compressed."""

    packed: Packed

    def __init__(self, n_out: int, n_in: int, packed: Packed) -> None:
        _set(self, n_out, n_in, packed)

    @property
    def codes(self) -> IntArray:  # pyrefly: ignore[bad-override]
        """The output row of each input row, -1 for none."""
        return self.packed.unpacked()


PACKED = (PackedSelect, PackedGather, PackedGroups)


def packed_map(row_map: RowMap) -> RowMap:
    """Return the same relation, compressed if that makes it smaller."""
    relation = row_map.relation
    match relation:
        case PackedSelect() | PackedGather() | PackedGroups():
            return row_map
        case Select(in_rows=vector):
            kind = PackedSelect
        case Gather(in_rows=vector):
            kind = PackedGather
        case Groups(codes=vector):
            kind = PackedGroups
        case _:
            return row_map
    packed = pack(vector) if len(vector) >= MANY_ROWS else None
    if packed is None or len(packed.data) >= vector.nbytes:
        return row_map
    return RowMap(kind(relation.n_out, relation.n_in, packed))


def _set(relation: object, n_out: int, n_in: int, packed: Packed) -> None:
    for name, value in (("n_out", n_out), ("n_in", n_in), ("packed", packed)):
        object.__setattr__(relation, name, value)
