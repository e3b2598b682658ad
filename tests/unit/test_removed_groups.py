"""A prediction without a group of rows: estimated, and held against models trained without it."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from tests.recorded_store import FEATURES, N_TRAIN, record_pipeline, train
from traceprop_engine.attribution import InfluenceFunction
from traceprop_engine.cli import main
from traceprop_engine.errors import (
    EstimatorSettingError,
    NotBehindModelError,
    RemovalChoiceError,
    SourceRowError,
    TrainingRowError,
)
from traceprop_engine.explanation import load_predictions, what_if_removed


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return record_pipeline(tmp_path_factory.mktemp("removed"))


def trained_without(recorded, people):
    """Return the logit of prediction 3 by a model trained from nothing without some people."""
    table = recorded.frame
    gone = [person for person in people if person < N_TRAIN]
    refit = train(table.iloc[:N_TRAIN].drop(index=gone))
    return refit.outputs(table.loc[[N_TRAIN + 3], FEATURES].to_numpy())[0, 0]


def stepped_by_hand(recorded, gone):
    """Return the logit after one Newton step of the logistic objective without some people."""
    rows = recorded.frame.iloc[:N_TRAIN]
    parameters = train(rows).parameters[0]
    left = rows.drop(index=gone)
    x = np.column_stack([left[FEATURES].to_numpy(), np.ones(len(left))])
    p = 1 / (1 + np.exp(-x @ parameters))
    penalty = np.diag([1.0] * len(FEATURES) + [0.0])
    gradient = x.T @ (p - left["y"].to_numpy()) + penalty @ parameters
    hessian = (x.T * (p * (1 - p))) @ x + penalty
    query = [*recorded.frame.loc[N_TRAIN + 3, FEATURES], 1.0]
    return float(np.array(query) @ (parameters - np.linalg.solve(hessian, gradient)))


ways = pytest.mark.parametrize(
    ("choice", "people"),
    [
        ({"training_rows": [1, 5, 5, 9]}, [1, 5, 9]),
        ({"source": "people", "where": "id between 3 and 8"}, range(3, 9)),
        ({"source": "people.csv", "source_rows": [7, 50]}, [7]),
        ({"source": "visits", "where": "id = 12"}, [12]),
        ({"source": "areas", "where": "id >= 40"}, range(40, 60)),
    ],
)


@ways
def test_a_verified_removal_is_a_training_without_the_people(recorded, choice, people):
    effect = what_if_removed(recorded.store, row=3, **choice)
    gone = [person for person in people if person < N_TRAIN]
    assert list(effect.training_rows) == gone
    assert effect.before == pytest.approx(trained_without(recorded, []), abs=1e-8)
    after = trained_without(recorded, gone)
    assert effect.before + effect.found_change == pytest.approx(after, abs=1e-8)
    predictions = load_predictions(recorded.store)
    summed = -predictions.scores(3).scores[0, gone].sum()
    assert effect.predicted_change == pytest.approx(summed)
    assert effect.newton_change == pytest.approx(stepped_by_hand(recorded, gone) - effect.before)
    assert effect.unknown == ()


def test_more_newton_steps_come_closer(recorded):
    half = list(range(0, N_TRAIN, 2))
    offs = [
        abs(effect.newton_change - effect.found_change)
        for n_steps in (1, 2, 4)
        for effect in [what_if_removed(recorded.store, row=3, training_rows=half,
                                       newton_steps=n_steps)]
    ]  # fmt: skip
    assert offs[0] > 3 * offs[1] > 9 * offs[2]
    assert offs[2] < 1e-6


def test_no_step_is_refused(recorded):
    fitted = InfluenceFunction.fit(load_predictions(recorded.store).model.convex)
    with pytest.raises(EstimatorSettingError, match="n_steps"):
        fitted.predict_removal([1], n_steps=0)


def test_without_verification_nothing_is_refitted(recorded):
    effect = what_if_removed(recorded.store, row=3, training_rows=[1], verify=False)
    assert (effect.found_change, effect.gradient_norm, effect.n_models) == (None, None, 0)
    assert effect.newton_change is not None


def test_statistics_of_the_removed_rows_are_named(recorded):
    by_people = what_if_removed(recorded.store, row=3, source="people", where="id = 2")
    assert any("Series.mean of age" in sentence for sentence in by_people.statistics)
    by_visits = what_if_removed(recorded.store, row=3, source="visits", where="id = 2")
    assert by_visits.statistics == ()
    assert by_people.training_rows == by_visits.training_rows


@pytest.mark.parametrize(
    ("choice", "error", "words"),
    [
        ({}, RemovalChoiceError, "two ways"),
        ({"training_rows": [1], "source": "people"}, RemovalChoiceError, "two ways"),
        ({"training_rows": [1], "where": "id = 1"}, RemovalChoiceError, "of a source"),
        (
            {"source": "people", "where": "id = 1", "source_rows": [1]},
            RemovalChoiceError,
            "one of them",
        ),
        ({"source": "persons"}, NotBehindModelError, "'areas', 'people', 'visits'"),
        ({"source": "people", "where": "id = 50"}, NotBehindModelError, "id = 50"),
        ({"source": "people", "source_rows": [60]}, SourceRowError, "no record 60"),
        ({"source": "people"}, TrainingRowError, "all of its rows"),
        ({"training_rows": []}, TrainingRowError, "none is named"),
        ({"training_rows": [N_TRAIN]}, TrainingRowError, f"row {N_TRAIN} does not exist"),
        ({"training_rows": [0.5]}, TrainingRowError, "float64"),
    ],
)
def test_what_cannot_be_removed_is_refused(recorded, choice, error, words):
    with pytest.raises(error, match=words):
        what_if_removed(recorded.store, row=3, **choice)


def run(recorded, *args):
    env = {"TRACEPROP_STORE": recorded.directory, "COLUMNS": "100"}
    return CliRunner().invoke(main, ["what-if", *map(str, args)], env=env)


def test_the_command_answers_as_the_function_does(recorded):
    said = run(
        recorded, "--where", "id = 48", "--remove-source", "people", "--remove-where", "id < 4",
        "--json",
    )  # fmt: skip
    found = json.loads(said.stdout)
    effect = what_if_removed(recorded.store, row=3, source="people", where="id < 4")
    for name in ("before", "predicted_change", "newton_change", "found_change"):
        assert found[name] == pytest.approx(getattr(effect, name))
    assert found["training_rows"] == [0, 1, 2, 3]
    assert found["prediction"]["row"] == 3
    assert found["training_run_id"] == recorded.run


def test_the_text_shows_estimates_beside_what_was_found(recorded):
    text = run(recorded, "--row", 3, "--remove-rows", "1,4-6", "--newton-steps", 2).stdout
    assert "4 training rows of 45 removed: 1, 4-6" in text
    for words in ("sum of the scores", "estimated: 2 Newton steps", "found: refitted", "%"):
        assert words in text
    assert max(map(len, text.splitlines())) <= 100
    unverified = run(recorded, "--row", 3, "--remove-rows", 1, "--no-verify").stdout
    assert "Not verified" in unverified
    assert "refitted" not in unverified


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--remove-rows", 1], "with --row or with --where"),
        (["--row", 3], "with --remove-rows or --remove-source"),
        (["--row", 3, "--remove-rows", 1, "--remove-where", "id = 1"], "rows of --remove-source"),
        (["--row", 3, "--remove-rows", "1,x"], "'x' is no row number"),
        (["--row", 3, "--remove-rows", "5-3"], "goes backwards"),
        (["--row", 3, "--remove-rows", "0-999999999"], "does not exist"),  # nobody lists them first
        (["--row", 3, "--remove-rows", "1,999999999"], "row 999999999 does not exist"),
        (["--row", 3, "--remove-source", "people"], "all of its rows"),
        (["--row", 3, "--remove-source", "people", "--remove-where", "id = -1"], "id = -1"),
        (["--row", 99, "--remove-rows", 1], "has no row 99"),
    ],
)
def test_the_command_refuses_in_one_line(recorded, args, words):
    result = run(recorded, *args)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert words in line


def test_a_question_writes_nothing(recorded):
    before = recorded.store.info()
    assert np.isfinite(what_if_removed(recorded.store, row=3, training_rows=[1]).before)
    assert recorded.store.info() == before
