"""Whole functions as one operation: mapped over rows, declared row-wise, or checked to be."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from traceprop_engine.errors import NotRowWiseError, UnknownRowsError
from traceprop_engine.jax_arrays.origins import Origin, is_traced
from traceprop_engine.jax_arrays.tracked_jax import (
    TrackedJax,
    elementwise,
    steps_after,
)

_TRY = "map a function of one row with `tracked_vmap`, or do what mixes rows outside of it"


def tracked_vmap(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of one row, mapped over the rows of the tracked arguments and compiled.

    Row ``i`` of the result cannot depend on another row, so that its rows are exact. Arguments that
    are not tracked are given to each row whole.

    Example:
        >>> from traceprop_engine.jax_arrays import from_jax
        >>> softmax = tracked_vmap(jax.nn.softmax)
        >>> softmax(from_jax(jnp.ones((3, 2)), "scores"))[1:].x
        Array([[0.5, 0.5],
               [0.5, 0.5]], dtype=float32)
    """
    compiled: dict[tuple[int | None, ...], Callable[..., Any]] = {}

    @functools.wraps(function)
    def mapped(*args: Any) -> Any:
        axes = tuple(0 if isinstance(each, TrackedJax) else None for each in args)
        tracked = _tracked(args, {}, function)
        if axes not in compiled:
            compiled[axes] = jax.jit(jax.vmap(function, in_axes=axes))
        out = compiled[axes](*_plain(args))
        return _results(out, tracked, _name(function), ())

    return mapped


def tracked_jit(
    function: Callable[..., Any] | None = None,
    *,
    row_wise: bool = False,
    verify: int = 0,
    **options: Any,
) -> Callable[..., Any]:
    """Return a compiled function whose results have the rows of its tracked arguments.

    It is one operation: what it does inside is not followed, and it is given plain arrays. That row
    ``i`` of each result comes from row ``i`` is your claim; the fidelity is *claimed*.

    Args:
        function: Takes and returns arrays, or trees of them, with one row for each row.
        row_wise: Must be true: the declaration.
        verify: Rows to check the claim on, at the first call with arrays of each shape: each is
            changed alone, and no other row of a result may change by a single bit. That finds a
            function that mixes rows of these values; it is no proof for all others.
        options: For `jax.jit`.

    Raises:
        NotRowWiseError: Nothing was declared. Later, at a call: a result has another number of
            rows, or a row of it changed with another row.
    """
    if function is None:
        return functools.partial(tracked_jit, row_wise=row_wise, verify=verify, **options)
    if not (row_wise or verify):
        raise NotRowWiseError(
            _name(function), "nothing was declared", "pass `row_wise=True` or `verify=16`"
        )
    compiled = jax.jit(function, **options)
    checked: set[Any] = set()

    @functools.wraps(function)
    def declared(*args: Any, **kwargs: Any) -> Any:
        tracked = _tracked(args, kwargs, function)
        plain = _plain(args)
        out = compiled(*plain, **kwargs)
        _require_rows(out, len(tracked[0]), _name(function))
        claim = f"{_name(function)!r} was declared row-wise with `tracked_jit`"
        if verify:
            n_checked = min(verify, len(tracked[0]))
            key = tuple((jnp.shape(each), jnp.result_type(each)) for each in _leaves(plain))
            if key not in checked:
                _check(compiled, args, kwargs, out, n_checked, _name(function))
                checked.add(key)
            claim += f", and checked on {n_checked:,} of {len(tracked[0]):,} rows"
        return _results(out, tracked, _name(function), (claim,))

    return declared


def _tracked(
    args: Sequence[Any], kwargs: dict[str, Any], function: Callable[..., Any]
) -> list[TrackedJax]:
    tracked = [each for each in args if isinstance(each, TrackedJax)]
    leaves = jax.tree_util.tree_leaves((args, kwargs), is_leaf=_is_tracked)
    if sum(map(_is_tracked, leaves)) > len(tracked):
        raise UnknownRowsError(
            f"{_name(function)!r} was called with a tracked array inside another argument",
            "give it as a positional argument of its own, or its plain values `.x`",
        )
    lengths = {each.x.shape[:1] if each.rows and each.rows[0].ndim else () for each in tracked}
    if len(lengths) != 1 or lengths == {()}:
        raise UnknownRowsError(
            f"{_name(function)!r} was not called with tracked arrays of one length",
            "give at least one, and cut them to the same rows",
        )
    return tracked


def _is_tracked(value: Any) -> bool:
    return isinstance(value, TrackedJax)


def _plain(args: Sequence[Any]) -> list[Any]:
    return [each.x if isinstance(each, TrackedJax) else each for each in args]


def _results(out: Any, tracked: Sequence[TrackedJax], name: str, claims: tuple[str, ...]) -> Any:
    leaves, structure = jax.tree_util.tree_flatten(out)
    return structure.unflatten([_result(leaf, tracked, name, claims) for leaf in leaves])


def _result(
    x: Any, tracked: Sequence[TrackedJax], name: str, claims: tuple[str, ...]
) -> TrackedJax:
    # Rows go by position, whatever the shape of the rest: each operand counts as one column.
    column = jax.ShapeDtypeStruct((len(x), 1), x.dtype)
    columns = [TrackedJax(column, each.rows, each.origin, each.steps) for each in tracked]
    found = elementwise(column, columns, name)
    origin = found.origin
    claimed = Origin(origin.nodes, origin.members, (*origin.claims, *claims))
    return TrackedJax(x, found.rows, claimed, steps_after(x, tracked, name))


def _require_rows(out: Any, n_rows: int, name: str) -> None:
    for leaf in _leaves(out):
        if leaf.ndim == 0 or len(leaf) != n_rows:
            raise NotRowWiseError(
                name, f"a result has shape {leaf.shape} for {n_rows:,} rows", _TRY
            )


def _check(
    compiled: Callable[..., Any],
    args: Sequence[Any],
    kwargs: dict[str, Any],
    out: Any,
    n_checked: int,
    name: str,
) -> None:
    """Change single rows of all tracked arguments, and hold the results against ``out``.

    Raises:
        NotRowWiseError: A row changed with another one, or without any change.
    """
    if any(is_traced(leaf) for leaf in _leaves(out)):
        raise NotRowWiseError(name, "it cannot be checked inside a transform", "call it outside")
    first = next(each for each in args if isinstance(each, TrackedJax))
    _require_same(out, compiled(*_plain(args), **kwargs), None, name)
    rng = np.random.default_rng(0)
    for row in rng.choice(len(first), n_checked, replace=False):
        changed = [
            _with_row_changed(each.x, int(row)) if isinstance(each, TrackedJax) else each
            for each in args
        ]
        _require_same(out, compiled(*changed, **kwargs), int(row), name)


def _with_row_changed(x: Any, row: int) -> Any:
    if x.dtype == jnp.bool_:
        return x.at[row].set(~x[row])
    if jnp.issubdtype(x.dtype, jnp.integer):
        return x.at[row].set(x[row] + 1)
    return x.at[row].set(x[row] * 1.5 + 1)


def _require_same(out: Any, now: Any, row: int | None, name: str) -> None:
    for one, other in zip(_leaves(out), _leaves(now), strict=True):
        before, after = np.asarray(one), np.asarray(other)
        differs = (before != after) & ~((before != before) & (after != after))  # noqa: PLR0124
        rows = np.flatnonzero(differs.reshape(len(before), -1).any(axis=1))
        others = rows[rows != row]
        if others.size:
            problem = (
                f"two runs differ in row {others[0]}"
                if row is None
                else f"changing row {row} changes row {others[0]} of the result"
            )
            raise NotRowWiseError(name, problem, _TRY)


def _leaves(tree: Any) -> list[Any]:
    return jax.tree_util.tree_leaves(tree)


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)
