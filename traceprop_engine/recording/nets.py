"""Nets to store facts, and back: parameters and gradients at each checkpoint, without any code.

What explains a prediction is written down when the net is there: the gradients of its training rows
and of its predictions, as factors where layers have them. So an explanation needs no framework, and
no class that a file could make Python load.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from traceprop_engine.digests import identify
from traceprop_engine.errors import NetGradientsError, NetWeightsError
from traceprop_engine.gradients import LayerGradients, Loss, RowGradients
from traceprop_engine.gradients.net_run import (
    NetPredictions,
    NetRun,
    Parameters,
    family_of,
    state_digest,
)
from traceprop_engine.gradients.stored_net import StoredNet, StoredQuestions
from traceprop_engine.lineage.captured import CapturedLineage
from traceprop_engine.recording.dataset_facts import (
    Facts,
    dataset_facts,
    direct_input,
    frame_facts,
    now,
)
from traceprop_engine.recording.values import Materialization, RecordedRun
from traceprop_engine.store import Store
from traceprop_engine.training.metrics import evaluate_outputs
from traceprop_engine.training.recipe import TrainingRecipe


def record_net_run(
    store: Store, made: Materialization, run: NetRun, lineage: CapturedLineage
) -> tuple[str, str]:
    """Record a net: its training rows, and parameters and gradients at each checkpoint.

    The net is a dataset version of its own whose rows are the training rows, so that a walk along
    row maps goes through it.

    Returns:
        The identifier of the dataset version, and the identifier of the training run.

    Raises:
        NetWeightsError: Its rows had weights, which a store has no place for.
    """
    training = run.training
    states = [training.parameters(checkpoint) for checkpoint in range(len(training.steps))]
    blocks = [store.put_array(_flat(state)) for state in states]
    features = store.put_array(_matrix(training.features))
    targets = np.asarray(training.labels, dtype=np.float64)
    columns = [{"name": name, "type": "float"} for name in run.feature_names]
    version_id, facts = dataset_facts(store, made, blocks[-1], columns, lineage)
    run_id = identify("tr", {"dataset_version_id": version_id, "features": features})
    trained_on = "margin" if training.loss == "cross_entropy" else "prediction"
    facts |= {"net_gradient": [], "net_scalar": []}
    curve = []
    for checkpoint in range(len(states)):
        gradients = training.train_gradients(checkpoint)
        if _is_weighted(gradients, training.loss):
            raise NetWeightsError(run.name)
        curve.append(_mean_loss(gradients, training.loss))
        _add_gradients(store, facts, (run_id, checkpoint), gradients, trained_on)
    outputs = np.asarray(training.outputs(training.features), dtype=np.float64)
    family = family_of(training.loss, outputs)
    facts["training_run"] = [
        {
            "training_run_id": run_id,
            "dataset_version_id": version_id,
            "training_input_id": direct_input(lineage, made.inputs),
            "name": run.name,
            "family": family,
            "label": run.label,
            "classes": list(run.classes),
            "feature_names": list(run.feature_names),
            "n_rows": run.n_train,
            "n_parameters": training.n_parameters,
            "features_block": features,
            "labels_block": store.put_array(targets),
            "n_iterations": training.steps[-1],
            "metrics": evaluate_outputs(outputs, targets, family),
            "loss_curve": curve,
            "net": {
                "loss": training.loss,
                "layout": _layout(states[-1]),
                "recipe": None if training.recipe is None else asdict(training.recipe),
            },
            "created_at": now(),
        }
    ]
    facts["net_checkpoint"] = [
        {
            "training_run_id": run_id,
            "checkpoint": checkpoint,
            "step": step,
            "parameters_block": block,
        }
        for checkpoint, (step, block) in enumerate(zip(training.steps, blocks, strict=True))
    ]
    store.commit(facts, ingest=False)
    return version_id, run_id


def record_net_predictions(
    store: Store,
    made: Materialization,
    predictions: NetPredictions,
    lineage: CapturedLineage,
    model: RecordedRun,
) -> str:
    """Record predictions of a net with their gradients, so that each can be explained.

    Raises:
        NetGradientsError: They were not made by this net.
    """
    net = model.run
    if not isinstance(net, StoredNet) or predictions.net != _digest_of(net):
        raise NetGradientsError(made.dataset, predictions.name, net.name)
    version_id, facts = frame_facts(store, made, predictions.frame, lineage)
    targets = predictions.targets
    facts["prediction_set"] = [
        {
            "dataset_version_id": version_id,
            "training_run_id": model.id,
            "features_block": store.put_array(predictions.features),
            "labels_block": None if targets is None else store.put_array(targets),
            "created_at": now(),
        }
    ]
    facts |= {"net_gradient": [], "net_scalar": []}
    for checkpoint, gradients in enumerate(predictions.gradients):
        _add_gradients(store, facts, (version_id, checkpoint), gradients, predictions.target)
    store.commit(facts, ingest=False)
    return version_id


def stored_net(store: Store, run_id: str, facts: Mapping[str, Any]) -> StoredNet:
    """Return a net from the facts of its training run, JSON columns decoded."""
    checkpoints = store.query(
        "SELECT step, parameters_block FROM net_checkpoint WHERE training_run_id = ?"
        " ORDER BY checkpoint",
        [run_id],
    ).to_pylist()
    blocks = [each["parameters_block"] for each in checkpoints]
    layout, recipe = facts["net"]["layout"], facts["net"]["recipe"]
    return StoredNet(
        name=facts["name"],
        family=facts["family"],
        loss=facts["net"]["loss"],
        steps=tuple(each["step"] for each in checkpoints),
        feature_names=tuple(facts["feature_names"]),
        label=facts["label"],
        classes=tuple(facts["classes"]),
        features=store.get_array(facts["features_block"]),
        targets=store.get_array(facts["labels_block"])[:, 0],
        n_parameters=facts["n_parameters"],
        loss_curve=tuple(facts["loss_curve"]),
        metrics=facts["metrics"],
        recipe=None if recipe is None else TrainingRecipe(**recipe),
        parameters_at=lambda checkpoint: _named(store.get_array(blocks[checkpoint]), layout),
        gradients_at=partial(_load_gradients, store, run_id),
    )


def load_questions(store: Store, dataset_version_id: str) -> StoredQuestions:
    """Return the gradients of the recorded predictions of a net."""
    found = store.query(
        "SELECT target FROM net_scalar WHERE owner_id = ? AND checkpoint = 0", [dataset_version_id]
    )
    target = found.column("target")[0].as_py()
    return StoredQuestions(target, partial(_load_gradients, store, dataset_version_id))


def _add_gradients(
    store: Store, facts: Facts, key: tuple[str, int], gradients: RowGradients, target: str
) -> None:
    """Put the gradients of an owner's rows at a checkpoint into blocks; ``facts`` say where."""
    of = dict(zip(("owner_id", "checkpoint"), key, strict=True))
    parts = [gradients.values, gradients.slopes, gradients.curvatures]
    scalars = np.stack([each for each in parts if len(each)], axis=1)
    facts["net_scalar"].append({**of, "target": target, "block": store.put_array(scalars)})
    facts["net_gradient"] += [
        {**of, "layer": position, "name": layer.name}
        | _part(store, "inputs", layer.inputs)
        | _part(store, "deltas", layer.deltas)
        for position, layer in enumerate(gradients.layers)
    ]


def _part(store: Store, name: str, array: NDArray[np.floating] | None) -> dict[str, object]:
    if array is None:
        return {f"{name}_block": None, f"{name}_shape": None}
    block = store.put_array(array.reshape(len(array), -1))
    return {f"{name}_block": block, f"{name}_shape": list(array.shape)}


def _load_gradients(store: Store, owner_id: str, checkpoint: int) -> RowGradients:
    layers = store.query(
        "SELECT * FROM net_gradient WHERE owner_id = ? AND checkpoint = ? ORDER BY layer",
        [owner_id, checkpoint],
    ).to_pylist()
    scalars = store.query(
        "SELECT block FROM net_scalar WHERE owner_id = ? AND checkpoint = ?", [owner_id, checkpoint]
    )
    columns = store.get_array(scalars.column("block")[0].as_py()).T
    nothing = columns[0][:0]
    slopes, curvatures = (columns[1], columns[2]) if len(columns) > 1 else (nothing, nothing)
    parts = tuple(
        LayerGradients(
            each["name"], _load_part(store, "inputs", each), _load_part(store, "deltas", each)
        )
        for each in layers
    )
    return RowGradients(parts, columns[0], slopes, curvatures)


def _load_part(store: Store, name: str, facts: Mapping[str, Any]) -> Any:
    block = facts[f"{name}_block"]
    if block is None:
        return None
    return store.get_array(block).reshape(json.loads(facts[f"{name}_shape"]))


def _digest_of(net: StoredNet) -> str:
    return state_digest(net.parameters(len(net.steps) - 1))


def _is_weighted(gradients: RowGradients, loss: Loss) -> bool:
    """Say whether the losses of training rows were multiplied by other numbers than 1."""
    if loss == "squared":
        return not np.allclose(gradients.curvatures, 1)
    return not np.allclose(gradients.slopes, -expit(-gradients.values), rtol=1e-3)


def _mean_loss(gradients: RowGradients, loss: Loss) -> float:
    """Return the mean loss of training rows from the scalar that it is a function of."""
    if loss == "cross_entropy":
        return float(np.mean(np.logaddexp(0.0, -gradients.values), dtype=np.float64))
    return float(np.mean(gradients.slopes**2, dtype=np.float64) / 2)


def _matrix(features: NDArray[np.generic]) -> NDArray[np.floating]:
    """Return rows of any shape as one of floats, ``[n, n_features]``."""
    kind = np.float32 if features.dtype == np.float32 else np.float64
    return features.reshape(len(features), -1).astype(kind, copy=False)


def _flat(state: Parameters) -> NDArray[np.floating]:
    """Return the arrays of a net as one vector: float32, or float64 where any needs it."""
    arrays = [np.asarray(array) for array in state.values()]
    narrow = all(array.dtype == np.float32 for array in arrays)
    kind = np.float32 if narrow else np.float64
    return np.concatenate([array.ravel().astype(kind) for array in arrays])


def _layout(state: Parameters) -> list[list[object]]:
    return [[name, list(np.shape(array)), str(array.dtype)] for name, array in state.items()]


def _named(flat: NDArray[np.floating], layout: Sequence[Sequence[Any]]) -> Parameters:
    """Return the arrays of a net by name from one vector; the inverse of `_flat`."""
    sizes = [int(np.prod(shape)) for _, shape, _ in layout]
    parts = np.split(flat[:, 0], np.cumsum(sizes)[:-1])
    return {
        name: part.reshape(shape).astype(dtype)
        for (name, shape, dtype), part in zip(layout, parts, strict=True)
    }
