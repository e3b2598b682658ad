"""Compressed vectors and row maps: the same numbers and the same answers, in fewer bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.provenance_views.packed_maps import MANY_ROWS, PACKED, packed_map
from traceprop_engine.provenance_views.packing import pack

ROWS = 50_000


@given(
    st.sampled_from([np.int8, np.int32, np.int64]).flatmap(
        lambda dtype: arrays.arrays(dtype, st.integers(0, 200))
    )
)
def test_numbers_come_back_as_they_were(numbers):
    found = pack(numbers).unpacked()
    assert np.array_equal(found, numbers)
    assert found.dtype in (np.int32, np.int64)
    assert not found.flags.writeable


@pytest.mark.parametrize("edge", [2**31 - 1, 2**31, -(2**31) - 1, 2**63 - 1, -(2**63)])
def test_differences_that_overflow_come_back_too(edge):
    numbers = np.array([0, edge, -1, edge, 5])
    assert np.array_equal(pack(numbers).unpacked(), numbers)


def test_a_filter_takes_less_than_a_byte_a_row_and_a_shuffle_little_more_than_its_bits():
    rng = np.random.default_rng(7)
    half = np.flatnonzero(rng.random(10 * ROWS) < 1 / 2)
    assert len(pack(half).data) / len(half) < 0.7
    shuffled = rng.permutation(10 * ROWS)
    assert len(pack(shuffled).data) / len(shuffled) < 3.3


def maps(rng):
    """Return large maps of the kinds that are compressed, all of 50,000 input rows."""
    kept = np.flatnonzero(rng.random(ROWS) < 0.6)
    gathered = rng.integers(-1, ROWS, 3 * MANY_ROWS)
    return {
        "select": RowMap.select(kept, ROWS),
        "gather": RowMap.gather(gathered, ROWS),
        "groups": RowMap.groups(rng.integers(-1, 900, ROWS), 900),
    }


@pytest.mark.parametrize("kind", ["select", "gather", "groups"])
def test_a_compressed_map_answers_every_question_the_same(kind):
    rng = np.random.default_rng(1)
    plain = maps(rng)[kind]
    packed = packed_map(plain)
    assert isinstance(packed.relation, PACKED)
    assert packed.kind == plain.kind == kind
    outs, ins = rng.integers(0, plain.n_out, 40), rng.integers(0, ROWS, 40)
    assert np.array_equal(packed.backward(outs), plain.backward(outs))
    assert np.array_equal(packed.forward(ins), plain.forward(ins))
    assert np.array_equal(packed.covered(), plain.covered())
    assert packed.same_relation(plain)
    assert plain.same_relation(RowMap.from_parts(*_sized(packed)))
    before, after = RowMap.gather(rng.permutation(ROWS), ROWS), rng.permutation(plain.n_out)
    assert packed.compose(before).same_relation(plain.compose(before))
    assert packed.take(after).same_relation(plain.take(after))
    assert packed.union(plain).same_relation(plain)
    assert packed_map(packed) is packed


def _sized(row_map):
    kind, params, columns = row_map.to_parts()
    return kind, row_map.n_out, row_map.n_in, params, columns


def test_small_maps_and_maps_without_vectors_are_left_alone():
    for plain in (
        RowMap.identity(ROWS),
        RowMap.range(3, 2, 100, ROWS),
        RowMap.select([1, 2, 5], ROWS),
        RowMap.unknown(3, 4),
        RowMap.context(ROWS, range(ROWS), ROWS),
    ):
        assert packed_map(plain) is plain
