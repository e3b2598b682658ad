"""The demo's code location in processes of its own: each step in one, and two runs at once."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from definitions import defs
from tests.demo_run import PARTS, SOURCES, DemoRun, run_demo, write_data
from traceprop_engine.recording import (
    find_dataset_version,
    load_frame,
    load_row_map,
    load_training_run,
)
from traceprop_engine.tracing import trace_back

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
MODULE = "traceprop_dagster.demo.definitions"
# Forking steps from a process that has imported the packages saves most of a run's time; the
# default, which starts each step from nothing, is tried by a slow test.
FORKED = {"forkserver": {"preload_modules": [MODULE]}}
SPAWNED = {"spawn": {}}


def dagster(root, *args):
    """Start `dagster …` in the repository, on the demo's folder ``root``."""
    home = history(root)
    environment = os.environ | {"DAGSTER_HOME": str(home), "TRACEPROP_DEMO_DIR": str(root)}
    return subprocess.Popen(
        [sys.executable, "-m", "dagster", *args],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def history(root):
    """Make Dagster's history in ``root`` once; two processes that make it at once collide."""
    home = root / "dagster_home"
    if not home.exists():
        home.mkdir()
        (home / "dagster.yaml").write_bytes((ROOT / "dagster.yaml").read_bytes())
        with dg.DagsterInstance.from_config(str(home)) as instance:
            assert instance.get_runs_count() == 0
    return home


def finished(*processes):
    """Wait for processes, and return what they wrote once it is known that they did well."""
    with ExitStack() as running:
        for process in processes:
            running.enter_context(process)
            running.callback(process.kill)
        outputs = [process.communicate(timeout=300)[0] for process in processes]
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output[-4_000:]
    return "".join(outputs)


def start_job(root, start_method):
    """Start the demo's job under the multiprocess executor, two steps at a time."""
    executor = {"multiprocess": {"max_concurrent": 2, "start_method": start_method}}
    config = json.dumps({"execution": {"config": executor}})
    path = root / "run.yaml"
    path.write_text(config)  # JSON is YAML
    return dagster(root, "job", "execute", "-m", MODULE, "-j", "demo", "-c", str(path))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The demo, run in this process."""
    return run_demo(tmp_path_factory.mktemp("alone"))


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """The demo, run twice at once on one store, each step in a process of its own."""
    root = write_data(tmp_path_factory.mktemp("together"))
    finished(start_job(root, FORKED), start_job(root, FORKED))
    return DemoRun(root)


def run_ids(demo):
    found = demo.store.query("SELECT DISTINCT run_id FROM dataset_version ORDER BY run_id")
    return found.column(0).to_pylist()


def relations(demo, run_id):
    """Every row map of a run as pairs of rows, by what it relates."""
    found = {}
    for name in PARTS:
        version = find_dataset_version(demo.store, name, run_id=run_id)
        assert version.run_id == run_id
        maps = demo.store.query("SELECT * FROM row_map WHERE dataset_version_id = ?", [version.id])
        for facts in maps.to_pylist():
            key = (name, *(facts[k] for k in ("input_name", "role", "statistic", "column_name")))
            row_map = load_row_map(demo.store, facts)
            if facts["role"] == "context":
                found[key] = row_map.backward(np.array([0])).tolist()
            else:
                found[key] = [rows.tolist() for rows in row_map.pairs()]
    return found


def model(demo, run_id):
    return load_training_run(
        demo.store, find_dataset_version(demo.store, "risk_model", run_id=run_id).id
    ).run


def assert_same_answers(demo, run_id, alone):
    (own,) = run_ids(alone)
    assert relations(demo, run_id) == relations(alone, own)
    np.testing.assert_array_equal(model(demo, run_id).parameters, model(alone, own).parameters)
    for name in ("training_table", "predictions"):
        here = load_frame(demo.store, find_dataset_version(demo.store, name, run_id=run_id))
        there = load_frame(alone.store, find_dataset_version(alone.store, name))
        assert here.equals(there), name


def test_two_runs_at_once_record_what_one_in_a_single_process_does(alone, together):
    runs = run_ids(together)
    assert len(runs) == 2
    for run_id in runs:
        assert_same_answers(together, run_id, alone)


def test_a_store_that_many_processes_wrote_is_whole(together):
    report = together.store.verify()
    assert report.problems == ()
    assert report.n_commits >= 2 * len(PARTS)
    counted = together.store.query("SELECT dataset, count(*) AS n FROM dataset_version GROUP BY 1")
    assert {row["dataset"]: row["n"] for row in counted.to_pylist()} == dict.fromkeys(PARTS, 2)


def test_each_run_reads_what_it_wrote_itself(together):
    """No dataset of one run was made from a dataset of the other; both read the same files."""
    crossed = together.store.query(
        """
        SELECT made.dataset, made.run_id, input.run_id AS input_run
        FROM row_map JOIN dataset_version made USING (dataset_version_id)
        JOIN dataset_version input ON input.dataset_version_id = input_id
        """
    ).to_pylist()
    assert {row["dataset"] for row in crossed} >= {"training_table", "risk_model", "predictions"}
    assert all(row["run_id"] == row["input_run"] for row in crossed)
    sources = together.store.query("SELECT name FROM source_version").to_pylist()
    assert sorted(row["name"] for row in sources) == ["events", "labs", "patients"]


def test_each_runs_predictions_are_of_its_own_model(together):
    found = together.store.query(
        """
        SELECT predicted.run_id, trained.run_id AS trained_by
        FROM prediction_set
        JOIN dataset_version predicted USING (dataset_version_id)
        JOIN training_run USING (training_run_id)
        JOIN dataset_version trained
            ON trained.dataset_version_id = training_run.dataset_version_id
        ORDER BY predicted.run_id
        """
    ).to_pylist()
    assert [row["run_id"] for row in found] == run_ids(together)
    assert all(row["run_id"] == row["trained_by"] for row in found)


def test_each_run_explained_its_own_predictions(together):
    """The assets that explain record what they answer under the model of their run."""
    asked = together.store.query(
        """
        SELECT DISTINCT predicted.run_id
        FROM query JOIN dataset_version predicted USING (dataset_version_id) ORDER BY 1
        """
    )
    assert asked.column(0).to_pylist() == run_ids(together)


def test_traces_of_both_runs_end_at_the_lines_of_the_patient(together):
    for run_id in run_ids(together):
        version = find_dataset_version(together.store, "predictions", run_id=run_id)
        for row in (0, 50, 101):
            trace = trace_back(together.store, version.id, [row])
            found = {(s.name, int(r) + 2) for s in trace.sources for r in s.rows}
            patient = together.tables["predictions"]["id"].iloc[row]
            assert found == together.lines_behind("predictions", patient)


@pytest.mark.slow
def test_steps_that_start_from_nothing_record_the_same(alone, tmp_path):
    root = write_data(tmp_path)
    finished(start_job(root, SPAWNED))
    demo = DemoRun(root)
    (run_id,) = run_ids(demo)
    assert_same_answers(demo, run_id, alone)
    assert demo.store.verify().problems == ()


def test_the_workspace_is_valid(tmp_path):
    output = finished(dagster(tmp_path, "definitions", "validate", "-w", "workspace.yaml"))
    assert "traceprop_demo" in output
    assert [path.name for path in tmp_path.iterdir()] == ["dagster_home"]


def test_the_code_location_shows_the_three_files_and_the_assets():
    graph = defs.resolve_asset_graph()
    made = {key.to_user_string() for key in graph.materializable_asset_keys}
    nets = {
        f"{name}_{part}"
        for name in ("torch", "jax")
        for part in ("model", "predictions", "attributions")
    }
    assert made == {*PARTS, *nets, "attributions", "what_if_removed"}
    observed = {key.to_user_string() for key in graph.observable_asset_keys}
    assert observed == set(SOURCES)
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} == made | observed
