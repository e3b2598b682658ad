"""What estimators were fitted to, as a store keeps it: the statistic and the rows it was fitted on.

It is what unlearning starts from: take rows out of the statistic, or fit it anew on the others. It
may hold values of rows, such as a largest value or the categories of a column.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from traceprop_engine.recording.row_maps import load_row_map
from traceprop_engine.recording.values import InputKind
from traceprop_engine.store import Store

_LONGEST = 100
_FACTS_OF_THE_COLUMNS = ("feature_names_in_", "n_features_in_")


@dataclass(frozen=True, eq=False)
class FittedStatistic:
    """What an estimator was fitted to on the way to a dataset version.

    Attributes:
        dataset_version_id: The dataset version that depends on it.
        ordinal: Its place among the row maps of that version.
        input_name: The input whose rows it was fitted on.
        input_kind: Whether that is a source or a dataset.
        input_id: The version of that input.
        statistic: The call, such as ``"StandardScaler.fit"``.
        members: The rows of the input that it was fitted on, ascending.
        value: What was fitted: ``estimator``, ``parameters``, ``fitted`` and, of what has
            estimators inside it, ``parts``; see `traceprop_engine.estimators.fitted_statistic`.
    """

    dataset_version_id: str
    ordinal: int
    input_name: str
    input_kind: InputKind
    input_id: str
    statistic: str
    members: npt.NDArray[np.int64]
    value: Mapping[str, Any]


def load_fitted(store: Store, dataset_version_id: str) -> tuple[FittedStatistic, ...]:
    """Return what was fitted on the way to a dataset version, in the order it was recorded.

    Statistics without a fitted value, such as the mean of a column, are not among them, and a store
    has none of what was recorded before schema version 3.
    """
    found = store.query(
        "SELECT * FROM row_map WHERE dataset_version_id = ? AND fitted IS NOT NULL"
        " ORDER BY ordinal",
        [dataset_version_id],
    )
    return tuple(_fitted(store, row) for row in found.to_pylist())


def _fitted(store: Store, facts: Mapping[str, Any]) -> FittedStatistic:
    return FittedStatistic(
        dataset_version_id=facts["dataset_version_id"],
        ordinal=facts["ordinal"],
        input_name=facts["input_name"],
        input_kind=facts["input_kind"],
        input_id=facts["input_id"],
        statistic=facts["statistic"],
        members=load_row_map(store, facts).backward(np.array([0])),
        value=json.loads(facts["fitted"]),
    )


def describe_fitted(fitted: str | None) -> str:
    """Return the fitted attributes of a statistic in a few words; nothing if they are too many.

    Args:
        fitted: The column ``fitted`` of table ``row_map``.

    Example:
        >>> describe_fitted('{"fitted": {"mean_": [35.0], "n_samples_seen_": 2}}')
        'mean_ = [35], n_samples_seen_ = 2'
    """
    value = None if fitted is None else json.loads(fitted)
    attributes = value.get("fitted") if isinstance(value, dict) else None
    if not isinstance(attributes, dict):
        return ""
    text = ", ".join(
        f"{name} = {_shown(each)}"
        for name, each in attributes.items()
        if name not in _FACTS_OF_THE_COLUMNS
    )
    return text if len(text) <= _LONGEST else ""


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return f"{value:.6g}" if isinstance(value, float) else json.dumps(value)
