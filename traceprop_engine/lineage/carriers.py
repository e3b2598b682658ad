"""What carries a mark: a pandas object, a value that is tracked, or a box around any other."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import pandas as pd

from traceprop_engine.lineage.marks import Mark, Node, Placed, Step, Tracked, derived
from traceprop_engine.lineage.pandas_align import set_row_mark, without_marks
from traceprop_engine.lineage.pandas_marks import mark_of, place_all, positions
from traceprop_engine.lineage.rows import is_counting


@dataclass(frozen=True, eq=False)
class Recorded:
    """A value of any type, with the rows that its user declared for it.

    Attributes:
        value: The value, as its user made it.
        placed: Its mark and its rows; ``None`` when nobody knows them.
    """

    value: Any
    placed: Placed | None

    def __traceprop_placed__(self) -> Placed | None:
        """Return its mark and its rows; ``None`` when nobody knows them."""
        return self.placed

    def __traceprop_plain__(self) -> Any:
        """Return the value."""
        return self.value


@singledispatch
def carried(value: Any, node: Node, steps: tuple[Step, ...]) -> Any:
    """Return a value whose rows are those of a node, in order.

    A library whose values have a tracked form of their own registers it here.
    """
    every = range(node.n_rows)
    return Recorded(value, (Mark(node, every, steps), every))


@carried.register(pd.DataFrame)
@carried.register(pd.Series)
def _carried_by_index(value: Any, node: Node, steps: tuple[Step, ...]) -> Any:
    followed = value.copy(deep=False)
    set_row_mark(followed, place_all(followed.index, node, steps))
    return followed


def placed_of(value: Any) -> Placed | None:
    """Return the mark of a value and its rows; ``None`` for a value that nobody follows."""
    if isinstance(value, (pd.DataFrame, pd.Series)):
        value = value.index
    if isinstance(value, pd.Index):
        mark = mark_of(value)
        return None if mark is None else (mark, positions(value, mark))
    # A class is no value, though it has the methods of one.
    return value.__traceprop_placed__() if _is_tracked(value) else None


def plain_of(value: Any) -> Any:
    """Return a tracked value as its user knows it; any other one as it is."""
    return value.__traceprop_plain__() if _is_tracked(value) else value


def lent(value: Any) -> Any:
    """Return a tracked value as a plain one to read from, without a copy where a class allows it.

    A class allows it by ``__traceprop_lent__``.
    """
    lend = getattr(type(value), "__traceprop_lent__", None)
    return plain_of(value) if lend is None else lend(value)


def carried_like(arguments: Iterable[Any], result: Any, node: Node, steps: tuple[Step, ...]) -> Any:
    """Return the result of a function as one whose rows are those of a node.

    It takes the tracked form of an argument that has one for such results, by
    ``__traceprop_carried__``, which gives ``None`` for any other result; else that of `carried`.
    """
    for value in arguments:
        carry = getattr(type(value), "__traceprop_carried__", None)
        found = None if carry is None else carry(result, node, steps)
        if found is not None:
            return found
    return carried(result, node, steps)


def unmarked(value: Any) -> Any:
    """Return a value that nobody follows, so that what reads it is not noted.

    A pandas object shares its data with the one that is returned.
    """
    is_pandas = isinstance(value, (pd.DataFrame, pd.Series))
    return without_marks(value) if is_pandas else plain_of(value)


def node_of(placed: Placed) -> Node:
    """Return a node whose rows are the positions of a marked value."""
    mark, rows = placed
    if is_counting(rows, mark.node.n_rows):
        return mark.node
    return derived(mark.node.notes, len(rows), [(mark.node, rows)])


def _is_tracked(value: Any) -> bool:
    return isinstance(value, Tracked) and not isinstance(value, type)
