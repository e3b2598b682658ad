"""One call of a function of NumPy, and what its arguments are."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from traceprop_engine.arrays.cells import Origin
from traceprop_engine.arrays.classification import Entry
from traceprop_engine.arrays.combining import tracked_among
from traceprop_engine.arrays.memory import Held, RowArray, held_of, plain_array

_NOT_OF_NUMBERS = ("dtype", "casting", "out", "like", "keepdims_dtype")


@dataclass(frozen=True, eq=False)
class Call:
    """A call of a function.

    Attributes:
        entry: What the function does to rows.
        function: The function.
        args: What was passed, tracked arrays and all.
        kwargs: The same, by keyword.
        cls: The class of tracked arrays.
    """

    entry: Entry
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    cls: type[Any]

    @property
    def name(self) -> str:
        """The name of the function."""
        return self.entry.name

    def run(self, **changed: Any) -> Any:
        """Return what NumPy gives for the plain arguments."""
        options = plain_values(self.kwargs)
        options.pop("overwrite_input", None)  # a permission that NumPy need not use
        return self.function(*plain_values(self.args), **options, **changed)

    @cached_property
    def operands(self) -> list[Held]:
        """How the tracked arrays among the arguments lie in memory."""
        return tracked_among(leaves([*self.args, *self.kwargs.values()]))

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """The arguments by the names of the parameters, with what they are by default."""
        bound = signature_of(self.function).bind(*self.args, **self.kwargs)
        bound.apply_defaults()
        return bound.arguments

    @property
    def main(self) -> Any:
        """The argument that the function is about."""
        return self.arguments[self.entry.data[0]]

    @cached_property
    def main_held(self) -> Held | None:
        """How the argument that the function is about lies in memory, if it is followed."""
        held = held_of(self.main)
        return held if held is not None and held in self.operands else None

    def note_others(self, names: Sequence[str] = ()) -> None:
        """Note the rows that decided where values went, unless each did so of itself alone."""
        data = names or self.entry.data
        moved = [held for name in data for held in self._of(name)]
        controls = [held for name in self.arguments if name not in data for held in self._of(name)]
        for held in controls:
            if not any(self._is_own(held, each) for each in moved):
                held.lines.note(self.name)

    def beside(self, held: Held) -> list[Held]:
        """Return the other operands; the same array is one of them if it was passed twice."""
        at = self.operands.index(held)
        return self.operands[:at] + self.operands[at + 1 :]

    def moved_numbers(self, names: Sequence[str] = (), **changed: Any) -> "Numbered":
        """Return what the function gives for the numbers of the values that it moves.

        Args:
            names: The parameters that hold what is moved; those of the entry without any.
            changed: Other values of parameters.
        """
        bound = signature_of(self.function).bind(*self.args, **self.kwargs)
        numbered = Numbered()
        for name in bound.arguments:
            value = bound.arguments[name]
            if name in (names or self.entry.data):
                bound.arguments[name] = numbered.of(value, self.operands)
            else:
                bound.arguments[name] = plain_values(value)
        for name in _NOT_OF_NUMBERS:
            bound.arguments.pop(name, None)
            bound.arguments.get("kwargs", {}).pop(name, None)
        bound.arguments |= changed
        numbered.result = less_one(self.function(*bound.args, **bound.kwargs))
        return numbered

    def _is_own(self, control: Held, moved: Held) -> bool:
        """Say whether each row of what decides only decides of the same row of what is moved."""
        if control.lines is not moved.lines:
            return False
        short = self.name.rpartition(".")[2]
        axis, ndim = self.arguments.get("axis"), moved.plain.ndim
        at = None if axis is None else int(axis) % ndim
        if short in ("take_along_axis", "put_along_axis"):
            return at is not None and at != moved.axis == control.axis
        if control.plain.dtype != bool and short != "repeat":
            return False
        if "axis" in self.arguments:
            return at == moved.axis or (axis is None and ndim == 1)
        return control.axis == moved.axis and control.plain.ndim == ndim

    def _of(self, name: str) -> list[Held]:
        found = tracked_among(leaves([self.arguments.get(name)]))
        return [held for held in found if held in self.operands]


@dataclass(eq=False)
class Numbered:
    """Numbers in place of values.

    Attributes:
        origins: What the numbers stand for.
        has_unknown: Whether a plain array is among what is moved.
        result: What a function gave for the numbers.
    """

    origins: list[tuple[Held, Origin]] = field(default_factory=list)
    has_unknown: bool = False
    result: Any = None
    _next: int = 0

    def of(self, value: Any, operands: Sequence[Held]) -> Any:
        """Return the numbers of the values in an argument, each one more than it is.

        So 0 is the number of a value of no row: NumPy fills in zeros.
        """
        held = held_of(value)
        if held is not None and held in operands:
            return self._of_held(held)
        if isinstance(value, (list, tuple)) and has_arrays(value):
            return type(value)([self.of(each, operands) for each in value])
        shape = np.shape(plain_values(value))
        self.has_unknown = self.has_unknown or int(np.prod(shape)) > 1
        return np.zeros(shape, dtype=np.int64)

    def _of_held(self, held: Held) -> Any:
        origin = next((o for other, o in self.origins if other is held), None)
        if origin is None:
            lines = held.lines
            origin = Origin(lines, self._next)
            self._next += len(lines)
            self.origins.append((held, origin))
        return held.cells(origin.first + 1)


@lru_cache(maxsize=1024)
def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """Return the parameters of a function.

    Raises:
        ValueError: The function does not say them.
    """
    return inspect.signature(function)


def has_signature(function: Callable[..., Any]) -> bool:
    """Say whether the parameters of a function can be known."""
    try:
        signature_of(function)
    except ValueError:
        return False
    return True


def leaves(values: Sequence[Any]) -> list[Any]:
    """Return the values, and those in lists, tuples and mappings among them."""
    found: list[Any] = []
    for each in values:
        if isinstance(each, (list, tuple)):
            found += leaves(each)
        elif isinstance(each, dict):
            found += leaves(list(each.values()))
        else:
            found.append(each)
    return found


def plain_values(value: Any) -> Any:
    """Return arguments with plain arrays in place of tracked ones, at any depth."""
    if isinstance(value, RowArray):
        return plain_array(value)
    if type(value) in (list, tuple) and has_arrays(value):
        return type(value)([plain_values(each) for each in value])
    if type(value) is tuple:
        return value
    if type(value) is dict:
        return {key: plain_values(each) for key, each in value.items()}
    return value


def has_arrays(values: Sequence[Any]) -> bool:
    """Say whether there is an array in a list, at any depth."""
    return any(
        isinstance(each, np.ndarray) or (type(each) in (list, tuple) and has_arrays(each))
        for each in values
    )


def less_one(numbers: Any) -> Any:
    """Return numbers that are one less, of one array or of several."""
    if isinstance(numbers, (list, tuple)):
        return type(numbers)([less_one(each) for each in numbers])
    numbers = np.asarray(numbers)
    # What is repeated along an axis stays one number for all of it.
    once = tuple(slice(0, 1) if step == 0 else slice(None) for step in numbers.strides)
    return np.broadcast_to(numbers[once] - 1, numbers.shape)
