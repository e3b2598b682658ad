"""Compression: less memory, the same answers."""

import numpy as np
import pytest

from traceprop_engine.arrays import from_numpy
from traceprop_engine.errors import UntrackedValueError
from traceprop_engine.lineage import reset_graph
from traceprop_engine.lineage.carriers import carried
from traceprop_engine.lineage.graph import default_graph, root_rows
from traceprop_engine.lineage.marks import Mark, derived, write_note
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.provenance_views import (
    bytes_per_row,
    compress,
    disable_compression,
    enable_compression,
    provenance,
)

N = 60_000


@pytest.fixture(autouse=True)
def fresh_graph():
    reset_graph()
    yield
    disable_compression()


def value_of_many_maps():
    """Return a value of two inputs: filtered, joined, grouped, and with a noted statistic."""
    rng = np.random.default_rng(3)
    notes = default_graph()
    x, y = (root_rows(notes, N, name).node for name in "xy")
    kept = np.flatnonzero(rng.random(N) < 0.7).astype(np.int32)
    noted = kept.copy()
    write_note(Mark(x, noted), "mean", None, noted[10:-10], id(noted), noted)
    joined = derived(notes, len(kept), [(x, kept), (y, rng.integers(-1, N, len(kept)))])
    groups = RowMap.groups(rng.integers(-1, 5_000, len(kept)), 5_000)
    return carried(object(), derived(notes, 5_000, [(joined, groups)]), ())


def answers(view):
    rows = [view.rows(i) for i in range(0, view.n_rows, 97)]
    statistics = [
        (each.input, each.statistic, each.members.backward([0]).tolist())
        for each in (*view.statistics(), *view.left())
    ]
    return [{k: v.tolist() for k, v in each.items()} for each in rows], statistics


def test_compression_holds_less_and_answers_the_same():
    value = value_of_many_maps()
    before, held = answers(provenance(value)), bytes_per_row(value)
    compress(value)
    assert answers(provenance(value)) == before
    assert before[1][0][:2] == ("x", "mean")
    assert bytes_per_row(value) < held * 2 / 3


def test_arrays_of_numpy_hold_less():
    rng = np.random.default_rng(0)
    x = from_numpy(rng.normal(size=(N, 2)), "x")
    y = from_numpy(rng.normal(size=(N // 2, 2)), "y")
    kept = x[x[:, 0] > 0]
    kept -= kept.mean(axis=0)
    joined = kept + y[rng.integers(0, N // 2, len(kept))]
    for value in (kept, joined):
        before, held = answers(provenance(value)), bytes_per_row(value)
        compress(value)
        assert answers(provenance(value)) == before
        assert bytes_per_row(value) <= held
    assert bytes_per_row(joined) < held * 2 / 3


def test_bytes_per_row_are_those_of_the_vectors():
    notes = default_graph()
    x = root_rows(notes, N, "x").node
    rows = np.arange(N, dtype=np.int32)[::-1].copy()
    assert bytes_per_row(carried(object(), x, ())) == 0
    reordered = derived(notes, N, [(x, rows)])
    assert bytes_per_row(carried(object(), reordered, ())) == 4
    halved = derived(notes, N // 2, [(reordered, rows[: N // 2])])
    assert bytes_per_row(carried(object(), halved, ())) == 8, "a view holds the whole vector, once"
    compress(carried(object(), reordered, ()))
    assert bytes_per_row(carried(object(), reordered, ())) == 0, "a reversal is a range"


def test_while_it_is_enabled_asking_compresses_and_the_notes_are_compressed_at_once():
    value = value_of_many_maps()
    (note,) = default_graph().found.values()
    held = bytes_per_row(value)
    enable_compression()
    (compressed,) = default_graph().found.values()
    assert isinstance(compressed.rows, range)
    assert len(compressed.rows) == len(note.rows)
    with_notes_compressed = bytes_per_row(value)
    provenance(value)
    assert bytes_per_row(value) < with_notes_compressed < held


def test_after_disabling_nothing_more_is_compressed():
    enable_compression()
    disable_compression()
    value = value_of_many_maps()
    held = bytes_per_row(value)
    provenance(value)
    assert bytes_per_row(value) == held


def test_a_note_that_is_written_after_compression_is_not_taken_for_an_older_one():
    """Notes go by the identity of a vector, which another vector may have once it is let go."""
    notes = default_graph()
    x = root_rows(notes, N, "x").node
    first = np.arange(0, N, 2)
    write_note(Mark(x, first), "mean", None, first, "the same identity", first)
    enable_compression()
    second = np.arange(1, N, 2)
    write_note(Mark(x, second), "mean", None, second, "the same identity", second)
    members = [each.members.backward([0]) for each in provenance(carried(object(), x, ())).left()]
    assert sorted(map(int, np.concatenate(members))) == list(range(N))


def test_a_statistic_that_is_computed_again_and_again_is_compressed_into_one_note():
    notes = default_graph()
    x = root_rows(notes, N, "x").node
    enable_compression()
    for _ in range(3):
        rows = np.arange(0, N, 3) ** 2 % N
        for some in (rows, rows[:99]):
            write_note(Mark(x, rows), "mean", None, some, (id(rows), len(some)), rows)
        compress(carried(object(), x, ()))
    assert len(notes.found) == 2


def test_an_untracked_value_is_refused():
    with pytest.raises(UntrackedValueError):
        bytes_per_row(np.zeros(3))
    with pytest.raises(UntrackedValueError):
        compress([1, 2])
