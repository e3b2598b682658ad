"""The demo's nets through Dagster: recorded, explained from the store, and measured."""

import json

import dagster as dg
import numpy as np
import pytest

from tests.demo_run import DemoRun, write_data
from traceprop_dagster.demo import jax_model, nets, torch_model
from traceprop_dagster.demo.assembly import demo_definitions
from traceprop_dagster.demo.net_training import RECIPE
from traceprop_dagster.demo.pipeline import feature_columns, split
from traceprop_engine.attribution.ggn import GGN
from traceprop_engine.explanation import explain, load_predictions
from traceprop_engine.gradients.net_run import NetRun
from traceprop_engine.jax_gradients import train_jax
from traceprop_engine.recording import find_dataset_version
from traceprop_engine.serving.run_page import run_page
from traceprop_engine.torch_gradients import train_torch
from traceprop_engine.tracing import trace_back

pytestmark = pytest.mark.e2e
QUICK = {"n_queries": 12, "n_subsets": 12, "seeds_per_subset": 2}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo with its nets, and what the checks of their quality found."""
    root = write_data(tmp_path_factory.mktemp("nets"))
    definitions = demo_definitions(root)
    checks = {
        f"{name}_attribution_quality": {"config": QUICK}
        for name in ("predictions", "torch_predictions", "jax_predictions")
    }
    with dg.DagsterInstance.ephemeral() as instance:
        for name in ("demo", "nets"):
            assert definitions.resolve_job_def(name).execute_in_process(instance=instance).success
        job = definitions.resolve_job_def("attribution_quality")
        measured = job.execute_in_process(instance=instance, run_config={"ops": checks})
    return DemoRun(root), {
        evaluation.asset_key.to_user_string(): evaluation
        for evaluation in measured.get_asset_check_evaluations()
    }


def trained_without_dagster(demo, name):
    train, _ = split(demo.tables["training_table"])
    columns = feature_columns(train)
    if name == "torch":
        module = torch_model.module_of(len(columns))
        fit = lambda x, y: train_torch(module, x, y, RECIPE, name="net")  # noqa: E731
    else:
        mlp = jax_model.mlp_of(len(columns))
        fit = lambda x, y: train_jax(mlp, mlp.init(0), x, y, RECIPE, name="net")  # noqa: E731
    return NetRun.train(train, features=columns, label="y", fit=fit)


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_an_explanation_from_the_store_is_that_of_a_training_without_dagster(demo, name):
    run, (demo, _) = trained_without_dagster(demo[0], name), demo
    _, test = split(demo.tables["training_table"])
    queries = test[list(run.feature_names)].to_numpy(np.float32)
    wanted = GGN.fit(run.training).scores(queries, target="logit").scores
    predictions = load_predictions(demo.store, f"{name}_predictions")
    np.testing.assert_allclose(
        predictions.frame["logit"], run.training.outputs(queries)[:, 0], rtol=1e-4, atol=1e-5
    )
    rows = np.arange(0, len(queries), 7)
    found = predictions.scores_of(rows).scores
    np.testing.assert_allclose(found, wanted[rows], rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_the_rows_behind_a_net_are_lines_of_the_patient(demo, name):
    demo, _ = demo
    explanation = explain(demo.store, dataset=f"{name}_predictions", row=0, top_k=3)
    train, _ = split(demo.tables["training_table"])
    for row in explanation.rows:
        patient = int(train["id"].iloc[row.training_row])
        found = {(line.source, line.line_number) for line in row.lines}
        assert found == demo.lines_behind("risk_model", patient)
    version = find_dataset_version(demo.store, f"{name}_predictions")
    trace = trace_back(demo.store, version.id, [0])
    assert "NetRun.predict" in {context.statistic for context in trace.contexts}


def test_the_quality_of_every_model_is_measured_recorded_and_shown(demo):
    demo, checks = demo
    assert set(checks) == {"predictions", "torch_predictions", "jax_predictions"}
    for name, check in checks.items():
        value = check.metadata["traceprop/lds"].value
        assert check.passed == (value >= check.metadata["traceprop/lds_wanted"].value)
        assert value > 0.3, name
        run_id = load_predictions(demo.store, name).model.id
        (found,) = demo.store.query(
            "SELECT value, ceiling, detail FROM attribution_quality WHERE training_run_id = ?",
            [run_id],
        ).to_pylist()
        assert found["value"] == value
        assert json.loads(found["detail"])["n_subsets"] == QUICK["n_subsets"]
        (shown,) = run_page(demo.store, run_id).values["qualities"]
        assert shown["value"] == value


def test_a_net_whose_framework_is_missing_is_left_out_with_a_note(monkeypatch, tmp_path):
    missing = nets.DemoNet("no_such_framework", "torch", "torch_predictions")
    monkeypatch.setattr("traceprop_dagster.demo.assembly.NETS", (missing,))
    keys = {
        key.to_user_string()
        for key in demo_definitions(tmp_path).resolve_asset_graph().get_all_asset_keys()
    }
    assert "risk_model" in keys
    assert "torch_model" not in keys
    assert 'pip install "traceprop-dagster[torch]"' in missing.note
