"""Nets in a store: what comes back, and that it explains as the net itself does."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from traceprop_engine.attribution.ggn import GGN
from traceprop_engine.errors import (
    EstimatorSettingError,
    InfluenceTargetError,
    NetGradientsError,
    NetNotStoredError,
    NetRemovalError,
    NetRowsError,
)
from traceprop_engine.explanation import explain, load_predictions, what_if_removed
from traceprop_engine.gradients.net_run import NetRun
from traceprop_engine.lineage import CaptureSession
from traceprop_engine.recording import (
    InputRef,
    Materialization,
    load_training_run,
    record_dataset,
    record_net_predictions,
    record_net_run,
)
from traceprop_engine.retraining.nets import NetProblem
from traceprop_engine.retraining.vmapped_torch import VmappedTorch
from traceprop_engine.store import Store
from traceprop_engine.torch_gradients import TorchTraining, train_torch
from traceprop_engine.training.recipe import TrainingRecipe

FEATURES = ["a", "b", "c"]
RECIPE = TrainingRecipe(learning_rate=0.2, batch_size=8, epochs=12)


def table(n, classes, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(n, 3)), columns=FEATURES)
    scores = frame.to_numpy() @ rng.normal(size=(3, len(classes)))
    return frame.assign(y=np.asarray(classes)[scores.argmax(axis=1)], key=np.arange(n))


def module_for(n_outputs):
    torch.manual_seed(1)
    return torch.nn.Sequential(
        torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, n_outputs)
    )


def trained(frame, n_outputs, loss="cross_entropy"):
    recipe = TrainingRecipe(loss=loss, learning_rate=0.1, batch_size=8, epochs=12)
    return NetRun.train(
        frame,
        features=FEATURES,
        label="y",
        loss=loss,
        fit=lambda x, y: train_torch(module_for(n_outputs), x, y, recipe, name="net"),
    )


def recorded(store, run, frame, queries, *, predicting=None):
    """The training table, the net and its predictions, as a pipeline records them."""
    with CaptureSession() as session:
        version = record_dataset(
            store, Materialization("table", {}, "r"), *session.finish(frame.copy())
        )
    with CaptureSession() as session:
        rows = session.load(frame.copy(), "table")
        made = Materialization("net", {"table": InputRef("dataset", version)}, "r")
        _, run_id = record_net_run(store, made, run, session.lineage(rows))
    model = load_training_run(store, run_id)
    with CaptureSession() as session:
        predictions = (predicting or run).predict(
            session.load(queries.copy(), "table"), label="y", keep=["key"]
        )
        made = Materialization("predictions", {"table": InputRef("dataset", version)}, "r")
        record_net_predictions(store, made, predictions, session.lineage(predictions.frame), model)
    store.ingest()
    return model.run


CASES = {
    "binary": (("no", "yes"), 1, "cross_entropy", "logit"),
    "classes": ((3, 5, 9), 3, "cross_entropy", "margin"),
    "values": ((0.5, 2.0), 1, "squared", "prediction"),
}


OUTPUTS_OF = {target: n_outputs for _, n_outputs, _, target in CASES.values()}


@pytest.fixture(params=CASES, scope="module")
def case(request, tmp_path_factory):
    classes, n_outputs, loss, target = CASES[request.param]
    frame, queries = table(40, classes), table(6, classes, seed=1)
    run = trained(frame, n_outputs, loss)
    store = Store.create(tmp_path_factory.mktemp(request.param) / "store")
    return store, run, recorded(store, run, frame, queries), frame, queries, target


def test_a_stored_net_has_the_parameters_and_gradients_of_the_trained_one(case):
    _, run, stored, *_ = case
    assert stored.steps == run.training.steps
    for checkpoint in range(len(stored.steps)):
        for name, array in run.training.parameters(checkpoint).items():
            np.testing.assert_array_equal(stored.parameters(checkpoint)[name], array)
        ours, theirs = (each.train_gradients(checkpoint) for each in (stored, run.training))
        np.testing.assert_array_equal(ours.dense(), theirs.dense())
        for name in ("values", "slopes", "curvatures"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    np.testing.assert_array_equal(stored.features, run.training.features)


def test_an_explanation_from_the_store_is_that_of_the_net_itself(case):
    store, run, _, _, queries, target = case
    features = queries[FEATURES].to_numpy(np.float32)
    about = run.training.outputs(features).argmax(axis=1) if target == "margin" else None
    wanted = GGN.fit(run.training).scores(features, about, target=target).scores
    predictions = load_predictions(store, "predictions")
    for row in range(len(queries)):
        found = predictions.scores(row)
        np.testing.assert_allclose(found.scores[0], wanted[row], rtol=1e-4, atol=1e-7)
    explanation = explain(store, dataset="predictions", row=2, top_k=3)
    assert [each.training_row for each in explanation.rows] == (
        np.argsort(-np.abs(wanted[2]), kind="stable")[:3].tolist()
    )
    assert explanation.target == target


def test_a_restored_net_predicts_as_it_did(case):
    _, run, stored, _, queries, _ = case
    module = module_for(run.training.outputs(run.training.features[:1]).shape[1])
    again = stored.restored(lambda net: TorchTraining.from_stored(net, module))
    np.testing.assert_array_equal(again.outputs(queries), run.outputs(queries))
    assert again.evaluate(queries) == run.evaluate(queries)
    assert stored.metrics == pytest.approx(run.evaluate(case[3]))


def test_the_loss_curve_is_the_mean_loss_at_each_checkpoint(case):
    _, run, stored, frame, _, target = case
    outputs = torch.tensor(run.training.outputs(run.training.features)).double()
    labels = torch.tensor(run.training.labels)
    if target == "prediction":
        wanted = ((outputs[:, 0] - labels) ** 2 / 2).mean()
    elif target == "logit":
        wanted = torch.nn.functional.binary_cross_entropy_with_logits(
            outputs[:, 0], labels.double()
        )
    else:
        wanted = torch.nn.functional.cross_entropy(outputs, labels)
    assert stored.loss_curve[-1] == pytest.approx(wanted.item(), rel=1e-4)
    assert stored.loss_curve[0] > stored.loss_curve[-1]
    assert len(frame) == stored.n_train


def test_what_a_store_cannot_know_of_a_net_is_refused_with_the_way_out(case):
    store, _, stored, *_ = case
    other = "loss"
    with pytest.raises(NetNotStoredError, match="restored"):
        stored.query_gradients(0, np.zeros((1, 3)), None, "margin")
    with pytest.raises(InfluenceTargetError, match="not recorded"):
        explain(store, dataset="predictions", row=0, target=other)
    with pytest.raises(NetRemovalError, match="train it again"):
        what_if_removed(store, dataset="predictions", row=0, training_rows=[1])


@pytest.mark.parametrize("case", ["classes"], indirect=True)
def test_a_group_is_estimated_by_its_scores_and_found_by_training_again(case):
    store, _, stored, *_, target = case
    group = [2, 3, 5, 7, 11]
    effect = what_if_removed(store, dataset="predictions", row=1, training_rows=group, verify=False)
    scores = load_predictions(store, "predictions").scores(1)
    assert effect.predicted_change == pytest.approx(-scores.scores[0, group].sum())
    assert (effect.target, effect.newton_change, effect.found_change) == (target, None, None)

    def retrainer(net, features, labels):
        kind = np.float32 if net.loss == "squared" else np.int64
        problem = NetProblem(
            net.features, net.trained_labels, features, labels.astype(kind), net.recipe, target
        )
        return VmappedTorch(lambda: module_for(OUTPUTS_OF[target]), problem)

    def pairs(n):
        return what_if_removed(
            store,
            dataset="predictions",
            row=1,
            training_rows=group,
            retrainer=retrainer,
            n_models=n,
        )

    predictions = load_predictions(store, "predictions")
    about = predictions.explained_labels(np.array([1]))
    trains = retrainer(stored, predictions.features[[1]], about)
    masks = np.ones((4, stored.n_train), dtype=bool)
    masks[2:, group] = False
    again = trains.retrain(masks, seeds=np.array([0, 1, 0, 1]))
    values = again.values[:, 0]  # noqa: PD011 (not a table)
    found = pairs(2)
    assert found.found_change == pytest.approx((values[2:] - values[:2]).mean(), rel=1e-3)
    assert (found.n_models, found.newton_change) == (4, None)
    assert found.found_error == pytest.approx(np.ptp(values[2:] - values[:2]) / 2, abs=1e-5)
    with pytest.raises(EstimatorSettingError, match="n_models"):
        pairs(0)


def test_predictions_of_another_net_of_the_same_form_are_refused(case, tmp_path):
    _, run, _, frame, queries, target = case
    loss = "squared" if target == "prediction" else "cross_entropy"
    other = trained(frame.iloc[::-1], run.training.outputs(run.training.features).shape[1], loss)
    store = Store.create(tmp_path / "store")
    with pytest.raises(NetGradientsError, match="whose parameters are not those"):
        recorded(store, run, frame, queries, predicting=other)


def test_a_training_of_other_rows_than_the_table_is_refused():
    frame = table(40, (0, 1))
    with pytest.raises(NetRowsError, match="39 rows"):
        NetRun.train(
            frame,
            features=FEATURES,
            label="y",
            fit=lambda x, y: train_torch(module_for(1), x[1:], y[1:], RECIPE, name="net"),
        )


NET_BLOCKS = """
    SELECT min(parameters_block) AS block FROM net_checkpoint
    UNION ALL SELECT min(inputs_block) FROM net_gradient
    UNION ALL SELECT min(deltas_block) FROM net_gradient
    UNION ALL SELECT min(block) FROM net_scalar
"""


def test_the_blocks_of_a_net_are_no_garbage_and_are_verified(case, tmp_path):
    store = Store.open(shutil.copytree(case[0].directory, tmp_path / "store"))
    orphan = store.put_array(np.ones((1, 1), dtype=np.float32))
    assert store.gc(0.0).blocks == (orphan,)
    assert store.verify().problems == ()
    blocks = store.query(NET_BLOCKS)["block"].to_pylist()
    for block in blocks:
        path = store.directory / "blocks" / block[:2] / f"{block}.parquet"
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert {problem.subject for problem in store.verify().problems} == set(blocks)
    assert len(set(blocks)) == 4
