"""Rows as JAX takes them: floating-point in one type, or whole numbers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.errors import QueryShapeError


def checked_features(
    what: str, given: Any, dtype: np.dtype, *, whole: bool | None = None
) -> NDArray[np.generic]:
    """Return rows as floats of a type, or as int32 where they are whole numbers.

    Args:
        what: What the rows are called.
        given: ``[n, ...]``.
        dtype: Type of the floats.
        whole: Whether they are to stay whole numbers; what they are decides by default.

    Raises:
        QueryShapeError: They are no finite numbers, or do not fit int32.
    """
    features = np.asarray(given)
    kind = features.dtype.kind
    if features.ndim == 0 or kind not in "biuf":
        raise QueryShapeError(what, "an array of numbers, [n, ...]", f"dtype {features.dtype}")
    if kind in "iu" if whole is None else whole:
        return _as_int32(what, features)
    if kind == "f" and not np.isfinite(features).all():
        raise QueryShapeError(what, "finite", "a missing or infinite value")
    return features.astype(dtype)


def _as_int32(what: str, features: NDArray[np.generic]) -> NDArray[np.int32]:
    """Return whole numbers as JAX keeps them, whether or not it is set to 64 bits."""
    narrow = features.astype(np.int32)
    if not np.array_equal(narrow, features):
        wrong = features[narrow != features].flat[0]
        raise QueryShapeError(what, "whole numbers that fit int32", f"{wrong}")
    return narrow
