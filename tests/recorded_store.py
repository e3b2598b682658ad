"""A small pipeline, recorded by hand, whose every relation follows from the column ``id``.

people.csv (one record a person, some over two lines), visits.csv (some a person) and areas.parquet
(one a person, in reverse order) become visit_features and training_table, a model of the first
people, and predictions for the others. Two datasets are awkward on purpose: ``mystery``, whose row
map is unknown, and ``reports/monthly``, which has partitions.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from traceprop_engine.explanation import (
    explain,
    load_predictions,
    record_counterfactual,
    record_explanation,
    removal_effect,
)
from traceprop_engine.lineage.captured import CapturedLineage, ContextDependency, Op
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.recording import (
    InputRef,
    Materialization,
    load_training_run,
    record_dataset,
    record_predictions,
    record_source,
    record_training_run,
)
from traceprop_engine.sources import read_source
from traceprop_engine.store import Store
from traceprop_engine.training import train_logistic

N_PEOPLE = 60
N_TRAIN = 45
HOSTILE = "<script>alert('x')</script>"
ESCAPE = "\x1b[31mred"
FEATURES = ["age", "cost", "area"]


@dataclass(frozen=True)
class RecordedStore:
    """What the tests need to know of it."""

    folder: Path
    store: Store
    people: str
    visits: str
    areas: str
    visit_features: str
    older_table: str
    table: str
    model: str
    run: str
    predictions: str
    query: str
    frame: pd.DataFrame

    @property
    def directory(self) -> str:
        return str(self.store.directory)


def lines_of(path: Path, person: int) -> dict[int, str]:
    """Return the records of a person in a CSV file by line number, found without the package."""
    found: dict[int, str] = {}
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines[1:], start=2):
        if line.split(",")[0] == str(person):
            open_quote = line.count('"') % 2 == 1
            found[number] = f"{line}\n{lines[number]}" if open_quote else line
    return found


def write_files(folder: Path) -> dict[str, pd.DataFrame]:
    """Write the three source files and return what stands in them."""
    rng = np.random.default_rng(11)
    notes = ["moved, twice\n(see file)", HOSTILE, ESCAPE, "", "plain", "Zürich 東京"]
    people = pd.DataFrame(
        {
            "id": np.arange(N_PEOPLE),
            "age": rng.normal(50, 9, N_PEOPLE).round(1),
            "note": [notes[i % len(notes)] for i in range(N_PEOPLE)],
        }
    )
    visits = pd.DataFrame({"id": np.repeat(np.arange(N_PEOPLE), rng.integers(1, 20, N_PEOPLE))})
    visits["cost"] = rng.normal(size=len(visits)).round(3)
    visits = visits.sample(frac=1.0, random_state=1).reset_index(drop=True)
    areas = pd.DataFrame({"id": np.arange(N_PEOPLE)[::-1], "area": rng.normal(size=N_PEOPLE)})
    people.to_csv(folder / "people.csv", index=False)
    visits.to_csv(folder / "visits.csv", index=False)
    areas.to_parquet(folder / "areas.parquet", index=False)
    return {"people": people, "visits": visits, "areas": areas}


def record_pipeline(folder: Path) -> RecordedStore:
    """Record the pipeline in ``folder`` and return its identifiers."""
    frames = write_files(folder)
    store = Store.create(folder / "store")
    sources = {}
    for file in ("people.csv", "visits.csv", "areas.parquet"):
        version, _ = read_source(folder / file)
        sources[version.name] = record_source(store, version)
    features = frames["visits"].groupby("id", as_index=False)["cost"].mean()
    by_person = RowMap.groups(frames["visits"]["id"].to_numpy(), N_PEOPLE)
    n_visits = len(frames["visits"])
    features_id = record_dataset(
        store,
        Materialization("visit_features", {"visits": sources["visits"]}, run_id="run-1"),
        features,
        CapturedLineage(
            N_PEOPLE,
            {"visits": by_person},
            ops=(Op("DataFrameGroupBy.mean", "by='id'", ("visits",), (n_visits,), N_PEOPLE),),
        ),
    )
    table = _training_table(frames, features)
    inputs = {
        "people": sources["people"],
        "areas": sources["areas"],
        "visit_features": InputRef("dataset", features_id),
    }
    older, newest = (
        record_dataset(
            store, Materialization("training_table", inputs, run_id=run), table, _table_lineage()
        )
        for run in ("run-1", "run-2")
    )
    model_id, run_id = _record_model(store, table, newest)
    predictions = _record_predictions(store, table, newest, run_id)
    _record_awkward(store, sources["people"], table)
    query = _record_answer(store)
    ids = (sources[name].id for name in ("people", "visits", "areas"))
    return RecordedStore(
        folder, store, *ids, features_id, older, newest, model_id, run_id, predictions, query, table
    )


def _training_table(frames: dict[str, pd.DataFrame], features: pd.DataFrame) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    table = frames["people"].merge(frames["areas"], on="id").merge(features, on="id")
    noise = rng.normal(0, 9, N_PEOPLE)
    table["y"] = (table["age"] + 9 * table["cost"] + 5 * table["area"] + noise > 50).astype(int)
    table["age"] = (table["age"] - table["age"].mean()) / table["age"].std()
    return table


def _table_lineage() -> CapturedLineage:
    everybody = RowMap.groups(np.zeros(N_PEOPLE, dtype=int), 1)
    return CapturedLineage(
        N_PEOPLE,
        {
            "people": RowMap.identity(N_PEOPLE),
            "areas": RowMap.gather(np.arange(N_PEOPLE)[::-1], N_PEOPLE),
            "visit_features": RowMap.identity(N_PEOPLE),
        },
        contexts=(ContextDependency("people", "Series.mean", "age", everybody),),
        ops=(
            Op("DataFrame.merge", "on='id'", ("people", "areas"), (N_PEOPLE, N_PEOPLE), N_PEOPLE),
            Op(
                "DataFrame.merge",
                "on='id', how='inner'",
                ("people", "areas", "visit_features"),
                (N_PEOPLE, N_PEOPLE),
                N_PEOPLE,
            ),
        ),
    )


def train(table: pd.DataFrame):
    """Train the model on rows of the training table."""
    return train_logistic(table, features=FEATURES, label="y", l2=1.0, name="risk")


def _record_model(store: Store, table: pd.DataFrame, table_id: str) -> tuple[str, str]:
    made = Materialization("risk_model", {"training_table": InputRef("dataset", table_id)}, "run-2")
    rows = CapturedLineage(N_TRAIN, {"training_table": RowMap.range(0, 1, N_TRAIN, N_PEOPLE)})
    return record_training_run(store, made, train(table.iloc[:N_TRAIN]), rows)


def _record_predictions(store: Store, table: pd.DataFrame, table_id: str, run_id: str) -> str:
    model = load_training_run(store, run_id)
    inputs = {
        "training_table": InputRef("dataset", table_id),
        "risk_model": InputRef("dataset", model.dataset_version_id),
    }
    n_rows = N_PEOPLE - N_TRAIN
    rows = RowMap.range(N_TRAIN, 1, n_rows, N_PEOPLE)
    predictions = model.run.predict(table.iloc[N_TRAIN:], label="y", keep=["id"])
    lineage = CapturedLineage(n_rows, {"training_table": rows})
    made = Materialization("predictions", inputs, "run-2")
    return record_predictions(store, made, predictions, lineage, model)


def _record_awkward(store: Store, people: InputRef, table: pd.DataFrame) -> None:
    unknown = CapturedLineage(
        5,
        {"people": RowMap.unknown(5, N_PEOPLE)},
        fidelity="unknown",
        reason="DataFrame.values left pandas",
    )
    made = Materialization("mystery", {"people": people}, "run-2")
    record_dataset(store, made, table.head(5), unknown)
    for month, first in (("2024-01", 0), ("2024-02", 3)):
        rows = CapturedLineage(3, {"people": RowMap.range(first, 1, 3, N_PEOPLE)})
        made = Materialization("reports/monthly", {"people": people}, "run-2", partition_key=month)
        record_dataset(store, made, table.iloc[first : first + 3], rows)


def _record_answer(store: Store) -> str:
    explanation = explain(store, row=4)
    effect = removal_effect(load_predictions(store), 4, [explanation.rows[0].training_row])
    record_counterfactual(store, explanation, effect)
    return record_explanation(store, explanation)
