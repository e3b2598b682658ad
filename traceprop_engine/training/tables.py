"""From the columns of a table to the arrays of a model, with every refusal named."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_bool_dtype, is_complex_dtype, is_numeric_dtype

from traceprop_engine.errors import (
    EmptyTableError,
    FeatureListError,
    LabelClassesError,
    NonFiniteColumnError,
    NonNumericFeatureError,
    NumberSizeError,
    UnknownClassError,
    UnknownColumnError,
)

_LARGEST = 1e100
"""Largest number that a column may hold; its square times any number of rows is still finite."""


def check_features(features: Sequence[str], label: str | None) -> tuple[str, ...]:
    """Return the feature names once they can describe a model.

    Raises:
        FeatureListError: There are none, one stands twice, or the label is among them.
    """
    names = tuple(features)
    if isinstance(features, str):
        raise FeatureListError(
            f"`features` is the text {features!r}", "pass a list of column names"
        )
    if not names:
        raise FeatureListError("`features` is empty", "name at least one column")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise FeatureListError(f"Feature {twice[0]!r} is listed twice", "list it once")
    if label in names:
        raise FeatureListError(
            f"Label {label!r} is among the features", "leave it out, or the model copies it"
        )
    return names


def feature_matrix(frame: pd.DataFrame, features: Sequence[str]) -> NDArray[np.float64]:
    """Return the features as ``[n_rows, n_features]`` float64, in the order given.

    Raises:
        EmptyTableError: The table has no rows.
        UnknownColumnError: A feature is not a column.
        FeatureListError: Two columns of the table share the name of a feature.
        NonNumericFeatureError: A column is not of numbers.
        NonFiniteColumnError: A value is missing or infinite.
        NumberSizeError: The values are beyond 1e100, or all within 1e-100 of zero.
    """
    if not len(frame):
        raise EmptyTableError("compute with")
    matrix = np.empty((len(frame), len(features)))
    for position, name in enumerate(features):
        matrix[:, position] = _numbers(column_of(frame, name), name)
    return matrix


def label_values(frame: pd.DataFrame, label: str) -> NDArray[np.generic]:
    """Return the label of each row as it stands in the table, ``[n_rows]``.

    Raises:
        UnknownColumnError: The label is not a column.
        NonFiniteColumnError: A label is missing.
    """
    column = column_of(frame, label)
    missing = np.flatnonzero(column.isna().to_numpy())
    if len(missing):
        _refuse_value(column, label, int(missing[0]), "missing")
    return np.asarray(column)


def label_numbers(frame: pd.DataFrame, label: str) -> NDArray[np.float64]:
    """Return a numeric label, ``[n_rows]`` float64.

    Raises:
        UnknownColumnError: The label is not a column.
        NonNumericFeatureError: It is not of numbers.
        NonFiniteColumnError: A value is missing or infinite.
        NumberSizeError: The values are beyond 1e100, or all within 1e-100 of zero.
    """
    return _numbers(column_of(frame, label), label)


def find_classes(labels: NDArray[np.generic], label: str, *, binary: bool) -> tuple[object, ...]:
    """Return the classes of a label in ascending order.

    Raises:
        LabelClassesError: There is only one, or ``binary`` and there are more than two.
    """
    distinct = pd.unique(labels).tolist()
    classes = tuple(sorted(distinct, key=lambda value: (type(value).__name__, value)))
    if len(classes) == 1:
        raise LabelClassesError(label, classes, "a classifier needs at least two to tell apart")
    if binary and len(classes) > 2:  # noqa: PLR2004 - binary means two
        raise LabelClassesError(
            label, classes, "a logistic model needs exactly two, so use train_softmax for more"
        )
    return classes


def class_positions(
    labels: NDArray[np.generic] | Sequence[object], classes: Sequence[object]
) -> NDArray[np.float64]:
    """Return the position in ``classes`` of each label, ``[n]``, as floats.

    Raises:
        UnknownClassError: A label is not one of the classes.
    """
    values = pd.Index(np.asarray(labels))
    positions = pd.Index(list(classes)).get_indexer(values)
    strangers = np.flatnonzero(positions < 0)
    if len(strangers):
        raise UnknownClassError(values[strangers[0]], classes)
    return positions.astype(np.float64)


def column_of(frame: pd.DataFrame, name: str) -> pd.Series:
    """Return a column by name.

    Raises:
        UnknownColumnError: There is no such column; the message lists near names.
        FeatureListError: Two columns have this name.
    """
    if name not in frame.columns:
        raise UnknownColumnError(name, list(map(str, frame.columns)))
    column = frame[name]
    if isinstance(column, pd.DataFrame):
        raise FeatureListError(
            f"The table has {column.shape[1]} columns named {name!r}", "rename all but one"
        )
    return column


def _numbers(column: pd.Series, name: str) -> NDArray[np.float64]:
    dtype = column.dtype
    real = is_numeric_dtype(dtype) or is_bool_dtype(dtype)
    if not real or is_complex_dtype(dtype):
        raise NonNumericFeatureError(name, str(dtype))
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        value = values[bad[0]]
        _refuse_value(column, name, int(bad[0]), "missing (NaN)" if np.isnan(value) else value)
    largest = float(np.abs(values).max(initial=0.0))
    if largest > _LARGEST or 0 < largest < 1 / _LARGEST:
        raise NumberSizeError(name, largest)
    return values


def _refuse_value(column: pd.Series, name: str, position: int, value: object) -> None:
    raise NonFiniteColumnError(name, position, column.index[position], value)
