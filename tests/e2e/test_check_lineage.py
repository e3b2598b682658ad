"""`traceprop check-lineage` and the asset check, through Dagster and a store."""

import json
import sys

import dagster as dg
import pandas as pd
import pytest
from click.testing import CliRunner

from traceprop_dagster import TracepropIOManager, TracepropStore, source_file_assets
from traceprop_dagster.asset_replay import asset_replay
from traceprop_dagster.check_lineage_command import check_lineage
from traceprop_dagster.errors import AssetReplayError, CodeLocationError
from traceprop_dagster.lineage_checks import build_lineage_fuzz_check
from traceprop_engine.errors import DatasetNotFoundError, LineageFuzzError, SourceChangedError
from traceprop_engine.recording import find_dataset_version
from traceprop_engine.recording.lineage import load_lineage
from traceprop_engine.store import Store

pytestmark = pytest.mark.e2e

DEFINITIONS = """
import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd

from traceprop_dagster import TracepropIOManager, TracepropStore, source_file_assets
from traceprop_dagster.lineage_checks import build_lineage_fuzz_check
from traceprop_engine.training import TrainingRun, train_linear

HERE = Path(__file__).parent


class Factor(dg.ConfigurableResource):
    by: float


class Unused(dg.ConfigurableResource):
    def setup_for_execution(self, context):
        if "BROKEN_RESOURCE" in os.environ:
            raise RuntimeError("no database")


@dg.asset
def adults(people: pd.DataFrame) -> pd.DataFrame:
    return people[people["age"] > 24].sort_values("age", ascending=False)


@dg.asset
def scaled(context: dg.AssetExecutionContext, people: pd.DataFrame, factor: Factor) -> pd.DataFrame:
    context.add_output_metadata({"rows": len(people)})
    context.log.info("scaled")
    return people.assign(age=people["age"] * factor.by)


@dg.asset
def centred(people: pd.DataFrame) -> pd.DataFrame:
    return people.assign(age=people["age"] - people["age"].mean())


@dg.asset
def reversed_ages(people: pd.DataFrame) -> pd.DataFrame:
    # Values taken past everything that capture watches.
    return people.assign(other=people["age"]._values[::-1].copy())


@dg.asset
def yielded(adults: pd.DataFrame) -> Iterator[dg.Output[pd.DataFrame]]:
    yield dg.Output(adults.head(10))


@dg.asset
def shuffled(people: pd.DataFrame) -> pd.DataFrame:
    return people.sample(frac=1.0)


@dg.asset
def model(scaled: pd.DataFrame) -> TrainingRun:
    return train_linear(scaled, features=["age"], label="pay", l2=1.0, name="model")


@dg.asset
def edited(people: pd.DataFrame) -> pd.DataFrame:
    return people[people["age"] > 24] if (HERE / "edited").exists() else people[people["age"] > 30]


@dg.asset
def judged(people: pd.DataFrame, adults: pd.DataFrame) -> pd.DataFrame:
    if (HERE / "edited").exists():
        return people.assign(pay=people["pay"] - adults["pay"].mean())
    return people.merge(adults[["id", "age"]], on="id", how="left")


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b"]))
def part(context: dg.AssetExecutionContext, people: pd.DataFrame) -> pd.DataFrame:
    return people[people["team"] == context.partition_key]


@dg.asset
def parts(part: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(part.values(), ignore_index=True)


@dg.op
def doubled(people: pd.DataFrame) -> pd.DataFrame:
    return people * 2


@dg.graph_asset
def by_graph(people):
    return doubled(people)


store = TracepropStore(path=dg.EnvVar("FUZZ_TEST_STORE"))
ASSETS = [adults, scaled, reversed_ages, yielded, shuffled, model, edited, judged, part, parts]
ASSETS += [by_graph, centred]
SOURCES = source_file_assets(
    {"people": HERE / "people.csv"}, options={"read_options": {"dtype": {"team": "str"}}}
)
CHECKS = [
    build_lineage_fuzz_check(each, sources=SOURCES, trials=16)
    for each in (adults, scaled, centred, reversed_ages, part)
]
defs = dg.Definitions(
    assets=[*SOURCES, *ASSETS],
    asset_checks=CHECKS,
    resources={
        "store": store,
        "io_manager": TracepropIOManager(store=store),
        "factor": Factor(by=2.0),
        "unused": Unused(),
    },
)
"""
PEOPLE = "id,age,pay,team\n" + "".join(
    f"{i},{20 + (i * 7) % 40},{(7 * i) % 11}.5,{'ab'[i % 2]}\n" for i in range(40)
)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with definitions, data, and a store in which every asset was recorded."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "people.csv").write_text(PEOPLE)
    (folder / "definitions.py").write_text(DEFINITIONS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FUZZ_TEST_STORE", str(folder / "store"))
        patch.chdir(folder)
        namespace = {"__file__": str(folder / "definitions.py"), "__name__": "fuzz_project"}
        exec(compile(DEFINITIONS, "definitions.py", "exec"), namespace)  # noqa: S102
        results = {}
        with dg.DagsterInstance.ephemeral() as instance:
            run = namespace["defs"].resolve_implicit_global_asset_job_def().execute_in_process
            results["whole"] = run(
                instance=instance,
                asset_selection=[
                    dg.AssetKey(name)
                    for name in (
                        "adults",
                        "scaled",
                        "centred",
                        "reversed_ages",
                        "yielded",
                        "shuffled",
                        "model",
                        "edited",
                        "judged",
                        "by_graph",
                    )
                ],
                raise_on_error=False,
            )
            for key in ("a", "b"):
                results[key] = run(
                    instance=instance,
                    asset_selection=[dg.AssetKey("part")],
                    partition_key=key,
                    raise_on_error=False,
                )
            run(instance=instance, asset_selection=[dg.AssetKey("parts")])
        yield folder, results


@pytest.fixture(autouse=True)
def _nothing_stays_imported(monkeypatch):
    monkeypatch.setattr("sys.path", [*sys.path])
    yield
    for name in ("definitions", "fuzz_module_of_test"):
        sys.modules.pop(name, None)


def invoke(*arguments):
    return CliRunner().invoke(check_lineage, [*arguments, "--trials", "8"], catch_exceptions=False)


def evaluations(result):
    return {each.asset_key.to_user_string(): each for each in result.get_asset_check_evaluations()}


@pytest.mark.parametrize("asset", ["adults", "scaled", "yielded", "parts"])
def test_an_honest_asset_passes(project, asset):
    result = invoke(asset)
    assert result.exit_code == 0, result.output
    assert f"{asset}: Nothing contradicts the lineage" in result.output


def test_a_partition_is_run_again_as_itself(project):
    result = invoke("part", "--partition", "b", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.output)
    assert document["ok"]
    assert document["n_out"] == 20


def test_a_lie_is_found_named_and_exits_with_1(project):
    result = invoke("reversed_ages")
    assert result.exit_code == 1
    assert "The lineage does not agree with the function" in result.output
    assert "people row" in result.output
    assert "other:" in result.output
    document = json.loads(invoke("reversed_ages", "--json").output)
    for each in document["violations"]:
        (row,) = each["perturbation"]["rows"]
        assert each["output_rows"] == [39 - row]


@pytest.mark.parametrize("option", ["--seed=-1", "--trials=0", "--rows=0"])
def test_numbers_that_make_no_sense_are_refused(project, option):
    result = CliRunner().invoke(check_lineage, ["adults", option])
    assert result.exit_code == 2
    assert f"Invalid value for '{option.partition('=')[0]}'" in result.output


def test_random_numbers_without_a_seed_cannot_be_checked(project):
    result = invoke("shuffled")
    assert result.exit_code == 2
    assert "seed" in result.output


def test_what_cannot_be_run_again_is_named(project):
    for asset, words in {
        "by_graph": "a graph of ops",
        "model": "returned a TrainingRun",
        "people": "no function makes",
        "nothing": "there is no such asset; there are adults",
    }.items():
        with pytest.raises(LineageFuzzError, match=words):
            invoke(asset)


def test_the_store_stays_as_it_is(project):
    folder, _ = project
    before = {path: path.read_bytes() for path in (folder / "store" / "log").rglob("*.*")}
    blocks = sorted((folder / "store" / "blocks").rglob("*"))
    invoke("scaled")
    assert {path: path.read_bytes() for path in (folder / "store" / "log").rglob("*.*")} == before
    assert sorted((folder / "store" / "blocks").rglob("*")) == blocks


def test_a_sample_of_the_inputs_is_used_when_asked_for(project):
    result = invoke("adults", "--rows", "15")
    assert result.exit_code == 0, result.output
    assert "Samples of the inputs were used (people: 15 rows)" in result.output


@pytest.mark.parametrize(("asset", "outdated"), [("edited", "people"), ("judged", "adults")])
def test_a_function_that_was_changed_since_makes_the_recorded_map_outdated(
    project, asset, outdated
):
    folder, _ = project
    assert invoke(asset).exit_code == 0
    (folder / "edited").touch()
    try:
        result = invoke(asset)
    finally:
        (folder / "edited").unlink()
    assert result.exit_code == 1
    assert f"The recorded row maps of {outdated} are not those" in result.output


def test_a_source_file_that_was_changed_since_is_refused(project):
    folder, _ = project
    (folder / "people.csv").write_text(PEOPLE + "99,33,1.5,a\n")
    try:
        with pytest.raises(SourceChangedError, match="materialize the asset again"):
            invoke("adults")
    finally:
        (folder / "people.csv").write_text(PEOPLE)


def test_definitions_are_found_where_dagster_finds_them(project, tmp_path, monkeypatch):
    folder, _ = project
    assert invoke("adults", "-f", str(folder / "definitions.py")).exit_code == 0
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CodeLocationError, match=r"no workspace\.yaml and no definitions\.py"):
        invoke("adults")
    with pytest.raises(CodeLocationError, match="No module named 'no_such_module'"):
        invoke("adults", "-m", "no_such_module")
    (tmp_path / "workspace.yaml").write_text(
        f"load_from:\n  - python_file:\n      relative_path: {folder / 'definitions.py'}\n"
    )
    assert invoke("adults").exit_code == 0
    (tmp_path / "workspace.yaml").unlink()
    (tmp_path / "fuzz_module_of_test.py").write_text(f"FOLDER = {str(folder)!r}\n")
    (tmp_path / "pyproject.toml").write_text(
        '[tool.dagster]\nmodule_name = "fuzz_module_of_test"\n'
    )
    with pytest.raises(AssetReplayError, match="there are none"):
        invoke("adults")


def test_an_asset_that_was_never_recorded_is_named(project, tmp_path):
    Store.create(tmp_path / "empty")
    with pytest.raises(DatasetNotFoundError, match="'adults'"):
        invoke("adults", "--store", str(tmp_path / "empty"))


def test_only_what_is_needed_is_made_and_a_store_that_cannot_be_is_named(project, monkeypatch):
    monkeypatch.setenv("BROKEN_RESOURCE", "1")
    assert invoke("adults").exit_code == 0
    monkeypatch.delenv("FUZZ_TEST_STORE")
    with pytest.raises(AssetReplayError, match="'io_manager' cannot be made"):
        invoke("adults")


def test_the_check_passes_for_honest_assets(project):
    _, results = project
    for result, names in (
        ("whole", ["adults", "scaled", "centred"]),
        ("a", ["part"]),
        ("b", ["part"]),
    ):
        found = evaluations(results[result])
        for name in names:
            assert found[name].passed, found[name]
            assert found[name].metadata["traceprop/violations"].value == 0
            assert found[name].metadata["traceprop/runs"].value > 16
    blind = "traceprop/in_context"
    found = evaluations(results["whole"])
    assert blind not in found["adults"].metadata
    assert found["centred"].metadata[blind].value == "people: a context explains any change"


def test_the_check_of_a_lie_fails_with_a_short_table_and_without_values(project):
    _, results = project
    found = evaluations(results["whole"])["reversed_ages"]
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.ERROR
    table = found.metadata["traceprop/found"].value
    assert len(table) < 1000
    assert table.startswith("| input | row | changed | output rows |")
    assert "| people |" in table
    assert "age: value" in table
    assert found.metadata["traceprop/violations"].value > 0


def test_a_check_of_nothing_is_refused():
    @dg.asset
    def anything(people: pd.DataFrame) -> pd.DataFrame:
        return people

    with pytest.raises(ValueError, match="positive"):
        build_lineage_fuzz_check(anything, trials=0)


def test_a_resource_that_is_not_given_is_named(tmp_path):
    @dg.asset(required_resource_keys={"missing"})
    def needs(people: pd.DataFrame) -> pd.DataFrame:
        return people

    (tmp_path / "people.csv").write_text(PEOPLE)
    store = TracepropStore(path=str(tmp_path / "store"))
    result = dg.materialize(
        [*source_file_assets({"people": tmp_path / "people.csv"}), needs],
        resources={"io_manager": TracepropIOManager(store=store), "missing": 1},
    )
    assert result.success
    with (
        pytest.raises(AssetReplayError, match="its resources missing are not given"),
        asset_replay(store.open(), needs, resources={}, source_options={}),
    ):
        pass


def test_a_recorded_lineage_is_read_as_it_was_written(project):
    folder, _ = project
    store = Store.open(folder / "store")
    version = find_dataset_version(store, "adults")
    lineage, inputs = load_lineage(store, version)
    people = pd.read_csv(folder / "people.csv")
    kept = people[people["age"] > 24].sort_values("age", ascending=False)
    assert inputs["people"].kind == "source"
    assert [lineage.maps["people"].backward([i]).tolist() for i in range(len(kept))] == [
        [row] for row in kept.index
    ]
