"""Capture follows the demo's preprocessing: its row maps against deleting a patient's rows."""

import pandas as pd
import pytest

from traceprop_dagster.demo import pipeline
from traceprop_dagster.demo.data import generated_hospital
from traceprop_engine.lineage import CaptureSession

STEPS = {
    "cohort": (pipeline.cohort, ("patients", "events")),
    "lab_features": (pipeline.lab_features, ("labs",)),
    "history_features": (pipeline.history_features, ("events",)),
    "joined_table": (pipeline.joined_table, ("cohort", "lab_features", "history_features")),
}


@pytest.fixture(scope="module")
def hospital():
    return generated_hospital()


def run(files, names=STEPS):
    """Every table that the steps make, without capture."""
    frames = dict(files)
    for name in names:
        build, inputs = STEPS[name]
        frames[name] = build(*(frames[each] for each in inputs))
    return frames


@pytest.fixture(scope="module")
def captured(hospital):
    """Every table with capture, and its row map to each file, composed through the steps."""
    frames, maps = dict(hospital), {}
    for name, (build, inputs) in STEPS.items():
        with CaptureSession() as session:
            result = build(*(session.load(frames[each], each) for each in inputs))
            frames[name], lineage = session.finish(result)
        assert lineage.fidelity == "exact", (name, lineage.reason)
        composed = {}
        for each in inputs:
            for file, to_file in maps.get(each, {each: None}).items():
                step = lineage.maps[each]
                path = step if to_file is None else step.compose(to_file)
                composed[file] = composed[file].union(path) if file in composed else path
        maps[name] = composed
    return frames, maps


def test_capture_changes_no_table(hospital, captured):
    frames, _ = captured
    for name, frame in run(hospital).items():
        pd.testing.assert_frame_equal(frames[name], frame)


def test_every_row_of_the_table_has_a_patient_and_the_features_their_rows(hospital, captured):
    frames, maps = captured
    table = frames["joined_table"]
    assert set(maps["joined_table"]) == set(hospital)
    for row in range(0, len(table), 9):
        patient = table["id"].iloc[row]
        found = {f: m.backward([row]) for f, m in maps["joined_table"].items()}
        assert list(hospital["patients"]["id"].iloc[found["patients"]]) == [patient]
        for file in ("labs", "events"):
            assert set(hospital[file]["id"].iloc[found[file]]) <= {patient}
        measured = table.filter(regex="_count$").iloc[row].sum()
        assert len(found["labs"]) == measured


def differing(before, after):
    """Ids of the rows that only one of two tables has, or that are not equal in both."""
    both = before.index.intersection(after.index)
    one, other = before.loc[both], after.loc[both]
    equal = (one == other) | (one.isna() & other.isna())
    return set(before.index.symmetric_difference(after.index)) | set(both[~equal.all(axis=1)])


def test_row_maps_reach_what_deleting_a_patients_rows_changes(hospital, captured):
    """Of each file apart: the rows of a table that change are those the map reaches."""
    frames, maps = captured
    tried = 0
    for file in ("labs", "events"):
        before = frames["joined_table"].set_index("id")
        for patient in hospital["patients"]["id"][::20]:
            own = hospital[file]["id"] == patient
            rest = {**hospital, file: hospital[file][~own].reset_index(drop=True)}
            after = run(rest)["joined_table"].set_index("id")
            changed = differing(before, after)
            reached = maps["joined_table"][file].forward(own.to_numpy().nonzero()[0])
            assert set(before.index[reached]) == changed, (file, patient)
            tried += bool(changed)
    assert tried >= 20
