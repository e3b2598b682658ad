"""What an estimator was fitted to, as a value of JSON: its class, parameters and attributes.

Enough to take rows out again where the statistic allows it: counts, sums, means and variances,
categories, components. How long a fit took is a reading of a clock and no part of it.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

_MOST_VALUES = 10_000
_DEEPEST = 6
_CLOCK = "_time_"
_CLOCKS_OF_A_SEARCH = frozenset(
    f"{statistic}_{phase}_time" for statistic in ("mean", "std") for phase in ("fit", "score")
)


def fitted_statistic(estimator: BaseEstimator) -> dict[str, Any]:
    """Return what an estimator was fitted to.

    Args:
        estimator: A fitted estimator; those inside it, as of a pipeline, are described too.

    Returns:
        ``estimator`` (its class), ``parameters``, ``fitted`` (its fitted attributes) and, if it has
        some, ``parts``. An array is its values, or, with more than 10,000 of them, its shape, dtype
        and SHA-256. Values that JSON has no form of, and lists and dictionaries of more than 10,000
        entries, are named by their class. Equal fits give equal values in every process.
    """
    parts = {
        name: fitted_statistic(part)
        for name, part in _parts_of(estimator).items()
        if isinstance(part, BaseEstimator)
    }
    parameters = {
        name: _value(value, 0)
        for name, value in estimator.get_params(deep=False).items()
        if not _holds_estimators(value)
    }
    return {
        "estimator": f"{type(estimator).__module__}.{type(estimator).__qualname__}",
        "parameters": parameters,
        "fitted": {
            name: _value(value, 0)
            for name, value in sorted(vars(estimator).items())
            if _is_fitted(name) and not _holds_estimators(value)
        },
        **({"parts": parts} if parts else {}),
    }


def _is_fitted(attribute: str) -> bool:
    """Say whether an attribute is what scikit-learn calls fitted, and no reading of a clock."""
    is_public = attribute.endswith("_") and not attribute.startswith("_")
    return is_public and not attribute.endswith(_CLOCK)


def _parts_of(estimator: Any) -> dict[str, Any]:
    """Return the fitted estimators inside another one, by name."""
    for attribute in ("steps", "transformers_", "transformer_list"):
        members = getattr(estimator, attribute, None)
        if members is not None:
            return {str(member[0]): member[1] for member in members}
    return {
        name.removesuffix("_"): value
        for name, value in vars(estimator).items()
        if name.endswith("_") and isinstance(value, BaseEstimator)
    }


def _holds_estimators(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_holds_estimators(each) for each in value)
    if isinstance(value, Mapping):
        return any(_holds_estimators(each) for each in value.values())
    return isinstance(value, BaseEstimator)


def _value(value: Any, depth: int) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()  # a lone surrogate has no UTF-8
    if isinstance(value, float):
        return value if np.isfinite(value) else repr(value)
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, np.ndarray):
        return _array(value, depth)
    return _collection(value, depth)


def _collection(value: Any, depth: int) -> Any:
    is_collection = isinstance(value, (Mapping, set, frozenset, list, tuple))
    if not is_collection or depth >= _DEEPEST or len(value) > _MOST_VALUES:
        return {"class": f"{type(value).__module__}.{type(value).__qualname__}"}
    if isinstance(value, Mapping):
        return _mapping(value, depth)
    if isinstance(value, (set, frozenset)):
        value = sorted(value, key=repr)
    return [_value(each, depth + 1) for each in value]


def _mapping(values: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    return {
        _value(str(key), depth): _value(each, depth + 1)
        for key, each in values.items()
        if key not in _CLOCKS_OF_A_SEARCH
    }


def _array(array: np.ndarray, depth: int) -> Any:
    if array.ndim == 0:
        return _value(array.tolist(), depth)  # of a place that is masked, None
    if array.size <= _MOST_VALUES and depth < _DEEPEST:
        return [_value(each, depth + 1) for each in array]
    facts: dict[str, Any] = {"shape": list(array.shape), "dtype": str(array.dtype)}
    if not array.dtype.hasobject:
        facts["sha256"] = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return facts
