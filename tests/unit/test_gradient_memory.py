"""The memory plan counts what is stored, chooses the smallest form, and is honest about limits."""

import os
import tracemalloc

import numpy as np
import pytest

from tests.oracle.gradient_models import random_gradients
from traceprop_engine.errors import GradientMemoryError, GradientStorageError
from traceprop_engine.gradients import (
    KroneckerPca,
    LayerGradients,
    LayerShape,
    RowGradients,
    ShardSettings,
    kernel,
    plan_memory,
    random_projection,
    write_shards,
)
from traceprop_engine.gradients.layers import BLOCK_BYTES

MLP = (LayerShape("1", (785, 128)), LayerShape("2", (129, 64)), LayerShape("3", (65, 10)))
CONVOLUTION = (LayerShape("conv", (10, 8), 784),)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("form", ["factors", "projected"])
def test_the_bytes_are_those_on_disk(tmp_path, monkeypatch, dtype, form):
    monkeypatch.setattr(os, "fsync", lambda _: None)
    gradients = random_gradients(100, 1, dtype=np.float32)
    projection = random_projection("sjlt", gradients.layout, 40) if form == "projected" else None
    settings = ShardSettings("net", 0, 1, "squared", "prediction", 100, dtype, 30)
    write_shards(tmp_path, settings, gradients.take, projection=projection)
    plan = plan_memory(gradients.layout, 100, n_features=40, dtype=dtype)
    arrays = [np.load(path) for path in tmp_path.glob("rows-*.npy")]
    assert sum(array.nbytes for array in arrays) == plan.total_bytes(form)


def test_factors_of_a_net_are_far_smaller_than_its_gradients():
    plan = plan_memory(MLP, 60_000, n_checkpoints=5, dtype="float16", n_features=2048)
    assert plan.form == "factors"
    assert plan.n_parameters == 109_386
    assert plan.row_bytes("factors") == 2 * 1181 + 24
    assert plan.row_bytes("projected") == 2 * 2048 + 24
    assert plan.total_bytes("dense") == (2 * 109_386 + 24) * 300_000
    assert plan.kernel_bytes == 4 * 60_000**2


def test_a_convolution_is_kept_as_summed_gradients_and_projected_only_on_demand():
    assert plan_memory(CONVOLUTION, 10).form == "dense"
    assert plan_memory(CONVOLUTION, 10, n_features=16).form == "projected"
    assert plan_memory(CONVOLUTION, 10, n_features=100).form == "dense"


def test_the_rows_at_a_time_stay_within_the_limit_and_grow_with_it():
    rows = []
    for limit in (1 << 27, 1 << 28, 1 << 30):
        plan = plan_memory(MLP, 10**7, memory_limit=limit)
        rows.append((plan.micro_batch, plan.rows_per_shard))
        assert plan.micro_batch * 3 * 4 * 1181 < limit
        assert plan.rows_per_shard * 4 * 4 * 1181 < limit
        assert plan.rows_per_shard & (plan.rows_per_shard - 1) == 0
    assert rows == sorted(rows)
    assert plan_memory(MLP, 3, memory_limit=1 << 40).micro_batch == 3


def test_a_limit_below_one_row_is_refused_with_what_is_needed():
    wide = (LayerShape("wide", (10**7, 10**7)),)
    plan = plan_memory(wide, 10, memory_limit=10**8)
    with pytest.raises(
        GradientMemoryError, match=r"does not fit into 100 MB.*`memory_limit` to 409 MB"
    ):
        _ = plan.micro_batch
    assert plan_memory(wide, 10, memory_limit=409_500_000).micro_batch == 1


def wide_gradients():
    """Return gradients of 2,000 rows that would take 640 MB as dense ones."""
    rng = np.random.default_rng(0)
    inputs, deltas = (rng.standard_normal((2000, width), dtype=np.float32) for width in (400, 200))
    nothing = np.zeros(2000)
    return RowGradients((LayerGradients("wide", inputs, deltas),), nothing, nothing, nothing)


@pytest.mark.parametrize(
    "work",
    [
        kernel,
        lambda gradients: gradients.dot(np.ones((80_000, 8), dtype=np.float32)),
        lambda gradients: gradients.weighted_sum(np.ones((2000, 8), dtype=np.float32)),
        RowGradients.squared_norms,
        lambda gradients: random_projection("sjlt", gradients.layout, 64).project(gradients),
        lambda gradients: random_projection("rademacher", gradients.layout, 64).project(gradients),
        lambda gradients: random_projection("factored", gradients.layout, 64).project(gradients),
        lambda gradients: KroneckerPca.fit(gradients, 64).project(gradients),
    ],
    ids=["kernel", "dot", "sum", "norms", "sjlt", "rademacher", "factored", "kronecker_pca"],
)
def test_work_on_factors_takes_a_block_of_memory_beside_its_result(work):
    gradients = wide_gradients()
    tracemalloc.start()
    try:
        result = work(gradients)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak - result.nbytes < 1.05 * BLOCK_BYTES


def test_the_plan_reads_as_text():
    plan = plan_memory(MLP, 60_000, n_checkpoints=5, dtype="float16", n_features=2048)
    head, *lines = plan.text().splitlines()
    assert head.startswith("Gradients of 60,000 rows at 5 checkpoints: 109,386 parameters in 3")
    assert head.endswith("layers, stored as float16.")
    assert lines == [
        "  factors (1,181 numbers)             2.39 kB a row    716 MB in all  <- stored",
        "  dense (109,386 numbers)              219 kB a row   65.6 GB in all",
        "  projected (2,048 numbers)           4.12 kB a row   1.24 GB in all",
        "Kernel of all rows at a checkpoint: 14.4 GB.",
        "Within 1.07 GB of memory: 52,088 rows at a time, 32,768 a shard.",
    ]
    assert (
        "1 row at 1 checkpoint: 1 parameter in 1 layer"
        in plan_memory((LayerShape("one", (1,)),), 1).text()
    )


def test_a_dtype_that_is_not_stored_is_refused():
    with pytest.raises(GradientStorageError, match="there is no dtype 'int8'"):
        plan_memory(MLP, 1, dtype="int8")
