"""Rows of NumPy arrays, against what a result really depends on."""

import inspect
import warnings

import numpy as np
import pytest

from tests.oracle.array_cases import IN_PLACE, PURE
from tests.oracle.arrays_oracle import (
    assert_same_outcome,
    claimed,
    lineage_of,
    matrix,
    outcome,
    really_depends,
    tracked,
    vector,
)
from traceprop_engine.arrays import TrackedArray

pytestmark = pytest.mark.oracle

STEPWISE = (
    *(
        "//0.3",
        "x[2]]",
        "x[2:3]",
        ".max(1)",
        "where(",
        "select(",
        "isclose(",
        "argmax(",
        "digitize(",
    ),
    *("isin(", "argsort(", "var(", ">0.3", ">0.5", "x.min", "diff(x)", "x-x[2"),
)
"""Code whose result does not change with every small change of what it reads."""

LOST = (
    *("np.cumsum(x)", "mode='mean'", "v.view", "zeros_like", "convolve", "kron", "tensordot"),
    *("reduceat(x,[0,2],axis=0)", "cross", "sliding_window", "broadcast_to(x[:,0],(3,6)).ravel"),
    "where=x>0.5",
)
"""Code that nobody follows: it must say so."""

MAKERS = {
    "x": matrix,
    "z": lambda: matrix()[::-1] * 1.01 + 0.003,
    "v": vector,
    "w": lambda: vector()[::-1] * 1.01 + 0.003,
}


def source_of(case):
    return inspect.getsource(case).strip().rstrip(",").replace(" ", "").replace('"', "'")


def run_both(run, names):
    plain = {name: MAKERS[name]() for name in names}
    wanted = outcome(run, {name: values.copy() for name, values in plain.items()})
    found = outcome(run, tracked(**plain))
    lineage = lineage_of(found) if isinstance(found, TrackedArray) and found.ndim else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_same_outcome(found, wanted)
    return plain, wanted, lineage


def assert_honest(run, plain, lineage, *, is_stepwise):
    """Nothing that the result depends on is left out; nothing is claimed that it does not."""
    for name in plain:
        really = really_depends(run, plain, name)
        pairs, context = claimed(lineage, name)
        left_out = {pair for pair in really if pair not in pairs and pair[1] not in context}
        assert not left_out or lineage.maps[name].kind == "unknown"
        assert is_stepwise or pairs <= really


@pytest.mark.parametrize("case", PURE, ids=source_of)
def test_every_row_that_a_result_depends_on_is_named(case):
    names = case.__code__.co_varnames[: case.__code__.co_argcount]
    plain, wanted, lineage = run_both(case, names)
    if lineage is None:
        assert not isinstance(wanted, np.ndarray)
        return
    source = source_of(case)
    assert_honest(case, plain, lineage, is_stepwise=any(part in source for part in STEPWISE))
    is_lost = any(lineage.maps[name].kind == "unknown" for name in names)
    assert is_lost == any(part in source for part in LOST)


@pytest.mark.parametrize("case", IN_PLACE)
def test_what_is_written_in_place_is_of_the_rows_it_came_from(case):
    statement, _, result = case.partition(" -> ")
    code = compile(statement, "<case>", "exec")
    names = [name for name in MAKERS if name in code.co_names or name == result]

    def run(**arrays):
        space = {"np": np, **arrays}
        exec(code, space)  # noqa: S102  (a statement of the list)
        return space[result]

    plain, wanted, lineage = run_both(run, names)
    if isinstance(wanted, Exception):
        return
    assert lineage is not None
    assert_honest(run, plain, lineage, is_stepwise="where" in statement)
