"""Steps 3 to 5 of the quick start of the package traceprop: train, attribute, trace to the file."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import traceprop_engine as tp
from traceprop_engine.attribution import GGN, GradDot, InfluenceFunction
from traceprop_engine.errors import (
    NoTrainingLineageError,
    NotTrainedError,
    QueryShapeError,
    RollUpError,
    UntraceableRankError,
    UntrackedValueError,
)
from traceprop_engine.explanation import attribution_engine
from traceprop_engine.gradients.net_run import NetRun
from traceprop_engine.torch_gradients import training_context
from traceprop_engine.training import train_logistic

N_A, N_B = 18, 14
N = N_A + N_B
FEATURES = ["age", "dose", "days"]


@pytest.fixture
def hospitals(tmp_path, monkeypatch):
    """The tracked training rows of two hospitals, and their labels; steps 1 and 2."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(11)
    for name, n in (("hospital_a", N_A), ("hospital_b", N_B)):
        rows = [",".join(f"{x:.3f}" for x in row) for row in rng.normal(size=(n, 3))]
        Path(f"{name}.csv").write_text("\n".join([",".join(FEATURES), *rows]) + "\n")
    tp.reset_graph()

    data_a = tp.from_csv("hospital_a.csv", source_id="hospital_a")
    data_b = tp.from_csv("hospital_b.csv", source_id="hospital_b")
    norm_a = (data_a - data_a.mean(axis=0)) / (data_a.std(axis=0) + 1e-8)
    norm_b = (data_b - data_b.mean(axis=0)) / (data_b.std(axis=0) + 1e-8)
    table = np.concatenate([norm_a, norm_b])
    labels = (np.asarray(table)[:, 0] + rng.normal(size=N) > 0).astype(np.int64)
    return table, labels


@pytest.fixture
def trained(hospitals):
    """A small net, recorded in its own loop; step 3."""
    x_train, y_train = hospitals
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    x = torch.tensor(np.asarray(x_train, dtype=np.float32))
    y = torch.tensor(y_train)
    with training_context(model, x, y, optimizer=optimizer, total_steps=20) as run:
        for _ in range(20):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    return run.training()


QUERIES = np.random.default_rng(2).normal(size=(6, 3)).astype(np.float32)
LABELS = np.array([0, 1, 0, 1, 1, 0])


def test_quick_start_attributes_and_traces_to_the_file(hospitals, trained):
    x_train, _ = hospitals
    engine = attribution_engine(trained, x_train)
    result = engine.attribute(QUERIES, LABELS, top_k=10)

    scores = GGN.fit(trained).scores(QUERIES, LABELS).scores
    np.testing.assert_allclose(result.scores.scores, scores)
    order = np.argsort(-np.abs(scores[0]), kind="stable")
    assert [entry["sample_index"] for entry in result.top(5)] == order[:5].tolist()
    for entry in result.top(5):
        row = entry["sample_index"]
        assert entry["source_id"] == ("hospital_a" if row < N_A else "hospital_b")
        assert entry["influence_score"] == pytest.approx(scores[0, row])
    assert len(result.top()) == 10

    for rank in (0, 3, N - 1):
        trace = result.trace_to_file(rank=rank)
        row = order[rank]
        name, line = ("hospital_a", row) if row < N_A else ("hospital_b", row - N_A)
        assert trace["sample_index"] == row
        assert trace["sources"] == [name]
        assert [op.name.rpartition(".")[2] for op in trace["ops"]].count("divide") == 2
        (source,) = [each for each in trace["trace"].sources if each.source == name]
        text = Path(f"{name}.csv").read_text().splitlines()[line + 1]
        assert [(r.line_number, r.text) for r in source.records] == [(line + 2, text)]


def test_scores_by_source_and_by_operation(hospitals, trained):
    result = attribution_engine(trained, hospitals[0]).attribute(QUERIES, LABELS)
    values = result.scores.scores
    for query in range(len(QUERIES)):
        assert result.by_source(query) == pytest.approx(
            {"hospital_a": values[query, :N_A].sum(), "hospital_b": values[query, N_A:].sum()}
        )
    by_op = result.by_op()
    for sums in (values[0, :N_A].sum(), values[0, N_A:].sum()):
        passed = [name for name, score in by_op.items() if score == pytest.approx(sums)]
        steps = [name.partition("(")[0].rpartition(".")[2] for name in passed]
        assert sorted(steps) == ["add", "divide", "mean", "std", "subtract"]


def test_a_convex_model_is_scored_exactly(hospitals):
    x_train, y_train = hospitals
    table = pd.DataFrame(np.asarray(x_train), columns=FEATURES).assign(y=y_train)
    run = train_logistic(table, features=FEATURES, label="y", l2=1.0, name="risk")
    queries = QUERIES.astype(np.float64)
    result = attribution_engine(run, x_train).attribute(queries)
    wanted = InfluenceFunction.fit(run).scores(queries)
    np.testing.assert_array_equal(result.scores.scores, wanted.scores)
    assert (result.scores.target, result.top(1)[0]["unit"]) == ("logit", "log-odds")


def test_a_table_that_a_session_followed_is_traced_as_well(hospitals):
    _, y_train = hospitals
    with tp.CaptureSession() as session:
        left = session.load(pd.DataFrame({"k": range(N), "age": np.arange(N) / N}), "left")
        right = session.load(pd.DataFrame({"k": range(N)[::-1], "dose": np.arange(N) % 5}), "right")
        table = left.merge(right, on="k").assign(y=y_train)
        lineage = session.lineage(table)
        run = train_logistic(table, features=["age", "dose"], label="y", l2=1.0, name="risk")
    result = attribution_engine(run, lineage).attribute(np.zeros((1, 2)))
    total = result.scores.scores.sum()
    assert result.by_source() == pytest.approx({"left": total, "right": total})
    assert result.top(1)[0]["source_id"] == ["left", "right"]
    row = result.top(1)[0]["sample_index"]
    trace = result.trace_to_file()["trace"]
    assert [each.rows.tolist() for each in trace.sources] == [[row], [N - 1 - row]]


def test_a_net_on_a_table_and_a_fitted_estimator_are_taken(hospitals, trained):
    frame = pd.DataFrame(np.asarray(hospitals[0]), columns=FEATURES)
    run = NetRun(trained, tuple(FEATURES), "y", (0, 1), frame.index)
    wanted = attribution_engine(trained).attribute(QUERIES, LABELS).scores.scores
    found = attribution_engine(run).attribute(QUERIES, LABELS).scores.scores
    np.testing.assert_array_equal(found, wanted)
    dot = GradDot.fit(trained)
    found = attribution_engine(dot).attribute(QUERIES, LABELS).scores.scores
    np.testing.assert_array_equal(found, dot.scores(QUERIES, LABELS).scores)


def test_without_lineage_rows_are_numbers_and_files_are_refused(trained):
    result = attribution_engine(trained).attribute(QUERIES, LABELS)
    assert result.top(1)[0]["source_id"] is None
    for ask in (result.by_source, result.by_op, result.trace_to_file):
        with pytest.raises(NoTrainingLineageError, match="attribution_engine"):
            ask()


def test_what_cannot_be_attributed_is_refused(hospitals, trained):
    x_train, _ = hospitals
    with pytest.raises(NotTrainedError, match="dict"):
        attribution_engine({})
    with pytest.raises(RollUpError, match=f"of {N - 1} rows"):
        attribution_engine(trained, x_train[1:])
    with pytest.raises(UntrackedValueError):
        attribution_engine(trained, np.zeros((N, 3)))
    result = attribution_engine(trained, x_train).attribute(QUERIES, LABELS)
    with pytest.raises(UntraceableRankError, match=f"from 0 to {N - 1}"):
        result.trace_to_file(N)
    with pytest.raises(QueryShapeError, match="query"):
        result.by_source(len(QUERIES))
