"""What quality results look like, what is kept between runs, and what is refused."""

import json
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from traceprop_engine.attribution import AttributionScores, InfluenceFunction
from traceprop_engine.errors import QualityError, RetrainingError, RetrainingFileError
from traceprop_engine.quality import (
    brittleness,
    compare,
    evaluate_lds,
    evaluate_loo,
    judge,
    retrain_subsets,
)
from traceprop_engine.retraining import RefitConvex
from traceprop_engine.retraining.output_targets import predicted_classes, target_values
from traceprop_engine.training import train_logistic


def _retrainer(directory=None, target=None, n=40):
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.normal(size=(n, 2)), columns=["a", "b"])
    table["y"] = (table["a"] + random.normal(size=n) > 0).astype(int)
    run = train_logistic(table, features=["a", "b"], label="y", l2=1.0, name="small")
    queries = random.normal(size=(5, 2))
    labels = np.array([0, 1, 1, 0, 1])
    retrainer = RefitConvex.of(run, queries, labels, target=target, directory=directory)
    scores = InfluenceFunction.fit(run).scores(queries, labels, target="margin")
    return retrainer, scores


def test_a_second_run_trains_nothing_and_a_longer_one_only_what_is_new(tmp_path):
    retrainer, _ = _retrainer(tmp_path)
    steps = []
    first = retrain_subsets(retrainer, n_subsets=20, progress=steps.append)
    assert [step.n_done for step in steps] == [10, 20]
    assert first.cpu_seconds > 0
    steps.clear()
    again = retrain_subsets(_retrainer(tmp_path)[0], n_subsets=20, progress=steps.append)
    assert steps == []
    assert again.cpu_seconds == 0
    np.testing.assert_array_equal(first.values, again.values)
    longer = retrain_subsets(retrainer, n_subsets=22, progress=steps.append)
    assert [(step.n_done, step.n_models) for step in steps] == [(22, 22)]
    np.testing.assert_array_equal(longer.values[:20], first.values)  # noqa: PD011 - no frame


def test_a_run_that_is_cut_off_goes_on_where_it_stood(tmp_path):
    retrainer, _ = _retrainer(tmp_path)

    def cut(step):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retrain_subsets(retrainer, n_subsets=40, progress=cut)
    steps = []
    retrain_subsets(retrainer, n_subsets=40, progress=steps.append)
    assert [step.n_done for step in steps] == [27, 40]


def test_other_rows_share_nothing_that_is_kept(tmp_path):
    retrain_subsets(_retrainer(tmp_path)[0], n_subsets=5)
    steps = []
    retrain_subsets(_retrainer(tmp_path, n=41)[0], n_subsets=5, progress=steps.append)
    assert [step.n_done for step in steps] == [5]


def test_a_damaged_file_is_named(tmp_path):
    retrainer, _ = _retrainer(tmp_path)
    retrain_subsets(retrainer, n_subsets=5)
    (path,) = tmp_path.glob("*/*.npz")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RetrainingFileError, match=f"{path.name}.*delete it"):
        retrain_subsets(retrainer, n_subsets=5)


def test_a_quality_says_what_it_was_measured_with():
    retrainer, scores = _retrainer()
    quality = evaluate_lds(scores, retrainer, n_subsets=30, keep=0.75)
    told = str(quality)
    assert "noise ceiling 1.000 (margin; 5 queries; 30 subsets of 75% of 40 rows" in told
    facts = json.loads(json.dumps(quality.to_facts()))
    assert facts["seed_policy"] == "exact minimum of the subset, no seed"
    assert len(facts["per_query"]) == facts["n_query"] == 5
    loo = json.loads(json.dumps(evaluate_loo(scores, retrainer, rows=[3, 1, 4]).to_facts()))
    assert loo["rows"] == [1, 3, 4]
    nothing = AttributionScores(scores.scores * 0, "margin", "log-odds", "nothing")
    idle = evaluate_loo(nothing, retrainer, rows=[3, 1, 4]).to_facts()
    assert json.loads(json.dumps(idle, allow_nan=False))["slope"] is None
    brittle = brittleness(scores, retrainer, removed=[2], n_random=2).to_facts()
    assert json.loads(json.dumps(brittle))["removed"] == [2]


def test_a_query_of_constant_scores_counts_as_zero():
    retrainer, scores = _retrainer()
    truth = retrain_subsets(retrainer, n_subsets=20)
    values = scores.scores.copy()
    values[0] = 0
    quality = judge(AttributionScores(values, "margin", "log-odds", "x"), truth)
    assert quality.n_undefined == 1
    assert quality.per_query[0] == 0
    assert quality.mean == pytest.approx(judge(scores, truth).per_query[1:].sum() / 5)


def test_a_comparison_as_markdown_and_as_a_picture():
    retrainer, scores = _retrainer()
    truth = retrain_subsets(retrainer, n_subsets=20)
    turned = AttributionScores(-scores.scores, "margin", "log-odds", "x")
    table = compare({"if <b>|": scores, "turned": turned}, truth, seconds={"turned": 1.5})
    lines = table.to_markdown().splitlines()
    assert lines[2].startswith("| if <b>\\| | 0.9")
    assert lines[3].startswith("| turned | -0.9")
    assert lines[3].endswith("| 1.50 |")
    assert "20 subsets of 50% of the rows, 1 models each (exact minimum" in lines[-1]
    picture = ET.fromstring(table.to_svg())  # noqa: S314 - our own
    bars = [element for element in picture if element.tag == "rect"]
    assert [bar.get("class") for bar in bars] == ["up", "down"]
    assert "if <b>|" in [element.text for element in picture]
    assert "noise ceiling 1.000" in [element.text for element in picture]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: AttributionScores(s.scores[:3], "margin", "", ""), r"scores are \[3, 40\]"),
        (lambda s: AttributionScores(s.scores, "loss", "", ""), "scores are of the loss"),
        (lambda s: AttributionScores(s.scores * np.nan, "margin", "", ""), "row 0 has no defined"),
    ],
)
def test_scores_of_something_else_are_refused(change, message):
    retrainer, scores = _retrainer()
    with pytest.raises(QualityError, match=message):
        evaluate_lds(change(scores), retrainer, n_subsets=5)


def test_settings_out_of_their_range_are_refused():
    retrainer, scores = _retrainer()
    with pytest.raises(QualityError, match="2 subsets"):
        evaluate_lds(scores, retrainer, n_subsets=2)
    with pytest.raises(QualityError, match="3 subsets of 1 of 40 rows"):
        evaluate_lds(scores, retrainer, n_subsets=3, keep=1.0)
    with pytest.raises(QualityError, match="from 0 to 39"):
        evaluate_loo(scores, retrainer, rows=[0, 1, 40])
    with pytest.raises(QualityError, match=r"3 rows of float64.*whole numbers"):
        evaluate_loo(scores, retrainer, rows=[0.5, 1.5, 2.5])
    with pytest.raises(QualityError, match="0 rows of int64"):
        evaluate_loo(scores, retrainer, n_rows=-5)
    with pytest.raises(QualityError, match="0 seeds"):
        evaluate_loo(scores, retrainer, seeds_per_row=0)
    with pytest.raises(QualityError, match="with 0 seeds"):
        brittleness(scores, retrainer, removed=[1], seeds_per_model=0)
    with pytest.raises(QualityError, match="numbers from 1 to 39"):
        brittleness(scores, retrainer, removed=[40])
    with pytest.raises(QualityError, match="no scores to compare"):
        compare({}, retrain_subsets(retrainer, n_subsets=5))
    loss, _ = _retrainer(target="loss")
    with pytest.raises(QualityError, match="ask for the margin"):
        brittleness(AttributionScores(scores.scores, "loss", "", ""), loss, removed=[1])
    wrong = RefitConvex.of(retrainer.run, retrainer.features, 1 - retrainer.run.labels[:5])
    one_query = RefitConvex(
        wrong.run, np.array([[9.0, 0.0]]), np.zeros(1), "margin"
    )  # labelled as the other class
    only = AttributionScores(scores.scores[:1], "margin", "", "")
    with pytest.raises(QualityError, match="gets no query right"):
        brittleness(only, one_query, removed=[1])


def test_masks_and_seeds_that_do_not_fit_are_refused():
    retrainer, _ = _retrainer()
    masks, seeds = np.ones((2, 40), dtype=bool), np.arange(2)
    for wrong_masks, wrong_seeds, message in (
        (masks[:, :30], seeds, "Masks of bool and shape"),
        (masks.astype(int), seeds, "Masks of int64"),
        (masks, seeds[:1], "there are 2 models"),
        (masks, seeds - 1, "a seed below 0"),
        (np.zeros((2, 40), dtype=bool), seeds, "a model without rows"),
    ):
        with pytest.raises(RetrainingError, match=message):
            retrainer.retrain(wrong_masks, seeds=wrong_seeds)
    few = np.zeros((1, 40), dtype=bool)
    few[0, 0] = True
    with pytest.raises(RetrainingError, match="a class is without a row"):
        retrainer.retrain(few, seeds=seeds[:1])


def test_targets_of_outputs_by_hand():
    outputs = np.log(np.array([[[0.2, 0.3, 0.5], [0.7, 0.2, 0.1]]]))
    labels = np.array([2.0, 1.0])
    margins = target_values(outputs, labels, "cross_entropy", "margin")
    np.testing.assert_allclose(margins, [[0.0, np.log(0.2 / 0.8)]], atol=1e-12)
    losses = target_values(outputs, labels, "cross_entropy", "loss")
    np.testing.assert_allclose(losses, [-np.log([0.5, 0.2])])
    logits = target_values(outputs, labels, "cross_entropy", "logit")
    np.testing.assert_allclose(logits, np.log([[0.5, 0.2]]))
    np.testing.assert_array_equal(predicted_classes(outputs, "cross_entropy"), [[2, 0]])
    one = np.array([[[2.0], [-1.0]]])
    np.testing.assert_array_equal(
        target_values(one, np.array([0.0, 1.0]), "cross_entropy", "margin"), [[-2, -1]]
    )
    np.testing.assert_array_equal(predicted_classes(one, "cross_entropy"), [[1, 0]])
    np.testing.assert_array_equal(target_values(one, labels, "squared", "loss"), [[0, 2]])
    with pytest.raises(RetrainingError, match="predicts values"):
        predicted_classes(one, "squared")
    retrainer, _ = _retrainer()
    held = retrainer.retrain(np.ones((1, 40), dtype=bool), seeds=np.zeros(1, dtype=int))
    np.testing.assert_allclose(held.of("loss").values, np.log1p(np.exp(-held.values)))  # noqa: PD011 - no frame
    with pytest.raises(RetrainingError, match="'prediction'"):
        held.of("prediction")
