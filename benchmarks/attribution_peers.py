"""Other attribution packages on the nets of the benchmarks, each as its documentation says.

Every peer gets the same trained module, the same rows and queries, and the checkpoints it is named
with; its processor time is all it does from there on. Packages: ``traker``, ``dattri``,
``kronfluence``, ``captum``, ``traceprop`` 0.7.0, in an environment of their own.
"""

import copy
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

Scores = NDArray[np.floating]
State = dict[str, Tensor]
_BATCH = 1000


@dataclass(frozen=True)
class PeerTask:
    """A trained module of two or more outputs, its checkpoints, rows and queries."""

    module: nn.Module
    states: tuple[State, ...]
    rows: Tensor
    labels: Tensor
    queries: Tensor
    query_labels: Tensor

    def final(self) -> nn.Module:
        """Return a fresh module with the last checkpoint."""
        return self.at(self.states[-1])

    def at(self, state: State) -> nn.Module:
        """Return a fresh module with a checkpoint."""
        module = copy.deepcopy(self.module).eval()
        module.load_state_dict(state)
        return module

    def batches(self) -> DataLoader[Any]:
        """Return the training rows in order."""
        return DataLoader(TensorDataset(self.rows, self.labels), batch_size=_BATCH)


class TwoOutputs(nn.Module):
    """A binary net of one output as one of two, which the peers expect."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, rows: Tensor) -> Tensor:
        """Return 0 and the log-odds of class 1."""
        outputs = self.net(rows)
        return torch.cat([torch.zeros_like(outputs), outputs], dim=-1)


def margins(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the log-odds of each row's class against all others."""
    right = torch.arange(outputs.shape[-1]) == labels[..., None]
    own = outputs.gather(-1, labels[..., None]).squeeze(-1)
    return own - torch.logsumexp(outputs.masked_fill(right, float("-inf")), -1)


def peers_of(setting: str) -> Mapping[str, Callable[[PeerTask], Scores]]:
    """Return the peers to run for a setting, by the name in its table."""
    small = setting == "digits" or setting.startswith("cnn")
    strong = 100.0 if setting == "digits" else 1000.0
    peers: dict[str, Callable[[PeerTask], Scores]] = {
        "traceprop 0.7.0 dot": partial(old_traceprop, estimator="dot"),
        "traceprop 0.7.0 trak": partial(old_traceprop, estimator="trak"),
        "traker k=512": partial(traker, size=512, damping=0.0, n_checkpoints=1),
        "traker k=512, 5 checkpoints": partial(traker, size=512, damping=0.0, n_checkpoints=5),
        "dattri TRAK k=512, 5 checkpoints": partial(dattri_trak, n_checkpoints=5),
        "dattri EK-FAC": dattri_ekfac,
        "kronfluence EK-FAC": partial(kronfluence, strategy="ekfac", n_checkpoints=1),
        "kronfluence EK-FAC, 5 checkpoints": partial(
            kronfluence, strategy="ekfac", n_checkpoints=5
        ),
        "kronfluence K-FAC, 5 checkpoints": partial(kronfluence, strategy="kfac", n_checkpoints=5),
        "captum TracInCPFast, 5 checkpoints": captum_fast,
    }
    if small:
        for count in (1, 5):
            name = f"traker k=2048, damping {strong:g} (tuned), {count} checkpoints"
            peers[name] = partial(traker, size=2048, damping=strong, n_checkpoints=count)
        peers["captum Arnoldi"] = captum_arnoldi
    if setting == "digits":
        peers["dattri IF-CG, 10 steps"] = dattri_cg
    return peers


def traker(task: PeerTask, *, size: int, damping: float, n_checkpoints: int) -> Scores:
    """Return TRAK's scores by the package of its authors."""
    from trak import TRAKer  # noqa: PLC0415 - a peer
    from trak.projectors import BasicProjector  # noqa: PLC0415 - a peer

    module = task.final()
    n_parameters = sum(p.numel() for p in module.parameters())
    projector = BasicProjector(n_parameters, size, 0, "rademacher", "cpu")
    with tempfile.TemporaryDirectory() as folder:
        tracer = TRAKer(
            model=module,
            task="image_classification",
            train_set_size=len(task.rows),
            save_dir=folder,
            device="cpu",
            projector=projector,
            proj_dim=size,
            use_half_precision=False,
            lambda_reg=damping,
            logging_level=logging.ERROR,
        )
        states = task.states[-n_checkpoints:]
        for place, state in enumerate(states):
            tracer.load_checkpoint(state, model_id=place)
            for rows, labels in task.batches():
                tracer.featurize(batch=[rows, labels], num_samples=len(rows))
        tracer.finalize_features()
        for place, state in enumerate(states):
            tracer.start_scoring_checkpoint(
                exp_name="q", checkpoint=state, model_id=place, num_targets=len(task.queries)
            )
            tracer.score(batch=[task.queries, task.query_labels], num_samples=len(task.queries))
        return np.array(tracer.finalize_scores(exp_name="q")).T


def dattri_trak(task: PeerTask, *, n_checkpoints: int) -> Scores:
    """Return TRAK's scores by dattri, with its projection of 512."""
    from dattri.algorithm import TRAKAttributor  # noqa: PLC0415 - a peer

    module = task.final()

    def margin(params: Any, data: Any) -> Tensor:
        return margins(_one(module, params, data[0]), data[1])

    def right(params: Any, data: Any) -> Tensor:
        outputs = _one(module, params, data[0])[None]
        return torch.exp(-functional.cross_entropy(outputs, data[1][None]))

    attributor = TRAKAttributor(
        task=_dattri_task(margin, module, task.states[-n_checkpoints:]),
        correct_probability_func=right,
        device="cpu",
        projector_kwargs={"proj_dim": 512, "device": "cpu"},
    )
    attributor.cache(task.batches())
    with torch.no_grad():
        return attributor.attribute(_queries(task)).numpy().T


def dattri_ekfac(task: PeerTask) -> Scores:
    """Return EK-FAC influence by dattri."""
    from dattri.algorithm import IFAttributorEKFAC  # noqa: PLC0415 - a peer

    module = task.final()
    attributor = IFAttributorEKFAC(_dattri_task(_loss(module), module, task.states[-1:]))
    attributor.cache(task.batches())
    with torch.no_grad():
        return attributor.attribute(task.batches(), _queries(task)).numpy().T


def dattri_cg(task: PeerTask) -> Scores:
    """Return influence by conjugate gradients by dattri."""
    from dattri.algorithm import IFAttributorCG  # noqa: PLC0415 - a peer

    module = task.final()
    attributor = IFAttributorCG(
        _dattri_task(_loss(module), module, task.states[-1:]), max_iter=10, regularization=1e-2
    )
    every = DataLoader(TensorDataset(task.rows, task.labels), batch_size=len(task.rows))
    attributor.cache(every)
    with torch.no_grad():
        return attributor.attribute(task.batches(), _queries(task)).numpy().T


def kronfluence(task: PeerTask, *, strategy: str, n_checkpoints: int) -> Scores:
    """Return Kronecker-factored influence by kronfluence, damped by its heuristic."""
    from kronfluence.analyzer import Analyzer, prepare_model  # noqa: PLC0415 - a peer
    from kronfluence.arguments import FactorArguments, ScoreArguments  # noqa: PLC0415 - a peer

    words = _kronfluence_task()
    train = TensorDataset(task.rows, task.labels)
    queries = TensorDataset(task.queries, task.query_labels)
    total: Scores = np.zeros((len(task.queries), len(task.rows)))
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for state in task.states[-n_checkpoints:]:
                analyzer = Analyzer(
                    "net",
                    prepare_model(task.at(state), words),
                    words,
                    cpu=True,
                    disable_tqdm=True,
                    log_level=logging.ERROR,
                    disable_model_save=True,
                )
                analyzer.fit_all_factors(
                    "factors",
                    dataset=train,
                    per_device_batch_size=_BATCH,
                    factor_args=FactorArguments(strategy=strategy),
                    overwrite_output_dir=True,
                )
                analyzer.compute_pairwise_scores(
                    "scores",
                    factors_name="factors",
                    query_dataset=queries,
                    train_dataset=train,
                    per_device_query_batch_size=len(queries),
                    per_device_train_batch_size=_BATCH,
                    score_args=ScoreArguments(damping_factor=None),
                    overwrite_output_dir=True,
                )
                total += analyzer.load_pairwise_scores("scores")["all_modules"].float().numpy()
        finally:
            os.chdir(before)
    return total


def captum_fast(task: PeerTask) -> Scores:
    """Return TracIn of the last layer by captum, over the checkpoints."""
    from captum.influence import TracInCPFast  # noqa: PLC0415 - a peer

    module = task.final()
    last = [layer for layer in module.modules() if isinstance(layer, nn.Linear)][-1]
    with tempfile.TemporaryDirectory() as folder:
        paths = _saved(task.states, folder)
        attributor = TracInCPFast(
            module,
            last,
            TensorDataset(task.rows, task.labels),
            paths,
            checkpoints_load_func=_load,
            loss_fn=nn.CrossEntropyLoss(reduction="sum"),
            batch_size=_BATCH,
        )
        return attributor.influence((task.queries, task.query_labels)).detach().numpy()


def captum_arnoldi(task: PeerTask) -> Scores:
    """Return influence by Arnoldi's iteration by captum, in its default settings."""
    from captum.influence._core.arnoldi_influence_function import (  # noqa: PLC0415 - a peer
        ArnoldiInfluenceFunction,
    )

    with tempfile.TemporaryDirectory() as folder:
        attributor = ArnoldiInfluenceFunction(
            task.final(),
            TensorDataset(task.rows, task.labels),
            _saved(task.states[-1:], folder)[0],
            checkpoints_load_func=_load,
            loss_fn=nn.CrossEntropyLoss(reduction="sum"),
            batch_size=_BATCH,
            sample_wise_grads_per_batch=True,
        )
        return attributor.influence((task.queries, task.query_labels)).detach().numpy()


def old_traceprop(task: PeerTask, *, estimator: str) -> Scores:
    """Return the scores of traceprop 0.7.0 from last-layer gradients, as its experiments do."""
    from traceprop.attribution.attribution_engine import AttributionEngine  # noqa: PLC0415 - a peer
    from traceprop.attribution.gradient_store import GradientStore  # noqa: PLC0415 - a peer

    module = task.final()
    store = GradientStore(proj_dim=4096, seed=42)
    store.log_batch(_last_layer(module, task.rows, task.labels), source_id="x")
    engine = AttributionEngine(store, estimator=estimator)
    return engine.attribute_scores_batch(_last_layer(module, task.queries, task.query_labels))


def _last_layer(module: nn.Module, rows: Tensor, labels: Tensor) -> NDArray[np.float32]:
    """Return the gradient of each row's loss in the weights of the last layer."""
    last = [layer for layer in module.modules() if isinstance(layer, nn.Linear)][-1]
    inputs: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _layer, args: inputs.append(args[0]))
    with torch.no_grad():
        shares = torch.softmax(module(rows), -1)
    hook.remove()
    deltas = (shares - functional.one_hot(labels, shares.shape[1]))[:, -last.out_features :]
    return (deltas[:, :, None] * inputs[0][:, None, :]).flatten(1).numpy()


def _one(module: nn.Module, params: Any, row: Tensor) -> Tensor:
    outputs: Tensor = torch.func.functional_call(module, params, (row[None],))
    return outputs[0]


def _loss(module: nn.Module) -> Callable[[Any, Any], Tensor]:
    def loss(params: Any, data: Any) -> Tensor:
        rows, labels = data
        if labels.dim() == 0:
            rows, labels = rows[None], labels[None]
        return functional.cross_entropy(torch.func.functional_call(module, params, rows), labels)

    return loss


def _dattri_task(
    loss: Callable[[Any, Any], Tensor], module: nn.Module, states: tuple[State, ...]
) -> Any:
    from dattri.task import AttributionTask  # noqa: PLC0415 - a peer

    return AttributionTask(loss_func=loss, model=module, checkpoints=list(states))


def _queries(task: PeerTask) -> DataLoader[Any]:
    return DataLoader(TensorDataset(task.queries, task.query_labels), batch_size=len(task.queries))


def _saved(states: tuple[State, ...], folder: str) -> list[str]:
    paths = [f"{folder}/{place}.pt" for place in range(len(states))]
    for state, path in zip(states, paths, strict=True):
        torch.save(state, path)
    return paths


def _load(module: nn.Module, path: str) -> float:
    module.load_state_dict(torch.load(path))
    return 1.0


def _kronfluence_task() -> Any:
    from kronfluence.task import Task  # noqa: PLC0415 - a peer

    class Classification(Task):
        """Summed cross-entropy; the margin of a query."""

        def compute_train_loss(self, batch: Any, model: Any, sample: bool = False) -> Any:  # noqa: FBT001, FBT002 - its name
            rows, labels = batch
            outputs = model(rows)
            if sample:
                with torch.no_grad():
                    labels = torch.multinomial(torch.softmax(outputs, -1), 1).flatten()
            return functional.cross_entropy(outputs, labels, reduction="sum")

        def compute_measurement(self, batch: Any, model: Any) -> Any:
            rows, labels = batch
            return -margins(model(rows), labels).sum()

        def get_influence_tracked_modules(self) -> Any:
            return None

    return Classification()
