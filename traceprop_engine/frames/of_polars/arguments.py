"""What the arguments of a Polars verb pick."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl

from traceprop_engine.errors import CaptureError
from traceprop_engine.frames.hidden_names import ROW
from traceprop_engine.lineage.carriers import plain_of

_READ_AGAIN = (str, bytes, list, tuple, Mapping, pl.Expr, pl.Series, np.ndarray)


def listed(arguments: Iterable[Any]) -> list[Any]:
    """Return arguments with every other iterable as a list, which can be read more than once."""
    return [
        list(each) if isinstance(each, Iterable) and not isinstance(each, _READ_AGAIN) else each
        for each in arguments
    ]


def hidden_keys(frame: pl.DataFrame, by: Iterable[Any]) -> pl.DataFrame:
    """Return what rows are compared by as columns of hidden names, several of one name too."""
    keys: list[Any] = []
    for each in by:
        keys += each if isinstance(each, (list, tuple)) else [each]
    return frame.select(
        _expression(each).name.prefix(f"{ROW}{at}_") for at, each in enumerate(keys)
    )


def _expression(value: Any) -> pl.Expr:
    if isinstance(value, pl.Expr):
        return value
    return pl.col(value) if isinstance(value, str) else pl.lit(value)


def tests_of(predicates: Iterable[Any]) -> list[Any]:
    """Return predicates one by one, lists of truth values as columns."""
    tests: list[Any] = []
    for each in predicates:
        plain = plain_of(each)
        if isinstance(plain, str):
            tests.append(pl.col(plain))
        elif isinstance(plain, pl.Expr):
            tests.append(plain)
        elif isinstance(plain, (pl.Series, np.ndarray)) or _are_truths(plain):
            tests.append(pl.lit(pl.Series(plain, dtype=pl.Boolean)))
        elif isinstance(plain, bool):
            tests.append(pl.lit(plain))
        else:
            tests += tests_of(plain)
    return tests


def _are_truths(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(each, bool) for each in value)


def is_several(test: pl.Expr, frame: pl.DataFrame) -> bool:
    """Say whether an expression stands for several columns, which a filter refuses."""
    return test.meta.has_multiple_outputs() and len(frame.lazy().select(test).collect_schema()) > 1


def rows_of_key(key: Any, n_rows: int) -> Any:
    """Return the rows that a key in brackets picks; ``None`` if that is not clear."""
    rows = key[0] if isinstance(key, tuple) and len(key) > 1 else key
    if _are_names(rows):
        return range(n_rows)
    if isinstance(rows, slice):
        of_columns = isinstance(rows.start, str) or isinstance(rows.stop, str)
        return range(n_rows) if of_columns else np.arange(n_rows)[rows]
    if isinstance(rows, (int, np.integer)):
        return np.arange(n_rows).take([int(rows)])
    where = np.asarray(rows)
    if where.ndim != 1 or where.dtype.kind not in "iu":
        return None
    return np.arange(n_rows)[where]


def _are_names(key: Any) -> bool:
    if isinstance(key, (list, tuple)):
        return bool(key) and all(isinstance(each, str) for each in key)
    return isinstance(key, str) or (isinstance(key, pl.Series) and key.dtype == pl.String)


def refused_in_place(verb: str) -> CaptureError:
    """Return the error of a verb that would change a tracked frame in place."""
    return CaptureError(
        f"A tracked frame is never changed in place, and {verb} would",
        "use `with_columns`, `hstack`, `vstack` or `drop`, which give a new frame",
    )
