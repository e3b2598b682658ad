"""The answers over the demo's store against reading the files, and against deleting their lines."""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from tests.demo_run import PARTS, run_demo
from traceprop_dagster.demo import pipeline
from traceprop_dagster.demo.assembly import L2
from traceprop_engine.cli import main
from traceprop_engine.explanation.explain import SourceLines
from traceprop_engine.recording import (
    dataset_names,
    find_dataset_version,
    load_frame,
    load_row_map,
    load_source,
    load_training_run,
)
from traceprop_engine.tracing import LineageGraph, trace_back
from traceprop_engine.training import train_logistic

pytestmark = pytest.mark.e2e

SCALING = {"DataFrame.median", "DataFrame.mean", "DataFrame.std"}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return run_demo(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def ask(demo):
    """Run `traceprop … --json` on the demo's store."""

    def call(*args):
        env = {"TRACEPROP_STORE": str(demo.store_path)}
        result = CliRunner().invoke(main, [*map(str, args), "--json"], env=env)
        assert (result.exit_code, result.stderr) == (0, ""), args
        return json.loads(result.stdout)

    return call


@pytest.fixture(scope="module")
def refit(demo):
    """Train the demo's model on the train split without some of its rows."""
    train = demo.tables["risk_model"]

    def call(*without):
        return train_logistic(
            train.drop(index=list(without)),
            features=pipeline.feature_columns(train),
            label="y",
            l2=L2,
            name="refit",
        )

    return call


def logits(run, demo):
    return run.predict(demo.tables["predictions"]).frame["logit"].to_numpy()


def sample(items, n, seed):
    """Some of the items, each at most once."""
    return [items[i] for i in np.random.default_rng(seed).choice(len(items), n, replace=False)]


def check_line(demo, line):
    """A line of an answer is that line of the file."""
    file = demo.files[line["source"]]
    assert line["uri"] == str(file.path)
    assert line["sha256"] == file.sha256
    assert line["text"] == file.lines[line["line_number"] - 1]
    assert line["row"] == line["line_number"] - 2
    assert line["unavailable"] is None


# --- what is recorded ----------------------------------------------------------------------------


def test_the_store_holds_each_table_as_plain_pandas_makes_it(demo):
    assert set(dataset_names(demo.store)) == set(PARTS)
    for name in ("cohort", "lab_features", "history_features", "training_table"):
        found = load_frame(demo.store, find_dataset_version(demo.store, name))
        pd.testing.assert_frame_equal(found, demo.tables[name], check_index_type=False)


def test_the_model_is_the_one_that_a_fit_without_dagster_gives(demo, refit):
    version = find_dataset_version(demo.store, "risk_model")
    recorded = load_training_run(demo.store, version.id).run
    again = refit()
    assert recorded.converged
    assert recorded.feature_names == again.feature_names
    np.testing.assert_allclose(recorded.parameters, again.parameters, rtol=0, atol=1e-9)
    predicted = load_frame(demo.store, find_dataset_version(demo.store, "predictions"))
    np.testing.assert_allclose(predicted["logit"], logits(again, demo), rtol=0, atol=1e-8)
    assert predicted["id"].tolist() == demo.tables["predictions"]["id"].tolist()


# --- backward ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [200, pytest.param(1_000, marks=pytest.mark.slow)])
def test_random_rows_trace_to_exactly_the_lines_that_they_are_made_from(demo, n):
    pairs = [(name, row) for name in PARTS for row in range(len(demo.tables[name]))]
    chosen = sample(pairs, n, seed=2)
    assert {name for name, _ in chosen} == set(PARTS)
    versions = {name: find_dataset_version(demo.store, name) for name in PARTS}
    graphs = {n: LineageGraph.upstream_of(demo.store, v.id) for n, v in versions.items()}
    traces = [trace_back(demo.store, versions[n].id, [row], graphs[n]) for n, row in chosen]
    lines = SourceLines(demo.store)
    lines.load(trace.sources for trace in traces)
    n_lines = 0
    for (name, row), trace in zip(chosen, traces, strict=True):
        patient = demo.tables[name]["id"].iloc[row]
        found = lines.of(trace.sources)
        assert trace.unknown == ()
        assert {line.text.split(",")[0] for line in found} == {str(patient)}
        places = [(line.source, line.line_number) for line in found]
        assert len(places) == len(set(places))
        assert set(places) == demo.lines_behind(name, patient), (name, row)
        for line in found:
            check_line(demo, vars(line))
        n_lines += len(found)
    assert n_lines > 3 * n


def test_the_recorded_byte_range_of_every_record_holds_the_text_of_its_line(demo):
    found = demo.store.query("SELECT source_version_id FROM source_version").to_pylist()
    versions = [load_source(demo.store, each["source_version_id"]) for each in found]
    assert {version.name for version in versions} == set(demo.files)
    for version in versions:
        file = demo.files[version.name]
        assert version.n_rows == len(file.lines) - 1
        index = version.index
        for row, line in enumerate(file.lines[1:]):
            assert index.line_numbers[row] == row + 2
            span = file.data[index.byte_starts[row] : index.byte_ends[row]]
            assert span.decode().removesuffix("\n") == line


@pytest.mark.parametrize("name", PARTS)
def test_the_command_trace_names_the_lines_of_a_row(demo, ask, name):
    for row in (0, len(demo.tables[name]) - 1):
        found = ask("trace", name, row)
        patient = demo.tables[name]["id"].iloc[row]
        places = {(line["source"], line["line_number"]) for line in found["lines"]}
        assert places == demo.lines_behind(name, patient)
        for line in found["lines"]:
            check_line(demo, line)


def test_statistics_are_listed_apart_with_the_rows_that_went_into_them(demo):
    """Their members are the train rows, and no row of a trace comes through them."""
    version = find_dataset_version(demo.store, "training_table")
    graph = LineageGraph.upstream_of(demo.store, version.id)
    contexts = trace_back(demo.store, version.id, [0], graph).contexts
    assert {c.dataset for c in contexts} == {"training_table"}
    assert {c.statistic for c in contexts} == SCALING
    train = set(demo.tables["risk_model"]["id"])
    for facts in graph.maps(version.id, "context"):
        ids = demo.tables[facts["input_name"]]["id"]
        members = load_row_map(demo.store, facts).backward(np.array([0]))
        assert set(ids.iloc[members]) == train & set(ids), facts["statistic"]


# --- explain -------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", [0, 41, 101])
def test_explain_names_lines_that_stand_in_the_files(demo, ask, row):
    found = ask("explain", "--row", row, "--top-k", 25)
    patient = demo.tables["predictions"]["id"].iloc[row]
    assert found["prediction"]["values"]["id"] == patient
    named = [(patient, found["prediction"]["lines"])]
    for influential in found["rows"]:
        who = demo.tables["risk_model"]["id"].iloc[influential["training_row"]]
        named.append((who, influential["lines"]))
        assert influential["unknown"] == []
    assert len(named) == 26
    for who, lines in named:
        places = {(line["source"], line["line_number"]) for line in lines}
        assert places == demo.lines_behind("training_table", who)
        for line in lines:
            check_line(demo, line)
    said = " ".join(found["statistics"])
    assert all(statistic in said for statistic in SCALING)


def test_the_influence_of_every_training_row_is_what_leaving_it_out_changes(demo, ask, refit):
    row = 7
    n_train = len(demo.tables["risk_model"])
    found = ask("explain", "--row", row, "--top-k", n_train)
    scores = pd.Series({r["training_row"]: r["influence"] for r in found["rows"]}).sort_index()
    assert scores.index.tolist() == list(range(n_train))
    before = logits(refit(), demo)[row]
    real = np.array([before - logits(refit(left_out), demo)[row] for left_out in range(n_train)])
    assert scores.corr(pd.Series(real), method="spearman") >= 0.99
    assert np.abs(scores - real).sum() / np.abs(real).sum() < 0.02
    strongest = found["rows"][0]["training_row"]
    assert found["counterfactual"]["training_rows"] == [strongest]
    assert found["counterfactual"]["found_change"] == pytest.approx(-real[strongest], abs=1e-7)


# --- affected ------------------------------------------------------------------------------------


def chosen_patients(demo, each=7):
    """Patients of the train split, of the test split, and of neither."""
    table = demo.tables["training_table"].set_index("id")["split"]
    everybody = [int(line.split(",")[0]) for _, line in demo.files["patients"].numbered()]
    groups = [
        [p for p in everybody if table.get(p) == "train"],
        [p for p in everybody if table.get(p) == "test"],
        [p for p in everybody if p not in table.index],
    ]
    return [patient for group in groups for patient in sample(group, each, seed=5)]


def changed(before, after):
    """Ids of the rows that vanish or change; a row that appears would be a failure of the test."""
    before, after = before.set_index("id"), after.set_index("id")
    assert set(after.index) <= set(before.index)
    old = before.loc[after.index]
    same = ((old == after) | (old.isna() & after.isna())).all(axis=1)
    return set(before.index.difference(after.index)) | set(after.index[~same])


def reached(demo, ask, lines, choose):
    """Ids of the rows that lines reach in each dataset, and the statistics, over all files."""
    ids = {name: set() for name in PARTS}
    statistics, models = set(), set()
    for source, numbers in lines.items():
        if not numbers:
            continue
        found = ask("affected", source, *choose(numbers))
        assert found["unknown"] == []
        assert found["older_datasets"] == []
        assert {line["line_number"] for line in found["lines"]} == numbers
        for dataset in found["datasets"]:
            name = dataset["dataset"]
            ids[name] |= set(demo.tables[name]["id"].iloc[dataset["rows"]])
        statistics |= {tuple(s.split(" depends on ")) for s in found["statistics"]}
        models |= {run["name"] for run in found["training_runs"]}
    return ids, statistics, models


def scaling_of(statistics):
    """Which statistics of the train split are listed."""
    return {s.split(" ")[0] for dataset, s in statistics if dataset == "training_table"} & SCALING


def test_affected_is_what_deleting_the_patient_from_the_files_changes(demo, ask):
    before = demo.tables
    for patient in chosen_patients(demo):
        lines = demo.lines_of(patient)
        after = demo.tables_without(lines)
        ids, statistics, models = reached(
            demo, ask, lines, lambda numbers, p=patient: ("--where", f"id = {p}")
        )
        for name in ("cohort", "lab_features", "history_features"):
            assert ids[name] == changed(before[name], after[name]), (patient, name)
        assert ids["training_table"] == changed(before["joined_table"], after["joined_table"])
        for name in ("training_table", "risk_model", "predictions"):
            gone = set(before[name]["id"]) - set(after[name]["id"])
            assert ids[name] == gone, (patient, name)
        in_train = patient in set(before["risk_model"]["id"])
        in_test = patient in set(before["predictions"]["id"])
        assert (ids["risk_model"] == {patient}) is in_train
        assert (ids["predictions"] == {patient}) is in_test
        assert (models == {"risk_model"}) is in_train
        # Rows of others change through the statistics of the train split, and only through them.
        others = changed(before["training_table"], after["training_table"]) - {patient}
        assert bool(others) is in_train
        assert scaling_of(statistics) == (SCALING if in_train else set())
        assert bool(statistics) is in_train


def test_affected_by_one_line_reaches_all_that_deleting_the_line_changes(demo, ask):
    """A line may be used and decide nothing, as the second of two outcomes: then it is reached."""
    before, n_changed = demo.tables, 0
    for source in ("labs", "events"):
        for number, line in sample(demo.files[source].numbered(), 8, seed=11):
            patient = int(line.split(",")[0])
            lines = {source: {number}}
            after = demo.tables_without(lines)
            ids, _, _ = reached(demo, ask, lines, lambda numbers: ("--line", *numbers))
            for name in ("cohort", "lab_features", "history_features", "training_table"):
                plain = "joined_table" if name == "training_table" else name
                differs = changed(before[plain], after[plain])
                assert differs <= ids[name] <= {patient}, (source, number, name)
                uses = (source, number) in demo.lines_behind(name, patient)
                has_row = patient in set(before[name]["id"])
                assert bool(ids[name]) is (uses and has_row), (source, number, name)
                n_changed += len(differs)
    assert n_changed >= 5
