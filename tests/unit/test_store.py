"""What a store does for one process: commits, repetitions, contradictions, questions."""

import json
from datetime import UTC, datetime, timedelta, timezone

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from traceprop_engine.errors import (
    BlockNotFoundError,
    StoreConflictError,
    StoreExistsError,
    StoreNotFoundError,
    StoreQueryError,
    StoreRowError,
)
from traceprop_engine.store import Store
from traceprop_engine.store.schema import SCHEMA

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path):
    return Store.create(tmp_path / "store")


def op(ordinal, name="filter", dataset_version_id="dv_1"):
    return {
        "dataset_version_id": dataset_version_id,
        "ordinal": ordinal,
        "name": name,
        "n_rows_out": 3,
    }


def names(store):
    return [row["name"] for row in store.query("select name from op order by ordinal").to_pylist()]


def test_a_committed_row_is_found_by_sql_with_the_number_of_its_commit(store):
    number = store.commit({"op": [op(0)]})
    assert store.query("select name, commit_no from op").to_pylist() == [
        {"name": "filter", "commit_no": number}
    ]


def test_commits_are_numbered_from_one_without_gaps(store):
    assert [store.commit({"op": [op(ordinal)]}) for ordinal in range(4)] == [1, 2, 3, 4]


def test_a_second_object_on_the_same_directory_sees_the_commit(store):
    store.commit({"op": [op(0)]})
    assert names(Store.open(store.directory)) == ["filter"]


def test_a_column_that_is_left_out_is_null_or_has_its_default(store):
    store.commit({"dataset_version": [{"dataset_version_id": "dv", "n_rows": 0}]})
    sql = "select partition_key, coverage, created_at from dataset_version"
    assert store.query(sql).to_pylist() == [
        {"partition_key": "", "coverage": None, "created_at": None}
    ]


def test_values_of_numpy_and_pandas_are_stored_as_what_they_are(store):
    row = {
        "training_run_id": np.str_("tr"),
        "l2": np.float32(0.5),
        "n_rows": np.int32(7),
        "converged": np.bool_(1),
        "created_at": pd.Timestamp("2026-01-01T13:00:00+01:00"),
    }
    store.commit({"training_run": [row]})
    sql = "select training_run_id, l2, n_rows, converged, created_at from training_run"
    (found,) = store.query(sql).to_pylist()
    assert list(found.values()) == ["tr", 0.5, 7, True, NOON]


def test_json_columns_take_values_and_give_text(store):
    metrics = {"auc": 0.75, "curve": [1, None, "é\u0000\n"], "nested": {"b": (1, 2)}}
    store.commit({"training_run": [{"training_run_id": "tr", "metrics": metrics}]})
    (row,) = store.query("select metrics from training_run").to_pylist()
    assert json.loads(row["metrics"]) == {**metrics, "nested": {"b": [1, 2]}}


def test_a_time_is_kept_as_the_same_instant_to_the_microsecond(store):
    moment = datetime(2026, 7, 1, 1, 2, 3, 456789, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    store.commit({"audit_event": [{"event_id": "e", "created_at": moment}]})
    assert store.query("select created_at from audit_event")["created_at"].to_pylist() == [moment]


def test_times_are_given_in_utc(store):
    assert store.query("select current_setting('TimeZone') as zone")["zone"].to_pylist() == ["UTC"]


def test_the_same_rows_committed_twice_are_there_once(store):
    first = store.commit({"op": [op(0)]})
    assert store.commit({"op": [op(0)]}) == first + 1
    assert store.query("select commit_no from op")["commit_no"].to_pylist() == [first]


@pytest.mark.parametrize(("key", "status"), [(None, "accepted"), ("attempt", "repeated")])
def test_a_reading_of_the_clock_is_no_contradiction_and_the_first_one_stays(store, key, status):
    for minutes in (0, 5):
        store.commit(
            {"audit_event": [{"event_id": "e", "created_at": NOON + timedelta(minutes=minutes)}]},
            key=key,
        )
    assert store.query("select created_at from audit_event")["created_at"].to_pylist() == [NOON]
    assert store.query("select status from bundle order by commit_no")["status"].to_pylist() == [
        "accepted",
        status,
    ]


def test_another_row_under_a_primary_key_is_loud_and_set_aside_as_a_whole(store):
    store.commit({"op": [op(0)]})
    with pytest.raises(StoreConflictError, match=r"another name.*store verify"):
        store.commit({"op": [op(1), op(0, name="merge")]})
    assert names(store) == ["filter"]
    assert store.info().n_set_aside == 1


def test_another_content_under_a_key_is_loud_and_set_aside(store):
    store.commit({"op": [op(0)]}, key="step-7")
    with pytest.raises(StoreConflictError, match="'step-7' stands for the other commit 1"):
        store.commit({"op": [op(1)]}, key="step-7")
    assert names(store) == ["filter"]


def test_a_store_goes_on_after_a_contradiction(store):
    store.commit({"op": [op(0)]})
    with pytest.raises(StoreConflictError):
        store.commit({"op": [op(0, name="merge")]})
    store.commit({"op": [op(1, name="sort")]})
    assert names(store) == ["filter", "sort"]


def test_contradictions_between_pending_commits_are_found_too(store, monkeypatch):
    monkeypatch.setattr(store, "ingest", lambda: None)  # as if another process had the index
    for name in ("filter", "merge", "filter"):
        store.commit({"op": [op(0, name)]})
    monkeypatch.undo()
    report = store.ingest(blocking=True)
    assert report.commit_numbers == (1, 2, 3)
    assert [set_aside.commit_no for set_aside in report.set_aside] == [2]


@pytest.mark.parametrize(
    ("tables", "culprit"),
    [
        ({"ops": [{}]}, "ops"),
        ({"op": [{**op(0), "colour": 1}]}, "op.colour"),
        ({"op": [{"dataset_version_id": "dv"}]}, "op.ordinal"),
        ({"op": [op("0")]}, "op.ordinal: '0' is not a whole number"),
        ({"op": [op(True)]}, "op.ordinal: True"),
        ({"op": [op(1 << 63)]}, "op.ordinal: 9223372036854775808 does not fit"),
        ({"op": [op(0, name=3)]}, "op.name: 3 is not text"),
        ({"op": [op(0, name="\ud800")]}, "op.name"),
        ({"op": [{**op(0), "inputs": [float("nan")]}]}, "op.inputs"),
        ({"op": [{**op(0), "inputs": object()}]}, "op.inputs"),
        ({"op": [op(0), op(0)]}, "two rows of one commit"),
        ({"attribution": [{"query_id": "q", "score": float("inf")}]}, "attribution.score: inf"),
        ({"attribution": [{"query_id": "q", "score": "1.0"}]}, "attribution.score"),
        ({"training_run": [{"training_run_id": "t", "converged": 1}]}, "training_run.converged"),
        ({"audit_event": [{"event_id": "e", "created_at": datetime(2026, 1, 1)}]}, "created_at"),  # noqa: DTZ001
        ({"audit_event": [{"event_id": "e", "created_at": pd.NaT}]}, "created_at"),
        ({"audit_event": [{"event_id": "e", "created_at": "yesterday"}]}, "created_at"),
        ({"row_map": [{"dataset_version_id": "d", "ordinal": 0, "block": "../x"}]}, "SHA-256"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_with_its_place_and_nothing_is_recorded(
    store, tables, culprit
):
    with pytest.raises(StoreRowError) as caught:
        store.commit(tables)
    assert culprit in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list((store.directory / "log").iterdir()) == []


def test_a_gradient_block_of_a_run_whose_name_is_too_long_for_a_file_is_refused(store):
    row = {"training_run_id": "é" * 60, "checkpoint": 0, "row_lo": 0}
    with pytest.raises(StoreRowError, match=r"gradient_block\.training_run_id"):
        store.commit({"gradient_block": [row]})


def test_more_row_maps_than_a_commit_can_number_are_refused(store):
    rows = [{"dataset_version_id": "d", "ordinal": n, "kind": "unknown"} for n in range(65_537)]
    with pytest.raises(StoreRowError, match="65537 in one commit"):
        store.commit({"row_map": rows})


def test_a_reference_to_a_block_that_was_not_put_is_refused(store):
    block = "0" * 64
    with pytest.raises(BlockNotFoundError, match=block):
        store.commit({"dataset_version": [{"dataset_version_id": "d", "content_block": block}]})
    assert list((store.directory / "log").iterdir()) == []


def test_values_are_bound_by_name_or_by_position(store):
    store.commit({"op": [op(0), op(1, "x'; drop table op; --")]})
    sql = "select ordinal from op where name = "
    assert store.query(sql + "?", ["x'; drop table op; --"]).to_pylist() == [{"ordinal": 1}]
    assert store.query(sql + "$n", {"n": "filter"}).to_pylist() == [{"ordinal": 0}]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("select nothing from op", "nothing"),
        ("select * from nowhere", "nowhere"),
        ("selec 1", "syntax error"),
        ("", "one statement"),
        ("select 1; select 2", "one statement"),
        ("delete from op", "read-only"),
        ("drop table op", "read-only"),
        ("insert into op by name select 'x' as dataset_version_id, 1 as ordinal", "read-only"),
        ("select cast('x' as bigint)", "Could not convert"),
        ("select ?", "parameter"),
    ],
)
def test_a_statement_that_is_wrong_or_writes_is_refused_in_one_line(store, sql, message):
    store.commit({"op": [op(0)]})
    with pytest.raises(StoreQueryError, match=message) as caught:
        store.query(sql)
    assert "\n" not in str(caught.value)
    assert names(store) == ["filter"]


def test_tables_can_be_listed_and_described(store):
    listed = store.query("show tables")["name"].to_pylist()
    assert set(listed) == {*SCHEMA.tables, "bundle", "store_meta", "row_map_row", "gradient"}
    described = store.query("describe op").to_pylist()
    assert [(row["column_name"], row["column_type"]) for row in described][:2] == [
        ("dataset_version_id", "VARCHAR"),
        ("ordinal", "BIGINT"),
    ]


def test_every_declared_table_and_column_is_there(store):
    for table in SCHEMA.tables.values():
        expected = [column.name for column in table.stored_columns]
        assert store.query(f'select * from "{table.name}"').column_names == expected
        assert expected[-1] == "commit_no"


def test_a_missing_store_is_named(tmp_path):
    with pytest.raises(StoreNotFoundError, match=r"nowhere.*--store"):
        Store.open(tmp_path / "nowhere")


def test_creating_a_store_twice_opens_the_first(store):
    store.commit({"op": [op(0)]})
    assert names(Store.create(store.directory)) == ["filter"]


def test_a_store_is_not_created_over_a_file_or_where_duckdb_cannot_work(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreExistsError, match="it is a file"):
        Store.create(tmp_path / "file")
    for name in ("why?", "back\\slash"):
        with pytest.raises(StoreExistsError, match="DuckDB cannot work"):
            Store.create(tmp_path / name)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["with blank", "a'b;--", 'quo"te', "[a]*{b}", "in_row=7", "ä ∑", "%41#x", "~", "a\nb"]
)
def test_a_store_works_in_a_directory_of_any_name(tmp_path, name):
    store = Store.create(tmp_path / name)
    block = store.put_table(pa.table({"in_row": [4, 2]}))
    row = {"dataset_version_id": "d", "ordinal": 0, "kind": "gather", "n_out": 2, "block": block}
    store.commit({"row_map": [row]})
    expected = [{"out_row": 0, "in_row": 4}, {"out_row": 1, "in_row": 2}]
    for _ in range(2):
        found = store.query("select out_row, in_row from row_map_row order by all").to_pylist()
        assert found == expected
        store.rebuild()
    assert store.verify().problems == ()


HOSTILE = ["", "..", "a/b", "x'; drop table op; --", 'a"b', "é\u0000∑", "\r\n", "%2F@1@2", "*"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_come_back_as_they_went_in(store, name):
    block = store.put_array(np.ones((1, 2)))
    run = {"training_run_id": name, "checkpoint": 0, "row_lo": 0, "block": block}
    event = {"event_id": name, "action": name, "payload": {name: name}}
    store.commit({"gradient_block": [run], "audit_event": [event]}, key=name)
    assert store.query("select training_run_id from gradient").to_pylist() == [
        {"training_run_id": name}
    ]
    found = store.query("select event_id, action from audit_event where event_id = ?", [name])
    assert found.to_pylist() == [{"event_id": name, "action": name}]
    assert store.commit({"gradient_block": [run], "audit_event": [event]}, key=name) == 2
    assert store.verify().problems == ()


def test_what_is_counted_by_info(store):
    store.put_array(np.zeros((2, 2)))
    store.commit({"op": [op(0), op(1)]})
    info = store.info()
    assert (info.n_commits, info.n_set_aside, info.n_blocks) == (1, 0, 1)
    assert {name: n for name, n in info.n_rows.items() if n} == {"op": 2}
    assert info.n_bytes >= (store.directory / "traceprop.duckdb").stat().st_size


def test_nothing_is_left_open_or_staged_after_a_call(store):
    store.commit({"op": [op(0)]})
    store.query("select 1")
    with duckdb.connect(str(store.directory / "traceprop.duckdb")) as connection:
        assert connection.execute("select count(*) from op").fetchall() == [(1,)]
    assert list((store.directory / "staging").iterdir()) == []


def test_the_index_can_be_opened_by_duckdb_1_5(store):
    store.commit({"op": [op(0)]})
    header = (store.directory / "traceprop.duckdb").read_bytes()[:64]
    assert int.from_bytes(header[12:20], "little") <= 68  # the newest that 1.5 reads


def test_a_commit_that_leaves_the_index_alone_is_found_by_the_next_question(store):
    store.commit({"op": [op(0)]}, ingest=False)
    assert not (store.directory / "traceprop.duckdb").exists()
    assert names(store) == ["filter"]
