"""Removed rows against a training from nothing on the rows that remain."""

import numpy as np
import pytest

from benchmarks.training_tables import GENERATED_FEATURES, generated_table
from traceprop_engine.attribution import InfluenceFunction, remove_rows
from traceprop_engine.errors import SeparableClassesError, SingularCurvatureError, TrainingRowError
from traceprop_engine.training import train_linear, train_logistic, train_softmax

pytestmark = pytest.mark.oracle
TABLE = generated_table(400, seed=7)
TRAINERS = {
    "linear": (train_linear, "cost"),
    "logistic": (train_logistic, "sick"),
    "softmax": (train_softmax, "grade"),
}
GROUPS = {
    "one row": [17],
    "a rare category": np.flatnonzero(TABLE["rare1"] == 1).tolist(),
    "half of the rows": list(range(0, 400, 2)),
    "nearly all": list(range(340)),
}


def _train(family, l2=0.3, table=TABLE, features=GENERATED_FEATURES):
    train, label = TRAINERS[family]
    return train(table, features=features, label=label, l2=l2, name=family)


def _step(run, rows):
    return InfluenceFunction.fit(run).predict_removal(rows)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("family", TRAINERS)
def test_removing_rows_is_training_without_them(family, group):
    rows = GROUPS[group]
    removal = remove_rows(_train(family), rows)
    again = _train(family, table=TABLE.drop(index=rows))
    np.testing.assert_allclose(removal.run.parameters, again.parameters, rtol=1e-8, atol=1e-8)
    assert removal.run.converged
    assert removal.gradient_norm == removal.run.gradient_norm
    assert removal.run.n_train == len(TABLE) - len(rows)
    assert removal.rows.tolist() == sorted(rows)
    np.testing.assert_array_equal(removal.run.index, again.index)
    assert removal.run.metrics == pytest.approx(again.metrics, rel=1e-8)


@pytest.mark.parametrize("family", TRAINERS)
def test_removing_in_two_goes_is_removing_at_once(family):
    run = _train(family)
    at_once = remove_rows(run, [3, 5, 200]).run
    first = remove_rows(run, [3, 5]).run
    second = remove_rows(first, [198]).run  # row 200 of the first table
    np.testing.assert_allclose(second.parameters, at_once.parameters, atol=1e-9)


def test_the_old_run_stays_as_it_was():
    run = _train("logistic")
    before = run.parameters.copy()
    remove_rows(run, [0, 1])
    np.testing.assert_array_equal(run.parameters, before)
    assert run.n_train == len(TABLE)


def test_a_warm_start_takes_fewer_steps_than_training_from_nothing():
    removal = remove_rows(_train("logistic"), [17])
    assert 0 < removal.n_steps < _train("logistic", table=TABLE.drop(index=17)).n_iterations


def test_repeated_rows_count_once_and_no_rows_change_nothing():
    run = _train("logistic")
    assert remove_rows(run, [4, 4]).run.n_train == run.n_train - 1
    nothing = remove_rows(run, [])
    assert nothing.n_steps == 0
    np.testing.assert_array_equal(nothing.run.parameters, run.parameters)


def test_progress_is_told_of_every_step():
    seen = []
    removal = remove_rows(_train("softmax"), range(50), progress=seen.append)
    assert [step.step for step in seen] == list(range(removal.n_steps + 1))


@pytest.mark.parametrize("remove", [remove_rows, _step])
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([400], "row 400 does not exist"),
        ([-1], "row -1 does not exist"),
        (list(range(400)), "all of its rows"),
        ([1.5], "integer positions"),
        (np.ones(400, dtype=bool), "integer positions"),
        (np.flatnonzero(TABLE["sick"] == "yes"), "all rows of class 'yes'"),
    ],
)
def test_rows_that_leave_no_model_are_refused(remove, rows, message):
    with pytest.raises(TrainingRowError, match=message):
        remove(_train("logistic"), rows)


def test_emptying_one_of_three_classes_is_refused():
    with pytest.raises(TrainingRowError, match="class 'mid'"):
        remove_rows(_train("softmax"), np.flatnonzero(TABLE["grade"] == "mid"))


def test_removing_the_rows_that_keep_an_unpenalised_model_determined_is_refused():
    features = ["x0", "x1", "rare0"]
    rare = np.flatnonzero(TABLE["rare0"] == 1)
    with pytest.raises(SingularCurvatureError, match="rare0"):
        remove_rows(_train("linear", 0.0, features=features), rare)
    with pytest.raises(TrainingRowError, match="determine no model"):
        _step(_train("linear", 0.0, features=features), rare)
    sick = rare[TABLE["sick"].to_numpy()[rare] == "yes"]
    assert 0 < len(sick) < len(rare)
    with pytest.raises(SeparableClassesError, match="sick"):
        remove_rows(_train("logistic", 0.0, features=features), sick)
