"""What an estimator was fitted to: kept with the rows it was fitted on, shown, never given away."""

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from prov.model import ProvDerivation, ProvDocument

from traceprop_engine.cli import main
from traceprop_engine.errors import StoreRowError
from traceprop_engine.exports import export_lineage
from traceprop_engine.lineage.captured import CapturedLineage, ContextDependency
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.recording import (
    InputRef,
    Materialization,
    describe_fitted,
    find_dataset_version,
    load_fitted,
    record_dataset,
    record_source,
)
from traceprop_engine.serving.site import Site
from traceprop_engine.sources import scan_source
from traceprop_engine.store import Store
from traceprop_engine.tracing import affected_by, trace_back

GOLDEN = Path(__file__).parent / "golden" / "store_v2"
PEOPLE = "id,age\n1,30\n2,40\n3,70\n"
SCALER = {
    "estimator": "sklearn.preprocessing._data.StandardScaler",
    "fitted": {"feature_names_in_": ["age"], "mean_": [35.0], "n_samples_seen_": 2},
    "parameters": {"with_mean": True},
}
SHOWN = "mean_ = [35], n_samples_seen_ = 2"


def lineage_of(*details):
    first_two = RowMap.groups([0, 0, -1], 1)
    contexts = [ContextDependency("people", "Scaler.fit", None, first_two, d) for d in details]
    return CapturedLineage(3, {"people": RowMap.identity(3)}, contexts=tuple(contexts))


def record_scaled(store, *details):
    made = Materialization("scaled", {"people": InputRef("source", "sv_people")}, run_id="run-1")
    return record_dataset(store, made, pd.DataFrame({"age": [-1, 1, 7]}), lineage_of(*details))


@pytest.fixture
def store(tmp_path):
    return Store.create(tmp_path / "store")


@pytest.fixture
def scaled(store, tmp_path):
    (tmp_path / "people.csv").write_text(PEOPLE)
    ref = record_source(store, scan_source(tmp_path / "people.csv"))
    made = Materialization("scaled", {"people": ref}, run_id="run-1")
    record_dataset(
        store, made, pd.DataFrame({"age": [-1, 1, 7]}), lineage_of(json.dumps(SCALER), None)
    )
    return store


def test_it_comes_back_with_the_rows_it_was_fitted_on(store):
    version_id = record_scaled(store, json.dumps(SCALER), None)
    (found,) = load_fitted(store, version_id)
    assert found.value == SCALER
    assert found.members.tolist() == [0, 1]
    assert (found.statistic, found.input_name, found.ordinal) == ("Scaler.fit", "people", 1)
    assert (found.input_kind, found.input_id) == ("source", "sv_people")
    assert found.dataset_version_id == version_id
    store.rebuild()
    assert load_fitted(store, version_id)[0].value == SCALER


def test_two_fits_come_back_in_their_order(store):
    version_id = record_scaled(store, '{"fitted": {"b_": 1}}', '{"fitted": {"a_": 2}}')
    assert [next(iter(f.value["fitted"])) for f in load_fitted(store, version_id)] == ["b_", "a_"]


@pytest.mark.parametrize("detail", ["{", "", '{"mean_": NaN}'])
def test_what_is_not_json_is_refused_by_name(store, detail):
    with pytest.raises(StoreRowError, match="row_map") as caught:
        record_scaled(store, detail)
    assert "fitted" in str(caught.value)
    assert store.query("SELECT * FROM dataset_version").num_rows == 0


def test_a_store_of_the_second_schema_opens_and_takes_fitted_statistics(tmp_path):
    """The golden store was written by the code of schema version 2, which left them out."""
    folder = tmp_path / "store"
    shutil.copytree(GOLDEN, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*.parquet")}
    store = Store.create(folder)
    versions = store.query("select distinct schema_version from bundle")
    assert versions["schema_version"].to_pylist() == [2]
    old = find_dataset_version(store, "scaled")
    maps = store.query("SELECT role, fitted FROM row_map ORDER BY ordinal").to_pylist()
    assert maps == [{"role": "direct", "fitted": None}, {"role": "context", "fitted": None}]
    assert load_fitted(store, old.id) == ()
    (context,) = trace_back(store, old.id, [0]).contexts
    assert (context.statistic, context.n_members, context.fitted) == ("StandardScaler.fit", 2, "")
    (found,) = load_fitted(store, record_scaled(store, json.dumps(SCALER)))
    assert found.value == SCALER
    assert store.verify().problems == ()
    assert all(path.read_bytes() == data for path, data in before.items())


@pytest.mark.parametrize(
    ("fitted", "said"),
    [
        (json.dumps(SCALER), SHOWN),
        ('{"fitted": {"categories_": [["a", "b\\u001b"]]}}', r'categories_ = [["a", "b\u001b"]]'),
        (json.dumps({"fitted": {"mean_": [0.5] * 40}}), ""),
        ('{"fitted": {"feature_names_in_": ["x"]}}', ""),
        ('{"fitted": 3}', ""),
        ("[1]", ""),
        (None, ""),
    ],
)
def test_it_is_described_in_a_few_words_or_not_at_all(fitted, said):
    assert describe_fitted(fitted) == said


def test_a_trace_shows_it_and_the_dataset_page_too(scaled):
    env = {"TRACEPROP_STORE": str(scaled.directory), "COLUMNS": "200"}
    result = CliRunner().invoke(main, ["trace", "scaled", "2"], env=env)
    assert result.exit_code == 0
    told = " ".join(result.stdout.split())
    assert f"scaled depends on Scaler.fit over 2 rows of people: {SHOWN}" in told
    assert told.count("depends on Scaler.fit") == 2  # what says nothing stands apart
    page = Site(scaled).get("/dataset/" + find_dataset_version(scaled, "scaled").id)
    assert SHOWN in page.body.decode()


def test_a_trace_does_not_read_what_is_too_long_to_show(store):
    long = json.dumps({"fitted": {"mean_": [1.0]}, "parameters": {"names": ["x"] * 1_000}})
    version_id = record_scaled(store, long, '{"fitted": {"mean_": [1.0]}}')
    contexts = trace_back(store, version_id, [0]).contexts
    assert [context.fitted for context in contexts] == ["", "mean_ = [1]"]
    assert load_fitted(store, version_id)[0].value == json.loads(long)


def test_whoever_asks_what_a_row_reached_sees_it(scaled):
    (source,) = scaled.query("SELECT source_version_id FROM source_version").to_pylist()
    reached = affected_by(scaled, source["source_version_id"], [1]).context
    assert [context.fitted for context in reached] == [SHOWN, ""]
    assert affected_by(scaled, source["source_version_id"], [2]).context == ()


@pytest.mark.parametrize("format_", ["parquet", "prov", "openlineage", "otel"])
def test_no_export_has_it_unless_it_is_asked_for(scaled, tmp_path, format_):
    out = tmp_path / "out"
    export_lineage(scaled, out, format=format_)
    files = out.iterdir() if out.is_dir() else [out]
    assert all(b"mean_" not in file.read_bytes() for file in files)
    if format_ == "parquet":
        table = pq.read_table(out / "row_map.parquet")
        assert table["fitted"].to_pylist() == [None, None, None]


def test_the_parquet_export_has_it_if_it_is_asked_for(scaled, tmp_path):
    args = ["export", "--format", "parquet", "--out", str(tmp_path / "out"), "--fitted"]
    env = {"TRACEPROP_STORE": str(scaled.directory)}
    assert CliRunner().invoke(main, args, env=env).exit_code == 0
    found = pq.read_table(tmp_path / "out" / "row_map.parquet")["fitted"].to_pylist()
    assert [None if text is None else json.loads(text) for text in found] == [None, SCALER, None]
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["with_fitted"] is True


def test_the_prov_export_has_it_if_it_is_asked_for(scaled, tmp_path):
    export_lineage(scaled, tmp_path / "out", format="prov", with_fitted=True)
    text = (tmp_path / "out").read_text()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        document = ProvDocument.deserialize(content=text, format="json")
    again = json.loads(document.serialize(format="json"))
    assert again == json.loads(text)
    said = [
        json.loads(value)
        for record in document.get_records(ProvDerivation)
        for value in record.get_attribute("term:fitted")
    ]
    assert said == [SCALER]


def test_rows_can_be_taken_out_of_what_was_kept(scaled):
    """The mean without a row, from the statistic and the row alone, is that of the others."""
    (found,) = load_fitted(scaled, find_dataset_version(scaled, "scaled").id)
    ages = np.array([30.0, 40.0, 70.0])[found.members]
    mean, n = found.value["fitted"]["mean_"][0], found.value["fitted"]["n_samples_seen_"]
    assert (mean * n - ages[0]) / (n - 1) == pytest.approx(ages[1:].mean())
