"""An array of NumPy that knows which rows of which inputs it holds."""

import copy
import sys
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np

from traceprop_engine.arrays.calls import Call
from traceprop_engine.arrays.classification import Entry, Kind, entries
from traceprop_engine.arrays.combining import keeps_nothing, keeps_rows, of_operations
from traceprop_engine.arrays.exits import watch_exits
from traceprop_engine.arrays.flags import Flags
from traceprop_engine.arrays.functions import call_function, call_method, run_call
from traceprop_engine.arrays.indexing import read_item, write_item
from traceprop_engine.arrays.lines import Lines, windowed
from traceprop_engine.arrays.memory import (
    Held,
    Plain,
    RowArray,
    fresh,
    held_of,
    plain_array,
    plain_value,
    view_of,
)
from traceprop_engine.arrays.operators import OPERATORS, born_here, called_simply, operator_of
from traceprop_engine.arrays.reinterpreting import retyped
from traceprop_engine.arrays.sorting import sort_in_place
from traceprop_engine.arrays.ufuncs import call_ufunc
from traceprop_engine.lineage.carriers import carried
from traceprop_engine.lineage.marks import Node, Placed, Step

_FOLLOWED = (
    Kind.ROW_WISE,
    Kind.OF_FIRST,
    Kind.SELECTING,
    Kind.PERMUTING,
    Kind.COMBINING,
    Kind.REDUCING,
    Kind.OF_ALL,
)
_PROPERTIES = ("T", "mT", "imag", "real", "view")
_LEAVING = [
    "__array__",
    "__bool__",
    "__complex__",
    "__contains__",
    "__dlpack__",
    "__float__",
    "__format__",
    "__index__",
    "__int__",
    "dump",
    "dumps",
    "getfield",
    "item",
    "tobytes",
    "tofile",
    "tolist",
    "__reduce__",
    "__reduce_ex__",
]
_LEAVING_PROPERTIES = ("__array_interface__", "__array_struct__", "ctypes", "data", "flat")


class TrackedArray(RowArray):
    """A NumPy array that knows its rows: its values, shapes, types and errors are NumPy's.

    Rows lie on axis 0, or on the axis that they were turned to. What nobody can follow comes back
    with its rows visibly lost. Memory is written by the array's own operations alone: whatever
    else tries, a plain view or compiled code, finds it read-only.

    Example:
        >>> from traceprop_engine.arrays import from_numpy
        >>> doses = from_numpy(np.array([[3.0, 1.0], [5.0, 0.0], [4.0, 2.0]]), source_id="doses")
        >>> high = doses[doses[:, 0] > 3] * 2
        >>> high.tolist()
        [[10.0, 0.0], [8.0, 4.0]]
        >>> high.__traceprop_placed__()[1].tolist()
        [1, 2]
    """

    def __traceprop_placed__(self) -> Placed | None:
        """Return its mark and its rows; ``None`` when nobody knows them, or it has no axis."""
        held = held_of(self)
        if held is None or not held.plain.ndim:
            return None
        lines, n = held.lines, held.plain.shape[0]
        if held.axis is None:
            lines = lines.at(np.zeros(n, dtype=np.int64))
        elif held.axis > 0:
            every = np.zeros(n, dtype=np.int64)
            lines = windowed(lines, every, every + len(lines))
        return lines.placed(held.steps)

    def __traceprop_plain__(self) -> Plain:
        """Return a plain copy of the array."""
        return np.array(plain_array(self))

    def __traceprop_lent__(self) -> Plain:
        """Return the values as a plain array to read from; nothing is copied."""
        view = plain_array(self).view()
        view.flags.writeable = False
        return view

    @classmethod
    def __traceprop_carried__(
        cls, result: Any, node: Node, steps: tuple[Step, ...]
    ) -> "TrackedArray | None":
        """Return the plain array that a function made of lent ones, as one that knows its rows."""
        if type(result) is not np.ndarray or not result.ndim:
            return None
        own = result if result.base is None and result.flags.writeable else np.array(result)
        return tracked_array(own, Lines.of_node(node), steps)

    def __array_finalize__(self, obj: Any) -> None:
        # We make arrays of plain ones. One of a tracked one is NumPy's own, and nobody follows it.
        if isinstance(obj, TrackedArray):
            _note(obj, "__array_finalize__")

    def __array_ufunc__(self, ufunc: np.ufunc, method: Any, *inputs: Any, **kwargs: Any) -> Any:
        result = NotImplemented
        if method == "__call__" and not kwargs:
            result = called_simply(type(self), ufunc, inputs)
        if result is NotImplemented:
            result = call_ufunc(type(self), ufunc, method, inputs, kwargs)
        return born_here(result, sys._getframe(1))  # noqa: SLF001  (who reads the result)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        theirs = [each for each in types if not issubclass(each, np.ndarray)]
        if any(hasattr(each, "__array_function__") for each in theirs):
            return NotImplemented
        return call_function(type(self), func, args, kwargs)

    def __getitem__(self, key: Any) -> Any:
        held = held_of(self)
        return plain_array(self)[key] if held is None else read_item(self, held, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        held = held_of(self)
        if held is not None:
            write_item(held, key, value)
        elif self.traceprop_held is not None:
            self.traceprop_held.writable()[plain_value(key)] = plain_value(value)
        else:
            np.ndarray.__setitem__(self, key, plain_value(value))

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("shape", "dtype", "strides"):
            _reinterpret(self, name, value)
        elif name in ("real", "imag") and self.traceprop_held is not None:
            getattr(self, name)[...] = value
        else:
            np.ndarray.__setattr__(self, name, value)

    def __iter__(self) -> Iterator[Any]:
        if self.ndim != 1:
            return (self[at] for at in range(len(self)))
        _note(self, "__iter__")
        return iter(plain_array(self))

    def __copy__(self) -> Self:
        return self.copy(order="K")

    def __deepcopy__(self, memo: dict[int, Any] | None, /) -> Self:
        if self.dtype.hasobject:
            return _lost(self, "__deepcopy__", copy.deepcopy(plain_array(self), memo))
        return self.copy(order="K")

    def __neg__(self) -> Any:
        return np.negative(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}{np.array_repr(plain_array(self)).removeprefix('array')}"

    def __str__(self) -> str:
        return str(plain_array(self))

    @property
    def flags(self) -> Any:
        """Facts on memory, as NumPy says them of the array's own operations."""
        return Flags(np.ndarray.flags.__get__(self), self.traceprop_held)

    @property
    def T(self) -> Any:  # noqa: N802  (NumPy's name)
        """The array with its axes reversed: a view."""
        return self.transpose()

    @property
    def mT(self) -> Any:  # noqa: N802  (NumPy's name)
        """The array with its last two axes exchanged: a view."""
        return np.matrix_transpose(self)

    @property
    def real(self) -> Any:  # pyrefly: ignore[bad-override]  (set through __setattr__)
        """The real part: a view."""
        return np.real(self)

    @property
    def imag(self) -> Any:  # pyrefly: ignore[bad-override]  (set through __setattr__)
        """The imaginary part: a view, or zeros."""
        return np.imag(self)

    def view(self, *args: Any, **kwargs: Any) -> Any:
        """Return a view of the same memory, see `numpy.ndarray.view`."""
        held = held_of(self)
        result = np.ndarray.view(plain_array(self), *args, **kwargs)
        if held is None or type(result) is not np.ndarray or _is_array_type(args, kwargs):
            _note(self, "view")
            return result
        return view_of(type(self), retyped(held, result, "ndarray.view"))

    def fill(self, value: Any) -> None:
        """Write one value everywhere."""
        self[...] = np.asarray(value).astype(self.dtype) if self.traceprop_held is None else value

    def put(self, indices: Any, values: Any, mode: Any = "raise") -> None:
        """Write values at places of the flattened array, see `numpy.ndarray.put`."""
        np.put(self, indices, values, mode)

    def sort(self, axis: Any = -1, kind: Any = None, order: Any = None, **options: Any) -> None:
        """Sort in place, see `numpy.ndarray.sort`."""
        sort_in_place(self, "sort", (axis, kind, order), options)

    # NumPy declares it twice, once for each kind of order.
    def partition(  # pyrefly: ignore[bad-override]
        self, kth: Any, axis: Any = -1, kind: Any = "introselect", **more: Any
    ) -> None:
        """Partition in place, see `numpy.ndarray.partition`."""
        sort_in_place(self, "partition", (kth, axis, kind), more)

    def byteswap(self, inplace: bool = False) -> Any:  # noqa: FBT001, FBT002  (NumPy's signature)
        """Return, or leave, the array with its bytes swapped, see `numpy.ndarray.byteswap`."""
        if self.traceprop_held is None:
            return np.ndarray.byteswap(self, inplace)
        if not inplace:
            return _row_wise(self, "byteswap", np.ndarray.byteswap)
        self.traceprop_held.writable().byteswap(inplace=True)
        return self

    def setflags(self, write: Any = None, align: Any = None, uic: Any = None) -> None:
        """Set whether the array may be written, see `numpy.ndarray.setflags`."""
        if self.traceprop_held is not None and write is not None and not (align or uic):
            Flags(None, self.traceprop_held)["WRITEABLE"] = write
        else:
            np.ndarray.setflags(self, write=write, align=align, uic=uic)


def _method(name: str) -> Callable[..., Any]:
    def method(self: TrackedArray, *args: Any, **kwargs: Any) -> Any:
        return call_method(type(self), name, (self, *args), kwargs)

    return _named(method, name)


def _leaving_method(name: str) -> Callable[..., Any]:
    original = getattr(np.ndarray, name)

    def method(self: TrackedArray, *args: Any, **kwargs: Any) -> Any:
        result = original(plain_array(self), *map(plain_value, args), **kwargs)
        _note(self, name)
        return result

    return _named(method, name)


def _leaving_property(name: str) -> property:
    def leave(self: TrackedArray) -> Any:
        _note(self, name)
        return getattr(plain_array(self), name)

    return property(leave, doc=f"See `numpy.ndarray.{name}`.")


def _named(method: Any, name: str) -> Any:
    method.__name__, method.__doc__ = name, f"See `numpy.ndarray.{name}`."
    method.__qualname__ = f"TrackedArray.{name}"
    return method


def _note(array: RowArray, name: str) -> None:
    """Write down that values left."""
    held = held_of(array)
    if held is not None and not keeps_nothing():
        held.lines.note(f"ndarray.{name}")


def _row_wise(array: TrackedArray, name: str, function: Callable[..., Any]) -> Any:
    entry = Entry(f"ndarray.{name}", Kind.ROW_WISE)
    return run_call(Call(entry, function, (array,), {}, type(array)))


def _lost(array: TrackedArray, name: str, result: Plain) -> Any:
    entry = Entry(f"ndarray.{name}", Kind.UNKNOWN)

    def give(_array: Any) -> Plain:
        return result

    return run_call(Call(entry, give, (array,), {}, type(array)))


def _is_array_type(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return any(isinstance(t, type) and issubclass(t, np.ndarray) for t in [*args, *kwargs.values()])


def _reinterpret(array: TrackedArray, name: str, value: Any) -> None:
    """Set the shape, the type or the strides of an array in place."""
    held = held_of(array)
    np.ndarray.__setattr__(array, name, value)
    if array.traceprop_held is None:
        return
    plain = np.ndarray.view(array, np.ndarray)
    if held is None:
        np.ndarray.__setattr__(array, "traceprop_held", None)
        return
    if name == "shape":
        turned = read_shape(array, held, plain)
    else:
        turned = retyped(held, plain, f"ndarray.{name}", is_lost=name == "strides")
    np.ndarray.__setattr__(array, "traceprop_held", turned)


def read_shape(array: TrackedArray, held: Held, plain: Plain) -> Held | None:
    """Return how an array lies in memory that has another shape now."""
    before = view_of(type(array), held)
    return held_of(before.reshape(plain.shape))


@carried.register(TrackedArray)
def _carried_array(value: Plain, node: Node, steps: tuple[Step, ...]) -> Any:
    plain = np.array(plain_value(value))
    return plain if keeps_nothing() else tracked_array(plain, Lines.of_node(node), steps)


def tracked_array(plain: Plain, lines: Lines, steps: tuple[Step, ...]) -> Any:
    """Return an array of these lines at the granularity of the scope; ``plain`` becomes its own."""
    watch_exits()
    kept = lines if keeps_rows() else of_operations([lines], plain.shape).lines
    return fresh(TrackedArray, plain, kept, 0, steps)


for _entry in entries():
    _space, _, _name = _entry.name.partition(".")
    _is_method = not _name.startswith("__") and _name not in _PROPERTIES
    if _space == "ndarray" and _entry.kind in _FOLLOWED and _is_method:
        setattr(TrackedArray, _name, _method(_name))
for _name in _LEAVING:
    setattr(TrackedArray, _name, _leaving_method(_name))
for _name in _LEAVING_PROPERTIES:
    setattr(TrackedArray, _name, _leaving_property(_name))
for _name in OPERATORS:
    for _each in operator_of(_name):
        setattr(TrackedArray, _each.__name__, _each)
