"""Scores by group, by source and by operation, against sums written out one by one."""

import re

import numpy as np
import pandas as pd
import pytest

from traceprop_engine.attribution import AttributionScores
from traceprop_engine.errors import QueryShapeError, RollUpError, ScoreGroupsError
from traceprop_engine.lineage.captured import CapturedLineage, Op
from traceprop_engine.lineage.row_map import RowMap

N_QUERY, N_TRAIN = 7, 23
VALUES = np.random.default_rng(3).normal(size=(N_QUERY, N_TRAIN))
SCORES = AttributionScores(VALUES, "logit", "log-odds", "drawn")


def stacked():
    """Ten rows of a, then thirteen of b; every row has one of c; nobody knows d."""
    nothing_a, nothing_b = np.full(13, -1), np.full(10, -1)
    return {
        "a": RowMap.gather(np.concatenate([np.arange(10), nothing_a]), 10),
        "b": RowMap.gather(np.concatenate([nothing_b, np.arange(13) // 2]), 7),
        "c": RowMap.identity(N_TRAIN),
        "d": RowMap.unknown(N_TRAIN, 5),
    }


@pytest.mark.parametrize("kind", ["strings", "series", "categories"])
def test_groups_sum_their_rows(kind):
    labels = np.random.default_rng(1).choice(["x", "y", "z"], N_TRAIN)
    given = {
        "strings": labels,
        "series": pd.Series(labels, index=np.arange(N_TRAIN)[::-1]),
        "categories": pd.Categorical(labels),
    }[kind]
    found = SCORES.by_group(given)
    assert list(found.groups) == list(dict.fromkeys(labels.tolist()))
    for column, name in enumerate(found.groups):
        wanted = [sum(row[i] for i in range(N_TRAIN) if labels[i] == name) for row in VALUES]
        np.testing.assert_allclose(found.scores[:, column], wanted, atol=1e-12)
    assert found.n_rows.sum() == N_TRAIN
    assert (found.n_shared, found.n_without, found.unit) == (0, 0, "log-odds")
    np.testing.assert_allclose(found.scores.sum(axis=1), VALUES.sum(axis=1))


def test_rows_without_a_label_are_in_no_group_and_rows_of_two_groups_count_twice():
    found = SCORES.by_group(pd.Series([1.0, np.nan] + [2.0] * (N_TRAIN - 2)))
    assert (found.groups, found.n_without) == ((1.0, 2.0), 1)
    both = SCORES.by_group({"first": [0, 1, 1], "second": [1, 2], "none": []})
    np.testing.assert_allclose(both.scores[:, 0], VALUES[:, 0] + VALUES[:, 1])
    np.testing.assert_allclose(both.scores[:, 1], VALUES[:, 1] + VALUES[:, 2])
    assert both.scores[:, 2].tolist() == [0.0] * N_QUERY
    assert (both.n_shared, both.n_without, both.n_rows.tolist()) == (1, N_TRAIN - 3, [2, 2, 0])


def test_undefined_scores_are_left_out_and_counted():
    values = VALUES.copy()
    values[:, 4] = np.nan
    scores = AttributionScores(values, "logit", "log-odds", "drawn")
    found = scores.by_group(["even", "odd"] * 11 + ["even"])
    assert found.n_undefined.tolist() == [1, 0]
    np.testing.assert_allclose(found.scores[:, 0], np.nansum(values[:, ::2], axis=1))
    assert len(scores.to_frame(query=0)) == N_TRAIN - 1
    assert np.isnan(scores.roll_up(RowMap.identity(N_TRAIN)).scores[:, 4]).all()


def test_sources_sum_the_rows_behind_which_they_stand():
    found = SCORES.by_source(stacked())
    assert found.groups == ("a", "b", "c", "d")
    np.testing.assert_allclose(found.scores[:, 0], VALUES[:, :10].sum(axis=1))
    np.testing.assert_allclose(found.scores[:, 1], VALUES[:, 10:].sum(axis=1))
    np.testing.assert_allclose(found.scores[:, 2], VALUES.sum(axis=1))
    assert np.isnan(found.scores[:, 3]).all()
    assert (found.n_shared, found.n_without) == (N_TRAIN, 0)
    rolled = found.rows_of("b")
    np.testing.assert_allclose(rolled.scores[:, 2], VALUES[:, 14] + VALUES[:, 15])
    np.testing.assert_allclose(rolled.scores.sum(axis=1), found.scores[:, 1])


def test_statistics_of_a_source_are_no_rows_of_it():
    found = SCORES.by_source({"mean": RowMap.context(N_TRAIN, [0, 1], 5)})
    assert found.scores.tolist() == [[0.0]] * N_QUERY
    assert found.n_without == N_TRAIN
    with pytest.raises(RollUpError, match="statistic"):
        found.rows_of("mean")


def test_operations_sum_the_rows_with_a_row_of_their_inputs():
    ops = (
        Op("filter", "x > 0", ("a",), (12,), 10),
        Op("filter", "x > 0", ("b",), (9,), 7),
        Op("concat", "", ("a", "b"), (10, 13), 23),
        Op("sort", "x", (), (23,), 23),
        Op("strange", "", ("d",), (5,), 23),
    )
    found = SCORES.by_op(CapturedLineage(N_TRAIN, stacked(), ops=ops))
    assert found.groups[:2] == ("filter(x > 0)", "filter(x > 0) #2")
    np.testing.assert_allclose(found.scores[:, 0], VALUES[:, :10].sum(axis=1))
    np.testing.assert_allclose(found.scores[:, 1], VALUES[:, 10:].sum(axis=1))
    for column in (2, 3):
        np.testing.assert_allclose(found.scores[:, column], VALUES.sum(axis=1))
    assert np.isnan(found.scores[:, 4]).all()


def test_a_table_of_scores_is_ranked_as_top_k_is():
    table = SCORES.to_frame(5)
    assert list(table.columns) == ["query", "rank", "training_row", "score", "unit"]
    for query, part in table.groupby("query"):
        top = SCORES.top_k(5, query=query)
        assert part["training_row"].tolist() == top.rows.tolist()
        assert part["score"].tolist() == top.scores.tolist()
        assert part["rank"].tolist() == [1, 2, 3, 4, 5]
    assert len(SCORES.to_frame()) == N_QUERY * N_TRAIN
    assert set(SCORES.to_frame(2, query=3)["query"]) == {3}
    assert (SCORES.to_frame(direction="raises")["score"] > 0).all()


def test_a_table_of_groups_has_each_query_and_group():
    table = SCORES.by_source(stacked()).to_frame()
    assert len(table) == N_QUERY * 4
    one = table[(table["query"] == 2) & (table["group"] == "a")]
    assert one["score"].item() == pytest.approx(VALUES[2, :10].sum())
    assert one["n_rows"].item() == 10


def bars_of(svg):
    bars = re.findall(r'<rect class="(up|down)" [^>]*width="([\d.]+)"', svg)
    return [(kind, float(width)) for kind, width in bars]


def test_bars_are_as_long_as_the_scores_and_names_are_escaped():
    top = SCORES.top_k(6, query=1)
    largest = np.abs(top.scores).max()
    bars = bars_of(SCORES.to_svg(6, query=1))
    assert [kind for kind, _ in bars] == ["up" if s > 0 else "down" for s in top.scores]
    np.testing.assert_allclose(
        [width for _, width in bars], np.abs(top.scores) / largest * 160, atol=0.06
    )
    hostile = SCORES.by_group(["<script>", "b\x1b[31m"] * 11 + ["<script>"]).to_svg()
    assert "<script>" not in hostile
    assert len(bars_of(hostile)) == 2
    assert len(bars_of(SCORES.by_source(stacked()).to_svg())) == 4


@pytest.mark.parametrize(
    ("ask", "error", "words"),
    [
        (lambda: SCORES.by_group(["a"]), ScoreGroupsError, "1 labels for 23 training rows"),
        (lambda: SCORES.by_group({"a": [23]}), ScoreGroupsError, "names row 23"),
        (lambda: SCORES.by_group({"a": [0.5]}), ScoreGroupsError, "float64"),
        (lambda: SCORES.by_source({"a": RowMap.identity(5)}), RollUpError, "of 5 rows"),
        (lambda: SCORES.by_op(CapturedLineage(5, {})), RollUpError, "of 5 rows"),
        (lambda: SCORES.by_source(stacked()).rows_of("e"), ScoreGroupsError, "no source 'e'"),
        (lambda: SCORES.by_source(stacked()).rows_of("d"), RollUpError, "unknown"),
        (lambda: SCORES.by_source(stacked()).of(9), QueryShapeError, "from 0 to 6"),
        (lambda: SCORES.to_frame(0), QueryShapeError, "at least 1"),
    ],
)
def test_what_cannot_be_added_up_is_refused(ask, error, words):
    with pytest.raises(error, match=words):
        ask()
