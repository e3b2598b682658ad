"""Nothing of NumPy's public namespace is left out of the table of what functions do to rows."""

import numpy as np
import pytest

from traceprop_engine.arrays import TrackedArray, array
from traceprop_engine.arrays.classification import Kind, entries
from traceprop_engine.arrays.ufuncs import _PRODUCTS
from traceprop_engine.lineage.decode import followed_value
from traceprop_engine.lineage.graph import default_graph, reset_graph

NAMESPACES = {
    "np": np,
    "np.linalg": np.linalg,
    "np.fft": np.fft,
    "np.strings": np.strings,
    "np.char": np.char,
    "np.random": np.random,
    "Generator": np.random.Generator,
}
OPERATORS = "abs divmod eq floordiv ge gt invert le lshift lt matmul mod ne pos pow rshift"
TABLE = {entry.name: entry for entry in entries()}


def functions(namespace):
    for name in dir(NAMESPACES[namespace]):
        value = getattr(NAMESPACES[namespace], name)
        is_function = not isinstance(value, (type, np.ufunc)) and not hasattr(value, "__path__")
        if (
            not name.startswith("_")
            and is_function
            and (callable(value) or namespace == "Generator")
        ):
            yield f"{namespace}.{name}"


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_every_public_function_is_classified(namespace):
    assert set(functions(namespace)) - TABLE.keys() == set()


def test_every_method_of_an_array_is_classified():
    inherited = set(dir(object)) | {"__doc__", "__buffer__"}
    names = {f"ndarray.{name}" for name in dir(np.ndarray) if name not in inherited}
    assert names - TABLE.keys() == set()


def test_every_ufunc_is_element_by_element_or_a_product():
    ufuncs = {
        each
        for space in (np, np.strings, np.char)
        for each in vars(space).values()
        if isinstance(each, np.ufunc)
    }
    assert {each for each in ufuncs if each.signature is not None} <= set(_PRODUCTS)


def test_a_method_that_reads_values_is_one_of_the_tracked_array_itself():
    inherited = {
        entry.name.removeprefix("ndarray.")
        for entry in entries()
        if entry.name.startswith("ndarray.") and entry.kind not in (Kind.FACT, Kind.WRITING)
    }
    inherited = {n for n in inherited if getattr(TrackedArray, n) is getattr(np.ndarray, n)}
    # NumPy's own operators call a ufunc, which asks the array.
    operators = {f"__{r}{name}__" for r in ("", "r") for name in OPERATORS.split()}
    assert inherited <= operators | {"__setstate__"}


UNFOLLOWED = {
    "np.apply_over_axes": lambda x: np.apply_over_axes(np.sum, x, [1]),
    "np.convolve": lambda x: np.convolve(x[:, 0], [1, 2]),
    "np.cross": lambda x: np.cross(x, [1.0, 2.0, 3.0]),
    "np.intersect1d": lambda x: np.intersect1d(x, x),
    "np.kron": lambda x: np.kron(x, x),
    "np.piecewise": lambda x: np.piecewise(x, [x > 1], [lambda y: y.cumsum(), 0]),
    "np.setdiff1d": lambda x: np.setdiff1d(x, [1.0]),
    "np.tensordot": lambda x: np.tensordot(x, x, axes=(1, 1)),
    "np.union1d": lambda x: np.union1d(x, [3.0]),
    "np.linalg.solve": lambda x: np.linalg.solve(np.eye(4), x),
    "np.linalg.multi_dot": lambda x: np.linalg.multi_dot([x, x.T, x]),
}


@pytest.mark.parametrize("name", UNFOLLOWED)
def test_the_result_of_an_unknown_function_is_visibly_lost(name):
    reset_graph()
    x = array(np.arange(12.0).reshape(4, 3), "x")
    result = UNFOLLOWED[name](x)
    lineage = followed_value(result, default_graph()).lineage()
    assert TABLE[name].kind is Kind.UNKNOWN
    assert isinstance(result, TrackedArray)
    assert lineage.fidelity == "unknown"
    assert name in lineage.reason


def test_a_function_that_nobody_knows_is_lost_under_its_name():
    reset_graph()
    x = array(np.arange(12.0).reshape(4, 3), "x")
    windows = np.lib.stride_tricks.sliding_window_view(x, 2, axis=0)
    assert "sliding_window_view" in followed_value(windows, default_graph()).lineage().reason
