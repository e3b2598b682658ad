"""What `traceprop` refuses on the demo's files and store: in one line, and with nothing changed."""

import hashlib
import json
import shutil

import pandas as pd
import pytest
from click.testing import CliRunner

from tests.demo_run import run_demo, write_data
from traceprop_engine.cli import main
from traceprop_engine.recording import dataset_names, find_dataset_version, load_frame
from traceprop_engine.store import Store
from traceprop_engine.store.schema import SCHEMA, Schema

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo, asked once, so that the store has nothing left to tidy."""
    ran = run_demo(tmp_path_factory.mktemp("demo"))
    assert traceprop("explain", "--row", 0, store=ran.store_path).exit_code == 0
    return ran


def traceprop(*args, store=None):
    env = {"TRACEPROP_STORE": None if store is None else str(store), "COLUMNS": "100"}
    return CliRunner().invoke(main, list(map(str, args)), env=env)


def run_command(root, *more):
    return traceprop("demo", "--dir", root, "--dataset", "generated", *more)


def listing(folder):
    """Every path under a folder, with the digest of each file."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else "folder"
        for path in folder.rglob("*")
    }


def refused(result):
    """Return the one line of an error, once it is known that there is no more than that."""
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    *progress, line = result.stderr.splitlines()
    assert line.startswith("traceprop: error: ")
    assert not [each for each in progress if "error" in each.lower()]
    return line.removeprefix("traceprop: error: ")


# --- questions that have no answer ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["explain", "--row", 102], "'predictions' has no row 102; it has rows 0 to 101"),
        (["explain", "--where", "patient = 7"], "no column 'patient'; did you mean 'id', 'y'"),
        (["explain", "--where", "id = 0"], "'id = 0'"),
        (["explain", "training_table", "--row", 0], "'training_table' holds none"),
        (["explain", "forecasts", "--row", 0], "'forecasts'"),
        (["trace", "cohort", 324], "'cohort' has no row 324; it has rows 0 to 323"),
        (["trace", "cohort", "--where", "idd = 7"], "no column 'idd'; did you mean 'id'?"),
        (["trace", "patients", 0], "'patients'"),
        (["affected", "labs", "--line", 1], "labs.csv, line 1: it comes before the first record"),
        (["affected", "labs", "--line", 4_036], "labs.csv, line 4036: no record stands there"),
        (["affected", "labs", "--row", 4_034], "4034"),
        (["affected", "labs", "--where", "test_name = 'hdl'"], "no column 'test_name'"),
        (["affected", "labs", "--where", "id = 0"], "'id = 0'"),
        (["affected", "labs", "--where", "id ="], "'id ='"),
        (["affected", "cohort", "--line", 2], "'cohort'"),
        (["affected", "labs", "--version", "zz", "--line", 2], "'zz'"),
    ],
)
def test_a_question_without_an_answer_is_refused_and_changes_nothing(demo, args, words):
    before = listing(demo.root)
    line = refused(traceprop(*args, store=demo.store_path))
    assert words in line
    assert listing(demo.root) == before


@pytest.mark.parametrize(
    "args", [["explain", "--row", 0], ["trace", "cohort", 0], ["affected", "labs", "--line", 2]]
)
def test_a_damaged_index_names_the_command_that_mends_it(demo, tmp_path, args):
    store = tmp_path / "store"
    shutil.copytree(demo.store_path, store)
    (store / "traceprop.duckdb").write_bytes(b"garbage " * 4_096)
    before = listing(store)
    line = refused(traceprop(*args, store=store))
    assert "traceprop.duckdb" in line
    assert "store rebuild" in line
    assert listing(store) == before
    assert traceprop("store", "rebuild", store=store).exit_code == 0
    mended = traceprop(*args, "--json", store=store)
    assert mended.stdout == traceprop(*args, "--json", store=demo.store_path).stdout


# --- files that the demo cannot read -------------------------------------------------------------


def rewrite(path, edit):
    lines = path.read_bytes().split(b"\n")
    edit(lines)
    path.write_bytes(b"\n".join(lines))


def empty(path):
    path.write_bytes(b"")


def ragged(path):
    rewrite(path, lambda lines: lines.__setitem__(9, lines[9] + b",extra"))


def not_text(path):
    rewrite(path, lambda lines: lines.__setitem__(5, lines[5].rpartition(b",")[0] + b",\xf6"))


def duplicate_column(path):
    rewrite(path, lambda lines: lines.__setitem__(0, b"id,days,days,value"))


def renamed_column(path):
    rewrite(path, lambda lines: lines.__setitem__(0, b"id,day,test,value"))


def unknown_code(path):
    rewrite(path, lambda lines: lines.__setitem__(3, b"1,-3,ferritin,3.0"))


def gone(path):
    """A link to a disk that is not mounted: something is there, and there is no file."""
    path.unlink()
    path.symlink_to("unmounted.csv")


def a_folder(path):
    path.unlink()
    path.mkdir()


UNREADABLE = {
    empty: "labs.csv: the file is empty; it needs",
    ragged: "labs.csv, line 10: the record has 5 fields where the header has 4; quote",
    not_text: "labs.csv, line 6: ",
    duplicate_column: "labs.csv: more than one column is called 'days'; give",
    gone: "labs.csv: there is no such file; check",
    a_folder: "labs.csv: cannot be read (it is a directory); name",
}
UNSUITABLE = {
    renamed_column: "There is no column 'days' in the table; did you mean 'day'?",
    unknown_code: "Column 'test' holds 'ferritin'; the pipeline knows chol, dbp",
}


@pytest.mark.parametrize("damage", UNREADABLE, ids=lambda f: f.__name__)
def test_a_file_that_cannot_be_read_stops_the_demo_before_anything_is_recorded(tmp_path, damage):
    write_data(tmp_path)
    damage(tmp_path / "data" / "labs.csv")
    before = listing(tmp_path / "data")
    line = refused(run_command(tmp_path))
    assert line.startswith("The demo stopped at 'labs': ")
    assert UNREADABLE[damage] in line
    assert listing(tmp_path / "data") == before
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("damage", UNSUITABLE, ids=lambda f: f.__name__)
def test_a_file_that_does_not_fit_stops_the_demo_at_the_step_that_reads_it(demo, tmp_path, damage):
    write_data(tmp_path)
    damage(tmp_path / "data" / "labs.csv")
    before = listing(tmp_path / "data")
    line = refused(run_command(tmp_path))
    assert line.startswith("The demo stopped at 'lab_features': ")
    assert UNSUITABLE[damage] in line
    assert listing(tmp_path / "data") == before
    store = Store.open(tmp_path / "store")
    assert store.verify().problems == ()
    # What does not read the file is there and whole, and nothing else is.
    assert dataset_names(store) == ["cohort", "history_features"]
    for name in dataset_names(store):
        found = load_frame(store, find_dataset_version(store, name))
        pd.testing.assert_frame_equal(found, demo.tables[name], check_index_type=False)


def test_a_file_that_breaks_later_leaves_the_earlier_answers_as_they_were(tmp_path):
    ran = run_demo(tmp_path)
    args = ["explain", "--row", 3, "--top-k", 5, "--json"]
    before = json.loads(traceprop(*args, store=ran.store_path).stdout)
    good = (tmp_path / "data" / "labs.csv").read_bytes()
    ragged(tmp_path / "data" / "labs.csv")
    refused(run_command(tmp_path))
    assert ran.store.verify().problems == ()
    changed = json.loads(traceprop(*args, store=ran.store_path).stdout)
    assert without_texts(changed) == without_texts(before)
    labs = [line for row in changed["rows"] for line in row["lines"] if line["source"] == "labs"]
    assert labs
    assert all(line["text"] is None for line in labs)
    assert all("the file has other bytes now" in line["unavailable"] for line in labs)
    line = refused(traceprop("affected", "labs", "--where", "id = 1", store=ran.store_path))
    assert "the file has other bytes now; choose rows by --row or --line" in line
    (tmp_path / "data" / "labs.csv").write_bytes(good)
    assert json.loads(traceprop(*args, store=ran.store_path).stdout) == before


def without_texts(document):
    """A copy of an explanation without the texts of the file that changed."""
    copy = json.loads(json.dumps(document))
    for lines in (copy["prediction"]["lines"], *(row["lines"] for row in copy["rows"])):
        for line in lines:
            if line["source"] == "labs":
                line["text"] = line["unavailable"] = None
    return copy


# --- folders and stores that the demo cannot use -------------------------------------------------


def test_a_folder_that_holds_the_other_data_set_is_refused_and_left_alone(tmp_path):
    write_data(tmp_path)
    before = listing(tmp_path)
    line = refused(traceprop("demo", "--dir", tmp_path, "--dataset", "nafld"))
    assert "it holds the data set 'generated', not 'nafld'; choose another --dir" in line
    assert listing(tmp_path) == before


def test_a_store_of_a_newer_release_stops_the_demo_and_is_left_alone(tmp_path):
    newer = Schema(SCHEMA.version + 1, SCHEMA.tables, tuple([list] * SCHEMA.version))
    store = Store.create(tmp_path / "store", newer)
    store.commit({"audit_event": [{"event_id": "e"}]})
    before = listing(tmp_path / "store")
    line = refused(run_command(tmp_path))
    assert "schema version" in line
    assert "upgrade traceprop-dagster" in line
    assert listing(tmp_path / "store") == before


def test_a_prediction_that_does_not_exist_is_refused_after_a_run_that_is_kept(tmp_path):
    line = refused(run_command(tmp_path, "--row", 102))
    assert line == "'predictions' has no row 102; it has rows 0 to 101."
    store = Store.open(tmp_path / "store")
    assert store.verify().problems == ()
    assert "predictions" in dataset_names(store)


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    line = refused(run_command(tmp_path / "file"))
    assert "is a file" in line
    assert listing(tmp_path) == {"file": hashlib.sha256(b"mine").hexdigest()}
