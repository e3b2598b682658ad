"""Bundles and blocks as files: what goes in comes out, and no bit can change unnoticed."""

from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from traceprop_engine.errors import StoreCorruptError
from traceprop_engine.store.blocks import BlockStore
from traceprop_engine.store.bundle import decode_bundle, encode_bundle

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.lists(st.tuples(TEXT, st.dictionaries(TEXT, JSON, max_size=4)), max_size=5)
WHERE = Path("000000000001.parquet")


@given(records=RECORDS, key=st.none() | TEXT, version=st.integers(1, 9))
def test_a_bundle_gives_back_its_records_key_and_version(records, key, version):
    bundle = decode_bundle(encode_bundle(records, key, version), WHERE)
    assert (list(bundle.records), bundle.key, bundle.schema_version) == (records, key, version)


@given(records=RECORDS, data=st.data())
@settings(max_examples=40)
def test_any_change_of_a_bundle_is_found(records, data):
    whole = encode_bundle(records, "key", 1)
    position = data.draw(st.integers(0, len(whole) - 1))
    flipped = bytearray(whole)
    flipped[position] ^= 1 << data.draw(st.integers(0, 7))
    cut = whole[:position]
    for damaged in (bytes(flipped), cut, whole + b"\0", whole[1:]):
        with pytest.raises(StoreCorruptError, match=WHERE.name):
            decode_bundle(damaged, WHERE)


def test_every_single_bit_of_a_bundle_counts():
    whole = encode_bundle([("op", {"name": "filter"})], "key", 1)
    for position in range(len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[position] ^= 1 << bit
            with pytest.raises(StoreCorruptError):
                decode_bundle(bytes(flipped), WHERE)


@pytest.mark.parametrize(
    "text", ["traceprop.sha256", "\x18\x10traceprop.sha256\x18\x40" + "0" * 64]
)
def test_records_that_look_like_the_digest_do_not_confuse_it(text):
    bundle = decode_bundle(encode_bundle([(text, {text: text})], text, 1), WHERE)
    assert bundle.records == ((text, {text: text}),)


def test_two_bundles_of_the_same_records_are_two_files():
    assert encode_bundle([], None, 1) != encode_bundle([], None, 1)


COLUMNS = {
    pa.int8(): st.integers(-128, 127),
    pa.uint16(): st.integers(0, 2**16 - 1),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.float64(): st.floats(allow_nan=False),
    pa.bool_(): st.booleans(),
    pa.string(): TEXT,
    pa.large_string(): TEXT,
    pa.binary(): st.binary(max_size=9),
    pa.timestamp("ns", "UTC"): st.integers(0, 2**60),
    pa.date32(): st.integers(0, 20_000),
    pa.list_(pa.int64()): st.lists(st.integers(-5, 5), max_size=3),
    pa.struct([("a", pa.int64())]): st.fixed_dictionaries({"a": st.integers(-5, 5)}),
    pa.dictionary(pa.int32(), pa.string()): st.sampled_from(["a", "b"]),
    pa.null(): st.none(),
}


@st.composite
def tables(draw):
    """Draw tables with columns of all types, nulls, repeated names, and several chunks."""
    types = draw(st.lists(st.sampled_from(list(COLUMNS)), min_size=1, max_size=4))
    n_rows = draw(st.integers(0, 6))
    columns = [
        pa.array(draw(st.lists(COLUMNS[t] | st.none(), min_size=n_rows, max_size=n_rows)), t)
        for t in types
    ]
    names = draw(
        st.lists(
            st.sampled_from(["a", "b", "a.a", "é", ""]), min_size=len(types), max_size=len(types)
        )
    )
    table = pa.Table.from_arrays(columns, names=names)
    return pa.concat_tables([table] * draw(st.integers(1, 2)))


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    root = tmp_path_factory.mktemp("blocks")
    for name in ("blocks", "staging"):
        (root / name).mkdir()
    return BlockStore(root / "blocks", root / "staging")


@given(table=tables(), encoding=st.sampled_from(["delta", "plain"]))
def test_a_table_of_any_columns_comes_back_as_it_was(blocks, table, encoding):
    block = blocks.put_table(table, encoding)
    found = blocks.get_table(block)
    assert found.schema.equals(table.schema, check_metadata=True)
    assert found.equals(table)
    assert blocks.put_table(table, encoding) == block


@given(hnp.arrays(np.float64, st.tuples(st.integers(0, 5), st.integers(1, 4))))
def test_a_matrix_of_any_floats_comes_back_bit_for_bit(blocks, matrix):
    found = blocks.get_array(blocks.put_array(matrix))
    assert found.shape == matrix.shape
    assert found.tobytes() == matrix.tobytes()
