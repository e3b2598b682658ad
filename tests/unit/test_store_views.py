"""Row maps and gradients asked with SQL, against what the row maps themselves say."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest

from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.store import Store

MAPS = {
    "identity": RowMap.identity(3),
    "range": RowMap.range(4, 2, 3, 20),
    "select": RowMap.select(np.array([1, 4, 5]), 6),
    "gather": RowMap.gather(np.array([5, -1, 0, 5]), 6),
    "groups": RowMap.groups(np.array([1, 0, -1, 1]), 2),
    "window": RowMap.window(np.array([0, 1, 2]), np.array([1, 3, 2]), 3),
    "many": RowMap.many(np.array([0, 2, 2, 3]), np.array([0, 3, 1]), 4),
    "nothing": RowMap.select(np.array([], dtype=np.int64), 6),
    "unknown": RowMap.unknown(3, 4),
}


@pytest.fixture
def store(tmp_path):
    return Store.create(tmp_path / "store")


def record(store, maps, dataset_version_id="dv"):
    rows = []
    for ordinal, row_map in enumerate(maps):
        kind, params, columns = row_map.to_parts()
        block = store.put_table(pa.table(columns)) if columns else None
        rows.append(
            {
                "dataset_version_id": dataset_version_id,
                "ordinal": ordinal,
                "kind": kind,
                "n_out": row_map.n_out,
                "n_in": row_map.n_in,
                "params": params,
                "block": block,
            }
        )
    return store.commit({"row_map": rows})


def listed(store, map_id):
    rows = store.query(
        "select out_row, in_row from row_map_row where map_id = ? order by all", [map_id]
    )
    return list(zip(rows["out_row"].to_pylist(), rows["in_row"].to_pylist(), strict=True))


def test_the_views_of_an_empty_store_are_empty(store):
    assert store.query("select * from row_map_row").num_rows == 0
    assert store.query("select * from gradient").num_rows == 0


@pytest.mark.parametrize("name", MAPS)
def test_sql_lists_the_pairs_of_a_row_map_of_each_kind(store, name):
    number = record(store, [MAPS["gather"], MAPS[name]])
    assert listed(store, number * 65_536 + 1) == sorted(zip(*MAPS[name].pairs(), strict=True))


def test_maps_kept_in_pieces_are_in_the_table_of_maps_and_not_listed(store):
    direct = RowMap.select(np.array([1, 2]), 4)
    pieces = direct.union(RowMap.context(2, np.array([0, 1, 2, 3]), 4))
    number = record(store, [pieces])
    assert listed(store, number * 65_536) == []
    assert store.query("select kind from row_map")["kind"].to_pylist() == ["context"]
    assert store.verify().problems == ()


def test_map_ids_follow_from_commit_and_position(store):
    record(store, [MAPS["identity"]], "first")
    record(store, [MAPS["range"], MAPS["identity"]], "second")
    rows = store.query("select map_id, commit_no, ordinal from row_map order by map_id").to_pylist()
    assert [row["map_id"] for row in rows] == [65_536, 131_072, 131_073]


def test_two_maps_may_share_a_block(store):
    first, second = (record(store, [MAPS["select"]], name) for name in ("a", "b"))
    assert len(list((store.directory / "blocks").glob("*/*"))) == 1
    assert (
        listed(store, first * 65_536) == listed(store, second * 65_536) == [(0, 1), (1, 4), (2, 5)]
    )


def test_a_join_says_which_source_rows_a_row_of_a_dataset_came_from(store):
    record(store, [MAPS["select"], MAPS["many"]])
    sql = """
        select ordinal, in_row from row_map join row_map_row using (map_id)
        where dataset_version_id = 'dv' and out_row = 0 order by all
    """
    assert [tuple(row.values()) for row in store.query(sql).to_pylist()] == [(0, 1), (1, 0), (1, 3)]


def test_gradients_are_listed_by_training_row(store):
    values = np.arange(6.0).reshape(3, 2)
    rows = [
        {
            "training_run_id": "tr",
            "checkpoint": checkpoint,
            "row_lo": row_lo,
            "row_hi": row_lo + 3,
            "dim": 2,
            "dtype": "float64",
            "block": store.put_array(values + row_lo),
        }
        for checkpoint, row_lo in ((0, 0), (0, 3), (5, 0))
    ]
    store.commit({"gradient_block": rows})
    sql = "select training_row, gradient from gradient where training_run_id = ? and checkpoint = ?"
    found = store.query(sql + " order by training_row", ["tr", 0])
    assert found["training_row"].to_pylist() == [0, 1, 2, 3, 4, 5]
    assert np.array_equal(np.array(found["gradient"].to_pylist()), np.vstack([values, values + 3]))
    assert found.schema.field("gradient").type == pa.list_(pa.float64())


def test_wide_row_numbers_survive_beside_narrow_ones(store):
    record(store, [RowMap.select(np.array([1, 2]), 3)], "narrow")
    wide = RowMap.gather(np.array([2**40, -1]), 2**41)
    number = record(store, [wide], "wide")
    assert listed(store, number * 65_536) == [(0, 2**40)]


def test_a_store_that_was_moved_still_answers(store, tmp_path):
    number = record(store, [MAPS["many"]])
    before = listed(store, number * 65_536)
    moved = tmp_path / "elsewhere" / "moved"
    moved.parent.mkdir()
    store.directory.rename(moved)
    assert listed(Store.open(moved), number * 65_536) == before


def test_a_copy_without_links_makes_them_anew(store, tmp_path):
    number = record(store, [MAPS["many"]])
    before = listed(store, number * 65_536)
    skip = shutil.ignore_patterns("views")
    shutil.copytree(store.directory, tmp_path / "copy", ignore=skip)
    copy = Store.open(tmp_path / "copy")
    assert listed(copy, number * 65_536) == before
    assert copy.verify().problems == ()


def test_params_of_a_map_are_json_text(store):
    record(store, [MAPS["range"]])
    (row,) = store.query("select params from row_map").to_pylist()
    assert json.loads(row["params"]) == {"start": 4, "step": 2}
