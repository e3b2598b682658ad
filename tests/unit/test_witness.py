"""The witness: values that moved under a fixed index contradict a map, computed values do not."""

import numpy as np
import pandas as pd
import pytest

from traceprop_engine.errors import CaptureError, LineageContradictionError
from traceprop_engine.lineage import CapturedLineage, CaptureSession, RowMap, check_witness
from traceprop_engine.lineage.witness import FULL_ROWS, SAMPLE_ROWS

N = 200


def people(n=N, seed=0):
    """A column of every kind that is changed in practice."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "id": rng.permutation(n) + 1000,
            "row": np.arange(n),
            "name": [f"Person {i}" for i in rng.permutation(n)],
            "weight": rng.normal(70, 10, n).round(3),
            "gaps": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)),
            "age": rng.integers(18, 90, n),
            "flag": rng.integers(0, 2, n),
            "truth": rng.random(n) < 0.5,
            "constant": 7,
            "city": rng.choice(["Rome", "Oslo", "Bonn", "Lyon"], n),
            "kind": pd.Categorical(rng.choice(["a", "b", "c"], n)),
            "patient": rng.integers(0, n // 4, n),
            "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.permutation(n), unit="D"),
            "code": pd.array(
                np.where(rng.random(n) < 0.1, None, rng.permutation(n)), dtype="Int64"
            ),
            "steps": [[i] for i in range(n)],
        }
    )


def captured(run, frame=None):
    """The frames and the lineage of a function of one frame."""
    frame = people() if frame is None else frame
    with CaptureSession() as session:
        plain, lineage = session.finish(run(session.load(frame, "people")))
    return lineage, {"people": frame}, plain


def passes(run, frame=None):
    lineage, inputs, plain = captured(run, frame)
    assert check_witness(lineage, inputs, plain) is lineage


def contradicts(run, column, frame=None):
    lineage, inputs, plain = captured(run, frame)
    with pytest.raises(LineageContradictionError) as raised:
        check_witness(lineage, inputs, plain)
    assert raised.value.column == column
    return raised.value, inputs["people"], plain


def shuffled(values, seed=1):
    return np.random.default_rng(seed).permutation(np.asarray(values))


UNIQUE = ["id", "row", "name", "weight", "when"]


@pytest.mark.parametrize("column", UNIQUE)
def test_a_column_that_was_permuted_contradicts(column):
    contradicts(lambda d: d.assign(**{column: shuffled(d[column])}), column)


@pytest.mark.parametrize("column", UNIQUE)
def test_a_column_that_was_reversed_contradicts(column):
    contradicts(lambda d: d.assign(**{column: d[column].to_numpy()[::-1]}), column)


@pytest.mark.parametrize("column", ["name", "weight", "when"])
def test_a_column_that_was_shifted_as_an_array_contradicts(column):
    contradicts(lambda d: d.assign(**{column: d[column].shift(1).to_numpy()}), column)


@pytest.mark.parametrize("column", ["id", "row", "name", "weight"])
def test_a_column_that_was_rolled_contradicts(column):
    contradicts(lambda d: d.assign(**{column: np.roll(d[column], 3)}), column)


def test_a_sorted_column_contradicts():
    contradicts(lambda d: d.assign(weight=np.sort(d.weight)), "weight")


def test_repeated_values_that_were_permuted_contradict():
    contradicts(lambda d: d.assign(patient=shuffled(d.patient)), "patient")
    contradicts(lambda d: d.assign(age=shuffled(d.age)), "age")


def test_a_nullable_column_that_was_permuted_contradicts():
    contradicts(lambda d: d.assign(code=pd.array(shuffled(d.code), dtype="Int64")), "code")


def test_a_column_that_was_permuted_before_a_filter_contradicts():
    contradicts(lambda d: d.assign(weight=shuffled(d.weight))[d.flag == 1], "weight")


def test_a_column_that_was_permuted_after_a_sort_contradicts():
    contradicts(lambda d: d.sort_values("age").assign(name=lambda e: shuffled(e.name)), "name")


def test_a_part_of_a_column_that_was_permuted_contradicts():
    def run(d):
        part = d.flag == 1
        d = d.copy()
        d.loc[part, "weight"] = shuffled(d.loc[part, "weight"])
        return d

    contradicts(run, "weight")


def test_a_column_that_was_permuted_before_a_bootstrap_contradicts():
    contradicts(
        lambda d: d.assign(weight=shuffled(d.weight)).sample(frac=1, replace=True, random_state=2),
        "weight",
    )


def test_two_values_that_changed_places_contradict():
    def run(d):
        names = d.name.tolist()
        names[3], names[150] = names[150], names[3]
        return d.assign(name=names)

    contradicts(run, "name")


def test_the_error_names_a_row_and_whose_value_it_has():
    error, frame, plain = contradicts(lambda d: d.assign(name=shuffled(d.name)), "name")
    message = str(error)
    numbers = [int(word.strip(",.")) for word in message.split() if word.strip(",.").isdigit()]
    out_row, claimed, found = numbers
    assert claimed == out_row
    assert plain["name"][out_row] == frame["name"][found]
    assert found != claimed
    assert "'people'" in message
    assert "`record`" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("what", "run"),
    [
        ("nothing", lambda d: d),
        ("a filter", lambda d: d[d.age > 40]),
        ("a sort", lambda d: d.sort_values("weight")),
        ("a bootstrap", lambda d: d.sample(frac=1, replace=True, random_state=0)),
        ("a shift of whole rows", lambda d: d.shift(1)),
        ("scaled", lambda d: d.assign(weight=d.weight * 2.5)),
        ("standardised", lambda d: d.assign(weight=(d.weight - d.weight.mean()) / d.weight.std())),
        ("rounded", lambda d: d.assign(weight=d.weight.round(0))),
        ("rounded a little", lambda d: d.assign(weight=d.weight.round(1))),
        ("clipped", lambda d: d.assign(age=d.age.clip(30, 60), weight=d.weight.clip(60, 80))),
        ("one more", lambda d: d.assign(age=d.age + 1, row=d.row + 1, id=d.id - 7)),
        ("counted from the lowest", lambda d: d.assign(id=d.id - d.id.min())),
        ("doubled", lambda d: d.assign(row=d.row * 2, age=d.age * 2)),
        ("a day later", lambda d: d.assign(when=d.when + pd.Timedelta("1D"))),
        ("filled with a constant", lambda d: d.assign(gaps=d.gaps.fillna(0.0))),
        ("filled with the mean", lambda d: d.assign(gaps=d.gaps.fillna(d.gaps.mean()))),
        ("filled forward", lambda d: d.assign(gaps=d.gaps.ffill())),
        ("interpolated", lambda d: d.assign(gaps=d.gaps.interpolate())),
        ("blanked", lambda d: d.assign(weight=d.weight.where(d.age > 40))),
        ("lower case", lambda d: d.assign(name=d.name.str.lower(), city=d.city.str.lower())),
        ("cut to a prefix", lambda d: d.assign(name=d.name.str[:3])),
        ("hashed", lambda d: d.assign(name=d.name.map(lambda s: f"{hash(s):x}"))),
        ("pseudonyms of its own", lambda d: d.assign(id=pd.factorize(d.id)[0])),
        ("inverted", lambda d: d.assign(flag=1 - d.flag, truth=~d.truth)),
        ("encoded anew", lambda d: d.assign(city=d.city.map(ENCODED))),
        (
            "cities swapped",
            lambda d: d.assign(city=d.city.replace({"Rome": "Oslo", "Oslo": "Rome"})),
        ),
        ("patients renumbered", lambda d: d.assign(patient=d.patient.map(RENUMBERED))),
        ("categories renamed", lambda d: d.assign(kind=d.kind.cat.rename_categories(list("bca")))),
        ("another dtype", lambda d: d.assign(weight=shuffled(d.weight).astype("float32"))),
        ("another name", lambda d: d.assign(other=shuffled(d.weight)).drop(columns="weight")),
        ("a constant set", lambda d: d.assign(age=40, name="x", flag=0)),
        ("ranked", lambda d: d.assign(weight=d.weight.rank())),
        ("summed up", lambda d: d.assign(weight=d.weight.cumsum())),
        ("a group's mean", lambda d: d.assign(weight=d.groupby("city").weight.transform("mean"))),
        ("noise", lambda d: d.assign(weight=d.weight + np.random.default_rng(3).normal(size=N))),
        (
            "labels with noise",
            lambda d: d.assign(flag=np.where(d.row % 17 == 0, 1 - d.flag, d.flag)),
        ),
        ("some values corrected", lambda d: d.assign(age=d.age.mask(d.row % 50 == 0, 33))),
        ("modulo", lambda d: d.assign(row=d.row % 7, age=d.age % 10)),
        ("absolute", lambda d: d.assign(gaps=d.gaps.abs())),
        ("negative", lambda d: d.assign(weight=-d.weight, gaps=-d.gaps)),
        ("lists made anew", lambda d: d.assign(steps=[[0]] * N)),
    ],
)
def test_a_column_that_was_computed_passes(what, run):
    passes(run)


ENCODED = dict(zip(["Rome", "Oslo", "Bonn", "Lyon"], ["Lyon", "Rome", "Oslo", "Bonn"], strict=True))
RENUMBERED = dict(enumerate(np.random.default_rng(5).permutation(N // 4).tolist()))


def test_pseudonyms_from_the_same_numbers_look_moved_as_the_docs_say():
    contradicts(lambda d: d.assign(id=d.id.map(dict(zip(d.id, shuffled(d.id), strict=True)))), "id")


def test_a_permuted_flag_passes_as_the_docs_say():
    passes(lambda d: d.assign(flag=shuffled(d.flag), constant=shuffled(d.constant)))


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_tiny_frames_pass(n):
    passes(lambda d: d.assign(age=d.age * 3), people(max(n, 4)).head(n))


def test_a_frame_of_four_rows_that_was_reversed_contradicts():
    frame = pd.DataFrame({"s": list("wxyz"), "v": [1.5, 2.5, 3.5, 4.5]})
    contradicts(lambda d: d.assign(v=d.v.to_numpy()[::-1]), "v", frame)
    passes(lambda d: d.assign(v=d.v * 2), frame)


def test_rows_without_a_parent_are_not_compared():
    passes(lambda d: pd.concat([d, pd.DataFrame({"id": [1], "weight": [70.0]})]))


def test_only_maps_with_one_parent_are_compared():
    passes(lambda d: d.assign(weight=d.weight.shift(1)))
    passes(lambda d: d.groupby("city", as_index=False).weight.max())


def test_columns_that_one_frame_has_twice_are_not_compared():
    passes(lambda d: pd.concat([d[["id", "age"]], d[["age"]] * 2], axis=1))


def test_unknown_inputs_are_not_compared():
    lineage, inputs, plain = captured(lambda d: d.assign(weight=shuffled(d.weight)))
    assert check_witness(lineage, {}, plain) is lineage
    assert inputs


def test_frames_of_another_size_are_refused():
    lineage, inputs, plain = captured(lambda d: d.head(3))
    with pytest.raises(CaptureError, match="the frames have 200 and 4 rows"):
        check_witness(lineage, inputs, people().head(4))
    assert len(plain) == 3


def big(n):
    rng = np.random.default_rng(0)
    return pd.DataFrame({"id": rng.permutation(n), "v": rng.normal(size=n), "k": np.arange(n) % 9})


def test_of_many_rows_a_sample_is_compared():
    frame = big(FULL_ROWS + 50_000)
    passes(lambda d: d.sort_values("v"), frame)
    passes(lambda d: d.assign(v=d.v * 2, id=d.id + 1), frame)
    contradicts(lambda d: d.assign(v=shuffled(d.v)), "v", frame)
    contradicts(lambda d: d.assign(id=np.roll(d.id, 1)), "id", frame)
    assert SAMPLE_ROWS < FULL_ROWS


def test_the_sample_is_the_same_in_every_run():
    frame = big(FULL_ROWS + 10)
    messages = {
        str(contradicts(lambda d: d.assign(v=shuffled(d.v)), "v", frame)[0]) for _ in range(3)
    }
    assert len(messages) == 1


def test_a_claimed_map_is_held_against_the_values_too():
    frame = people()
    lineage = CapturedLineage(N, {"people": RowMap.identity(N)}, fidelity="claimed")
    assert check_witness(lineage, {"people": frame}, frame) is lineage
    with pytest.raises(LineageContradictionError):
        check_witness(lineage, {"people": frame}, frame.iloc[::-1].reset_index(drop=True))


def test_a_map_that_is_off_by_one_is_contradicted():
    frame = people()
    wrong = CapturedLineage(N - 1, {"people": RowMap.range(1, 1, N - 1, N)})
    with pytest.raises(LineageContradictionError):
        check_witness(wrong, {"people": frame}, frame.head(N - 1))
    right = CapturedLineage(N - 1, {"people": RowMap.range(0, 1, N - 1, N)})
    check_witness(right, {"people": frame}, frame.head(N - 1))


HONEST = {
    "negative": lambda s, rng: -s,
    "more": lambda s, rng: s + int(rng.integers(1, 5)),
    "times": lambda s, rng: s * int(rng.integers(2, 4)),
    "divided": lambda s, rng: s // 2,
    "modulo": lambda s, rng: s % int(rng.integers(3, 20)),
    "clipped": lambda s, rng: s.clip(s.quantile(0.2), s.quantile(0.8)).astype(s.dtype),
    "rounded": lambda s, rng: s.round(0),
    "ranked": lambda s, rng: s.rank(method="dense").astype(s.dtype),
    "encoded": lambda s, rng: pd.Series(pd.factorize(s)[0], index=s.index).astype(s.dtype),
    "summed up": lambda s, rng: s.cumsum(),
    "with noise": lambda s, rng: (s + rng.integers(-2, 3, len(s))).astype(s.dtype),
    "edited": lambda s, rng: s.mask(rng.random(len(s)) < 0.1, s.iloc[0]),
    "from the largest": lambda s, rng: s.max() - s,
    "largest of three": lambda s, rng: s.groupby(np.arange(len(s)) // 3).transform("max"),
}
MOVING = {
    "permuted": lambda s, rng: rng.permutation(s),
    "reversed": lambda s, rng: s[::-1],
    "rolled": lambda s, rng: np.roll(s, int(rng.integers(1, 4))),
    "swapped blocks": lambda s, rng: np.concatenate([s[len(s) // 3 :], s[: len(s) // 3]]),
}
VALUES = {
    "few": lambda n, rng: rng.integers(0, 10, n),
    "many": lambda n, rng: rng.integers(0, 1000, n),
    "one place": lambda n, rng: rng.normal(5, 3, n).round(1),
    "floats": lambda n, rng: rng.normal(size=n),
    "identifiers": lambda n, rng: rng.permutation(n) + 1,
}


def one_column(values, changed):
    lineage = CapturedLineage(len(values), {"a": RowMap.identity(len(values))})
    return check_witness(lineage, {"a": pd.DataFrame({"c": values})}, pd.DataFrame({"c": changed}))


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("how", HONEST)
def test_no_honest_change_of_random_values_contradicts(kind, how):
    rng = np.random.default_rng(11)
    for n in (10, 20, 50, 200):
        for _ in range(3):
            values = pd.Series(VALUES[kind](n, rng))
            one_column(values, HONEST[how](values, rng))


@pytest.mark.parametrize("kind", ["many", "floats", "identifiers"])
@pytest.mark.parametrize("how", MOVING)
def test_every_move_of_random_values_contradicts(kind, how):
    rng = np.random.default_rng(12)
    for n in (10, 20, 50, 200):
        for _ in range(3):
            values = VALUES[kind](n, rng)
            with pytest.raises(LineageContradictionError):
                one_column(values, MOVING[how](values, rng))
