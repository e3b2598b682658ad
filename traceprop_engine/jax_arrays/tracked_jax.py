"""A JAX array beside the numbers of its rows: a pytree that goes through every transform."""

from collections.abc import Callable, Iterator, Sequence
from operator import index as whole_number
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from traceprop_engine.errors import CaptureError, UnknownRowsError
from traceprop_engine.jax_arrays.elementwise_functions import ELEMENTWISE
from traceprop_engine.jax_arrays.origins import (
    Members,
    Origin,
    is_traced,
    members_of,
    n_rows_of,
    notes_of,
    placed_at,
    together,
)
from traceprop_engine.lineage.captured import Op
from traceprop_engine.lineage.marks import Node, Placed, Step, distinct

Slot = tuple[Node, jax.Array]
"""A node, and which of its rows each position is; one number where an array is all of one row."""

_MATRIX = 2


def _operator(function: Callable[[Any, Any], Any], *, reflected: bool = False) -> Any:
    """Return the method of an operator."""

    def operator(self: "TrackedJax", other: Any) -> "TrackedJax":
        one, two = (values_of(other), self.x) if reflected else (self.x, values_of(other))
        return elementwise(function(one, two), [self, other], function.__name__)

    return operator


@jax.tree_util.register_pytree_node_class
class TrackedJax:
    """A `jax.Array` whose axis 0 are known rows, or that is all of one row.

    It is no array to JAX, and gives itself for none: ``jnp.exp(tracked)`` is a TypeError. Use its
    methods, `apply`, or the functions of this package; ``x`` is the plain array. As a pytree it
    goes through `jax.jit`, `jax.vmap` and `jax.lax.scan`, where its methods work as outside.

    Make one with `from_jax`.

    Attributes:
        x: The values.
        rows: Vectors of int32 row numbers, one for each node of ``origin``; -1 is no row.
        origin: What the numbers are rows of.
        steps: The last operations that led here; inside a transform they are not recorded.
    """

    __slots__ = ("origin", "rows", "steps", "x")
    __hash__: Any = None  # as an array
    __array_ufunc__: Any = None  # a NumPy array on the left leaves the operator to this class

    __add__ = _operator(jnp.add)
    __sub__ = _operator(jnp.subtract)
    __mul__ = _operator(jnp.multiply)
    __truediv__ = _operator(jnp.true_divide)
    __floordiv__ = _operator(jnp.floor_divide)
    __mod__ = _operator(jnp.mod)
    __pow__ = _operator(jnp.power)
    __and__ = _operator(jnp.bitwise_and)
    __or__ = _operator(jnp.bitwise_or)
    __xor__ = _operator(jnp.bitwise_xor)
    __eq__ = _operator(jnp.equal)
    __ne__ = _operator(jnp.not_equal)
    __lt__ = _operator(jnp.less)
    __le__ = _operator(jnp.less_equal)
    __gt__ = _operator(jnp.greater)
    __ge__ = _operator(jnp.greater_equal)
    __radd__ = _operator(jnp.add, reflected=True)
    __rsub__ = _operator(jnp.subtract, reflected=True)
    __rmul__ = _operator(jnp.multiply, reflected=True)
    __rtruediv__ = _operator(jnp.true_divide, reflected=True)
    __rfloordiv__ = _operator(jnp.floor_divide, reflected=True)
    __rmod__ = _operator(jnp.mod, reflected=True)
    __rpow__ = _operator(jnp.power, reflected=True)
    __rand__ = _operator(jnp.bitwise_and, reflected=True)
    __ror__ = _operator(jnp.bitwise_or, reflected=True)
    __rxor__ = _operator(jnp.bitwise_xor, reflected=True)

    def __init__(
        self, x: Any, rows: tuple[Any, ...], origin: Origin, steps: tuple[Step, ...] = ()
    ) -> None:
        """Hold values and rows that belong together."""
        self.x, self.rows, self.origin, self.steps = x, rows, origin, steps

    def tree_flatten(self) -> tuple[tuple[Any, tuple[Any, ...]], Origin]:
        """Return what JAX traces, and what it compiles for."""
        return (self.x, self.rows), self.origin

    @classmethod
    def tree_unflatten(cls, origin: Origin, children: tuple[Any, tuple[Any, ...]]) -> "TrackedJax":
        """Return the array of what JAX gives back."""
        return cls(children[0], children[1], origin)

    def __traceprop_placed__(self) -> Placed | None:
        """Return its mark and its rows; ``None`` when its session is closed.

        Raises:
            CaptureError: It is asked inside a transform, where rows have no numbers yet.
        """
        if is_traced(self.x) or any(map(is_traced, self.rows)):
            raise CaptureError(
                "Rows have no numbers inside a transform of JAX", "ask for lineage outside of it"
            )
        if not notes_of([self.origin]).is_open:
            return None
        n = n_rows_of(self.x)
        rows = [np.broadcast_to(np.asarray(each), (n,)) for each in self.rows]
        return placed_at(self.origin, rows, n, self.steps)

    def __traceprop_plain__(self) -> jax.Array:
        """Return the values."""
        return self.x

    def __repr__(self) -> str:
        names = sorted({name for node in self.origin.nodes for name in node.roots})
        return f"TrackedJax of {', '.join(names) or 'a statistic'}\n{self.x!r}"

    def __len__(self) -> int:
        return len(self.x)

    def __iter__(self) -> Iterator["TrackedJax"]:
        return (self[row] for row in range(len(self)))

    def __array__(self, *_: Any, **__: Any) -> Any:
        """Refuse to become a NumPy array, which would leave the rows behind unseen.

        Raises:
            TypeError: Always.
        """
        raise TypeError("A TrackedJax is no array; its values are `.x`")

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the values."""
        return self.x.shape

    @property
    def ndim(self) -> int:
        """The number of axes of the values."""
        return self.x.ndim

    @property
    def dtype(self) -> Any:
        """The type of the values."""
        return self.x.dtype

    def apply(self, function: Callable[..., Any], *others: Any, **options: Any) -> "TrackedJax":
        """Return an elementwise function of this array and others, such as ``jnp.exp``.

        Raises:
            UnknownRowsError: The function is not one that is known to be elementwise.
        """
        if function not in ELEMENTWISE:
            raise UnknownRowsError(
                f"{function!r} is not known to treat each element by itself",
                "map it over rows with `tracked_vmap`, or declare it with `tracked_jit`",
            )
        values = [each.x if isinstance(each, TrackedJax) else each for each in (self, *others)]
        return elementwise(
            function(*values, **options), [self, *others], getattr(function, "__name__", "apply")
        )

    def astype(self, dtype: Any) -> "TrackedJax":
        """Return the same rows with values of another type."""
        return elementwise(self.x.astype(dtype), [self], "astype")

    def __getitem__(self, key: Any) -> "TrackedJax":
        first, rest = (key[0], key[1:]) if isinstance(key, tuple) and key else (key, ())
        if first is None or any(not isinstance(each, (int, slice, type(...))) for each in rest):
            raise UnknownRowsError(
                "An index with several arrays or a new first axis mixes rows",
                "index axis 0 alone, then the others with slices or numbers",
            )
        if isinstance(first, TrackedJax):
            first = first.x
        if isinstance(first, int) and self.ndim and not -len(self) <= first < len(self):
            raise IndexError(f"row {first} of {len(self):,}")
        if first is Ellipsis or not self.rows or self.rows[0].ndim == 0:
            return self._without_row_axis(key)
        picked = tuple(each[first] for each in self.rows)
        if picked[0].ndim > 1:
            raise UnknownRowsError("An index of several axes has no rows", "index with a vector")
        return self._of(self.x[(first, *rest)], picked, "getitem")

    def _without_row_axis(self, key: Any) -> "TrackedJax":
        n_indexed = len(key) - 1 if isinstance(key, tuple) else 0
        if self.rows and self.rows[0].ndim and n_indexed >= self.ndim:
            raise UnknownRowsError("`...` before all axes hides the rows", "index axis 0 itself")
        return self._of(self.x[key], self.rows, "getitem")

    def take(self, indices: Any) -> "TrackedJax":
        """Return the rows at ``indices``, which may be traced; none, and zeros, out of range."""
        at = values_of(indices)
        if jnp.ndim(at) > 1:
            raise UnknownRowsError("An index of several axes has no rows", "take with a vector")
        x = jnp.take(self.x, at, axis=0, mode="fill", fill_value=0)
        rows = self._row_vectors("take")
        return self._of(x, tuple(_taken(each, at) for each in rows), "take")

    def filter(self, mask: Any, *, size: int | None = None) -> "TrackedJax":
        """Return the rows where ``mask`` is true.

        Args:
            mask: One boolean for each row.
            size: How many rows to return, which JAX must know inside a transform; what is missing
                is zeros without a row.
        """
        found = jnp.nonzero(values_of(mask), size=size, fill_value=len(self))[0]
        return self.take(found)

    def sort_by(self, keys: Any, *, descending: bool = False) -> "TrackedJax":
        """Return the rows in the order of one key each; equal keys keep their order."""
        return self.take(jnp.argsort(values_of(keys), descending=descending, stable=True))

    def flip(self) -> "TrackedJax":
        """Return the rows in reverse."""
        rows = tuple(each[::-1] for each in self._row_vectors("flip"))
        return self._of(jnp.flip(self.x, axis=0), rows, "flip")

    def repeat(self, times: int) -> "TrackedJax":
        """Return each row ``times`` times."""
        rows = tuple(jnp.repeat(each, times) for each in self._row_vectors("repeat"))
        return self._of(jnp.repeat(self.x, times, axis=0), rows, "repeat")

    def reshape(self, *shape: int) -> "TrackedJax":
        """Return the values in another shape that keeps axis 0.

        Raises:
            UnknownRowsError: It does not.
        """
        x = self.x.reshape(*shape)
        if self.rows and self.rows[0].ndim and (x.ndim == 0 or x.shape[0] != self.x.shape[0]):
            raise UnknownRowsError(
                f"Reshaping {self.shape} to {x.shape} cuts rows apart", "keep axis 0 as it is"
            )
        return self._of(x, self.rows, "reshape")

    def sum(self, axis: Any = None, *, keepdims: bool = False) -> "TrackedJax":
        """Return sums; over axis 0 they are a statistic of the rows."""
        return self._reduced(jnp.sum, axis, keepdims=keepdims)

    def mean(self, axis: Any = None, *, keepdims: bool = False) -> "TrackedJax":
        """Return means; over axis 0 they are a statistic of the rows."""
        return self._reduced(jnp.mean, axis, keepdims=keepdims)

    def std(self, axis: Any = None, *, keepdims: bool = False) -> "TrackedJax":
        """Return standard deviations; over axis 0 they are a statistic of the rows."""
        return self._reduced(jnp.std, axis, keepdims=keepdims)

    def max(self, axis: Any = None, *, keepdims: bool = False) -> "TrackedJax":
        """Return the largest values; over axis 0 they are a statistic of the rows."""
        return self._reduced(jnp.max, axis, keepdims=keepdims)

    def min(self, axis: Any = None, *, keepdims: bool = False) -> "TrackedJax":
        """Return the smallest values; over axis 0 they are a statistic of the rows."""
        return self._reduced(jnp.min, axis, keepdims=keepdims)

    def __matmul__(self, other: Any) -> "TrackedJax":
        return _product(self, other)

    def __rmatmul__(self, other: Any) -> "TrackedJax":
        return _product(other, self)

    def __neg__(self) -> "TrackedJax":
        return elementwise(-self.x, [self], "negative")

    def __abs__(self) -> "TrackedJax":
        return elementwise(abs(self.x), [self], "abs")

    def __invert__(self) -> "TrackedJax":
        return elementwise(~self.x, [self], "invert")

    def _reduced(self, function: Any, axis: Any, *, keepdims: bool) -> "TrackedJax":
        x = function(self.x, axis=axis, keepdims=keepdims)
        given = (axis,) if isinstance(axis, int) else axis
        over = range(self.ndim) if given is None else [whole_number(a) % self.ndim for a in given]
        by_row = not self.rows or self.rows[0].ndim == 0 or 0 not in over
        if by_row:
            return self._of(x, self.rows, function.__name__)
        return statistic(x, [self], function.__name__)

    def _of(self, x: Any, rows: tuple[Any, ...], name: str) -> "TrackedJax":
        return TrackedJax(x, rows, self.origin, steps_after(x, [self], name))

    def _row_vectors(self, name: str) -> tuple[Any, ...]:
        if self.rows and self.rows[0].ndim == 0:
            raise UnknownRowsError(f"`{name}` of an array that is all of one row", "use `.x`")
        return self.rows


def elementwise(x: Any, operands: Sequence[Any], name: str) -> TrackedJax:
    """Return values that each came from the same place of the operands, broadcast together."""
    tracked = [each for each in operands if isinstance(each, TrackedJax)]
    origins = [each.origin for each in tracked]
    notes_of(origins)
    slots: list[Slot] = []
    members, claims = together(origins)
    for each in tracked:
        if each.rows and each.rows[0].ndim and each.ndim < x.ndim:
            members += _all_members(each)
        else:
            slots += zip(each.origin.nodes, each.rows, strict=True)
    long = any(rows.ndim for _, rows in slots)
    shaped = [(node, jnp.broadcast_to(r, (x.shape[0],)) if long else r) for node, r in slots]
    kept = _distinct(shaped, [rows for _, rows in slots])
    origin = Origin(tuple(node for node, _ in kept), distinct(members), claims)
    return TrackedJax(x, tuple(r for _, r in kept), origin, steps_after(x, tracked, name))


def statistic(x: Any, operands: Sequence[TrackedJax], name: str) -> TrackedJax:
    """Return values that depend on all rows of the operands."""
    members, claims = together([each.origin for each in operands])
    members += tuple(m for each in operands for m in _all_members(each))
    return TrackedJax(x, (), Origin((), distinct(members), claims), steps_after(x, operands, name))


def steps_after(x: Any, operands: Sequence[TrackedJax], name: str) -> tuple[Step, ...]:
    """Return the step of an operation; none inside a transform."""
    before = distinct(step for each in operands for step in each.steps)
    if is_traced(x) or not operands:
        return before
    notes = notes_of([each.origin for each in operands])
    nodes = [n for e in operands for n in (*e.origin.nodes, *(m.node for m in e.origin.members))]
    roots = frozenset().union(*[node.roots for node in nodes])
    op = Op(
        name=f"jax.{name}",
        detail="",
        inputs=tuple(each for each in notes.inputs if each in roots),
        n_rows_in=tuple(n_rows_of(each.x) for each in operands),
        n_rows_out=n_rows_of(x),
    )
    return (Step(op, before),)


def _product(left: Any, right: Any) -> TrackedJax:
    """Return a matrix product: rows of the left factor stay, those of the right are summed over."""
    x = values_of(left) @ values_of(right)
    parts: list[TrackedJax] = []
    for each, is_left in ((left, True), (right, False)):
        if not isinstance(each, TrackedJax):
            continue
        n_axes = max(each.ndim, jnp.ndim(values_of(right)) if is_left else 0)
        if n_axes > _MATRIX and each.rows and each.rows[0].ndim:
            raise UnknownRowsError(
                "A product of batches of matrices has no single axis of rows",
                "map it over rows with `tracked_vmap`",
            )
        keeps = not each.rows or each.rows[0].ndim == 0 or (is_left and each.ndim == _MATRIX)
        parts.append(_shaped(each, x) if keeps else statistic(x, [each], "matmul"))
    return elementwise(x, parts, "matmul")


def _shaped(array: TrackedJax, x: Any) -> TrackedJax:
    return TrackedJax(x, array.rows, array.origin, array.steps)


def values_of(value: Any) -> Any:
    """Return a value without its rows."""
    return value.x if isinstance(value, TrackedJax) else value


def _taken(rows: Any, at: Any) -> Any:
    return jnp.take(rows, at, mode="fill", fill_value=-1)


def _all_members(array: TrackedJax) -> tuple[Members, ...]:
    return tuple(
        members_of(node, None if is_traced(rows) else np.asarray(rows).reshape(-1))
        for node, rows in zip(array.origin.nodes, array.rows, strict=True)
    )


def _distinct(slots: Sequence[Slot], given: Sequence[Any]) -> list[Slot]:
    """Return slots without those that surely say the same: one vector, or equal numbers."""
    kept: list[int] = []
    for at, (node, rows) in enumerate(slots):
        same = any(
            slots[other][0] is node and (given[other] is given[at] or _equal(slots[other][1], rows))
            for other in kept
        )
        kept += [] if same else [at]
    return [slots[at] for at in kept]


def _equal(one: Any, other: Any) -> bool:
    if is_traced(one) or is_traced(other):
        return False
    return bool(np.array_equal(np.asarray(one), np.asarray(other)))
