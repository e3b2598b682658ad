"""Source file assets in Dagster record fingerprints, so that their versions can be compared."""

import dagster as dg
import pandas as pd
import pytest

from traceprop_dagster import TracepropIOManager, TracepropStore, source_file_assets
from traceprop_dagster.errors import UnknownSourceError
from traceprop_engine.identity import match_versions
from traceprop_engine.recording import load_fingerprints, load_source
from traceprop_engine.store import Store

pytestmark = pytest.mark.e2e


@dg.asset
def adults(people: pd.DataFrame) -> pd.DataFrame:
    """Some rows."""
    return people[people["age"] > 24]


def run(folder, **settings):
    sources = source_file_assets({"people": folder / "people.csv"}, **settings)
    store = TracepropStore(path=str(folder / "store"))
    manager = TracepropIOManager(store=store)
    assert dg.materialize([*sources, adults], resources={"io_manager": manager}).success
    return Store.open(folder / "store")


def recorded(store):
    return store.query(
        "select source_version_id, key_columns, s.commit_no from source_version s"
        " left join source_fingerprint using (source_version_id) order by s.commit_no"
    ).to_pylist()


def test_rows_of_a_file_that_changed_between_two_runs_are_matched(tmp_path):
    file = tmp_path / "people.csv"
    # Read with an option that changes values: the fingerprints are of the file all the same.
    settings = {
        "key_columns": {"people": ["no"]},
        "options": {"read_options": {"dtype": {"no": "str"}}},
    }
    file.write_text("city,no,age\nBonn,1,30\nKiel,2,40\nBonn,3,50\n")
    run(tmp_path, **settings)
    file.write_text("city,no,age\nBonn,3,50\nUlm,4,60\nKiel,2,41\n")
    store = run(tmp_path, **settings)
    versions = [load_source(store, row["source_version_id"]) for row in recorded(store)]
    assert [row["key_columns"] for row in recorded(store)] == ['["no"]', '["no"]']
    prints = [load_fingerprints(store, version, key_columns=["no"]) for version in versions]
    match = match_versions(*prints, key_columns=["no"])
    assert match.old_of_new.tolist() == [2, -1, 1]
    assert match.edited.tolist() == [2]
    assert match.gone.tolist() == [0]


def test_fingerprints_can_be_left_out(tmp_path):
    (tmp_path / "people.csv").write_text("no,age\n1,30\n")
    store = run(tmp_path, fingerprint=False)
    assert [row["key_columns"] for row in recorded(store)] == [None]
    assert not (tmp_path / "store" / "fingerprint.secret").exists()


def test_key_columns_of_an_asset_that_there_is_not_are_refused(tmp_path):
    with pytest.raises(UnknownSourceError, match="no source file asset 'person'"):
        source_file_assets({"people": tmp_path / "a.csv"}, key_columns={"person": ["no"]})
