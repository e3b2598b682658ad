"""Planted keys: column 0 of every file names its row, so that each result says where it is from."""

import numpy as np
import pytest

from traceprop_engine.lineage import reset_graph
from traceprop_engine.provenance_views import compress, from_csv, provenance
from traceprop_engine.stores.sqlite_store import SQLiteStore

pytestmark = pytest.mark.oracle

N = {"a": 30, "b": 17}
BASE = {"a": 1_000, "b": 2_000}


def files(folder, rng):
    """Write one file a source, and return the tracked arrays and the lines."""
    arrays, lines = [], {}
    for name, n in N.items():
        keys = BASE[name] + np.arange(n)
        rows = [
            f"{key},{x:.4f},{y}"
            for key, x, y in zip(keys, rng.normal(size=n), keys % 7, strict=True)
        ]
        lines[name] = ["key,x,y", *rows]
        path = folder / f"{name}.csv"
        path.write_text("\n".join(lines[name]) + "\n")
        arrays.append(from_csv(path, source_id=name))
    return arrays, lines


def filtered(x, rng):
    return x[x[:, 1] > rng.normal() - 1]


def picked(x, rng):
    return x[rng.integers(0, len(x), len(x))] if len(x) else x


def ordered(x, rng):
    return x[np.argsort(x[:, 2], kind="stable")]


def sliced(x, rng):
    return x[int(rng.integers(0, 3)) :: int(rng.choice([-1, 1, 2]))]


def shuffled(x, rng):
    return x[rng.permutation(len(x))]


def scaled(x, rng):
    return (x - [0, x[:, 1].mean(), 0]) * [1, 2, 3] if len(x) else x


def repeated(x, rng):
    return np.repeat(x, 2, axis=0)


STEPS = [filtered, picked, ordered, sliced, shuffled, scaled, repeated]


def pipeline(arrays, rng):
    """Return the arrays after random steps, stacked half-way, and after more of them."""
    return changed(np.concatenate([changed(x, rng) for x in arrays]), rng)


def changed(x, rng):
    for step in rng.choice(STEPS, 3):
        x = step(x, rng)
    return x


def check(view, keys, lines):
    """Compare every row that a view names with the key of the row."""
    assert view.n_rows == len(keys)
    assert view.lineage.fidelity != "unknown"
    for row, key in enumerate(keys):
        name = "a" if key < BASE["b"] else "b"
        found = {source: rows.tolist() for source, rows in view.rows(row).items()}
        assert {k: v for k, v in found.items() if v} == {name: [key - BASE[name]]}
    for row in range(0, len(keys), 9):
        records = [r for source in view.trace(row).sources for r in source.records]
        assert [r.text.split(",")[0] for r in records] == [str(int(keys[row]))]
        assert all(r.text in lines["a" if keys[row] < BASE["b"] else "b"] for r in records)


@pytest.mark.parametrize("seed", range(12))
def test_every_row_is_traced_to_the_row_with_its_key(tmp_path, seed):
    reset_graph()
    rng = np.random.default_rng(seed)
    arrays, lines = files(tmp_path, rng)
    result = pipeline(arrays, rng)
    keys = np.array(result.__traceprop_plain__()[:, 0], dtype=int)
    check(provenance(result), keys, lines)
    store = SQLiteStore(tmp_path / "lineage.db")
    store.save(result, "result")
    check(store.load("result"), keys, lines)
    compress(result)
    check(provenance(result), keys, lines)


def test_rows_that_left_and_came_back_as_plain_values_are_not_claimed(tmp_path):
    """A generator shuffles in C and returns a plain array: nobody can follow its rows."""
    reset_graph()
    rng = np.random.default_rng(3)
    (a, b), _ = files(tmp_path, rng)
    view = provenance(np.concatenate([np.asarray(a)[rng.permutation(N["a"])], b]))
    assert view.lineage.coverage() == pytest.approx(N["b"] / (N["a"] + N["b"]))
    assert {name: rows.tolist() for name, rows in view.rows(0).items()} == {"b": []}
    assert "no row of a source is known" in str(view.trace(0))
    assert "17 of 47 rows have a known source" in repr(view)
    assert "a" in {each.input for each in view.left()}
    assert view.rows(N["a"] + 4)["b"].tolist() == [4]
