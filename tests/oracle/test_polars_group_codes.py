"""The group of each row is that of a dictionary of keys, for keys of every kind."""

import datetime as dt
import math

import numpy as np
import pytest

pl = pytest.importorskip("polars")

from traceprop_engine.frames.of_polars import group_codes as module  # noqa: E402
from traceprop_engine.frames.of_polars.group_codes import group_codes  # noqa: E402

N = 3_000
DAY = dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC)
NO_NUMBER = [math.nan, -math.nan, 0.0, -0.0, math.inf, None, 1.5]


def values(kind, rng):
    picked = rng.integers(0, 40, N)
    return {
        "whole": picked.tolist(),
        "negative": (picked - 20).tolist(),
        "missing": [None if i == 3 else int(i) for i in picked],
        "text": [f"g{i}" if i else "" for i in picked],
        "text or none": [None if i == 3 else f"é{i}" for i in picked],
        "truth": [bool(i % 2) for i in picked],
        "time": [DAY + dt.timedelta(hours=int(i)) for i in picked],
        "bytes": [bytes([i, 0, i]) for i in picked.tolist()],
        "float": (picked / 4).tolist(),
        "odd float": [NO_NUMBER[i % len(NO_NUMBER)] for i in picked],
        "list": [[int(i % 5)] for i in picked],
        "many": rng.permutation(N).tolist(),
    }[kind]


KINDS = (
    "whole negative missing text truth time bytes float list many",
    "text or none",
    "odd float",
)
KINDS = [*KINDS[0].split(), *KINDS[1:]]


def key_of(row):
    """Return what Polars groups by: NaN is one value, and the two zeros are one."""
    return tuple(
        "nan" if isinstance(v, float) and math.isnan(v) else tuple(v) if isinstance(v, list) else v
        for v in row
    )


def expected(keys, groups):
    at = {key_of(row): number for number, row in enumerate(groups.rows())}
    return [at[key_of(row)] for row in keys.rows()]


@pytest.fixture(params=["roomy", "crowded"])
def slots(request, monkeypatch):
    """Make most groups share a slot, or none."""
    if request.param == "crowded":
        monkeypatch.setattr(module, "_LEAST_SLOTS", 4)
        monkeypatch.setattr(module, "_SLOTS_PER_KEY", 1)
    return request.param


@pytest.mark.parametrize("kind", KINDS)
def test_each_row_has_the_group_of_its_key(kind, slots):
    rng = np.random.default_rng(3)
    keys = pl.DataFrame({"k": values(kind, rng)})
    groups = keys.group_by("k").len().select("k")
    codes = group_codes(keys, groups)
    assert codes.tolist() == expected(keys, groups)


@pytest.mark.parametrize("kinds", [("whole", "text"), ("missing", "odd float"), ("truth", "list")])
def test_keys_of_several_columns_are_looked_up_together(kinds, slots):
    rng = np.random.default_rng(4)
    keys = pl.DataFrame({f"k{at}": values(kind, rng) for at, kind in enumerate(kinds)})
    groups = keys.group_by(keys.columns).len().select(keys.columns)
    assert group_codes(keys, groups).tolist() == expected(keys, groups)


def test_a_frame_of_many_pieces_is_looked_up_as_one_of_a_single_piece(slots):
    rng = np.random.default_rng(5)
    parts = [pl.DataFrame({"k": values("text or none", rng)}) for _ in range(4)]
    keys = pl.concat(parts, rechunk=False)[17:-20]
    assert keys.n_chunks() > 1
    groups = keys.group_by("k").len().select("k")
    assert group_codes(keys, groups).tolist() == expected(keys, groups)


@pytest.mark.parametrize(
    "groups",
    [
        [0, 1, 2],  # a row without a group
        [0, 1, 2, 3, 3],  # two groups of one key
        [0, 1, 2, 3, 4],  # a group without a row
        [0, 1, 2, 9],
    ],
)
def test_groups_that_are_not_those_of_the_rows_have_no_codes(groups, slots):
    keys = pl.DataFrame({"k": np.arange(N) % 4})
    assert group_codes(keys, pl.DataFrame({"k": groups})) is None
    assert group_codes(keys, pl.DataFrame({"k": [0, 1, 2, 3]})) is not None


def test_columns_of_another_type_have_no_codes():
    keys = pl.DataFrame({"k": [1, 2]})
    assert group_codes(keys, pl.DataFrame({"k": ["1", "2"]})) is None
    assert group_codes(keys, pl.DataFrame({"other": [1, 2]})) is None


def test_no_rows_have_no_groups():
    keys = pl.DataFrame({"k": []}, schema={"k": pl.Int64})
    assert group_codes(keys, keys).tolist() == []
