"""What a scaler of an asset was fitted to stands in the store, and is that of the rows it names."""

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from traceprop_dagster import TracepropIOManager, TracepropStore, source_file_assets
from traceprop_engine.recording import find_dataset_version, load_fitted, load_frame
from traceprop_engine.tracing import trace_back

preprocessing = pytest.importorskip("sklearn.preprocessing")
pytestmark = pytest.mark.e2e
N = 60


@pytest.fixture
def people():
    rng = np.random.default_rng(8)
    ages, areas = rng.normal(50, 9, N).round(2), rng.choice(["north", "south", "west"], N)
    return pd.DataFrame({"id": np.arange(N), "age": ages, "area": areas})


@dg.asset
def adults(people: pd.DataFrame) -> pd.DataFrame:
    return people[people["age"] > 48].sort_values("age")


@dg.asset
def scaled(adults: pd.DataFrame) -> pd.DataFrame:
    scaler = preprocessing.StandardScaler().set_output(transform="pandas")
    train = adults.iloc[::2]
    return scaler.fit(train[["age"]]).transform(adults[["age"]])


@dg.asset
def coded(people: pd.DataFrame) -> pd.DataFrame:
    coder = preprocessing.OneHotEncoder(sparse_output=False).set_output(transform="pandas")
    return coder.fit(people[["area"]].iloc[:20]).transform(people[["area"]].iloc[:20])


@pytest.fixture
def store(people, tmp_path):
    people.to_csv(tmp_path / "people.csv", index=False)
    store = TracepropStore(path=str(tmp_path / "store"))
    dg.materialize(
        [*source_file_assets({"people": tmp_path / "people.csv"}), adults, scaled, coded],
        resources={"store": store, "io_manager": TracepropIOManager(store=store)},
        instance=dg.DagsterInstance.ephemeral(),
        selection=dg.AssetSelection.assets(adults, scaled, coded),
    )
    return store.open()


def test_the_mean_in_the_store_is_that_of_the_rows_of_the_context(store, people):
    (found,) = load_fitted(store, find_dataset_version(store, "scaled").id)
    upstream = find_dataset_version(store, "adults")
    assert (found.statistic, found.input_id) == ("StandardScaler.fit", upstream.id)
    ages = load_frame(store, upstream)["age"].to_numpy()[found.members]
    assert 1 < len(ages) < upstream.n_rows
    fitted = found.value["fitted"]
    assert fitted["mean_"] == pytest.approx([ages.mean()], rel=1e-12)
    assert fitted["var_"] == pytest.approx([ages.var()], rel=1e-12)
    assert fitted["n_samples_seen_"] == len(ages)
    (source,) = trace_back(store, upstream.id, found.members).sources  # and of the file's rows
    assert fitted["mean_"] == pytest.approx([people["age"].to_numpy()[source.rows].mean()])


def test_the_categories_in_the_store_are_those_of_the_rows_of_the_context(store, people):
    (found,) = load_fitted(store, find_dataset_version(store, "coded").id)
    assert found.members.tolist() == list(range(20))
    assert found.value["fitted"]["categories_"] == [sorted(set(people["area"].iloc[:20]))]
