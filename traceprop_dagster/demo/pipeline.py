"""The demo's preprocessing: plain pandas, as anybody would write it.

What the label uses: ``y`` is 1 for a patient with a cardiovascular diagnosis, or who died, in the
five years after the index date. Patients who left the study within five years without either are
left out, because their outcome is not known; leaving them out looks at the future and raises the
share of patients with ``y = 1`` above that of the population. Earlier cardiovascular diagnoses do
not exclude a patient. The features use nothing after the index date (day 0).

Sets of columns are fixed, so that no patient's presence changes the columns of another. One
patient's rows reach another patient's only through the median, mean and standard deviation of the
train split.
"""

import numpy as np
import pandas as pd

from traceprop_dagster.errors import UnknownCodeError
from traceprop_engine.errors import UnknownColumnError

FIVE_YEARS = 5 * 365
CARDIOVASCULAR = ("MI", "afib", "ang/isc", "cardiac arrest", "heart failure", "stroke")
EVENTS = (*CARDIOVASCULAR, "diabetes", "dyslipidemia", "htn", "nafld")
LAB_TESTS = ("chol", "dbp", "fib4", "hdl", "sbp", "smoke")
LAB_STATISTICS = ("mean", "last", "count")
BODY = ("weight", "height", "bmi")
PATIENT_COLUMNS = ("id", "age", "male", *BODY, "futime", "status")
LAB_COLUMNS = ("id", "days", "test", "value")
EVENT_COLUMNS = ("id", "days", "event")
BMI_EDGES = (0.0, 18.5, 25.0, 30.0, np.inf)
BMI_CLASSES = ("underweight", "normal", "overweight", "obese")
TRAIN_SHARE = 0.7
_NOT_FEATURES = ("id", "split", "y")
_HASH_MULTIPLIER = 2_654_435_761
_HASH_RANGE = 2**32


def cohort(patients: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
    """Return the patients whose outcome in the five years after day 0 is known, with ``y``."""
    _check_columns(patients, PATIENT_COLUMNS)
    _check_columns(events, EVENT_COLUMNS)
    _check_codes("event", events["event"], EVENTS)
    happened = (events["days"] > 0) & (events["days"] <= FIVE_YEARS)
    outcomes = events[happened & events["event"].isin(CARDIOVASCULAR)]
    counts = outcomes.groupby("id", as_index=False).agg(n_outcomes=("event", "size"))
    joined = patients.merge(counts, on="id", how="left")
    died = (joined["status"] == 1) & (joined["futime"] <= FIVE_YEARS)
    joined["y"] = (joined["n_outcomes"].notna() | died).astype("int64")
    known = joined[(joined["futime"] >= FIVE_YEARS) | (joined["y"] == 1)]
    return known[["id", "age", "male", *BODY, "y"]].reset_index(drop=True)


def lab_features(labs: pd.DataFrame) -> pd.DataFrame:
    """Return mean, last value and count of each test in the five years up to day 0.

    Rows that stand in the file twice count once. Of values on one day, the later row is the last.
    """
    _check_columns(labs, LAB_COLUMNS)
    _check_codes("test", labs["test"], LAB_TESTS)
    recent = labs[(labs["days"] <= 0) & (labs["days"] > -FIVE_YEARS)]
    ordered = recent.drop_duplicates().sort_values(["id", "days"], kind="stable")
    wide = ordered.pivot_table(
        index="id",
        columns="test",
        values="value",
        # pyrefly: ignore [bad-argument-type] (the stubs of pandas leave "last" out)
        aggfunc=list(LAB_STATISTICS),
    )
    wide.columns = [f"{test}_{statistic}" for statistic, test in wide.columns]
    names = [f"{test}_{statistic}" for test in LAB_TESTS for statistic in LAB_STATISTICS]
    return wide.reindex(columns=names).reset_index()


def history_features(events: pd.DataFrame) -> pd.DataFrame:
    """Return which diagnoses each patient had up to day 0, as 0 or 1."""
    _check_columns(events, EVENT_COLUMNS)
    _check_codes("event", events["event"], EVENTS)
    before = events[events["days"] <= 0].assign(present=1)
    wide = before.pivot_table(
        index="id", columns="event", values="present", aggfunc="max", fill_value=0
    )
    wide = wide.reindex(columns=list(EVENTS), fill_value=0).add_prefix("hx_")
    return wide.reset_index().rename_axis(columns=None)


def joined_table(
    cohort: pd.DataFrame, lab_features: pd.DataFrame, history_features: pd.DataFrame
) -> pd.DataFrame:
    """Return one row for each patient of the cohort; missing values are still missing."""
    table = cohort.merge(lab_features, on="id", how="left", validate="one_to_one")
    table = table.merge(history_features, on="id", how="left", validate="one_to_one")
    counted = [name for name in table.columns if name.endswith("_count") or name.startswith("hx_")]
    table[counted] = table[counted].fillna(0).astype("float64")
    classes = pd.cut(table["bmi"], BMI_EDGES, labels=list(BMI_CLASSES), right=False)
    one_hot = pd.get_dummies(classes, prefix="bmi", dtype="float64")
    table = pd.concat([table, one_hot], axis=1)
    for name in [*BODY, *(f"{test}_mean" for test in LAB_TESTS)]:
        table[f"{name}_missing"] = table[name].isna().astype("float64")
    draw = table["id"] * _HASH_MULTIPLIER % _HASH_RANGE / _HASH_RANGE
    table["split"] = (draw < TRAIN_SHARE).map({True: "train", False: "test"})
    return table


def training_table(
    cohort: pd.DataFrame, lab_features: pd.DataFrame, history_features: pd.DataFrame
) -> pd.DataFrame:
    """Return one row for each patient, imputed and scaled with statistics of the train split.

    The split is drawn from the patient's ``id``, so that it never changes with the other patients.
    """
    table = joined_table(cohort, lab_features, history_features)
    features = feature_columns(table)
    train = table[table["split"] == "train"]
    table[features] = table[features].fillna(train[features].median())
    train = table[table["split"] == "train"]
    scale = train[features].std().replace(0.0, 1.0)
    table[features] = (table[features] - train[features].mean()) / scale
    return table[["id", "split", "y", *features]]


def feature_columns(table: pd.DataFrame) -> list[str]:
    """Return the columns of a training table that a model may use, in order."""
    return [str(name) for name in table.columns if name not in _NOT_FEATURES]


def split(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows to train on, and the rows to test on."""
    return table[table["split"] == "train"], table[table["split"] == "test"]


def _check_columns(table: pd.DataFrame, names: tuple[str, ...]) -> None:
    for name in names:
        if name not in table.columns:
            raise UnknownColumnError(name, [str(each) for each in table.columns])


def _check_codes(column: str, values: pd.Series, known: tuple[str, ...]) -> None:
    unknown = values[~values.isin(known)]
    if len(unknown):
        raise UnknownCodeError(column, sorted({str(each) for each in unknown}), known)
