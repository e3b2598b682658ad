# ruff: noqa: PD008 (these are arrays, not frames)
"""Rows through JAX, against brute force and planted keys, outside and inside its transforms."""

import numpy as np
import pandas as pd
import pytest

jax = pytest.importorskip("jax")
jnp = pytest.importorskip("jax.numpy")

from traceprop_engine.errors import (  # noqa: E402 (after the skip)
    CaptureError,
    NotRowWiseError,
    UnknownRowsError,
)
from traceprop_engine.jax_arrays import (  # noqa: E402
    TrackedJax,
    concatenate,
    from_jax,
    tracked_jit,
    tracked_vmap,
    where,
)
from traceprop_engine.lineage import CaptureSession  # noqa: E402

pytestmark = pytest.mark.oracle

N, D = 6, 3
INDEX = np.array([4, 1, 1, 5])
ROW_MASK = np.array([True, False, True, True, False, False])
MASK = np.arange(N * D).reshape(N, D) % 2 == 0
WEIGHT = np.linspace(-1, 2, D * 2, dtype=np.float32).reshape(D, 2)
OTHER = np.linspace(2, 5, N * D, dtype=np.float32).reshape(N, D)


@pytest.fixture
def session():
    with CaptureSession() as opened:
        yield opened


def values():
    """Positive, all different, and far enough apart that a small change reorders nothing."""
    return jnp.asarray(np.random.default_rng(3).permutation(N * D).reshape(N, D) + 1.0, jnp.float32)


def as_rows(x):
    return np.asarray(x).reshape(1) if x.ndim == 0 else np.asarray(x)


def plain_run(function, x):
    """Run a function in a session of its own, for its values."""
    with CaptureSession() as aside:
        return as_rows(function(from_jax(x, "data", session=aside)).x)


def changed_pairs(function, x):
    """Return which rows of the result change with which row of the input."""
    plain = plain_run(function, x)
    pairs = set()
    for row in range(len(x)):
        now = plain_run(function, x.at[row].add(jnp.linspace(0.1, 0.2, x.shape[1])))
        differs = (now != plain).reshape(len(plain), -1).any(axis=1)
        pairs |= {(int(out), row) for out in np.flatnonzero(differs)}
    return pairs


def said_pairs(lineage, name="data"):
    """Return the direct pairs of a lineage, and those that a statistic allows."""
    row_map = lineage.maps[name]
    members = {
        int(row)
        for each in lineage.contexts
        if each.input == name
        for row in each.members.backward([0])
    }
    through = {(out, row) for out in range(lineage.n_rows) for row in members}
    if row_map.kind == "context":
        return set(), through
    outs, ins = row_map.pairs()
    return set(zip(outs.tolist(), ins.tolist(), strict=True)), through


DIRECT = {
    "arithmetic": lambda a: 1 - (a * 2 + 1) / 3 % 5,
    "two of them": lambda a: a + a**2,
    "with another order": lambda a: a + a.flip(),
    "with a plain array": lambda a: OTHER * a,
    "comparison": lambda a: (a > 8).astype(jnp.float32) + a,
    "apply": lambda a: a.apply(jnp.exp).apply(jnp.maximum, a.apply(jnp.log)),
    "slice": lambda a: a[1:5:2],
    "backwards": lambda a: a[::-1],
    "index": lambda a: a[INDEX],
    "index and column": lambda a: a[INDEX, 1:],
    "mask": lambda a: a[ROW_MASK],
    "own mask": lambda a: a[a[:, 0] > 8],
    "one row": lambda a: a[2] * 2,
    "one number": lambda a: a[2, 1],
    "last axis": lambda a: a[..., 1],
    "take": lambda a: a.take(INDEX),
    "filter": lambda a: a.filter(ROW_MASK),
    "filter of a size": lambda a: a.filter(ROW_MASK, size=5),
    "sort_by": lambda a: a.sort_by(a[:, 1]),
    "flip": lambda a: a.flip(),
    "repeat": lambda a: a.repeat(2),
    "reshape": lambda a: a.reshape(N, D, 1),
    "sum along 1": lambda a: a.sum(1),
    "softmax by hand": lambda a: a.apply(jnp.exp) / a.apply(jnp.exp).sum(-1, keepdims=True),
    "matmul": lambda a: a @ WEIGHT,
    "concatenate": lambda a: concatenate([a[3:], OTHER, a * 2]),
    "where": lambda a: where(MASK, a, a.flip()),
    "where of rows": lambda a: where(ROW_MASK[:, None], a, a.flip()),
    "row to its column": lambda a: a - a[:, :1],
    "neg and abs": lambda a: abs(-a),
}
STATISTICS = {
    "mean": lambda a: a.mean(0),
    "total": lambda a: a.sum(),
    "centred": lambda a: a - a.mean(0),
    "standardised": lambda a: (a - a.mean(0)) / a.std(0),
    "of part": lambda a: a * a[:3].max(0),
    "left vector": lambda a: OTHER[:, 0] @ a,
    "plain on the left": lambda a: OTHER.T @ a,
}


@pytest.mark.parametrize("name", DIRECT)
def test_an_operation_relates_exactly_the_rows_that_depend_on_each_other(name, session):
    result = DIRECT[name](from_jax(values(), "data", session=session))
    lineage = session.lineage(result if result.ndim else TrackedJax(result.x[None], *parts(result)))
    direct, through = said_pairs(lineage)
    assert lineage.fidelity == "exact"
    assert direct == changed_pairs(DIRECT[name], values())
    assert not through


def parts(result):
    return result.rows, result.origin, result.steps


@pytest.mark.parametrize("name", STATISTICS)
def test_what_depends_through_a_statistic_is_context_and_nothing_is_left_out(name, session):
    result = STATISTICS[name](from_jax(values(), "data", session=session))
    lineage = session.lineage(result if result.ndim else TrackedJax(result.x[None], *parts(result)))
    direct, through = said_pairs(lineage)
    changed = changed_pairs(STATISTICS[name], values())
    assert lineage.fidelity == "exact"
    assert changed <= direct | through
    assert {row for _, row in changed} == {row for _, row in direct | through}
    if name in {"centred", "standardised", "of part"}:
        assert direct >= {(row, row) for row in range(N)}


TRACEABLE = [
    "with another order", "index and column", "one row", "last axis", "filter of a size",
    "sort_by", "repeat", "softmax by hand", "concatenate", "where",
]  # fmt: skip


@pytest.mark.parametrize("name", TRACEABLE)
def test_the_same_rows_come_out_of_jit(name, session):
    array = from_jax(values(), "data", session=session)
    outside, inside = DIRECT[name](array), jax.jit(DIRECT[name])(array)
    assert np.allclose(outside.x, inside.x)
    one, other = outside.__traceprop_placed__(), inside.__traceprop_placed__()
    assert len(one[1]) == len(other[1])
    if outside.ndim:
        assert said_pairs(session.lineage(outside)) == said_pairs(session.lineage(inside))


@pytest.mark.parametrize("name", STATISTICS)
def test_inside_jit_all_rows_of_an_argument_count_as_context(name, session):
    array = from_jax(values(), "data", session=session)
    result = jax.jit(STATISTICS[name])(array)
    if not result.ndim:
        result = TrackedJax(result.x[None], *parts(result))
    direct, through = said_pairs(session.lineage(result))
    assert changed_pairs(STATISTICS[name], values()) <= direct | through


def test_a_compiled_function_serves_other_rows_without_compiling_again(session):
    traced = []

    @jax.jit
    def top(array):
        traced.append(1)
        return array.sort_by(array.x[:, 0], descending=True)[:2]

    keys = np.arange(N, dtype=np.float32)
    for order in ([0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [2, 0, 1, 5, 4, 3]):
        array = from_jax(keys[:, None], "data", session=session)[np.array(order)]
        result = top(array)
        assert session.lineage(result).maps["data"].pairs()[1].tolist() == [5, 4]
        assert result.x[:, 0].tolist() == [5, 4]
    assert len(traced) == 1


def test_vmap_gives_each_row_alone_and_puts_the_rows_back(session):
    array = from_jax(values(), "data", session=session)[INDEX]
    result = jax.vmap(lambda row: (row * WEIGHT[:, 0]).sum() + row[0])(array)
    assert result.shape == (4,)
    assert session.lineage(result).maps["data"].pairs()[1].tolist() == INDEX.tolist()
    assert not session.lineage(result).contexts


def test_scan_runs_over_rows_and_keeps_them(session):
    array = from_jax(values(), "data", session=session).flip()
    total, doubled = jax.lax.scan(lambda c, row: (c + row.x.sum(), row * 2), 0.0, array)
    assert float(total) == float(values().sum())
    rows = session.lineage(doubled).maps["data"].pairs()[1]
    assert rows.tolist() == list(range(N - 1, -1, -1))


def test_rows_are_int32_whatever_the_width_of_jax(session):
    array = from_jax(values(), "data", session=session)
    for enabled in (False, True):
        with jax.enable_x64(enabled):
            result = jax.jit(lambda a: a.sort_by(a.x[:, 0]).filter(a.x[:, 1] > 3, size=4))(array)
            again = from_jax(np.arange(4.0), f"wide {enabled}", session=session)
            assert result.rows[0].dtype == again.rows[0].dtype == jnp.int32
    expected = np.argsort(np.asarray(values())[:, 0], kind="stable")
    kept = expected[np.asarray(values())[:, 1] > 3][:4]
    found = np.asarray(result.rows[0])
    assert found[found >= 0].tolist() == kept.tolist()


def test_a_row_out_of_range_is_no_row(session):
    array = from_jax(values(), "data", session=session).take(np.array([2, 99, -1]))
    assert [
        session.lineage(array).maps["data"].backward([row]).tolist() for row in range(3)
    ] == [[2], [], [5]]  # fmt: skip
    assert not array.x[1].any()


def test_a_mapped_function_of_one_row_is_exact(session):
    array = from_jax(values(), "data", session=session)[INDEX]
    other = from_jax(np.arange(4.0, dtype=np.float32), "labels", session=session)
    model = tracked_vmap(lambda row, label, weight: {"score": row @ weight, "label": label})
    out = model(array, other, WEIGHT)
    assert np.allclose(out["score"].x, values()[INDEX] @ WEIGHT)
    lineage = session.lineage(out["score"][1:])
    assert lineage.fidelity == "exact"
    assert lineage.maps["data"].pairs()[1].tolist() == INDEX[1:].tolist()
    assert lineage.maps["labels"].pairs()[1].tolist() == [1, 2, 3]


def test_a_declared_function_is_claimed(session):
    array = from_jax(values(), "data", session=session).flip()

    @tracked_jit(row_wise=True)
    def scores(x):
        return x @ WEIGHT, x.sum(1)

    first, second = scores(array)
    lineage = session.lineage(second)
    assert np.allclose(first.x, array.x @ WEIGHT)
    assert lineage.maps["data"].pairs()[1].tolist() == list(range(N - 1, -1, -1))
    assert lineage.fidelity == "claimed"
    assert lineage.reason == "'scores' was declared row-wise with `tracked_jit`"


def test_a_checked_function_says_on_how_many_rows(session):
    array = from_jax(values(), "data", session=session)
    scores = tracked_jit(lambda x: jnp.tanh(x @ WEIGHT) + jnp.arange(len(x))[:, None], verify=4)
    lineage = session.lineage(scores(array)[2:])
    assert "checked on 4 of 6 rows" in lineage.reason
    assert lineage.maps["data"].pairs()[1].tolist() == [2, 3, 4, 5]


LIARS = {
    "centres": lambda x: x - x.mean(0),
    "shifts": lambda x: jnp.roll(x, 1, axis=0),
    "sorts": lambda x: jnp.sort(x, axis=0),
    "accumulates": lambda x: jnp.cumsum(x, axis=0),
    "looks at its neighbour": lambda x: x.at[1].add(x[0] * 1e-6),
    "normalises the batch": lambda x: x / jnp.linalg.norm(x),
}


@pytest.mark.parametrize("name", LIARS)
def test_a_function_that_mixes_rows_is_refused(name, session):
    array = from_jax(values(), "data", session=session)
    with pytest.raises(NotRowWiseError, match=r"changing row . changes row . of the result"):
        tracked_jit(LIARS[name], verify=N)(array)


def test_what_was_not_declared_or_loses_rows_is_refused(session):
    array = from_jax(values(), "data", session=session)
    with pytest.raises(NotRowWiseError, match="nothing was declared"):
        tracked_jit(jnp.tanh)
    with pytest.raises(NotRowWiseError, match=r"shape \(3,\) for 6 rows"):
        tracked_jit(lambda x: x.sum(0), row_wise=True)(array)
    with pytest.raises(UnknownRowsError, match="one length"):
        tracked_jit(jnp.tanh, row_wise=True)(values())
    with pytest.raises(UnknownRowsError, match="one length"):
        tracked_vmap(jnp.add)(array, array[:2])


@pytest.mark.parametrize(
    "mix",
    [
        lambda a: a @ jnp.ones((N, D, 2)),
        lambda a: a.take(jnp.array([[0, 1]])),
        lambda a: a.sort_by(a.x),
        lambda a: tracked_vmap(lambda row, other: row + other["rows"].x[0])(a, {"rows": a}),
        lambda a: tracked_jit(lambda b, other: b + other.x[::-1], row_wise=True)(a, other=a),
    ],
)
def test_what_would_hide_the_rows_of_an_operand_is_refused(mix, session):
    array = from_jax(values(), "data", session=session)
    with pytest.raises(UnknownRowsError):
        mix(array)


def test_a_mapped_function_of_no_rows_gives_none(session):
    none = from_jax(values(), "data", session=session)[:0]
    result = tracked_vmap(lambda row: row * 2)(none)
    assert result.shape == (0, D)
    assert session.lineage(result).maps["data"].n_out == 0


def test_jax_does_not_take_it_for_an_array(session):
    array = from_jax(values(), "data", session=session)
    for function in (jnp.exp, jnp.sum, jnp.linalg.norm):
        with pytest.raises(TypeError):
            function(array)
    with pytest.raises(TypeError):
        jnp.concatenate([array, array])
    with pytest.raises(UnknownRowsError, match="tracked_vmap"):
        array.apply(jnp.cumsum)
    with pytest.raises(UnknownRowsError, match="cuts rows apart"):
        array.reshape(-1)
    with pytest.raises(UnknownRowsError, match="mixes rows"):
        array[INDEX, np.array([0, 1, 2, 0])]
    with pytest.raises(UnknownRowsError, match="hides the rows"):
        array[:, 0][..., ::-1]


def test_rows_have_no_numbers_inside_a_transform(session):
    array = from_jax(values(), "data", session=session)
    with pytest.raises(CaptureError, match="outside of it"):
        jax.jit(lambda a: a.__traceprop_placed__() and a.x)(array)


def test_arrays_of_two_sessions_do_not_meet(session):
    mine = from_jax(values(), "data", session=session)
    with CaptureSession() as another:
        yours = from_jax(values(), "data", session=another)
        for meet in (lambda: mine + yours, lambda: concatenate([mine, yours])):
            with pytest.raises(CaptureError, match="different sessions"):
                meet()
    assert yours.__traceprop_placed__() is None


def test_a_marked_frame_hands_its_rows_over_without_a_note(session):
    frame = session.load(pd.DataFrame({"a": [3.0, 1.0, 2.0]}), "visits").sort_values("a")
    lineage = session.lineage(from_jax(frame) * 2)
    assert lineage.maps["visits"].pairs()[1].tolist() == [1, 2, 0]
    assert lineage.contexts == ()


def test_rows_go_from_pandas_through_torch_to_jax(session):
    torch = pytest.importorskip("torch")
    tensors = pytest.importorskip("traceprop_engine.tensors")
    frame = session.load(pd.DataFrame({"key": np.arange(20.0), "z": 1.0}), "visits")
    tensor = tensors.from_torch(frame[frame["key"] % 3 == 0].sample(frac=1, random_state=0))
    array = from_jax(tensor[tensor[:, 0].argsort(descending=True)] * torch.ones(2))
    result = jax.jit(lambda a: (a - a.mean(0)).filter(a.x[:, 0] > 5, size=6))(array)
    lineage = session.lineage(result)
    keys = [float(key) for key in sorted(frame["key"][frame["key"] % 3 == 0], reverse=True)]
    expected = [int(key) for key in keys if key > 5]
    outs, rows = lineage.maps["visits"].pairs()
    assert rows[np.argsort(outs, kind="stable")].tolist() == expected
    assert [op.name for op in session.lineage(array * 2).ops][-2:] == ["torch.mul", "jax.multiply"]
    assert [op.name for op in lineage.ops] == []  # not recorded inside a transform


STEPS = [
    lambda a, r: a[r.permutation(len(a))],
    lambda a, r: a[r.random(len(a)) < 0.8],
    lambda a, r: a * 2,
    lambda a, r: concatenate([a, a[: len(a) // 2]]),
    lambda a, r: jax.jit(lambda b: b.sort_by(b.x[:, 1]))(a),
    lambda a, r: a.flip(),
    lambda a, r: a.repeat(2),
    lambda a, r: jax.vmap(lambda row: row / 2)(a),
    lambda a, r: a.take(r.integers(0, len(a), len(a))),
]


@pytest.mark.parametrize("seed", range(5))
def test_random_chains_lead_to_the_planted_keys(seed, session):
    rng = np.random.default_rng(seed)
    keys = np.arange(30, dtype=np.float32)
    array = from_jax(np.stack([keys, np.ones(30)], axis=1), "data", session=session)
    for _ in range(6):
        if len(array):
            array = STEPS[rng.integers(len(STEPS))](array, rng)
    planted = np.asarray(array.x[:, 0] / array.x[:, 1]).round().astype(int)
    lineage = session.lineage(array)
    assert lineage.fidelity == "exact"
    said = [lineage.maps["data"].backward([row]).tolist() for row in range(len(array))]
    assert said == [[key] for key in planted]
