"""Laws that scores obey whatever the data."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traceprop_engine.attribution import InfluenceFunction, remove_rows
from traceprop_engine.lineage.row_map import RowMap
from traceprop_engine.training import TrainingRun, train_linear, train_logistic, train_softmax

TRAINERS = {"linear": train_linear, "logistic": train_logistic, "softmax": train_softmax}


@st.composite
def tables(draw, max_rows=20):
    """Draw a table with features of coarse values, so that ties and duplicates are common."""
    n_rows = draw(st.integers(6, max_rows))
    n_features = draw(st.integers(1, 3))
    cell = st.integers(-3, 3).map(float)
    rows = st.lists(cell, min_size=n_features, max_size=n_features)
    features = draw(st.lists(rows, min_size=n_rows, max_size=n_rows))
    labels = draw(st.lists(st.integers(0, 2), min_size=n_rows, max_size=n_rows))
    table = pd.DataFrame(features, columns=[f"f{i}" for i in range(n_features)])
    table["class3"] = labels
    table.loc[:5, "class3"] = [0, 1, 2, 0, 1, 2]  # two rows of each class at least
    table["class2"] = (table["class3"] > 0).astype(int)
    table["value"] = table["class3"] * 2.5 + table["f0"]
    return table


def _train(family, table) -> TrainingRun:
    label = {"linear": "value", "logistic": "class2", "softmax": "class3"}[family]
    features = [name for name in table if name.startswith("f")]
    return TRAINERS[family](table, features=features, label=label, l2=0.5, name=family)


def _scores(run, queries=None, labels=None, target="loss", **fit):
    queries = run.features if queries is None else queries
    labels = run.labels if labels is None else labels
    influence = InfluenceFunction.fit(run, **fit)
    return influence.scores(queries, labels, target=target).scores


few = settings(max_examples=20)  # each example trains models, some of them once for each row
every_family = pytest.mark.parametrize("family", TRAINERS)


@every_family
@few
@given(tables(), st.randoms(use_true_random=False))
def test_permuting_the_training_rows_permutes_the_scores(family, table, random):
    order = list(range(len(table)))
    random.shuffle(order)
    run, permuted = _train(family, table), _train(family, table.iloc[order])
    queries = run.features, run.labels
    np.testing.assert_allclose(
        _scores(permuted, *queries), _scores(run, *queries)[:, order], rtol=1e-6, atol=1e-9
    )


@every_family
@few
@given(tables())
def test_each_query_is_scored_as_if_it_were_alone(family, table):
    run = _train(family, table)
    influence = InfluenceFunction.fit(run)
    together = influence.scores(run.features, run.labels, target="loss").scores
    alone = np.vstack(
        [
            influence.scores(run.features[[row]], run.labels[[row]], target="loss").scores
            for row in range(run.n_train)
        ]
    )
    np.testing.assert_allclose(together, alone, rtol=1e-9, atol=1e-12)


@every_family
@few
@given(tables())
def test_equal_training_rows_have_equal_scores(family, table):
    twice = pd.concat([table, table], ignore_index=True)
    scores = _scores(_train(family, twice))
    n_rows = len(table)
    np.testing.assert_allclose(scores[:, :n_rows], scores[:, n_rows:], rtol=1e-7, atol=1e-10)


@every_family
@few
@given(tables())
def test_derivatives_of_all_rows_add_up_to_the_pull_of_the_penalty(family, table):
    """At the minimum all rows together pull against the penalty alone."""
    run = _train(family, table)
    total = _scores(run, leave_one_out=False).sum(axis=1)
    pull = run.l2 * run.parameters
    pull[:, -1] = 0
    shift = np.linalg.pinv(run.hessian(), rcond=1e-12, hermitian=True) @ pull.ravel()
    expected = run.per_sample_grads() @ shift
    np.testing.assert_allclose(total, expected, rtol=1e-6, atol=1e-8)


@every_family
@few
@given(tables(), st.integers(0, 5))
def test_a_score_is_the_effect_of_the_newton_step_that_removes_the_row(family, table, row):
    run = _train(family, table)
    target = "prediction" if family == "linear" else "margin"
    scores = _scores(run, target=target, refit_above=2.0)[:, row]
    stepped = InfluenceFunction.fit(run).predict_removal([row]).run
    if family == "softmax":  # a margin is not linear in the outputs; compare slopes
        step = 1e-4
        moved = run.parameters + step * (stepped.parameters - run.parameters)
        change = (_margins(run, moved) - _margins(run, run.parameters)) / step
        np.testing.assert_allclose(-scores, change, rtol=1e-2, atol=1e-3)
    else:
        sign = 1 if family == "linear" else 2 * run.targets - 1
        change = sign * (stepped.outputs(run.features) - run.outputs(run.features))[:, 0]
        np.testing.assert_allclose(-scores, change, rtol=1e-6, atol=1e-9)


def _margins(run, parameters):
    outputs = replace(run, parameters=parameters).outputs(run.features)
    right = run.targets[:, None] == np.arange(outputs.shape[1])
    others = np.where(right, -np.inf, outputs)
    return outputs[right] - np.log(np.exp(others).sum(axis=1))


@few
@given(tables())
def test_the_margins_of_the_two_classes_move_in_opposite_ways(table):
    run = _train("logistic", table)
    influence = InfluenceFunction.fit(run)
    ones, zeros = np.ones(run.n_train, dtype=int), np.zeros(run.n_train, dtype=int)
    raised = influence.scores(run.features, ones, target="margin").scores
    lowered = influence.scores(run.features, zeros, target="margin").scores
    np.testing.assert_array_equal(raised, -lowered)
    logit = influence.scores(run.features, target="logit").scores
    np.testing.assert_array_equal(raised, logit)
    other = influence.scores(run.features, target="logit", of_class=0).scores
    np.testing.assert_array_equal(lowered, other)


@few
@given(tables())
def test_the_logits_of_all_classes_add_up_to_nothing(table):
    influence = InfluenceFunction.fit(_train("softmax", table))
    queries = influence.run.features
    total = sum(
        influence.scores(queries, target="logit", of_class=value).scores for value in (0, 1, 2)
    )
    np.testing.assert_allclose(total, 0, atol=1e-9)


@every_family
@few
@given(tables(), st.integers(1, 8), st.sampled_from(["both", "raises", "lowers"]))
def test_streamed_top_rows_are_those_of_the_full_scores(family, table, k, direction):
    run = _train(family, table)
    influence = InfluenceFunction.fit(run)
    full = influence.scores(run.features, run.labels, target="loss")
    streamed = influence.top_k(
        run.features, k, labels=run.labels, target="loss", direction=direction
    )
    for query, top in enumerate(streamed):
        expected = full.top_k(k, query=query, direction=direction)
        np.testing.assert_array_equal(top.rows, expected.rows)
        np.testing.assert_array_equal(top.scores, expected.scores)


@every_family
@few
@given(tables(), st.integers(1, 8))
def test_top_rows_are_a_sort_by_strength(family, table, k):
    scores = InfluenceFunction.fit(_train(family, table)).scores(
        table.filter(like="f").to_numpy()[:2], _train(family, table).labels[:2], target="loss"
    )
    row_scores = scores.scores[1].tolist()
    by_size = sorted(range(len(row_scores)), key=lambda row: (-abs(row_scores[row]), row))
    assert scores.top_k(k, query=1).rows.tolist() == by_size[:k]
    raising = [row for row in by_size if row_scores[row] > 0]
    assert scores.top_k(k, query=1, direction="raises").rows.tolist() == raising[:k]


@few
@given(st.data())
def test_rolled_up_scores_are_sums_over_the_rows_of_each_source(data):
    table = data.draw(tables())
    n_source = data.draw(st.integers(1, 12))
    pair = st.tuples(st.integers(0, len(table) - 1), st.integers(0, n_source - 1))
    pairs = sorted(data.draw(st.sets(pair, max_size=40)))
    row_map = RowMap.from_pairs(
        [out for out, _ in pairs], [source for _, source in pairs], len(table), n_source
    )
    scores = InfluenceFunction.fit(_train("logistic", table)).scores(
        np.zeros((2, 1)).repeat(table.filter(like="f").shape[1], axis=1)
    )
    rolled = scores.roll_up(row_map)
    expected = np.zeros((2, n_source))
    for train_row, source in pairs:
        expected[:, source] += scores.scores[:, train_row]
    dense = np.zeros((2, n_source))
    dense[:, rolled.rows] = rolled.scores
    np.testing.assert_allclose(dense, expected, rtol=1e-12, atol=1e-12)
    assert rolled.rows.tolist() == sorted({source for _, source in pairs})
    assert rolled.n_source == n_source


@every_family
@few
@given(tables(), st.sets(st.integers(6, 20), max_size=6))
def test_removed_and_put_back_rows_leave_the_same_model(family, table, rows):
    run = _train(family, table)
    rows = [row for row in rows if row < run.n_train]
    removed = remove_rows(run, rows).run
    back = pd.concat([table.drop(index=rows), table.iloc[rows]])
    np.testing.assert_allclose(
        _train(family, back).parameters, run.parameters, rtol=1e-7, atol=1e-7
    )
    np.testing.assert_allclose(
        removed.parameters, _train(family, table.drop(index=rows)).parameters, atol=1e-7
    )
