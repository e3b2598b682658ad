"""The README of the package traceprop, section by section, as it is written there."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import torch

import traceprop_engine as tp
from traceprop_engine.errors import UntrackedValueError
from traceprop_engine.lineage.granularity import current_granularity
from traceprop_engine.stores.sqlite_store import SQLiteStore

N_A, N_B = 7, 5


@pytest.fixture(autouse=True)
def in_a_folder_with_two_hospitals(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(11)
    for name, n in (("hospital_a", N_A), ("hospital_b", N_B)):
        rows = [",".join(f"{x:.3f}" for x in row) for row in rng.normal(size=(n, 3))]
        Path(f"{name}.csv").write_text("\n".join(["age,dose,days", *rows]) + "\n")
    tp.reset_graph()


def normalised():
    data_a = tp.from_csv("hospital_a.csv", source_id="hospital_a")
    data_b = tp.from_csv("hospital_b.csv", source_id="hospital_b")

    norm_a = (data_a - data_a.mean(axis=0)) / (data_a.std(axis=0) + 1e-8)
    norm_b = (data_b - data_b.mean(axis=0)) / (data_b.std(axis=0) + 1e-8)
    return norm_a, norm_b


def test_quick_start_values_are_those_of_plain_numpy():
    for norm, name in zip(normalised(), ("hospital_a", "hospital_b"), strict=True):
        plain = np.loadtxt(f"{name}.csv", delimiter=",", skiprows=1)
        wanted = (plain - plain.mean(axis=0)) / (plain.std(axis=0) + 1e-8)
        np.testing.assert_array_equal(np.asarray(norm), wanted)


def test_quick_start_sources_operations_and_rows_are_exact():
    norm_a, norm_b = normalised()
    for norm, name, n in ((norm_a, "hospital_a", N_A), (norm_b, "hospital_b", N_B)):
        view = tp.provenance(norm)
        assert view.sources() == [name]
        assert view.lineage.fidelity == "exact"
        assert sorted(op.name.rpartition(".")[2] for op in view.ops()) == sorted(
            ["mean", "subtract", "std", "add", "divide"]
        )
        lines = Path(f"{name}.csv").read_text().splitlines()
        for row in range(n):
            assert {k: v.tolist() for k, v in view.rows(row).items()} == {name: [row]}
            (source,) = view.trace(row).sources
            assert [(r.line_number, r.text) for r in source.records] == [(row + 2, lines[row + 1])]
        assert {each.input for each in view.statistics()} == {name}
        for statistic in view.statistics():
            assert statistic.members.backward([0]).tolist() == list(range(n))


def test_provenance_tracking_functions_wrap_and_start_anew():
    arr = np.arange(12.0).reshape(4, 3)
    for tensor in (
        tp.from_numpy(arr, source_id="an array"),
        tp.array([[1, 2], [3, 4]], source_id="a list"),
        tp.from_csv("hospital_a.csv", source_id="a file"),
    ):
        view = tp.provenance(tensor)
        assert len(view.sources()) == 1
        assert view.sources()[0].startswith(("an ", "a "))
    assert isinstance(tp.array([1.0, 2.0], source_id="numbers"), np.ndarray)
    tp.reset_graph()
    with pytest.raises(UntrackedValueError):
        tp.provenance(tensor)


def test_provenance_view():
    tensor, _ = normalised()
    view = tp.provenance(tensor)
    ancestors = view.ancestors()  # set of ancestor node IDs
    ops = view.ops()  # list of preprocessing operations
    sources = view.sources()  # list of source_ids in lineage
    assert isinstance(ancestors, set)
    assert ancestors
    assert all(isinstance(each, int) for each in ancestors)
    assert isinstance(ops, list)
    assert len(ops) == 5
    assert sources == ["hospital_a"]


def test_granularity_modes():
    before = current_granularity()
    try:
        for level in (tp.Granularity.OP, tp.Granularity.BATCH, tp.Granularity.EPOCH):
            tp.set_granularity(level)
            tp.reset_graph()
            norm, _ = normalised()
            view = tp.provenance(norm)
            assert view.sources() == ["hospital_a"]
            assert len(view.ops()) == 5
            assert view.rows(0)["hospital_a"] is None, "which row is not recorded, and not guessed"
            assert "which rows is unknown" in str(view.trace(0))
    finally:
        tp.set_granularity(before)


def test_provenance_stores():
    store = SQLiteStore("lineage.db")

    norm_a, _ = normalised()
    store.save(norm_a, "norm_a")
    tp.reset_graph()
    view = SQLiteStore("lineage.db").load("norm_a")
    assert view.sources() == ["hospital_a"]
    assert view.rows(3)["hospital_a"].tolist() == [3]
    assert [each.line_number for each in view.trace(3).sources[0].records] == [5]
    assert {node.source for node in store.all_nodes()} >= {"hospital_a"}


def test_backend_numpy():
    arr = np.arange(6.0)
    tensor = tp.from_numpy(arr)
    assert tp.provenance(tensor[2:]).rows(0).popitem()[1].tolist() == [2]


def test_backend_torch():
    tensor = tp.from_torch(torch.arange(6.0).reshape(3, 2), source_id="t")
    view = tp.provenance(tensor[[2, 0]] * 2)
    assert view.sources() == ["t"]
    assert view.rows(0)["t"].tolist() == [2]
    tp.reset_graph()
    assert tp.provenance(tp.from_torch(torch.zeros(2))).n_rows == 2


def test_backend_jax():
    array = tp.from_jax(jnp.arange(6.0).reshape(3, 2), source_id="j")
    view = tp.provenance(array[jnp.array([2, 0])])
    assert view.sources() == ["j"]
    assert view.rows(0)["j"].tolist() == [2]
    tp.reset_graph()
    assert tp.provenance(tp.from_jax(jnp.zeros(2))).n_rows == 2
