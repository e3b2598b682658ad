"""How much is recorded: rows, operations, or nothing. It changes the cost, never a result.

It is about tensors and training loops. Frames and JAX arrays are always recorded by row.

==========  ====================================  ==============================================
Setting     It can answer                         It cannot answer
==========  ====================================  ==============================================
``ROW``     which rows of which inputs, through
            which operations
``OP``      which inputs, through which           which rows: they are unknown, and said to be
            operations
``BATCH``   of a training loop: which batches     which rows of a batch; tensors are recorded as
            each step took                        in ``OP``
``EPOCH``   of a training loop: which epochs      which batches; tensors are recorded as in
            there were                            ``OP``
``OFF``     nothing                               anything: values are plain, nothing is kept
==========  ====================================  ==============================================
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from threading import Lock

from traceprop_engine.errors import GranularityError


class Granularity(StrEnum):
    """How much is recorded, the most first."""

    ROW = "ROW"
    OP = "OP"
    BATCH = "BATCH"
    EPOCH = "EPOCH"
    OFF = "OFF"


_lock = Lock()
_of_process = [Granularity.ROW]
_of_context: ContextVar[Granularity | None] = ContextVar("traceprop_granularity", default=None)


def current_granularity() -> Granularity:
    """Return what is recorded here: the setting of the innermost `granularity`, or the default."""
    return _of_context.get() or _of_process[0]


def set_granularity(level: Granularity | str) -> None:
    """Set what is recorded in this process wherever no `granularity` is set.

    Raises:
        GranularityError: There is no such setting.
    """
    wanted = granularity_named(level)
    with _lock:
        _of_process[0] = wanted


@contextmanager
def granularity(level: Granularity | str) -> Iterator[Granularity]:
    """Record at this granularity inside a ``with`` block, in this thread or task alone.

    Example:
        >>> with granularity("OP"):
        ...     current_granularity().value
        'OP'

    Raises:
        GranularityError: There is no such setting.
    """
    wanted = granularity_named(level)
    token = _of_context.set(wanted)
    try:
        yield wanted
    finally:
        _of_context.reset(token)


def granularity_named(level: Granularity | str) -> Granularity:
    """Return the setting of a name, in any case.

    Raises:
        GranularityError: There is no such setting.
    """
    try:
        return Granularity(str(level).upper())
    except ValueError:
        raise GranularityError(str(level), [each.value for each in Granularity]) from None
