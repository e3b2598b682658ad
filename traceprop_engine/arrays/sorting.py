"""Sorting in place: rows go where their values went."""

from typing import Any

import numpy as np

from traceprop_engine.arrays.calls import Call
from traceprop_engine.arrays.classification import Entry, Kind
from traceprop_engine.arrays.combining import keeps_rows
from traceprop_engine.arrays.memory import WRITING, Held, RowArray, held_of, plain_array
from traceprop_engine.arrays.special import sorted_numbers
from traceprop_engine.arrays.writing import lose_all, written_numbers


def sort_in_place(
    array: RowArray, method: str, args: tuple[Any, ...], options: dict[str, Any]
) -> None:
    """Run `sort` or `partition` on an array, and write down where its rows are now."""
    held = array.traceprop_held
    if held is None:
        getattr(np.ndarray, method)(plain_array(array), *args, **options)
        return
    with WRITING:
        _sort(array, held, method, args, options)


def _sort(
    array: RowArray, held: Held, method: str, args: tuple[Any, ...], options: dict[str, Any]
) -> None:
    name, function = f"ndarray.{method}", getattr(np.ndarray, method)
    numbers = None
    live = held_of(array)
    if live is not None and keeps_rows() and live.mixed is None:
        entry = Entry(name, Kind.PERMUTING, ("self",))
        numbers = sorted_numbers(Call(entry, function, (array, *args), options, type(array)), live)
    function(held.writable(), *args, **options)
    if live is None:
        return
    if numbers is None:
        lose_all(name, live, [])
    else:
        written_numbers(name, live, numbers, [], [])
