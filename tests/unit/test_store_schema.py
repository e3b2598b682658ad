"""The declared schema: stores of newer releases are refused, those of older ones migrated."""

import duckdb
import pytest

from traceprop_engine.errors import StoreSchemaError
from traceprop_engine.store import Store
from traceprop_engine.store.schema import SCHEMA, SCHEMA_VERSION, Schema, declare

PEOPLE = declare("person", "id TEXT, full_name TEXT", key="id")
OLD = Schema(1, {"person": PEOPLE})


def split_names(records):
    """Turn ``full_name`` into two columns, and note each migration in a table of its own."""
    for table, row in records:
        first, _, last = row["full_name"].partition(" ")
        yield table, {"id": row["id"], "first_name": first, "last_name": last}
        yield "note", {"id": row["id"], "text": "split"}


def shout(records):
    return [
        (table, {**row, "text": row["text"].upper()} if table == "note" else row)
        for table, row in records
    ]


NEW_TABLES = {
    "person": declare("person", "id TEXT, first_name TEXT, last_name TEXT", key="id"),
    "note": declare("note", "id TEXT, text TEXT", key="id"),
}
NEW = Schema(2, NEW_TABLES, (lambda records: list(split_names(records)),))
NEWEST = Schema(3, NEW_TABLES, (*NEW.migrations, shout))

ADA = {"id": "1", "full_name": "Ada Lovelace"}
GRACE = {"id": "2", "first_name": "Grace", "last_name": "Hopper"}


def people(store):
    return store.query("select first_name, last_name from person order by id").to_pylist()


@pytest.fixture
def old_store(tmp_path):
    store = Store.create(tmp_path / "store", OLD)
    store.commit({"person": [ADA]}, key="ada")
    return store


def test_this_release_has_a_migration_for_every_older_version():
    assert SCHEMA.version == SCHEMA_VERSION
    assert len(SCHEMA.migrations) == SCHEMA_VERSION - 1


def test_rows_of_an_older_store_are_migrated_when_it_is_read(old_store):
    store = Store.open(old_store.directory, NEW)
    assert people(store) == [{"first_name": "Ada", "last_name": "Lovelace"}]
    assert store.query("select text from note")["text"].to_pylist() == ["split"]


def test_migrations_run_one_after_the_other(old_store):
    store = Store.open(old_store.directory, NEWEST)
    assert store.query("select text from note")["text"].to_pylist() == ["SPLIT"]


def test_a_migrated_store_goes_on_with_new_rows(old_store):
    store = Store.open(old_store.directory, NEW)
    store.commit({"person": [GRACE]})
    assert [row["last_name"] for row in people(store)] == ["Lovelace", "Hopper"]
    assert store.verify().problems == ()
    store.rebuild()
    assert [row["last_name"] for row in people(store)] == ["Lovelace", "Hopper"]
    versions = store.query("select schema_version from bundle order by commit_no")
    assert versions["schema_version"].to_pylist() == [1, 2]


def test_the_log_of_a_migrated_store_is_left_as_it_was(old_store):
    (bundle,) = (old_store.directory / "log").iterdir()
    before = bundle.read_bytes()
    Store.open(old_store.directory, NEW).query("select 1")
    assert bundle.read_bytes() == before


def test_a_commit_that_was_tried_again_after_the_upgrade_is_a_repetition(old_store):
    store = Store.open(old_store.directory, NEW)
    migrated = {"id": "1", "first_name": "Ada", "last_name": "Lovelace"}
    note = {"id": "1", "text": "split"}
    store.commit({"person": [migrated], "note": [note]}, key="ada")
    statuses = store.query("select status from bundle order by commit_no")["status"].to_pylist()
    assert statuses == ["accepted", "repeated"]


def test_an_older_release_refuses_a_newer_store_in_one_line(old_store):
    Store.open(old_store.directory, NEW).commit({"person": [GRACE]})
    with pytest.raises(StoreSchemaError, match="upgrade traceprop-dagster") as caught:
        Store.open(old_store.directory, OLD)
    assert "\n" not in str(caught.value)


def test_a_process_that_was_open_during_the_upgrade_refuses_too(old_store):
    Store.open(old_store.directory, NEW).query("select 1")
    with pytest.raises(StoreSchemaError, match="version 2"):
        old_store.query("select 1")


def test_a_commit_of_the_older_release_after_the_upgrade_is_still_taken_over(old_store, caplog):
    store = Store.open(old_store.directory, NEW)
    store.query("select 1")
    old_store.commit({"person": [{"id": "3", "full_name": "Alan Turing"}]})
    assert "Commit 2 is recorded" in caplog.text
    assert [row["last_name"] for row in people(store)] == ["Lovelace", "Turing"]


def test_verify_and_gc_read_older_commits_through_the_migrations(tmp_path):
    table = declare("person", "id TEXT, old_block BLOCK", key="id")
    old = Store.create(tmp_path / "store", Schema(1, {"person": table}))
    block = old.put_table(duckdb.sql("select 1 as x").to_arrow_table())
    old.commit({"person": [{"id": "1", "old_block": block}]})
    renamed = declare("person", "id TEXT, block BLOCK", key="id")

    def rename(records):
        return [(name, {"id": row["id"], "block": row["old_block"]}) for name, row in records]

    new = Store.open(old.directory, Schema(2, {"person": renamed}, (rename,)))
    assert new.gc(0).blocks == ()
    assert new.verify().problems == ()


def test_a_declaration_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="VARCHAR is no type"):
        declare("t", "id VARCHAR", key="id")
    with pytest.raises(ValueError, match="names no column"):
        declare("t", "id TEXT", key="other")
