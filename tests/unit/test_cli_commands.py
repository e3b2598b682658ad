"""The commands over a recorded pipeline: what they answer, and how they refuse."""

import csv
import json
import re
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from tests.recorded_store import FEATURES, N_PEOPLE, N_TRAIN, lines_of, record_pipeline, train
from traceprop_engine.cli import main
from traceprop_engine.errors import StoreCorruptError
from traceprop_engine.recording import record_source
from traceprop_engine.sources import read_source
from traceprop_engine.store import Store
from traceprop_engine.store.schema import SCHEMA, Schema


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return record_pipeline(tmp_path_factory.mktemp("recorded"))


@pytest.fixture
def run(recorded):
    """Run a command line on the recorded store."""

    def call(*args, store=None, env=None):
        where = {"TRACEPROP_STORE": str(store or recorded.directory), "COLUMNS": "100"}
        return CliRunner().invoke(main, list(map(str, args)), env=where | (env or {}))

    return call


@pytest.fixture
def ask(run):
    """Run a command line with --json and return the document."""

    def call(*args, **options):
        result = run(*args, "--json", **options)
        assert (result.exit_code, result.stderr) == (0, "")
        return json.loads(result.stdout)

    return call


def refused(result):
    """Return the one line that a refused command says, once everything else is as it must be."""
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("traceprop: error: ")
    return line


# --- trace ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", range(0, N_PEOPLE, 7))
def test_trace_names_exactly_the_records_of_the_person(ask, recorded, row):
    found = ask("trace", "training_table", row)
    for name in ("people", "visits"):
        file = recorded.folder / f"{name}.csv"
        told = {ln["line_number"]: ln["text"] for ln in found["lines"] if ln["source"] == name}
        assert told == lines_of(file, row)
    (area,) = [ln for ln in found["lines"] if ln["source"] == "areas"]
    assert json.loads(area["text"])["id"] == row
    assert area["line_number"] is None
    assert found["dataset_version_id"] == recorded.table
    assert [step["dataset"] for step in found["steps"]] == ["visit_features", "training_table"]
    assert found["statistics"] == [
        f"training_table depends on Series.mean of age over {N_PEOPLE} rows of people"
    ]
    assert found["unknown"] == []


def test_trace_takes_a_version_and_a_condition(ask, recorded):
    found = ask("trace", recorded.older_table, "--where", "id in (3, 5)")
    assert (found["dataset_version_id"], found["rows"]) == (recorded.older_table, [3, 5])
    people = [ln["text"].split(",")[0] for ln in found["lines"] if ln["source"] == "people"]
    assert people == ["3", "5"]


def test_trace_of_a_model_goes_by_its_training_rows(ask, recorded):
    by_number = ask("trace", "risk_model", 7)
    assert {ln["text"].split(",")[0] for ln in by_number["lines"] if ln["line_number"]} == {"7"}
    expected = np.flatnonzero(recorded.frame["y"].to_numpy()[:N_TRAIN] == 1)
    assert ask("trace", "risk_model", "--where", "y = 1")["rows"] == expected.tolist()


def test_a_lost_way_is_told_in_both_forms(ask, run):
    found = ask("trace", "mystery", 2)
    assert found["lines"] == []
    assert "'mystery'" in found["unknown"][0]
    assert "Not the whole way is known" in run("trace", "mystery", 2).stdout


def test_the_text_of_a_trace_shows_the_lines_as_they_stand_in_the_file(run, recorded):
    text = run("trace", "training_table", 4).stdout
    for number, record in lines_of(recorded.folder / "people.csv", 4).items():
        assert f"people.csv:{number}" in text
        assert record in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["training_tabel", 0], "training_table"),
        (["training_table", 60], "no row 60; it has rows 0 to 59"),
        (["training_table", "--where", "id = 600"], "No row of 'training_table' matches"),
        (["training_table", "--where", "idd = 6"], "no column 'idd'; did you mean 'id'"),
        (["training_table"], "with ROW or with --where. See `traceprop trace --help`."),
        (["training_table", 1, "--where", "id = 1"], "with ROW or with --where"),
        ([], "Missing argument 'DATASET'"),
        (["training_table", "x"], "'x' is not a valid integer"),
    ],
)
def test_trace_refuses_in_one_line(run, args, words):
    assert words in refused(run("trace", *args))


# --- affected ------------------------------------------------------------------------------------


def rows_by_dataset(versions):
    return {(v["dataset"], v["partition_key"]): v["rows"] for v in versions}


def expected_reach(person):
    reach = {("training_table", ""): [person]}
    if person < N_TRAIN:
        reach["risk_model", ""] = [person]
    else:
        reach["predictions", ""] = [person - N_TRAIN]
    return reach


@pytest.mark.parametrize("person", [0, 1, 4, 17, 44, 45, 59])
def test_affected_names_exactly_what_a_person_reached(ask, recorded, person):
    found = ask("affected", "people", "--where", f"id = {person}")
    expected = expected_reach(person)
    if person < 6:
        expected["reports/monthly", "2024-01" if person < 3 else "2024-02"] = [person % 3]
    assert rows_by_dataset(found["datasets"]) == expected
    assert [v["dataset_version_id"] for v in found["older_datasets"]] == [recorded.older_table]
    assert all(v["current"] for v in found["datasets"])
    runs = [{"training_run_id": recorded.run, "name": "risk"}] if person < N_TRAIN else []
    assert found["training_runs"] == runs
    # The mean of the ages; and what is made from the table that it went into.
    assert [sentence.split(" over ")[0] for sentence in found["statistics"]] == [
        "training_table depends on Series.mean of age",
        "risk_model depends on rows made with a statistic",
        "predictions depends on rows made with a statistic",
    ]
    assert any("'mystery'" in sentence for sentence in found["unknown"])


def test_line_row_and_condition_choose_the_same_record(ask, recorded):
    for number, text in lines_of(recorded.folder / "people.csv", 30).items():
        by_line = ask("affected", "people.csv", "--line", number)
        assert by_line["lines"][0]["text"] == text
        assert by_line == ask("affected", recorded.people, "--row", 30)
        assert by_line == ask("affected", "people", "--where", "id = 30")


def test_the_second_line_of_a_record_belongs_to_it(ask, recorded):
    (number,) = lines_of(recorded.folder / "people.csv", 6)
    for line in (number, number + 1):
        (chosen,) = ask("affected", "people", "--line", line)["lines"]
        assert (chosen["row"], chosen["line_number"]) == (6, number)


def test_affected_follows_many_visits_into_one_row(ask, recorded):
    found = ask("affected", "visits", "--where", "id = 12")
    with (recorded.folder / "visits.csv").open(newline="") as file:
        records = [row for row, record in enumerate(csv.DictReader(file)) if record["id"] == "12"]
    assert [line["row"] for line in found["lines"]] == records
    reach = expected_reach(12) | {("visit_features", ""): [12]}
    assert rows_by_dataset(found["datasets"]) == reach
    assert found["unknown"] == []


def test_affected_follows_a_parquet_record(ask):
    found = ask("affected", "areas", "--row", 0)
    assert rows_by_dataset(found["datasets"]) == expected_reach(N_PEOPLE - 1)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["persons", "--row", 0], "no source 'persons'; it knows 'areas', 'people', 'visits'"),
        (["people", "--row", 60], "no record 60"),
        (["people", "--line", 1], "before the first record"),
        (["people", "--line", 10_000], "no record stands there"),
        (["areas", "--line", 2], "a Parquet file has no lines"),
        (["people", "--where", "id = -1"], "matches 'id = -1'"),
        (["people", "--row", 0, "--version", "ff"], "no version 'ff' of source 'people'; it has"),
        (["people"], "with one of --line, --row and --where"),
        (["people", "--row", 0, "--line", 2], "with one of --line, --row and --where"),
    ],
)
def test_affected_refuses_in_one_line(run, args, words):
    assert words in refused(run("affected", *args))


def test_a_new_version_of_a_source_is_chosen_by_its_digest(tmp_path):
    recorded = record_pipeline(tmp_path)
    file = tmp_path / "people.csv"
    old = read_source(file)[0].sha256
    file.write_text(file.read_text() + "60,33.0,new\n")
    version, _ = read_source(file)
    record_source(recorded.store, version)

    def ask(*args):
        args = ["affected", "people", *args, "--json", "--store", recorded.directory]
        return CliRunner().invoke(main, args)

    newest = json.loads(ask("--row", "60").stdout)
    assert (newest["sha256"], newest["other_versions"]) == (version.sha256, [old])
    assert newest["datasets"] == []
    older = json.loads(ask("--row", "7", "--version", old[:6]).stdout)
    assert rows_by_dataset(older["datasets"]) == expected_reach(7)
    assert older["lines"][0]["text"] is None
    assert "other bytes" in older["lines"][0]["unavailable"]
    assert "--row or --line" in refused(ask("--where", "id = 7", "--version", old[:6]))


# --- explain -------------------------------------------------------------------------------------


def test_explain_names_lines_that_stand_in_the_files(ask, recorded):
    found = ask("explain", "--row", 3, "--top-k", N_TRAIN)
    assert [row["rank"] for row in found["rows"]] == list(range(1, N_TRAIN + 1))
    assert sorted(row["training_row"] for row in found["rows"]) == list(range(N_TRAIN))
    for row in found["rows"]:
        for name in ("people", "visits"):
            told = {ln["line_number"]: ln["text"] for ln in row["lines"] if ln["source"] == name}
            assert told == lines_of(recorded.folder / f"{name}.csv", row["training_row"])
    assert found["prediction"]["values"]["id"] == N_TRAIN + 3


def test_explain_predicts_and_finds_what_a_refit_gives(ask, recorded):
    found = ask("explain", "predictions", "--where", "id = 50")
    assert found["prediction"]["row"] == 50 - N_TRAIN
    effect = found["counterfactual"]
    assert effect["training_rows"] == [found["rows"][0]["training_row"]]
    assert effect["predicted_change"] == pytest.approx(-found["rows"][0]["influence"])
    table = recorded.frame
    refit = train(table.iloc[:N_TRAIN].drop(index=effect["training_rows"]))
    query = table.loc[[50], FEATURES].to_numpy()
    after = refit.outputs(query)[0, 0]
    assert effect["before"] + effect["found_change"] == pytest.approx(after, abs=1e-8)
    assert effect["predicted_change"] == pytest.approx(effect["found_change"], rel=0.2)


def test_explain_without_removal_says_null(ask, run):
    assert ask("explain", "--row", 3, "--no-remove-first")["counterfactual"] is None
    assert "Without training row" not in run("explain", "--row", 3, "--no-remove-first").stdout


def test_explain_takes_a_target(ask):
    found = ask("explain", "--row", 3, "--target", "loss", "--top-k", 2)
    assert (found["target"], found["counterfactual"]["target"]) == ("loss", "loss")
    assert len(found["rows"]) == 2


def test_the_text_of_an_answer_is_the_same_answer(ask, run):
    found = ask("explain", "--row", 3)
    text = run("explain", "--row", 3).stdout
    first = found["rows"][0]
    assert f"The strongest, training row {first['training_row']}," in text
    assert f"Without training row {first['training_row']}\n" in text
    person = next(line for line in first["lines"] if line["source"] == "people")
    assert f"people.csv:{person['line_number']}" in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--row", 15], "no row 15; it has rows 0 to 14"),
        (["--where", "id > 50"], "9 rows of 'predictions' match"),
        (["--where", "id = 1"], "'id = 1'"),
        (["training_table", "--row", 0], "'training_table' holds none"),
        (["nothing", "--row", 0], "'nothing'"),
        (["--row", 0, "--target", "margins"], "'margins' is not one of"),
        (["--row", -1], "-1 is not in the range"),
        ([], "with --row or with --where"),
        (["--row", 0, "--top-k", 0], "0 is not in the range"),
    ],
)
def test_explain_refuses_in_one_line(run, args, words):
    assert words in refused(run("explain", *args))


def test_questions_write_nothing(run, recorded):
    before = recorded.store.info()
    run("explain", "--row", 3)
    run("trace", "predictions", 0)
    run("affected", "people", "--row", 3)
    assert recorded.store.info() == before


# --- store ---------------------------------------------------------------------------------------


def test_info_counts_what_is_recorded(ask, run, recorded):
    found = ask("store", "info")
    assert found["directory"] == recorded.directory
    assert found["n_rows"]["dataset_version"] == 8
    assert found["n_rows"]["source_version"] == 3
    text = run("store", "info").stdout
    assert re.search(r"dataset_version +8\n", text)


def test_verify_finds_a_damaged_block_and_exits_with_1(tmp_path, run):
    store = record_pipeline(tmp_path).store
    sound = run("store", "verify", store=store.directory)
    assert (sound.exit_code, sound.stdout[:18]) == (0, "The store is sound")
    block = min((store.directory / "blocks").rglob("*.parquet"))
    data = bytearray(block.read_bytes())
    data[len(data) // 2] ^= 1
    block.chmod(0o644)
    block.write_bytes(data)
    damaged = run("store", "verify", "--json", store=store.directory)
    assert damaged.exit_code == 1
    found = json.loads(damaged.stdout)
    assert not found["is_sound"]
    assert [p["subject"] for p in found["problems"] if p["kind"] == "block"] == [block.stem]
    text = run("store", "verify", store=store.directory)
    assert text.exit_code == 1
    assert "1 problem" in text.stdout
    with pytest.raises(StoreCorruptError):
        store.get_table(block.stem)


def test_rebuild_brings_back_a_lost_index(tmp_path, run, ask):
    store = record_pipeline(tmp_path).store
    before = ask("trace", "training_table", 3, store=store.directory)
    (store.directory / "traceprop.duckdb").write_bytes(b"no database")
    assert "traceprop store rebuild" in refused(run("store", "info", store=store.directory))
    assert run("store", "rebuild", store=store.directory).exit_code == 0
    assert ask("trace", "training_table", 3, store=store.directory) == before


def test_gc_removes_an_orphan_once_it_is_old_enough(tmp_path, ask):
    store = record_pipeline(tmp_path).store
    orphan = store.put_array(np.ones((2, 2)))
    assert ask("store", "gc", store=store.directory)["blocks"] == []
    assert ask("store", "gc", "--older-than", "0s", store=store.directory)["blocks"] == [orphan]


def test_gc_takes_ages_and_refuses_what_is_none(run):
    assert run("store", "gc", "--older-than", "1.5h").stdout.startswith("Removed 0 blocks")
    assert "'soon' is no age" in refused(run("store", "gc", "--older-than", "soon"))


def test_migrate_tells_the_schema(ask, run):
    found = ask("store", "migrate")
    assert found["schema_version"] == SCHEMA.version
    assert f"schema version {SCHEMA.version}" in run("store", "migrate").stdout


COMMANDS = [
    ["explain", "--row", 0],
    ["what-if", "--row", 0, "--remove-rows", 1],
    ["trace", "x", 0],
    ["affected", "x", "--row", 0],
    ["serve", "--port", 0],
    ["store", "info"],
    ["store", "verify"],
    ["store", "rebuild"],
    ["store", "gc"],
    ["store", "migrate"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: " ".join(map(str, c)))
def test_a_missing_store_is_named_and_not_made(run, tmp_path, command):
    missing = tmp_path / "nowhere"
    assert f"No store in {missing}" in refused(run(*command, store=missing))
    assert not missing.exists()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: " ".join(map(str, c)))
def test_a_store_of_a_newer_release_is_refused(run, tmp_path, command):
    newer = Schema(SCHEMA.version + 1, SCHEMA.tables, tuple([list] * SCHEMA.version))
    Store.create(tmp_path / "newer", newer).commit({"audit_event": [{"event_id": "e"}]})
    line = refused(run(*command, store=tmp_path / "newer"))
    assert "schema version" in line
    assert "upgrade traceprop-dagster" in line


def test_the_option_wins_over_the_environment(run, tmp_path, recorded):
    missing = tmp_path / "nowhere"
    result = run("store", "info", "--store", recorded.directory, store=missing)
    assert result.exit_code == 0


# --- doctor --------------------------------------------------------------------------------------


def test_doctor_tells_versions_and_the_state_of_the_store(ask, run):
    found = ask("doctor")
    assert found["healthy"]
    subjects = {finding["subject"]: finding["level"] for finding in found["findings"]}
    assert {"python", "duckdb", "pandas", "store", "index"} <= set(subjects)
    assert subjects["index"] == "ok"
    assert "free, and up to date" in run("doctor").stdout


def test_doctor_minds_a_missing_store_only_if_it_was_named(run, tmp_path, monkeypatch):
    named = run("doctor", store=tmp_path / "nowhere")
    assert named.exit_code == 1
    assert "PROBLEM" in named.stdout
    monkeypatch.chdir(tmp_path)
    unnamed = CliRunner().invoke(main, ["doctor"], env={"TRACEPROP_STORE": None})
    assert unnamed.exit_code == 0
    assert "No store in" in unnamed.stdout.replace("\n", " ")


def test_doctor_finds_a_damaged_index(tmp_path, run):
    store = record_pipeline(tmp_path).store
    (store.directory / "traceprop.duckdb").write_bytes(b"no database")
    result = run("doctor", store=store.directory)
    assert result.exit_code == 1
    assert "rebuild" in result.stdout


# --- the command itself --------------------------------------------------------------------------


def test_no_command_shows_the_help_that_lists_all():
    result = CliRunner().invoke(main, [])
    assert result.exit_code == 0
    for name in ("explain", "what-if", "trace", "affected", "serve", "store", "doctor"):
        assert f"\n  {name} " in result.stdout
    assert CliRunner().invoke(main, ["store"]).exit_code == 0


def test_an_unknown_command_is_refused_in_one_line():
    line = refused(CliRunner().invoke(main, ["explian"]))
    assert "No such command 'explian'" in line


@pytest.mark.parametrize(
    "name", ["explain", "what-if", "trace", "affected", "serve", "store", "doctor"]
)
def test_each_command_has_help(name):
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")


def test_the_help_lists_each_command_as_that_command_describes_itself():
    listed = CliRunner().invoke(main, ["--help"]).stdout.partition("Commands:\n")[2].splitlines()
    said = dict(line.strip().split("  ", 1) for line in listed)
    context = click.Context(main)
    commands = {name: main.get_command(context, name) for name in main.list_commands(context)}
    assert {"explain", "diff", "demo", "check-lineage"} <= set(commands)
    assert {name: text.strip() for name, text in said.items()} == {
        name: command.get_short_help_str(100) for name, command in commands.items()
    }


def test_json_is_json_for_any_terminal(recorded):
    env = {"TRACEPROP_STORE": recorded.directory}
    runner = CliRunner(charset="latin-1")
    found = json.loads(
        runner.invoke(main, ["trace", "training_table", "5", "--json"], env=env).stdout
    )
    assert any("東京" in line["text"] for line in found["lines"])
    text = runner.invoke(main, ["trace", "training_table", "5"], env=env)
    assert text.exit_code == 0
    assert "Zürich ??" in text.stdout


def test_what_the_file_system_refuses_is_one_line(tmp_path, run):
    assert "name too long" in refused(run("store", "info", store=tmp_path / ("x" * 300)))


def test_a_store_that_is_a_file_is_one_line(tmp_path, run):
    file = tmp_path / "file"
    file.write_text("x")
    assert "No store in" in refused(run("store", "info", store=file))


def test_home_is_expanded(recorded, run):
    home = str(Path(recorded.directory).parent)
    assert run("store", "info", store="~/store", env={"HOME": home}).exit_code == 0
