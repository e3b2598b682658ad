"""Predictions of a run, beside the rows they were made for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, softmax

from traceprop_engine.training.losses import Family


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model said of each row of a table.

    Attributes:
        frame: The columns that were kept, then the prediction columns: ``logit`` and
            ``probability`` of the second class (logistic), ``predicted`` and one
            ``probability_<class>`` for each class (softmax), or ``prediction`` (linear). Its index
            is the index of the table that was predicted.
        features: The rows as the model saw them, ``[n, n_features]``.
        labels: The true labels, ``[n]``, if they were known.
    """

    frame: pd.DataFrame
    features: NDArray[np.float64]
    labels: NDArray[np.generic] | None = None

    @property
    def index(self) -> pd.Index:
        """Index of the table that was predicted."""
        return self.frame.index


def prediction_columns(
    outputs: NDArray[np.float64], family: Family, classes: Sequence[object]
) -> dict[str, NDArray[np.generic]]:
    """Return the prediction columns of a family by name, from outputs ``[n, n_outputs]``."""
    if family == "linear":
        return {"prediction": outputs[:, 0]}
    if family == "logistic":
        return {"logit": outputs[:, 0], "probability": expit(outputs[:, 0])}
    shares = softmax(outputs, axis=1)
    columns: dict[str, NDArray[np.generic]] = {
        "predicted": np.asarray(classes)[outputs.argmax(axis=1)]
    }
    for position, value in enumerate(classes):
        columns[f"probability_{value}"] = shares[:, position]
    return columns
