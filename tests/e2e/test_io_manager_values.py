"""The IO manager hands over frames of three libraries, and arrays, with the rows of each."""

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

pl = pytest.importorskip("polars")

from traceprop_dagster import TracepropIOManager, TracepropStore, source_file_assets  # noqa: E402
from traceprop_engine.frames import TrackedTable  # noqa: E402
from traceprop_engine.frames.of_polars import TrackedPolars  # noqa: E402
from traceprop_engine.lineage.declare import record  # noqa: E402
from traceprop_engine.recording import find_dataset_version, load_frame, load_table  # noqa: E402
from traceprop_engine.tracing import trace_back  # noqa: E402
from traceprop_engine.training import Predictions, TrainingRun, train_linear  # noqa: E402

pytestmark = pytest.mark.e2e
N = 40
PEOPLE = "id,age,name\n" + "".join(f"{i},{(7 * i) % N + 20},p{i}\n" for i in range(N))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "people.csv").write_text(PEOPLE)
    return tmp_path


def run(folder, assets, **more):
    store = TracepropStore(path=str(folder / "store"))
    result = dg.materialize(
        [*source_file_assets({"people": folder / "people.csv"}), *assets],
        resources={"store": store, "io_manager": TracepropIOManager(store=store)},
        instance=dg.DagsterInstance.ephemeral(),
        selection=dg.AssetSelection.assets(*assets),
        **more,
    )
    return result, store.open()


def version_of(store, name):
    return find_dataset_version(store, name)


def has_rows(store, name, wanted):
    """Whether the first, the last and a middle row of a dataset came from these source rows."""
    version = version_of(store, name)
    assert version.n_rows == len(wanted)
    for row in {0, len(wanted) // 3, len(wanted) - 1}:
        (source,) = trace_back(store, version.id, [row]).sources
        assert source.rows.tolist() == [wanted[row]]
    return True


def failure_of(result):
    (event,) = [e for e in result.all_node_events if e.is_step_failure]
    return str(event.step_failure_data.error)


def test_rows_pass_from_pandas_through_polars_and_arrow_to_an_array(folder):
    @dg.asset
    def adults(people: pd.DataFrame) -> pd.DataFrame:
        return people[people["age"] > 30].sort_values("age")

    @dg.asset
    def chosen(adults: TrackedPolars) -> TrackedPolars:
        assert "__index_level_0__" not in adults.columns
        return adults.filter(pl.col.id % 2 == 0).with_columns(twice=pl.col.age * 2)

    @dg.asset
    def named(chosen: TrackedTable) -> TrackedTable:
        return chosen.sort_by([("id", "descending")])

    @dg.asset(metadata={"traceprop/row_wise": "named"})
    def features(named: pd.DataFrame) -> np.ndarray:
        return np.stack([named["id"].to_numpy(), named["age"].to_numpy()], axis=1)

    @dg.asset
    def back(features: pd.DataFrame) -> pd.DataFrame:
        return features.iloc[::-1]

    _, store = run(folder, [adults, chosen, named, features, back])
    ids = [i for i in range(N - 1, -1, -1) if i % 2 == 0 and (7 * i) % N + 20 > 30]
    assert load_table(store, version_of(store, "named"))["id"].to_pylist() == ids
    for name in ("named", "features"):
        assert has_rows(store, name, ids)
    assert has_rows(store, "back", ids[::-1])
    assert load_frame(store, version_of(store, "back"))["0"].tolist() == ids[::-1]
    fidelities = {n: version_of(store, n).fidelity for n in ("chosen", "named", "features", "back")}
    assert fidelities == {
        "chosen": "exact",
        "named": "exact",
        "features": "claimed",
        "back": "exact",
    }


def test_inputs_come_as_the_class_that_they_are_annotated_with(folder):
    seen = {}

    @dg.asset
    def wide(people: pa.Table) -> pa.Table:
        seen["source"] = type(people)
        return people.append_column("one", pa.array([1.5] * len(people)))

    @dg.asset
    def user(context: dg.AssetExecutionContext, wide: pl.DataFrame) -> None:
        seen["polars"] = wide

    @dg.asset
    def other(wide) -> np.ndarray:
        seen["none"] = type(wide)
        return np.arange(24.0).reshape(4, 3, 2)

    @dg.asset
    def deep(other: np.ndarray) -> np.ndarray:
        seen["array"] = other
        return other[0, 0]

    run(folder, [wide, user, other, deep])
    assert seen["source"] is pa.Table
    assert type(seen["polars"]) is pl.DataFrame
    assert seen["polars"].columns == ["id", "age", "name", "one"]
    assert seen["none"] is pd.DataFrame
    np.testing.assert_array_equal(seen["array"], np.arange(24.0).reshape(4, 3, 2))


def test_a_plain_body_is_unknown_unless_its_rows_are_declared(folder):
    @dg.asset
    def silent(people: pl.DataFrame) -> pl.DataFrame:
        return people.filter(pl.col.age > 30)

    @dg.asset(metadata={"traceprop/row_wise": "people"})
    def row_wise(people: pl.DataFrame) -> pl.DataFrame:
        return people.with_columns(age=pl.col.age + 1)

    @dg.asset
    def declared(people: pl.DataFrame) -> object:
        return record(people[[3, 1]], {"people": [3, 1]})

    @dg.asset(metadata={"traceprop/row_wise": "row_wise", "traceprop/context": ["silent"]})
    def helped(row_wise: pl.DataFrame, silent: pl.DataFrame) -> pl.DataFrame:
        return row_wise.with_columns(n=pl.lit(len(silent)))

    result, store = run(folder, [silent, row_wise, declared, helped])
    version = version_of(store, "silent")
    assert (version.fidelity, version.coverage) == ("unknown", 0.0)
    assert "'people' were not followed" in version.reason
    assert version_of(store, "row_wise").fidelity == "claimed"
    assert has_rows(store, "row_wise", range(N))
    assert has_rows(store, "declared", [3, 1])
    assert version_of(store, "helped").fidelity == "claimed"
    version = version_of(store, "helped")
    contexts = store.query(
        "SELECT input_name FROM row_map WHERE dataset_version_id = ? AND role = 'context'",
        [version.id],
    ).to_pylist()
    assert contexts == [{"input_name": "silent"}]
    event = result.asset_materializations_for_node("helped")[0]
    assert event.metadata["dagster/row_count"].value == N


def test_declared_rows_may_be_context_too(folder):
    @dg.asset(metadata={"traceprop/row_wise": "people", "traceprop/context": ["people"]})
    def shares(people: pl.DataFrame) -> pl.DataFrame:
        return people.select(share=pl.col.age / pl.col.age.sum())

    _, store = run(folder, [shares])
    assert has_rows(store, "shares", range(N))
    contexts = trace_back(store, version_of(store, "shares").id, [0]).contexts
    assert [context.n_members for context in contexts] == [N]


def test_rows_of_training_runs_and_predictions_can_be_declared(folder):
    @dg.asset(metadata={"traceprop/row_wise": "people"})
    def model(people: pl.DataFrame) -> TrainingRun:
        frame = people.to_pandas()
        return train_linear(frame, features=["age"], label="id", l2=1.0, name="model")

    @dg.asset(metadata={"traceprop/row_wise": "people"})
    def predicted(model: TrainingRun, people: pl.DataFrame) -> Predictions:
        return model.predict(people.to_pandas())

    _, store = run(folder, [model, predicted])
    for name in ("model", "predicted"):
        assert version_of(store, name).fidelity == "claimed"
        assert has_rows(store, name, range(N))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"traceprop/row_wise": "people"}, "Column 'id' contradicts the row map"),
        ({"traceprop/row_wise": "nobody"}, "No input 'nobody' is loaded"),
        ({"traceprop/context": "nobody"}, "No input 'nobody' is loaded"),
        ({"traceprop/row_wise": 3}, "'traceprop/row_wise' names no input: 3"),
    ],
)
def test_a_false_declaration_fails_the_asset(folder, metadata, message):
    @dg.asset(metadata=metadata)
    def reversed_people(people: pl.DataFrame) -> pl.DataFrame:
        return people.reverse()

    result, _ = run(folder, [reversed_people], raise_on_error=False)
    assert message in failure_of(result)


def test_rows_of_a_value_without_rows_cannot_be_declared(folder):
    @dg.asset(metadata={"traceprop/row_wise": "people"})
    def total(people: pd.DataFrame) -> np.ndarray:
        return np.array(people["age"].sum())

    result, _ = run(folder, [total], raise_on_error=False)
    assert "Rows are declared of a value that has none" in failure_of(result)


def test_an_array_that_no_table_holds_is_refused(folder):
    @dg.asset
    def odd(people: pd.DataFrame) -> np.ndarray:
        return np.array([1 + 2j])

    result, _ = run(folder, [odd], raise_on_error=False)
    assert "An array of complex128 has no columns" in failure_of(result)


def test_estimators_of_an_asset_keep_rows_and_name_what_they_were_fitted_on(folder):
    preprocessing = pytest.importorskip("sklearn.preprocessing")

    @dg.asset
    def scaled(people: pd.DataFrame) -> pd.DataFrame:
        scaler = preprocessing.StandardScaler().set_output(transform="pandas")
        return scaler.fit(people[["age"]].head(30)).transform(people[["age"]].tail(10))

    before = vars(preprocessing.StandardScaler)["fit"]
    _, store = run(folder, [scaled])
    assert vars(preprocessing.StandardScaler)["fit"] is before
    version = version_of(store, "scaled")
    assert version.fidelity == "exact"
    assert has_rows(store, "scaled", range(30, 40))
    contexts = trace_back(store, version.id, [0]).contexts
    assert [(c.statistic, c.n_members) for c in contexts] == [("StandardScaler.fit", 30)]
