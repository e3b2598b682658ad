"""`traceprop diff`: what it counts and shows of two versions, and how it refuses."""

import json

import pandas as pd
import pytest
from click.testing import CliRunner

from traceprop_engine.cli import main
from traceprop_engine.recording import record_source
from traceprop_engine.sources import read_source
from traceprop_engine.store import Store

OLD = "id,name,age\n1,Ada,36\n2,Grace,85\n3,Alan,41\n4,Kurt,71\n6,Emil,9\n"
NEW = "id,name,age\n4,Kurt,71\n1,Ada,36\n2,Grace,86\n5,Emmy,53\n6,Emil,9\n"


@pytest.fixture
def folder(tmp_path):
    Store.create(tmp_path / "store")
    return tmp_path


@pytest.fixture
def record(folder):
    """Write a file, and record what it is now."""

    def write(text, file="people.csv", name="people", **options):
        (folder / file).write_text(text)
        version, _ = read_source(folder / file, name=name)
        record_source(Store.open(folder / "store"), version, **options)
        return version

    return write


@pytest.fixture
def run(folder):
    def call(*args):
        where = {"TRACEPROP_STORE": str(folder / "store"), "COLUMNS": "100"}
        return CliRunner().invoke(main, ["diff", *map(str, args)], env=where)

    return call


@pytest.fixture
def ask(run):
    def call(*args):
        result = run(*args, "--json")
        assert (result.exit_code, result.stderr) == (0, "")
        return json.loads(result.stdout)

    return call


def refused(result):
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


def test_without_a_key_an_edited_row_is_gone_and_new(record, ask):
    old, new = record(OLD), record(NEW)
    found = ask("people")
    assert found["counts"] == {"same": 2, "moved": 1, "edited": 0, "gone": 2, "new": 2}
    assert [found[side]["sha256"] for side in ("old", "new")] == [old.sha256, new.sha256]
    assert [(ln["row"], ln["line_number"]) for ln in found["gone"]] == [(1, 3), (2, 4)]
    assert [(ln["line_number"], ln["text"]) for ln in found["new_rows"]] == [
        (4, "2,Grace,86"),
        (5, "5,Emmy,53"),
    ]
    assert found["edited"] == []


def test_with_a_key_it_is_edited(record, ask):
    record(OLD)
    record(NEW)
    found = ask("people", "--key", "id")
    assert found["counts"] == {"same": 2, "moved": 1, "edited": 1, "gone": 1, "new": 1}
    (pair,) = found["edited"]
    assert (pair["before"]["line_number"], pair["before"]["text"]) == (3, None)
    assert (pair["after"]["line_number"], pair["after"]["text"]) == (4, "2,Grace,86")
    assert [ln["row"] for ln in found["gone"]] == [2]
    assert found["key_columns"] == ["id"]


def test_the_text_of_a_version_that_is_gone_is_said_to_be_gone_and_why(record, run):
    record(OLD)
    record(NEW)
    text = run("people", "--key", "id").stdout
    assert "Edited\n  - people.csv:3  row 1\n  + people.csv:4  row 2  2,Grace,86\n" in text
    assert "Gone\n  - people.csv:4  row 2\n" in text
    assert "No text: " in text
    assert "the file has other bytes now" in " ".join(text.split())
    assert "New\n  + people.csv:5  row 3  5,Emmy,53" in text
    assert "Alan" not in text
    assert "5 rows → 5 rows" in text


def test_versions_in_files_of_their_own_both_have_their_text(record, run, ask):
    record(OLD, "people_1.csv")
    record(NEW, "people_2.csv")
    text = run("people", "--key", "id").stdout
    assert "  - people_1.csv:3  row 1  2,Grace,85\n  + people_2.csv:4  row 2  2,Grace,86" in text
    assert "  - people_1.csv:4  row 2  3,Alan,41" in text
    assert "No text" not in text
    backwards = ask("people", "latest", "previous", "--key", "id")
    assert [ln["text"] for ln in backwards["new_rows"]] == ["3,Alan,41"]
    assert [ln["text"] for ln in backwards["gone"]] == ["5,Emmy,53"]


def test_rows_of_a_parquet_file_have_numbers_and_no_lines(folder, run):
    store = Store.open(folder / "store")
    for ages in ([1, 2], [1, 3]):
        pd.DataFrame({"age": ages}).to_parquet(folder / "a.parquet")
        record_source(store, read_source(folder / "a.parquet", name="a")[0])
    text = run("a").stdout
    assert 'New\n  + a.parquet#1  row 1  {"age":3}' in text


def test_versions_are_named_by_digest_identifier_or_use(record, ask):
    first, second, third = (record(OLD + extra) for extra in ("", "7,Max,1\n", "8,Eva,2\n"))
    for asked in (first.sha256[:8], first.source_version_id, first.source_version_id[:10]):
        found = ask("people", asked, second.sha256)
        assert found["old"]["source_version_id"] == first.source_version_id
        assert found["new"]["source_version_id"] == second.source_version_id
        assert found["counts"]["new"] == 1
    found = ask("people.csv")
    assert [found[side]["sha256"] for side in ("old", "new")] == [second.sha256, third.sha256]
    same = ask("people", "latest", "latest")
    assert same["counts"] == {"same": 6, "moved": 0, "edited": 0, "gone": 0, "new": 0}


def test_the_limit_cuts_what_is_shown_and_not_what_is_counted(record, run, ask):
    record("id\n" + "".join(f"{i}\n" for i in range(30)))
    record("id\n" + "".join(f"{i}\n" for i in range(100, 140)))
    found = ask("people", "--limit", 3)
    assert (found["counts"]["gone"], found["counts"]["new"]) == (30, 40)
    assert [len(found[name]) for name in ("gone", "new_rows")] == [3, 3]
    text = run("people", "--limit", 3).stdout
    assert "… 27 more (--limit)" in text
    assert "… 37 more (--limit)" in text
    assert "people.csv:" not in run("people", "--limit", 0).stdout


def test_columns_that_came_and_went_are_told(record, run, ask):
    record("id,age\n1,36\n2,85\n")
    record("id,size\n1,36\n2,85\n")
    found = ask("people")
    assert (found["columns_gone"], found["columns_new"]) == (["age"], ["size"])
    assert found["counts"]["same"] == 0
    text = run("people").stdout
    assert "Columns of the old version alone: age." in text
    assert "With --key id edited rows are told" in text
    assert ask("people", "--key", "id")["counts"]["edited"] == 2


def test_what_would_act_on_a_terminal_is_shown(record, run):
    record('id,note\n1,"plain"\n')
    record('id,note\n1,"\x1b[31mred"\n')
    text = run("people").stdout
    assert "\x1b" not in text
    assert "␛[31mred" in text


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["nobody"], "holds no source 'nobody'; it knows 'people'"),
        (["people", "ffff00"], "no version 'ffff00' of source 'people'; it has "),
        (["people", ""], "can mean"),
        (["people", "--key", "idd"], "no column 'idd' to tell rows by; there are 'id', 'name'"),
        (["people", "--key", "name"], "was recorded with the key id, not name"),
        (["people", "--limit", "-1"], "-1 is not in the range x>=0"),
        ([], "Missing argument 'SOURCE'"),
    ],
)
def test_diff_refuses_in_one_line(record, run, args, words):
    record(OLD)
    record(NEW)
    assert words in refused(run(*args))


def test_a_single_version_has_no_previous_one(record, run):
    record(OLD)
    line = refused(run("people"))
    assert "'people' has one recorded version, " in line
    assert "record it again when the file has changed" in line
    assert "no version 'ffff' of source 'people'; it has" in refused(run("people", "ffff"))


def test_a_key_that_does_not_tell_rows_apart_is_refused(record, run):
    record("id,name\n1,Ada\n2,Ada\n", key_columns=["name"])
    record("id,name\n1,Ada\n2,Max\n")
    line = refused(run("people", "--key", "name"))
    assert "'name' does not tell the rows of the old version apart: rows 0 and 1" in line


def test_a_version_without_fingerprints_whose_file_changed_is_refused(record, run):
    old = record(OLD, fingerprint=False)
    record(NEW)
    line = refused(run("people"))
    assert f"Version {old.sha256[:12]} of source 'people' was recorded without fingerprints" in line


def test_one_file_name_of_two_sources_is_ambiguous(record, run, folder):
    record(OLD)
    (folder / "b").mkdir()
    record(NEW, "b/people.csv", name="others")
    line = refused(run("people.csv"))
    assert "can mean 'others', 'people'; give the name of the source" in line
