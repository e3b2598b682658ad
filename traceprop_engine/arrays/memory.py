"""Arrays, their memory, and which rows lie in it.

All arrays that share memory share a *book*: which row each position of the memory holds now. So a
write through one of them is seen by the others. Nobody else can write there: the memory is locked
for everything but the tracked array's own operations, which keep the book.
"""

from threading import RLock
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from traceprop_engine.arrays.lines import Lines, Steps, lost_lines
from traceprop_engine.lineage.marks import Notes, distinct
from traceprop_engine.lineage.rows import IntArray, as_array, kept

Plain = NDArray[Any]

WRITING = RLock()
"""Held while values are written and the rows with them: of two threads' writes none gets lost."""


class Book:
    """Which rows the positions of some memory hold.

    Attributes:
        owner: The plain array that the memory belongs to; it is locked.
        steps: The last operations that led here.
        version: How often rows were written.
    """

    version = 0
    _written: IntArray | None = None

    def __init__(self, plain: Plain, owner: Plain, lines: Lines, steps: Steps) -> None:
        self.owner = owner
        self._bytes = plain.nbytes
        self._lines = lines
        self.steps = steps

    @property
    def row_bytes(self) -> int:
        """The bytes of each position."""
        return self._bytes // (len(self._lines) or 1)

    @property
    def lines(self) -> Lines:
        """Which rows the positions hold now."""
        if self._written is not None:
            self._lines = Lines(self._lines.node, kept(self._written))
            self._written = None
        return self._lines

    @property
    def last_lines(self) -> Lines:
        """Lines of the node of this memory, which rows may have been written since."""
        return self._lines

    def replace(self, lines: Lines, steps: Steps) -> None:
        """Write down what the positions hold from now on."""
        self._lines, self._written, self.steps = lines, None, steps
        self.version += 1

    def row(self, position: int) -> int:
        """Return the row of the node at a position."""
        rows = self._lines.rows if self._written is None else self._written
        return int(rows[position])

    def set_row(self, position: int, row: int) -> None:
        """Write down that a position holds another row of the same node."""
        if self._written is None:
            self._written = np.array(as_array(self._lines.rows), dtype=np.int64)
        self._written[position] = row
        self.version += 1


class Held:
    """How an array lies in its memory.

    Attributes:
        plain: The array as NumPy knows it, locked.
        book: What its memory holds.
        axis: The axis that its lines are along; ``None`` when there is one for all values.
        span: The positions of the memory along that axis.
        mixed: Its lines, for a view whose axis does not run evenly along the positions of the
            memory; they hold as long as nothing is written there.
        made_by: The operation that made the view, if it is one.
        is_locked: Whether the user's code may not write.
        is_frozen: Whether it may not change that, either.
        born: Where in the running code the array came to be, for one that may be used up.
    """

    # Most arrays are whole and new: what they do not need stands in the class.
    mixed: Lines | None = None
    made_by: Steps = ()
    is_locked = False
    is_frozen = False
    born: Any = None
    _seen: tuple[Lines, Lines] | None = None

    def __init__(
        self, plain: Plain, book: Book, axis: int | None, span: range, mixed: Lines | None = None
    ) -> None:
        self.plain = plain
        self.book = book
        self.axis = axis
        self.span = span
        self._version = book.version
        if mixed is not None:
            self.mixed = mixed

    @property
    def lines(self) -> Lines:
        """The lines at its positions now, one for all values without an axis."""
        lines = self.book.lines
        if self.span is lines.every:
            return lines
        if self.mixed is not None:
            return self._of_mixed(self.mixed)
        if len(self.span) == len(lines) and self.span.step > 0:
            return lines
        if self._seen is None or self._seen[0] is not lines:
            self._seen = (lines, lines.at(self.span))
        return self._seen[1]

    @property
    def notes(self) -> Notes:
        """The notes of the session that its rows belong to."""
        return self.book.last_lines.notes

    @property
    def steps(self) -> Steps:
        """The last operations that led to its values."""
        if not self.made_by:
            return self.book.steps
        if self._version == self.book.version:
            return self.made_by
        return distinct([*self.made_by, *self.book.steps])

    def cells(self, first: int = 0) -> IntArray:
        """Return for each value the number of its line, counted from ``first``."""
        shape = self.plain.shape
        axis = self.axis
        if axis is None:
            return np.broadcast_to(np.int64(first), shape)
        numbers = np.arange(first, first + shape[axis])
        numbers = numbers.reshape([-1 if at == axis else 1 for at in range(len(shape))])
        return np.broadcast_to(numbers, shape)

    def writable(self) -> Plain:
        """Return the array such that its memory can be written, for an operation of our own.

        Raises:
            ValueError: The user's code made it read-only; as NumPy says it.
        """
        if self.is_locked:
            raise ValueError("assignment destination is read-only")  # NumPy's own words
        owner = self.book.owner
        with WRITING:
            owner.flags.writeable = True
            view = self.plain.view()
            view.flags.writeable = True
            owner.flags.writeable = False
        return view

    def _of_mixed(self, mixed: Lines) -> Lines:
        if self._version != self.book.version:
            why = "a write through another view of its memory"
            self.mixed = mixed = lost_lines([mixed, self.book.lines], len(mixed), why)
            self._version = self.book.version
        return mixed


class RowArray(np.ndarray[Any, Any]):
    """An array of NumPy that may know its rows. What it inherits from another never says so."""

    traceprop_held: Held | None = None


Array = TypeVar("Array", bound=RowArray)


def held_of(value: Any) -> Held | None:
    """Return how a tracked array lies in its memory, if its rows are followed."""
    if not isinstance(value, RowArray):
        return None
    held = value.traceprop_held
    return held if held is not None and held.notes.is_open else None


def plain_array(value: RowArray) -> Plain:
    """Return the locked plain array of one that may know its rows."""
    return (
        np.ndarray.view(value, np.ndarray)
        if value.traceprop_held is None
        else value.traceprop_held.plain
    )


def plain_value(value: Any) -> Any:
    """Return a tracked array as NumPy knows it; any other value as it is."""
    return plain_array(value) if isinstance(value, RowArray) else value


def view_of(cls: type[Array], held: Held) -> Array:
    """Return an array that lies in memory this way."""
    array = held.plain.view(cls)
    np.ndarray.__setattr__(array, "traceprop_held", held)
    return array


def fresh(cls: type[Array], plain: Plain, lines: Lines, axis: int | None, steps: Steps) -> Array:
    """Return an array in memory of its own; ``plain`` becomes its own."""
    owner = plain.base
    if owner is None:
        owner = plain
    elif type(owner) is not np.ndarray or owner.base is not None or not owner.flags.owndata:
        owner = plain = plain.copy(order="K")
    flags = plain.flags
    is_frozen = not flags.writeable
    flags.writeable = False
    if owner is not plain:
        owner.flags.writeable = False
    book = Book(plain, owner, lines, steps)
    held = Held(plain, book, axis, lines.every)
    held.is_frozen = held.is_locked = is_frozen
    return view_of(cls, held)


def fresh_owner(
    cls: type[Array], plain: Plain, lines: Lines, axis: int | None, steps: Steps
) -> Array:
    """Return what `fresh` does, for memory that was just made."""
    plain.setflags(write=False)
    held = Held(plain, Book(plain, plain, lines, steps), axis, lines.every)
    array = plain.view(cls)
    array.__dict__["traceprop_held"] = held
    return array
