"""Tables, labels and penalties that no model can be trained on, and what the error says."""

import re

import numpy as np
import pandas as pd
import pytest

from traceprop_engine import errors
from traceprop_engine.training import train_linear, train_logistic, train_softmax

TABLE = pd.DataFrame(
    {
        "age": [30.0, 41, 52, 63, 35, 47, 58, 69],
        "weight": [60.0, 72, 81, 64, 90, 75, 68, 77],
        "city": ["a", "b", "a", "b", "a", "b", "a", "b"],
        "seen": pd.to_datetime(["2020-01-01"] * 8),
        "sick": [0, 1, 0, 1, 1, 0, 0, 1],
        "grade": ["x", "y", "z", "x", "y", "z", "x", "y"],
        "cost": [1.0, 2, 3, 4, 5, 6, 7, 8.5],
    },
    index=[f"p{i}" for i in range(8)],
)
ALL = [(train_linear, "cost"), (train_logistic, "sick"), (train_softmax, "grade")]
every_family = pytest.mark.parametrize(("train", "label"), ALL)


def _train(train, label, *, table=TABLE, features=("age", "weight"), l2=1.0):
    return train(table, features=features, label=label, l2=l2, name="run")


@every_family
@pytest.mark.parametrize(
    ("features", "error", "message"),
    [
        (["wieght"], errors.UnknownColumnError, "did you mean 'weight'"),
        (["zzz"], errors.UnknownColumnError, "it has 'age', 'weight', 'city'"),
        (["age", "city"], errors.NonNumericFeatureError, "'city' has dtype str"),
        (["seen"], errors.NonNumericFeatureError, "'seen' has dtype datetime64"),
        ([], errors.FeatureListError, "`features` is empty"),
        ("age", errors.FeatureListError, "the text 'age'"),
        (["age", "age"], errors.FeatureListError, "'age' is listed twice"),
    ],
)
def test_features_that_are_not_there_or_not_numbers_are_named(
    train, label, features, error, message
):
    with pytest.raises(error, match=re.escape(message)):
        _train(train, label, features=features)


@every_family
def test_the_label_may_not_be_a_feature(train, label):
    with pytest.raises(errors.FeatureListError, match="is among the features"):
        _train(train, label, features=["age", label])


@every_family
def test_two_columns_of_one_name_are_refused(train, label):
    twice = pd.concat([TABLE, TABLE[["age"]]], axis=1)
    with pytest.raises(errors.FeatureListError, match="2 columns named 'age'"):
        _train(train, label, table=twice)


@every_family
@pytest.mark.parametrize(
    ("value", "says"), [(np.nan, "missing (NaN)"), (np.inf, "inf"), (-np.inf, "-inf")]
)
def test_the_first_value_that_is_not_finite_is_named(train, label, value, says):
    table = TABLE.copy()
    table.loc[["p5", "p3"], "weight"] = value
    message = f"Column 'weight' is {says} first at row position 3 (index 'p3')"
    with pytest.raises(errors.NonFiniteColumnError, match=re.escape(message)):
        _train(train, label, table=table)


@every_family
def test_a_missing_label_is_named(train, label):
    table = TABLE.astype({"sick": float}).copy()
    table.loc["p6", label] = np.nan
    with pytest.raises(errors.NonFiniteColumnError, match=f"'{label}' is missing.*index 'p6'"):
        _train(train, label, table=table)


@every_family
def test_a_table_without_rows_is_refused(train, label):
    with pytest.raises(errors.EmptyTableError, match="no rows"):
        _train(train, label, table=TABLE.iloc[:0])


@every_family
def test_a_label_that_is_not_there_is_refused_with_near_names(train, label):
    with pytest.raises(errors.UnknownColumnError, match="did you mean"):
        _train(train, label + "s")


@pytest.mark.parametrize(("train", "label"), ALL[1:])
def test_a_label_of_one_class_is_refused(train, label):
    with pytest.raises(errors.LabelClassesError, match="only one class"):
        _train(train, label, table=TABLE.assign(**{label: "same"}))


def test_a_logistic_label_of_three_classes_is_refused_with_the_way_out():
    with pytest.raises(errors.LabelClassesError, match=r"3 classes, 'x', 'y', 'z'.*train_softmax"):
        _train(train_logistic, "grade")


def test_a_linear_label_of_text_is_refused():
    with pytest.raises(errors.NonNumericFeatureError, match="'grade'"):
        _train(train_linear, "grade")


@every_family
@pytest.mark.parametrize("l2", [-1.0, np.nan, np.inf])
def test_a_penalty_below_zero_or_not_finite_is_refused(train, label, l2):
    with pytest.raises(errors.PenaltyError, match="`l2` must be finite and at least 0"):
        _train(train, label, l2=l2)


@every_family
def test_dependent_columns_are_refused_without_a_penalty_and_accepted_with_one(train, label):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=200), "c": rng.normal(size=200)})
    table["b"] = 3 * table["a"] - 2
    table[label] = np.resize(TABLE[label].to_numpy(), 200)
    with pytest.raises(errors.SingularCurvatureError, match="'a', 'b', 'intercept'") as caught:
        _train(train, label, table=table, features=["a", "c", "b"], l2=0.0)
    assert "'c'" not in str(caught.value)
    assert "set l2 > 0" in str(caught.value)
    assert _train(train, label, table=table, features=["a", "c", "b"], l2=1e-3).converged


@every_family
def test_a_constant_column_is_refused_without_a_penalty_and_gets_no_weight_with_one(train, label):
    table = TABLE.assign(one=2.0)
    with pytest.raises(errors.SingularCurvatureError, match="'one', 'intercept'"):
        _train(train, label, table=table, features=["one"], l2=0.0)
    run = _train(train, label, table=table, features=["one", "age"])
    np.testing.assert_allclose(run.parameters[:, 0], 0, atol=1e-12)


@every_family
def test_a_column_of_zeros_is_refused_without_a_penalty(train, label):
    with pytest.raises(errors.SingularCurvatureError, match="'none'"):
        _train(train, label, table=TABLE.assign(none=0.0), features=["none", "age"], l2=0.0)


@pytest.mark.parametrize(("train", "label"), ALL[1:])
def test_classes_that_a_feature_separates_are_refused_without_a_penalty(train, label):
    codes = pd.factorize(TABLE[label], sort=True)[0]
    table = TABLE.assign(gives_away=codes + np.linspace(0, 0.4, 8))
    with pytest.raises(errors.SeparableClassesError, match=f"'{label}'.*set l2 > 0"):
        _train(train, label, table=table, features=["gives_away"], l2=0.0)
    assert _train(train, label, table=table, features=["gives_away"], l2=1e-6).converged


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize(("train", "label"), ALL[1:])
def test_a_rare_category_of_one_class_separates_it_in_part(train, label, scale):
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"a": rng.normal(size=300), "rare": np.zeros(300)})
    table[label] = np.resize(TABLE[label].to_numpy(), 300)
    rows = np.flatnonzero(table[label] == TABLE[label].iloc[1])[:3]
    table.loc[rows, "rare"] = scale
    with pytest.raises(errors.SeparableClassesError):
        _train(train, label, table=table, features=["a", "rare"], l2=0.0)
    table.loc[np.flatnonzero(table[label] != table.loc[rows[0], label])[:5], "rare"] = scale
    if train is train_logistic:
        assert _train(train, label, table=table, features=["a", "rare"], l2=0.0).converged


def test_a_model_too_large_for_the_exact_method_is_refused():
    table = pd.DataFrame({"a": np.arange(6000.0), "label": np.arange(6000)})
    with pytest.raises(errors.ModelSizeError, match=r"12,000 parameters.*10,000"):
        _train(train_softmax, "label", table=table, features=["a"])


@every_family
def test_numbers_of_every_kind_are_features(train, label):
    table = pd.DataFrame(
        {
            "flag": [True, False] * 4,
            "nullable": pd.array([1, 2, 3, 4, 5, 6, 7, 9], dtype="Int64"),
            "small": np.arange(8, dtype=np.float32) ** 2,
            "arrow": pd.array([1, 2, 3, 5, 4, 6, 7, 9], dtype="int8[pyarrow]"),
            label: TABLE[label].to_numpy(),
        }
    )
    names = ["flag", "nullable", "small", "arrow"]
    run = _train(train, label, table=table, features=names)
    assert run.features.dtype == np.float64
    np.testing.assert_array_equal(run.features[:, 0], [1, 0] * 4)
    assert run.converged


def test_a_missing_nullable_number_is_named():
    table = TABLE.assign(age=pd.array([1, 2, None, 4, 5, 6, 7, 8], dtype="Int64"))
    with pytest.raises(errors.NonFiniteColumnError, match=r"'age' is missing.*index 'p2'"):
        _train(train_logistic, "sick", table=table)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([True, False] * 4, (False, True)),
        (["b", "a"] * 4, ("a", "b")),
        (pd.Categorical(["b", "a"] * 4, categories=["b", "a"]), ("a", "b")),
        (pd.array([7, 3] * 4, dtype="Int64"), (3, 7)),
        ([0.0, 1.0] * 4, (0.0, 1.0)),
        (pd.array(["b", "a"] * 4, dtype="string"), ("a", "b")),
    ],
)
def test_labels_of_every_kind_become_classes_in_ascending_order(labels, classes):
    run = _train(train_logistic, "label", table=TABLE.assign(label=labels))
    assert run.classes == classes
    expected = [classes.index(value) for value in list(labels)]
    np.testing.assert_array_equal(run.targets, expected)


@every_family
@pytest.mark.parametrize(("size", "says"), [(1e160, "large as 9e"), (1e-160, "small as 9e")])
def test_numbers_whose_squares_leave_the_range_of_floats_are_refused(train, label, size, says):
    table = TABLE.assign(far=[size * value for value in (1, 5, 2, 9, 3, 7, 4, 6)])
    with pytest.raises(errors.NumberSizeError, match=f"'far' holds numbers as {says}"):
        _train(train, label, table=table, features=["age", "far"])


@every_family
@pytest.mark.parametrize("size", [1e-99, 1e-20, 1e20, 1e98])
@pytest.mark.parametrize("l2", [0.0, 1.0])
def test_numbers_of_any_other_size_are_trained_on(train, label, size, l2):
    rng = np.random.default_rng(2)
    table = pd.DataFrame({"far": rng.normal(size=90) * size, "age": rng.normal(size=90)})
    table[label] = rng.permutation(np.resize(TABLE[label].to_numpy(), 90))
    run = _train(train, label, table=table, features=["far", "age"], l2=l2)
    assert run.converged
    assert np.isfinite(run.parameters).all()
