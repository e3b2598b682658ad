"""Hooks into the methods of estimators: the outermost call of a known one is followed as a whole.

An estimator gets frames without marks, so that what it reads is not noted value by value. What it
was fitted on is noted once, with the fitted statistic; a pandas frame that it gives has the rows of
the one that it was given. An array carries no rows, so the rows that it was made of are noted. An
estimator that is not scikit-learn's own, or calls a function of the user, is left to the capture of
pandas.
"""

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from threading import Lock
from typing import Any

import pandas as pd
from sklearn.base import BaseEstimator

from traceprop_engine.estimators.fitted import fitted_statistic
from traceprop_engine.estimators.known import APPLYING, FITTING, is_known, reads_rows_beside
from traceprop_engine.lineage.captured import Op
from traceprop_engine.lineage.carriers import carried, node_of, placed_of, plain_of, unmarked
from traceprop_engine.lineage.marks import Placed, Step, Tracked, write_note
from traceprop_engine.lineage.openable import Openable
from traceprop_engine.lineage.pandas_patches import Hook, HookSet

_is_inside: ContextVar[bool] = ContextVar("traceprop_inside_estimator", default=False)

# As for pandas: classes are patched for the whole process, or not at all.
_lock = Lock()
_known_hooks: dict[tuple[type, str], Hook] = {}
_hooks = HookSet([])


class EstimatorFollowing(Openable):
    """Follows estimators for as long as it is open; several may be open at once.

    Classes that are imported later are not followed: what they read is noted by the capture of
    pandas. Open it after the imports, inside a `CaptureSession`.

    Example:
        >>> from sklearn.preprocessing import StandardScaler
        >>> from traceprop_engine.lineage import CaptureSession
        >>> scaler = StandardScaler().set_output(transform="pandas")
        >>> with CaptureSession() as session, EstimatorFollowing():
        ...     frame = session.load(pd.DataFrame({"x": [1.0, 2.0, 9.0]}), "visits")
        ...     scaled, lineage = session.finish(scaler.fit_transform(frame).iloc[1:])
        >>> lineage.fidelity, lineage.maps["visits"].backward([0]).tolist()
        ('exact', [1])
        >>> lineage.contexts[0].statistic
        'StandardScaler.fit'
    """

    def __init__(self) -> None:
        self._is_open = False

    def open(self) -> None:
        """Begin to follow the estimators whose classes are loaded; no more than once."""
        if not self._is_open:
            with _lock:
                _hooks.hooks = list(_hooks_of_loaded_classes())
                _hooks.acquire()
            self._is_open = True

    def close(self) -> None:
        """Stop following."""
        if self._is_open:
            self._is_open = False
            with _lock:
                _hooks.release()


def _hooks_of_loaded_classes() -> Iterator[Hook]:
    for cls in _loaded_classes():
        for name in (*FITTING, *APPLYING):
            if name in vars(cls):
                key = (cls, name)
                if key not in _known_hooks:
                    _known_hooks[key] = Hook(cls, name, _wrap_for(name), is_vital=False)
                yield _known_hooks[key]


def _loaded_classes() -> list[type]:
    """Return the classes of estimators, and those that they have methods from."""
    found: dict[type, None] = {}
    waiting: list[type] = [BaseEstimator]
    while waiting:
        cls = waiting.pop()
        if cls not in found:
            found |= dict.fromkeys(base for base in cls.__mro__ if base is not object)
            found[cls] = None
            waiting += cls.__subclasses__()
    return [cls for cls in found if cls.__module__.startswith("sklearn.")]


def _wrap_for(name: str) -> Callable[[Any], Any]:
    def wrap(original: Any) -> Any:
        if not callable(original):
            return _Watched(name, original)

        @functools.wraps(original)
        def hooked(self: Any, *args: Any, **kwargs: Any) -> Any:
            return _called(name, self, functools.partial(original, self), args, kwargs)

        return hooked

    return wrap


class _Watched:
    """Stands for a descriptor that gives a method to some objects only, and still does."""

    def __init__(self, name: str, original: Any) -> None:
        self._name = name
        self._original = original
        self.__doc__ = original.__doc__

    def __get__(self, obj: Any, owner: Any = None) -> Any:
        method = self._original.__get__(obj, owner)
        if obj is None:
            return method

        @functools.wraps(method)
        def hooked(*args: Any, **kwargs: Any) -> Any:
            return _called(self._name, obj, method, args, kwargs)

        return hooked


def _called(
    name: str,
    estimator: Any,
    method: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Any:
    given = [*args, *kwargs.values()]
    marked = [placed for value in given if (placed := placed_of(value)) is not None]
    if not marked or _is_inside.get() or not is_known(estimator):
        return method(*args, **kwargs)
    token = _is_inside.set(True)
    try:
        result = method(
            *map(unmarked, args), **{key: unmarked(value) for key, value in kwargs.items()}
        )
    finally:
        _is_inside.reset(token)
    if name in FITTING:
        _note_fit(estimator, marked)
    subject = args[0] if args else kwargs.get("X")
    return result if result is estimator else _applied(name, estimator, subject, marked, result)


def _note_fit(estimator: Any, marked: Sequence[Placed]) -> None:
    detail = json.dumps(fitted_statistic(estimator), sort_keys=True)
    for mark, rows in marked:
        name = f"{type(estimator).__name__}.fit"
        write_note(mark, name, None, rows, id(rows), rows, detail=detail)


def _applied(name: str, estimator: Any, given: Any, marked: Sequence[Placed], result: Any) -> Any:
    """Return what an estimator gave, with the rows of what it was given if it can carry them."""
    statistic = f"{type(estimator).__name__}.{name}"
    placed = placed_of(given)
    if placed is None or not _can_carry(given, result):
        for mark, rows in marked:
            write_note(mark, statistic, None, rows, id(rows), rows)
        return result
    if reads_rows_beside(estimator):
        mark, rows = placed
        write_note(mark, statistic, None, rows, id(rows), rows)
    node = node_of(placed)
    op = Op(
        name=statistic,
        detail="",
        inputs=tuple(each for each in node.notes.inputs if each in node.roots),
        n_rows_in=(len(placed[1]),),
        n_rows_out=len(result),
    )
    return carried(result, node, (Step(op, placed[0].steps),))


def _can_carry(given: Any, result: Any) -> bool:
    """Say whether a result has the rows of the input, and is of a class that carries them.

    An array stays what it is, unless the input was an array that knows its rows.
    """
    is_frame = isinstance(result, (pd.DataFrame, pd.Series))
    if not is_frame and not (isinstance(given, Tracked) and _has_carrier(result)):
        return False
    return len(result) == len(plain_of(given))


def _has_carrier(value: Any) -> bool:
    return carried.dispatch(type(value)) is not carried.dispatch(object)
