"""What a result really depends on, found by changing one row of an input at a time."""

import numpy as np

from traceprop_engine.arrays import array
from traceprop_engine.lineage.decode import followed_value
from traceprop_engine.lineage.graph import default_graph, reset_graph

N, WIDTH = 6, 3


def matrix():
    """Return values of which no two are equal, or equal after any simple function."""
    return np.random.default_rng(1).uniform(0.1, 0.9, (N, WIDTH))


def vector():
    return np.random.default_rng(2).uniform(0.1, 0.9, N)


def keyed():
    """Return values that say which row they were made in."""
    return np.arange(N)[:, None] * 100.0 + np.arange(WIDTH) + 1


def key_vector():
    return np.arange(N) * 100.0 + 1


def tracked(**plain):
    """Return tracked arrays in a fresh graph, one for each input."""
    reset_graph()
    return {name: array(values, name) for name, values in plain.items()}


def lineage_of(result):
    return followed_value(result, default_graph()).lineage()


def outcome(run, arrays):
    """Return what a function gives, or the error that it raises."""
    try:
        return run(**arrays)
    except Exception as error:  # noqa: BLE001  (any error of the user's code is an outcome)
        return error


def assert_same_outcome(found, wanted):
    """Compare what the tracked code gave with what plain NumPy gives."""
    if isinstance(wanted, Exception):
        assert type(found) is type(wanted), found
        assert str(found) == str(wanted)
        return
    assert not isinstance(found, Exception), found
    if isinstance(wanted, (tuple, list)):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_same_outcome(one, other)
        return
    assert isinstance(found, type(wanted))
    if isinstance(wanted, (np.ndarray, np.generic)):
        assert found.dtype == wanted.dtype
        assert found.shape == wanted.shape
        has_nan = wanted.dtype.kind in "fc"
        assert np.array_equal(np.array(found), np.array(wanted), equal_nan=has_nan)
    else:
        assert found == wanted


def really_depends(run, plain, name):
    """Return the pairs (position, row) where changing the row of an input changes the result."""
    before = np.asarray(run(**{key: values.copy() for key, values in plain.items()}))
    pairs = set()
    for row in range(len(plain[name])):
        for by in (0.0437, -0.0291):
            changed = {key: values.copy() for key, values in plain.items()}
            values = changed[name]
            values[row] = (
                ~values[row]
                if values.dtype == bool
                else values[row] + values.dtype.type(by if values.dtype.kind == "f" else 1)
            )
            after = np.asarray(run(**changed))
            assert after.shape == before.shape, "the oracle needs a shape that stays"
            differs = before != after
            if before.dtype.kind in "fc":
                differs &= ~(np.isnan(before) & np.isnan(after))
            where = differs.reshape(len(before), -1).any(axis=1)
            pairs |= {(int(at), row) for at in np.flatnonzero(where)}
    return pairs


def claimed(lineage, name):
    """Return the pairs that a lineage claims, and the rows that it names as context."""
    row_map = lineage.maps[name]
    pairs = set()
    if row_map.kind not in ("context", "unknown"):
        pairs = {(int(at), int(row)) for at, row in zip(*row_map.pairs(), strict=True)}
    context = {
        int(row)
        for each in lineage.contexts
        if each.input == name
        for row in each.members.backward([0])
    }
    return pairs, context
