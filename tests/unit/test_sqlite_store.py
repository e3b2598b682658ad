"""Lineage in SQLite: what comes back is what was saved, whoever else writes."""

import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from traceprop_engine.errors import (
    LineageFileError,
    LineageNotSavedError,
    UntrackedValueError,
)
from traceprop_engine.lineage import CapturedLineage, CaptureSession, Op, RowMap, reset_graph
from traceprop_engine.lineage.carriers import carried
from traceprop_engine.lineage.graph import default_graph, root_rows
from traceprop_engine.lineage.marks import (
    Mark,
    Step,
    derived,
    lost_node,
    stacked,
    write_note,
)
from traceprop_engine.provenance_views import compress, provenance
from traceprop_engine.provenance_views.source_facts import remember_version
from traceprop_engine.sources import read_source
from traceprop_engine.stores.database import TABLES
from traceprop_engine.stores.sqlite_store import SQLiteStore
from traceprop_engine.stores.writing import Adding


@pytest.fixture(autouse=True)
def fresh_graph():
    reset_graph()


@pytest.fixture
def store(tmp_path):
    return SQLiteStore(tmp_path / "lineage.db")


def same(one, other):
    """Check that two views say the same, and return how many rows that was checked for."""
    assert one.sources() == other.sources()
    assert one.ops() == other.ops()
    assert (one.lineage.fidelity, one.lineage.reason) == (
        other.lineage.fidelity,
        other.lineage.reason,
    )
    for name, row_map in one.lineage.maps.items():
        assert row_map.same_relation(other.lineage.maps[name]), name
    for mine, theirs in (
        (one.statistics(), other.statistics()),
        (one.left(), other.left()),
    ):
        assert [_said(each) for each in mine] == [_said(each) for each in theirs]
    assert one.to_svg() == other.to_svg()
    assert one.to_mermaid() == other.to_mermaid()
    texts = [str(one.trace(i)) for i in range(one.n_rows)]
    assert texts == [str(other.trace(i)) for i in range(other.n_rows)]
    return len(texts)


def _said(context):
    rows = context.members.backward([0]).tolist()
    return context.input, context.statistic, context.column, context.detail, rows


def rich_value():
    """Return a value with all that a graph can hold."""
    notes = default_graph()
    x, y, z = (root_rows(notes, 6, name).node for name in "xyz")
    picked = derived(notes, 3, [(x, np.array([5, -1, 0])), (y, range(5, -1, -2))])
    windows = RowMap.window([0, 2], [2, 6], 6)
    rolled = derived(notes, 2, [(y, windows)], claims=("the user said so",))
    lost = lost_node(notes, 2, [z], "an unknown call")
    whole = stacked(notes, [(3, picked, range(3)), (2, rolled, range(1, -1, -1)), (1, None, [-1])])
    node = derived(notes, 6, [(whole, range(6)), (lost, np.array([0, 1, -1, -1, -1, -1]))])
    write_note(Mark(x, range(6)), "mean", "a", np.array([1, 4]), 0, range(6), detail='{"k": 1}')
    write_note(Mark(y, range(6)), "item", None, range(6), 0, range(6))
    mean = Step(Op("mean", "axis=0", ("x",), (6,), 1), ())
    steps = (Step(Op("cat", "", ("x", "y", "z"), (3, 2, 1), 6), (mean,)),)
    return carried(object(), node, steps)


def test_what_is_loaded_says_what_was_saved(store):
    value = rich_value()
    store.save(value, "features")
    view = store.load("features")
    assert same(provenance(value), view) == 6
    assert view.lineage.fidelity == "unknown"
    assert view.rows(0)["z"] is None
    assert [_said(each)[:4] for each in view.statistics()] == [("x", "mean", "a", '{"k": 1}')]


def test_a_result_of_a_session_comes_back_after_the_session(store):
    visits = pd.DataFrame({"p": [1, 1, 2, 3], "v": [1.0, None, 3.0, 4.0]})
    with CaptureSession() as session:
        frame = session.load(visits, "visits")
        session.load(visits, "not used")
        result = frame.dropna().groupby("p", as_index=False).sum()
        result["v"] /= frame["v"].max()
        before = provenance(result)
        store.save(result, "sums")
    assert same(before, store.load("sums")) == 3


def test_a_pivoted_frame_keeps_the_rows_that_became_columns(store):
    long = pd.DataFrame({"p": [1, 1, 2], "k": ["a", "b", "a"], "v": [1, 2, 3]})
    with CaptureSession() as session:
        wide = session.load(long, "long").pivot(index="p", columns="k", values="v")  # noqa: PD010 (under test)
        before = provenance(wide)
        store.save(wide, "wide")
    assert same(before, store.load("wide")) == 2


def test_a_handed_over_lineage_is_saved_once_however_often(store):
    def lineage():
        ops = (Op("first", "", ("a",), (5,), 4), Op("first", "", ("a",), (5,), 4))
        return CapturedLineage(2, {"a": RowMap.many([0, 2, 3], [0, 4, 1], 5)}, ops=ops)

    number = store.save(lineage(), "one")
    assert store.save(lineage(), "one") == number
    assert same(provenance(lineage()), store.load("one")) == 2
    assert len(store.load("one").ops()) == 2
    assert len(store.all_nodes()) == 2


def counts(path):
    """Return the number of rows of each table."""
    with sqlite3.connect(path) as connection:
        return {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in TABLES
        }


def test_a_second_save_of_the_same_adds_nothing(store):
    value = rich_value()
    number = store.save(value, "features")
    before = counts(store.path)
    assert store.save(value, "features") == number
    assert store.save(store.load("features"), "features") == number
    assert counts(store.path) == before


def test_a_save_after_compression_adds_nothing(store):
    n = 9_000
    x = root_rows(default_graph(), n, "x").node
    rows = np.random.default_rng(0).permutation(n)
    write_note(Mark(x, range(n)), "mean", None, rows[:-1], 0, rows)
    write_note(Mark(x, range(n)), "max", None, range(n), 0, range(n))
    value = carried(object(), derived(default_graph(), n, [(x, rows)]), ())
    number = store.save(value, "t")
    before = counts(store.path)
    compress(value)
    assert [each.statistic for each in provenance(value).left()] == ["max", "mean"]
    assert store.save(value, "t") == number
    assert counts(store.path) == before


def test_a_view_can_be_copied_to_another_store(store, tmp_path):
    store.save(rich_value(), "features")
    other = SQLiteStore(tmp_path / "other.db")
    other.save(store.load("features"), "copy")
    assert same(store.load("features"), other.load("copy")) == 6


def test_a_save_under_a_name_that_is_taken_replaces_nothing(store):
    first = store.save(carried(object(), root_rows(default_graph(), 3, "x").node, ()), "t")
    second = store.save(carried(object(), root_rows(default_graph(), 5, "y").node, ()), "t")
    assert [each.number for each in store.saves("t")] == [first, second]
    assert [each.n_rows for each in store.saves("t")] == [3, 5]
    assert store.load("t").sources() == ["y"]
    assert store.load("t", number=first).sources() == ["x"]
    assert store.names() == ["t"]


def test_ids_of_ancestors_are_nodes_of_the_store(store):
    value = rich_value()
    store.save(value, "features")
    ids = store.load("features").ancestors()
    nodes = {node.id: node for node in store.all_nodes()}
    assert ids <= set(nodes)
    assert {nodes[i].source for i in ids} >= {"x", "y"}
    assert all(store.get_node(i) == nodes[i] for i in nodes)
    assert store.get_node(10**6) is None
    edges = store.all_edges()
    assert all(edge.parent < edge.child for edge in edges)
    assert all(store.get_edge(edge.id) == edge for edge in edges)
    assert store.get_edge(10**6) is None
    for edge in edges:
        row_map = store.row_map(edge.id)
        assert (row_map.n_out, row_map.n_in) == (edge.n_rows, nodes[edge.parent].n_rows)


def test_inputs_of_one_name_in_two_graphs_stay_two(store):
    for n_rows in (4, 4):
        reset_graph()
        store.save(carried(object(), root_rows(default_graph(), n_rows, "x").node, ()), "t")
    assert [node.source for node in store.all_nodes()] == ["x", "x"]
    assert len(store.saves("t")) == 2


def test_a_source_file_is_one_source_in_every_graph_and_its_lines_are_read_again(store, tmp_path):
    path = tmp_path / "v.csv"
    path.write_text("a,b\n1,x\n2,y\n3,z\n")
    for name in ("first", "second"):
        reset_graph()
        version, _ = read_source(path, name="visits")
        node = root_rows(default_graph(), 3, "visits").node
        remember_version(default_graph(), version)
        picked = derived(default_graph(), 2, [(node, np.array([2, 0]))])
        store.save(carried(object(), picked, ()), name)
    (source,) = [node for node in store.all_nodes() if node.source]
    assert source.sha256 == version.sha256
    assert "v.csv:4  3,z" in str(store.load("second").trace(0))
    path.write_text("a,b\n1,x\n2,y\n4,z\n")
    trace = store.load("first").trace(0)
    assert "other bytes now" in trace.sources[0].unavailable
    assert "3,z" not in str(trace)
    assert trace.sources[0].rows.tolist() == [2]


def test_large_row_maps_are_stored_in_few_bytes_a_row(store):
    n = 100_000
    rng = np.random.default_rng(5)
    x = root_rows(default_graph(), n, "x").node
    shuffled = derived(default_graph(), n, [(x, rng.permutation(n))])
    kept = np.flatnonzero(rng.random(n) < 1 / 2)
    store.save(carried(object(), derived(default_graph(), len(kept), [(shuffled, kept)]), ()), "t")
    shuffle, choice = store.all_edges()
    assert shuffle.n_bytes / n < 3.3
    assert choice.n_bytes / len(kept) < 0.7


def test_a_failing_save_leaves_nothing_behind(store, monkeypatch):
    before = counts(store.path)
    monkeypatch.setattr(Adding, "_save", lambda *_: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        store.save(rich_value(), "t")
    assert counts(store.path) == before


def test_clear_removes_everything_and_gives_no_id_again(store):
    store.save(rich_value(), "t")
    last = max(node.id for node in store.all_nodes())
    store.clear()
    assert not any(counts(store.path).values())
    store.save(rich_value(), "t")
    assert min(node.id for node in store.all_nodes()) > last


def test_what_was_not_saved_is_refused_and_names_what_there_is(store):
    with pytest.raises(LineageNotSavedError, match="nothing was saved"):
        store.load("t")
    number = store.save(rich_value(), "features")
    with pytest.raises(LineageNotSavedError, match=r"no lineage 'feature'.*'features'"):
        store.load("feature")
    with pytest.raises(LineageNotSavedError, match="with number"):
        store.load("features", number=number + 1)
    with pytest.raises(LineageNotSavedError, match="no edge 999"):
        store.row_map(999)
    with pytest.raises(UntrackedValueError):
        store.save(np.zeros(3), "t")


def test_files_that_are_no_store_are_refused_and_left_alone(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("hello, this is no database at all, it is a text of some length\n" * 20)
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE nodes (id)")
    for path, why in (
        (text, "SQLite refuses it"),
        (other, "another program"),
        (tmp_path, "SQLite"),
    ):
        content = path.read_bytes() if path.is_file() else b""
        with pytest.raises(LineageFileError, match=why):
            SQLiteStore(path)
        assert not path.is_file() or path.read_bytes() == content
    with pytest.raises(LineageFileError, match="SQLite refuses it"):
        SQLiteStore(tmp_path / "no such folder" / "lineage.db")
    with pytest.raises(LineageFileError, match="name a file"):
        SQLiteStore(":memory:")


def test_a_store_of_a_newer_release_is_refused(store):
    with sqlite3.connect(store.path) as connection:
        connection.execute("PRAGMA user_version = 2")
    with pytest.raises(LineageFileError, match="upgrade"):
        SQLiteStore(store.path)


def test_damaged_row_maps_are_noticed(store):
    n = 5_000
    x = root_rows(default_graph(), n, "x").node
    rows = np.random.default_rng(0).permutation(n)
    store.save(carried(object(), derived(default_graph(), n, [(x, rows)]), ()), "t")
    with sqlite3.connect(store.path) as connection:
        (data,) = connection.execute("SELECT max(data) FROM row_map_column").fetchone()
        for wrong in (data[:-7], data[:40] + bytes([data[40] ^ 1]) + data[41:], b""):
            connection.execute("UPDATE row_map_column SET data = ?", [wrong])
            connection.commit()
            with pytest.raises(LineageFileError, match="is damaged"):
                store.load("t")


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE value SET facts = substr(facts, 2)",
        "UPDATE value SET facts = replace(facts, '\"n_rows\":6', '\"n_rows\":5')",
        "UPDATE node SET lost = '{'",
        "UPDATE node SET lost = '{}'",
        "UPDATE node SET is_statistic = 1",
        "UPDATE op SET before = '[]'",
        "UPDATE edge SET n_rows = n_rows - 1",
        "DELETE FROM edge",
        "DELETE FROM op",
    ],
)
def test_damaged_records_are_noticed(store, damage):
    store.save(rich_value(), "t")
    assert store.load("t").n_rows == 6
    with sqlite3.connect(store.path) as connection:
        connection.execute(damage)
    with pytest.raises(LineageFileError, match="is damaged"):
        store.load("t")


def test_a_damaged_file_version_is_noticed(store, tmp_path):
    path = tmp_path / "doses.csv"
    path.write_text("id\n1\n")
    version, _ = read_source(path)
    remember_version(default_graph(), version)
    store.save(carried(object(), root_rows(default_graph(), 1, version.name).node, ()), "t")
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE source SET facts = replace(facts, 'doses.csv', 'other.csv')")
    with pytest.raises(LineageFileError, match=r"the source .+ is damaged"):
        store.load("t")


def test_a_store_that_another_process_holds_is_waited_for_and_then_said(store, tmp_path):
    impatient = SQLiteStore(store.path, timeout_s=0.05)
    with sqlite3.connect(store.path, isolation_level=None) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(LineageFileError, match=r"more than 0\.05 s"):
            impatient.save(rich_value(), "t")
        connection.execute("ROLLBACK")
    assert impatient.save(rich_value(), "t") == 1


def test_a_closed_store_is_refused(tmp_path):
    with SQLiteStore(Path(tmp_path, "lineage.db")) as store:
        store.save(rich_value(), "t")
    with pytest.raises(LineageFileError, match="was closed"):
        store.names()
    assert SQLiteStore(store.path).names() == ["t"]
