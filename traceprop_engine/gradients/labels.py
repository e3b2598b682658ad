"""Labels of rows as losses of nets read them."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from traceprop_engine.errors import QueryShapeError, UnknownClassError
from traceprop_engine.gradients.recorded import Loss


def encode_labels(labels: ArrayLike, loss: Loss, n_outputs: int, n: int) -> NDArray[np.generic]:
    """Return labels as positions of classes, int32, or as float64 values, ``[n]``.

    Args:
        labels: Positions of classes, or values.
        loss: Which of the two.
        n_outputs: Outputs of the net; one is the log-odds of class 1 of 0 and 1.
        n: Rows.

    Raises:
        QueryShapeError: There is not one label for each row, or one is no finite number.
        UnknownClassError: A class is not a whole number from 0 to the number of classes - 1.
    """
    given = np.asarray(labels)
    if given.shape != (n,):
        raise QueryShapeError("labels", f"one for each of {n} rows", str(list(given.shape)))
    if given.dtype.kind not in "biuf":
        raise QueryShapeError("labels", "numbers (encode classes as 0, 1, ...)", str(given.dtype))
    wrong = ~np.isfinite(given)
    if wrong.any():
        culprit = f"{given[wrong][0]!s} at row {int(np.flatnonzero(wrong)[0])}"
        raise QueryShapeError("labels", "finite", culprit)
    if loss == "squared":
        return given.astype(np.float64)
    classes = range(max(n_outputs, 2))
    known = np.isin(given, classes)
    if not known.all():
        raise UnknownClassError(given[~known][0].item(), tuple(classes))
    return given.astype(np.int32)
