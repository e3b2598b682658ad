"""Hooks into pandas: put in place when the first session opens, taken out when the last closes."""

import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from types import FrameType
from typing import Any

import pandas as pd
from pandas.core import algorithms
from pandas.util._decorators import cache_readonly

from traceprop_engine.errors import PandasInternalsError

Wrap = Callable[[Any], Any]
"""Takes an attribute as it stands in its owner's namespace, gives what stands there instead."""

Observer = Callable[[Any, tuple[Any, ...], dict[str, Any]], None]
"""Sees the result and the arguments of a call that succeeded; changes neither."""

# Functions of pandas that call what the user passed in: their caller is the user.
# Training reads a table row by row, and keeps its index: nothing leaves unseen.
_OWN_ROW_BY_ROW = "traceprop_engine.training."
_GO_BETWEENS = (
    "pandas.core.common",
    "pandas.core.computation.expr",
    "pandas.core.computation.ops",
)

# Public functions that hand over to a method, and those that only call for others.
_SERVE_USERS = tuple(
    inspect.unwrap(function).__code__
    for function in (algorithms.factorize, algorithms.unique, pd.DataFrame.query)
)
_PASSED_OVER = ("numpy.", "traceprop_engine.arrays.exits", "traceprop_engine.lineage.pandas_")

_ABSENT = object()


@dataclass(frozen=True)
class Hook:
    """What to put in the place of one attribute.

    Attributes:
        owner: A class or a module of pandas.
        name: The attribute.
        wrap: Makes the replacement from the original.
        is_vital: Whether lineage would be wrong, not merely lost, if pandas had no such attribute.
    """

    owner: Any
    name: str
    wrap: Wrap
    is_vital: bool = True


@dataclass
class HookSet:
    """Hooks that several sessions share; they stand as long as one of them is open."""

    hooks: Sequence[Hook]
    _n_open: int = 0
    _put: list[tuple[Hook, Any, Any]] = field(default_factory=list)
    _made: dict[int, tuple[Any, Any]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def acquire(self) -> None:
        """Put the hooks in place, if they are not.

        Raises:
            PandasInternalsError: This pandas lacks an internal function that is watched.
        """
        with self._lock:
            if self._n_open == 0:
                self._require_all()
                self._put_all()
            self._n_open += 1

    def release(self) -> None:
        """Take the hooks out, if nobody else needs them.

        A function that somebody else wrapped meanwhile stays: what is inside does nothing without
        an open session.
        """
        with self._lock:
            self._n_open -= 1
            if self._n_open == 0:
                self._take_all_out()

    def _put_all(self) -> None:
        standing = {id(hook) for hook, _, _ in self._put}
        try:
            for hook in self.hooks:
                if id(hook) not in standing:
                    self._put_one(hook)
        except BaseException:
            self._take_all_out()
            raise

    def _take_all_out(self) -> None:
        self._put = [kept for kept in reversed(self._put) if not _take_out(*kept)][::-1]

    def _require_all(self) -> None:
        for hook in self.hooks:
            if hook.is_vital and not hasattr(hook.owner, hook.name):
                raise PandasInternalsError(f"there is no {hook.owner.__name__}.{hook.name}")

    def _put_one(self, hook: Hook) -> None:
        if not hasattr(hook.owner, hook.name):
            return
        before = vars(hook.owner).get(hook.name, _ABSENT)
        original = getattr(hook.owner, hook.name) if before is _ABSENT else before
        replacement = self._replacement(hook, original)
        setattr(hook.owner, hook.name, replacement)
        self._put.append((hook, before, replacement))

    def _replacement(self, hook: Hook, original: Any) -> Any:
        """Return what stands in for ``original``, the same at every opening."""
        made_of, replacement = self._made.get(id(hook), (None, None))
        if made_of is not original:
            replacement = hook.wrap(original)
            self._made[id(hook)] = (original, replacement)
        return replacement


def _take_out(hook: Hook, before: Any, replacement: Any) -> bool:
    if vars(hook.owner).get(hook.name) is not replacement:
        return False
    if before is _ABSENT:
        delattr(hook.owner, hook.name)
    else:
        setattr(hook.owner, hook.name, before)
    return True


def observed(observer: Observer) -> Wrap:
    """Return a wrap that lets ``observer`` see every call after it succeeded."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def hooked(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            observer(result, args, kwargs)
            return result

        return hooked

    return wrap


def observed_property(observer: Observer) -> Wrap:
    """Return a wrap for a property."""

    def wrap(original: property) -> property:
        getter = original.fget
        if getter is None:
            return original
        return property(observed(observer)(getter), original.fset, doc=original.__doc__)

    return wrap


def observed_classmethod(observer: Observer) -> Wrap:
    """Return a wrap for a class method; the observer sees the class as the first argument."""

    def wrap(original: Any) -> Any:
        return classmethod(observed(observer)(original.__func__))

    return wrap


def observed_static(observer: Observer) -> Wrap:
    """Return a wrap for a static method, such as ``__new__``."""

    def wrap(original: Any) -> Any:
        return staticmethod(observed(observer)(original.__func__))

    return wrap


def cached(change: Callable[[Any, Any], Any]) -> Wrap:
    """Return a wrap for a cached property, whose value goes through ``change(owner, value)``."""

    def wrap(original: Any) -> Any:
        getter = original.fget

        @functools.wraps(getter)
        def hooked(self: Any) -> Any:
            return change(self, getter(self))

        return cache_readonly(hooked)

    return wrap


def argument(
    args: tuple[Any, ...], kwargs: dict[str, Any], at: int, name: str, default: Any = None
) -> Any:
    """Return an argument that may have been passed by position or by name."""
    return args[at] if len(args) > at else kwargs.get(name, default)


def caller(frame: FrameType | None) -> FrameType | None:
    """Return who a call is made for: NumPy and hooks, this one's too, call for their callers."""
    while frame is not None and _is_passed_over(frame):
        frame = frame.f_back
    return frame


def is_user(frame: FrameType | None) -> bool:
    """Say whether a call comes from outside pandas."""
    found = caller(frame)
    module = "" if found is None else _module(found)
    if module.startswith(_OWN_ROW_BY_ROW):
        return False
    return not module.startswith("pandas.") or module.startswith(_GO_BETWEENS)


def called_by_user() -> bool:
    """Say, inside an observer, whether the observed function was called from outside pandas."""
    return is_user(sys._getframe(2))


def called_by(function: Any) -> FrameType | None:
    """Return, inside an observer, the frame of the caller if it is this function of pandas."""
    found = caller(sys._getframe(2))
    return found if found is not None and found.f_code is function.__code__ else None


def _is_passed_over(frame: FrameType) -> bool:
    return _module(frame).startswith(_PASSED_OVER) or frame.f_code in _SERVE_USERS


def _module(frame: FrameType) -> str:
    return frame.f_globals.get("__name__", "")
