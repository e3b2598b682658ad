"""One pipeline through SQL, pandas, scikit-learn, NumPy, PyTorch and JAX, from lines to batches.

Every file numbers its own records in a column that passes through all of it, so a training row says
itself which records it holds; the laboratory values behind it are found again by a plain loop.
"""

import csv
import random

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader

import traceprop_engine as tp

pytestmark = pytest.mark.oracle

N_PATIENTS, N_VISITS, N_LABS = 60, 240, 900
NAMES = ("visits", "patients", "labs")
KEYS = ["visit_key", "patient_key"]
MEASURES = ["age", "dose", "lab"]
LAB_LIMIT = 80.0


def write_csv(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("hospital"), random.Random(3)  # noqa: S311
    patients = [[key, 1000 + key, rng.randint(20, 90)] for key in range(N_PATIENTS)]
    rng.shuffle(patients)
    patients = [[key, row[1], row[2]] for key, row in enumerate(patients)]
    some = [row[1] for row in patients]
    visits = [
        [key, rng.choice(some), rng.choice(["", rng.randint(1, 9)]), rng.choice("ab")]
        for key in range(N_VISITS)
    ]
    labs = [[key, rng.choice(some), round(rng.uniform(0, 100), 2)] for key in range(N_LABS)]
    write_csv(folder / "patients.csv", ["patient_key", "patient", "age"], patients)
    write_csv(folder / "visits.csv", ["visit_key", "patient", "dose", "site"], visits)
    write_csv(folder / "labs.csv", ["lab_key", "patient", "value"], labs)
    return folder


def joined_in_sql(inputs):
    return tp.sql(
        f"""
        with means as (
            select patient, avg(value) as lab from labs where value < {LAB_LIMIT} group by patient
        )
        select visit_key, patient_key, patients.patient, age, dose, site, lab
        from visits join patients using (patient) left join means using (patient)
        where age >= 30
        """,
        **inputs,
    )


def shaped_in_pandas(table):
    table = table[table["site"] == "a"].sort_values(["age", "visit_key"], ascending=[False, True])
    return pd.concat([table.iloc[::2], table.iloc[1::4]], ignore_index=True)


def scaled_in_sklearn(table):
    train, _ = train_test_split(table, test_size=0.25, random_state=5)
    measures = make_pipeline(SimpleImputer(), StandardScaler())
    columns = ColumnTransformer([("measures", measures, MEASURES), ("keys", "passthrough", KEYS)])
    columns.set_output(transform="pandas")
    return columns.fit_transform(train)


def filtered_in_numpy(frame):
    x = tp.array(frame)
    x = x[x[:, 0] > -1.5]
    order = np.argsort(x[:, 1], kind="stable")
    return np.concatenate([x[order][:20], x[order][-20:][::-1]])


def batches_in_torch(x):
    tensor = tp.from_torch(x)
    doubled = torch.cat([tensor, tensor.flip(0)])
    generator = torch.Generator().manual_seed(1)
    loader = DataLoader(tp.track_dataset(doubled), batch_size=16, shuffle=True, generator=generator)
    for step, (batch,) in tp.follow(loader):
        if step.step == 1:
            return step.track(batch)
    return None


def features_in_jax(batch):
    @jax.jit
    def best(rows):
        rows = rows.sort_by(rows.x[:, 2])
        return tp.tracked_vmap(lambda row: jnp.concatenate([row[:3] * 2, row[3:]]))(rows[3:])

    return best(tp.from_jax(batch))


def to_a_batch(inputs):
    table = shaped_in_pandas(joined_in_sql(inputs))
    return batches_in_torch(filtered_in_numpy(scaled_in_sklearn(table)))


@pytest.fixture(scope="module")
def traced(files):
    with tp.CaptureSession() as session, tp.EstimatorFollowing():
        inputs = {name: tp.load_source(session, files / f"{name}.csv") for name in NAMES}
        batch = to_a_batch(inputs)
        result = features_in_jax(batch)
        lineage = session.lineage(result)
        return np.asarray(result.x), tp.provenance(result), lineage, session.lineage(batch).ops


def test_every_training_row_traces_to_its_records_in_all_three_files(files, traced):
    values, view, *_ = traced
    labs, patients = (pd.read_csv(files / f"{name}.csv") for name in ("labs", "patients"))
    assert len(values) == 13
    for row, (visit_key, patient_key) in enumerate(values[:, 3:].astype(int)):
        patient = patients.patient[patient_key]
        lab_keys = [
            key
            for key, owner, value in labs.itertuples(index=False)
            if owner == patient and value < LAB_LIMIT
        ]
        found = {name: rows.tolist() for name, rows in view.rows(row).items()}
        assert found == {"visits": [visit_key], "patients": [patient_key], "labs": lab_keys}


def test_the_trace_of_a_training_row_shows_the_very_lines(files, traced):
    values, view, *_ = traced
    lines = (files / "visits.csv").read_text().splitlines()
    visit_key = int(values[0, 3])
    (visits,) = [source for source in view.trace(0).sources if source.source == "visits"]
    (record,) = visits.records
    assert (record.line_number, record.text) == (visit_key + 2, lines[visit_key + 1])


def test_what_the_pipeline_computes_is_what_it_computes_untracked(files, traced):
    plain = {name: pd.read_csv(files / f"{name}.csv") for name in NAMES}
    np.testing.assert_array_equal(np.asarray(features_in_jax(to_a_batch(plain)).x), traced[0])


def test_the_rows_are_exact_and_each_library_has_its_operations(traced):
    _, _, lineage, ops = traced
    assert (lineage.fidelity, lineage.coverage()) == ("exact", 1.0)
    names = "sql DataFrame.__getitem__ DataFrame.sort_values pandas.concat DataFrame.take"
    names += " ColumnTransformer.fit_transform ndarray.__getitem__ ndarray.__getitem__"
    names += " ndarray.__getitem__ np.concat torch.flip torch.cat torch.dataset"
    assert [op.name for op in ops] == names.split()


def test_the_rows_that_the_scaler_was_fitted_on_are_those_of_the_training_split(files, traced):
    _, _, lineage, _ = traced
    plain = {name: pd.read_csv(files / f"{name}.csv") for name in NAMES}
    table = shaped_in_pandas(joined_in_sql(plain))
    train, _ = train_test_split(table, test_size=0.25, random_state=5)
    (fitted,) = [
        context
        for context in lineage.contexts
        if context.statistic == "ColumnTransformer.fit" and context.input == "visits"
    ]
    assert fitted.members.backward([0]).tolist() == sorted(train.visit_key)
