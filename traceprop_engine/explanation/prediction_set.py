"""A recorded set of predictions, loaded with the model that made them."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from traceprop_engine.attribution import AttributionScores, InfluenceFunction, Target
from traceprop_engine.attribution.ggn import GGN
from traceprop_engine.errors import NoPredictionsError, RowNotFoundError
from traceprop_engine.gradients.stored_net import StoredNet
from traceprop_engine.recording import (
    DatasetVersion,
    RecordedRun,
    decode_labels,
    find_dataset_version,
    load_frame,
    load_questions,
    load_training_run,
)
from traceprop_engine.store import Store
from traceprop_engine.training.tables import class_positions


@dataclass(frozen=True, eq=False)
class PredictionSet:
    """A recorded set of predictions with the model that made them, ready to be explained.

    Attributes:
        version: The dataset version that the predictions stand in.
        frame: Its rows.
        features: The rows as the model saw them, ``[n, n_features]``.
        labels: The true labels, ``[n]``, if they were known.
        model: The training run of the model.
    """

    version: DatasetVersion
    frame: pd.DataFrame
    features: npt.NDArray[np.float64]
    labels: npt.NDArray[np.generic] | None
    model: RecordedRun

    @cached_property
    def influence(self) -> InfluenceFunction:
        """The influence function of a convex model; its curvature is factored at the first use."""
        return InfluenceFunction.fit(self.model.convex)

    @cached_property
    def net_influence(self) -> GGN:
        """The influence of training rows on a net, over all checkpoints that were recorded."""
        return GGN.fit(self._net)

    @cached_property
    def outputs(self) -> npt.NDArray[np.float64]:
        """The output of each row that is explained by default, ``[n]``; of softmax the last one."""
        if isinstance(self.model.run, StoredNet):
            last = len(self._net.steps) - 1
            return np.asarray(self._net.recorded.at(last).values, dtype=np.float64)
        return self.model.convex.outputs(self.features)[:, -1]

    def scores(self, row: int, *, target: Target | None = None) -> AttributionScores:
        """Score every training row for one prediction; see `scores_of`.

        Raises:
            RowNotFoundError: There is no such row.
            InfluenceTargetError: The model has no such target, or it was not recorded.
        """
        if not 0 <= row < self.version.n_rows:
            raise RowNotFoundError(self.version.dataset, row, self.version.n_rows)
        return self.scores_of(np.array([row]), target=target)

    def scores_of(
        self, rows: npt.NDArray[np.integer], *, target: Target | None = None
    ) -> AttributionScores:
        """Score every training row for predictions, ``[n_query, n_train]``.

        Args:
            rows: Row numbers of the predictions.
            target: The output to explain, as for `explain`.

        Raises:
            InfluenceTargetError: The model has no such target, or it was not recorded.
        """
        if isinstance(self.model.run, StoredNet):
            numbers = np.asarray(rows, dtype=np.float64)[:, np.newaxis]
            return self.net_influence.scores(numbers, target=target or self._net.recorded.target)
        labels = None if self.labels is None else self.labels[rows]
        return self.influence.scores(self.features[rows], labels, target=target)

    def explained_labels(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """Return what the explained output of predictions is of, ``[n_query]``.

        Of a softmax net, the position of the predicted class; of a convex model, that of the true
        one. A logit or a value is of no class, and 0 stands for it.
        """
        run = self.model.run
        if run.family != "softmax":
            return np.zeros(len(rows))
        if isinstance(run, StoredNet):
            predicted = self.frame["predicted"].to_numpy()[rows]
            return class_positions(predicted, run.classes)
        known = self.labels
        return np.zeros(len(rows)) if known is None else run.encode(known[rows])

    @property
    def is_of_net(self) -> bool:
        """Whether the model is a net, of which the store has no code."""
        return isinstance(self.model.run, StoredNet)

    @property
    def _net(self) -> StoredNet:
        if not isinstance(self.model.run, StoredNet):
            raise TypeError(f"{self.model.run.name} is no net")
        return self.model.run

    def query(self, row: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.generic] | None]:
        """Return features and label of one prediction, as a batch of one.

        Raises:
            RowNotFoundError: There is no such row.
        """
        if not 0 <= row < self.version.n_rows:
            raise RowNotFoundError(self.version.dataset, row, self.version.n_rows)
        labels = None if self.labels is None else self.labels[row : row + 1]
        return self.features[row : row + 1], labels


def load_predictions(
    store: Store, dataset: str | None = None, *, run_id: str | None = None
) -> PredictionSet:
    """Return a recorded set of predictions.

    Args:
        store: Where it was recorded.
        dataset: Its name or the identifier of its version; the newest set of all by default.
        run_id: The run whose own version comes first.

    Raises:
        NoPredictionsError: The store holds no predictions, or the dataset is not of predictions.
        DatasetNotFoundError: The store has no such dataset.
    """
    version = find_dataset_version(store, dataset or _newest(store), run_id=run_id)
    facts = _prediction_facts(store, version)
    model = load_training_run(store, facts["training_run_id"])
    if isinstance(model.run, StoredNet):
        model = replace(model, run=model.run.asked(load_questions(store, version.id)))
    block = facts["labels_block"]
    labels = None if block is None else store.get_array(block)[:, 0]
    return PredictionSet(
        version=version,
        frame=load_frame(store, version),
        features=store.get_array(facts["features_block"]),
        labels=None if labels is None else decode_labels(model.run.classes, labels),
        model=model,
    )


def _newest(store: Store) -> str:
    found = store.query(
        "SELECT dataset_version_id FROM prediction_set ORDER BY commit_no DESC LIMIT 1"
    ).to_pylist()
    if not found:
        raise NoPredictionsError(None)
    return str(found[0]["dataset_version_id"])


def _prediction_facts(store: Store, version: DatasetVersion) -> dict[str, Any]:
    found = store.query(
        """
        SELECT training_run_id, features_block, labels_block
        FROM prediction_set WHERE dataset_version_id = ?
        """,
        [version.id],
    ).to_pylist()
    if not found:
        raise NoPredictionsError(version.dataset)
    return found[0]
