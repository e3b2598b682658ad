"""Estimators in the body of an asset, for assets whose module imported scikit-learn."""

import importlib
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any


def following_estimators() -> AbstractContextManager[Any]:
    """Return what follows estimators while it is open; nothing where scikit-learn is not loaded.

    The library takes a second to import, which an asset without estimators should not wait for.
    """
    if "sklearn.base" not in sys.modules:
        return nullcontext()
    return importlib.import_module("traceprop_engine.estimators").EstimatorFollowing()
