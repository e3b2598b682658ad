"""Temporaries are used up only where nobody else can see them."""

import operator
import sys

import numpy as np
import pytest

from traceprop_engine.arrays import array, operators
from traceprop_engine.arrays.temporaries import COUNTS_TELL, LEFT, RIGHT, birth_in, is_used_up
from traceprop_engine.lineage.graph import reset_graph

N = 40_000  # more than NumPy's own threshold


class Spy:
    """Tells of each operand whether it is used up."""

    def __init__(self, told, born=None):
        self.told, self.born = told, born

    def __add__(self, other):
        frame = sys._getframe(1)
        for operand, above in ((self, LEFT), (other, RIGHT)):
            if isinstance(operand, Spy) and operand.born is not None:
                self.told.append(is_used_up(operand.born, frame, above))
        return Spy(self.told, birth_in(frame))

    __mul__ = __sub__ = __add__

    def __radd__(self, other):
        if self.born is not None:
            self.told.append(is_used_up(self.born, sys._getframe(1), RIGHT))
        return Spy(self.told, birth_in(sys._getframe(1)))


def named(a, _b):
    c = a * 2
    return c + 1


def walrus(a, _b):
    return (c := a * 2) + 1, c


def through_a_call(a, _b):
    return (a * 2).__add__(1)


def through_a_list(a, _b):
    return [a * 2][0] + 1


def either(a, b):
    return (a * 2 if a is not b else a) + 1


def in_a_loop(a, b):
    c = a * 2
    for each in (b, a):
        c = c + each
    return c


def in_turn(a, b):
    return a * 2 + b * 3


def beside_a_call(a, _b):
    return a * 2 + max(2, 1)


def reflected(a, _b):
    return 1 + a * 2


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        (named, [False]),
        (walrus, [False]),
        (through_a_call, [False]),
        (through_a_list, [False]),
        (either, [False]),
        (in_a_loop, [False, False]),
        (in_turn, [True, True]),
        (beside_a_call, [True]),
        (reflected, [True]),
    ],
)
def test_what_stands_on_the_stack_alone_is_used_up(code, wanted):
    told = []
    code(Spy(told), Spy(told))
    assert told == wanted


def held_elsewhere(a, b):
    keep = []

    def remember(value):
        keep.append(value)
        return value

    d = remember(a * 2) + 1
    return d, keep[0]


def of_objects(a, _b):
    boxes = np.empty(2, dtype=object)
    boxes[0], boxes[1] = a * 2, a * 3
    return (boxes + 1)[0], boxes[0]


def views(a, _b):
    c = a * 2
    d = c[::-1]
    return c + 1, d + 1, c, d


def from_a_cache(a, _b, cache={}):  # noqa: B006  (a cache is what is tested)
    return cache.setdefault("c", np.exp(a)) + 1, cache["c"]


def closures(a, b):
    def inner():
        return a * b

    return inner() + 1, inner() - inner() * 2


@pytest.mark.parametrize(
    "code",
    [
        named,
        walrus,
        through_a_call,
        through_a_list,
        either,
        in_a_loop,
        in_turn,
        reflected,
        held_elsewhere,
        of_objects,
        views,
        from_a_cache,
        closures,
        lambda a, b: ((a * 0.5 + 1) * a - 2) * a + b,
        lambda a, b: a * b + (a - b) * (a + b) - -(a * 2),
        lambda a, b: np.sqrt(a * a + b * b) / 2 + np.exp(a) * 2,
        lambda a, b: (a > 0.2) & (b < 0.8) | (a > 0.9),
        lambda a, b: (a * 2).astype("f4") * 2 + b,
        lambda a, b: (a * 2) + (b * 2).astype("f4"),
        lambda a, b: (a * 2) * np.arange(2)[:, None] + 1,
        lambda a, b: [x * 2 + 1 for x in (a, b)][-1] * 3,
        lambda a, b: (a * 2)[::-1] + (b * 3)[1:].sum() - a,
    ],
)
def test_results_and_operands_are_those_of_numpy(code):
    reset_graph()
    values = np.random.default_rng(5).random((2, N))
    a, b = array(values[0], "a"), array(values[1], "b")
    for found, wanted in zip(flat(code(a, b)), flat(code(*values.copy())), strict=True):
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(a, values[0])
    np.testing.assert_array_equal(b, values[1])


def test_an_operand_that_a_tuple_holds_is_left_alone():
    # NumPy itself writes over a plain array here.
    reset_graph()
    values = np.random.default_rng(5).random(N)
    pair = (array(values, "a") * 2, 1)
    np.testing.assert_array_equal(operator.add(*pair), values * 2 + 1)
    np.testing.assert_array_equal(pair[0], values * 2)


def flat(value):
    return list(value) if isinstance(value, tuple) else [value]


@pytest.mark.skipif(not COUNTS_TELL, reason="references do not tell temporaries from variables")
def test_the_memory_of_a_temporary_is_used_again(monkeypatch):
    reset_graph()
    a = array(np.random.default_rng(5).random(N), "a")
    written_over = []
    inner = operators._written_over
    monkeypatch.setattr(
        operators, "_written_over", lambda *args: written_over.append(1) or inner(*args)
    )
    in_turn(a, a)
    assert len(written_over) == 1
    named(a, a)
    assert len(written_over) == 1
