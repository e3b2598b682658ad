"""The Parquet export gives back every pair of rows, and the same bytes for the same store."""

import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.recorded_store import N_PEOPLE, record_pipeline
from traceprop_engine.errors import StoreCorruptError
from traceprop_engine.exports import export_lineage, parquet_tables
from traceprop_engine.lineage import row_map_compound
from traceprop_engine.lineage.captured import CapturedLineage
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.recording import (
    InputRef,
    Materialization,
    load_row_map,
    record_lineage,
)
from traceprop_engine.store import Store


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return record_pipeline(tmp_path_factory.mktemp("recorded"))


@pytest.fixture(scope="module")
def out(recorded, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "lineage"
    export_lineage(recorded.store, path, format="parquet")
    return path


def pairs_in_store(store):
    """Return the pairs of every map as the row maps themselves give them."""
    maps = store.query("SELECT * FROM row_map").to_pylist()
    found = {facts["map_id"]: load_row_map(store, facts).pairs() for facts in maps}
    return {
        key: set(zip(*map(np.ndarray.tolist, rows), strict=True)) for key, rows in found.items()
    }


def pairs_in_export(path):
    table = pq.read_table(path / "row_map_row.parquet").to_pydict()
    found = {}
    for map_id, out_row, in_row in zip(*table.values(), strict=True):
        assert (out_row, in_row) not in found.setdefault(map_id, set())
        found[map_id].add((out_row, in_row))
    return found


def manifest_of(path):
    return json.loads((path / "manifest.json").read_text())


def bytes_of(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


def test_the_pairs_of_every_map_come_back(recorded, out):
    expected = pairs_in_store(recorded.store)
    assert len(expected) == 14
    assert pairs_in_export(out) == {key: pairs for key, pairs in expected.items() if pairs}


def test_every_row_of_the_features_has_the_visits_of_its_person(recorded, out):
    visits = np.genfromtxt(recorded.folder / "visits.csv", delimiter=",", skip_header=1)[:, 0]
    maps = pq.read_table(out / "row_map.parquet").to_pylist()
    (map_id,) = [facts["map_id"] for facts in maps if facts["input_name"] == "visits"]
    expected = {(int(person), row) for row, person in enumerate(visits)}
    assert pairs_in_export(out)[map_id] == expected


def test_pairs_stand_in_order(out):
    table = pq.read_table(out / "row_map_row.parquet")
    keys = list(zip(*table.to_pydict().values(), strict=True))
    assert keys == sorted(keys)


def test_a_map_without_pairs_is_named_with_the_reason(recorded, out):
    (unlisted,) = manifest_of(out)["maps_without_pairs"]
    facts = recorded.store.query("SELECT * FROM row_map WHERE kind = 'unknown'").to_pylist()
    assert unlisted["map_id"] == facts[0]["map_id"]
    assert unlisted["reason"] == "it is not known how the rows follow from this input"
    assert unlisted["map_id"] not in pairs_in_export(out)


def test_the_manifest_tells_what_each_file_holds(out):
    manifest = manifest_of(out)
    assert {file["name"] for file in manifest["files"]} | {"manifest.json"} == set(bytes_of(out))
    for file in manifest["files"]:
        data = (out / file["name"]).read_bytes()
        assert file["sha256"] == hashlib.sha256(data).hexdigest()
        assert file["n_bytes"] == len(data)
        assert file["n_rows"] == pq.read_metadata(out / file["name"]).num_rows
    assert (manifest["format"], manifest["dataset"]) == ("traceprop-lineage", None)


@pytest.mark.parametrize(
    "table",
    ["source_version", "dataset_version", "row_map", "op", "training_run", "column_lineage"],
)
def test_the_catalogue_comes_back_as_it_is_recorded(recorded, out, table):
    found = pq.read_table(out / f"{table}.parquet")
    names = [name for name in found.column_names if name != "detail"]
    expected = recorded.store.query(f"SELECT {', '.join(names)} FROM {table}").to_pylist()
    rows = found.select(names).to_pylist()
    assert sorted(rows, key=str) == sorted(expected, key=str)
    assert rows


def test_the_same_store_gives_the_same_bytes(recorded, out, tmp_path):
    recorded.store.rebuild()
    export_lineage(Store.open(recorded.directory), tmp_path / "again", format="parquet")
    assert bytes_of(tmp_path / "again") == bytes_of(out)


def test_one_dataset_comes_with_what_it_was_made_from_and_nothing_else(recorded, tmp_path):
    path = tmp_path / "features"
    export_lineage(recorded.store, path, format="parquet", dataset="visit_features")
    versions = pq.read_table(path / "dataset_version.parquet").to_pylist()
    sources = pq.read_table(path / "source_version.parquet").to_pylist()
    assert [row["dataset"] for row in versions] == ["visit_features"]
    assert [row["name"] for row in sources] == ["visits"]
    assert list(map(len, pairs_in_export(path).values())) == [sources[0]["n_rows"]]


def test_a_dataset_without_inputs_has_empty_tables(tmp_path):
    store = Store.create(tmp_path / "store")
    record_lineage(store, Materialization("alone", {}, "run"), CapturedLineage(2, {}))
    export_lineage(store, tmp_path / "out", format="parquet")
    n_rows = {file["name"]: file["n_rows"] for file in manifest_of(tmp_path / "out")["files"]}
    assert n_rows.pop("dataset_version.parquet") == 1
    assert set(n_rows.values()) == {0}
    pairs = pq.read_schema(tmp_path / "out" / "row_map_row.parquet")
    assert pairs.names == ["map_id", "out_row", "in_row"]
    assert set(pairs.types) == {pa.int64()}


def test_maps_of_too_many_pairs_for_the_memory_are_written_in_pieces(
    recorded, tmp_path, monkeypatch
):
    store = Store.create(tmp_path / "store")
    source = InputRef("source", "sv_elsewhere")
    lo = np.arange(40) // 2
    maps = {
        "window": RowMap.window(lo, lo + 9, N_PEOPLE),
        "one": RowMap.groups(np.zeros(N_PEOPLE, dtype=int), 1).take(np.zeros(40, dtype=int)),
        "gather": RowMap.gather(np.arange(40)[::-1], N_PEOPLE),
    }
    made = Materialization("wide", dict.fromkeys(maps, source), "run")
    record_lineage(store, made, CapturedLineage(40, maps))
    expected = pairs_in_store(store)
    assert sorted(map(len, expected.values())) == [40, 9 * 40, 40 * N_PEOPLE]
    monkeypatch.setattr(row_map_compound, "PAIRS_LIMIT", 25)  # fewer than one output row has
    monkeypatch.setattr(parquet_tables, "_ROWS_PER_GROUP", 7)
    export_lineage(store, tmp_path / "out", format="parquet")
    assert pairs_in_export(tmp_path / "out") == expected
    test_pairs_stand_in_order(tmp_path / "out")


def test_a_damaged_block_leaves_the_earlier_export_as_it_was(tmp_path):
    store = Store.create(tmp_path / "store")
    maps = {"in": RowMap.select([0, 3, 4], 9)}
    made = Materialization("selected", {"in": InputRef("source", "sv_elsewhere")}, "run")
    record_lineage(store, made, CapturedLineage(3, maps))
    out = tmp_path / "exports" / "lineage"
    out.parent.mkdir()
    export_lineage(store, out, format="parquet")
    before = bytes_of(out)
    (block,) = store.query("SELECT block FROM row_map").to_pylist()[0].values()
    (store.directory / "blocks" / block[:2] / f"{block}.parquet").write_bytes(b"damaged")
    with pytest.raises(StoreCorruptError):
        export_lineage(Store.open(store.directory), out, format="parquet", force=True)
    assert bytes_of(out) == before
    assert [path.name for path in out.parent.iterdir()] == ["lineage"]
