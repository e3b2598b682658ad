"""Random chains of array code: a planted key says which row each row is."""

import random

import numpy as np
import pytest

from tests.oracle.arrays_oracle import lineage_of, tracked

pytestmark = pytest.mark.oracle


def swapped(d, r):
    d = d.copy()
    i, j = r.randrange(len(d)), r.randrange(len(d))
    d[[i, j]] = d[[j, i]]
    return d


def overwritten(d, r):
    d = d.copy()
    d[r.randrange(len(d))] = d[r.randrange(len(d))]
    d[:2] = d[-2:]
    return d


def through_a_view(d, r):
    d = d.copy()
    view = d[:: r.choice([1, 2, -1])]
    view[:] = view[::-1].copy()
    return d.T[:, ::-1].T


def shuffled(d, r):
    d = d.copy()
    np.random.default_rng(r.randrange(99)).shuffle(d)
    return d


def filled(d, _r):
    new = np.empty_like(d)
    new[: len(d) // 2] = d[len(d) // 2 : len(d) // 2 * 2]
    new[len(d) // 2 :] = d[: len(d) - len(d) // 2]
    return new


def scaled_in_place(d, r):
    d = d + 0.0
    d *= [1.0, 2.0, 0.5]
    d[:, 1:] -= d[:, 1:].mean(axis=0)
    np.multiply(d[:, 2], r.uniform(1, 2), out=d[:, 2])
    return d


STEPS = [
    lambda d, r: d[d[:, 1] > r.uniform(-1, 0.2)],
    lambda d, _: d[::-1],
    lambda d, r: d[r.randrange(2) :],
    lambda d, _: d[np.argsort(d[:, 1], kind="stable")],
    lambda d, _: d[np.lexsort((d[:, 0], d[:, 2]))],
    lambda d, r: np.concatenate([d, d[: r.randrange(3)]]),
    lambda d, _: np.vstack([d[1:], d[:1]]),
    lambda d, r: np.roll(d, r.randrange(4), axis=0),
    lambda d, _: np.flip(d, 0),
    lambda d, r: d * [1, 2, r.random()] + [0, 0.1, 0],
    lambda d, r: d.take([r.randrange(len(d)) for _ in range(len(d))], axis=0),
    lambda d, r: np.delete(d, r.randrange(len(d)), axis=0),
    lambda d, r: np.repeat(d, r.choice([1, 2]), axis=0),
    lambda d, _: d.T.copy().T,
    lambda d, _: d.reshape(len(d), 3, 1)[:, :, 0],
    lambda d, _: d.reshape(1, -1, 3)[0],
    lambda d, _: np.column_stack([d[:, 0], d[:, 1:]]),
    lambda d, _: np.hstack([d[:, :1], d[:, 1:] - d[:, 1:].mean(0)]),
    lambda d, r: np.array_split(d, 2)[r.randrange(2)],
    lambda d, r: np.pad(d, ((r.randrange(3), 0), (0, 0)), mode="edge"),
    lambda d, _: np.rot90(d, 2)[:, ::-1],
    lambda d, _: np.where(d[:, 1:2] > 0, d, d * [1, 3, 3]),
    lambda d, _: np.compress(np.arange(len(d)) % 3 != 1, d, axis=0),
    lambda d, _: np.einsum("ij->ij", d) if len(d) > 1 else d,
    lambda d, _: d @ np.diag([1.0, 2.0, -1.0]),
    lambda d, _: np.stack(list(d)) if len(d) else d,
    lambda d, _: d.astype("f8", copy=False).swapaxes(0, 1).swapaxes(1, 0),
    lambda d, r: np.tile(d, (r.choice([1, 2]), 1)),
    lambda d, _: np.append(d, d[:1], axis=0),
    lambda d, _: np.split(d, [len(d) // 2])[1],
    swapped,
    overwritten,
    through_a_view,
    shuffled,
    filled,
    scaled_in_place,
]


def planted():
    rng = np.random.default_rng(7)
    return np.column_stack([np.arange(12.0), rng.uniform(-1, 1, 12), rng.uniform(0, 1, 12)])


@pytest.mark.parametrize("seed", range(250))
def test_random_chains(seed):
    choice = random.Random(seed)  # noqa: S311  (a seeded choice of steps)
    chain = [(choice.choice(STEPS), choice.randrange(10**6)) for _ in range(choice.randint(2, 10))]

    def run(d):
        for step, number in chain:
            if len(d) > 3:
                d = step(d, random.Random(number))  # noqa: S311  (a seeded choice)
        return d

    wanted = run(planted())
    found = run(tracked(d=planted())["d"])
    lineage = lineage_of(found)
    np.testing.assert_array_equal(found, wanted)
    assert lineage.fidelity == "exact"
    out_rows, in_rows = lineage.maps["d"].pairs()
    assert out_rows.tolist() == list(range(len(wanted)))
    assert in_rows.tolist() == wanted[:, 0].astype(int).tolist()


@pytest.mark.parametrize("kind", [None, "stable", "heapsort"])
@pytest.mark.parametrize("n", [5, 40, 400])
def test_a_vector_sorted_in_place_knows_its_rows(kind, n):
    keys = np.random.default_rng(n).permutation(n) * 1.0
    found = tracked(k=keys)["k"]
    found.sort(kind=kind)
    _, rows = found.__traceprop_placed__()
    assert keys[rows].tolist() == sorted(keys.tolist())


def test_columns_that_are_sorted_apart_are_of_many_rows():
    values = np.array([[1.0, 9.0], [2.0, 8.0], [3.0, 7.0]])
    found = tracked(d=values)["d"]
    found.sort(axis=0)
    lineage = lineage_of(found)
    assert lineage.maps["d"].backward([0]).tolist() == [0, 2]
    assert lineage.maps["d"].backward([1]).tolist() == [1]


@pytest.mark.parametrize("n", [1, 7, 300])
@pytest.mark.parametrize("width", [None, 2])
def test_a_shuffle_in_place_is_followed(n, width):
    found, wanted = shuffled_both(n, width, np.random.default_rng(3), np.random.default_rng(3))
    lineage = lineage_of(found)
    np.testing.assert_array_equal(found, wanted)
    keys = wanted if width is None else wanted[:, 0]
    assert [lineage.maps["k"].backward([at]).tolist() for at in range(n)] == [[k] for k in keys]


@pytest.mark.parametrize("width", [None, 2])
def test_a_shuffle_by_the_old_generator_leaves_no_wrong_row(width):
    rngs = np.random.RandomState(3), np.random.RandomState(3)
    found, wanted = shuffled_both(40, width, *rngs)
    lineage = lineage_of(found)
    np.testing.assert_array_equal(found, wanted)
    keys = wanted if width is None else wanted[:, 0]
    rows = [lineage.maps["k"].backward([at]).tolist() for at in range(40)]
    # A vector it takes apart into scalars, which carry no row; of a row it keeps them together.
    assert all(each in ([], [key]) for each, key in zip(rows, keys, strict=True))
    assert width is None or all(rows)


def shuffled_both(n, width, rng, other):
    keys = np.arange(float(n)) if width is None else np.arange(float(n))[:, None] * np.ones(width)
    found, wanted = tracked(k=keys.copy())["k"], keys.copy()
    rng.shuffle(found)
    other.shuffle(wanted)
    return found, wanted


def test_a_shuffle_along_another_axis_keeps_the_rows():
    keys = np.arange(12.0).reshape(4, 3)
    found, wanted = tracked(k=keys.copy())["k"], keys.copy()
    np.random.default_rng(0).shuffle(found, axis=1)
    np.random.default_rng(0).shuffle(wanted, axis=1)
    lineage = lineage_of(found)
    np.testing.assert_array_equal(found, wanted)
    assert all(lineage.maps["k"].backward([at]).tolist() == [at] for at in range(4))


def test_pythons_own_shuffle_leaves_no_wrong_row():
    keys = np.arange(30.0)
    found, wanted = tracked(k=keys.copy())["k"], keys.copy()
    random.Random(1).shuffle(found)  # noqa: S311  (a seeded choice)
    random.Random(1).shuffle(wanted)  # noqa: S311
    lineage = lineage_of(found)
    np.testing.assert_array_equal(found, wanted)
    row_map = lineage.maps["k"]
    pairs = zip(*row_map.pairs(), strict=True) if row_map.kind != "context" else []
    assert all(wanted[at] == row for at, row in pairs)
