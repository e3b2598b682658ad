"""`traceprop export`: what it writes, what it never writes, and how it refuses."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tests.recorded_store import ESCAPE, HOSTILE, record_pipeline
from traceprop_engine.cli import main
from traceprop_engine.errors import DatasetNotFoundError
from traceprop_engine.exports import export_lineage, read_lineage
from traceprop_engine.store import Store

FORMATS = ("parquet", "otel", "openlineage", "prov")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return record_pipeline(tmp_path_factory.mktemp("recorded"))


@pytest.fixture(scope="module")
def exported(recorded, tmp_path_factory):
    """Return a folder with an export in each format, under its name."""
    folder = tmp_path_factory.mktemp("exported")
    for format_ in FORMATS:
        export_lineage(recorded.store, folder / format_, format=format_)
    return folder


@pytest.fixture
def run(recorded):
    """Run the command on the recorded store."""

    def call(*args, store=None):
        env = {"TRACEPROP_STORE": str(store or recorded.directory), "COLUMNS": "100"}
        return CliRunner().invoke(main, ["export", *map(str, args)], env=env)

    return call


def refused(result):
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("traceprop: error: ")
    return line


def text_of(path):
    """Return everything that an export says, as text."""
    if path.is_file():
        return path.read_text()
    tables = [str(pq.read_table(file).to_pydict()) for file in sorted(path.glob("*.parquet"))]
    return "\n".join([*tables, (path / "manifest.json").read_text()])


def n_bytes_of(path):
    files = [path] if path.is_file() else list(path.iterdir())
    return sum(file.stat().st_size for file in files)


@pytest.mark.parametrize("format_", FORMATS)
def test_the_answer_counts_what_was_written(run, recorded, exported, tmp_path, format_):
    out = tmp_path / "out"
    result = run("--format", format_, "--out", out, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    counts = {
        f"n_{name}s": recorded.store.query(f"SELECT count(*) AS n FROM {name}").to_pylist()[0]["n"]
        for name in ("dataset_version", "op", "row_map")
    }
    assert json.loads(result.stdout) == {
        "format": format_,
        "out": str(out),
        "dataset": None,
        **counts,
        "n_sources": 3,
        "n_bytes": n_bytes_of(out),
    }
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert text_of(out) == text_of(exported / format_)  # the same store, the same file


def test_a_sentence_says_what_was_written(run, tmp_path):
    result = run("--format", "prov", "--out", tmp_path / "out", "--dataset", "visit_features")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Wrote {tmp_path / 'out'} (")
    told = "1 dataset version, 1 source version, 1 operation, 1 row map\n"
    assert result.stdout.endswith(f"): {told}")


@pytest.mark.parametrize("format_", FORMATS)
def test_no_value_of_any_row_is_written(recorded, exported, format_):
    said = text_of(exported / format_)
    values = [HOSTILE, ESCAPE, "Zürich", "moved, twice"]
    values += [repr(value) for value in recorded.frame["cost"]]
    values += [repr(value) for value in recorded.frame["age"]]
    parameters = recorded.store.query("SELECT parameters_block FROM training_run").to_pylist()
    weights = recorded.store.get_array(parameters[0]["parameters_block"])
    values += [repr(float(value)) for value in np.ravel(weights)]
    assert len(values) > 100
    assert [value for value in values if value in said] == []
    assert "training_table" in said


@pytest.mark.parametrize("format_", FORMATS)
def test_arguments_of_operations_are_written_only_if_they_are_asked_for(
    run, exported, tmp_path, format_
):
    assert "how='inner'" not in text_of(exported / format_)
    if format_ != "openlineage":  # it has no place for them
        assert run("--format", format_, "--out", tmp_path / "full", "--details").exit_code == 0
        assert "how='inner'" in text_of(tmp_path / "full")


def test_a_dataset_comes_with_its_model_and_everything_upstream(recorded):
    found = read_lineage(recorded.store, "predictions")
    assert [version.dataset for version in found.versions] == [
        "visit_features",
        "training_table",
        "risk_model",
        "predictions",
    ]
    assert recorded.older_table not in found.by_id
    assert {source.name for source in found.sources.values()} == {"people", "visits", "areas"}


def test_a_name_means_every_version_and_an_identifier_one(recorded):
    by_name = read_lineage(recorded.store, "training_table").by_id
    assert {recorded.older_table, recorded.table} <= set(by_name)
    by_version = read_lineage(recorded.store, recorded.older_table).by_id
    assert set(by_version) == {recorded.older_table, recorded.visit_features}


def test_a_dataset_that_is_not_there_is_refused_with_those_that_are(run, recorded, tmp_path):
    line = refused(run("--format", "prov", "--out", tmp_path / "out", "--dataset", "nowhere"))
    assert "'nowhere'" in line
    assert "training_table" in line
    assert not (tmp_path / "out").exists()
    with pytest.raises(DatasetNotFoundError):
        read_lineage(recorded.store, "nowhere")


@pytest.mark.parametrize("dataset", [(), ("--dataset", "any")])
def test_an_empty_store_is_refused(run, tmp_path, dataset):
    store = Store.create(tmp_path / "empty")
    out = tmp_path / "out"
    line = refused(run("--format", "prov", "--out", out, *dataset, store=store.directory))
    assert "has no dataset version: there is nothing to export" in line
    assert not out.exists()


@pytest.mark.parametrize("format_", FORMATS)
def test_an_earlier_export_is_replaced_only_by_force(run, exported, tmp_path, format_):
    out = tmp_path / "out"
    (shutil.copytree if format_ == "parquet" else shutil.copy)(exported / format_, out)
    before = text_of(out)
    line = refused(run("--format", format_, "--out", out, "--dataset", "visit_features"))
    assert f"{out} exists: choose another path, or replace it with --force" in line
    assert text_of(out) == before
    replaced = run("--format", format_, "--out", out, "--dataset", "visit_features", "--force")
    assert replaced.exit_code == 0
    assert "visit_features" in text_of(out)
    assert "risk_model" not in text_of(out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("format_", FORMATS)
def test_a_link_to_an_export_is_replaced_and_what_it_leads_to_stays(run, tmp_path, format_):
    first, link = tmp_path / "first", tmp_path / "link"
    assert run("--format", format_, "--out", first, "--dataset", "visit_features").exit_code == 0
    before = text_of(first)
    link.symlink_to(first)
    assert run("--format", format_, "--out", link, "--force").exit_code == 0
    assert not link.is_symlink()
    assert "risk_model" in text_of(link)
    assert text_of(first) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "link"]


def test_force_never_takes_a_directory_that_is_no_export(run, tmp_path):
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "letter.txt").write_text("mine")
    line = refused(run("--format", "parquet", "--out", documents, "--force"))
    assert "it has no manifest.json, so it is no export to replace" in line
    line = refused(run("--format", "prov", "--out", documents, "--force"))
    assert "it is a directory, and this format is one file" in line
    line = refused(run("--format", "parquet", "--out", documents / "letter.txt", "--force"))
    assert "it is a file, and this format is a directory" in line
    assert (documents / "letter.txt").read_text() == "mine"


@pytest.mark.parametrize("format_", FORMATS)
def test_a_folder_that_is_not_there_is_named(run, tmp_path, format_):
    line = refused(run("--format", format_, "--out", tmp_path / "no" / "out"))
    assert f"Cannot write {tmp_path / 'no' / 'out'} (No such file or directory)" in line


def test_the_help_says_that_values_stay(run):
    said = " ".join(run("--help").stdout.split())
    assert "The values of rows are not written unless you ask for them." in said
