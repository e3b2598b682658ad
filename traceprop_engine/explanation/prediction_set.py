"""A recorded set of predictions, loaded with the model that made them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from traceprop_engine.attribution import InfluenceFunction
from traceprop_engine.errors import NoPredictionsError, RowNotFoundError
from traceprop_engine.recording import (
    DatasetVersion,
    RecordedRun,
    decode_labels,
    find_dataset_version,
    load_frame,
    load_training_run,
)
from traceprop_engine.store import Store


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
        """The influence function of the model; its curvature is factored at the first use."""
        return InfluenceFunction.fit(self.model.run)

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
