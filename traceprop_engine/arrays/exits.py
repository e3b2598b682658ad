"""Values that leave through `numpy.asarray` and its like, which ask no array whether it minds.

Once the first tracked array exists these functions of the module write down that its rows left.
They do nothing else: what they return is what NumPy returns.
"""

import functools
from collections.abc import Callable
from threading import Lock
from types import FunctionType
from typing import Any

import numpy as np

from traceprop_engine.arrays.combining import keeps_nothing
from traceprop_engine.arrays.memory import RowArray, held_of

_NAMES = [
    "array",
    "asarray",
    "asarray_chkfinite",
    "ascontiguousarray",
    "asfortranarray",
    "require",
    "asmatrix",
]
_WATCHED = "__traceprop_watched__"

_lock = Lock()


def watch_exits() -> None:
    """Let NumPy's own conversions of arrays be noted, from now on."""
    if hasattr(np.asarray, _WATCHED):
        return
    with _lock:
        for name in _NAMES:
            original = getattr(np, name)
            if not hasattr(original, _WATCHED):
                setattr(np, name, _watched(original, f"np.{name}"))


def _watched(original: Callable[..., Any], name: str) -> Callable[..., Any]:
    def watched(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        for each in (*args[:1], *kwargs.values()):
            _note(each, name)
        return result

    # It stands for a function of NumPy, and is NumPy to who asks on whose behalf it calls: pandas'
    # own conversions must not look like those of its user.
    space = {**globals(), "__name__": f"numpy.{original.__name__}"}
    standing = FunctionType(
        watched.__code__, space, original.__name__, watched.__defaults__, watched.__closure__
    )
    functools.update_wrapper(standing, original)
    setattr(standing, _WATCHED, original)
    return standing


def _note(value: Any, name: str) -> None:
    if isinstance(value, RowArray):
        held = held_of(value)
        if held is not None and not keeps_nothing():
            held.lines.note(name)
    elif type(value) in (list, tuple):
        for each in value:
            if not isinstance(each, (float, int, str)):
                _note(each, name)
