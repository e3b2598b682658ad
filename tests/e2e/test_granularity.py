"""The granularity of the IO manager: what it costs to ask for less is the rows, never a value."""

import dagster as dg
import pandas as pd
import pytest

from traceprop_dagster import TracepropIOManager, TracepropStore, source_file_assets
from traceprop_engine.errors import GranularityError
from traceprop_engine.recording import find_dataset_version, load_frame
from traceprop_engine.store import Store

pytestmark = pytest.mark.e2e


@dg.asset
def adults(people: pd.DataFrame) -> pd.DataFrame:
    """Some rows, in another order."""
    return people[people["age"] > 24].sort_values("age", ascending=False)


def materialized(folder, level):
    (folder / "people.csv").write_text("id,age\n" + "".join(f"{i},{20 + i}\n" for i in range(9)))
    resource = TracepropStore(path=str(folder / f"store {level}"))
    manager = TracepropIOManager(store=resource, granularity=level)
    sources = source_file_assets({"people": folder / "people.csv"})
    result = dg.materialize(
        [*sources, adults],
        resources={"io_manager": manager, "store": resource},
        instance=dg.DagsterInstance.ephemeral(),
        selection=dg.AssetSelection.assets(adults),
    )
    assert result.success
    store = Store.open(folder / f"store {level}")
    metadata = result.asset_materializations_for_node("adults")[0].metadata
    return load_frame(store, find_dataset_version(store, "adults")), metadata


def test_less_is_recorded_and_the_frame_is_the_same(tmp_path):
    with_rows, full = materialized(tmp_path, "ROW")
    without, less = materialized(tmp_path, "OP")
    pd.testing.assert_frame_equal(with_rows, without)
    assert full["traceprop/fidelity"].value == "exact"
    assert less["traceprop/fidelity"].value == "unknown"


def test_a_granularity_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(GranularityError, match="'CELL'"):
        materialized(tmp_path, "CELL")
