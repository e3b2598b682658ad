"""Random programs on two matrices, against what their result really depends on.

Nothing that it depends on may be left out without a word. Sorting is tested elsewhere: there a
small change of one row can move others.
"""

import random

import numpy as np
import pytest

from tests.oracle.arrays_oracle import (
    assert_same_outcome,
    claimed,
    lineage_of,
    matrix,
    outcome,
    really_depends,
    tracked,
)
from traceprop_engine.arrays import TrackedArray

pytestmark = pytest.mark.oracle

LARGEST = 400


def chequered(a):
    return np.arange(a.size).reshape(a.shape) % 2 == 0


def set_row(a, r):
    a[r.randrange(len(a))] = a[r.randrange(len(a))]


def set_slice(a, r):
    k = r.randrange(1, len(a))
    a[:k] = a[-k:]


def set_cell(a, r):
    a.reshape(-1)[r.randrange(a.size)] = r.random()


def set_mask(a, r):
    a[chequered(a)] = r.random()


def set_many(a, r):
    to, of = ([r.randrange(len(a)) for _ in range(3)] for _ in range(2))
    a[to] = a[of]


def add_in_place(a, _r):
    a += a[::-1]


def shuffle(a, r):
    np.random.default_rng(r.randrange(99)).shuffle(a, axis=r.randrange(a.ndim))


def multiply_into(a, _r):
    np.multiply(a, a[0], out=a)


def copy_some(a, _r):
    np.copyto(a, a[::-1].copy(), where=chequered(a))


WRITES = [
    set_row,
    set_slice,
    set_cell,
    set_mask,
    set_many,
    add_in_place,
    shuffle,
    multiply_into,
    copy_some,
]

ANY = [
    lambda a, _: a * 2 + 0.1,
    lambda a, _: a.T,
    lambda a, _: a[::-1],
    lambda a, _: a.reshape(-1),
    lambda a, r: a - a.mean(axis=r.randrange(a.ndim), keepdims=True),
    lambda a, r: np.cumsum(a, axis=r.randrange(a.ndim)),
    lambda a, r: a[[r.randrange(len(a)) for _ in range(4)]],
    lambda a, r: np.roll(a, r.randrange(3)),
    lambda a, _: np.roll(a, 1, axis=0),
    lambda a, _: a[None],
    lambda a, _: a[..., None],
    lambda a, _: np.concatenate([a, a[:2] * 2]),
    lambda a, r: np.stack([a, a * 3], axis=r.randrange(a.ndim + 1)),
    lambda a, _: np.hstack([a, a]),
    lambda a, _: np.tile(a, 2),
    lambda a, _: np.repeat(a, 2, axis=-1),
    lambda a, _: np.moveaxis(a, 0, -1),
    lambda a, _: a * a[0],
    lambda a, _: a * a[-1:],
    lambda a, _: np.exp(-a) + a.reshape(a.shape),
    lambda a, _: np.flip(a),
    lambda a, _: np.where(chequered(a), a, a[::-1]),
    lambda a, _: np.pad(a, 1, mode="edge"),
    lambda a, _: a.swapaxes(0, -1),
    lambda a, _: np.broadcast_to(a[:1], (3, *a.shape[1:])).copy(),
    lambda a, _: a.astype("f4").astype("f8"),
    lambda a, _: np.fft.ifft(np.fft.fft(a)).real,
    lambda a, _: np.insert(a, 0, a[-1], axis=0),
    lambda a, _: np.unwrap(a),
    lambda a, _: a.view("i8").view("f8"),
    lambda a, _: a / (1 + a.max()),
]
MATRICES = [
    lambda a, _: a.sum(axis=-1),
    lambda a, _: a.sum(axis=0),
    lambda a, _: a @ a.T,
    lambda a, _: a.T @ a,
    lambda a, _: np.rot90(a),
    lambda a, _: np.einsum("ij,ij->j", a, a),
    lambda a, _: np.einsum("ij->ji", a),
    lambda a, _: np.tril(a),
    lambda a, _: np.linalg.norm(a, axis=-1),
    lambda a, r: np.median(a, axis=r.randrange(a.ndim)),
    lambda a, r: np.array_split(a, 2, axis=r.randrange(a.ndim))[0],
    lambda a, _: a[:, :1],
    lambda a, _: a[len(a) // 2],
    lambda a, r: np.percentile(a, [20, 70], axis=r.randrange(a.ndim)),
    lambda a, _: np.block([[a], [a]]),
    lambda a, _: np.unstack(a)[0],
    lambda a, _: np.vecdot(a, a),
    lambda a, _: a.dot(np.ones(a.shape[-1])),
    lambda a, _: a.reshape(a.shape[1], a.shape[0]),
]


def step_of(a, r):
    """Return the next step of a program: a function, or a write to the array or to a view."""
    if r.random() < 0.4:
        write = r.choice(WRITES)

        def run(a, r):
            a = a * 1.0
            view = r.choice([a, a, a[::-1], a.T, a.reshape(-1), a[..., ::-1]])
            write(view, r)
            return r.choice([a, view])

        return run
    return r.choice(ANY + MATRICES if a.ndim == 2 else ANY)


def program(seed):
    def run(x, z):
        r = random.Random(seed)  # noqa: S311  (a seeded program)
        a = x
        for at in range(r.randint(1, 6)):
            if not 0 < a.size <= LARGEST or a.ndim > 3 or len(a) < 2:
                break
            a = step_of(a, r)(a, r)
            if at == 0 and a.shape == z.shape and r.random() < 0.5:
                a = r.choice([a + z, np.concatenate([a, z]), np.where(chequered(a), a, z)])
        return a

    return run


@pytest.mark.parametrize("block", range(12))
def test_nothing_is_left_out_without_a_word(block):
    n_exact = 0
    for seed in range(block * 50, block * 50 + 50):
        run = program(seed)
        plain = {"x": matrix(), "z": matrix()[::-1] * 1.01 + 0.003}
        wanted = outcome(run, {name: values.copy() for name, values in plain.items()})
        found = outcome(run, tracked(**plain))
        is_tracked = isinstance(found, TrackedArray) and found.ndim
        lineage = lineage_of(found) if is_tracked else None
        assert_same_outcome(found, wanted)
        if isinstance(wanted, Exception) or not np.ndim(wanted):
            continue
        assert lineage is not None, seed
        for name in plain:
            pairs, context = claimed(lineage, name)
            really = really_depends(run, plain, name)
            left_out = {pair for pair in really if pair not in pairs and pair[1] not in context}
            assert not left_out or lineage.maps[name].kind == "unknown", seed
            n_exact += bool(really) and lineage.maps[name].is_known
    assert n_exact > 10
