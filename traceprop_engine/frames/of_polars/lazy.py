"""A query on a tracked Polars frame."""

from collections.abc import Callable
from typing import Any

import polars as pl

from traceprop_engine.frames.followed import FollowedFrame
from traceprop_engine.frames.of_polars.groups import TrackedGroups


class TrackedLazy:
    """A query on a tracked Polars frame; each verb of it is computed at once.

    That gives what Polars gives, without what Polars would save.
    """

    __slots__ = ("_tracked",)

    def __init__(self, tracked: Any) -> None:
        """Hold a tracked frame, or groups of one."""
        self._tracked = tracked

    def collect(self, **_options: Any) -> Any:
        """Return the frame."""
        return self._tracked

    def lazy(self) -> "TrackedLazy":
        """Return the query itself."""
        return self

    def pipe(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return what ``function`` gives for this query."""
        return function(self, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        is_frame = isinstance(self._tracked, FollowedFrame)
        if name.startswith("__") or (is_frame and not hasattr(pl.LazyFrame, name)):
            raise AttributeError(f"a polars.LazyFrame has no attribute {name!r}")
        method = getattr(self._tracked, name)
        if not callable(method):
            return method

        def call(*args: Any, **kwargs: Any) -> Any:
            result = method(
                *map(_eager, args), **{key: _eager(value) for key, value in kwargs.items()}
            )
            is_query = isinstance(result, (FollowedFrame, TrackedGroups))
            return TrackedLazy(result) if is_query else result

        return call


def _eager(value: Any) -> Any:
    return value.collect() if isinstance(value, TrackedLazy) else value
