"""The IO manager through Dagster runs: values, lineage, metadata, partitions, failures."""

import hashlib

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from traceprop_dagster import (
    TracepropIOManager,
    TracepropStore,
    build_attribution_asset,
    build_lineage_coverage_checks,
    build_removal_asset,
    source_file_assets,
)
from traceprop_engine.explanation import explain
from traceprop_engine.recording import find_dataset_version, load_frame
from traceprop_engine.tracing import affected_by, trace_back
from traceprop_engine.training import Predictions, TrainingRun, train_logistic

pytestmark = pytest.mark.e2e

PEOPLE = "id,age\n" + "".join(f"{i},{20 + i}\n" for i in range(30))
VISITS = "id,cost\n" + "".join(f"{i},{(7 * i + 3 * k) % 11}.5\n" for i in range(30) for k in (0, 1))


@dg.asset
def adults(people: pd.DataFrame) -> pd.DataFrame:
    """Some rows, in another order."""
    return people[people["age"] > 24].sort_values("age", ascending=False)


@dg.asset
def costs(visits: pd.DataFrame) -> pd.DataFrame:
    """A row for each person, made from two."""
    return visits.groupby("id", as_index=False)["cost"].mean()


@dg.asset
def table(adults: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """A join, and a column scaled by its own mean."""
    joined = adults.merge(costs, on="id", how="left")
    joined["scaled"] = joined["age"] - joined["age"].mean()
    joined["y"] = (joined["cost"] > 5).astype(int)
    return joined


@dg.asset
def model(table: pd.DataFrame) -> TrainingRun:
    """A model of the rows with even identifiers."""
    return train_logistic(
        table[table["id"] % 2 == 0], features=["scaled", "cost"], label="y", l2=1.0, name="model"
    )


@dg.asset
def predictions(table: pd.DataFrame, model: TrainingRun) -> Predictions:
    """Predictions of the other rows."""
    return model.predict(table[table["id"] % 2 == 1], label="y", keep=["id"])


CHAIN = [adults, costs, table, model, predictions]
EXPLAINED = build_attribution_asset("attributions", predictions=predictions.key)
REMOVED = build_removal_asset(
    "what_if_removed", predictions=predictions.key, attributions=EXPLAINED.key
)
COVERAGE = build_lineage_coverage_checks(assets=[a.key for a in CHAIN], min_coverage=1.0)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "people.csv").write_text(PEOPLE)
    (tmp_path / "visits.csv").write_text(VISITS)
    return tmp_path


def sources(folder):
    return source_file_assets({name: folder / f"{name}.csv" for name in ("people", "visits")})


def resources(folder, **more):
    store = TracepropStore(path=str(folder / "store"), **more)
    return {"store": store, "io_manager": TracepropIOManager(store=store)}


def run(folder, assets, *, instance=None, raise_on_error=True, **more):
    return dg.materialize(
        [*sources(folder), *assets],
        resources=resources(folder, **more),
        instance=instance or dg.DagsterInstance.ephemeral(),
        selection=dg.AssetSelection.assets(*assets),
        raise_on_error=raise_on_error,
    )


def observe(assets, instance):
    job = dg.define_asset_job("look", selection=dg.AssetSelection.assets("people"))
    definitions = dg.Definitions(assets=assets, jobs=[job])
    assert definitions.resolve_job_def("look").execute_in_process(instance=instance).success


def metadata_of(result, asset):
    event = result.asset_materializations_for_node(asset.key.to_python_identifier())[0]
    return {key: value.value for key, value in event.metadata.items()}


def test_assets_get_plain_frames_and_the_store_knows_their_rows(folder):
    result = run(folder, CHAIN)
    store = TracepropStore(path=str(folder / "store")).open()
    version = find_dataset_version(store, "table")
    trace = trace_back(store, version.id, [0])
    rows = {source.name: source.rows.tolist() for source in trace.sources}
    frame = load_frame(store, version)
    assert frame["id"].tolist() == list(range(29, 4, -1))
    assert rows == {"people": [29], "visits": [58, 59]}
    assert version.run_id == result.run_id
    pd.testing.assert_frame_equal(result.output_for_node("table"), frame)


def test_the_result_is_what_pandas_alone_gives(folder):
    run(folder, CHAIN)
    store = TracepropStore(path=str(folder / "store")).open()
    people = pd.read_csv(folder / "people.csv")
    visits = pd.read_csv(folder / "visits.csv")
    plain_adults = adults(people)
    plain = table(plain_adults, costs(visits))
    for name, wanted in (("adults", plain_adults), ("table", plain)):
        found = load_frame(store, find_dataset_version(store, name))
        pd.testing.assert_frame_equal(found, wanted, check_index_type=False)


def test_materializations_carry_rows_schema_column_lineage_and_coverage(folder):
    metadata = metadata_of(run(folder, CHAIN, page_url="http://127.0.0.1:4004"), table)
    store = TracepropStore(path=str(folder / "store")).open()
    version = find_dataset_version(store, "table")
    assert metadata["dagster/row_count"] == 25
    names = [column.name for column in metadata["dagster/column_schema"].columns]
    assert names == ["id", "age", "cost", "scaled", "y"]
    deps = metadata["dagster/column_lineage"].deps_by_column
    assert {d.asset_key for d in deps["id"]} == {adults.key, costs.key}
    assert {d.column_name for d in deps["cost"]} == {"cost"}
    assert metadata["traceprop/coverage"] == 1.0
    assert metadata["traceprop/fidelity"] == "exact"
    assert metadata["traceprop/dataset_version"] == version.id
    assert metadata["traceprop/page"] == f"http://127.0.0.1:4004/dataset/{version.id}"
    assert "mean" in metadata["traceprop/statistics"]


def test_short_markdown_is_short_enough_to_show_inline(folder):
    result = run(folder, [*CHAIN, EXPLAINED, REMOVED])
    for asset in (table, model, EXPLAINED, REMOVED):
        for value in metadata_of(result, asset).values():
            assert not isinstance(value, str) or len(value) < 1_000


def test_a_training_run_carries_its_metrics_and_a_loss_curve(folder):
    metadata = metadata_of(run(folder, CHAIN), model)
    assert metadata["train/auc"] > 0.5
    assert metadata["traceprop/converged"] is True
    assert metadata["traceprop/gradient_norm"] < 1e-8
    assert metadata["traceprop/loss_curve"].startswith("![objective](data:image/svg+xml;base64,")


def test_predictions_depend_on_all_training_rows_through_the_model(folder):
    run(folder, CHAIN)
    store = TracepropStore(path=str(folder / "store")).open()
    (people,) = store.query("SELECT * FROM source_version WHERE name = 'people'").to_pylist()
    affected = affected_by(store, people["source_version_id"], [28])
    reached = {d.dataset: len(d.rows) for d in affected.datasets}
    assert reached == {"adults": 1, "table": 1, "model": 1}
    assert ("predictions", "TrainingRun.predict") in {
        (c.dataset, c.statistic) for c in affected.context
    }


def test_a_table_of_statistics_has_no_parent_rows_and_names_its_statistic(folder):
    @dg.asset
    def summary(people: pd.DataFrame) -> pd.DataFrame:
        return people.mean().to_frame().T

    run(folder, [summary])
    store = TracepropStore(path=str(folder / "store")).open()
    version = find_dataset_version(store, "summary")
    trace = trace_back(store, version.id, [0])
    assert trace.sources == ()
    assert ("DataFrame.mean", 30) in {(c.statistic, c.n_members) for c in trace.contexts}
    (people,) = store.query("SELECT * FROM source_version WHERE name = 'people'").to_pylist()
    affected = affected_by(store, people["source_version_id"], [4])
    assert affected.datasets == ()
    assert {c.dataset for c in affected.context} == {"summary"}
    assert version.coverage == 0.0


def test_explanations_follow_from_the_run_that_asked(folder):
    result = run(folder, [*CHAIN, EXPLAINED, REMOVED])
    metadata = metadata_of(result, EXPLAINED)
    assert metadata["traceprop/explained"] == 3
    store = TracepropStore(path=str(folder / "store")).open()
    frame = load_frame(store, find_dataset_version(store, "predictions"))
    highest = int(np.argmax(frame["logit"].to_numpy()))
    strongest = explain(store, row=highest).rows[0].influence
    assert metadata["traceprop/strongest"] == pytest.approx(strongest)
    removed = metadata_of(result, REMOVED)
    assert removed["traceprop/gradient_norm"] < 1e-8
    assert removed["traceprop/error"] < abs(strongest)


def test_coverage_checks_pass_and_a_lost_row_fails_them(folder):
    @dg.asset
    def lost(adults: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"age": list(adults["age"])})

    check = build_lineage_coverage_checks(assets=[adults.key, lost.key], min_coverage=1.0)
    result = run(folder, [adults, lost, check], raise_on_error=False)
    passed = {
        e.asset_key.to_user_string(): (e.passed, e.description)
        for e in result.get_asset_check_evaluations()
    }
    assert passed["adults"][0] is True
    assert passed["lost"][0] is False
    assert passed["lost"][1]


def test_a_partition_reads_its_own_partition_and_all_partitions_come_as_a_dict(folder):
    parts = dg.StaticPartitionsDefinition(["young", "old"])

    @dg.asset(partitions_def=parts)
    def cohort(context: dg.AssetExecutionContext, people: pd.DataFrame) -> pd.DataFrame:
        young = people["age"] < 35
        return people[young if context.partition_key == "young" else ~young]

    @dg.asset(partitions_def=parts)
    def doubled(cohort: pd.DataFrame) -> pd.DataFrame:
        return cohort.assign(age=2 * cohort["age"])

    @dg.asset
    def everybody(doubled: dict[str, pd.DataFrame]) -> pd.DataFrame:
        return pd.concat([doubled["old"], doubled["young"]], ignore_index=True)

    everything = [*sources(folder), cohort, doubled, everybody]
    instance = dg.DagsterInstance.ephemeral()
    for key in ("young", "old"):
        dg.materialize(
            everything,
            resources=resources(folder),
            partition_key=key,
            instance=instance,
            selection=dg.AssetSelection.assets(cohort, doubled),
        )
    dg.materialize(
        everything,
        resources=resources(folder),
        instance=instance,
        selection=dg.AssetSelection.assets(everybody),
    )
    store = TracepropStore(path=str(folder / "store")).open()
    version = find_dataset_version(store, "everybody")
    assert load_frame(store, version)["id"].tolist() == [*range(15, 30), *range(15)]
    trace = trace_back(store, version.id, [0, 29])
    assert [source.rows.tolist() for source in trace.sources] == [[14, 15]]
    assert version.coverage == 1.0


def test_an_asset_that_fails_leaves_pandas_as_it_was(folder):
    original = pd.DataFrame.merge

    @dg.asset
    def broken(people: pd.DataFrame) -> pd.DataFrame:
        raise RuntimeError("no")

    assert not run(folder, [broken], raise_on_error=False).success
    assert pd.DataFrame.merge is original
    run(folder, CHAIN)
    assert pd.DataFrame.merge is original


def test_a_retried_step_records_one_version(folder):
    attempts = []

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
    def flaky(people: pd.DataFrame) -> pd.DataFrame:
        attempts.append(1)
        if len(attempts) == 1:
            raise RuntimeError("again")
        return people.head(3)

    assert run(folder, [flaky]).success
    store = TracepropStore(path=str(folder / "store")).open()
    found = store.query("SELECT n_rows, coverage FROM dataset_version").to_pylist()
    assert found == [{"n_rows": 3, "coverage": 1.0}]


def test_a_value_that_cannot_be_kept_is_named(folder):
    @dg.asset
    def number(people: pd.DataFrame) -> int:
        return len(people)

    result = run(folder, [number], raise_on_error=False)
    (failure,) = [e for e in result.all_node_events if e.is_step_failure]
    assert "'number' returned a int; this IO manager keeps DataFrame" in str(
        failure.step_failure_data.error
    )


def test_an_asset_that_returns_nothing_records_nothing(folder):
    @dg.asset
    def report(people: pd.DataFrame) -> None:
        assert len(people) == 30

    assert run(folder, [report]).success
    store = TracepropStore(path=str(folder / "store")).open()
    assert store.query("SELECT count(*) AS n FROM dataset_version").to_pylist() == [{"n": 0}]


def test_observing_reports_the_digest_and_a_changed_file_makes_its_asset_stale(folder):
    everything = [*sources(folder), adults]
    definitions = dg.Definitions(assets=everything, resources=resources(folder))
    with dg.instance_for_test() as instance:
        observe(everything[:1], instance)
        observed = instance.get_latest_data_version_record(dg.AssetKey("people"))
        digest = hashlib.sha256(PEOPLE.encode()).hexdigest()
        assert observed.event_log_entry.tags["dagster/data_version"] == digest
        run(folder, [adults], instance=instance)
        (folder / "people.csv").write_text(PEOPLE + "30,99\n")
        observe(everything[:1], instance)
        changed = instance.get_latest_data_version_record(dg.AssetKey("people"))
        assert changed.event_log_entry.tags["dagster/data_version"] != digest
    assert definitions.resolve_asset_graph().has(dg.AssetKey("people"))


def test_two_runs_in_turn_keep_their_own_versions(folder):
    first = run(folder, CHAIN)
    (folder / "people.csv").write_text(PEOPLE + "30,77\n")
    (folder / "visits.csv").write_text(VISITS + "30,4.5\n")
    second = run(folder, CHAIN)
    store = TracepropStore(path=str(folder / "store")).open()
    old = find_dataset_version(store, "adults", run_id=first.run_id)
    new = find_dataset_version(store, "adults", run_id=second.run_id)
    assert (old.n_rows, new.n_rows) == (25, 26)
    assert find_dataset_version(store, "adults").id == new.id
