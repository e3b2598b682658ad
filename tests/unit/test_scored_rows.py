"""Scores of a recorded model by source, by operation and by rank, against walks row by row."""

import numpy as np
import pytest

from tests.recorded_store import N_TRAIN, lines_of, record_pipeline
from traceprop_engine.errors import UntraceableRankError
from traceprop_engine.explanation import (
    explain,
    load_predictions,
    trace_rank,
    training_lineage,
)
from traceprop_engine.tracing import trace_back


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return record_pipeline(tmp_path_factory.mktemp("scored"))


@pytest.fixture(scope="module")
def predictions(recorded):
    return load_predictions(recorded.store)


def test_the_maps_to_sources_are_the_walks_of_each_row(recorded, predictions):
    maps = training_lineage(recorded.store, predictions.model).sources.maps
    for row in range(0, N_TRAIN, 9):
        walked = trace_back(recorded.store, recorded.model, [row]).sources
        found = {source.name: source.rows.tolist() for source in walked}
        assert {name: each.backward([row]).tolist() for name, each in maps.items()} == found


def test_scores_by_source_and_source_row(recorded, predictions):
    behind = training_lineage(recorded.store, predictions.model)
    scores = predictions.scores_of(np.arange(10))
    found = scores.by_source(behind.sources)
    assert sorted(found.groups) == ["areas", "people", "visits"]
    for column in range(3):  # every training row has a row of each source
        np.testing.assert_allclose(found.scores[:, column], scores.scores.sum(axis=1))
    assert found.n_shared == N_TRAIN
    people = found.rows_of("people")
    np.testing.assert_allclose(people.scores, scores.scores)
    assert people.rows.tolist() == list(range(N_TRAIN))


def test_scores_by_operation_name_the_dataset(recorded, predictions):
    behind = training_lineage(recorded.store, predictions.model)
    scores = predictions.scores_of(np.arange(10))
    found = scores.by_op(behind.steps)
    assert found.groups == (
        "visit_features: DataFrameGroupBy.mean(by='id')",
        "training_table: DataFrame.merge(on='id')",
        "training_table: DataFrame.merge(on='id', how='inner')",
    )
    assert found.n_rows.tolist() == [N_TRAIN] * 3
    np.testing.assert_allclose(found.scores, scores.scores.sum(axis=1)[:, None] * np.ones(3))


def test_a_rank_is_the_row_that_an_explanation_names(recorded, predictions):
    wanted = explain(recorded.store, row=3, top_k=5).rows
    scores = predictions.scores_of(np.array([0, 3]))
    for row in wanted:
        found = trace_rank(recorded.store, predictions.model, scores, row.rank, query=1)
        assert found.training_row == row.training_row
        assert found.influence == pytest.approx(row.influence)
        assert (found.lines, found.steps) == (row.lines, row.steps)
        told = {ln.line_number: ln.text for ln in found.lines if ln.source == "people"}
        assert told == lines_of(recorded.folder / "people.csv", row.training_row)


@pytest.mark.parametrize("rank", [0, N_TRAIN + 1])
def test_a_rank_that_no_row_has_is_refused(recorded, predictions, rank):
    with pytest.raises(UntraceableRankError, match=f"from 1 to {N_TRAIN}"):
        trace_rank(recorded.store, predictions.model, predictions.scores_of(np.array([0])), rank)
