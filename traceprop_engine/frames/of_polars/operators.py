"""Comparison and arithmetic of tracked Polars frames, value by value."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from traceprop_engine.frames.followed import FollowedFrame
from traceprop_engine.lineage.carriers import plain_of


class ComparedFrame(FollowedFrame):
    """A frame whose operators give frames of the same rows."""

    __slots__ = ()

    # Frames of equal values are not the same frame; Polars has no hash of them either.
    __hash__: Any = None

    def __eq__(self, other: object) -> Any:
        return self._operated(operator.eq, other)

    def __ne__(self, other: object) -> Any:
        return self._operated(operator.ne, other)

    def __lt__(self, other: object) -> Any:
        return self._operated(operator.lt, other)

    def __le__(self, other: object) -> Any:
        return self._operated(operator.le, other)

    def __gt__(self, other: object) -> Any:
        return self._operated(operator.gt, other)

    def __ge__(self, other: object) -> Any:
        return self._operated(operator.ge, other)

    def __add__(self, other: object) -> Any:
        return self._operated(operator.add, other)

    def __sub__(self, other: object) -> Any:
        return self._operated(operator.sub, other)

    def __mul__(self, other: object) -> Any:
        return self._operated(operator.mul, other)

    def __radd__(self, other: object) -> Any:
        return self._operated(pl.DataFrame.__radd__, other)

    def __rmul__(self, other: object) -> Any:
        return self._operated(operator.mul, other)

    def __truediv__(self, other: object) -> Any:
        return self._operated(operator.truediv, other)

    def __floordiv__(self, other: object) -> Any:
        return self._operated(operator.floordiv, other)

    def __mod__(self, other: object) -> Any:
        return self._operated(operator.mod, other)

    def _operated(self, operation: Callable[[Any, Any], Any], other: object) -> Any:
        result = operation(self._frame, plain_of(other))
        name = operation.__name__
        is_frame = isinstance(plain_of(other), pl.DataFrame)
        if {len(self), len(plain_of(other)) if is_frame else len(self)} != {len(result)}:
            return self.of_lost(result, name, other)
        every = np.arange(len(self))
        return self.of_joined(
            result, [(self, every), (other, every)] if is_frame else [(self, every)], name
        )
