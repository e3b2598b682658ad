"""A small pipeline recorded by hand: recording, walks in both directions, and explanations."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from traceprop_engine.errors import (
    DatasetNotFoundError,
    NoPredictionsError,
    NoRowChosenError,
    NoRowsKeptError,
    RowNotFoundError,
    TrainingRunNotFoundError,
)
from traceprop_engine.explanation import (
    explain,
    load_predictions,
    query_id_of,
    record_counterfactual,
    record_explanation,
    removal_effect,
    what_if_removed,
)
from traceprop_engine.lineage.captured import CapturedLineage, ContextDependency, Op
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.recording import (
    InputRef,
    Materialization,
    find_dataset_version,
    load_frame,
    load_row_map,
    load_source,
    load_training_run,
    record_dataset,
    record_lineage,
    record_predictions,
    record_source,
    record_training_run,
)
from traceprop_engine.sources import read_source
from traceprop_engine.store import Store
from traceprop_engine.tracing import affected_by, trace_back
from traceprop_engine.training import train_logistic

N_PEOPLE = 40


@dataclass
class Recorded:
    store: Store
    people: InputRef
    visits: InputRef
    table: str
    run: str
    predictions: str
    frame: pd.DataFrame


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """people.csv (one line each), visits.csv (two lines each) → table → model → predictions."""
    folder = tmp_path_factory.mktemp("recorded")
    rng = np.random.default_rng(3)
    people = pd.DataFrame({"id": np.arange(N_PEOPLE), "age": rng.normal(50, 9, N_PEOPLE)})
    visits = pd.DataFrame(
        {"id": np.repeat(np.arange(N_PEOPLE), 2), "cost": rng.normal(size=2 * N_PEOPLE)}
    )
    people.to_csv(folder / "people.csv", index=False)
    visits.to_csv(folder / "visits.csv", index=False)
    store = Store.create(folder / "store")
    sources = {}
    for name in ("people", "visits"):
        version, _ = read_source(folder / f"{name}.csv", name=name)
        sources[name] = record_source(store, version)
    table = people.merge(visits.groupby("id", as_index=False)["cost"].mean(), on="id")
    table["y"] = (table["age"] + 9 * table["cost"] + rng.normal(0, 9, N_PEOPLE) > 50).astype(int)
    lineage = CapturedLineage(
        n_rows=N_PEOPLE,
        maps={
            "people": RowMap.identity(N_PEOPLE),
            "visits": RowMap.groups(visits["id"].to_numpy(), N_PEOPLE),
        },
        contexts=(
            ContextDependency(
                "people", "Series.mean", "age", RowMap.groups(np.zeros(N_PEOPLE, int), 1)
            ),
        ),
        ops=(Op("DataFrame.merge", "on='id'", ("people", "visits"), (40, 40), 40),),
    )
    made = Materialization("table", sources, run_id="run-1")
    table_id = record_dataset(store, made, table, lineage)
    train, test = table.iloc[:30], table.iloc[30:]
    run = train_logistic(train, features=["age", "cost"], label="y", l2=1.0, name="risk")
    model = Materialization("model", {"table": InputRef("dataset", table_id)}, run_id="run-1")
    rows = CapturedLineage(30, {"table": RowMap.range(0, 1, 30, N_PEOPLE)})
    model_id, run_id = record_training_run(store, model, run, rows)
    served = Materialization(
        "predictions",
        {"table": InputRef("dataset", table_id), "model": InputRef("dataset", model_id)},
        run_id="run-1",
    )
    rows = CapturedLineage(10, {"table": RowMap.range(30, 1, 10, N_PEOPLE)})
    predictions_id = record_predictions(
        store,
        served,
        run.predict(test, label="y", keep=["id"]),
        rows,
        load_training_run(store, run_id),
    )
    return Recorded(
        store, sources["people"], sources["visits"], table_id, run_id, predictions_id, table
    )


def test_a_dataset_comes_back_as_it_was_written(recorded):
    version = find_dataset_version(recorded.store, "table")
    pd.testing.assert_frame_equal(load_frame(recorded.store, version), recorded.frame)
    assert (version.n_rows, version.fidelity, version.coverage) == (N_PEOPLE, "exact", 1.0)


def test_a_training_run_comes_back_bit_for_bit(recorded):
    loaded = load_training_run(recorded.store, recorded.run).run
    train = recorded.frame.iloc[:30]
    again = train_logistic(train, features=["age", "cost"], label="y", l2=1.0, name="risk")
    assert np.array_equal(loaded.parameters, again.parameters)
    assert np.array_equal(loaded.features, again.features)
    assert list(loaded.labels) == list(again.labels)
    assert loaded.classes == again.classes
    assert loaded.loss_curve == again.loss_curve


def test_gradients_can_be_asked_for_in_sql(recorded):
    table = recorded.store.query(
        "SELECT training_row, gradient FROM gradient WHERE training_run_id = ? ORDER BY 1",
        [recorded.run],
    )
    stored = np.array(table.column("gradient").to_pylist())
    run = load_training_run(recorded.store, recorded.run).run
    assert np.array_equal(stored, run.per_sample_grads())


def test_recording_the_same_materialization_twice_writes_one_fact(recorded):
    before = recorded.store.query("SELECT count(*) FROM dataset_version").to_pylist()
    version = find_dataset_version(recorded.store, "table")
    sources = {"people": recorded.people, "visits": recorded.visits}
    lineage = CapturedLineage(
        N_PEOPLE,
        {
            "people": RowMap.identity(N_PEOPLE),
            "visits": RowMap.groups(np.repeat(np.arange(N_PEOPLE), 2), N_PEOPLE),
        },
    )
    made = Materialization("table", sources, run_id="run-1")
    assert record_dataset(recorded.store, made, recorded.frame, lineage) == version.id
    assert recorded.store.query("SELECT count(*) FROM dataset_version").to_pylist() == before


def test_a_prediction_is_traced_to_its_lines_of_both_files(recorded):
    trace = trace_back(recorded.store, recorded.predictions, [4])
    rows = {source.name: source.rows.tolist() for source in trace.sources}
    assert rows == {"people": [34], "visits": [68, 69]}
    assert [d.dataset for d in trace.datasets] == ["table", "predictions"]
    assert [c.statistic for c in trace.contexts] == ["Series.mean"]
    assert trace.unknown == ()


def test_a_source_row_reaches_table_model_and_no_prediction(recorded):
    affected = affected_by(recorded.store, recorded.visits.id, [13])
    reached = {d.dataset: d.rows.tolist() for d in affected.datasets}
    assert reached == {"table": [6], "model": [6]}
    assert [name for _, name in affected.training_runs] == ["risk"]
    assert affected.context == ()


def test_a_statistic_is_listed_apart_from_the_rows(recorded):
    affected = affected_by(recorded.store, recorded.people.id, [35])
    reached = {d.dataset: d.rows.tolist() for d in affected.datasets}
    assert reached == {"table": [35], "predictions": [5]}
    assert [(c.dataset, c.statistic, c.n_members) for c in affected.context] == [
        ("table", "Series.mean", N_PEOPLE),
        ("model", "rows made with a statistic", N_PEOPLE),
        ("predictions", "rows made with a statistic", N_PEOPLE),
    ]


def test_explanation_names_the_text_of_the_lines(recorded):
    explanation = explain(recorded.store, row=2, top_k=5)
    assert len(explanation.rows) == 5
    for row in explanation.rows:
        for line in row.lines:
            written = Path(line.uri).read_text().splitlines()[line.line_number - 1]
            assert line.text == written
        assert {line.text.split(",")[0] for line in row.lines} == {str(row.training_row)}


def test_influence_is_what_leaving_the_row_out_takes_away(recorded):
    explanation = explain(recorded.store, row=2, top_k=1)
    first = explanation.rows[0]
    effect = what_if_removed(recorded.store, row=2, training_rows=[first.training_row])
    assert effect.predicted_change == pytest.approx(-first.influence)
    # Thirty rows, and the strongest of them: the estimate is rough, the removal below is exact.
    assert effect.found_change == pytest.approx(effect.predicted_change, rel=0.6)
    assert effect.gradient_norm <= 1e-10 * 29
    train = recorded.frame.iloc[:30].drop(index=first.training_row)
    refit = train_logistic(train, features=["age", "cost"], label="y", l2=1.0, name="refit")
    x = recorded.frame.loc[[32], ["age", "cost"]].to_numpy()
    assert effect.before + effect.found_change == pytest.approx(refit.outputs(x)[0, 0], abs=1e-8)


def test_where_chooses_the_prediction_of_one_person(recorded):
    assert explain(recorded.store, where="id = 33").prediction.row == 3


def test_where_that_matches_no_single_prediction_is_refused(recorded):
    with pytest.raises(NoRowChosenError, match="10 rows of 'predictions' match"):
        explain(recorded.store, where="id >= 0")
    with pytest.raises(NoRowChosenError, match="give a row number or a predicate"):
        explain(recorded.store)


def test_what_does_not_exist_is_named_with_what_does(recorded):
    with pytest.raises(RowNotFoundError, match="has no row 10; it has rows 0 to 9"):
        explain(recorded.store, row=10)
    with pytest.raises(DatasetNotFoundError, match="'predicitons'; it knows predictions"):
        explain(recorded.store, dataset="predicitons", row=0)
    with pytest.raises(NoPredictionsError, match="'table'"):
        explain(recorded.store, dataset="table", row=0)
    with pytest.raises(TrainingRunNotFoundError):
        load_training_run(recorded.store, "tr_none")
    with pytest.raises(RowNotFoundError):
        trace_back(recorded.store, recorded.table, [-1])


def test_explanations_and_removals_are_facts(recorded):
    explanation = explain(recorded.store, row=1, top_k=3)
    predictions = load_predictions(recorded.store)
    effect = removal_effect(predictions, 1, [explanation.rows[0].training_row])
    query_id = record_explanation(recorded.store, explanation)
    record_counterfactual(recorded.store, explanation, effect)
    assert query_id == query_id_of(explanation)
    scores = recorded.store.query(
        "SELECT training_row, score FROM attribution WHERE query_id = ? ORDER BY rank", [query_id]
    ).to_pylist()
    assert [(s["training_row"], s["score"]) for s in scores] == [
        (row.training_row, row.influence) for row in explanation.rows
    ]
    found = recorded.store.query(
        "SELECT refitted_change FROM counterfactual WHERE query_id = ?", [query_id]
    )
    assert found.to_pylist() == [{"refitted_change": effect.found_change}]


def test_a_file_that_changed_is_said_and_the_rest_is_still_answered(recorded, tmp_path):
    version = load_source(recorded.store, recorded.people.id)
    path = Path(version.uri)
    original = path.read_bytes()
    try:
        path.write_bytes(original + b"99,1.0\n")
        explanation = explain(recorded.store, row=0, top_k=2)
    finally:
        path.write_bytes(original)
    lines = explanation.rows[0].lines
    changed = [line for line in lines if line.source == "people"]
    assert changed[0].text is None
    assert "other bytes now" in changed[0].unavailable
    assert all(line.text for line in lines if line.source == "visits")


def test_an_answer_that_differs_in_the_last_bit_is_no_contradiction(recorded):
    explanation = explain(recorded.store, row=6, top_k=3)
    predictions = load_predictions(recorded.store)
    effect = removal_effect(predictions, 6, [explanation.rows[0].training_row])
    query_id = record_explanation(recorded.store, explanation)
    record_counterfactual(recorded.store, explanation, effect)
    elsewhere = replace(
        explain(recorded.store, row=6, top_k=5),
        rows=tuple(
            replace(row, influence=float(np.nextafter(row.influence, 9.0)))
            for row in explain(recorded.store, row=6, top_k=5).rows
        ),
    )
    assert record_explanation(recorded.store, elsewhere) == query_id
    again = replace(effect, found_change=float(np.nextafter(effect.found_change, 9.0)))
    record_counterfactual(recorded.store, elsewhere, again)
    scores = recorded.store.query(
        "SELECT rank, score FROM attribution WHERE query_id = ? ORDER BY rank", [query_id]
    ).to_pylist()
    assert [s["rank"] for s in scores] == [1, 2, 3, 4, 5]
    assert [s["score"] for s in scores[:3]] == [row.influence for row in explanation.rows]
    assert recorded.store.info().n_set_aside == 0


def test_a_model_is_not_a_table(recorded):
    with pytest.raises(NoRowsKeptError, match="'model' has no table"):
        load_frame(recorded.store, find_dataset_version(recorded.store, "model"))


def test_members_of_a_statistic_come_back_as_they_were(tmp_path):
    store = Store.create(tmp_path / "store")
    codes = np.where(np.arange(1_001) % 3 == 0, 0, -1)
    members = RowMap.groups(codes, 1)
    contexts = tuple(
        ContextDependency("people", f"Series.{name}", "age", members) for name in ("mean", "std")
    )
    lineage = CapturedLineage(2, {"people": RowMap.gather([5, 3], 1_001)}, contexts)
    made = Materialization("result", {"people": InputRef("source", "sv_people")}, run_id="run")
    record_lineage(store, made, lineage)
    facts = store.query("SELECT * FROM row_map WHERE role = 'context' ORDER BY ordinal").to_pylist()
    assert [f["statistic"] for f in facts] == ["Series.mean", "Series.std"]
    assert len({f["block"] for f in facts}) == 1
    for each in facts:
        assert load_row_map(store, each).same_relation(members)


@pytest.mark.parametrize(
    ("rows", "bytes_a_row"),
    [
        pytest.param(np.random.default_rng(0).permutation(400_000), 3.3, id="permutation"),
        pytest.param(
            np.flatnonzero(np.random.default_rng(0).random(400_000) < 0.5), 0.7, id="filter"
        ),
        pytest.param(np.arange(400_000) // 3, 0.2, id="each row three times"),
        pytest.param(np.where(np.arange(400_000) < 9_000, 7, -1), 0.1, id="few have a parent"),
    ],
)
def test_a_map_takes_few_bytes_a_row_and_comes_back_and_is_asked_in_sql(
    tmp_path, rows, bytes_a_row
):
    store = Store.create(tmp_path / "store")
    lineage = CapturedLineage(len(rows), {"people": RowMap.gather(rows, 400_000)})
    made = Materialization("result", {"people": InputRef("source", "sv_people")}, run_id="run")
    record_lineage(store, made, lineage)
    (facts,) = store.query("SELECT * FROM row_map").to_pylist()
    assert load_row_map(store, facts).same_relation(lineage.maps["people"])
    found = store.query("SELECT out_row, in_row FROM row_map_row ORDER BY out_row")
    assert np.array_equal(found["in_row"].to_numpy(), rows[rows >= 0])
    size = sum(path.stat().st_size for path in (tmp_path / "store" / "blocks").rglob("*.parquet"))
    assert size / len(rows) < bytes_a_row
