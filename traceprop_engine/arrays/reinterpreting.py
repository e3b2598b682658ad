"""The same bytes read as other values."""

from traceprop_engine.arrays.lines import lost_lines
from traceprop_engine.arrays.memory import Held, Plain


def retyped(held: Held, plain: Plain, name: str, *, is_lost: bool = False) -> Held:
    """Return how an array lies in memory whose bytes are read as another type.

    Only the last axis can change its length by that. Rows along another axis, or values of the
    same size, stay where they are; else they are lost.
    """
    row = held.axis
    same = plain.shape == held.plain.shape and plain.strides == held.plain.strides
    is_before = (
        row is not None
        and plain.ndim == held.plain.ndim
        and row < plain.ndim - 1
        and plain.strides[:-1] == held.plain.strides[:-1]
    )
    if not is_lost and (same or is_before or row is None):
        # The lines of now: those kept may be older than a write.
        mixed = None if held.mixed is None else held.lines
        view = Held(plain, held.book, held.axis, held.span, mixed)
    else:
        n = plain.shape[0] if plain.ndim else 1
        lost = lost_lines([held.lines], n, name)
        view = Held(plain, held.book, 0 if plain.ndim else None, range(0), lost)
    view.is_locked = held.is_locked
    view.made_by = held.made_by
    return view
