"""Random chains of Polars verbs, against planted keys and against plain Polars."""

import pytest

pl = pytest.importorskip("polars")
from polars.testing import assert_frame_equal  # noqa: E402  (after importorskip)

from tests.oracle.planted_keys import keys_of, maps_to, random_chain  # noqa: E402
from tests.oracle.polars_oracle import PEOPLE, both  # noqa: E402

pytestmark = pytest.mark.oracle

STEPS = [
    lambda d, r: d.filter(pl.col.x > r.uniform(-1, 0)),
    lambda d, r: d.sort("x", descending=r.random() < 0.5, maintain_order=True),
    lambda d, r: d.with_columns(pl.col.x * 2 - 0.1),
    lambda d, r: d.sample(fraction=0.9, seed=r.randrange(99), shuffle=True),
    lambda d, r: d.unique(["key", "s"], keep="first", maintain_order=True),
    lambda d, r: d.vstack(d.head(r.randrange(4))),
    lambda d, r: d.join(PEOPLE.select("g"), on="g", how="left", maintain_order="left_right"),
    lambda d, r: d.slice(r.randrange(2)),
    lambda d, r: d.with_columns(c=pl.col.x - pl.col.x.mean().over("g")),
    lambda d, r: d.reverse(),
    lambda d, r: d.drop_nulls("h"),
    lambda d, r: d.select(pl.all()),
]


@pytest.mark.parametrize("seed", range(60))
def test_random_chains(seed):
    wanted, found, lineage = both(random_chain(STEPS, seed), "visits")
    assert_frame_equal(found, wanted)
    assert lineage.fidelity == "exact"
    assert maps_to(lineage, "visits") == keys_of(wanted)
